//! Reads the words of nodes to `eth_sendRawTransaction`, and to calls that name a price:
//! the one place where texts are read, because nodes leave no other choice.

use chains_core::transaction::BroadcastResult;

use super::error::{CallError, NodeError};

/// The meaning of the texts of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Accepted,
    NonceTooLow,
    NonceGap,
    NonceTaken,
    Underpriced,
    InsufficientFunds,
    PoolFull,
    Rejected,
}

/// Lower-case parts of texts, first hit wins. A line stands above another
/// when its text may contain that of the other.
const TABLE: &[(&str, Meaning)] = &[
    // The same bytes are there already.
    ("already known", Meaning::Accepted),
    ("alreadyknown", Meaning::Accepted),
    ("already imported", Meaning::Accepted),
    ("already exists in", Meaning::Accepted),
    ("already in mempool", Meaning::Accepted),
    ("already in the mempool", Meaning::Accepted),
    ("already in pool", Meaning::Accepted),
    ("existing tx with same hash", Meaning::Accepted),
    ("existing txn with same hash", Meaning::Accepted),
    ("alreadyimported", Meaning::Accepted),
    ("same hash was already imported", Meaning::Accepted),
    ("duplicate transaction", Meaning::Accepted),
    // "unknown transaction type" must not be read as "known transaction".
    ("unknown transaction", Meaning::Rejected),
    ("known transaction", Meaning::Accepted),
    // The gas wallet's nonce.
    ("nonce too low", Meaning::NonceTooLow),
    ("nonce is too low", Meaning::NonceTooLow),
    ("oldnonce", Meaning::NonceTooLow),
    ("old nonce", Meaning::NonceTooLow),
    ("nonce has already been used", Meaning::NonceTooLow),
    ("invalid nonce; got", Meaning::NonceTooLow),
    ("nonce too high", Meaning::NonceGap),
    ("nonce too distant", Meaning::NonceGap),
    ("nonce is too distant", Meaning::NonceGap),
    ("nonce_too_distant", Meaning::NonceGap),
    ("nonce gap", Meaning::NonceGap),
    ("noncegap", Meaning::NonceGap),
    ("transaction nonce is too high", Meaning::NonceGap),
    // Another transaction has it.
    ("replacement transaction underpriced", Meaning::NonceTaken),
    ("replacement underpriced", Meaning::NonceTaken),
    ("replacementnotallowed", Meaning::NonceTaken),
    ("transaction_replacement_underpriced", Meaning::NonceTaken),
    ("could not replace existing", Meaning::NonceTaken),
    ("could not be replaced", Meaning::NonceTaken),
    ("not enough to replace", Meaning::NonceTaken),
    ("another transaction with same nonce", Meaning::NonceTaken),
    ("another transaction with the same nonce", Meaning::NonceTaken),
    ("another tx which has the same nonce", Meaning::NonceTaken),
    ("ownnoncealreadyused", Meaning::NonceTaken),
    // The offer.
    ("underpriced", Meaning::Underpriced),
    ("max fee per gas less than block base fee", Meaning::Underpriced),
    ("maxfeepergas less than block base fee", Meaning::Underpriced),
    ("max fee per gas below", Meaning::Underpriced),
    ("feecap less than base", Meaning::Underpriced),
    ("fee cap less than", Meaning::Underpriced),
    ("priority fee below", Meaning::Underpriced),
    ("feetoolow", Meaning::Underpriced),
    ("fee too low", Meaning::Underpriced),
    ("gas price below", Meaning::Underpriced),
    ("gas_price_too_low", Meaning::Underpriced),
    ("gas price too low", Meaning::Underpriced),
    ("gas price is too low", Meaning::Underpriced),
    ("gas price less than block base fee", Meaning::Underpriced),
    ("below configured minimum gas price", Meaning::Underpriced),
    ("unacceptable gas price", Meaning::Underpriced),
    ("less than the current basefee", Meaning::Underpriced),
    ("miner premium is negative", Meaning::Underpriced),
    // The gas wallet's balance.
    ("insufficient funds", Meaning::InsufficientFunds),
    ("insufficientfunds", Meaning::InsufficientFunds),
    ("insufficient sender balance", Meaning::InsufficientFunds),
    ("insufficient balance", Meaning::InsufficientFunds),
    ("not enough funds for gas", Meaning::InsufficientFunds),
    ("would cause overdraft", Meaning::InsufficientFunds),
    ("for sender balance", Meaning::InsufficientFunds),
    ("upfront cost exceeds", Meaning::InsufficientFunds),
    ("upfront_cost_exceeds_balance", Meaning::InsufficientFunds),
    // The pool.
    ("txpool is full", Meaning::PoolFull),
    ("pool is full", Meaning::PoolFull),
    ("pool full", Meaning::PoolFull),
    ("queue full", Meaning::PoolFull),
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

/// Returns the meaning of one endpoint's answer to one send.
pub fn read(answer: Result<(), &CallError>) -> BroadcastResult {
    match answer {
        Ok(()) => BroadcastResult::Accepted,
        Err(CallError::Node { error, .. }) => read_error(error),
        Err(error @ (CallError::Transport { .. } | CallError::NoEndpoint | CallError::OneWitness { .. })) => {
            BroadcastResult::Unknown(error.to_string())
        }
    }
}

/// Returns the meaning of a node's error to a send. An unrecognised one is unknown,
/// never refused.
pub fn read_error(error: &NodeError) -> BroadcastResult {
    let text = error.message.to_lowercase();
    let known = TABLE.iter().find(|(part, _)| text.contains(part)).map(|(_, meaning)| *meaning);
    let never = || NEVER.iter().any(|part| text.contains(part)).then_some(Meaning::Rejected);
    match known.or_else(never) {
        Some(Meaning::Accepted) => BroadcastResult::Accepted,
        Some(Meaning::NonceTooLow) => BroadcastResult::NonceTooLow,
        Some(Meaning::NonceGap) => BroadcastResult::NonceGap,
        Some(Meaning::NonceTaken) => BroadcastResult::NonceTaken,
        Some(Meaning::Underpriced) => BroadcastResult::Underpriced(error.to_string()),
        Some(Meaning::InsufficientFunds) => BroadcastResult::InsufficientFunds,
        Some(Meaning::PoolFull) => BroadcastResult::PoolFull,
        Some(Meaning::Rejected) => BroadcastResult::Rejected(error.to_string()),
        None => BroadcastResult::Unknown(error.to_string()),
    }
}

/// The price that a node asks for before it takes a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceFloor {
    /// The least `maxPriorityFeePerGas`, in wei.
    Tip(u128),
    /// The least `maxFeePerGas`, in wei.
    Fee(u128),
    /// More than was offered, for the tip as far as can be told.
    Unnamed,
}

