//! What every store guarantees, as one suite of tests.
//!
//! A store implements [`Backend`] for its tests and writes
//! `store_contract!(MyBackend::fresh())`: each guarantee is one test there.

use std::sync::Arc;

use async_trait::async_trait;
use chains_core::{
    Amount, Fingerprint, Identity, Network,
    chain::{BlockRef, Fees, PlannedTransaction, SignedTransaction},
    clock::Millis,
};
use futures::future::join_all;
use uuid::Uuid;

use super::{BeginError, Query, Store};
use crate::settlement::{
    SettlementId, State,
    record::{Caller, Finished, LandedAttempt, NewSettlement, Outcome, Sent},
};

/// One database, empty at first, for as long as this value lives.
#[async_trait]
pub(crate) trait Backend: Sync {
    /// Opens it; again only after the store opened before was closed.
    async fn open(&self) -> Arc<dyn Store>;
}

/// Makes a test of each guarantee.
macro_rules! store_contract {
    ($backend:expr) => {
        $crate::store::contract::store_contract! { $backend =>
            one_payment_is_one_row_under_200_concurrent_begins,
            a_claimed_payment_does_not_fail_its_neighbours,
            a_key_names_one_payment_of_one_tenant,
            a_call_that_claims_a_payment_twice_stores_nothing,
            what_was_begun_reads_back_as_it_was,
            a_sequence_is_given_out_once,
            what_ended_never_changes,
            a_success_is_delivered_exactly_once,
            a_success_that_finish_gave_away_is_not_delivered_again,
            the_timeline_shows_every_send,
            a_send_makes_signed_broadcast_and_nothing_else,
            what_is_live_comes_back_by_wallet_and_sequence,
            sequence_max_counts_ended_settlements_too,
            everything_survives_a_reopening,
            find_narrows_by_every_filter,
            find_pages_through_everything_once,
            a_closed_store_says_so,
        }
    };
    ($backend:expr => $($guarantee:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $guarantee() {
                $crate::store::contract::$guarantee(&$backend).await;
            }
        )*
    };
}
pub(crate) use store_contract;

pub(crate) fn network() -> Network {
    "eip155:84532".parse().expect("CAIP-2")
}

/// A payment, told apart by its number, that takes this sequence of `wallet`.
pub(crate) fn payment(number: u64, wallet: &str, sequence: u64) -> NewSettlement {
    let bytes = number.to_be_bytes();
    NewSettlement {
        id: SettlementId(Uuid::now_v7()),
        identity: Identity::of("test", &[&bytes]),
        fingerprint: Fingerprint::of("test", &[&bytes]),
        caller: Caller::default(),
        network: network(),
        scheme: "exact".into(),
        payer: format!("0xPayer{number}"),
        pay_to: "0xPayee".into(),
        asset: "0xToken".into(),
        amount: Amount::from(u128::MAX),
        nonce: format!("0xABC{number}"),
        claimed_at: 7,
        plan: PlannedTransaction { gas_wallet: None, body: "{}".into(), valid_before: Some(99) },
        signed: SignedTransaction {
            transaction: format!("0x{wallet}{sequence}"),
            raw: vec![2, 0, 255],
            gas_wallet: wallet.into(),
            sequence: Some(sequence),
            gas_limit: 120_000,
            fees: Fees { per_gas_max: u128::MAX, tip_per_gas: 1 },
        },
        created_at: Millis(1_000 + number),
    }
}

fn keyed(mut payment: NewSettlement, tenant: &str, key: &str) -> NewSettlement {
    payment.caller = Caller { tenant: tenant.into(), idempotency_key: Some(key.into()) };
    payment
}

fn block() -> BlockRef {
    BlockRef { number: 12, hash: "0xblock".into() }
}

fn settled(payment: &NewSettlement, delivered: bool) -> Finished {
    let transaction = payment.signed.transaction.clone();
    let landed = LandedAttempt {
        transaction: transaction.clone(),
        block: block(),
        fee_paid: Amount::from(5_u64),
        gas_used: 85_000,
    };
    let outcome = Outcome::Settled { transaction, block: block() };
    Finished { id: payment.id, outcome, landed: Some(landed), delivered, at: Millis(5_000) }
}

