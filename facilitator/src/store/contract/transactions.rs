//! Guarantees about transactions: attempts, inclusion, death, later steps.

use chains_core::transaction::Plan;

use super::{Backend, build::*};
use crate::{
    settlement::{AttemptKind, State, Status, StepState, TransactionState},
    store::{ApplyError, Change, Store, StoreError},
};

fn next_step(begun: &Begun) -> Change {
    Change::NextStep { id: begun.id(), done: 0, plan: Plan::new("next").sent_by(Some("w".into())) }
}

async fn transaction_state(store: &dyn Store, begun: &Begun) -> TransactionState {
    let transactions = timeline(store, begun.id()).await.transactions;
    let found = transactions.into_iter().find(|(transaction, _)| transaction.id == begun.transaction.id);
    found.expect("carried").0.state
}

pub(crate) async fn every_attempt_of_an_open_transaction_is_kept(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one] = begun(&*store).await;
    let added = [("0xbump", AttemptKind::Bump), ("0xagain", AttemptKind::Bump), ("0xcancel", AttemptKind::Cancel)];
    for (hash, kind) in added {
        apply(&*store, vec![add(&one, hash, kind)]).await;
    }
    let found = timeline(&*store, one.id()).await;
    let attempts = found.transactions[0].0.attempts.iter();
    let attempts: Vec<_> = attempts.map(|attempt| (attempt.signed.hash.as_str(), attempt.kind)).collect();
    assert_eq!(attempts, [&[("0xw1", AttemptKind::First)], added.as_slice()].concat(), "oldest first");
    assert_eq!((found.record.transaction.as_str(), found.record.updated_at), ("0xcancel", AT), "the newest is told");
    assert_eq!(story(&*store, one.id()).await, ["signed", "bumped", "bumped", "cancelled"]);
    apply(&*store, vec![include(one.transaction.id, "0xbump"), settle(one.id(), "0xbump", 12)]).await;
    assert_eq!(record(&*store, one.id()).await.transaction, "0xbump", "then the deciding one");
    store.close().await;
}

pub(crate) async fn an_attempt_for_a_transaction_that_is_not_open_is_refused(backend: &impl Backend) {
    let store = owned(backend).await;
    let [included, dead, open] = begun(&*store).await;
    apply(&*store, vec![included.include(), dead.kill()]).await;
    for one in [&included, &dead, &begun_as(facts(9), 9)] {
        let bump = vec![add(one, "0xbump", AttemptKind::Bump)];
        let (refused, neighbour) =
            tokio::join!(store.apply(bump, AT), store.apply(vec![add(&open, one.hash(), AttemptKind::Bump)], AT));
        assert!(matches!(refused, Err(ApplyError::Store(StoreError::Contradiction(_)))), "{refused:?}");
        neighbour.expect("a neighbour is not harmed");
    }
    assert_eq!(timeline(&*store, open.id()).await.transactions[0].0.attempts.len(), 4);
    store.close().await;
}

pub(crate) async fn an_inclusion_is_kept_with_its_attempt(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one] = begun(&*store).await;
    apply(&*store, vec![add(&one, "0xbump", AttemptKind::Bump), one.include()]).await;
    let transaction = timeline(&*store, one.id()).await.transactions.remove(0).0;
    let expected = TransactionState::Included { hash: one.hash().into(), block: block(12) };
    assert_eq!(transaction.state, expected);
    let inclusions: Vec<_> = transaction.attempts.iter().map(|attempt| attempt.inclusion.clone()).collect();
    assert_eq!(inclusions, [Some(inclusion(one.hash())), None]);
    apply(&*store, vec![include(one.transaction.id, "0xbump")]).await;
    assert_eq!(transaction_state(&*store, &one).await, expected, "one attempt is included at most");
    assert_eq!(state(&*store, one.id()).await, State::Open, "the effect is another matter");
    store.close().await;
}

/// The chain took a block back between two looks whose findings are stored together.
pub(crate) async fn of_two_inclusions_in_a_commit_one_counts(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one] = begun(&*store).await;
    apply(&*store, vec![add(&one, "0xbump", AttemptKind::Bump)]).await;
    apply(&*store, vec![one.include(), include(one.transaction.id, "0xbump")]).await;
    let transaction = timeline(&*store, one.id()).await.transactions.remove(0).0;
    let inclusions: Vec<_> = transaction.attempts.iter().map(|attempt| attempt.inclusion.clone()).collect();
    assert_eq!(inclusions, [Some(inclusion(one.hash())), None]);
    store.close().await;
}

