//! The ways in which a call to a node fails.

use std::fmt::Display;

/// The reason why a call has no answer. `N` is a node's own account of an error.
/// Never holds more of an endpoint than its host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError<N> {
    /// No (readable) answer.
    #[error("{host}: {fault}")]
    Transport {
        /// The endpoint.
        host: String,
        /// The fault.
        fault: Fault,
    },
    /// The node answered with an error.
    #[error("{host}: {error}")]
    Node {
        /// The endpoint.
        host: String,
        /// Its words.
        error: N,
    },
    /// No endpoint has shown that it serves this chain.
    #[error("no endpoint has shown yet that it serves this chain")]
    NoEndpoint,
    /// One endpoint alone answered a question that takes two, and another should have.
    #[error("{host} alone answers, and no other endpoint confirms it")]
    OneWitness {
        /// The endpoint.
        host: String,
    },
}

impl<N> CallError<N> {
    /// That the pieces of an answer are not what the method returns.
    #[must_use]
    pub fn unreadable() -> Self {
        Self::Transport { host: "a node".to_owned(), fault: Fault::Unreadable }
    }
}

/// An error in a node's own words.
pub trait NodeError: Display {
    /// Returns whether every other node would say the same, so that none is asked.
    fn is_answer(&self) -> bool;

    /// Returns whether it says that the request itself is wrong: then the node is well.
    fn blames_request(&self) -> bool {
        false
    }
}

impl<N: NodeError> CallError<N> {
    /// Returns whether a node says that the request itself is wrong: then the node is well.
    pub fn blames_request(&self) -> bool {
        matches!(self, Self::Node { error, .. } if error.blames_request())
    }
}

/// The fault that came instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The name, the port, TLS, or nobody there.
    #[error("cannot connect")]
    Connect,
    /// Nothing in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// An HTTP status without a JSON-RPC answer.
    #[error("HTTP status {0}")]
    Status(u16),
    /// More than is ever read.
    #[error("the answer is larger than any that is read")]
    TooLarge,
    /// Not JSON-RPC, or not the type that the method has.
    #[error("the answer is not what the method returns")]
    Unreadable,
}

/// The longest text of a node that is kept.
const NODE_TEXT_MAX: usize = 300;

/// A node's words, cut and free of control characters. Gateways are known to
/// repeat the URL with its key in them, hence words with a scheme are left out.
#[must_use]
pub fn clean(message: &str) -> String {
    let words = message.split_whitespace().map(|word| if word.contains("://") { "[url]" } else { word });
    let text = words.collect::<Vec<_>>().join(" ");
    text.chars().filter(|c| !c.is_control()).take(NODE_TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_words_are_cut_and_lose_urls() {
        assert_eq!(clean("bad key at https://x.io/v2/canary\n see  docs"), "bad key at [url] see docs");
        assert_eq!(clean(&"x".repeat(5000)).len(), NODE_TEXT_MAX);
    }
}
