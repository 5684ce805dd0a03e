//! The right under which a worker writes.

use chains_core::Network;

/// The right under which a worker of a gas wallet writes: a call under it is
/// stored only as long as the wallet is this owner's under this epoch.
///
/// A process that was stopped for long wakes up as an owner that is none any
/// more. Whatever it still writes is refused, and the new owner knows everything
/// that was stored before it took the wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The chain.
    pub network: Network,
    /// The gas wallet.
    pub gas_wallet: String,
    /// The owner's name: that of one process alone.
    pub owner: String,
    /// The epoch of its ownership.
    pub epoch: u64,
}
