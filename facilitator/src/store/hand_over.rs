//! Payments that one instance hands over to another: it has verified them, and
//! owns no gas wallet that could send them now.
//!
//! A payment that is handed over is not begun. The owner of a gas wallet begins it
//! by [`Change::Receive`](super::Change::Receive), in the commit that stores its
//! settlement and its bytes; until then whoever waits for it can withdraw it. Of the
//! two one comes first, and the other is told so.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chains_core::{Identity, Network, transaction::Plan};

use super::StoreError;
use crate::settlement::{Facts, SettlementId};

/// A payment that is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// The facts of its settlement.
    pub facts: Arc<Facts>,
    /// The first step.
    pub plan: Plan,
    /// The time from now until which its caller waits at most.
    pub wait: Duration,
}

/// The payments of a network that are handed over and not begun, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The chain.
    pub network: Network,
    /// The gas wallet that they need; `None` where any may send them.
    pub gas_wallet: Option<String>,
    /// Their number.
    pub count: u64,
    /// The name of the oldest.
    pub oldest: SettlementId,
}

/// The payments that instances hand over to each other.
#[async_trait]
pub trait HandOvers: Send + Sync {
    /// Hands a payment over to whoever owns a gas wallet that may send it; `false`
    /// when the payment is handed over or begun already, or `instance` is not announced.
    /// After an error it may be handed over: [`withdraw`](Self::withdraw) tells.
    async fn hand_over(&self, payment: HandedOver, instance: &str) -> Result<bool, StoreError>;

    /// Takes payments of a network that the gas wallets of `owner` may send and that
    /// nobody has taken who still owns one, oldest first. Those that nobody waits
    /// for any more are removed. Called by the owner when there is something to take.
    async fn take_handed_over(&self, network: &Network, owner: &str, limit: u32)
    -> Result<Vec<HandedOver>, StoreError>;

    /// Returns true when there is a payment that [`take_handed_over`](Self::take_handed_over)
    /// would take. Called again and again.
    async fn may_take_handed_over(&self, network: &Network, owner: &str) -> Result<bool, StoreError>;

    /// Leaves a payment that `owner` has taken and cannot begin now to others; for
    /// `None`, all that it has taken.
    async fn let_go(&self, id: Option<SettlementId>, owner: &str) -> Result<(), StoreError>;

    /// Ends a payment that is handed over; `false` when it is not any more: it was
    /// begun, or ended before. When this returns, a hand-over by `instance` whose
    /// answer was lost is over.
    async fn withdraw(&self, id: SettlementId, instance: &str) -> Result<bool, StoreError>;

    /// The facts of a payment that is handed over and waited for. Called for a settle
    /// whose payment is known and has no settlement.
    async fn handed_over(&self, identity: &Identity) -> Result<Option<Arc<Facts>>, StoreError>;

    /// Everything that is handed over and waited for, network by network.
    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError>;
}
