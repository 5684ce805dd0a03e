//! Scheme `exact`: one `TransferChecked` of exactly the required amount, in a
//! transaction that the payer has signed and whose fee we pay.
//!
//! Source: `protocol.md` 4.

pub mod demand;
mod diagnosis;
mod inner;
pub mod lookup;
pub(crate) mod payment;
pub mod rules;
mod simulation;
pub mod smart_wallet;
#[cfg(test)]
mod tests;
pub mod transaction;

/// The scheme's name.
pub const NAME: &str = "exact";
