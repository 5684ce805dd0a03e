//! A mark's words: `p:<instance>` while an instance verifies, `d:<settlement>:<transaction>` once the
//! success was given away.

use super::Answer;
use crate::settlement::SettlementId;

/// The longest name of a transaction; a Solana signature has 88 letters.
const TRANSACTION_MAX: usize = 128;

/// A success that was given away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The settlement.
    pub id: SettlementId,
    /// Its transaction; empty for a payment that asked for nothing.
    pub transaction: String,
}

/// The mark of an instance that verifies.
pub(super) fn verifying(instance: &str) -> String {
    format!("p:{instance}")
}

/// The mark of a success that was given away; `None` where the transaction's name cannot be one.
pub(super) fn delivered(id: SettlementId, transaction: &str) -> Option<String> {
    is_name(transaction).then(|| format!("d:{id}:{transaction}"))
}

/// Reads the mark that was there before ours; `None` is none. Whoever can write to Redis can write
/// anything: what is no mark says nothing.
pub(super) fn read(before: Option<&str>, instance: &str) -> Answer {
    let Some(mark) = before else { return Answer::First };
    match mark.split_once(':') {
        // Another request of this process, which meets this one in the registry.
        Some(("p", other)) if other == instance => Answer::Unknown,
        Some(("p", _)) => Answer::Elsewhere,
        Some(("d", rest)) => read_delivered(rest).map_or(Answer::Unknown, Answer::Delivered),
        _ => Answer::Unknown,
    }
}

fn read_delivered(text: &str) -> Option<Delivered> {
    let (id, transaction) = text.split_once(':')?;
    let id = SettlementId(id.parse().ok()?);
    is_name(transaction).then(|| Delivered { id, transaction: transaction.to_owned() })
}

fn is_name(transaction: &str) -> bool {
    transaction.len() <= TRANSACTION_MAX && transaction.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_nonsense_says_nothing() {
        let id = SettlementId::fresh();
        let success = |transaction: &str| Answer::Delivered(Delivered { id, transaction: transaction.into() });
        for transaction in ["0xab", "", "5VERYLongBase58"] {
            let mark = delivered(id, transaction).expect("a name");
            assert_eq!(read(Some(&mark), "a"), success(transaction));
        }
        assert_eq!(read(None, "a"), Answer::First);
        assert_eq!(read(Some(&verifying("a")), "a"), Answer::Unknown, "ours");
        assert_eq!(read(Some(&verifying("b")), "a"), Answer::Elsewhere);
        let long = "f".repeat(TRANSACTION_MAX + 1);
        let nonsense = ["", "p", "d", "d:", "d:x:0x", "x:1"].map(str::to_owned);
        let more = [format!("d:{id}"), format!("d:{id}:<b>"), format!("d:{id}:{long}"), format!("d:{id}:0x:1")];
        for mark in nonsense.iter().chain(&more) {
            assert_eq!(read(Some(mark), "a"), Answer::Unknown, "{mark}");
        }
        assert_eq!(delivered(id, &long), None);
    }
}
