//! What nodes say to `eth_sendRawTransaction`, and to calls that name a price:
//! the one place where texts are read, because nodes leave no other choice.

use chains_core::chain::Broadcast;

use super::error::{CallError, NodeError};

/// What the texts of a line mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Accepted,
    SequenceConsumed,
    SequenceGap,
    SequenceTaken,
    Underpriced,
    GasWalletEmpty,
    PoolFull,
    Refused,
}

/// Lower-case parts of texts, first hit wins. A line stands above another
/// when its text may contain that of the other.
const TABLE: [(&str, Meaning); 57] = [
    // The same bytes are there already.
    ("already known", Meaning::Accepted),
    ("alreadyknown", Meaning::Accepted),
    ("already imported", Meaning::Accepted),
    ("already exists in", Meaning::Accepted),
    ("already in mempool", Meaning::Accepted),
    ("already in the mempool", Meaning::Accepted),
    ("already in pool", Meaning::Accepted),
    ("existing tx with same hash", Meaning::Accepted),
    ("same hash was already imported", Meaning::Accepted),
    ("duplicate transaction", Meaning::Accepted),
    // "unknown transaction type" must not be read as "known transaction".
    ("unknown transaction", Meaning::Refused),
    ("known transaction", Meaning::Accepted),
    // The gas wallet's nonce.
    ("nonce too low", Meaning::SequenceConsumed),
    ("nonce is too low", Meaning::SequenceConsumed),
    ("oldnonce", Meaning::SequenceConsumed),
    ("old nonce", Meaning::SequenceConsumed),
    ("nonce has already been used", Meaning::SequenceConsumed),
    ("invalid nonce; got", Meaning::SequenceConsumed),
    ("nonce too high", Meaning::SequenceGap),
    ("nonce too distant", Meaning::SequenceGap),
    ("nonce_too_distant", Meaning::SequenceGap),
    ("nonce gap", Meaning::SequenceGap),
    ("noncegap", Meaning::SequenceGap),
    ("transaction nonce is too high", Meaning::SequenceGap),
    // Another transaction has it.
    ("replacement transaction underpriced", Meaning::SequenceTaken),
    ("replacement underpriced", Meaning::SequenceTaken),
    ("replacementnotallowed", Meaning::SequenceTaken),
    ("transaction_replacement_underpriced", Meaning::SequenceTaken),
    ("could not replace existing", Meaning::SequenceTaken),
    ("could not be replaced", Meaning::SequenceTaken),
    ("not enough to replace", Meaning::SequenceTaken),
    // The offer.
    ("underpriced", Meaning::Underpriced),
    ("max fee per gas less than block base fee", Meaning::Underpriced),
    ("maxfeepergas less than block base fee", Meaning::Underpriced),
    ("max fee per gas below", Meaning::Underpriced),
    ("feecap less than base", Meaning::Underpriced),
    ("fee cap less than", Meaning::Underpriced),
    ("feetoolow", Meaning::Underpriced),
    ("fee too low", Meaning::Underpriced),
    ("gas price below", Meaning::Underpriced),
    ("gas_price_too_low", Meaning::Underpriced),
    ("gas price too low", Meaning::Underpriced),
    ("less than the current basefee", Meaning::Underpriced),
    ("miner premium is negative", Meaning::Underpriced),
    // The gas wallet's balance.
    ("insufficient funds", Meaning::GasWalletEmpty),
    ("insufficientfunds", Meaning::GasWalletEmpty),
    ("insufficient sender balance", Meaning::GasWalletEmpty),
    ("for sender balance", Meaning::GasWalletEmpty),
    ("upfront cost exceeds", Meaning::GasWalletEmpty),
    ("upfront_cost_exceeds_balance", Meaning::GasWalletEmpty),
    // The pool.
    ("txpool is full", Meaning::PoolFull),
    ("pool is full", Meaning::PoolFull),
    ("account limit", Meaning::PoolFull),
    ("in-flight transaction limit", Meaning::PoolFull),
    ("too many transactions", Meaning::PoolFull),
    ("sender has exceeded", Meaning::PoolFull),
    ("exceeds maximum capacity", Meaning::PoolFull),
];

/// Texts by which a node says that these bytes can never be valid.
const NEVER: [&str; 14] = [
    "exceeds block gas limit",
    "intrinsic gas too low",
    "intrinsic gas exceeds",
    "exceeds the configured cap",
    "invalid sender",
    "invalid signature",
    "invalidsignature",
    "invalid chain id",
    "chain id is invalid",
    "wrong chain",
    "transaction type not supported",
    "invalid transaction type",
    "rlp: ",
    "failed to decode signed transaction",
];

/// What one endpoint's answer to one send means.
pub fn read(answer: Result<(), &CallError>) -> Broadcast {
    match answer {
        Ok(()) => Broadcast::Accepted,
        Err(CallError::Node { error, .. }) => read_error(error),
        Err(error @ (CallError::Transport { .. } | CallError::NoEndpoint)) => Broadcast::Unknown(error.to_string()),
    }
}

