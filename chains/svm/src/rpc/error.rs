//! The failures of a call to a node.

use chains_rpc::Fault;
use solana_sdk::transaction::TransactionError;

/// The reason why a call has no answer.
pub type CallError = chains_rpc::CallError<NodeError>;

/// The reason why one endpoint gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The way to it failed, or its answer cannot be read.
    #[error("{0}")]
    Fault(Fault),
    /// It answered with an error object.
    #[error(transparent)]
    Node(NodeError),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

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
