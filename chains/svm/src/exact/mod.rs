//! Scheme `exact`: one `TransferChecked` of exactly the required amount, in a
//! transaction that the payer has signed and whose fee we pay.
//!
//! Source: <https://github.com/x402-foundation/x402/blob/main/specs/schemes/exact/scheme_exact_svm.md>.

pub mod guards;
mod inner;
pub mod lookup;
pub(crate) mod payment;
pub(crate) mod plain;
pub mod requirements;
pub mod rules;
pub(crate) mod simulation;
pub mod smart_wallet;
#[cfg(test)]
mod tests;
pub mod transaction;
pub(crate) mod verification;

/// The scheme's name.
pub const NAME: &str = "exact";
