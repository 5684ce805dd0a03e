//! The harness of the end-to-end tests: everything in it is real.
//!
//! | module | what it starts or speaks |
//! |---|---|
//! | [`anvil`] | a chain that looks like Base Sepolia |
//! | [`approval`] | payers who send an approval along |
//! | [`node`] | JSON-RPC to it, with anvil's own methods |
//! | [`payer`] | signs payments by EIP-3009, writes request bodies of v1 and v2 |
//! | [`permit2`] | signs payments by Permit2, writes request bodies |
//! | [`postgres`] | a PostgreSQL server |
//! | [`prometheus`] | Prometheus, which scrapes the service, and its tool |
//! | [`redis`] | Redis, alone and several together, which fails on demand |
//! | [`service`] | the built `facilitator` binary on a free port, configured key by key |
//! | [`validator`] | a validator that looks like devnet |
//! | [`svm`] | signs payments on it, writes request bodies of v1 and v2 |
//! | [`guard`] | assertions that payments there bring along |
//! | [`wallet`] | a smart wallet there, honest or not, and what it is to pay |
//! | [`throwaway`] | keys there that are used for a few payments |
//! | [`tables`] | address lookup tables there |
//! | [`token_states`] | token accounts there in states of all kinds |
//! | [`proxy`] | a JSON-RPC proxy that loses, delays, refuses, forgets and lies on demand |
//! | [`hostile`] | honest callers beside strangers that try to take the service away |
//! | [`nemesis`] | several instances under faults of all kinds, and the judge of what happened |
//! | [`liar`] | a node that lies about one thing |
//! | [`forger_svm`] | notifications of a node of Solana that are not true |
//! | [`stranger`] | somebody who executes payments before us |
//! | [`sdk`] | the official TypeScript packages as seller and payer |

pub mod anvil;
pub mod approval;
pub mod balancer;
pub mod forger_svm;
pub mod guard;
pub mod hostile;
pub mod liar;
pub mod liar_svm;
pub mod nemesis;
pub mod node;
pub mod payer;
pub mod permit2;
pub mod postgres;
pub mod prometheus;
pub mod proxy;
pub mod redis;
pub mod sdk;
pub mod service;
pub mod stranger;
pub mod svm;
pub mod tables;
pub mod throwaway;
pub mod token_states;
pub mod validator;
pub mod wallet;

use std::{future::Future, time::Duration};

/// An HTTP client.
pub fn http_client() -> reqwest::Client {
    chains_evm::install_ring();
    reqwest::Client::new()
}

/// The longest that anything is waited for.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until a condition holds.
///
/// # Panics
/// If the condition does not hold within a minute.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "after a minute it still does not hold: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