/// What a node's error to a send means. What is not recognised is unknown,
/// never refused.
pub fn read_error(error: &NodeError) -> Broadcast {
    let text = error.message.to_lowercase();
    let known = TABLE.iter().find(|(part, _)| text.contains(part)).map(|(_, meaning)| *meaning);
    let never = || NEVER.iter().any(|part| text.contains(part)).then_some(Meaning::Refused);
    match known.or_else(never) {
        Some(Meaning::Accepted) => Broadcast::Accepted,
        Some(Meaning::SequenceConsumed) => Broadcast::SequenceConsumed,
        Some(Meaning::SequenceGap) => Broadcast::SequenceGap,
        Some(Meaning::SequenceTaken) => Broadcast::SequenceTaken,
        Some(Meaning::Underpriced) => Broadcast::Underpriced,
        Some(Meaning::GasWalletEmpty) => Broadcast::GasWalletEmpty,
        Some(Meaning::PoolFull) => Broadcast::PoolFull,
        Some(Meaning::Refused) => Broadcast::Refused(error.to_string()),
        None => Broadcast::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use chains_nodes::Fault;

    use super::*;

    #[test]
    fn every_known_answer_has_its_meaning() {
        let cases = [
            ("geth", -32000, "already known", Meaning::Accepted),
            ("reth", -32000, "already known", Meaning::Accepted),
            ("anvil", -32003, "transaction already imported", Meaning::Accepted),
            ("nethermind", -32010, "AlreadyKnown", Meaning::Accepted),
            ("erigon", -32000, "existing tx with same hash", Meaning::Accepted),
            ("besu", -32000, "Known transaction", Meaning::Accepted),
            ("parity", -32010, "Transaction with the same hash was already imported.", Meaning::Accepted),
            ("geth", -32000, "nonce too low: next nonce 5, tx nonce 4", Meaning::SequenceConsumed),
            ("anvil", -32003, "nonce too low", Meaning::SequenceConsumed),
            ("nethermind", -32010, "OldNonce, Current nonce: 5, nonce of rejected tx: 4", Meaning::SequenceConsumed),
            ("besu", -32001, "Nonce too low", Meaning::SequenceConsumed),
            ("geth", -32000, "nonce too high: tx nonce 9, gapped nonce 5", Meaning::SequenceGap),
            ("nethermind", -32010, "NonceGap, Future nonce. Expected nonce: 5", Meaning::SequenceGap),
            (
                "besu",
                -32000,
                "Transaction nonce is too distant from current sender nonce: nonce too distant",
                Meaning::SequenceGap,
            ),
            ("geth", -32000, "replacement transaction underpriced", Meaning::SequenceTaken),
            ("erigon", -32000, "could not replace existing tx", Meaning::SequenceTaken),
            ("nethermind", -32010, "ReplacementNotAllowed", Meaning::SequenceTaken),
            ("besu", -32000, "TRANSACTION_REPLACEMENT_UNDERPRICED", Meaning::SequenceTaken),
            ("geth", -32000, "transaction underpriced: tip needed 1, tip permitted 0", Meaning::Underpriced),
            (
                "geth",
                -32000,
                "max fee per gas less than block base fee: address 0x, maxFeePerGas: 1",
                Meaning::Underpriced,
            ),
            ("nethermind", -32010, "FeeTooLow, MaxFeePerGas too low", Meaning::Underpriced),
            ("nethermind", -32000, "miner premium is negative", Meaning::Underpriced),
            ("nethermind", -32000, "insufficient MaxFeePerGas for sender balance", Meaning::GasWalletEmpty),
            ("nethermind", -32000, "insufficient sender balance", Meaning::GasWalletEmpty),
            ("besu", -32009, "gasPrice is less than the current BaseFee", Meaning::Underpriced),
            ("besu", -32009, "Gas price below configured minimum gas price", Meaning::Underpriced),
            ("geth", -32000, "insufficient funds for gas * price + value: balance 0", Meaning::GasWalletEmpty),
            ("anvil", -32003, "Insufficient funds for gas * price + value", Meaning::GasWalletEmpty),
            ("nethermind", -32010, "InsufficientFunds, Account balance: 0", Meaning::GasWalletEmpty),
            ("besu", -32004, "Upfront cost exceeds account balance", Meaning::GasWalletEmpty),
            ("geth", -32000, "txpool is full", Meaning::PoolFull),
            ("reth", -32003, "txpool is full", Meaning::PoolFull),
            ("geth", -32000, "in-flight transaction limit reached for delegated accounts", Meaning::PoolFull),
            ("geth", -32000, "exceeds block gas limit", Meaning::Refused),
            ("geth", -32000, "intrinsic gas too low: gas 1, minimum needed 21000", Meaning::Refused),
            ("geth", -32000, "invalid sender: invalid chain id for signer: have 1 want 2", Meaning::Refused),
            ("geth", -32000, "transaction type not supported", Meaning::Refused),
            ("anvil", -32602, "Failed to decode signed transaction", Meaning::Refused),
            ("somebody", -32000, "unknown transaction type", Meaning::Refused),
        ];
        for (node, code, text, expected) in cases {
            let error = NodeError::new(code, text, None);
            let expected = match expected {
                Meaning::Accepted => Broadcast::Accepted,
                Meaning::SequenceConsumed => Broadcast::SequenceConsumed,
                Meaning::SequenceGap => Broadcast::SequenceGap,
                Meaning::SequenceTaken => Broadcast::SequenceTaken,
                Meaning::Underpriced => Broadcast::Underpriced,
                Meaning::GasWalletEmpty => Broadcast::GasWalletEmpty,
                Meaning::PoolFull => Broadcast::PoolFull,
                Meaning::Refused => Broadcast::Refused(error.to_string()),
            };
            assert_eq!(read_error(&error), expected, "{node}: {text}");
        }
    }

    #[test]
    fn whatever_is_not_recognised_is_unknown() {
        for (code, text) in [(4, "timed out"), (-32005, "rate limit"), (-32603, "internal error"), (-32000, "")] {
            assert!(matches!(read_error(&NodeError::new(code, text, None)), Broadcast::Unknown(_)), "{text}");
        }
        for fault in [Fault::Timeout, Fault::Broken, Fault::Status(503), Fault::Connect, Fault::Unreadable] {
            let error = CallError::Transport { host: "h".into(), fault };
            assert!(matches!(read(Err(&error)), Broadcast::Unknown(_)), "{fault}");
        }
    }
}
