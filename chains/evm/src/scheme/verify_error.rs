//! The reason why a payment is not valid, or cannot be judged.

use chains_core::{
    Rejection,
    chain::ChainUnavailable,
    scheme::{Verdict, VerifiedPayment},
};

/// The two ways in which a verification does not end well.
#[derive(Clone, Debug)]
pub(crate) enum VerifyError {
    /// A check failed.
    Rejected(Rejection),
    /// The chain could not be asked.
    Unavailable(ChainUnavailable),
}

impl VerifyError {
    /// The verdict of a verification.
    pub fn verdict(result: Result<VerifiedPayment, Self>) -> Verdict {
        match result {
            Ok(verified) => Verdict::Valid(verified),
            Err(Self::Rejected(rejection)) => Verdict::Invalid(rejection),
            Err(Self::Unavailable(error)) => Verdict::Unavailable(error),
        }
    }
}

impl From<Rejection> for VerifyError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<ChainUnavailable> for VerifyError {
    fn from(error: ChainUnavailable) -> Self {
        Self::Unavailable(error)
    }
}
