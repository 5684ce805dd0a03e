//! The ways in which a call to a node fails.

use std::fmt;

use chains_core::transaction::BroadcastResult;
use chains_rpc::Outcome;

use super::send_answers;

/// The reason why a call has no answer.
pub type CallError = chains_rpc::CallError<NodeError>;

/// The code of JSON-RPC for parameters that a method does not take.
const INVALID_PARAMS: i64 = -32602;

/// Returns true for an error that says that questions come too often.
pub fn is_rate_limit(error: &CallError) -> bool {
    match error {
        CallError::Transport { fault, .. } => Outcome::of(*fault) == Outcome::Limited,
        CallError::Node { error, .. } => {
            // Not by the code of limits: nodes give it to ranges that are too large as well.
            Outcome::of_node(0, &error.message) == Outcome::Limited
        }
        CallError::NoEndpoint | CallError::OneWitness { .. } => false,
    }
}

/// A JSON-RPC error object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeError {
    /// Its code.
    pub code: i64,
    /// Its message, [cleaned](chains_rpc::clean).
    pub message: String,
    /// Its `data`, when that is hex: what a contract reverted with.
    pub data: Option<Vec<u8>>,
}

impl NodeError {
    /// Takes a node's words.
    pub fn new(code: i64, message: &str, data: Option<Vec<u8>>) -> Self {
        Self { code, message: chains_rpc::clean(message), data }
    }

    /// Returns whether a contract said so, which every other node would repeat.
    pub fn is_revert(&self) -> bool {
        self.code == 3 || self.message.to_lowercase().contains("revert")
    }

    /// Returns whether the call used up the gas that it was given.
    pub fn is_out_of_gas(&self) -> bool {
        let message = self.message.to_lowercase().replace(' ', "");
        message.contains("outofgas")
    }

    /// Returns whether the contract that was called is at fault, not the node: it reverted, used up
    /// its gas, or is no program.
    pub fn is_contracts_fault(&self) -> bool {
        let message = self.message.to_lowercase();
        let no_program =
            ["invalid opcode", "invalid jump", "stack underflow"].iter().any(|part| message.contains(part));
        self.is_revert() || self.is_out_of_gas() || no_program
    }

    /// Returns whether it is the price of a call that the node does not take: too low
    /// an offer, no coins for it, or parameters that it does not know.
    pub fn refuses_price(&self) -> bool {
        let about_price = || {
            matches!(
                send_answers::read_error(self),
                BroadcastResult::Underpriced(_) | BroadcastResult::InsufficientFunds
            )
        };
        !self.is_revert() && (self.code == INVALID_PARAMS || about_price())
    }

    /// The contract's words; empty when nothing readable.
    pub fn revert_text(&self) -> String {
        let said = self.data.as_deref().map(crate::reason::revert_text).unwrap_or_default();
        if said.is_empty() { self.message.clone() } else { said }
    }
}

impl chains_rpc::NodeError for NodeError {
    fn is_answer(&self) -> bool {
        self.is_revert()
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}
