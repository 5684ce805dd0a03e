//! Payments that one instance takes and another one begins: it has the gas wallet.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chains_svm::local::Payer as SolanaPayer;
use e2e::{
    anvil::{Anvil, GAS_WALLET, GAS_WALLET_KEY, PAYEE, PAYER, USDC},
    eventually,
    payer::Draft,
    permit2::{Permit2Draft, allow},
    service::{Answer, Home, Service, Stored},
    validator::Validator,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    instances::{SECOND, shares, shares_all, signal, wallet_of},
    redis_guard::settles_once_of_300,
};

/// A home of an instance that has the one gas wallet.
fn with_the_wallet(chain: &Anvil) -> Home {
    Home::on(chain).stored_in(Stored::Postgres).server("settle_wait", "20s")
}

/// The instance that has the one gas wallet, and one without.
async fn with_and_without(home: &Home, beside: &Home) -> (Service, Arc<Service>) {
    let owner = home.serve().await;
    let other = beside.serve().await;
    shares(&other, 0, 1).await;
    (owner, Arc::new(other))
}

/// Waits until so many payments are handed over and not begun.
async fn waiting(home: &Home, count: usize) {
    let count = count.to_string();
    let handed_over = || home.postgres().execute("SELECT count(*) FROM handed_over");
    eventually(&format!("{count} payments wait"), || std::future::ready((handed_over() == count).then_some(()))).await;
}

