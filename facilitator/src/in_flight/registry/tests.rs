use std::time::Duration;

use chains_core::{Amount, Fingerprint, chain::LossBudget, scheme::Funds};
use futures::FutureExt as _;

use super::*;
use crate::{
    in_flight::Join,
    limits::{local::LocalLimits, payer_failures::FailureLimit},
    settlement::{Key, NotNow, Recipient, Settled, SettlementId},
};

fn registry() -> Registry {
    let limit = FailureLimit { failures_max: 5, window: Duration::from_mins(1) };
    let budget = LossBudget { network: Amount::MAX, key: Amount::MAX, code: Amount::from(10_u64), strangers: None };
    Registry::new(Arc::new(LocalLimits::new(limit, [("eip155:1".parse().expect("CAIP-2"), budget)])))
}

/// A payment, by name, with the caller's key.
fn payment(name: &str, key: Option<Key>) -> (Arc<Facts>, Share) {
    let facts = Facts {
        request_id: "r".into(),
        id: SettlementId::fresh(),
        identity: Identity::of("test", &[name.as_bytes()]),
        fingerprint: Fingerprint::of("test", &[name.as_bytes()]),
        caller: Caller { tenant: "shop".into(), key },
        network: "eip155:1".parse().expect("CAIP-2"),
        scheme: "exact".into(),
        payer: "payer".into(),
        payer_code: None,
        pay_to: "payee".into(),
        asset: "token".into(),
        amount: Amount::from(1_u64),
        nonce: "1".into(),
        claimed_block: 1,
        created_at: Millis(1),
    };
    let share = Share {
        identity: facts.identity,
        network: facts.network.clone(),
        tenant: "shop".into(),
        payer: facts.payer.clone(),
        payer_code: None,
        exclusive: None,
        funds: None,
        amount: facts.amount,
        at_risk: Amount::ZERO,
    };
    (Arc::new(facts), share)
}

fn server(key: &str) -> Key {
    Key::Server(key.to_owned())
}

async fn claim(registry: &Registry, (facts, share): (Arc<Facts>, Share)) -> Claim {
    registry.claim(facts, share, Millis(1)).await
}

async fn begin(registry: &Registry, payment: (Arc<Facts>, Share)) -> Waiter {
    match claim(registry, payment).await {
        Claim::New(waiter) => waiter,
        other => panic!("{other:?}"),
    }
}

