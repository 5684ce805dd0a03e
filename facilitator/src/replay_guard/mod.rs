//! The early refusal of a repeated payment, between instances.
//!
//! | module | what it holds |
//! |---|---|
//! | [`redis`] | marks in Redis, which all instances see |
//! | [`mark`] | a mark's words, and reading them |
//!
//! Inside one process the registry of settlements under way is the guard. This one stands before the
//! store and the nodes, and only refuses or delays: whatever it says or forgets, the store's unique
//! identity decides who settles.

mod mark;
pub mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use chains_core::Identity;

pub use self::mark::Delivered;
use crate::settlement::SettlementId;

/// The answer to a request that marks a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is the first that asks: its mark stands until it is released, or for some seconds.
    First,
    /// Another instance verifies the payment now, or has begun to settle it.
    Elsewhere,
    /// Its success was given away.
    Delivered(Delivered),
    /// Nothing is known: go on.
    Unknown,
}

impl Answer {
    /// The words for it in metrics.
    pub const WORDS: [&str; 4] = ["first", "elsewhere", "delivered", "unknown"];

    /// The word for it in metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Elsewhere => "elsewhere",
            Self::Delivered(_) => "delivered",
            Self::Unknown => "unknown",
        }
    }
}

/// The guard of one service.
#[async_trait]
pub trait ReplayGuard: Send + Sync {
    /// Marks a payment as being verified. Called once for a settle request, before the store or a node is asked.
    async fn mark(&self, identity: &Identity) -> Answer;

    /// Takes the mark back, because the payment was not claimed. Called by the request that was
    /// [`First`](Answer::First); does not wait.
    fn release(&self, identity: &Identity);

    /// Notes that the success was given to a caller. Does not wait.
    fn deliver(&self, identity: &Identity, settlement: SettlementId, transaction: &str);

    /// The standing of the guard, for `/ready`: the word `ok`, or why it is not used. `None` for one that
    /// cannot fail.
    fn standing(&self) -> Option<Result<String, String>>;
}

/// The guard of a service that shares nothing: the registry is enough.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

#[async_trait]
impl ReplayGuard for Alone {
    async fn mark(&self, _: &Identity) -> Answer {
        Answer::Unknown
    }

    fn release(&self, _: &Identity) {}

    fn deliver(&self, _: &Identity, _: SettlementId, _: &str) {}

    fn standing(&self) -> Option<Result<String, String>> {
        None
    }
}

/// A request's mark on a payment. Dropping it takes the mark back: the request was refused, or its
/// caller has gone.
pub struct Held {
    /// `None` once the mark is to stay.
    guard: Option<Arc<dyn ReplayGuard>>,
    identity: Identity,
}

impl Held {
    /// The mark that a request was the first to set.
    pub fn new(guard: Arc<dyn ReplayGuard>, identity: Identity) -> Self {
        Self { guard: Some(guard), identity }
    }

    /// Leaves the mark as it is, because the payment is claimed: other instances find it in the store
    /// before the mark ends.
    pub fn keep(mut self) {
        self.guard = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(guard) = &self.guard {
            guard.release(&self.identity);
        }
    }
}
