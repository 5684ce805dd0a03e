//! The right to use a gas wallet's nonces.

use std::sync::Arc;

use async_trait::async_trait;
use chains_core::Network;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lease::decide::BEGIN_MAX;
use crate::store::{Fence, Store, StoreError};

/// The right to use gas wallets' nonces: each has one owner at a time, under an
/// epoch larger than that of any owner before.
#[async_trait]
pub trait Ownership: Send + Sync {
    /// Waits until the wallet is this owner's. Called before its worker opens,
    /// whose recovery sees everything that the owner before has stored.
    async fn acquire(&self, network: &Network, gas_wallet: &str) -> Result<Holding, StoreError>;

    /// Raises the epoch of a wallet that is still this owner's; `false` when it is
    /// another's. Called after a commit of unknown outcome, before a look at what
    /// is stored: nothing of an older epoch is stored any more then.
    async fn renew(&self, holding: &Holding) -> Result<bool, StoreError>;

    /// Gives a wallet back whose worker has ended.
    async fn release(&self, holding: &Holding);

    /// The name of another owner, who is there, or is about to be. Asked while a wallet
    /// is waited for, and when it is left.
    fn owner_elsewhere(&self, network: &Network, gas_wallet: &str) -> Option<String>;

    /// The id of this instance among those that share the wallets; `None` where it has
    /// them all.
    fn instance(&self) -> Option<&str>;

    /// The instances that are alive and share the wallets, this one among them.
    fn instances(&self) -> u32;
}

/// A wallet in the hands of its owner.
#[derive(Clone, Debug)]
pub struct Holding {
    fence: Arc<Mutex<Fence>>,
    over: CancellationToken,
    renewed: Option<Renewed>,
}

/// The moment at which the last renewal began that all leases of an instance got.
#[derive(Clone, Debug)]
pub struct Renewed(Arc<Mutex<Instant>>);

impl Renewed {
    /// A renewal that begins now.
    pub fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Notes a renewal that was good, by the moment at which it began.
    pub fn note(&self, began: Instant) {
        *self.0.lock() = began;
    }

    fn is_fresh(&self) -> bool {
        self.0.lock().elapsed() < BEGIN_MAX
    }
}

impl Holding {
    /// A wallet that is its owner's as long as its renewals are good; for `None`,
    /// as long as the process lives.
    pub fn new(fence: Fence, renewed: Option<Renewed>) -> Self {
        Self { fence: Arc::new(Mutex::new(fence)), over: CancellationToken::new(), renewed }
    }

    /// The right under which its worker writes now.
    pub fn fence(&self) -> Fence {
        self.fence.lock().clone()
    }

    /// Notes a newer epoch.
    pub fn raise(&self, epoch: u64) {
        self.fence.lock().epoch = epoch;
    }

    /// Cancelled when the wallet is to be left to others, or is another's already.
    pub const fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Returns true as long as nobody else can have the wallet, so that new work is
    /// begun. It saves work that would be refused; the store is what refuses it.
    pub fn may_begin(&self) -> bool {
        !self.over.is_cancelled() && self.renewed.as_ref().is_none_or(Renewed::is_fresh)
    }
}

/// Ownership by the lock of the store: the process that holds it owns every
/// wallet.
pub struct StoreLockOwnership {
    store: Arc<dyn Store>,
    owner: String,
}

impl StoreLockOwnership {
    /// Ownership through a store that this process has locked.
    pub fn new(store: Arc<dyn Store>) -> Self {
        // Processes of other machines have the same numbers.
        Self { store, owner: format!("process {}, {}", std::process::id(), Uuid::now_v7()) }
    }
}

#[async_trait]
impl Ownership for StoreLockOwnership {
    async fn acquire(&self, network: &Network, gas_wallet: &str) -> Result<Holding, StoreError> {
        let epoch = self.store.own_wallet(network, gas_wallet, &self.owner).await?;
        let (network, gas_wallet, owner) = (network.clone(), gas_wallet.to_owned(), self.owner.clone());
        Ok(Holding::new(Fence { network, gas_wallet, owner, epoch }, None))
    }

    async fn renew(&self, holding: &Holding) -> Result<bool, StoreError> {
        let Fence { network, gas_wallet, owner, .. } = holding.fence();
        let epoch = self.store.raise_epoch(&network, &gas_wallet, &owner).await?;
        if let Some(epoch) = epoch {
            holding.raise(epoch);
        }
        Ok(epoch.is_some())
    }

    async fn release(&self, _: &Holding) {}

    fn owner_elsewhere(&self, _: &Network, _: &str) -> Option<String> {
        None
    }

    fn instance(&self) -> Option<&str> {
        None
    }

    fn instances(&self) -> u32 {
        1
    }
}
