//! Guarantees about how settlements end.

use chains_core::clock::Millis;
use futures::future::join_all;

use super::{Backend, build::*};
use crate::{
    settlement::{Delivered, Recipient, SettlementId, State, Status, StepState},
    store::{ApplyError, Change, StoreError},
};

pub(crate) async fn what_ended_never_changes(backend: &impl Backend) {
    let store = owned(backend).await;
    let [good, bad] = begun(&*store).await;
    apply(&*store, vec![good.include(), good.settle(), bad.fail()]).await;
    assert_eq!(state(&*store, good.id()).await, State::Settled(settled(good.hash(), 12)));
    assert_eq!(state(&*store, bad.id()).await, State::Failed(failed()));
    let before = join_all([&good, &bad].map(|one| timeline(&*store, one.id()))).await;
    store.note_sent(vec![good.sent("unknown", 7_000), bad.sent("accepted", 7_000)]);
    let late = [
        vec![good.fail(), bad.settle()],
        vec![good.unresolve("late"), bad.unresolve("late")],
        vec![settle(good.id(), "0xother", 99)],
        vec![Change::NextStep { id: good.id(), done: 0, plan: plan() }],
    ];
    for changes in late {
        assert_eq!(store.apply(changes, Millis(9_000)).await.expect("no effect"), []);
    }
    let after = join_all([&good, &bad].map(|one| timeline(&*store, one.id()))).await;
    for (before, after) in before.into_iter().zip(after) {
        assert_eq!((before.record, before.steps, before.events), (after.record, after.steps, after.events));
        assert_eq!(before.transactions[0].0, after.transactions[0].0);
    }
    assert_eq!(record(&*store, bad.id()).await.transaction, bad.hash(), "without a deciding one, the newest attempt");
    store.close().await;
}

pub(crate) async fn apply_returns_what_it_ended(backend: &impl Backend) {
    let store = owned(backend).await;
    let [first, second, third] = begun(&*store).await;
    assert_eq!(apply(&*store, vec![first.include()]).await, [], "an inclusion is no end");
    let both = apply(&*store, vec![first.settle(), second.fail()]).await;
    assert_eq!(both, [first.id(), second.id()]);
    let again = apply(&*store, vec![first.fail(), third.settle(), second.settle()]).await;
    assert_eq!(again, [third.id()], "only those that had not ended");
    // Calls that share a commit are told their own.
    let payments: Vec<_> = (10..74).map(|number| begun_as(facts(number), number)).collect();
    apply(&*store, payments.iter().flat_map(Begun::begin).collect()).await;
    let calls = payments.iter().map(|one| store.apply(vec![one.settle(), one.fail()], AT));
    for (one, ended) in payments.iter().zip(join_all(calls).await) {
        assert_eq!(ended.expect("applied"), [one.id()]);
    }
    store.close().await;
}

pub(crate) async fn a_success_is_delivered_exactly_once(backend: &impl Backend) {
    let store = owned(backend).await;
    let payments: [_; 8] = begun(&*store).await;
    let failure = &payments[0];
    assert!(!store.deliver(failure.id(), Recipient::Other, AT).await.expect("an answer"), "there is no success yet");
    let ends = payments[1..].iter().map(Begun::settle).chain([failure.fail()]);
    apply(&*store, ends.collect()).await;
    for one in &payments {
        let recipient = |at: u64| if at.is_multiple_of(2) { Recipient::Caller } else { Recipient::Other };
        let given = join_all((0..25).map(|at| store.deliver(one.id(), recipient(at), Millis(8_000 + at)))).await;
        let winners: Vec<_> = (0..).zip(given).filter(|(_, given)| *given.as_ref().expect("an answer")).collect();
        let record = record(&*store, one.id()).await;
        if one.id() == failure.id() {
            assert_eq!((winners.len(), record.delivered), (0, None), "a failure is nothing to give away");
        } else {
            assert_eq!(winners.len(), 1);
            let (at, to) = (Millis(8_000 + winners[0].0), recipient(winners[0].0));
            assert_eq!(record.delivered, Some(Delivered { at, to }));
            assert_eq!(story(&*store, one.id()).await, ["signed", "settled", "delivered"]);
        }
    }
    assert!(!store.deliver(SettlementId::fresh(), Recipient::Other, AT).await.expect("an answer"), "nor is nothing");
    store.close().await;
}

pub(crate) async fn a_success_that_was_given_at_its_end_is_not_delivered_again(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one] = begun(&*store).await;
    let settle = Change::Settle { id: one.id(), settled: settled(one.hash(), 12), delivered: Some(Recipient::Caller) };
    apply(&*store, vec![settle]).await;
    assert!(!store.deliver(one.id(), Recipient::Other, Millis(9_000)).await.expect("an answer"));
    let record = store.by_identity(&one.facts.identity).await.expect("read").expect("stored");
    assert_eq!(record.delivered, Some(Delivered { at: AT, to: Recipient::Caller }));
    store.close().await;
}

pub(crate) async fn a_success_that_the_chain_took_back_is_given_to_nobody_until_it_stands(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one] = begun(&*store).await;
    apply(&*store, vec![one.settle(), Change::TakeBack { id: one.id(), why: "reorg".into() }]).await;
    assert!(record(&*store, one.id()).await.is_taken_back());
    assert!(!store.deliver(one.id(), Recipient::Other, AT).await.expect("an answer"));
    apply(&*store, vec![Change::Finalize { id: one.id(), transfer: Some((one.hash().into(), block(13))) }]).await;
    assert!(!record(&*store, one.id()).await.is_taken_back());
    assert!(store.deliver(one.id(), Recipient::Other, AT).await.expect("an answer"));
    store.close().await;
}

