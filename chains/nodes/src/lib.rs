//! The nodes of one network, as far as every family that asks them over HTTP
//! does it in the same way.
//!
//! | module | what it holds |
//! |---|---|
//! | [`pool`] | whom to ask first, whom next, whom not at all |
//! | [`transport`] | a request and its answer, bounded, without a word of the URL |
//! | [`error`] | how a call fails |
//!
//! Invariant: nothing of an endpoint but its host is ever shown, and nothing in
//! here knows what is asked.

pub mod error;
pub mod pool;
pub mod transport;

pub use error::{CallError, Fault, NodeError, clean};
pub use pool::{Endpoint, Pool, Proof, Standing};
pub use transport::{Limits, Transport, host};
