//! The promises that must hold, and a sentence for one that does not.

use std::collections::HashSet;

use super::{
    episode::{REORG_MAX, Story},
    scene::{AMOUNT, Draft, PAYEE, Scene},
};
use crate::{
    payment::SettleOutcome,
    settlement::{AttemptKind, Facts, State, Transaction, TransactionState},
};

/// The words of a failure whose payment somebody else had made before its claim: a reorg may put that into a later
/// block, which changes nothing for its callers.
const BEFORE: &str = "before this settlement";

/// Holds at any moment: nothing was sent that is not stored.
pub(super) fn at_any_time(scene: &Scene) -> Option<String> {
    // A reorg puts other people's transactions back, too.
    let mut ours = scene.world.waiting().into_iter().filter(|hash| !hash.starts_with("foreign"));
    let unknown = ours.find(|hash| !scene.disk.knows(hash));
    unknown.map(|hash| format!("{hash} waits in the pool, and the store does not know its bytes"))
}

/// A payment that was settled this moment has its transfer in a block with the configured confirmations.
pub(super) fn settled_too_early(scene: &Scene, facts: &Facts) -> Option<String> {
    let height = scene.world.height();
    let deep = |number: u64| height.saturating_sub(number).saturating_add(1) >= scene.parameters.confirmations;
    let block = scene.world.executed(&facts.payer, &facts.nonce).map(|(block, _)| block.number);
    let told = || format!("settled at height {height} with its transfer in block {block:?}: {facts:?}");
    (!block.is_some_and(deep)).then(told)
}

/// A transaction that was found to be dead this moment is in no block that is deep enough.
pub(super) fn buried_alive(scene: &Scene, transaction: &Transaction) -> Option<String> {
    let deep = scene.world.height().saturating_sub(scene.parameters.confirmations.saturating_sub(1));
    let is_dead = matches!(transaction.state, TransactionState::Dead { .. });
    let mut blocks = transaction.attempts.iter().filter_map(|attempt| scene.world.find(&attempt.signed.hash));
    let found = blocks.find(|(block, _)| is_dead && block.number <= deep);
    found.map(|(block, _)| format!("stored as dead, and in block {block:?}: {transaction:?}"))
}

/// A transaction that was cancelled this moment can do nothing any more for what it carries, but for what somebody else
/// had used and a reorg has made good again since the last look at it.
pub(super) fn cancelled_in_vain(scene: &Scene, stories: &[Story], transaction: &Transaction) -> Option<String> {
    if transaction.attempts.last().map(|attempt| attempt.kind) != Some(AttemptKind::Cancel) {
        return None;
    }
    let look_counts = scene.parameters.bump_after + REORG_MAX;
    let is_carried = |story: &&Story| {
        let record = scene.disk.record(&scene.identity(&story.draft));
        record.is_some_and(|record| transaction.items.iter().any(|(id, _)| *id == record.id()))
    };
    let is_good = |story: &&Story| {
        let Draft { payer, nonce, valid_before, .. } = &story.draft;
        let was_used = story.meddled && story.good_again.is_some_and(|time| scene.time() <= time + look_counts);
        *valid_before > scene.time() && !scene.world.is_used(payer, nonce) && !was_used
    };
    let good = stories.iter().filter(is_carried).find(is_good);
    good.map(|story| format!("cancelled, and still good: {:?}, {transaction:?}", story.draft))
}

