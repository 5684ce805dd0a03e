//! Payments by Permit2: what scheme `exact` by Permit2 and scheme `upto` have
//! in common, which is nearly all.
//!
//! | module | what it holds |
//! |---|---|
//! | [`permit`] | the payload, read; what can be decided about it without the chain |
//! | [`abi`] | typed data and calldata of Permit2 and of x402's proxies |
//! | [`payment`] | an authorization: named, verified, planned |
//! | [`sponsor_payload`] | the permit or approval that comes along |
//! | [`evaluation`] | what the lens's record says about it |
//!
//! Rules and sources: `docs/protocol-notes.md`, "Exact by Permit2" and "Upto by
//! Permit2".

pub(crate) mod abi;
pub(crate) mod evaluation;
pub(crate) mod payment;
pub(crate) mod permit;
mod sponsor_payload;
