//! Leases of gas wallets: several instances on one database share its wallets.
//!
//! No clock is compared: an owner changes its leases' beat again and again, and
//! whoever has seen a beat stand still for long enough takes the wallet, under a
//! larger epoch. The times in here are for people.

use async_trait::async_trait;
use chains_core::{Network, clock::Millis};

use super::StoreError;

/// A lease as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The chain.
    pub network: Network,
    /// The gas wallet, or the name of a duty that one instance does for all.
    pub gas_wallet: String,
    /// The owner's id, as in [`Instance::id`]; empty when it was given back.
    pub owner: String,
    /// The name that the owner gave itself.
    pub owner_name: String,
    /// Grows with every owner.
    pub epoch: u64,
    /// Changes while the owner lives.
    pub beat: u64,
    /// The time of the last beat, by the owner's clock.
    pub renewed_at: Millis,
}

/// A lease that an instance has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The chain.
    pub network: Network,
    /// The gas wallet, or the duty.
    pub gas_wallet: String,
    /// The epoch.
    pub epoch: u64,
}

/// An instance as it tells the others of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The name of this one process, which no other ever has.
    pub id: String,
    /// The name that the operator gave it, or its machine's.
    pub name: String,
    /// Its release.
    pub version: String,
    /// The networks that are open there.
    pub networks: Vec<Network>,
    /// Changes while it lives.
    pub beat: u64,
    /// The time of its start, by its own clock.
    pub started_at: Millis,
    /// The time of the last beat, by its own clock.
    pub renewed_at: Millis,
}

/// The leases of a database.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Every lease that there ever was. Called once a second by each instance.
    async fn leases(&self) -> Result<Vec<Lease>, StoreError>;

    /// Every instance that has not said good-bye.
    async fn instances(&self) -> Result<Vec<Instance>, StoreError>;

    /// Takes a lease that is as it was `seen` (epoch and beat; one that never was
    /// has neither); returns the new epoch, `None` when it is not as it was seen.
    /// Waits for what the last owner is in the middle of writing.
    async fn take_lease(&self, seen: &Lease, by: &Instance) -> Result<Option<u64>, StoreError>;

    /// Tells the others of an instance, with its newest beat, and changes the beat
    /// of its leases. Returns those leases: one that is missing is another's.
    async fn renew_leases(&self, of: &Instance) -> Result<Vec<Kept>, StoreError>;

    /// Gives a lease back; `false` when it is another's.
    async fn release_lease(&self, network: &Network, gas_wallet: &str, owner: &str) -> Result<bool, StoreError>;

    /// Says good-bye: the others count this instance no more.
    async fn forget_instance(&self, id: &str) -> Result<(), StoreError>;
}
