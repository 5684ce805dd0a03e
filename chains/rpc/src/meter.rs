//! Counts and times what one endpoint is asked.

use chains_core::{
    Network,
    metric::{RPC_CALLS, RPC_REQUESTS, RPC_SECONDS},
};
use tokio::time::Instant;

use crate::error::Fault;

/// The outcome of one HTTP request to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered, if only with an error about a call, such as a revert.
    Ok,
    /// It cannot be reached, broke off, or refused the whole request.
    Error,
    /// Nothing came in time.
    Timeout,
    /// It says that it was asked too often.
    Limited,
    /// The answer is not what the method returns, or larger than any that is read.
    Unreadable,
    /// Another endpoint was faster: this one was not waited for any longer.
    Abandoned,
}

/// The words of nodes and providers that are asked too often.
const RATE_LIMITS: [&str; 6] =
    ["rate limit", "request rate", "too many requests", "per second", "request count exceeded", "rps limit"];

impl Outcome {
    /// The outcome that a fault stands for.
    #[must_use]
    pub const fn of(fault: Fault) -> Self {
        match fault {
            Fault::Timeout => Self::Timeout,
            Fault::Status(429) => Self::Limited,
            Fault::TooLarge | Fault::Unreadable => Self::Unreadable,
            Fault::Connect | Fault::Broken | Fault::Status(_) => Self::Error,
        }
    }

    /// The outcome of an answer that holds nothing but this error.
    #[must_use]
    pub fn of_node(code: i64, message: &str) -> Self {
        let message = message.to_lowercase();
        let limited = code == -32_005 || RATE_LIMITS.iter().any(|words| message.contains(words));
        if limited { Self::Limited } else { Self::Ok }
    }

    /// Its word, one of [`RPC_OUTCOMES`](chains_core::metric::RPC_OUTCOMES).
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Limited => "limited",
            Self::Unreadable => "unreadable",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The metrics of one endpoint.
#[derive(Clone, Debug)]
pub struct Meter {
    network: String,
    node: String,
}

impl Meter {
    /// The metrics of the endpoint at this host.
    #[must_use]
    pub fn new(network: &Network, host: &str) -> Self {
        Self { network: network.to_string(), node: host.to_owned() }
    }

    /// Counts calls that are about to be made.
    pub fn call(&self, method: &'static str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let (network, node) = (self.network.clone(), self.node.clone());
        metrics::counter!(RPC_CALLS, "network" => network, "node" => node, "method" => method).increment(count);
    }

    /// Begins an HTTP request; it is counted when it ends, or is not waited for any longer.
    #[must_use]
    pub fn request(&self, method: &'static str) -> Request<'_> {
        Request { meter: self, method, began: Instant::now(), outcome: Outcome::Abandoned }
    }
}

/// An HTTP request under way; counted when it is dropped.
#[derive(Debug)]
pub struct Request<'m> {
    meter: &'m Meter,
    method: &'static str,
    began: Instant,
    outcome: Outcome,
}

impl Request<'_> {
    /// Ends it.
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let Self { meter: Meter { network, node }, method, began, outcome } = self;
        let (network, node) = (network.clone(), node.clone());
        metrics::histogram!(RPC_SECONDS, "network" => network.clone(), "node" => node.clone()).record(began.elapsed());
        let (method, outcome) = (*method, outcome.word());
        metrics::counter!(
            RPC_REQUESTS, "network" => network, "node" => node, "method" => method, "outcome" => outcome
        )
        .increment(1);
    }
}

#[cfg(test)]
mod tests {
    use chains_core::metric::RPC_OUTCOMES;

    use super::*;

    #[test]
    fn every_way_for_a_request_to_end_has_an_outcome_of_the_closed_set() {
        let cases = [
            (Outcome::of(Fault::Timeout), "timeout"),
            (Outcome::of(Fault::Status(429)), "limited"),
            (Outcome::of(Fault::Status(502)), "error"),
            (Outcome::of(Fault::Connect), "error"),
            (Outcome::of(Fault::Broken), "error"),
            (Outcome::of(Fault::TooLarge), "unreadable"),
            (Outcome::of(Fault::Unreadable), "unreadable"),
            (Outcome::of_node(-32_005, "daily request count exceeded"), "limited"),
            (Outcome::of_node(-32_000, "Too Many Requests"), "limited"),
            (Outcome::of_node(429, "Your app has exceeded its compute units per second capacity"), "limited"),
            (Outcome::of_node(0, "project ID request rate exceeded"), "limited"),
            (Outcome::of_node(0, "You've exceeded the RPS limit available on the current plan"), "limited"),
            (Outcome::of_node(0, "query exceeds max block range"), "ok"),
            (Outcome::of_node(3, "execution reverted"), "ok"),
            (Outcome::Abandoned, "abandoned"),
        ];
        for (outcome, word) in cases {
            assert_eq!(outcome.word(), word);
            assert!(RPC_OUTCOMES.contains(&word), "{word}");
        }
    }
}