/// Makes a floor of a number.
type OfNumber = fn(u128) -> PriceFloor;

/// Texts before the least price that a node takes, and what is priced.
const FLOORS: [(&str, OfNumber); 5] = [
    ("minimum required priority fee ", PriceFloor::Tip),
    ("tip needed ", PriceFloor::Tip),
    ("gas tip cap", PriceFloor::Tip),
    ("tip cap", PriceFloor::Tip),
    ("fee cap", PriceFloor::Fee),
];

/// Between what was offered and the least that is taken.
const NEEDED: &str = "minimum needed ";

/// Returns the price that a node asks for with a text that means
/// [`Underpriced`](BroadcastResult::Underpriced); `None` when it speaks of the
/// base fee, which blocks tell.
pub fn price_floor(text: &str) -> Option<PriceFloor> {
    let text = text.to_lowercase();
    let number = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
    for (part, kind) in FLOORS {
        let Some((_, rest)) = text.split_once(part) else { continue };
        let rest = rest.split_once(NEEDED).map_or(rest, |(_, rest)| rest);
        if let Some(price) = number(rest) {
            return Some(kind(price));
        }
    }
    let about_base_fee = text.contains("base fee") || text.contains("basefee") || text.contains("less than base");
    (!about_base_fee).then_some(PriceFloor::Unnamed)
}

