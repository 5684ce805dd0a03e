//! The x402 facilitator: verifies payments and settles each of them exactly once.
//!
//! Code map. Arrows point at what a module may import:
//! `cli → app → http | submitter → payment → store (trait) → settlement → chains-core`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`settlement`] | states, records, the in-process guard |
//! | [`store`] | what must survive |
//! | [`submitter`] | from a verified payment to exactly one transfer |
//! | [`payment`] | the use cases: verify, settle, supported |
//! | [`http`] | the outside over HTTP |
//! | [`audit`] | the store against the chain |
//! | [`config`], [`families`] | what the operator wants; the list of chain families |
//! | [`lifecycle`] | how the process ends |

pub mod audit;
pub mod config;
pub mod families;
pub mod http;
pub mod lifecycle;
pub mod payment;
pub mod settlement;
pub mod store;
pub mod submitter;