/// The chain took its block back after its success was told, and then the process ended.
pub(crate) async fn a_transaction_that_is_open_though_its_settlement_has_ended_is_found(backend: &impl Backend) {
    let store = owned(backend).await;
    let [ended, open, dead, included] = begun(&*store).await;
    let reopen = Change::Reopen { transaction: ended.transaction.id };
    apply(&*store, vec![ended.include(), ended.settle(), reopen, dead.kill(), included.include(), included.settle()])
        .await;
    let left = async |wallet| store.transactions_left_open(&network(), wallet).await.expect("read");
    assert_eq!(left("w").await.iter().map(|found| found.id).collect::<Vec<_>>(), [ended.transaction.id]);
    assert_eq!(left("other").await, []);
    apply(&*store, vec![ended.include(), open.settle()]).await;
    assert_eq!(left("w").await.iter().map(|found| found.id).collect::<Vec<_>>(), [open.transaction.id]);
    store.close().await;
}

pub(crate) async fn an_inclusion_of_an_unknown_attempt_changes_nothing(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one, other] = begun(&*store).await;
    apply(&*store, vec![include(one.transaction.id, other.hash())]).await;
    for one in [&one, &other] {
        assert_eq!(transaction_state(&*store, one).await, TransactionState::Open);
    }
    store.close().await;
}

pub(crate) async fn a_killed_transaction_gives_its_steps_back_in_the_same_commit(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one] = begun(&*store).await;
    store.note_sent(vec![one.sent("accepted", 3_000)]);
    apply(&*store, vec![one.kill()]).await;
    let found = timeline(&*store, one.id()).await;
    assert_eq!((&found.steps[0].state, found.record.status), (&StepState::Waiting, Status::Signed));
    assert_eq!(found.transactions[0].0.state, TransactionState::Dead { why: "its nonce is used".into() });
    assert_eq!(found.record.transaction, one.hash(), "callers are told the newest bytes that there are");
    let again = transaction("w", 2, &[(one.id(), 0)]);
    apply(&*store, vec![Change::Carry(again.clone())]).await;
    let found = timeline(&*store, one.id()).await;
    assert_eq!((&found.steps[0].state, found.record.transaction.as_str()), (&StepState::Carried(again.id), "0xw2"));
    assert_eq!(found.transactions.iter().map(|(t, _)| t.id).collect::<Vec<_>>(), [one.transaction.id, again.id]);
    assert_eq!(story(&*store, one.id()).await, ["signed", "transaction_dead", "signed"]);
    // The dead one does not take the step of its successor.
    apply(&*store, vec![one.kill()]).await;
    assert_eq!(timeline(&*store, one.id()).await.steps[0].state, StepState::Carried(again.id));
    store.close().await;
}

pub(crate) async fn a_killed_transaction_leaves_ended_settlements_alone(backend: &impl Backend) {
    let store = owned(backend).await;
    let (ended, open) = (begun_as(facts(1), 1), begun_as(facts(2), 2));
    let carrier = transaction("w", 1, &[(ended.id(), 0), (open.id(), 0)]);
    apply(&*store, vec![claim(&ended.facts), claim(&open.facts), Change::Carry(carrier.clone())]).await;
    apply(&*store, vec![settle(ended.id(), "0xforeign", 12)]).await;
    let kill = Change::Kill { transaction: carrier.id, why: "somebody else did it".into() };
    apply(&*store, vec![kill]).await;
    let found = timeline(&*store, ended.id()).await;
    assert_eq!((found.record.status, &found.steps[0].state), (Status::Settled, &StepState::Carried(carrier.id)));
    assert_eq!(timeline(&*store, open.id()).await.steps[0].state, StepState::Waiting);
    store.close().await;
}

pub(crate) async fn a_dead_transaction_is_never_included(backend: &impl Backend) {
    let store = owned(backend).await;
    let [dead, included] = begun(&*store).await;
    apply(&*store, vec![dead.kill(), included.include()]).await;
    let before = [&dead, &included].map(|one| transaction_state(&*store, one));
    let before = futures::future::join_all(before).await;
    apply(&*store, vec![dead.include(), Change::Reopen { transaction: dead.transaction.id }, included.kill()]).await;
    let after = [&dead, &included].map(|one| transaction_state(&*store, one));
    assert_eq!(before, futures::future::join_all(after).await);
    assert_eq!(story(&*store, included.id()).await, ["signed"], "a transition without effect has no event");
    store.close().await;
}