/// A settlement that is not at its end, once nothing goes wrong any more.
pub(super) fn unfinished(scene: &Scene) -> Option<String> {
    scene.disk.settlements().into_iter().find_map(|followed| {
        let id = followed.facts.id;
        let transfer = || scene.world.executed(&followed.facts.payer, &followed.facts.nonce);
        let is_open = |transaction: &Transaction| transaction.state == TransactionState::Open;
        match &followed.state {
            State::Settled(_) | State::Failed(_) if followed.transactions.iter().any(is_open) => Some(format!(
                "{id} has ended, and nobody ends its transaction: {:?} {followed:?}",
                scene.disk.story(id)
            )),
            State::Open | State::Unresolved { .. } => Some(format!("{:?} {followed:?}", scene.disk.story(id))),
            // It is sent again as long as it can come again.
            State::Settled(_) if transfer().is_none() && !is_lost(scene, &followed.facts) => {
                Some(format!("{id} is settled, and its transfer is not there: {:?} {followed:?}", scene.disk.story(id)))
            }
            // A reorg has put its transaction into another block: the operator has to be told.
            State::Failed(failed) if !may_be_executed(scene, &followed.facts) && !failed.message.contains(BEFORE) => {
                Some(format!(
                    "{id} has failed, is executed, and nobody is told: {:?} {followed:?}",
                    scene.disk.story(id)
                ))
            }
            State::Settled(_) | State::Failed(_) => None,
        }
    })
}

/// The payer has cancelled it, or it is over: its transfer can never come.
fn is_lost(scene: &Scene, facts: &Facts) -> bool {
    let used = scene.world.is_used(&facts.payer, &facts.nonce);
    let told = scene.disk.tells(facts.id, "reorged");
    told && (used || scene.world.executed(&facts.payer, &facts.nonce).is_none())
}

/// Holds at the end.
pub(super) fn at_the_end(scene: &Scene, stories: &[Story]) -> Option<String> {
    stories.iter().find_map(|story| of_one(scene, story)).or_else(|| of_money(scene, stories))
}

fn of_one(scene: &Scene, story: &Story) -> Option<String> {
    let Story { draft, answers, .. } = story;
    let record = scene.disk.record(&scene.identity(draft));
    let executed = scene.world.executed(&draft.payer, &draft.nonce);
    let complain = |what: &str| Some(format!("{what}: {draft:?}, {record:?}, executed {executed:?}, {answers:?}"));
    let gifts = answers.iter().filter(|(_, answer)| matches!(answer, SettleOutcome::Settled { .. }));
    let keys: HashSet<_> = gifts.clone().map(|(key, _)| key).collect();
    let keyless = gifts.clone().filter(|(key, _)| key.is_none()).count();
    if keyless > 1 || keys.len() > 1 {
        return complain("two callers were given one success");
    }
    let failures = answers.iter().any(|(_, answer)| matches!(answer, SettleOutcome::Failed { .. }));
    if !keys.is_empty() && failures {
        return complain("one caller was told of success, another of failure");
    }
    let Some(record) = &record else {
        let promised = answers.iter().any(|(_, answer)| answer.settlement().is_some());
        return if promised { complain("an answer names a settlement that is not stored") } else { None };
    };
    if !keys.is_empty() && !matches!(record.state, State::Settled(_)) {
        return complain("a success was given, and the payment is not settled");
    }
    if failures && !matches!(record.state, State::Failed(_)) {
        return complain("a failure was told, and the payment has not failed");
    }
    match &record.state {
        State::Settled(_) if executed.is_none() && !scene.disk.tells(record.id(), "reorged") => {
            complain("settled, and no transfer")
        }
        State::Settled(_) | State::Failed(_) | State::Open | State::Unresolved { .. } => None,
    }
}

/// A failed payment is not executed, or was before its claim, or was later, which the operator is told.
fn may_be_executed(scene: &Scene, facts: &Facts) -> bool {
    let executed = scene.world.executed(&facts.payer, &facts.nonce);
    executed.is_none_or(|(block, _)| block.number <= facts.claimed_block)
        || scene.disk.tells(facts.id, "executed_elsewhere")
}

/// The payee has what was executed, and nothing more.
fn of_money(scene: &Scene, stories: &[Story]) -> Option<String> {
    let executed =
        stories.iter().filter(|story| scene.world.executed(&story.draft.payer, &story.draft.nonce).is_some());
    // One more payment is made at the end.
    let expected = (u64::try_from(executed.count()).unwrap_or(u64::MAX) + 1) * AMOUNT;
    let has = scene.world.balance(PAYEE);
    (has != expected).then(|| format!("the payee has {has}, and payments of {expected} were executed"))
}