#[cfg(test)]
mod tests {
    use chains_rpc::Fault;

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
            ("erigon", -32000, "existing txn with same hash", Meaning::Accepted),
            ("substrate", -32603, "Pool(AlreadyImported)", Meaning::Accepted),
            ("zksync", 3, "known transaction. transaction with hash 0x60 is already in the system", Meaning::Accepted),
            ("geth", -32000, "nonce too low: next nonce 5, tx nonce 4", Meaning::NonceTooLow),
            ("anvil", -32003, "nonce too low", Meaning::NonceTooLow),
            ("nethermind", -32010, "OldNonce, Current nonce: 5, nonce of rejected tx: 4", Meaning::NonceTooLow),
            ("besu", -32001, "Nonce too low", Meaning::NonceTooLow),
            ("geth", -32000, "nonce too high: tx nonce 9, gapped nonce 5", Meaning::NonceGap),
            ("nethermind", -32010, "NonceGap, Future nonce. Expected nonce: 5", Meaning::NonceGap),
            ("besu", -32000, "Transaction nonce is too distant from current sender nonce", Meaning::NonceGap),
            ("zksync", 3, "nonce too high. allowed nonce range: 5 - 25, actual: 30", Meaning::NonceGap),
            ("zksync", 3, "nonce too low. allowed nonce range: 7 - 27, actual: 6", Meaning::NonceTooLow),
            ("arbitrum", -32000, "nonce too low: address 0x33, tx: 6 state: 7", Meaning::NonceTooLow),
            ("arbitrum", -32000, "nonce too high: address 0x33, tx: 9 state: 7", Meaning::NonceGap),
            ("geth", -32000, "replacement transaction underpriced", Meaning::NonceTaken),
            ("erigon", -32000, "could not replace existing tx", Meaning::NonceTaken),
            ("nethermind", -32010, "ReplacementNotAllowed", Meaning::NonceTaken),
            ("besu", -32000, "TRANSACTION_REPLACEMENT_UNDERPRICED", Meaning::NonceTaken),
            ("nethermind", -32010, "OwnNonceAlreadyUsed", Meaning::NonceTaken),
            ("klaytn", -32000, "there is another tx which has the same nonce in the tx pool", Meaning::NonceTaken),
            ("zksync", 3, "insertion of another transaction with the same nonce is in progress", Meaning::NonceTaken),
            (
                "parity",
                -32010,
                "Transaction gas price 100wei is too low. There is another transaction with same nonce in the queue",
                Meaning::NonceTaken,
            ),
            ("geth", -32000, "transaction underpriced: tip needed 1, tip permitted 0", Meaning::Underpriced),
            (
                "geth",
                -32000,
                "max fee per gas less than block base fee: address 0x, maxFeePerGas: 1",
                Meaning::Underpriced,
            ),
            (
                "reth",
                -32000,
                "transaction priority fee below minimum required priority fee 20000000000",
                Meaning::Underpriced,
            ),
            ("nethermind", -32010, "FeeTooLow, MaxFeePerGas too low", Meaning::Underpriced),
            ("nethermind", -32010, "FeeTooLowToCompete", Meaning::Underpriced),
            ("erigon", -32000, "fee too low", Meaning::Underpriced),
            ("astar", -32603, "gas price less than block base fee", Meaning::Underpriced),
            ("zksync", 3, "The operator included transaction with an unacceptable gas price", Meaning::Underpriced),
            ("nethermind", -32000, "miner premium is negative", Meaning::Underpriced),
            ("nethermind", -32000, "insufficient MaxFeePerGas for sender balance", Meaning::InsufficientFunds),
            ("nethermind", -32000, "insufficient sender balance", Meaning::InsufficientFunds),
            ("besu", -32009, "gasPrice is less than the current BaseFee", Meaning::Underpriced),
            ("besu", -32009, "Gas price below configured minimum gas price", Meaning::Underpriced),
            ("geth", -32000, "insufficient funds for gas * price + value: balance 0", Meaning::InsufficientFunds),
            ("anvil", -32003, "Insufficient funds for gas * price + value", Meaning::InsufficientFunds),
            ("nethermind", -32010, "InsufficientFunds, Account balance: 0", Meaning::InsufficientFunds),
            ("besu", -32004, "Upfront cost exceeds account balance", Meaning::InsufficientFunds),
            (
                "zksync",
                3,
                "insufficient funds for gas + value. balance: 0, fee: 1, value: 0",
                Meaning::InsufficientFunds,
            ),
            ("arbitrum", -32000, "not enough funds for gas", Meaning::InsufficientFunds),
            ("geth", -32000, "transaction would cause overdraft", Meaning::InsufficientFunds),
            ("erigon", -32000, "baseFee sub-pool is full", Meaning::PoolFull),
            ("arbitrum", -32000, "queue full", Meaning::PoolFull),
            ("geth", -32000, "txpool is full", Meaning::PoolFull),
            ("reth", -32003, "txpool is full", Meaning::PoolFull),
            ("geth", -32000, "in-flight transaction limit reached for delegated accounts", Meaning::PoolFull),
            ("geth", -32000, "exceeds block gas limit", Meaning::Rejected),
            ("geth", -32000, "intrinsic gas too low: gas 1, minimum needed 21000", Meaning::Rejected),
            ("geth", -32000, "invalid sender: invalid chain id for signer: have 1 want 2", Meaning::Rejected),
            ("geth", -32000, "transaction type not supported", Meaning::Rejected),
            ("anvil", -32602, "Failed to decode signed transaction", Meaning::Rejected),
            ("somebody", -32000, "unknown transaction type", Meaning::Rejected),
        ];
        for (node, code, text, expected) in cases {
            let error = NodeError::new(code, text, None);
            let expected = match expected {
                Meaning::Accepted => BroadcastResult::Accepted,
                Meaning::NonceTooLow => BroadcastResult::NonceTooLow,
                Meaning::NonceGap => BroadcastResult::NonceGap,
                Meaning::NonceTaken => BroadcastResult::NonceTaken,
                Meaning::Underpriced => BroadcastResult::Underpriced(error.to_string()),
                Meaning::InsufficientFunds => BroadcastResult::InsufficientFunds,
                Meaning::PoolFull => BroadcastResult::PoolFull,
                Meaning::Rejected => BroadcastResult::Rejected(error.to_string()),
            };
            assert_eq!(read_error(&error), expected, "{node}: {text}");
        }
    }

    #[test]
    fn the_price_that_a_node_names_is_read() {
        use PriceFloor::{Fee, Tip, Unnamed};
        let cases = [
            ("transaction underpriced: gas tip cap 1000000, minimum needed 25000000000", Some(Tip(25_000_000_000))),
            ("transaction gas price below minimum: gas tip cap 1, minimum needed 2", Some(Tip(2))),
            ("transaction underpriced: tip needed 3, tip permitted 0 (code -32000)", Some(Tip(3))),
            ("transaction priority fee below minimum required priority fee 20", Some(Tip(20))),
            ("transaction underpriced: fee cap 1, minimum needed 20000000001", Some(Fee(20_000_000_001))),
            ("transaction underpriced: gas fee cap 1, minimum needed 9", Some(Fee(9))),
            ("transaction underpriced", Some(Unnamed)),
            ("Gas price below configured minimum gas price", Some(Unnamed)),
            ("gas tip cap 1, minimum needed 999999999999999999999999999999999999999999", Some(Unnamed)),
            ("max fee per gas less than block base fee: address 0x, maxFeePerGas: 1, baseFee: 2", None),
            ("gasPrice is less than the current BaseFee", None),
        ];
        for (text, expected) in cases {
            assert_eq!(price_floor(text), expected, "{text}");
        }
    }

    #[test]
    fn whatever_is_not_recognised_is_unknown() {
        for (code, text) in [(4, "timed out"), (-32005, "rate limit"), (-32603, "internal error"), (-32000, "")] {
            assert!(matches!(read_error(&NodeError::new(code, text, None)), BroadcastResult::Unknown(_)), "{text}");
        }
        for fault in [Fault::Timeout, Fault::Broken, Fault::Status(503), Fault::Connect, Fault::Unreadable] {
            let error = CallError::Transport { host: "h".into(), fault };
            assert!(matches!(read(Err(&error)), BroadcastResult::Unknown(_)), "{fault}");
        }
    }
}
