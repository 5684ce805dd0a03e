//! Guarantees about what comes back.

use super::*;
use crate::store::StoreError;

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

pub(crate) async fn what_took_a_sequence_is_found_by_it(backend: &impl Backend) {
    let store = backend.open().await;
    let payments = [payment(1, "w", 7), payment(2, "w", 8), payment(3, "w", 9), payment(4, "v", 8)];
    begun(&*store, &payments).await;
    store.finish(vec![settled(&payments[1], true)]).await.expect("stored");
    let at = async |wallet, sequences| store.signed_at(&network(), wallet, sequences).await.expect("read");
    let of = |payment: &NewSettlement| (payment.id, signed(payment).clone());
    assert_eq!(at("w", 7..9).await, [of(&payments[0]), of(&payments[1])], "ended or not, in order");
    assert_eq!(at("v", 0..9).await, [of(&payments[3])]);
    assert_eq!(at("w", 10..20).await, []);
    store.close().await;
}

pub(crate) async fn who_failed_at_our_cost_is_remembered(backend: &impl Backend) {
    let store = backend.open().await;
    let mut payments: Vec<_> = (1..=5).map(|n| payment(n, "w", n)).collect();
    payments[4].network = "eip155:1".parse().expect("CAIP-2");
    begun(&*store, &payments).await;
    let in_a_block =
        |payment, at| Finished { landed: settled(payment, true).landed, at: Millis(at), ..failed(payment) };
    let [late, early, free, paid, elsewhere] = payments.as_slice() else { panic!("five") };
    let finished = vec![in_a_block(late, 6_000), in_a_block(early, 5_000), failed(free), settled(paid, true)];
    store.finish(finished).await.expect("stored");
    store.finish(vec![in_a_block(elsewhere, 6_000)]).await.expect("stored");
    let since = async |since| {
        let failures = store.failures(&network(), Millis(since)).await.expect("read");
        failures.into_iter().map(|failure| (failure.payer, failure.at.0)).collect::<Vec<_>>()
    };
    let (early, late) = ((early.payer.clone(), 5_000), (late.payer.clone(), 6_000));
    assert_eq!(since(5_000).await, [early, late.clone()], "oldest first");
    assert_eq!(since(5_001).await, [late]);
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
    assert_eq!(live[0].attempts[0].signed, *signed(&payments[1]), "the bytes are what recovery sends again");
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
    assert!(matches!(closed, Err(BeginError::Store(StoreError::Closed))), "{closed:?}");
    assert!(matches!(store.check().await, Err(StoreError::Closed)));
    assert!(matches!(store.live(&network()).await, Err(StoreError::Closed)));
    store.note_sent(vec![sent(&payment(1, "w", 1), "accepted", 1)]);
}
