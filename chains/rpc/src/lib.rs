//! The endpoints of one network, as far as every family that asks them over
//! HTTP does it in the same way.
//!
//! | module | what it holds |
//! |---|---|
//! | [`pool`] | the order of asking, failover, hedging, sends to all |
//! | [`agreement`] | answers that two endpoints give alike |
//! | [`transport`] | a request and its answer, bounded, without a word of the URL |
//! | [`error`] | how a call fails |
//! | [`meter`] | counts and times what an endpoint is asked |
//! | [`tls`] | the cryptography of TLS |
//! | [`ttl_cache`] | verdicts that are remembered for a moment |
//!
//! Invariant: nothing of an endpoint but its host is ever shown, and nothing in
//! here knows what is asked.

pub mod agreement;
pub mod error;
pub mod meter;
pub mod pool;
pub mod tls;
pub mod transport;
pub mod ttl_cache;

pub use agreement::Agreement;
pub use error::{CallError, Fault, NodeError, clean};
pub use meter::{Meter, Outcome};
pub use pool::{Endpoint, Pool, Proof, Standing};
pub use tls::install_ring;
pub use transport::{Limits, Transport, host};
pub use ttl_cache::TtlCache;
