//! Guarantees about what is told of a settlement.

use super::{Backend, build::*};
use crate::{
    settlement::{Failed, Recipient, SettlementId, State, Status},
    store::{Change, SendNote},
};

pub(crate) async fn the_timeline_shows_every_send(backend: &impl Backend) {
    let store = owned(backend).await;
    let [noted, quiet] = begun(&*store).await;
    store.note_sent(vec![noted.sent("unknown", 2_000), noted.sent("accepted", 3_000)]);
    // The next commit takes the notes along.
    apply(&*store, vec![noted.settle()]).await;
    let found = timeline(&*store, noted.id()).await;
    let sends = &found.transactions[0].1;
    assert_eq!((sends.len(), sends[0].hash.as_str(), sends[0].count), (1, noted.hash(), 2));
    let told: Vec<_> = sends[0].answers.iter().map(|answer| (answer.answer.as_str(), answer.at.0)).collect();
    assert_eq!(told, [("unknown", 2_000), ("accepted", 3_000)]);
    assert_eq!(sends[0].answers[0].detail, "its words");
    let sends = timeline(&*store, quiet.id()).await.transactions.remove(0).1;
    assert_eq!((sends[0].count, sends[0].answers.len()), (0, 0));
    assert!(store.timeline(SettlementId::fresh()).await.expect("read").is_none());
    store.close().await;
}

pub(crate) async fn a_send_makes_signed_broadcast_and_nothing_else(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one, settled, unresolved, shared] = begun(&*store).await;
    apply(&*store, vec![settled.settle(), unresolved.unresolve("no proof")]).await;
    let both = SendNote { settlements: vec![one.id(), shared.id()], ..one.sent("unknown", 2_000) };
    let stranger = begun_as(facts(9), 9);
    let notes = [&settled, &unresolved, &stranger].map(|one| one.sent("unknown", 2_000));
    store.note_sent(notes.into_iter().chain([both]).collect());
    flush(&*store).await;
    let expected = [
        (&one, Status::Broadcast),
        (&shared, Status::Broadcast),
        (&settled, Status::Settled),
        (&unresolved, Status::Unresolved),
    ];
    for (one, status) in expected {
        assert_eq!(record(&*store, one.id()).await.status, status);
    }
    assert!(store.record(stranger.id()).await.expect("read").is_none());
    store.close().await;
}

pub(crate) async fn acceptance_is_remembered(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one, other] = begun(&*store).await;
    let cases = [("underpriced", false), ("accepted", true), ("unknown", true)];
    for (answer, accepted) in cases {
        store.note_sent(vec![one.sent(answer, 2_000)]);
        flush(&*store).await;
        assert_eq!(record(&*store, one.id()).await.accepted, accepted, "{answer}");
    }
    assert!(!record(&*store, other.id()).await.accepted);
    store.close().await;
}

pub(crate) async fn each_transition_leaves_its_event(backend: &impl Backend) {
    let store = owned(backend).await;
    let [good, bad] = begun(&*store).await;
    apply(&*store, vec![good.unresolve("no logs"), bad.kill(), bad.fail()]).await;
    apply(&*store, vec![good.settle(), Change::TakeBack { id: good.id(), why: "its block is gone".into() }]).await;
    apply(&*store, vec![Change::Finalize { id: good.id(), transfer: Some((good.hash().into(), block(13))) }]).await;
    store.deliver(good.id(), Recipient::Other, AT).await.expect("an answer");
    let told = async |id| {
        let events = timeline(&*store, id).await.events;
        assert!(events[1..].iter().all(|event| event.at == AT));
        events.into_iter().map(|event| (event.kind, event.detail)).collect::<Vec<_>>()
    };
    let events = |events: &[(&str, &str)]| {
        events.iter().map(|(kind, detail)| ((*kind).to_owned(), (*detail).to_owned())).collect::<Vec<_>>()
    };
    let expected = [
        ("signed", "0xw1"),
        ("unresolved", "no logs"),
        ("settled", "0xw1"),
        ("reorged", "its block is gone"),
        ("finalized", "0xw1 in block 13 0xblock13"),
        ("delivered", ""),
    ];
    assert_eq!(told(good.id()).await, events(&expected));
    let expected = [
        ("signed", "0xw2"),
        ("transaction_dead", "its nonce is used"),
        ("failed", "invalid_transaction_state: it reverted"),
    ];
    assert_eq!(told(bad.id()).await, events(&expected));
    store.close().await;
}

/// A node makes its texts as long as it likes.
pub(crate) async fn a_long_text_is_cut(backend: &impl Backend) {
    let store = owned(backend).await;
    let [stuck, dead, bad] = begun(&*store).await;
    let long = "ä".repeat(100_000);
    store.note_sent(vec![SendNote { detail: long.clone(), ..stuck.sent("unknown", 2_000) }]);
    let fail = Change::Fail { id: bad.id(), failed: Failed { message: long.clone(), ..failed() } };
    apply(&*store, vec![stuck.unresolve(&long), Change::Kill { transaction: dead.transaction.id, why: long }, fail])
        .await;
    for one in [&stuck, &dead, &bad] {
        let found = timeline(&*store, one.id()).await;
        assert!(found.events.iter().all(|event| event.detail.chars().count() <= 500));
        let answers = found.transactions.iter().flat_map(|(_, sends)| sends).flat_map(|sends| &sends.answers);
        assert!(answers.map(|answer| answer.detail.chars().count()).all(|length| length == 500));
        match found.record.state {
            State::Unresolved { why } => assert_eq!(why.chars().count(), 500),
            State::Failed(failed) => assert_eq!(failed.message.chars().count(), 500),
            State::Open | State::Settled(_) => {}
        }
    }
    store.close().await;
}
