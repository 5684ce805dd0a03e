//! The reasons why a network, or one of its gas wallets, does not open.

use std::time::Duration;

use chains_core::chain::{ChainUnavailable, ProofError};

use super::{context::Context, status::Condition};
use crate::store::StoreError;

/// The shortest and the longest wait between tries to open a network, or a wallet.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// The reason why opening did not work this time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Chain(#[from] ChainUnavailable),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Says why a network is not open yet, once for each reason.
pub(super) fn keeps_closed(context: &Context, trouble: &Trouble) {
    let why = trouble.to_string();
    if context.status.set_condition(Condition::Closed(why.clone())) {
        tracing::error!(network = %context.network(), error = why, "the network is not open yet");
    }
}
