//! Guarantees about what is stored.

use super::*;

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
    assert_eq!(slots, signed(won[0].0).sequence, "who lost took no sequence");
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
    let found = store.by_key(&first.caller).await.expect("read").expect("stored");
    assert_eq!(found.id, first.id);
    assert_eq!(store.by_key(&Caller::default()).await.expect("read"), None);
    let stranger = Caller { tenant: "stranger".into(), ..first.caller };
    assert_eq!(store.by_key(&stranger).await.expect("read"), None);
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
    bare.signed.as_mut().expect("it has bytes").sequence = None;
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
        assert_eq!(record.transaction, signed(&new).transaction);
        assert_eq!((record.created_at, record.updated_at), (new.created_at, new.created_at));
        assert_eq!((&record.outcome, record.delivered_at), (&None, None));
        assert_eq!(timeline.attempts.len(), 1);
        assert_eq!(timeline.attempts[0].signed, *signed(&new));
        assert_eq!(store.by_identity(&new.identity).await.expect("read").as_ref(), Some(record));
    }
    store.close().await;
}

pub(crate) async fn a_sequence_is_given_out_once(backend: &impl Backend) {
    let store = backend.open().await;
    begun(&*store, &[payment(1, "w", 1)]).await;
    let mut second = payment(2, "w", 1);
    second.signed.as_mut().expect("it has bytes").transaction = "0xother".into();
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
    assert_eq!(record.transaction, signed(&bad).transaction, "without a deciding transaction, the newest attempt");
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

pub(crate) async fn what_has_nothing_to_send_is_settled_and_given_at_once(backend: &impl Backend) {
    let store = backend.open().await;
    let mut nothing = payment(1, "w", 1);
    (nothing.signed, nothing.amount) = (None, Amount::ZERO);
    // Beside one with bytes, in the same commit.
    begun(&*store, &[payment(2, "w", 2), nothing.clone()]).await;
    let timeline = store.timeline(nothing.id).await.expect("read").expect("stored");
    assert_eq!((timeline.record.state, &timeline.record.outcome), (State::Settled, &Some(Outcome::NothingToSend)));
    assert_eq!((timeline.record.transaction.as_str(), timeline.attempts), ("", Vec::new()));
    assert!(!store.deliver(nothing.id, Millis(9_000)).await.expect("an answer"), "given away already");
    let again = NewSettlement { id: SettlementId(Uuid::now_v7()), ..payment(1, "w", 3) };
    assert_eq!(claimed(store.begin(vec![again.clone()]).await), [again.id], "the payment is claimed for ever");
    assert_eq!(store.live(&network()).await.expect("read").len(), 1);
    store.close().await;
}

pub(crate) async fn a_step_replaces_what_is_live_and_keeps_what_was(backend: &impl Backend) {
    let store = backend.open().await;
    let (first, next) = (payment(1, "w", 1), payment(2, "w", 2));
    begun(&*store, std::slice::from_ref(&first)).await;
    store.advance(step(&first, &next)).await.expect("stored");
    let live = store.live(&network()).await.expect("read");
    let attempts: Vec<_> = live[0].attempts.iter().map(|a| (a.signed.clone(), a.live, a.landed.clone())).collect();
    let done = landed(&signed(&first).transaction);
    let expected = [(signed(&first).clone(), false, Some(done)), (signed(&next).clone(), true, None)];
    assert_eq!(attempts, expected, "what the first step cost is kept");
    let record = &live[0].record;
    assert_eq!((record.plan.body.as_str(), record.plan.gas_wallet.as_deref()), ("next", Some("w")));
    assert_eq!(record.transaction, signed(&next).transaction, "callers are told the newest");
    assert_eq!(store.sequence_max(&network(), "w").await.expect("read"), Some(2));
    // A later step with bytes whose sequence is taken contradicts the schema.
    assert!(store.advance(step(&first, &payment(3, "w", 2))).await.is_err());
    assert_eq!(store.live(&network()).await.expect("read"), live, "nothing of it is stored");
    store.close().await;
}

pub(crate) async fn settlements_may_share_bytes_that_somebody_else_signed(backend: &impl Backend) {
    let store = backend.open().await;
    let payers = |number| {
        let mut shared = payment(number, "w", 0);
        let bytes = shared.signed.as_mut().expect("it has bytes");
        (bytes.sequence, bytes.transaction) = (None, "0xapproval".into());
        shared
    };
    let funded = payment(3, "w", 3);
    begun(&*store, &[payers(1), funded.clone()]).await;
    begun(&*store, &[payers(2)]).await;
    store.advance(step(&funded, &payers(4))).await.expect("stored");
    let live = store.live(&network()).await.expect("read");
    let newest: Vec<_> = live.iter().map(|timeline| timeline.record.transaction.as_str()).collect();
    assert_eq!(newest, ["0xapproval"; 3], "each settlement has its own row, and the bytes are stored once");
    store.close().await;
}
