//! Guarantees about payments that instances hand over: begun or withdrawn, by one.

use std::{sync::Arc, time::Duration};

use chains_core::transaction::Plan;
use futures::future::join_all;

use super::{Backend, build::*, leases::instance};
use crate::{
    settlement::{Facts, SettlementId, record::UnderWay},
    store::{Change, HandedOver, Store, Waiting},
};

const LONG: Duration = Duration::from_hours(1);

/// A store whose wallets the test owns, with an instance that accepts payments.
async fn shared(backend: &impl Backend) -> Arc<dyn Store> {
    let store = owned(backend).await;
    store.renew_leases(&instance("acceptor", 1)).await.expect("announced");
    store
}

fn payment(facts: &Facts, plan: Plan, wait: Duration) -> HandedOver {
    HandedOver { facts: Arc::new(facts.clone()), plan, wait }
}

async fn hand_over(store: &dyn Store, facts: &Facts) -> bool {
    store.hand_over(payment(facts, plan(), LONG), "acceptor").await.expect("asked")
}

async fn take(store: &dyn Store, owner: &str) -> Vec<SettlementId> {
    let may = store.may_take_handed_over(&network(), owner).await.expect("read");
    let taken = store.take_handed_over(&network(), owner, 64).await.expect("taken");
    assert_eq!(may, !taken.is_empty());
    taken.iter().map(|payment| payment.facts.id).collect()
}

/// The changes by which the owner of wallet `w` begins a payment.
fn receive(facts: &Facts, nonce: u64) -> Vec<Change> {
    [vec![Change::Receive { id: facts.id }], begin(facts, nonce)].concat()
}

pub(crate) async fn what_is_handed_over_is_known_and_taken_as_it_was(backend: &impl Backend) {
    let store = shared(backend).await;
    let one = Facts { payer_code: Some("0xcode".into()), ..keyed(1, "shop", "a-key-of-the-server") };
    let pinned = plan().sent_by(Some("w".into()));
    assert!(store.hand_over(payment(&one, pinned.clone(), LONG), "acceptor").await.expect("asked"));
    assert!(store.knows(&one.identity).await.expect("read"));
    assert_eq!(store.by_identity(&one.identity).await.expect("read"), None, "it is no settlement");
    assert_eq!(store.handed_over(&one.identity).await.expect("read").as_deref(), Some(&one));
    assert_eq!(store.open_of(&[one.id]).await.expect("read"), [one.id]);
    let waiting = Waiting { network: network(), gas_wallet: Some("w".into()), count: 1, oldest: one.id };
    assert_eq!(store.waiting().await.expect("read"), [waiting]);
    let taken = store.take_handed_over(&network(), "the test", 64).await.expect("taken");
    let [HandedOver { facts, plan, wait }] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!((&**facts, plan), (&one, &pinned));
    assert!(*wait > LONG / 2 && *wait <= LONG, "{wait:?}");
    apply(&*store, receive(&one, 1)).await;
    assert_eq!(store.handed_over(&one.identity).await.expect("read"), None);
    assert_eq!(store.waiting().await.expect("read"), []);
    assert_eq!(store.by_identity(&one.identity).await.expect("read").expect("begun").id(), one.id);
    assert_eq!(store.open_of(&[one.id]).await.expect("read"), [one.id]);
    store.close().await;
}

pub(crate) async fn a_payment_is_handed_over_once_and_by_an_instance_that_is_announced(backend: &impl Backend) {
    let store = shared(backend).await;
    let one = facts(1);
    let stranger = store.hand_over(payment(&one, plan(), LONG), "a stranger").await;
    assert!(!stranger.expect("asked"));
    let tries: Vec<_> = (0..20).map(|_| facts(1)).collect();
    let answers = join_all(tries.iter().map(|facts| hand_over(&*store, facts))).await;
    let made: Vec<_> = tries.iter().zip(answers).filter(|(_, made)| *made).map(|(facts, _)| facts.id).collect();
    assert_eq!(take(&*store, "the test").await, made, "one of them");
    assert_eq!(made.len(), 1);
    store.close().await;
}

