//! A payment on Solana is judged and settled as the protocol says.

use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chains_svm::{
    local::{NETWORK, PYUSD, Payer, USDC, program_of},
    token::associated_account,
};
use e2e::{
    eventually,
    proxy::{Fault, Proxy, Times},
    service::{Home, Service},
    svm::Draft,
    validator::{Validator, fee_payer, payee},
};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::abuse_svm::FEE;

async fn start(validator: &Validator) -> (Home, Service) {
    let home = Home::on(validator);
    let service = home.serve().await;
    (home, service)
}

async fn paid(validator: &Validator) -> u64 {
    validator.chain.token_balance(&payee().address(), &USDC).await.expect("a balance")
}

/// The other spellings of the same signed message.
fn respelled(payload: &Value) -> Vec<Value> {
    let text = payload["transaction"].as_str().expect("a text");
    let mut wire = BASE64_STANDARD.decode(text).expect("base64");
    wire[1..65].fill(7);
    vec![json!({"transaction": BASE64_STANDARD.encode(wire)}), json!({"transaction": text.trim_end_matches('=')})]
}

#[tokio::test(flavor = "multi_thread")]
async fn both_token_programs_are_settled_in_both_versions_once() {
    let validator = Validator::start().await;
    let (home, service) = start(&validator).await;
    let supported = service.get("/supported").await;
    let kinds = supported.body["kinds"].as_array().expect("kinds").clone();
    let fee_payer = fee_payer().address().to_string();
    for (version, network) in [(2, NETWORK), (1, "solana-devnet")] {
        let extra = json!({"feePayer": fee_payer, "computeUnitPriceAccepted": "100000"});
        let kind = json!({"x402Version": version, "scheme": "exact", "network": network, "extra": extra});
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    for (number, (version, mint, memo, legacy)) in
        [(2, USDC, true, false), (2, PYUSD, true, false), (1, USDC, false, true), (1, PYUSD, false, false)]
            .into_iter()
            .enumerate()
    {
        let mut draft = Draft::of(Payer::numbered(u64::try_from(number).expect("small")));
        draft.order.mint = mint;
        draft.order.legacy = legacy;
        draft.order.memo = draft.order.memo.filter(|_| memo);
        let before = validator.chain.token_balance(&payee().address(), &mint).await.expect("a balance");
        let body = draft.body(&validator.chain, version).await;
        let verified = service.post("/verify", &body).await;
        assert!(verified.is_good(), "{version} {mint}: {verified:?}");
        assert_eq!(verified.text("payer"), draft.payer.address().to_string());
        let settled = service.post("/settle", &body).await;
        assert!(settled.is_good(), "{version} {mint}: {settled:?}\n{}", home.log());
        assert_eq!(settled.text("payer"), draft.payer.address().to_string());
        assert_eq!(settled.text("network"), if version == 1 { "solana-devnet" } else { NETWORK });
        let after = validator.chain.token_balance(&payee().address(), &mint).await.expect("a balance");
        assert_eq!(after - before, 10_000, "{version} {mint}");
        let payload = &body["paymentPayload"]["payload"];
        for again in std::iter::once(payload.clone()).chain(respelled(payload)) {
            let mut body = body.clone();
            body["paymentPayload"]["payload"] = again;
            let again = service.post("/settle", &body).await;
            assert_eq!(again.text("errorReason"), "duplicate_settlement", "{again:?}");
            assert_eq!(again.text("transaction"), settled.text("transaction"));
        }
    }
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

/// F26: each of them alone is good.
#[tokio::test(flavor = "multi_thread")]
async fn payments_that_are_too_much_together_cost_no_fee_but_those_that_fit() {
    let validator = Validator::start().await;
    let (home, service) = start(&validator).await;
    let payer = Payer::numbered(1);
    let balance = validator.chain.token_balance(&payer.address(), &USDC).await.expect("a balance");
    let coins = async || validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance");
    let before = coins().await;
    let bodies = join_all((0..24).map(|_| async {
        let mut draft = Draft::of(Payer::numbered(1));
        draft.order.amount = balance / 5 * 2;
        draft.body(&validator.chain, 2).await
    }))
    .await;
    let answers = join_all(bodies.iter().map(|body| service.post("/settle", body))).await;
    let (settled, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.is_good());
    assert_eq!(settled.len(), 2, "{answers:?}");
    for answer in refused {
        assert_eq!(answer.text("errorReason"), "invalid_exact_svm_transaction_simulation_failed", "{answer:?}");
    }
    assert_eq!((before - coins().await, paid(&validator).await), (2 * FEE, balance / 5 * 4));
    assert_eq!(home.audit().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_of_one_payment_get_one_success() {
    let validator = Validator::start().await;
    let (_home, service) = start(&validator).await;
    let body = Draft::default().body(&validator.chain, 2).await;
    let answers = futures::future::join_all((0..100).map(|_| service.post("/settle", &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_good()).count(), 1);
    let others = answers.iter().filter(|answer| !answer.is_good());
    assert!(others.clone().all(|answer| answer.text("errorReason") == "duplicate_settlement"), "{answers:?}");
    assert_eq!(paid(&validator).await, 10_000);
}

/// F12.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_land_says_why_and_costs_nothing() {
    let validator = Validator::start().await;
    let (home, service) = start(&validator).await;
    let before = validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance");
    let code = "invalid_exact_svm_transaction_simulation_failed";
    let poor = Draft::of(Payer::numbered(77));
    let mut nobody = Draft::default();
    nobody.order.pay_to = Payer::numbered(78).address();
    let mut nested = Draft::default();
    nested.order.pay_to = associated_account(&payee().address(), &USDC, &program_of(&USDC));
    let mut burnt = Draft::default();
    burnt.order.pay_to = USDC;
    let mut rich = Draft::default();
    rich.order.amount = u64::MAX;
    let frozen = Draft::of(Payer::numbered(3));
    validator.chain.set_frozen(&frozen.payer.address(), &USDC, true).await.expect("frozen");
    let mut unpaid = Draft::default();
    unpaid.order.fee_payer = Payer::numbered(1).address();
    let cases = [
        (poor, code, "the payer's token account does not exist"),
        (nobody, "invalid_exact_svm_destination_account_missing", "must exist before the first payment"),
        (nested, "invalid_exact_svm_destination_account_missing", "must exist before the first payment"),
        (burnt, "invalid_payment_requirements", "the asset's own account"),
        (rich, code, "holds too little"),
        (frozen, code, "frozen"),
        (unpaid, "invalid_exact_svm_fee_payer_not_managed_by_facilitator", "not a fee payer"),
    ];
    for (draft, code, message) in cases {
        let body = draft.body(&validator.chain, 2).await;
        for path in ["/verify", "/settle"] {
            let answer = service.post(path, &body).await;
            let (said, text) = match path {
                "/verify" => (answer.text("invalidReason"), answer.text("invalidMessage")),
                _ => (answer.text("errorReason"), answer.text("errorMessage")),
            };
            assert!(!answer.is_good() && said == code && text.contains(message), "{path}: {answer:?}");
        }
    }
    let old = Draft::default();
    let payload = old.payer.sign(&old.order, solana_hash()).expect("signed");
    let answer = service.post("/verify", &old.v2(&payload)).await;
    assert_eq!(answer.text("invalidReason"), code, "{answer:?}");
    assert!(answer.text("invalidMessage").contains("blockhash"), "{answer:?}");
    let after = validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance");
    assert_eq!(before, after, "no fee was paid\n{}", home.log());
}

/// A blockhash of no cluster.
fn solana_hash() -> chains_svm::local::Hash {
    chains_svm::local::Hash::new_from_array([9; 32])
}

/// More than any account of a test holds; an account that has some can take it.
pub const TOO_MUCH: u64 = 1 << 62;

/// The answer of a node that shows every token account with [`TOO_MUCH`].
pub fn rich(_: &Value, mut honest: Value) -> Value {
    /// The place of the amount in a token account.
    const AMOUNT: std::ops::Range<usize> = 64..72;
    for account in honest["value"].as_array_mut().into_iter().flatten() {
        let Some(mut data) = account["data"][0].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok()) else {
            continue;
        };
        // The payer's own account is no token account.
        let Some(amount) = data.get_mut(AMOUNT) else { continue };
        amount.copy_from_slice(&TOO_MUCH.to_le_bytes());
        account["data"][0] = json!(BASE64_STANDARD.encode(data));
    }
    honest
}

/// Scenario 29; F08.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_fails_on_chain_is_answered_within_a_second_of_its_confirmation() {
    let validator = Validator::start().await;
    let proxy = Proxy::before(validator.chain.url()).await;
    let home = Home::on(&validator).rpc(&[&proxy.url]);
    let service = home.serve().await;
    proxy.lie("getMultipleAccounts", rich);
    for (version, code) in [(2, "invalid_exact_svm_transaction_failed"), (1, "transaction_failed")] {
        let mut draft = Draft::default();
        draft.order.amount = TOO_MUCH;
        let body = draft.body(&validator.chain, version).await;
        let began = Instant::now();
        let answer = service.post("/settle", &body).await;
        let took = began.elapsed();
        assert_eq!(answer.text("errorReason"), code, "{answer:?}\n{}", home.log());
        assert!(answer.text("errorMessage").contains("does not hold the amount"), "{answer:?}");
        assert!(!answer.text("transaction").is_empty(), "{answer:?}");
        // A confirmation takes about a second on a busy machine.
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    assert_eq!(paid(&validator).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_send_answers_the_payment_settles_once() {
    let cases: [(&str, Fault, Times); 6] = [
        ("accepted, answer lost", Fault::LoseAnswer, Times::Next(1)),
        ("28 lost before the node", Fault::LoseRequest, Times::Next(3)),
        ("accepted, and the leader never sees it", Fault::Pretend(json!("1".repeat(64))), Times::Next(3)),
        ("unknown text", Fault::Refuse(-32000, "the dog ate it"), Times::Next(1)),
        ("HTTP 429", Fault::Status(429), Times::Next(1)),
        ("F25 node says already processed", Fault::Refuse(-32002, "has already been processed"), Times::Next(1)),
    ];
    let validator = Validator::start().await;
    for (number, (what, fault, times)) in cases.into_iter().enumerate() {
        let proxy = Proxy::before(validator.chain.url()).await;
        let home = Home::on(&validator).rpc(&[&proxy.url]);
        let service = home.serve().await;
        let before = paid(&validator).await;
        proxy.fail("sendTransaction", fault, times);
        let draft = Draft::of(Payer::numbered(u64::try_from(number).expect("small")));
        let answer = service.post("/settle", &draft.body(&validator.chain, 2).await).await;
        assert!(answer.is_good(), "{what}: {answer:?}\n{}", home.log());
        assert_eq!(paid(&validator).await - before, 10_000, "{what}");
        let (code, text) = home.audit();
        assert_eq!(code, 0, "{what}: {text}");
    }
}

/// Scenario 28.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_never_reaches_a_leader_fails_when_it_can_no_longer_land() {
    // The last block that may include it and the 32 that make it final pass in ten seconds.
    let validator = Validator::start_with(8).await;
    let proxy = Proxy::before(validator.chain.url()).await;
    let home = Home::on(&validator).rpc(&[&proxy.url]).server("settle_wait", "1s");
    let service = home.serve().await;
    proxy.fail("sendTransaction", Fault::Pretend(json!("1".repeat(64))), Times::Always);
    let body = Draft::default().body(&validator.chain, 2).await;
    let pending = service.post("/settle", &body).await;
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    let ended = eventually("the transaction expires", || async {
        let answer = service.post("/settle", &body).await;
        (answer.text("errorReason") != "settlement_pending").then_some(answer)
    })
    .await;
    assert_eq!(ended.text("errorReason"), "invalid_exact_svm_transaction_failed", "{ended:?}\n{}", home.log());
    assert!(ended.text("errorMessage").contains("expired"), "{ended:?}");
    // Less and less often: some ten times in its seven seconds.
    assert!(proxy.calls("sendTransaction") > 5, "it is sent until then");
    assert_eq!(paid(&validator).await, 0);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}