const fn nothing() -> State {
    State::Settled(Settled { proof: None })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_is_claimed_by_exactly_one_of_many_requests() {
    let registry = Arc::new(registry());
    let tasks = tokio_util::task::TaskTracker::new();
    let claims = (0..64).map(|_| {
        let registry = Arc::clone(&registry);
        tasks.spawn(async move { claim(&registry, payment("p", None)).await })
    });
    let claims = futures::future::join_all(claims).await;
    let won = claims.into_iter().filter(|claim| matches!(claim, Ok(Claim::New(_))));
    assert_eq!(won.count(), 1);
}

#[tokio::test]
async fn the_success_has_one_owner_at_a_time() {
    let registry = registry();
    let (facts, share) = payment("p", None);
    let waiter = begin(&registry, (Arc::clone(&facts), share)).await;
    let entry = Arc::clone(waiter.entry());
    let join = || entry.join(&facts.fingerprint, &facts.caller);
    assert!(matches!(join(), Join::Duplicate), "somebody waits already");
    assert!(waiter.leave().is_none());
    let other = Fingerprint::of("test", &[b"other"]);
    assert!(matches!(entry.join(&other, &facts.caller), Join::Duplicate), "another request never joins");
    let Join::Owner(second) = join() else { panic!("the place is free") };
    assert_eq!(entry.delivery().give(), Some(Recipient::Other));
    let second = second.leave().expect("a success that is being given cannot be left");
    assert!(matches!(join(), Join::Duplicate));
    drop(second);
    assert!(matches!(join(), Join::Duplicate), "a gift is never given twice");
    entry.delivery().take_back();
    assert!(entry.delivery().is_wanted(), "it was not stored: the waiter waits on");
}

#[tokio::test]
async fn a_settlement_that_nobody_waits_for_is_not_started_and_given_to_nobody() {
    let registry = registry();
    let waiter = begin(&registry, payment("p", None)).await;
    let entry = Arc::clone(waiter.entry());
    drop(waiter);
    assert!(entry.delivery().give().is_none() && !entry.start_storing("t"));
}

#[tokio::test]
async fn the_same_key_shares_and_another_request_under_it_is_refused() {
    let registry = registry();
    let (facts, share) = payment("p", Some(server("key-key-key-key-1")));
    let waiter = begin(&registry, (Arc::clone(&facts), share)).await;
    let entry = waiter.entry();
    assert!(matches!(entry.join(&facts.fingerprint, &facts.caller), Join::Observer));
    let other = Fingerprint::of("test", &[b"other"]);
    assert!(matches!(entry.join(&other, &facts.caller), Join::KeyReused));
    assert!(matches!(claim(&registry, payment("q", Some(server("key-key-key-key-1")))).await, Claim::KeyReused));
    assert!(registry.find(&payment("q", None).0.identity).is_none(), "a refused claim leaves nothing behind");
}

#[tokio::test]
async fn a_name_that_the_payer_chose_is_unique_and_shares_nothing() {
    let registry = registry();
    let named = |name| payment(name, Some(Key::Payer("id-id-id-id-id-id-1".into())));
    let (facts, share) = named("p");
    let waiter = begin(&registry, (Arc::clone(&facts), share)).await;
    assert!(matches!(waiter.entry().join(&facts.fingerprint, &facts.caller), Join::Duplicate));
    let other = Fingerprint::of("test", &[b"other"]);
    assert!(matches!(waiter.entry().join(&other, &facts.caller), Join::KeyReused));
    assert!(matches!(claim(&registry, named("q")).await, Claim::KeyReused));
    let (facts, share) = named("r");
    let mut elsewhere = (*facts).clone();
    elsewhere.caller.tenant = "other".into();
    assert!(matches!(claim(&registry, (Arc::new(elsewhere), share)).await, Claim::New(_)));
}

#[tokio::test]
async fn a_claim_that_is_given_back_can_be_made_again() {
    let registry = registry();
    let key = || server("key-key-key-key-1");
    let waiter = begin(&registry, payment("p", Some(key()))).await;
    registry.give_back(waiter.entry(), Dropped::Unavailable(NotNow::Store)).await;
    assert!(registry.is_empty());
    assert_eq!(waiter.entry().progress(), Progress::Dropped(Dropped::Unavailable(NotNow::Store)));
    let again = begin(&registry, payment("p", Some(key()))).await;
    registry.give_back(waiter.entry(), Dropped::Unavailable(NotNow::Store)).await;
    assert!(registry.find(&again.entry().facts.identity).is_some(), "an old entry does not end a new one");
}

#[tokio::test]
async fn what_is_exclusive_is_used_by_one_settlement_at_a_time() {
    let registry = registry();
    let needs = |name, key| {
        let (facts, share) = payment(name, key);
        (facts, Share { exclusive: Some("payer".into()), ..share })
    };
    let first = begin(&registry, needs("a", None)).await;
    assert!(matches!(claim(&registry, needs("b", Some(server("key")))).await, Claim::Taken));
    let other = begin(&registry, payment("c", Some(server("key")))).await;
    registry.end(first.entry(), nothing()).await;
    assert!(matches!(claim(&registry, needs("b", Some(server("key")))).await, Claim::KeyReused));
    registry.end(other.entry(), nothing()).await;
    let second = begin(&registry, needs("b", Some(server("key")))).await;
    registry.end(second.entry(), nothing()).await;
    let (facts, share) = needs("d", None);
    registry.resume(facts, share, "0x1").await;
    assert!(matches!(claim(&registry, needs("e", None)).await, Claim::Taken), "also after a restart");
}

#[tokio::test]
async fn payments_that_are_too_much_together_are_claimed_one_after_the_other() {
    let registry = registry();
    let paid = |name, key| {
        let (facts, share) = payment(name, key);
        let funds = Funds { account: "a".into(), available: Amount::from(1_u64) };
        (facts, Share { funds: Some(funds), exclusive: Some(format!("for {name}")), ..share })
    };
    let first = begin(&registry, paid("p", None)).await;
    let key = || server("key-key-key-key-1");
    let Claim::Wait(ended) = claim(&registry, paid("q", Some(key()))).await else { panic!("the payer has 1 for 2") };
    drop(begin(&registry, payment("r", Some(key()))).await);
    registry.end(first.entry(), nothing()).await;
    assert!(ended.now_or_never().is_some());
    let second = begin(&registry, paid("q", None)).await;
    registry.give_back(first.entry(), Dropped::Unwanted).await;
    assert!(matches!(claim(&registry, paid("s", None)).await, Claim::Wait(_)), "a settlement ends once");
    registry.give_back(second.entry(), Dropped::Unwanted).await;
    assert!(matches!(claim(&registry, paid("s", None)).await, Claim::New(_)));
}

/// A request began here what another process had begun already, whose wallet then came here.
#[tokio::test]
async fn what_comes_from_another_process_takes_the_place_of_the_same_payment_with_its_share() {
    let registry = registry();
    let paid = |name| {
        let (facts, share) = payment(name, None);
        let funds = Funds { account: "account".into(), available: Amount::from(1_u64) };
        (facts, Share { funds: Some(funds), ..share })
    };
    let here = begin(&registry, paid("a")).await;
    let (facts, share) = payment("a", None);
    let there = registry.resume(facts, share, "0x1").await;
    registry.give_back(here.entry(), Dropped::KnownToStore).await;
    let found = registry.find(&there.facts.identity).expect("it is under way");
    assert_eq!(found.facts.id, there.facts.id, "the older one does not end the newer one");
    registry.end(&there, nothing()).await;
    assert!(registry.is_empty());
    drop(begin(&registry, paid("b")).await);
}

#[tokio::test]
async fn a_claim_beyond_a_budget_holds_nothing() {
    let registry = registry();
    let wallet = |name, at_risk| {
        let (facts, share) = payment(name, None);
        (facts, Share { payer_code: Some("code".into()), at_risk: Amount::from(at_risk), ..share })
    };
    let first = begin(&registry, wallet("a", 6_u64)).await;
    assert!(matches!(claim(&registry, wallet("b", 5)).await, Claim::OverBudget(_)));
    let second = begin(&registry, wallet("b", 4)).await;
    registry.end(first.entry(), nothing()).await;
    registry.end(second.entry(), nothing()).await;
    assert!(matches!(claim(&registry, wallet("c", 10)).await, Claim::New(_)));
}

#[tokio::test]
async fn a_payment_of_another_instance_is_received_once_and_beside_none_of_its_own() {
    let registry = registry();
    let until = Instant::now() + Duration::from_mins(1);
    let receive = |(facts, share): (Arc<Facts>, Share)| registry.receive(facts, share, until, Millis(1));
    let one = payment("one", Some(server("a")));
    let Received::New(entry) = receive(one.clone()).await else { panic!("it is new") };
    assert!(entry.is_wanted() && entry.is_received() && entry.start_storing("0x1"));
    assert!(matches!(receive(one.clone()).await, Received::Here), "it is in a queue here");
    let anew = payment("one", None);
    assert!(matches!(receive(anew.clone()).await, Received::Refused), "handed over anew, while the first is there");
    assert!(matches!(receive(payment("two", Some(server("a")))).await, Received::Refused), "its key is in use");
    assert!(
        matches!(entry.join(&one.0.fingerprint, &one.0.caller), Join::Observer),
        "the store gives the success away"
    );
    registry.give_back(&entry, Dropped::KnownToStore).await;
    assert!(matches!(receive(anew).await, Received::New(_)));

    // One of this instance's own, which had no gas wallet for it: the money it has taken stays taken.
    let funds = || Some(Funds { account: "account".into(), available: Amount::from(1_u64) });
    let with_funds = |name| {
        let (facts, share) = payment(name, None);
        (facts, Share { funds: funds(), ..share })
    };
    let own = with_funds("own");
    let waiter = begin(&registry, own.clone()).await;
    let Received::New(received) = receive((Arc::clone(&own.0), Share { funds: None, ..own.1.clone() })).await else {
        panic!("it takes the place of what waits")
    };
    registry.give_back(waiter.entry(), Dropped::LeftToStore("".into())).await;
    assert!(registry.find(&own.0.identity).is_some(), "an older entry does not end a newer one");
    assert!(matches!(claim(&registry, with_funds("other")).await, Claim::Wait(_)));
    registry.end(&received, State::Settled(Settled { proof: None })).await;
    assert!(matches!(claim(&registry, with_funds("other")).await, Claim::New(_)));
}
