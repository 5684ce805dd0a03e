//! Guarantees about the operator's word.

use futures::future::join_all;

use super::{Backend, build::*};
use crate::{
    settlement::{Recipient, State, Status},
    store::{ApplyError, StoreError},
};

pub(crate) async fn the_word_ends_only_what_is_unresolved(backend: &impl Backend) {
    let store = owned(backend).await;
    let [open, good, bad, unknown] = begun(&*store).await;
    for one in [&open, &begun_as(facts(9), 9)] {
        assert!(!store.resolve(one.word(Some("0xtx"))).await.expect("an answer"));
    }
    apply(&*store, [&good, &bad, &unknown].map(|one| one.unresolve("no proof")).to_vec()).await;
    assert!(store.resolve(good.word(Some("0xforeign"))).await.expect("an answer"));
    assert!(store.resolve(bad.word(None)).await.expect("an answer"));
    let found = timeline(&*store, good.id()).await;
    let State::Settled(settled) = &found.record.state else { panic!("{:?}", found.record.state) };
    assert_eq!((settled.hash(), found.record.delivered), ("0xforeign", None), "nobody was given it yet");
    let told = found.events.last().expect("an event");
    assert_eq!((told.kind.as_str(), told.detail.as_str()), ("resolved", "settled by 0xforeign: seen in the explorer"));
    assert!(store.deliver(good.id(), Recipient::Other, AT).await.expect("an answer"), "it is a success as any other");
    let found = timeline(&*store, bad.id()).await;
    let State::Failed(failed) = &found.record.state else { panic!("{:?}", found.record.state) };
    assert_eq!((failed.reason.as_str(), failed.transaction.as_deref()), ("ended_by_operator", None));
    assert!(!failed.message.contains("explorer"), "the operator's reason stays inside");
    assert_eq!(found.events.last().expect("an event").detail, "failed: seen in the explorer");
    assert_eq!(record(&*store, open.id()).await.state, State::Open);
    assert_eq!(record(&*store, unknown.id()).await.status, Status::Unresolved);
    store.close().await;
}

pub(crate) async fn the_word_never_overrides_a_proof(backend: &impl Backend) {
    let store = owned(backend).await;
    let [good, bad] = begun(&*store).await;
    apply(&*store, vec![good.unresolve("no proof"), bad.unresolve("no proof"), good.settle(), bad.fail()]).await;
    for (one, word) in [(&good, good.word(None)), (&bad, bad.word(Some("0xtx")))] {
        let before = timeline(&*store, one.id()).await;
        assert!(!store.resolve(word).await.expect("an answer"));
        assert_eq!(timeline(&*store, one.id()).await, before);
    }
    // Nor does a proof override the word, once it counts.
    let late = begun_as(facts(9), 9);
    apply(&*store, late.begin()).await;
    apply(&*store, vec![late.unresolve("no proof")]).await;
    assert!(store.resolve(late.word(None)).await.expect("an answer"));
    assert_eq!(apply(&*store, vec![late.settle()]).await, [], "the caller is told that it ended nothing");
    store.close().await;
}

pub(crate) async fn the_word_works_beside_the_owner(backend: &impl Backend) {
    let store = owned(backend).await;
    let payments: [_; 16] = begun(&*store).await;
    apply(&*store, payments.iter().map(|one| one.unresolve("no proof")).collect()).await;
    let beside = backend.operate().await;
    let traffic: Vec<_> = (100..164).map(facts).collect();
    let calls = (100..).zip(&traffic).map(|(nonce, facts)| store.apply(begin(facts, nonce), AT));
    let words = payments.iter().map(|one| beside.resolve(one.word(Some("0xtx"))));
    let (stored, resolved) = tokio::join!(join_all(calls), join_all(words));
    assert!(stored.iter().all(Result::is_ok), "{stored:?}");
    for (one, resolved) in payments.iter().zip(resolved) {
        assert!(resolved.expect("an answer"));
        assert_eq!(record(&*store, one.id()).await.status, Status::Settled, "the owner sees it");
        assert_eq!(story(&*beside, one.id()).await, ["signed", "unresolved", "resolved"]);
    }
    let refused = beside.apply(begin(&facts(1), 999), AT).await;
    assert!(matches!(refused, Err(ApplyError::Store(StoreError::Closed))), "every other write: {refused:?}");
    assert!(matches!(beside.own_wallet(&network(), "w", "beside").await, Err(StoreError::Closed)));
    beside.close().await;
    store.close().await;
    let alone = backend.operate().await;
    assert!(!alone.resolve(payments[0].word(None)).await.expect("an answer without an owner"));
    alone.close().await;
}

pub(crate) async fn of_many_words_one_counts(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one] = begun(&*store).await;
    apply(&*store, vec![one.unresolve("no proof")]).await;
    let beside = backend.operate().await;
    let words = (0..16).map(|n| {
        let store = if n % 2 == 0 { &store } else { &beside };
        store.resolve(one.word((n % 3 == 0).then_some("0xtx")))
    });
    let counted = join_all(words).await.into_iter().filter(|word| *word.as_ref().expect("an answer")).count();
    assert_eq!(counted, 1);
    assert_eq!(story(&*store, one.id()).await, ["signed", "unresolved", "resolved"]);
    beside.close().await;
    store.close().await;
}

pub(crate) async fn a_settlement_ended_by_the_word_is_not_due_for_finality(backend: &impl Backend) {
    let store = owned(backend).await;
    let [ours, foreign] = begun(&*store).await;
    apply(&*store, vec![ours.include(), ours.unresolve("no logs"), foreign.unresolve("no logs")]).await;
    assert!(store.resolve(ours.word(Some(ours.hash()))).await.expect("an answer"));
    assert!(store.resolve(foreign.word(Some("0xforeign"))).await.expect("an answer"));
    assert_eq!(store.due_for_finality(&network(), u64::MAX, 9).await.expect("read"), [], "no proof is to be had");
    assert_eq!(state(&*store, ours.id()).await, State::Settled(settled(ours.hash(), 12)), "with the block it had");
    store.close().await;
}

pub(crate) async fn a_failure_by_the_word_is_watched_as_long_as_it_can_be_executed(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one] = begun(&*store).await;
    apply(&*store, vec![one.unresolve("no proof")]).await;
    assert!(store.resolve(one.word(None)).await.expect("an answer"));
    let watched = store.executable(&network(), None, 9).await.expect("read");
    let State::Failed(failed) = &watched[0].state else { panic!("{watched:?}") };
    assert_eq!((watched[0].facts.id, failed.executable_until), (one.id(), plan().valid_before));
    store.close().await;
}
