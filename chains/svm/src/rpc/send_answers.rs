//! The meaning of a node's answer to `sendTransaction`: the one table of its kind.

use chains_core::transaction::BroadcastResult;
use solana_sdk::transaction::TransactionError;

use super::error::CallError;

/// `TransactionSignatureVerificationFailure`: no node will ever take these bytes.
const SIGNATURE_FAILURE: i64 = -32003;
/// Invalid parameters: the bytes are not a transaction, or too many.
const INVALID_PARAMS: i64 = -32602;

/// One node's answer. Preflight is skipped, yet some gateways check anyway:
/// what they find is an opinion about their own state, and no proof.
pub(super) fn classify(answer: Result<String, CallError>) -> BroadcastResult {
    let error = match answer {
        Ok(_) => return BroadcastResult::Accepted,
        Err(CallError::Node { error, .. }) => error,
        Err(other) => return BroadcastResult::Unknown(other.to_string()),
    };
    match error.transaction {
        Some(TransactionError::AlreadyProcessed) => BroadcastResult::Accepted,
        Some(TransactionError::InsufficientFundsForFee | TransactionError::AccountNotFound) => {
            BroadcastResult::InsufficientFunds
        }
        // Gateways that pass the words on and not the data.
        None if error.message.contains("already been processed") => BroadcastResult::Accepted,
        None if matches!(error.code, SIGNATURE_FAILURE | INVALID_PARAMS) => {
            BroadcastResult::Rejected(error.to_string())
        }
        Some(_) | None => BroadcastResult::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use chains_rpc::Fault;

    use super::*;
    use crate::rpc::error::NodeError;

    #[test]
    fn only_what_no_node_could_ever_take_is_refused() {
        let node = |code, message, transaction| {
            Err(CallError::Node { host: "h".into(), error: NodeError::new(code, message, transaction) })
        };
        let late = "Transaction simulation failed: This transaction has already been processed";
        let cases = [
            (Ok("signature".to_owned()), "accepted"),
            (node(-32002, "x", Some(TransactionError::AlreadyProcessed)), "accepted"),
            (node(-32002, late, None), "accepted"),
            (node(-32002, "x", Some(TransactionError::InsufficientFundsForFee)), "empty"),
            (node(-32002, "x", Some(TransactionError::BlockhashNotFound)), "unknown"),
            (node(-32002, "Transaction simulation failed: Blockhash not found", None), "unknown"),
            (node(-32005, "Node is behind by 60 slots", None), "unknown"),
            (node(-32003, "Transaction signature verification failure", None), "refused"),
            (node(-32602, "base64 encoded too large", None), "refused"),
            (Err(CallError::Transport { host: "h".into(), fault: Fault::Timeout }), "unknown"),
            (Err(CallError::NoEndpoint), "unknown"),
        ];
        for (answer, expected) in cases {
            let said = match classify(answer.clone()) {
                BroadcastResult::Accepted => "accepted",
                BroadcastResult::InsufficientFunds => "empty",
                BroadcastResult::Unknown(_) => "unknown",
                BroadcastResult::Rejected(_) => "refused",
                other => panic!("{other:?}"),
            };
            assert_eq!(said, expected, "{answer:?}");
        }
    }
}