fn failed(payment: &NewSettlement) -> Finished {
    let outcome = Outcome::Failed {
        reason: "invalid_transaction_state".into(),
        message: "it reverted".into(),
        transaction: None,
        block: None,
    };
    Finished { id: payment.id, outcome, landed: None, delivered: true, at: Millis(6_000) }
}

fn sent(payment: &NewSettlement, answer: &'static str, at: u64) -> Sent {
    let transaction = payment.signed.transaction.clone();
    Sent { id: payment.id, transaction, answer, detail: "its words".into(), at: Millis(at) }
}

async fn begun(store: &dyn Store, payments: &[NewSettlement]) {
    store.begin(payments.to_vec()).await.expect("begun");
}

async fn state(store: &dyn Store, payment: &NewSettlement) -> State {
    store.timeline(payment.id).await.expect("read").expect("stored").record.state
}

fn claimed(result: Result<(), BeginError>) -> Vec<SettlementId> {
    match result {
        Err(BeginError::Claimed(ids)) => ids,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn one_payment_is_one_row_under_200_concurrent_begins(backend: &impl Backend) {
    let store = backend.open().await;
    let attempts: Vec<_> = (0..200).map(|sequence| payment(1, "w", sequence)).collect();
    let results = join_all(attempts.iter().map(|attempt| store.begin(vec![attempt.clone()]))).await;
    let (won, lost): (Vec<_>, Vec<_>) = attempts.iter().zip(results).partition(|(_, result)| result.is_ok());
    assert_eq!(won.len(), 1, "one of them begins it");
    for (attempt, result) in lost {
        assert_eq!(claimed(result), [attempt.id], "the others are told which of theirs is claimed");
    }
    let all = store.find(&Query { limit: 1000, ..Query::default() }).await.expect("read");
    assert_eq!(all.iter().map(|record| record.id).collect::<Vec<_>>(), [won[0].0.id]);
    let slots = store.sequence_max(&network(), "w").await.expect("read");
    assert_eq!(slots, won[0].0.signed.sequence, "who lost took no sequence");
    store.close().await;
}

pub(crate) async fn a_claimed_payment_does_not_fail_its_neighbours(backend: &impl Backend) {
    let store = backend.open().await;
    begun(&*store, &[payment(0, "w", 0)]).await;
    let requests: Vec<_> = (0..64).map(|n| payment(n, "w", n + 1)).collect();
    let results = join_all(requests.iter().map(|request| store.begin(vec![request.clone()]))).await;
    for (request, result) in requests.iter().zip(results) {
        let there = store.timeline(request.id).await.expect("read").is_some();
        if request.identity == requests[0].identity {
            assert_eq!(claimed(result), [request.id]);
            assert!(!there);
        } else {
            result.expect("a payment of its own");
            assert!(there);
        }
    }
    let mixed = [payment(100, "w", 100), payment(5, "w", 101), payment(102, "w", 102)];
    assert_eq!(claimed(store.begin(mixed.to_vec()).await), [mixed[1].id]);
    assert!(store.timeline(mixed[0].id).await.expect("read").is_none(), "a call is stored whole or not at all");
    begun(&*store, &[mixed[0].clone(), mixed[2].clone()]).await;
    store.close().await;
}

pub(crate) async fn a_key_names_one_payment_of_one_tenant(backend: &impl Backend) {
    let store = backend.open().await;
    let first = keyed(payment(1, "w", 1), "shop", "key");
    begun(&*store, std::slice::from_ref(&first)).await;
    let other = keyed(payment(2, "w", 2), "shop", "key");
    assert_eq!(claimed(store.begin(vec![other.clone()]).await), [other.id]);
    begun(&*store, &[keyed(payment(3, "w", 3), "bakery", "key")]).await;
    begun(&*store, &[payment(4, "w", 4), payment(5, "w", 5)]).await;
    let found = store.by_idempotency_key(&first.caller).await.expect("read").expect("stored");
    assert_eq!(found.id, first.id);
    assert_eq!(store.by_idempotency_key(&Caller::default()).await.expect("read"), None);
    let stranger = Caller { tenant: "stranger".into(), ..first.caller };
    assert_eq!(store.by_idempotency_key(&stranger).await.expect("read"), None);
    store.close().await;
}

pub(crate) async fn a_call_that_claims_a_payment_twice_stores_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let (first, second) = (payment(1, "w", 1), payment(1, "w", 2));
    assert_eq!(claimed(store.begin(vec![first.clone(), second.clone()]).await), [second.id]);
    assert_eq!(store.by_identity(&first.identity).await.expect("read"), None);
    store.close().await;
}

pub(crate) async fn what_was_begun_reads_back_as_it_was(backend: &impl Backend) {
    let store = backend.open().await;
    let mut wanted = keyed(payment(1, "w", 1), "shop", "key");
    wanted.plan.gas_wallet = Some("w".into());
    let mut bare = payment(2, "w", 0);
    bare.signed.sequence = None;
    bare.plan.valid_before = None;
    begun(&*store, &[wanted.clone(), bare.clone()]).await;
    for new in [wanted, bare] {
        let timeline = store.timeline(new.id).await.expect("read").expect("stored");
        let record = &timeline.record;
        assert_eq!(record.state, State::Signed);
        assert_eq!((record.identity, record.fingerprint), (new.identity, new.fingerprint));
        assert_eq!(record.caller, new.caller);
        assert_eq!((&record.network, &record.scheme), (&new.network, &new.scheme));
        assert_eq!((&record.payer, &record.pay_to, &record.asset), (&new.payer, &new.pay_to, &new.asset));
        assert_eq!((record.amount, &record.nonce), (new.amount, &new.nonce));
        assert_eq!((record.claimed_at, &record.plan), (new.claimed_at, &new.plan));
        assert_eq!(record.transaction, new.signed.transaction);
        assert_eq!((record.created_at, record.updated_at), (new.created_at, new.created_at));
        assert_eq!((&record.outcome, record.delivered_at), (&None, None));
        assert_eq!(timeline.attempts.len(), 1);
        assert_eq!(timeline.attempts[0].signed, new.signed);
        assert_eq!(store.by_identity(&new.identity).await.expect("read").as_ref(), Some(record));
    }
    store.close().await;
}

pub(crate) async fn a_sequence_is_given_out_once(backend: &impl Backend) {
    let store = backend.open().await;
    begun(&*store, &[payment(1, "w", 1)]).await;
    let mut second = payment(2, "w", 1);
    second.signed.transaction = "0xother".into();
    let neighbours: Vec<_> = (3..40).map(|n| payment(n, "w", n)).collect();
    let (refused, rest) = tokio::join!(
        store.begin(vec![second.clone()]),
        join_all(neighbours.iter().map(|neighbour| store.begin(vec![neighbour.clone()])))
    );
    assert!(matches!(refused, Err(BeginError::Store(_))), "{refused:?}");
    assert!(store.timeline(second.id).await.expect("read").is_none());
    assert!(rest.iter().all(Result::is_ok), "{rest:?}");
    store.close().await;
}

pub(crate) async fn what_ended_never_changes(backend: &impl Backend) {
    let store = backend.open().await;
    let (good, bad) = (payment(1, "w", 1), payment(2, "w", 2));
    begun(&*store, &[good.clone(), bad.clone()]).await;
    store.finish(vec![settled(&good, true), failed(&bad)]).await.expect("stored");
    let before = [good.id, bad.id].map(|id| store.timeline(id));
    let before = join_all(before).await;
    store.note_sent(vec![sent(&good, "unknown", 7_000)]);
    let mut late = settled(&bad, true);
    late.at = Millis(9_000);
    store.finish(vec![failed(&good), late]).await.expect("no effect");
    let after = join_all([good.id, bad.id].map(|id| store.timeline(id))).await;
    for (before, after) in before.into_iter().zip(after) {
        let (before, after) = (before.expect("read").expect("stored"), after.expect("read").expect("stored"));
        assert_eq!(before.record, after.record);
        assert_eq!(before.attempts[0].landed, after.attempts[0].landed);
    }
    let record = store.timeline(good.id).await.expect("read").expect("stored").record;
    assert_eq!((record.state, &record.outcome), (State::Settled, &Some(settled(&good, true).outcome)));
    let record = store.timeline(bad.id).await.expect("read").expect("stored").record;
    assert_eq!((record.state, &record.outcome), (State::Failed, &Some(failed(&bad).outcome)));
    assert_eq!(record.transaction, bad.signed.transaction, "without a deciding transaction, the newest attempt");
    store.close().await;
}

pub(crate) async fn a_success_is_delivered_exactly_once(backend: &impl Backend) {
    let store = backend.open().await;
    let payments: Vec<_> = (0..8).map(|n| payment(n, "w", n)).collect();
    begun(&*store, &payments).await;
    assert!(!store.deliver(payments[0].id, Millis(1)).await.expect("stored"), "there is no success yet");
    store.finish(payments[1..].iter().map(|p| settled(p, false)).collect()).await.expect("stored");
    store.finish(vec![failed(&payments[0])]).await.expect("stored");
    for (number, payment) in payments.iter().enumerate() {
        let given = join_all((0..25).map(|at| store.deliver(payment.id, Millis(8_000 + at)))).await;
        let winners: Vec<_> = (0..).zip(given).filter(|(_, given)| *given.as_ref().expect("stored")).collect();
        let record = store.timeline(payment.id).await.expect("read").expect("stored").record;
        if number == 0 {
            assert_eq!((winners.len(), record.delivered_at), (0, None), "a failure is nothing to give away");
        } else {
            assert_eq!(winners.len(), 1);
            assert_eq!(record.delivered_at, Some(Millis(8_000 + winners[0].0)));
        }
    }
    assert!(!store.deliver(SettlementId(Uuid::now_v7()), Millis(1)).await.expect("stored"), "nor is nothing");
    store.close().await;
}

pub(crate) async fn a_success_that_finish_gave_away_is_not_delivered_again(backend: &impl Backend) {
    let store = backend.open().await;
    let only = payment(1, "w", 1);
    begun(&*store, std::slice::from_ref(&only)).await;
    store.finish(vec![settled(&only, true)]).await.expect("stored");
    assert!(!store.deliver(only.id, Millis(9_000)).await.expect("stored"));
    let record = store.by_identity(&only.identity).await.expect("read").expect("stored");
    assert_eq!(record.delivered_at, Some(Millis(5_000)));
    store.close().await;
}

pub(crate) async fn the_timeline_shows_every_send(backend: &impl Backend) {
    let store = backend.open().await;
    let (noted, quiet) = (payment(1, "w", 1), payment(2, "w", 2));
    begun(&*store, &[noted.clone(), quiet.clone()]).await;
    store.note_sent(vec![sent(&noted, "unknown", 2_000), sent(&noted, "accepted", 3_000)]);
    // The next commit takes the notes along.
    store.finish(vec![settled(&noted, true)]).await.expect("stored");
    let timeline = store.timeline(noted.id).await.expect("read").expect("stored");
    let attempt = &timeline.attempts[0];
    let told: Vec<_> = attempt.sends.iter().map(|send| (send.answer.as_str(), send.at.0)).collect();
    assert_eq!(told, [("unknown", 2_000), ("accepted", 3_000)]);
    assert_eq!((attempt.sends[0].detail.as_str(), attempt.sends_total), ("its words", 2));
    assert_eq!(attempt.landed, settled(&noted, true).landed);
    let other = store.timeline(quiet.id).await.expect("read").expect("stored");
    assert_eq!((other.attempts[0].sends.len(), other.attempts[0].sends_total), (0, 0));
    store.close().await;
}

pub(crate) async fn a_send_makes_signed_broadcast_and_nothing_else(backend: &impl Backend) {
    let store = backend.open().await;
    let (one, two) = (payment(1, "w", 1), payment(2, "w", 2));
    begun(&*store, &[one.clone(), two.clone()]).await;
    store.finish(vec![settled(&two, true)]).await.expect("stored");
    store.note_sent(vec![sent(&one, "unknown", 2_000), sent(&two, "unknown", 2_000)]);
    let stranger = payment(3, "w", 3);
    store.note_sent(vec![sent(&stranger, "accepted", 2_000)]);
    store.check().await.expect("a commit that takes the notes along");
    assert_eq!((state(&*store, &one).await, state(&*store, &two).await), (State::Broadcast, State::Settled));
    assert!(store.timeline(stranger.id).await.expect("read").is_none());
    store.close().await;
}

pub(crate) async fn what_is_live_comes_back_by_wallet_and_sequence(backend: &impl Backend) {
    let store = backend.open().await;
    let places = [("b", 2), ("a", 10), ("b", 1), ("a", 9), ("a", 11)];
    let mut payments: Vec<_> = (0..).zip(places).map(|(n, (wallet, sequence))| payment(n, wallet, sequence)).collect();
    let mut elsewhere = payment(50, "a", 1);
    elsewhere.network = "eip155:1".parse().expect("CAIP-2");
    payments.push(elsewhere);
    for payment in &payments {
        begun(&*store, std::slice::from_ref(payment)).await;
    }
    store.finish(vec![settled(&payments[4], false)]).await.expect("stored");
    store.note_sent(vec![sent(&payments[0], "accepted", 2_000)]);
    store.check().await.expect("stored");
    let live = store.live(&network()).await.expect("read");
    let order: Vec<_> = live
        .iter()
        .map(|t| (t.attempts[0].signed.gas_wallet.as_str(), t.attempts[0].signed.sequence.expect("one")))
        .collect();
    assert_eq!(order, [("a", 9), ("a", 10), ("b", 1), ("b", 2)]);
    assert_eq!((live[3].record.state, live[3].attempts[0].sends.len()), (State::Broadcast, 1));
    store.close().await;
}

pub(crate) async fn sequence_max_counts_ended_settlements_too(backend: &impl Backend) {
    let store = backend.open().await;
    assert_eq!(store.sequence_max(&network(), "a").await.expect("read"), None);
    let payments = [payment(1, "a", 7), payment(2, "b", 9)];
    begun(&*store, &payments).await;
    store.finish(vec![settled(&payments[0], true)]).await.expect("stored");
    assert_eq!(store.sequence_max(&network(), "a").await.expect("read"), Some(7));
    assert_eq!(store.sequence_max(&network(), "b").await.expect("read"), Some(9));
    assert_eq!(store.sequence_max(&"eip155:1".parse().expect("CAIP-2"), "b").await.expect("read"), None);
    store.close().await;
}

pub(crate) async fn everything_survives_a_reopening(backend: &impl Backend) {
    let store = backend.open().await;
    let payments = [payment(1, "w", 1), payment(2, "w", 2)];
    begun(&*store, &payments).await;
    store.finish(vec![settled(&payments[0], false)]).await.expect("stored");
    // Nobody asks for a commit after this note: closing writes it.
    store.note_sent(vec![sent(&payments[1], "accepted", 2_000)]);
    store.close().await;
    let store = backend.open().await;
    assert_eq!(state(&*store, &payments[0]).await, State::Settled);
    let live = store.live(&network()).await.expect("read");
    assert_eq!((live.len(), live[0].record.id), (1, payments[1].id));
    assert_eq!((live[0].record.state, live[0].attempts[0].sends_total), (State::Broadcast, 1));
    assert_eq!(live[0].attempts[0].signed, payments[1].signed, "the bytes are what recovery sends again");
    assert_eq!(claimed(store.begin(vec![payments[0].clone()]).await), [payments[0].id], "for ever");
    assert!(store.deliver(payments[0].id, Millis(9_000)).await.expect("stored"));
    store.close().await;
}

pub(crate) async fn find_narrows_by_every_filter(backend: &impl Backend) {
    let store = backend.open().await;
    let (shop, bakery, open) =
        (keyed(payment(1, "w", 1), "shop", "k"), keyed(payment(2, "w", 2), "bakery", "k"), payment(3, "w", 3));
    begun(&*store, &[shop.clone(), bakery.clone(), open.clone()]).await;
    let mut foreign = settled(&open, true);
    foreign.outcome = Outcome::Settled { transaction: "0xforeign".into(), block: block() };
    foreign.landed = None;
    store.finish(vec![foreign, failed(&bakery)]).await.expect("stored");
    let all = || Query { limit: 10, ..Query::default() };
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        ("everything, newest first", all(), vec![open.id, bakery.id, shop.id]),
        ("an attempt", Query { transaction: text("0xw1"), ..all() }, vec![shop.id]),
        ("an attempt that lost", Query { transaction: text("0xw3"), ..all() }, vec![open.id]),
        ("the deciding transaction", Query { transaction: text("0xforeign"), ..all() }, vec![open.id]),
        ("an unknown transaction", Query { transaction: text("0x"), ..all() }, vec![]),
        ("the network", Query { network: Some("eip155:1".parse().expect("CAIP-2")), ..all() }, vec![]),
        ("the payer", Query { network: Some(network()), payer: text("0xpAYER1"), ..all() }, vec![shop.id]),
        ("the nonce", Query { payer: text("0xPayer2"), nonce: text("0xabc2"), ..all() }, vec![bakery.id]),
        ("another nonce", Query { payer: text("0xPayer2"), nonce: text("0xabc1"), ..all() }, vec![]),
        ("signed", Query { state: Some(State::Signed), ..all() }, vec![shop.id]),
        ("failed", Query { state: Some(State::Failed), ..all() }, vec![bakery.id]),
        ("claimed", Query { state: Some(State::Claimed), ..all() }, vec![]),
        ("the time", Query { from: Some(Millis(1_002)), ..all() }, vec![open.id, bakery.id]),
        ("the tenant", Query { tenant: text("shop"), ..all() }, vec![shop.id]),
        ("no tenant", Query { tenant: text(""), ..all() }, vec![open.id]),
        ("a stranger", Query { tenant: text("shop"), transaction: text("0xw2"), ..all() }, vec![]),
        ("a page", Query { limit: 1, ..all() }, vec![open.id]),
    ];
    for (what, query, expected) in cases {
        let found: Vec<_> = store.find(&query).await.expect(what).into_iter().map(|record| record.id).collect();
        assert_eq!(found, expected, "{what}");
    }
    store.close().await;
}

