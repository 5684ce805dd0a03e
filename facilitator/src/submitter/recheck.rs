//! What was proven when a network opened is proven again from time to time: a
//! URL may come to serve another chain, a token another domain.
//!
//! A network that is no longer what the configuration says takes no payments
//! until it is again. What is under way is followed all the same.

use std::{sync::Arc, time::Duration};

use chains_core::chain::OpenError;
use tokio_util::sync::CancellationToken;

use super::{Condition, Submitter};

/// Wait before the next proof while the last one failed.
const RETRY: Duration = Duration::from_secs(1);

/// What the newest proofs say of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is what the configuration says.
    Proven,
    /// Once it was not. A node may have erred.
    Doubted,
    /// Twice in a row it was not.
    Closed,
}

/// Pure: what a network stands for after another proof. One that could not be
/// made says nothing: whether the chain answers is the watcher's affair.
const fn after(standing: Standing, proof: &Result<(), OpenError>) -> Standing {
    match (standing, proof) {
        (_, Ok(())) => Standing::Proven,
        (_, Err(OpenError::Unavailable(_))) => standing,
        (Standing::Proven, Err(OpenError::Mismatch { .. })) => Standing::Doubted,
        (Standing::Doubted | Standing::Closed, Err(OpenError::Mismatch { .. })) => Standing::Closed,
    }
}

/// The task that proves an open network again and again.
pub(super) async fn run(submitter: Arc<Submitter>, stop: CancellationToken) {
    stop.run_until_cancelled(repeat(&submitter)).await;
}

async fn repeat(submitter: &Submitter) {
    let interval = submitter.deps.chain.pace().recheck_interval;
    let mut standing = Standing::Proven;
    loop {
        let wait = if standing == Standing::Proven { interval } else { RETRY.min(interval) };
        tokio::time::sleep(wait).await;
        let proof = submitter.deps.chain.open().await;
        let next = after(standing, &proof);
        heed(submitter, standing, next, proof);
        standing = next;
    }
}

/// Closes or opens the network, and tells the operator when that changes.
fn heed(submitter: &Submitter, before: Standing, now: Standing, proof: Result<(), OpenError>) {
    let network = submitter.network();
    match (now, proof) {
        (Standing::Closed, Err(error)) => {
            let why = error.to_string();
            if before != Standing::Closed {
                tracing::error!(%network, why, "the network is no longer what the configuration says: it takes no payments until it is");
            }
            submitter.set_condition(Condition::Opening(why));
        }
        (Standing::Doubted, Err(error)) => tracing::warn!(%network, %error, "a proof failed; it is made once more"),
        (Standing::Proven, _) if before == Standing::Closed => {
            submitter.set_condition(Condition::Open);
            tracing::info!(%network, "open again");
        }
        (Standing::Proven | Standing::Doubted | Standing::Closed, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use chains_core::chain::ChainUnavailable;

    use super::*;

    #[test]
    fn a_network_closes_after_two_contradictions_and_opens_with_a_proof() {
        let network: chains_core::Network = "eip155:1".parse().expect("a network");
        let unavailable = || Err(ChainUnavailable { network: network.clone(), detail: String::new() }.into());
        let mismatch = || Err(OpenError::Mismatch { network: network.clone(), detail: String::new() });
        let cases = [
            (Standing::Proven, mismatch(), Standing::Doubted),
            (Standing::Doubted, mismatch(), Standing::Closed),
            (Standing::Closed, mismatch(), Standing::Closed),
            (Standing::Proven, Ok(()), Standing::Proven),
            (Standing::Doubted, Ok(()), Standing::Proven),
            (Standing::Closed, Ok(()), Standing::Proven),
            (Standing::Proven, unavailable(), Standing::Proven),
            (Standing::Doubted, unavailable(), Standing::Doubted),
            (Standing::Closed, unavailable(), Standing::Closed),
        ];
        for (before, proof, expected) in cases {
            assert_eq!(after(before, &proof), expected, "{before:?} {proof:?}");
        }
    }
}
