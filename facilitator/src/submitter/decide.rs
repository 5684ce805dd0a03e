//! The rules of the engine that must not be wrong: pure functions, no clock, no I/O.
//!
//! An unknown answer is not a failure; a failure needs proof; a success needs
//! the effect; an effect that was there before the claim is not this settlement's.

use std::time::Duration;

use chains_core::{
    Rejection,
    observation::{BlockRef, Effect, Inclusion, Observation},
    reason,
    transaction::{BroadcastResult, Plan},
};

use crate::settlement::{Failed, Settled, State};

pub mod batching;
pub mod replacement;

/// Blocks after which a transaction that no block listed is looked for by
/// name: a list may have been lost with a block that the chain took back, or
/// be a lie.
pub const LOOK_EVERY_BLOCKS: u64 = 4;

/// Blocks after which the oldest transaction of a wallet is investigated:
/// another may have taken its nonce.
pub const INVESTIGATE_AFTER_BLOCKS: u64 = 3;

/// Investigations of a transaction with a used nonce that find nothing, after
/// which its settlements are unresolved.
pub const INVESTIGATIONS_MAX: u32 = 5;

/// The shortest and the longest time between two investigations of one thing.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(10));

/// The time to wait after so many investigations that found nothing.
pub fn backoff(tries: u32) -> Duration {
    BACKOFF.0.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(BACKOFF.1)
}

/// The verdict on an observation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No block has it: go on.
    Pending,
    /// A block has it that is not deep enough: its nonce is used, its effects
    /// do not count yet.
    Confirming(BlockRef),
    /// A confirmed block has it: what became of each item.
    Included(Inclusion, Vec<ItemVerdict>),
    /// Another transaction took its place: it is dead, its steps are not.
    Replaced,
    /// It is dead, and its steps with it.
    Expired(Rejection),
    /// It cannot be said now.
    Unknown {
        /// True when its nonce is used: then it holds no place any more.
        nonce_used: bool,
        /// Why. For operators.
        why: String,
    },
}

/// The verdict on one step of an included transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemVerdict {
    /// The settlement succeeded.
    Settled(Settled),
    /// The settlement failed.
    Failed(Failed),
    /// The settlement goes on with this step.
    Next(Plan),
    /// There is no proof yet.
    Unclear(String),
}

/// Decides on an observation of a transaction whose items were claimed at
/// these heights.
pub fn after_observation(observation: Observation, claimed_blocks: &[u64]) -> Verdict {
    match observation {
        Observation::Pending => Verdict::Pending,
        Observation::Replaced => Verdict::Replaced,
        Observation::Expired(why) => Verdict::Expired(why),
        Observation::Unknown { nonce_used, why } => Verdict::Unknown { nonce_used, why },
        Observation::Included(inclusion, _) if !inclusion.confirmed && !mistake!(UnconfirmedCounts) => {
            Verdict::Confirming(inclusion.block)
        }
        Observation::Included(inclusion, effects) if effects.len() != claimed_blocks.len() => Verdict::Unknown {
            nonce_used: true,
            why: format!(
                "{} effects were observed of {} steps in {}",
                effects.len(),
                claimed_blocks.len(),
                inclusion.hash
            ),
        },
        Observation::Included(inclusion, effects) => {
            let items = effects.into_iter().zip(claimed_blocks);
            let items = items.map(|(effect, claimed)| after_effect(effect, &inclusion, *claimed)).collect();
            Verdict::Included(inclusion, items)
        }
    }
}

/// Decides on the effect of one step in an included transaction.
fn after_effect(effect: Effect, inclusion: &Inclusion, claimed_block: u64) -> ItemVerdict {
    let Inclusion { hash, block, .. } = inclusion;
    match effect {
        Effect::Done => ItemVerdict::Settled(Settled::by(hash.clone(), block.clone())),
        Effect::Missing { .. } if mistake!(MissingSettles) => {
            ItemVerdict::Settled(Settled::by(hash.clone(), block.clone()))
        }
        Effect::Unclear(_) if mistake!(UnclearFails) => {
            let why = Rejection::new(reason::SETTLEMENT_PENDING, "nobody can tell");
            ItemVerdict::Failed(Failed::new(why, Some(hash.clone()), Some(block.clone())))
        }
        Effect::Missing { why, executable_until } => {
            let failed = Failed::new(why, Some(hash.clone()), Some(block.clone()));
            ItemVerdict::Failed(Failed { executable_until, ..failed })
        }
        Effect::Continues(next) => ItemVerdict::Next(next),
        Effect::Unclear(why) => ItemVerdict::Unclear(why),
        Effect::Elsewhere { hash, block } => elsewhere(hash, block, claimed_block),
    }
}

