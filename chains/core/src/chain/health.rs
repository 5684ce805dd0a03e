use std::time::Duration;

use async_trait::async_trait;

use super::{ChainUnavailable, ProofError};
use crate::diagnostic::Finding;

/// An endpoint that has given no answer for this long, or nothing but errors,
/// is not a witness any more: the others decide without it.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// One look at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLook {
    /// The endpoint: host and port.
    pub node: String,
    /// The height of its newest block; the fault where it gives none, or serves
    /// another chain. The text is for operators.
    pub height: Result<u64, String>,
}

/// The contract by which a network's transactions carry several steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchContract {
    /// Its address, which follows from the gas wallets.
    pub address: String,
    /// True when the endpoints agree that it is there.
    pub deployed: bool,
}

/// The checks that a network is what the configuration says, and well.
#[async_trait]
pub trait Health: Send + Sync {
    /// Proves that the endpoints serve this very chain, can do what ending a
    /// payment needs, and that the assets are what the configuration says.
    /// Called until it succeeds, before any payment of this network is
    /// accepted, and from then on every
    /// [`recheck_interval`](super::Parameters::recheck_interval).
    async fn prove(&self) -> Result<(), ProofError>;

    /// Returns warnings for operators about a network that takes payments,
    /// such as an asset that is suspended, endpoints that contradict each
    /// other, or clocks that differ. Local. Called for every `/ready`.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the reason why a proven network cannot take payments now,
    /// such as a clock that cannot be trusted. Local. Called for every request.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Asks every endpoint for the height of its newest block, each by itself.
    /// Called every few seconds, for metrics and the log; nothing is decided by it.
    async fn look_at_nodes(&self) -> Vec<NodeLook> {
        Vec::new()
    }

    /// Looks for the contract by which transactions of this network carry several
    /// steps; `None` where there is no such contract. Called by the command
    /// `batch-contract`.
    ///
    /// # Errors
    /// No endpoint answered.
    async fn batch_contract(&self) -> Result<Option<BatchContract>, ChainUnavailable> {
        Ok(None)
    }

    /// The online part of `doctor`: what is wrong or unusual with this network.
    async fn doctor(&self) -> Vec<Finding>;
}
