//! The proof that a network is as configured, made again and again: a URL may
//! come to serve another chain, a token another domain.
//!
//! A network that is no longer what the configuration says takes no payments
//! until it is again. Settlements under way are followed all the same.

use std::{sync::Arc, time::Duration};

use chains_core::chain::ProofError;
use tokio_util::sync::CancellationToken;

use super::{context::Context, status::Condition};

/// Wait before the next proof while the last one failed.
const RETRY: Duration = Duration::from_secs(1);

/// The conclusion from the newest proofs of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Credit {
    /// It is what the configuration says.
    Proven,
    /// Once it was not. A node may have erred.
    Doubted,
    /// Twice in a row it was not.
    Closed,
}

/// Returns the conclusion after another proof. One that could not be made says
/// nothing: the block tracker notices a chain that does not answer.
const fn after(credit: Credit, proof: &Result<(), ProofError>) -> Credit {
    match (credit, proof) {
        (_, Ok(())) => Credit::Proven,
        (_, Err(ProofError::Unavailable(_))) => credit,
        (Credit::Proven, Err(ProofError::Mismatch { .. })) => Credit::Doubted,
        (Credit::Doubted | Credit::Closed, Err(ProofError::Mismatch { .. })) => Credit::Closed,
    }
}

/// The task that proves an open network again and again.
pub(super) async fn run(context: Arc<Context>, stop: CancellationToken) {
    stop.run_until_cancelled(repeat(&context)).await;
}

async fn repeat(context: &Context) {
    let interval = context.chain.parameters().recheck_interval;
    let mut credit = Credit::Proven;
    loop {
        let wait = if credit == Credit::Proven { interval } else { RETRY.min(interval) };
        tokio::time::sleep(wait).await;
        let proof = context.chain.prove().await;
        let next = after(credit, &proof);
        heed(context, credit, next, proof);
        credit = next;
    }
}

/// Closes or opens the network, and tells the operator when that changes.
fn heed(context: &Context, before: Credit, now: Credit, proof: Result<(), ProofError>) {
    let network = context.network();
    match (now, proof) {
        (Credit::Closed, Err(error)) => {
            let why = error.to_string();
            if before != Credit::Closed {
                tracing::error!(%network, error = why, "the network is no longer what the configuration says: it takes no payments until it is");
            }
            context.status.set_condition(Condition::Closed(why));
        }
        (Credit::Doubted, Err(error)) => tracing::warn!(%network, %error, "a proof failed; it is made once more"),
        (Credit::Proven, _) if before == Credit::Closed => {
            context.status.set_condition(Condition::Open);
            tracing::info!(%network, "open again");
        }
        (Credit::Proven | Credit::Doubted | Credit::Closed, _) => {}
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
        let mismatch = || Err(ProofError::Mismatch { network: network.clone(), detail: String::new() });
        let cases = [
            (Credit::Proven, mismatch(), Credit::Doubted),
            (Credit::Doubted, mismatch(), Credit::Closed),
            (Credit::Closed, mismatch(), Credit::Closed),
            (Credit::Proven, Ok(()), Credit::Proven),
            (Credit::Doubted, Ok(()), Credit::Proven),
            (Credit::Closed, Ok(()), Credit::Proven),
            (Credit::Proven, unavailable(), Credit::Proven),
            (Credit::Doubted, unavailable(), Credit::Doubted),
            (Credit::Closed, unavailable(), Credit::Closed),
        ];
        for (before, proof, expected) in cases {
            assert_eq!(after(before, &proof), expected, "{before:?} {proof:?}");
        }
    }
}
