//! The words of x402 and the seam between the service and the chain families.
//!
//! Code map, in reading order:
//!
//! | module | what it holds |
//! |---|---|
//! | [`payment`] | one payment, free of wire versions |
//! | [`protocol`] | v1 and v2 JSON: the only place that knows versions |
//! | [`scheme`] | what a payment scheme does: read, identify, verify |
//! | [`chain`] | what a chain is and does: profile, execution, health |
//! | [`transaction`] | plans, fees, signed bytes, answers to a send |
//! | [`observation`] | blocks, inclusions, effects |
//! | [`diagnostic`] | what the doctor saw |
//! | [`metric`] | the metrics that families write, and their labels |
//! | [`family`] | how a family of chains is configured |
//! | [`reason`] | why a payment was refused: codes for machines, sentences for people |
//! | [`amount`], [`network`], [`identity`] | values that cannot be wrong once they exist |
//! | [`config`], [`secret`], [`clock`] | what families need to read their configuration and the time |
//!
//! Invariant: nothing in here does I/O, and nothing in here knows a chain
//! family, a database, or HTTP status codes.

pub mod amount;
pub mod chain;
pub mod clock;
pub mod config;
pub mod diagnostic;
pub mod family;
pub mod identity;
pub mod metric;
pub mod network;
pub mod observation;
pub mod payment;
pub mod protocol;
pub mod reason;
pub mod scheme;
pub mod secret;
pub mod transaction;

pub use amount::Amount;
pub use identity::{Fingerprint, Identity};
pub use network::Network;
pub use payment::Payment;
pub use reason::{Code, Rejection};
pub use secret::Secret;