pub(crate) async fn a_payment_is_taken_by_one_owner_of_a_wallet_that_may_send_it(backend: &impl Backend) {
    let store = shared(backend).await;
    store.own_wallet(&network(), "u", "another").await.expect("owned");
    let (any, mine, others) = (facts(1), facts(2), facts(3));
    assert!(hand_over(&*store, &any).await);
    for (facts, wallet) in [(&mine, "w"), (&others, "u")] {
        let pinned = plan().sent_by(Some(wallet.into()));
        assert!(store.hand_over(payment(facts, pinned, LONG), "acceptor").await.expect("asked"));
    }
    let elsewhere = Facts { network: other_network(), ..facts(4) };
    assert!(hand_over(&*store, &elsewhere).await);
    assert_eq!(take(&*store, "nobody").await, [any.id], "whoever may send it");
    store.let_go(Some(any.id), "the test").await.expect("asked");
    assert_eq!(take(&*store, "the test").await, [any.id, mine.id], "what nobody has taken who owns a wallet");
    assert_eq!(take(&*store, "another").await, [others.id]);
    store.let_go(Some(any.id), "another").await.expect("asked");
    assert_eq!(take(&*store, "another").await, [], "it is not his to let go");
    store.let_go(Some(any.id), "the test").await.expect("let go");
    assert_eq!(take(&*store, "another").await, [any.id]);
    store.let_go(None, "another").await.expect("let go");
    assert_eq!(take(&*store, "another").await, [any.id, others.id], "all that it had");
    store.close().await;
}

pub(crate) async fn what_an_owner_took_is_free_once_its_wallets_are_another_s(backend: &impl Backend) {
    let store = shared(backend).await;
    let (any, pinned) = (facts(1), facts(2));
    assert!(hand_over(&*store, &any).await);
    let plan = plan().sent_by(Some("w".into()));
    assert!(store.hand_over(payment(&pinned, plan, LONG), "acceptor").await.expect("asked"));
    assert_eq!(take(&*store, "the test").await, [any.id, pinned.id]);
    store.own_wallet(&network(), "w", "the heir").await.expect("owned");
    assert_eq!(take(&*store, "the heir").await, [], "its owner has another wallet still");
    store.own_wallet(&network(), "", "the test").await.expect("a duty is no wallet");
    store.own_wallet(&network(), "v", "the heir").await.expect("owned");
    assert_eq!(take(&*store, "the heir").await, [any.id, pinned.id]);
    store.close().await;
}

pub(crate) async fn a_payment_is_begun_or_withdrawn_and_never_both(backend: &impl Backend) {
    let store = shared(backend).await;
    let payments: Vec<_> = (1..=40).map(facts).collect();
    for facts in &payments {
        assert!(hand_over(&*store, facts).await);
    }
    assert_eq!(take(&*store, "the test").await.len(), 40);
    let races = (1..).zip(&payments).map(|(nonce, facts)| {
        let store = &store;
        async move {
            let receives = || store.apply(receive(facts, nonce), AT);
            let withdraw = || store.withdraw(facts.id, "acceptor");
            let (begun, withdrawn) = match nonce % 3 {
                0 => (receives().await, withdraw().await),
                1 => swap((withdraw().await, receives().await)),
                _ => tokio::join!(receives(), withdraw()),
            };
            let withdrawn = withdrawn.expect("asked");
            assert!(nonce % 3 == 2 || withdrawn == (nonce % 3 == 1), "whoever came first");
            assert_eq!(begun.is_ok(), !withdrawn, "{begun:?}");
            if let Err(error) = begun {
                assert_eq!(claimed::<()>(Err(error)), [facts.id]);
            }
            assert_eq!(store.record(facts.id).await.expect("read").is_some(), !withdrawn);
        }
    });
    join_all(races).await;
    for facts in &payments {
        assert!(!store.withdraw(facts.id, "acceptor").await.expect("asked"), "once");
        assert_eq!(store.handed_over(&facts.identity).await.expect("read"), None);
    }
    store.close().await;
}

