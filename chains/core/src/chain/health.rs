use async_trait::async_trait;

use super::ProofError;
use crate::diagnostic::Finding;

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

    /// The online part of `doctor`: what is wrong or unusual with this network.
    async fn doctor(&self) -> Vec<Finding>;
}
