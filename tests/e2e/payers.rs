//! The cost of payers: nobody is served several times for the same money, and
//! a payer that makes the gas wallet pay for nothing is not served for long.

use alloy::{primitives::U256, signers::local::PrivateKeySigner};
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, PAYER, USDC},
    payer::Draft,
    permit2::{self, Permit2Draft},
    service::{Answer, Home, Service},
};
use futures::future::join_all;
use serde_json::{Value, json};

/// Of the payer's 1,000,000,000,000 two of these can be paid.
pub(crate) const LARGE: u64 = 400_000_000_000;

pub(crate) fn large() -> Draft {
    Draft { value: U256::from(LARGE), ..Draft::default() }
}

async fn post_all(service: &Service, path: &str, bodies: &[Value]) -> Vec<Answer> {
    join_all(bodies.iter().map(|body| service.post(path, body))).await
}

/// Returns the number of good answers; all others are refused with this code.
fn good(answers: &[Answer], key: &str, code: &str) -> usize {
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.is_good());
    assert!(bad.iter().all(|answer| answer.status == 200 && answer.text(key) == code), "{bad:?}");
    good.len()
}

/// B07, D12, E02: each of them alone is good.
#[tokio::test(flavor = "multi_thread")]
async fn payments_that_are_too_much_together_cost_no_gas_but_those_that_fit() {
    let chain = Anvil::start().await;
    permit2::allow(&chain, PAYER, u128::MAX).await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let mixed = |n| if n % 2 == 0 { large().v2() } else { Permit2Draft::upto(LARGE).charged(LARGE).body() };
    let bodies: Vec<_> = (0..24).map(mixed).collect();
    assert_eq!(good(&post_all(&service, "/verify", &bodies[..8]).await, "invalidReason", ""), 8, "an advice");
    let answers = post_all(&service, "/settle", &bodies).await;
    let (settled, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.is_good());
    assert_eq!(settled.len(), 2, "{answers:?}");
    for answer in refused {
        let codes = ["invalid_exact_evm_insufficient_balance", "permit2_insufficient_balance"];
        assert!(codes.contains(&answer.text("errorReason")), "{answer:?}");
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 2);
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, u128::from(2 * LARGE));
    assert_eq!(home.audit().0, 0);
}

/// D10: a permit is good once, and a second one with the same number would only fail.
#[tokio::test(flavor = "multi_thread")]
async fn payments_that_bring_the_same_permit_cost_no_gas_but_the_first() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let payer = PrivateKeySigner::random();
    chain.mint(&payer.address().to_string(), 100_000).await;
    let bodies: Vec<_> = (0..8).map(|_| Permit2Draft::default().of(&payer).with_permit().body()).collect();
    let answers = post_all(&service, "/settle", &bodies).await;
    assert_eq!(good(&answers, "errorReason", "permit2_allowance_required"), 1, "{answers:?}");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
}

/// B07, B08, with and without the hold.
#[tokio::test(flavor = "multi_thread")]
async fn verified_payments_hold_their_part_where_the_operator_wants_it() {
    let chain = Anvil::start().await;
    permit2::allow(&chain, PAYER, u128::MAX).await;
    let exact: Vec<_> = (0..50).map(|_| large().v2()).collect();
    let upto: Vec<_> = (0..50).map(|_| Permit2Draft::upto(LARGE).body()).collect();
    for (hold, expected) in [("0s", 50), ("1m", 2)] {
        for bodies in [&exact, &upto] {
            let home = Home::on(&chain).section("payers", "verified_hold", hold);
            let service = home.serve().await;
            let answers = post_all(&service, "/verify", bodies).await;
            assert_eq!(good(&answers, "invalidReason", "insufficient_funds"), expected, "{hold} {answers:?}");
        }
    }
    let home = Home::on(&chain).section("payers", "verified_hold", "1m");
    let service = home.serve().await;
    let first = large().v2();
    for _ in 0..2 {
        assert!(service.post("/verify", &first).await.is_good(), "the same again");
    }
    assert!(service.post("/settle", &first).await.is_good());
    let small = Draft::default().v2();
    assert!(service.post("/verify", &large().v2()).await.is_good(), "what was settled holds nothing more");
    assert_eq!(service.post("/verify", &large().v2()).await.text("invalidReason"), "insufficient_funds");
    assert!(service.post("/verify", &small).await.is_good());
    assert!(service.post("/settle", &large().v2()).await.is_good(), "what is held keeps no settlement back");
}

/// Spends a little of the money that a pending payment needs, in a block before it.
pub(crate) async fn fail_one(chain: &Anvil, service: &Service) -> Answer {
    chain.node.stop_blocks().await;
    let balance = chain.node.token_balance(USDC, PAYER).await;
    let all = Draft { value: U256::from(balance), ..Draft::default() }.v2();
    let pending = service.post("/settle", &all).await;
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    let data = format!("0xa9059cbb{:0>64}{:064x}", &GAS_WALLET[2..], 1);
    let spend = json!([{
        "from": PAYER, "to": USDC, "data": data, "gas": "0x30d40",
        "maxFeePerGas": "0x12a05f200", "maxPriorityFeePerGas": "0x3b9aca00",
    }]);
    chain.node.call("eth_sendTransaction", spend).await;
    chain.node.mine().await;
    chain.node.resume_blocks().await;
    service.post("/settle", &all).await
}

/// C07, D12, E02.
#[tokio::test(flavor = "multi_thread")]
async fn who_fails_on_chain_again_and_again_is_not_served_for_a_while_not_even_after_a_restart() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "2s").section("payers", "failures_max", 2);
    let service = home.serve().await;
    for _ in 0..2 {
        let failed = fail_one(&chain, &service).await;
        assert_eq!(failed.text("errorReason"), "invalid_exact_evm_insufficient_balance", "{failed:?}");
    }
    let sent = chain.node.transactions_of(GAS_WALLET).await;
    assert_barred(&service).await;
    drop(service);
    let service = home.serve().await;
    assert_barred(&service).await;
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, sent);
    let other = PrivateKeySigner::random();
    chain.mint(&other.address().to_string(), 10_000).await;
    assert!(service.post("/settle", &Draft::of(other).v2()).await.is_good(), "others are served");
    assert_eq!(home.audit().0, 0);
}

async fn assert_barred(service: &Service) {
    let body = Draft::default().v2();
    assert_eq!(service.post("/verify", &body).await.text("invalidReason"), "payer_failed_too_often");
    assert_eq!(service.post("/settle", &body).await.text("errorReason"), "payer_failed_too_often");
}