fn elsewhere(hash: String, block: BlockRef, claimed_block: u64) -> ItemVerdict {
    if block.number > claimed_block {
        return ItemVerdict::Settled(Settled::by(hash, block));
    }
    let message = "the authorization was executed by another transaction before this settlement was claimed";
    let why = Rejection::new(reason::DUPLICATE_SETTLEMENT, message);
    ItemVerdict::Failed(Failed::new(why, Some(hash), Some(block)))
}

/// The verdict on a step whose transaction is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterDeath {
    /// It is still good: a new transaction carries it.
    CarryAnew,
    /// It came to its end without us.
    Ended(ItemVerdict),
}

/// Decides on the fate of a step without a transaction, from what became of
/// its authorization.
pub fn after_death(effect: Effect, claimed_block: u64) -> AfterDeath {
    match effect {
        Effect::Missing { executable_until: Some(_), .. } => AfterDeath::CarryAnew,
        Effect::Missing { why, executable_until: None } => {
            AfterDeath::Ended(ItemVerdict::Failed(Failed::new(why, None, None)))
        }
        Effect::Elsewhere { hash, block } => AfterDeath::Ended(elsewhere(hash, block, claimed_block)),
        Effect::Unclear(why) => AfterDeath::Ended(ItemVerdict::Unclear(why)),
        // Said of a transaction only; without one it proves nothing.
        Effect::Done | Effect::Continues(_) => AfterDeath::Ended(ItemVerdict::Unclear("no transaction did it".into())),
    }
}

/// The reaction to an answer to a send. None of them ends anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSend {
    /// It is on its way: watch the blocks.
    Watch,
    /// It may or may not be on its way: watch, and send again soon.
    SendAgain,
    /// Its nonce is used: find out by what.
    Investigate,
    /// The gas wallet is empty: take no new work until it is not; send again.
    WalletEmpty,
    /// It offers too little for every pool: an attempt that offers more takes
    /// its place; until then it is sent again.
    OfferMore,
    /// It cannot be included as things stand; an operator must know. Send
    /// again: an endpoint can be wrong, and the bytes are the only claim on
    /// the nonce.
    Alarm,
}

/// Decides on the answer to a send of the newest of so many attempts. Where
/// pools have another transaction of its nonce, that is an earlier attempt, if
/// there is one, and as good.
pub const fn after_send(answer: &BroadcastResult, attempts: usize) -> AfterSend {
    match answer {
        BroadcastResult::Accepted => AfterSend::Watch,
        BroadcastResult::NonceTaken if attempts > 1 => AfterSend::SendAgain,
        BroadcastResult::Unknown(_) | BroadcastResult::NonceGap | BroadcastResult::PoolFull => AfterSend::SendAgain,
        BroadcastResult::NonceTooLow => AfterSend::Investigate,
        BroadcastResult::InsufficientFunds => AfterSend::WalletEmpty,
        BroadcastResult::Underpriced(_) => AfterSend::OfferMore,
        BroadcastResult::NonceTaken | BroadcastResult::Rejected(_) => AfterSend::Alarm,
    }
}

/// The nonce at which a gas wallet's worker goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextNonce {
    /// The chain has no nonces.
    None,
    /// From here.
    From(u64),
    /// The chain is further than the store ever was: the key is in use
    /// elsewhere, or the store was restored from an old copy.
    Foreign {
        /// The chain's next unused nonce.
        chain: u64,
        /// The highest one in the store.
        stored: u64,
    },
}