fn swap<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

pub(crate) async fn a_payment_that_was_withdrawn_is_free(backend: &impl Backend) {
    let store = shared(backend).await;
    let one = keyed(1, "shop", "a-key-of-the-server");
    assert!(hand_over(&*store, &one).await);
    assert!(store.withdraw(one.id, "acceptor").await.expect("asked"));
    assert!(!store.knows(&one.identity).await.expect("read"));
    assert_eq!(store.open_of(&[one.id]).await.expect("read"), []);
    assert_eq!(take(&*store, "the test").await, []);
    let again = keyed(1, "shop", "a-key-of-the-server");
    assert!(hand_over(&*store, &again).await);
    apply(&*store, receive(&again, 1)).await;
    store.close().await;
}

pub(crate) async fn what_nobody_waits_for_any_more_is_taken_by_nobody(backend: &impl Backend) {
    let store = shared(backend).await;
    let one = facts(1);
    assert!(store.hand_over(payment(&one, plan(), Duration::ZERO), "acceptor").await.expect("asked"));
    assert_eq!(store.handed_over(&one.identity).await.expect("read"), None);
    assert_eq!(store.waiting().await.expect("read"), []);
    assert_eq!(take(&*store, "the test").await, []);
    assert!(!store.withdraw(one.id, "acceptor").await.expect("asked"), "whoever looked has removed it");
    assert!(store.hand_over(payment(&one, plan(), Duration::ZERO), "acceptor").await.expect("asked"));
    let again = facts(1);
    assert!(hand_over(&*store, &again).await, "it takes the place of one that is over");
    assert_eq!(take(&*store, "the test").await, [again.id]);
    store.close().await;
}

pub(crate) async fn what_a_payer_has_under_way_is_told_open_or_handed_over(backend: &impl Backend) {
    let store = shared(backend).await;
    let of_payer = |number| Facts { payer: "0xPayer".into(), ..facts(number) };
    let elsewhere = Facts { network: other_network(), ..of_payer(5) };
    let all = [of_payer(1), of_payer(2), of_payer(3), facts(4), elsewhere, of_payer(6)];
    let begun: Vec<_> = (1..).zip(&all[..5]).map(|(nonce, facts)| begun_as(facts.clone(), nonce)).collect();
    apply(&*store, begun.iter().flat_map(Begun::begin).collect()).await;
    let next = Plan::new("{\"second\":1}");
    let goes_on = Change::NextStep { id: begun[1].id(), done: 0, plan: next.clone() };
    apply(&*store, vec![goes_on, begun[2].include(), begun[2].settle()]).await;
    assert!(hand_over(&*store, &all[5]).await);
    let over = Facts { payer: "0xPayer".into(), ..facts(7) };
    assert!(store.hand_over(payment(&over, plan(), Duration::ZERO), "acceptor").await.expect("asked"));
    let under_way = |facts: &Facts, plan| UnderWay {
        id: facts.id,
        identity: facts.identity,
        asset: facts.asset.clone(),
        amount: facts.amount,
        plan,
    };
    let expected = [under_way(&all[0], plan()), under_way(&all[1], next), under_way(&all[5], plan())];
    assert_eq!(store.under_way(&network(), "0xPayer").await.expect("read"), expected);
    assert_eq!(store.under_way(&network(), "0xNobody").await.expect("read"), []);
    store.close().await;
}

pub(crate) async fn a_payment_that_was_begun_meanwhile_is_not_received(backend: &impl Backend) {
    let store = shared(backend).await;
    let (one, faster) = (facts(1), facts(1));
    assert!(hand_over(&*store, &one).await);
    apply(&*store, begin(&faster, 1)).await;
    assert_eq!(claimed(store.apply(receive(&one, 2), AT).await), [one.id]);
    assert_eq!(store.record(one.id).await.expect("read"), None);
    assert!(store.withdraw(one.id, "acceptor").await.expect("asked"), "it is still handed over");
    assert!(!hand_over(&*store, &facts(1)).await, "it is begun");
    store.close().await;
}