pub(crate) async fn a_reopened_transaction_is_open_again_and_can_be_included_elsewhere(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one] = begun(&*store).await;
    apply(&*store, vec![add(&one, "0xbump", AttemptKind::Bump), one.include()]).await;
    apply(&*store, vec![Change::Reopen { transaction: one.transaction.id }]).await;
    let found = timeline(&*store, one.id()).await;
    assert_eq!(found.transactions[0].0.state, TransactionState::Open);
    assert!(found.transactions[0].0.attempts.iter().all(|attempt| attempt.inclusion.is_none()), "no fee is paid");
    assert_eq!(found.record.status, Status::Broadcast, "it was on the chain");
    apply(&*store, vec![include(one.transaction.id, "0xbump")]).await;
    let expected = TransactionState::Included { hash: "0xbump".into(), block: block(12) };
    assert_eq!(transaction_state(&*store, &one).await, expected);
    assert_eq!(story(&*store, one.id()).await, ["signed", "bumped", "reorged"]);
    store.close().await;
}

pub(crate) async fn a_next_step_waits_until_it_is_carried(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one] = begun(&*store).await;
    apply(&*store, vec![one.include(), next_step(&one)]).await;
    let found = timeline(&*store, one.id()).await;
    let states: Vec<_> = found.steps.iter().map(|step| (step.number, step.state.clone())).collect();
    assert_eq!(states, [(0, StepState::Done(one.transaction.id)), (1, StepState::Waiting)]);
    assert_eq!((found.steps[1].plan.body(), found.steps[1].plan.gas_wallet.as_deref()), ("next", Some("w")));
    let second = transaction("w", 2, &[(one.id(), 1)]);
    apply(&*store, vec![Change::Carry(second.clone())]).await;
    let followed = store.open_settlements(&network()).await.expect("read").remove(0);
    let states: Vec<_> = followed.steps.iter().map(|step| step.state.clone()).collect();
    assert_eq!(states, [StepState::Done(one.transaction.id), StepState::Carried(second.id)]);
    let carriers: Vec<_> = followed.transactions.iter().map(|transaction| transaction.id).collect();
    assert_eq!(carriers, [one.transaction.id, second.id], "what the first step cost is kept");
    assert_eq!(record(&*store, one.id()).await.transaction, "0xw2", "callers are told the newest");
    assert_eq!(story(&*store, one.id()).await, ["signed", "step_done", "signed"]);
    // The death of the later transaction gives only the later step back.
    apply(&*store, vec![Change::Kill { transaction: second.id, why: "lost".into() }]).await;
    let steps = timeline(&*store, one.id()).await.steps;
    let states: Vec<_> = steps.into_iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Done(one.transaction.id), StepState::Waiting]);
    store.close().await;
}

pub(crate) async fn a_step_that_is_done_is_done_once(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one, ended] = begun(&*store).await;
    apply(&*store, vec![ended.settle(), next_step(&one), next_step(&one), next_step(&ended)]).await;
    assert_eq!(timeline(&*store, one.id()).await.steps.len(), 2);
    assert_eq!(timeline(&*store, ended.id()).await.steps.len(), 1, "what has ended goes nowhere");
    store.close().await;
}

/// Statements cover many rows of one kind; nobody may notice.
pub(crate) async fn changes_of_one_call_happen_in_their_order(backend: &impl Backend) {
    let store = owned(backend).await;
    let one = begun_as(facts(1), 1);
    let again = transaction("w", 2, &[(one.id(), 0)]);
    let third = transaction("w", 3, &[(one.id(), 1)]);
    let changes = vec![
        claim(&one.facts),
        Change::Carry(one.transaction.clone()),
        one.kill(),
        Change::Carry(again.clone()),
        include(again.id, "0xw2"),
        Change::Reopen { transaction: again.id },
        include(again.id, "0xw2"),
        next_step(&one),
        Change::Carry(third.clone()),
        one.unresolve("no proof"),
        settle(one.id(), "0xw3", 12),
        Change::Fail { id: one.id(), failed: failed() },
        Change::Finalize { id: one.id(), transfer: Some(("0xw3".into(), block(13))) },
    ];
    assert_eq!(apply(&*store, changes).await, [one.id()]);
    let found = timeline(&*store, one.id()).await;
    assert_eq!(found.record.state, State::Settled(settled("0xw3", 13)));
    let states: Vec<_> = found.transactions.iter().map(|(transaction, _)| transaction.state.clone()).collect();
    let dead = TransactionState::Dead { why: "its nonce is used".into() };
    let included = TransactionState::Included { hash: "0xw2".into(), block: block(12) };
    assert_eq!(states, [dead, included, TransactionState::Open]);
    let expected = [
        "signed",
        "transaction_dead",
        "signed",
        "reorged",
        "step_done",
        "signed",
        "unresolved",
        "settled",
        "finalized",
    ];
    assert_eq!(story(&*store, one.id()).await, expected);
    store.close().await;
}