pub(crate) async fn find_pages_through_everything_once(backend: &impl Backend) {
    let store = backend.open().await;
    let mut payments: Vec<_> = (0..23).map(|n| payment(n, "w", n)).collect();
    for payment in &mut payments {
        // Several of the same moment, so that the time alone is no cursor.
        payment.created_at = Millis(payment.created_at.0 / 5);
    }
    begun(&*store, &payments).await;
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store.find(&Query { before, limit: 5, ..Query::default() }).await.expect("read");
        before = page.last().map(|record| record.id);
        seen.extend(page.into_iter().map(|record| (record.created_at, record.id)));
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), payments.len());
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
    store.close().await;
}

pub(crate) async fn a_closed_store_says_so(backend: &impl Backend) {
    let store = backend.open().await;
    store.check().await.expect("open");
    store.close().await;
    store.close().await;
    let closed = store.begin(vec![payment(1, "w", 1)]).await;
    assert!(matches!(closed, Err(BeginError::Store(super::StoreError::Closed))), "{closed:?}");
    assert!(matches!(store.check().await, Err(super::StoreError::Closed)));
    assert!(matches!(store.live(&network()).await, Err(super::StoreError::Closed)));
    store.note_sent(vec![sent(&payment(1, "w", 1), "accepted", 1)]);
}
