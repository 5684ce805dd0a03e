//! How a call to a node fails.

use solana_client::client_error::{ClientError, ClientErrorKind};
use solana_client::rpc_request::RpcError;
use solana_sdk::transaction::TransactionError;

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
    /// No endpoint has shown that it serves this cluster.
    #[error("no endpoint has shown yet that it serves this cluster")]
    NoEndpoint,
}

impl CallError {
    /// Whether the node says that the request itself is wrong: then the node is well.
    pub const fn blames_request(&self) -> bool {
        matches!(self, Self::Node { error: NodeError { code: INVALID_PARAMS, .. }, .. })
    }
}

/// The code of JSON-RPC for parameters that make no sense. A transaction whose
/// lookup tables a node cannot read is that to it.
const INVALID_PARAMS: i64 = -32602;

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

/// The largest answer that is read: 256 statuses, or a transaction with its
/// logs, fit many times.
pub const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The longest text of a node that is kept.
const NODE_TEXT_MAX: usize = 300;

/// A JSON-RPC error object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct NodeError {
    /// Its code.
    pub code: i64,
    /// Its message, cut and free of control characters and URLs.
    pub message: String,
    /// What the node says of the transaction that it was given.
    pub transaction: Option<TransactionError>,
}

impl NodeError {
    /// Takes a node's words. Gateways are known to repeat the URL with its
    /// key in them, hence words with a scheme are left out.
    pub fn new(code: i64, message: &str, transaction: Option<TransactionError>) -> Self {
        let words = message.split_whitespace().map(|word| if word.contains("://") { "[url]" } else { word });
        let text = words.collect::<Vec<_>>().join(" ");
        let message = text.chars().filter(|c| !c.is_control()).take(NODE_TEXT_MAX).collect();
        Self { code, message, transaction }
    }
}

/// A fault as the client carries it through.
impl From<Fault> for ClientErrorKind {
    fn from(fault: Fault) -> Self {
        std::io::Error::other(fault).into()
    }
}

/// What the client of the solana crates says, in our words.
pub(super) fn read(host: &str, error: &ClientError) -> CallError {
    let host = host.to_owned();
    match error.kind() {
        ClientErrorKind::RpcError(RpcError::RpcResponseError { code, message, .. }) => {
            CallError::Node { host, error: NodeError::new(*code, message, error.get_transaction_error()) }
        }
        ClientErrorKind::Io(error) => {
            let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
            CallError::Transport { host, fault: fault.copied().unwrap_or(Fault::Broken) }
        }
        ClientErrorKind::Reqwest(_)
        | ClientErrorKind::Middleware(_)
        | ClientErrorKind::RpcError(_)
        | ClientErrorKind::SerdeJson(_)
        | ClientErrorKind::SigningError(_)
        | ClientErrorKind::TransactionError(_)
        | ClientErrorKind::Custom(_) => CallError::Transport { host, fault: Fault::Unreadable },
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

    #[test]
    fn a_fault_survives_its_way_through_the_client() {
        for fault in [Fault::Timeout, Fault::Status(502), Fault::TooLarge] {
            let error = ClientError::from(ClientErrorKind::from(fault));
            assert_eq!(read("h", &error), CallError::Transport { host: "h".into(), fault });
        }
        let custom = ClientError::from(ClientErrorKind::Custom("https://canary".into()));
        assert!(!read("h", &custom).to_string().contains("canary"));
    }
}
