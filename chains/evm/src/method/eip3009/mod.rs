//! Payments by EIP-3009 `transferWithAuthorization`: read, verified, planned.
//!
//! | module | what it holds |
//! |---|---|
//! | [`payment`] | a payment from its payload to its verdict |
//! | [`terms`] | what can be decided without the chain |
//! | [`evaluation`] | what the lens's record says about it |
//! | [`counterfactual`] | payers whose wallet is not deployed yet |

pub(crate) mod counterfactual;
mod evaluation;
pub(crate) mod payment;
mod terms;
#[cfg(test)]
mod tests;
