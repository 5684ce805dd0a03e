//! The use cases: verify, settle, supported. No HTTP, no SQL.

pub mod outcome;
pub mod settle;
pub mod supported;
pub mod verify;

pub use outcome::{SettleOutcome, Unavailable, VerifyOutcome};
