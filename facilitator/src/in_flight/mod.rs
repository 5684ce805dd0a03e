//! Requests that wait for settlements, in this process.
//!
//! | module | what it holds |
//! |---|---|
//! | [`registry`] | one entry for each settlement under way: claim, find, end |
//! | [`entry`] | one settlement under way: join it, follow its progress |
//! | [`delivery`] | giving a success to exactly one caller |
//!
//! The registry is fast and forgetful; the store's unique identity is the
//! arbiter of "one payment, one settlement".

pub mod delivery;
pub mod entry;
pub mod registry;

pub use delivery::Waiter;
pub use entry::{Dropped, Entry, Join, Progress};
pub use registry::{Claim, Registry};
