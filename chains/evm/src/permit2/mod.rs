//! Payments by Permit2: what scheme `exact` by Permit2 and scheme `upto` have
//! in common, which is nearly all.
//!
//! | module | what it holds |
//! |---|---|
//! | [`permit`] | the payload, read; what can be decided about it without the chain |
//! | [`abi`] | typed data and calldata of Permit2 and of x402's proxies |
//! | [`payment`] | an authorization: named, verified, planned |
//! | [`judgement`] | what the lens's record says about it |
//!
//! Source: `protocol.md` 2.7, 2.8, 2.11, 3.1 to 3.3.

pub(crate) mod abi;
pub(crate) mod judgement;
pub(crate) mod payment;
pub(crate) mod permit;
