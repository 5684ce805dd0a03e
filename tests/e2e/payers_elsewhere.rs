//! The cost of payers and callers over instances: what one has seen, the others know.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::signers::local::PrivateKeySigner;
use e2e::{
    anvil::{Anvil, GAS_WALLET_KEY, PAYEE, USDC},
    eventually,
    payer::Draft,
    permit2::Permit2Draft,
    service::{Answer, Home, Service, Stored},
};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    api_keys::{FIRST, burst, limited, with_keys},
    instances::{SECOND, shares},
    payers::{LARGE, fail_one, large},
};

/// The time within which an instance knows what another has seen.
const KNOWN_MAX: Duration = Duration::from_secs(5);

/// A home of two instances with a gas wallet each.
async fn home(chain: &Anvil) -> Home {
    chain.node.call("anvil_setBalance", json!([SECOND.0, "0x3635c9adc5dea00000"])).await;
    Home::on(chain).stored_in(Stored::Postgres).wallets(&[GAS_WALLET_KEY, SECOND.1]).server("settle_wait", "2s")
}

async fn both(home: &Home, beside: &Home) -> [Service; 2] {
    let services = [home.serve().await, beside.serve().await];
    for service in &services {
        shares(service, 1, 1).await;
    }
    services
}

/// Waits until an instance answers a fresh payment of the usual payer in this way.
async fn answers(service: &Service, what: &str, is_it: impl Fn(&Answer) -> bool) {
    let began = Instant::now();
    eventually(what, || async { is_it(&service.post("/settle", &Draft::default().v2()).await).then_some(()) }).await;
    assert!(began.elapsed() < KNOWN_MAX, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_that_fails_at_one_instance_is_refused_at_the_other_within_seconds() {
    let chain = Anvil::start().await;
    let home = home(&chain).await.section("payers", "failures_max", 2);
    let beside = home.beside("two");
    let [one, two] = both(&home, &beside).await;
    for service in [&one, &two] {
        let failed = fail_one(&chain, service).await;
        assert_eq!(failed.text("errorReason"), "invalid_exact_evm_insufficient_balance", "{failed:?}");
    }
    for service in [&one, &two] {
        answers(service, "one failure at each bars it at both", |answer| {
            answer.text("errorReason") == "payer_failed_too_often"
        })
        .await;
    }
    let other = PrivateKeySigner::random();
    chain.mint(&other.address().to_string(), 10_000).await;
    assert!(two.post("/settle", &Draft::of(other).v2()).await.is_good(), "others are served");
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_that_was_lost_at_one_instance_counts_in_the_budget_of_the_other() {
    let chain = Anvil::start().await;
    let budgets = ["gas_lost_per_hour_max", "gas_lost_per_hour_key_max", "gas_lost_per_hour_code_max"];
    let home = budgets.into_iter().fold(home(&chain).await, |home, budget| home.network(budget, "1"));
    let beside = home.beside("two");
    let [one, two] = both(&home, &beside).await;
    fail_one(&chain, &one).await;
    answers(&two, "the budget is used up", |answer| {
        answer.status == 503 && answer.body.to_string().contains("gas budget")
    })
    .await;
    let other = PrivateKeySigner::random();
    chain.mint(&other.address().to_string(), 10_000).await;
    assert!(two.post("/settle", &Draft::of(other).v2()).await.is_good(), "a clean record is served");
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn money_under_way_at_one_instance_counts_at_the_other() {
    let chain = Anvil::start().await;
    let home = home(&chain).await;
    let beside = home.beside("two");
    let [one, two] = both(&home, &beside).await;
    chain.node.stop_blocks().await;
    let pending = join_all((0..2).map(|_| async { one.post("/settle", &large().v2()).await })).await;
    for answer in &pending {
        assert_eq!(answer.text("errorReason"), "settlement_pending", "{answer:?}");
    }
    let third = large().v2();
    let refused = two.post("/settle", &third).await;
    assert_eq!(refused.status, 503, "what is under way leaves too little: {refused:?}");
    let pool = chain.node.call("txpool_status", json!([])).await;
    assert_eq!(pool["pending"], "0x2", "no gas is spent for it");
    assert_eq!(two.post("/settle", &Draft::default().v2()).await.text("errorReason"), "settlement_pending", "it fits");
    chain.node.resume_blocks().await;
    let late = two.decided(&third).await;
    assert_eq!(late.text("errorReason"), "invalid_exact_evm_insufficient_balance", "{late:?}");
    let paid = u128::from(2 * LARGE) + 10_000;
    eventually("the others are settled", || async {
        (chain.node.token_balance(USDC, PAYEE).await == paid).then_some(())
    })
    .await;
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_that_is_under_way_at_one_instance_is_brought_by_none_at_the_other() {
    let chain = Anvil::start().await;
    let home = home(&chain).await;
    let beside = home.beside("two");
    let [one, two] = both(&home, &beside).await;
    let payer = PrivateKeySigner::random();
    chain.mint(&payer.address().to_string(), 100_000).await;
    let body = || -> Value { Permit2Draft::default().of(&payer).with_permit().body() };
    chain.node.stop_blocks().await;
    let pending = one.post("/settle", &body()).await;
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    let refused = two.post("/settle", &body()).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    let pool = chain.node.call("txpool_status", json!([])).await;
    assert_eq!(pool["pending"], "0x1", "no gas is spent for it");
    chain.node.resume_blocks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_s_rate_holds_over_instances_that_share_no_redis() {
    let chain = Anvil::start().await;
    let home = with_keys(home(&chain).await, vec![limited("shop", FIRST, "12/h")]);
    let beside = home.beside("two");
    let services = both(&home, &beside).await.map(Arc::new);
    let (passed, _) = burst(&services, FIRST, 40).await;
    assert_eq!(passed, 12, "half of it at each");
}
