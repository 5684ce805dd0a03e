//! The parts that the keeper of the leases and those who wait for wallets share.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU32},
};

use chains_core::{
    Network,
    clock::{Clock, Millis},
};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::{
    store::Store,
    submitter::ownership::{Holding, Renewed},
};

/// The wallet of a duty that one instance does for all: it takes part in no
/// distribution.
pub const DUTY: &str = "";

/// The instance among the others.
#[derive(Clone, Debug)]
pub struct Me {
    /// The name of this one process, which no other ever has.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// True when the operator gave it that name, so that a process of that name
    /// before it was the same instance.
    pub is_named: bool,
    /// Its start.
    pub started_at: Millis,
}

impl Me {
    /// This process under the name that the operator gave it, or its machine's
    /// with a random end.
    pub fn new(name: Option<&str>, machine: &str, started_at: Millis) -> Self {
        let id = Uuid::now_v7();
        let random = id.simple().to_string();
        let random = random.get(random.len().saturating_sub(6)..).unwrap_or_default();
        let is_named = name.is_some();
        let name = name.map_or_else(|| format!("{machine}-{random}"), str::to_owned);
        Self { id: id.to_string(), name, is_named, started_at }
    }
}

/// A wallet: its network and its address, or a duty.
pub type Wallet = (Network, String);

/// The leases of one instance.
pub struct Shared {
    pub store: Arc<dyn Store>,
    pub me: Me,
    pub clock: Arc<dyn Clock>,
    pub renewed: Renewed,
    pub desks: Mutex<BTreeMap<Wallet, Desk>>,
    /// Somebody waits for a wallet that was not waited for before.
    pub asked: Notify,
    /// The other instances that are alive.
    pub others: AtomicU32,
}

/// A wallet as the keeper and whoever waits for it know it.
#[derive(Default)]
pub struct Desk {
    /// The one who waits.
    pub asks: Option<oneshot::Sender<Holding>>,
    /// The wallet, while it is here.
    pub holding: Option<Holding>,
    /// Its owner, while that is another instance which is alive; the one that is to
    /// take it, while this one leaves.
    pub elsewhere: Option<String>,
}

impl Desk {
    /// Returns true while somebody waits for it.
    pub fn is_wanted(&self) -> bool {
        self.asks.as_ref().is_some_and(|asks| !asks.is_closed())
    }
}