fn asked(service: &Arc<Service>, body: &Value) -> JoinHandle<Option<Answer>> {
    let (service, body) = (Arc::clone(service), body.clone());
    tokio::spawn(async move { service.try_post("/settle", &body, None).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_a_gas_wallet_settles_through_the_one_that_has_it() {
    let chain = Anvil::start().await;
    let home = with_the_wallet(&chain);
    let beside = home.beside("two");
    let (owner, other) = with_and_without(&home, &beside).await;
    assert_eq!(other.get("/ready").await.status, 200, "it hands over");
    let bodies: Vec<Value> = (0..8).map(|_| Draft::default().v2()).collect();
    let began = Instant::now();
    let answers = futures::future::join_all(bodies.iter().map(|body| other.post("/settle", body))).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for (body, answer) in bodies.iter().zip(&answers) {
        assert!(answer.is_good(), "{answer:?}\n{}\n{}", home.log(), beside.log());
        for service in [&owner, &*other] {
            let again = service.post("/settle", body).await;
            assert_eq!(again.text("errorReason"), "duplicate_settlement", "{again:?}");
            assert_eq!(again.text("transaction"), answer.text("transaction"));
        }
        assert_eq!(other.settlement(answer.settlement_id()).await.text("state"), "settled");
    }
    let expired = other.post("/settle", &Draft { valid_before: 1, ..Draft::default() }.v2()).await;
    assert_eq!((expired.status, expired.is_good()), (200, false), "{expired:?}");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 80_000);
    let events = (beside.metric("hand_overs_total").await, home.metric("hand_overs_total").await);
    assert!(events.0 > 7.5 && events.0 < 8.5 && events.1 > 7.5 && events.1 < 8.5, "each made and received: {events:?}");
    assert!(beside.metric("handed_over").await < 0.5);
    waiting(&home, 0).await;
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_bound_to_another_instance_s_wallet_settles_wherever_it_comes() {
    let chain = Anvil::start().await;
    chain.node.call("anvil_setBalance", json!([SECOND.0, "0x3635c9adc5dea00000"])).await;
    let home = with_the_wallet(&chain).wallets(&[GAS_WALLET_KEY, SECOND.1]);
    let beside = home.beside("two");
    let services = [home.serve().await, beside.serve().await];
    shares(&services[0], 1, 1).await;
    shares(&services[1], 1, 1).await;
    allow(&chain, PAYER, u128::MAX).await;
    for service in &services {
        let settled = service.post("/settle", &Permit2Draft::upto(5000).charged(1234).body()).await;
        assert!(settled.is_good(), "{settled:?}\n{}\n{}", home.log(), beside.log());
        assert_eq!(wallet_of(&home, settled.settlement_id()), GAS_WALLET);
    }
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 2468);
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_frees_its_payment() {
    let chain = Anvil::start().await;
    let home = with_the_wallet(&chain);
    let beside = home.beside("two");
    let (owner, other) = with_and_without(&home, &beside).await;
    signal(&owner, "-STOP");
    let body = Draft::default().v2();
    let caller = asked(&other, &body);
    waiting(&home, 1).await;
    caller.abort();
    waiting(&home, 0).await;
    signal(&owner, "-CONT");
    assert_eq!(home.postgres().execute("SELECT count(*) FROM settlement"), "0", "nothing was begun");
    let again = other.decided(&body).await;
    assert!(again.is_good(), "it is free: {again:?}\n{}\n{}", home.log(), beside.log());
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_beside_a_caller_that_leaves_takes_its_place() {
    let chain = Anvil::start().await;
    let home = with_the_wallet(&chain);
    let beside = home.beside("two");
    let (owner, other) = with_and_without(&home, &beside).await;
    signal(&owner, "-STOP");
    let body = Draft::default().v2();
    let first = asked(&other, &body);
    waiting(&home, 1).await;
    let named = || home.postgres().execute("SELECT id FROM handed_over");
    let name = named();
    let second = asked(&other, &body);
    first.abort();
    eventually("the second has handed it over anew", || {
        std::future::ready((!named().is_empty() && named() != name).then_some(()))
    })
    .await;
    signal(&owner, "-CONT");
    let answer = second.await.expect("no panic").expect("an answer");
    assert!(answer.is_good(), "{answer:?}\n{}\n{}", home.log(), beside.log());
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    home.assert_audit();
}

/// B06, E03, over instances of which one has the gas wallet.
#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_settles_of_one_payment_succeed_once_where_most_have_no_gas_wallet() {
    let chain = Anvil::start().await;
    let home = with_the_wallet(&chain);
    let homes = [home.beside("two"), home.beside("three")];
    let services = [home.serve().await, homes[0].serve().await, homes[1].serve().await].map(Arc::new);
    for service in &services[1..] {
        shares(service, 0, 1).await;
    }
    for payments in 1..=3 {
        settles_once_of_300(&services, &home).await;
        settles_once_of_300(&services[1..], &home).await;
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 20_000 * payments);
    }
    waiting(&home, 0).await;
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_on_solana_settles_where_its_fee_payer_is_not() {
    let validator = Validator::start().await;
    let home = Home::on(&validator).stored_in(Stored::Postgres).server("settle_wait", "20s");
    let beside = home.beside("two");
    let (owner, other) = with_and_without(&home, &beside).await;
    for number in 0..4 {
        let body = e2e::svm::Draft::of(SolanaPayer::numbered(number)).body(&validator.chain, 2).await;
        let settled = other.post("/settle", &body).await;
        assert!(settled.is_good(), "{settled:?}\n{}\n{}", home.log(), beside.log());
        let again = owner.post("/settle", &body).await;
        assert_eq!(again.text("errorReason"), "duplicate_settlement", "{again:?}");
    }
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_nobody_begins_in_time_is_refused_and_never_begun() {
    let chain = Anvil::start().await;
    let home = with_the_wallet(&chain).server("settle_wait", "2s");
    let beside = home.beside("two");
    let (owner, other) = with_and_without(&home, &beside).await;
    signal(&owner, "-STOP");
    let began = Instant::now();
    let refused = other.post("/settle", &Draft::default().v2()).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    waiting(&home, 0).await;
    signal(&owner, "-CONT");
    assert!(owner.decided(&Draft::default().v2()).await.is_good());
    chain.node.mine_blocks(5).await;
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000, "the other payment alone");
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_gas_wallet_can_pay_a_caller_hears_so_at_each_instance() {
    let chain = Anvil::start().await;
    let home = with_the_wallet(&chain);
    let beside = home.beside("two");
    let (owner, other) = with_and_without(&home, &beside).await;
    chain.node.call("anvil_setBalance", json!([GAS_WALLET, "0x1"])).await;
    chain.node.mine_blocks(2).await;
    eventually("its owner knows", || async {
        (owner.post("/settle", &Draft::default().v2()).await.status == 503).then_some(())
    })
    .await;
    let began = Instant::now();
    let refused = other.post("/settle", &Draft::default().v2()).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    waiting(&home, 0).await;
    chain.node.call("anvil_setBalance", json!([GAS_WALLET, "0x3635c9adc5dea00000"])).await;
    chain.node.mine_blocks(2).await;
    let settled = eventually("it can pay again", || async {
        let answer = other.post("/settle", &Draft::default().v2()).await;
        answer.is_good().then_some(answer)
    })
    .await;
    assert_eq!(other.settlement(settled.settlement_id()).await.text("state"), "settled");
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_accepting_instance_dies_is_begun_or_free() {
    let chain = Anvil::start().await;
    let home = with_the_wallet(&chain).server("settle_wait", "8s");
    let beside = home.beside("two");
    let (owner, other) = with_and_without(&home, &beside).await;
    signal(&owner, "-STOP");
    let body = Draft::default().v2();
    let caller = asked(&other, &body);
    waiting(&home, 1).await;
    signal(&other, "-KILL");
    assert!(caller.await.expect("no panic").is_none(), "its instance is gone");
    signal(&owner, "-CONT");
    // Begun for whoever asks again, who meets it in the store.
    let again = owner.decided(&body).await;
    assert!(again.is_good(), "{again:?}\n{}", home.log());
    waiting(&home, 0).await;
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_an_owner_that_is_killed_ends_within_seconds() {
    let chain = Anvil::start().await;
    let home = with_the_wallet(&chain);
    let beside = home.beside("two");
    let (owner, other) = with_and_without(&home, &beside).await;
    signal(&owner, "-STOP");
    let body = Draft::default().v2();
    let caller = asked(&other, &body);
    waiting(&home, 1).await;
    let killed = Instant::now();
    owner.kill();
    let answer = caller.await.expect("no panic").expect("an answer");
    assert!(answer.is_good(), "{answer:?}\n{}", beside.log());
    assert!(killed.elapsed() < Duration::from_secs(15), "{:?}", killed.elapsed());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
    waiting(&home, 0).await;
    beside.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_queue_of_an_instance_that_leaves_is_handed_over() {
    let chain = Anvil::start().await;
    let home = with_the_wallet(&chain).network("in_flight_max", 1);
    let beside = home.beside("two");
    let (owner, other) = with_and_without(&home, &beside).await;
    let owner = Arc::new(owner);
    chain.node.stop_blocks().await;
    let callers = [Draft::default().v2(), Draft::default().v2()].map(|body| asked(&owner, &body));
    home.queued(1).await;
    owner.terminate();
    shares_all(&other, 1).await;
    chain.node.resume_blocks().await;
    for caller in callers {
        let answer = caller.await.expect("no panic").expect("an answer");
        assert!(answer.is_good(), "{answer:?}\n{}\n{}", home.log(), beside.log());
    }
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 20_000);
    beside.assert_audit();
}
