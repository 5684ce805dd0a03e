//! What to do next with a settlement: pure functions, no clock, no I/O.
//!
//! The rules of the engine that must not be wrong stand here alone:
//! an unknown answer is not a failure; a failure needs proof; a success needs
//! the effect; an effect that was there before our claim is not ours.

use chains_core::{
    Rejection,
    chain::{BlockRef, Broadcast, Effect, Landed, Observation, PlannedTransaction},
    protocol::Version,
    reason,
};

use crate::settlement::record::{LandedAttempt, Outcome};

/// Blocks after which a transaction that no block listed is looked for by
/// name: a list may have been lost with a block that the chain took back.
pub const LOOK_EVERY_BLOCKS: u64 = 8;

/// What follows from looking for a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterLook {
    /// Nothing was found, or nothing provable: go on.
    Keep,
    /// It is in this block, not yet deep enough: look again when it is.
    Deepen {
        /// The first height at which it counts.
        final_at: u64,
    },
    /// This attempt did its part; the settlement goes on with the next
    /// transaction.
    GoOn(PlannedTransaction, LandedAttempt),
    /// The end, proven.
    Finish(Outcome, Option<LandedAttempt>),
}

/// Decides on what was observed of a transaction that is called `newest`, with
/// the chain at height `head`.
pub fn after_look(observation: Observation, newest: &str, head: u64, confirmations: u64, claimed_at: u64) -> AfterLook {
    let landed = match observation {
        Observation::Pending | Observation::Unknown(_) => return AfterLook::Keep,
        Observation::Expired(why) => return AfterLook::Finish(failed(why, newest.to_owned(), None), None),
        Observation::Landed(landed) => landed,
    };
    let Landed { transaction, block, fee_paid, gas_used, effect } = landed;
    let final_at = block.number.saturating_add(confirmations.max(1) - 1);
    if head < final_at {
        return AfterLook::Deepen { final_at };
    }
    let attempt = LandedAttempt { transaction: transaction.clone(), block: block.clone(), fee_paid, gas_used };
    match effect {
        Effect::Done => AfterLook::Finish(Outcome::Settled { transaction, block }, Some(attempt)),
        Effect::DoneElsewhere { transaction, block } if block.number > claimed_at => {
            AfterLook::Finish(Outcome::Settled { transaction, block }, Some(attempt))
        }
        Effect::DoneElsewhere { transaction, block } => {
            let message = "the authorization was executed by another transaction before this settlement was claimed";
            let why = Rejection::new(reason::DUPLICATE_SETTLEMENT, message);
            AfterLook::Finish(failed(why, transaction, Some(block)), Some(attempt))
        }
        Effect::Missing(why) => AfterLook::Finish(failed(why, transaction, Some(block)), Some(attempt)),
        Effect::Continues(next) => AfterLook::GoOn(next, attempt),
        Effect::Unclear(_) => AfterLook::Keep,
    }
}

fn failed(why: Rejection, transaction: String, block: Option<BlockRef>) -> Outcome {
    Outcome::Failed {
        reason: why.code.spelling(Version::V2).to_owned(),
        message: why.message.into_owned(),
        transaction: Some(transaction),
        block,
    }
}

/// What follows from an answer to a send. None of them ends a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSend {
    /// It is on its way: watch the blocks.
    Watch,
    /// Whether it is on its way is not known: watch, and send again soon.
    SendAgain,
    /// Something with its sequence has landed: look for it now.
    LookNow,
    /// The gas wallet is empty: take no new work until it is not; send again.
    WalletEmpty,
    /// It cannot land as things stand; an operator must know. Send again: an
    /// endpoint can be wrong, and the bytes are the only claim on the sequence.
    Alarm,
}

/// Decides on the answer to a send.
pub const fn after_send(answer: &Broadcast) -> AfterSend {
    match answer {
        Broadcast::Accepted => AfterSend::Watch,
        Broadcast::Unknown(_) | Broadcast::SequenceGap | Broadcast::Underpriced | Broadcast::PoolFull => {
            AfterSend::SendAgain
        }
        Broadcast::SequenceConsumed => AfterSend::LookNow,
        Broadcast::GasWalletEmpty => AfterSend::WalletEmpty,
        Broadcast::SequenceTaken | Broadcast::Refused(_) => AfterSend::Alarm,
    }
}

/// The stored word for an answer to a send.
pub const fn word(answer: &Broadcast) -> &'static str {
    match answer {
        Broadcast::Accepted => "accepted",
        Broadcast::Unknown(_) => "unknown",
        Broadcast::SequenceConsumed => "sequence_consumed",
        Broadcast::SequenceGap => "sequence_gap",
        Broadcast::SequenceTaken => "sequence_taken",
        Broadcast::Underpriced => "underpriced",
        Broadcast::GasWalletEmpty => "gas_wallet_empty",
        Broadcast::PoolFull => "pool_full",
        Broadcast::Refused(_) => "refused",
    }
}

