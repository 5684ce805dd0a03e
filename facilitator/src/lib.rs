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
//! | [`config`], [`families`] | the configuration, and who reads its networks |
//! | [`app`], [`cli`] | the composition root; the command line |
//! | [`audit`] | the store against the chain |
//! | [`lifecycle`] | how the process ends |

pub mod app;
pub mod audit;
pub mod cli;
pub mod config;
pub mod families;
pub mod http;
pub mod lifecycle;
pub mod payment;
pub mod settlement;
pub mod store;
pub mod submitter;