pub(crate) async fn an_ended_settlement_is_not_carried_again(backend: &impl Backend) {
    let store = owned(backend).await;
    let [settled, failed, racing] = begun(&*store).await;
    apply(&*store, vec![settled.kill(), failed.kill(), racing.kill(), settled.settle(), failed.fail()]).await;
    let other = facts(9);
    for one in [&settled, &failed] {
        let carry = Change::Carry(transaction("w", 9, &[(one.id(), 0)]));
        let call = [vec![carry], begin(&other, 10)].concat();
        assert_eq!(claimed(store.apply(call, AT).await), [one.id()], "its bytes must not be sent");
        assert!(store.record(other.id).await.expect("read").is_none(), "nothing of the call is stored");
    }
    // An end that shares the commit counts, too.
    let carry = Change::Carry(transaction("w", 9, &[(racing.id(), 0)]));
    let (ended, carried) = tokio::join!(store.apply(vec![racing.settle()], AT), store.apply(vec![carry], AT));
    assert_eq!(ended.expect("applied"), [racing.id()]);
    assert_eq!(claimed(carried), [racing.id()]);
    store.close().await;
}

pub(crate) async fn an_unresolved_settlement_ends_by_a_proof(backend: &impl Backend) {
    let store = owned(backend).await;
    let [good, bad] = begun(&*store).await;
    apply(&*store, vec![good.unresolve("no logs"), bad.unresolve("no logs")]).await;
    apply(&*store, vec![good.unresolve("no state")]).await;
    assert_eq!(state(&*store, good.id()).await, State::Unresolved { why: "no state".into() }, "the newest reason");
    assert_eq!(store.open_settlements(&network()).await.expect("read"), [], "it is out of the worker");
    assert_eq!(apply(&*store, vec![good.settle(), bad.fail()]).await, [good.id(), bad.id()]);
    assert_eq!(state(&*store, good.id()).await, State::Settled(settled(good.hash(), 12)));
    assert_eq!(state(&*store, bad.id()).await, State::Failed(failed()));
    assert_eq!(story(&*store, good.id()).await, ["signed", "unresolved", "settled"], "the first reason is an event");
    store.close().await;
}

pub(crate) async fn an_unresolved_settlement_becomes_open_again(backend: &impl Backend) {
    let store = owned(backend).await;
    let [killed, reopened, went_on] = begun(&*store).await;
    let all = [&killed, &reopened, &went_on];
    let unresolve = all.iter().map(|one| one.unresolve("no proof"));
    apply(&*store, [reopened.include(), went_on.include()].into_iter().chain(unresolve).collect()).await;
    let cases = [
        (&killed, killed.kill(), Status::Signed),
        (&reopened, Change::Reopen { transaction: reopened.transaction.id }, Status::Broadcast),
        (&went_on, Change::NextStep { id: went_on.id(), done: 0, plan: plan() }, Status::Signed),
    ];
    for (one, change, status) in cases {
        let what = format!("{change:?}");
        apply(&*store, vec![change]).await;
        let record = record(&*store, one.id()).await;
        assert_eq!((record.state, record.status), (State::Open, status), "{what}");
    }
    let open = store.open_settlements(&network()).await.expect("read");
    assert_eq!(open.iter().map(|followed| followed.facts.id).collect::<Vec<_>>(), all.map(Begun::id));
    assert_eq!(open[0].steps[0].state, StepState::Waiting);
    assert_eq!(store.unresolved(&network(), None, 9).await.expect("read"), []);
    store.close().await;
}

pub(crate) async fn everything_survives_a_reopening(backend: &impl Backend) {
    let store = owned(backend).await;
    let [ended, open] = begun(&*store).await;
    apply(&*store, vec![ended.settle()]).await;
    // Nobody asks for a commit after this note: closing writes it.
    store.note_sent(vec![open.sent("accepted", 3_000)]);
    store.close().await;
    let store = backend.open().await;
    assert_eq!(record(&*store, ended.id()).await.status, Status::Settled);
    let found = store.open_settlements(&network()).await.expect("read");
    assert_eq!((found.len(), &*found[0].facts), (1, &open.facts));
    assert_eq!(found[0].transactions, [open.transaction], "the bytes are what recovery sends again");
    let record = record(&*store, open.facts.id).await;
    assert_eq!((record.status, record.accepted), (Status::Broadcast, true));
    let again = facts(1);
    assert_eq!(claimed(store.apply(vec![claim(&again)], AT).await), [again.id], "for ever");
    assert!(store.deliver(ended.facts.id, Recipient::Other, Millis(9_000)).await.expect("an answer"));
    store.close().await;
}

pub(crate) async fn a_closed_store_says_so(backend: &impl Backend) {
    let store = owned(backend).await;
    store.check().await.expect("open");
    let [one] = begun(&*store).await;
    store.close().await;
    store.close().await;
    let closed = store.apply(begin(&facts(2), 2), AT).await;
    assert!(matches!(closed, Err(ApplyError::Store(StoreError::Closed))), "{closed:?}");
    assert!(matches!(store.check().await, Err(StoreError::Closed)));
    assert!(matches!(store.resolve(one.word(None)).await, Err(StoreError::Closed)));
    assert!(matches!(store.open_settlements(&network()).await, Err(StoreError::Closed)));
    store.note_sent(vec![one.sent("accepted", 1)]);
}