/// Where a gas wallet's lane goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextSequence {
    /// The chain has none.
    None,
    /// From here.
    From(u64),
    /// The chain is further than the store ever was: the key is in use
    /// elsewhere, or the store was restored from an old copy.
    Foreign {
        /// The chain's next unused sequence.
        chain: u64,
        /// The highest one in the store.
        stored: u64,
    },
}

/// Decides where a lane goes on: never below what the chain has used, never
/// below what the store has given away.
pub const fn next_sequence(chain: Option<u64>, stored_max: Option<u64>) -> NextSequence {
    match (chain, stored_max) {
        (None, _) => NextSequence::None,
        (Some(chain), None) => NextSequence::From(chain),
        (Some(chain), Some(stored)) if chain > stored + 1 => NextSequence::Foreign { chain, stored },
        (Some(_), Some(stored)) => NextSequence::From(stored + 1),
    }
}

#[cfg(test)]
mod tests {
    use chains_core::{Amount, Code};

    use super::*;

    fn block(number: u64) -> BlockRef {
        BlockRef { number, hash: format!("b{number}") }
    }

    fn landed(number: u64, effect: Effect) -> Observation {
        let (fee_paid, transaction) = (Amount::from(1_u64), "ours".to_owned());
        Observation::Landed(Landed { transaction, block: block(number), fee_paid, gas_used: 1, effect })
    }

    fn elsewhere(number: u64) -> Effect {
        Effect::DoneElsewhere { transaction: "foreign".into(), block: block(number) }
    }

    fn summary(after: AfterLook) -> String {
        match after {
            AfterLook::Keep => "keep".into(),
            AfterLook::Deepen { final_at } => format!("deepen {final_at}"),
            AfterLook::GoOn(next, landed) => format!("go on with {} after {}", next.body, landed.transaction),
            AfterLook::Finish(Outcome::Settled { transaction, .. }, _) => format!("settled {transaction}"),
            AfterLook::Finish(Outcome::NothingToSend, _) => unreachable!("nothing was sent"),
            AfterLook::Finish(Outcome::Failed { reason, transaction, .. }, _) => {
                format!("failed {reason} {}", transaction.unwrap_or_default())
            }
        }
    }

    #[test]
    fn only_proof_ends_a_settlement() {
        let no = || Effect::Missing(Rejection::new(Code::new("why"), "because"));
        let next = || PlannedTransaction { gas_wallet: None, body: "next".into(), valid_before: None };
        let cases = [
            (Observation::Pending, 99, 1, "keep"),
            (Observation::Unknown("no history".into()), 99, 1, "keep"),
            (Observation::Expired(Rejection::new(Code::new("why"), "because")), 1, 3, "failed why newest"),
            (landed(10, Effect::Unclear("rpc".into())), 99, 1, "keep"),
            (landed(10, Effect::Done), 10, 1, "settled ours"),
            (landed(10, Effect::Done), 10, 0, "settled ours"),
            (landed(10, Effect::Done), 9, 1, "deepen 10"),
            (landed(10, Effect::Done), 11, 3, "deepen 12"),
            (landed(10, Effect::Done), 12, 3, "settled ours"),
            (landed(10, no()), 11, 3, "deepen 12"),
            (landed(10, no()), 12, 3, "failed why ours"),
            (landed(10, Effect::Continues(next())), 11, 3, "deepen 12"),
            (landed(10, Effect::Continues(next())), 12, 3, "go on with next after ours"),
            (landed(10, elsewhere(6)), 10, 1, "settled foreign"),
            (landed(10, elsewhere(5)), 10, 1, "failed duplicate_settlement foreign"),
        ];
        for (observation, head, confirmations, expected) in cases {
            let got = summary(after_look(observation.clone(), "newest", head, confirmations, 5));
            assert_eq!(got, expected, "{observation:?} at {head} with {confirmations}");
        }
    }

    #[test]
    fn a_lane_never_goes_below_chain_or_store() {
        let cases = [
            (None, None, NextSequence::None),
            (None, Some(3), NextSequence::None),
            (Some(0), None, NextSequence::From(0)),
            (Some(57), None, NextSequence::From(57)),
            (Some(4), Some(3), NextSequence::From(4)),
            (Some(2), Some(3), NextSequence::From(4)),
            (Some(5), Some(3), NextSequence::Foreign { chain: 5, stored: 3 }),
        ];
        for (chain, stored, expected) in cases {
            assert_eq!(next_sequence(chain, stored), expected, "{chain:?} {stored:?}");
        }
    }
}