/// Decides where a worker goes on: never below what the chain has used, never
/// below what the store has given away.
pub const fn next_nonce(chain: Option<u64>, stored_max: Option<u64>) -> NextNonce {
    match (chain, stored_max) {
        (None, _) => NextNonce::None,
        (Some(chain), None) => NextNonce::From(chain),
        (Some(chain), Some(stored)) if chain > stored + 1 => NextNonce::Foreign { chain, stored },
        (Some(_), Some(stored)) => NextNonce::From(stored + 1),
    }
}

/// The verdict of the finality check on a transfer that is stored as settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finality {
    /// It is there, made by this transaction in this block, which the chain can
    /// no longer take back.
    Stands {
        /// The transaction.
        hash: String,
        /// Its block.
        block: BlockRef,
    },
    /// It is there, in a block that the chain can still take back.
    NotYet,
    /// It cannot be said now.
    AskAgain(String),
    /// The chain took it back, and it may come again.
    TakenBack,
    /// The chain took it back, and it cannot come again.
    Lost(String),
}

/// Decides on an observation of a transfer that is stored as settled, when the
/// chain can take back no block up to this height.
pub fn finality(observation: Observation, final_block: u64) -> Finality {
    match observation {
        Observation::Pending if mistake!(ReorgStands) => {
            Finality::Stands { hash: String::new(), block: BlockRef { number: 0, hash: String::new() } }
        }
        Observation::Pending => Finality::TakenBack,
        Observation::Unknown { why, .. } => Finality::AskAgain(why),
        Observation::Replaced => Finality::Lost("another transaction took its nonce".into()),
        Observation::Expired(why) => Finality::Lost(why.message.into_owned()),
        Observation::Included(inclusion, _) if !inclusion.confirmed || inclusion.block.number > final_block => {
            Finality::NotYet
        }
        Observation::Included(inclusion, mut effects) => match effects.pop() {
            Some(Effect::Done) => Finality::Stands { hash: inclusion.hash, block: inclusion.block },
            Some(effect @ Effect::Elsewhere { .. }) => finality_elsewhere(effect, final_block),
            Some(Effect::Missing { why, .. }) => Finality::Lost(why.message.into_owned()),
            Some(Effect::Unclear(why)) => Finality::AskAgain(why),
            Some(Effect::Continues(_)) | None => Finality::AskAgain("its effect was not observed".into()),
        },
    }
}

/// Decides likewise on a transfer that was settled by somebody else's
/// transaction, from what became of its authorization.
pub fn finality_elsewhere(effect: Effect, final_block: u64) -> Finality {
    match effect {
        Effect::Elsewhere { block, .. } if block.number > final_block => Finality::NotYet,
        Effect::Elsewhere { hash, block } => Finality::Stands { hash, block },
        Effect::Missing { executable_until: Some(_), .. } => Finality::TakenBack,
        Effect::Missing { why, executable_until: None } => Finality::Lost(why.message.into_owned()),
        Effect::Unclear(why) => Finality::AskAgain(why),
        Effect::Done | Effect::Continues(_) => Finality::AskAgain("no transaction did it".into()),
    }
}

/// The prospects of a payment that failed by a block after which nobody can execute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureByBlock {
    /// The chain can take that block back no more.
    Stands,
    /// The chain took it back, and the payment was executed.
    Executed,
    /// Neither.
    NotYet,
}

/// Decides on them, from what became of its authorization. A use that the failure itself names, or that was there
/// before the claim, is no execution of this payment.
pub fn failed_by_block(state: &State, effect: &Effect, claimed_block: u64, final_block: u64) -> FailureByBlock {
    let State::Failed(Failed { block: Some(block), .. }) = state else { return FailureByBlock::NotYet };
    match effect {
        Effect::Elsewhere { block: used, .. } if used != block && used.number > claimed_block => {
            FailureByBlock::Executed
        }
        Effect::Elsewhere { .. } | Effect::Missing { executable_until: None, .. } if block.number <= final_block => {
            FailureByBlock::Stands
        }
        Effect::Elsewhere { .. }
        | Effect::Missing { .. }
        | Effect::Unclear(_)
        | Effect::Done
        | Effect::Continues(_) => FailureByBlock::NotYet,
    }
}

#[cfg(test)]
mod tests;
