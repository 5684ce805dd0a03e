//! The failures of a call to a node.

use chains_rpc::Fault;
use solana_client::{
    client_error::{ClientError, ClientErrorKind},
    rpc_request::RpcError,
};
use solana_sdk::transaction::TransactionError;

/// The reason why a call has no answer.
pub type CallError = chains_rpc::CallError<NodeError>;

/// A JSON-RPC error object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct NodeError {
    /// Its code.
    pub code: i64,
    /// Its message, [cleaned](chains_rpc::clean).
    pub message: String,
    /// Its word on the transaction that it was given.
    pub transaction: Option<TransactionError>,
}

impl NodeError {
    /// Takes a node's words.
    pub fn new(code: i64, message: &str, transaction: Option<TransactionError>) -> Self {
        Self { code, message: chains_rpc::clean(message), transaction }
    }
}

impl chains_rpc::NodeError for NodeError {
    /// Nodes differ in how far they are: another one may know better.
    fn is_answer(&self) -> bool {
        false
    }

    /// A transaction whose lookup tables a node cannot read is wrong to it.
    fn blames_request(&self) -> bool {
        self.code == INVALID_PARAMS
    }
}

/// The code of JSON-RPC for parameters that make no sense.
const INVALID_PARAMS: i64 = -32602;

/// A fault as the client carries it through.
pub(crate) fn carried(fault: Fault) -> ClientErrorKind {
    std::io::Error::other(fault).into()
}

/// Reads an error of the client of the solana crates.
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
    fn a_fault_survives_its_way_through_the_client() {
        for fault in [Fault::Timeout, Fault::Status(502), Fault::TooLarge] {
            let error = ClientError::from(carried(fault));
            assert_eq!(read("h", &error), CallError::Transport { host: "h".into(), fault });
        }
        let custom = ClientError::from(ClientErrorKind::Custom("https://canary".into()));
        assert!(!read("h", &custom).to_string().contains("canary"));
    }
}
