//! How a call to a node fails.

use std::fmt;

use chains_core::chain::Broadcast;

use super::send_answers;

/// Why a call has no answer. Never holds more of an endpoint than its host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No (readable) answer.
    #[error("{host}: {fault}")]
    Transport {
        /// The endpoint.
        host: String,
        /// What happened.
        fault: Fault,
    },
    /// The node answered with an error.
    #[error("{host}: {error}")]
    Node {
        /// The endpoint.
        host: String,
        /// Its words.
        error: NodeError,
    },
    /// No endpoint has shown that it serves this chain.
    #[error("no endpoint has shown yet that it serves this chain")]
    NoEndpoint,
}

impl CallError {
    /// That the pieces of an answer are not what the method returns.
    pub fn unreadable() -> Self {
        Self::Transport { host: "a node".to_owned(), fault: Fault::Unreadable }
    }
}

/// What happened instead of an answer.
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
    #[error("the answer is larger than {RESPONSE_BYTES_MAX} bytes")]
    TooLarge,
    /// Not JSON-RPC, or not the type that the method has.
    #[error("the answer is not what the method returns")]
    Unreadable,
}

/// The largest answer that is read: a block's or receipts' list of a busy
/// chain fits several times.
pub const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The code of JSON-RPC for parameters that a method does not take.
const INVALID_PARAMS: i64 = -32602;

/// The longest text of a node that is kept.
const NODE_TEXT_MAX: usize = 300;

/// A JSON-RPC error object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeError {
    /// Its code.
    pub code: i64,
    /// Its message, cut and free of control characters and URLs.
    pub message: String,
    /// Its `data`, when that is hex: what a contract reverted with.
    pub data: Option<Vec<u8>>,
}

impl NodeError {
    /// Takes a node's words. Gateways are known to repeat the URL with its
    /// key in them, hence words with a scheme are left out.
    pub fn new(code: i64, message: &str, data: Option<Vec<u8>>) -> Self {
        let words = message.split_whitespace().map(|word| if word.contains("://") { "[url]" } else { word });
        let text = words.collect::<Vec<_>>().join(" ");
        let message = text.chars().filter(|c| !c.is_control()).take(NODE_TEXT_MAX).collect();
        Self { code, message, data }
    }

    /// Whether a contract said so, which every other node would repeat.
    pub fn is_revert(&self) -> bool {
        self.code == 3 || self.message.to_lowercase().contains("revert")
    }

    /// Whether the call used up the gas that it was given.
    pub fn is_out_of_gas(&self) -> bool {
        let message = self.message.to_lowercase().replace(' ', "");
        message.contains("outofgas")
    }

    /// Whether it is the price of a call that the node does not take: too low
    /// an offer, no coins for it, or parameters that it does not know.
    pub fn refuses_price(&self) -> bool {
        let about_price =
            || matches!(send_answers::read_error(self), Broadcast::Underpriced | Broadcast::GasWalletEmpty);
        !self.is_revert() && (self.code == INVALID_PARAMS || about_price())
    }

    /// What the contract said; empty when nothing readable.
    pub fn revert_text(&self) -> String {
        let said = self.data.as_deref().map(crate::reason::revert_text).unwrap_or_default();
        if said.is_empty() { self.message.clone() } else { said }
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_words_are_cut_and_lose_urls() {
        let error = NodeError::new(-32000, "bad key at https://x.io/v2/canary\n see  docs", None);
        assert_eq!(error.message, "bad key at [url] see docs");
        assert_eq!(NodeError::new(0, &"x".repeat(5000), None).message.len(), NODE_TEXT_MAX);
    }
}
