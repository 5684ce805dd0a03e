//! A payment of scheme `upto` is judged, charged and settled as the protocol says.

use std::sync::Arc;

use alloy::signers::local::PrivateKeySigner;
use chains_core::Amount;
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, PAYER, USDC},
    node::parse_quantity,
    payer::{Draft, now},
    permit2::{EXACT_PROXY, Permit2Draft, allow, allowance},
    service::Home,
};
use serde_json::{Value, json};

/// anvil's second account as a gas wallet.
const SECOND_KEY: &str = "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6";
const SECOND_WALLET: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";
const OTHER: &str = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65";

#[tokio::test(flavor = "multi_thread")]
async fn the_payee_gets_exactly_what_was_charged_once() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    allow(&chain, PAYER, u128::MAX).await;
    let draft = Permit2Draft::upto(5000);
    let verified = service.post("/verify", &draft.body()).await;
    assert_eq!((verified.status, verified.is_good()), (200, true), "{verified:?}\n{}", home.log());
    let over = service.post("/settle", &draft.charged(6000).body()).await;
    assert_eq!(over.text("errorReason"), "invalid_upto_evm_payload_settlement_exceeds_amount", "{over:?}");
    assert_eq!(over.body["transaction"], "");
    let settled = service.post("/settle", &draft.charged(1234).body()).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!((settled.text("amount"), settled.text("payer")), ("1234", PAYER));
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 1234);
    for amount in [1234, 1, 0, 5000] {
        let again = service.post("/settle", &draft.charged(amount).body()).await;
        assert_eq!(again.text("errorReason"), "duplicate_settlement", "{amount}: {again:?}");
        assert_eq!(again.text("transaction"), settled.text("transaction"));
    }
    let again = service.post("/verify", &draft.body()).await;
    assert_eq!(again.text("invalidReason"), "permit2_simulation_failed", "{again:?}");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    // The first settlement also pays for storage that every later one finds.
    let second = service.post("/settle", &Permit2Draft::upto(5000).charged(1).body()).await;
    assert!(second.is_good(), "{second:?}");
    let receipt = chain.node.call("eth_getTransactionReceipt", json!([second.text("transaction")])).await;
    let gas = parse_quantity(&receipt["gasUsed"]);
    assert!(gas <= 98_000, "{gas}");
    assert_eq!(home.audit().0, 0);
}

/// B04.
#[tokio::test(flavor = "multi_thread")]
async fn a_charge_of_nothing_is_settled_without_a_transaction_and_only_when_it_was_signed() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    allow(&chain, PAYER, u128::MAX).await;
    let draft = Permit2Draft::upto(5000);
    let mut forged = draft.charged(0).body();
    forged["paymentPayload"]["payload"]["signature"] = json!(format!("0x{}1b", "22".repeat(64)));
    let refused = service.post("/settle", &forged).await;
    assert_eq!(refused.text("errorReason"), "invalid_permit2_signature", "{refused:?}");
    let settled = service.post("/settle", &draft.charged(0).body()).await;
    assert!(settled.is_good(), "{settled:?}");
    assert_eq!((settled.text("amount"), settled.text("payer")), ("0", PAYER));
    assert_eq!(settled.body["transaction"], "");
    let later = service.post("/settle", &draft.charged(1234).body()).await;
    assert_eq!(later.text("errorReason"), "duplicate_settlement", "one payment, one success: {later:?}");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0);
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 0);
    assert_eq!(home.audit().0, 0);
}

/// Scenario 9; E03.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_charges_of_one_authorization_at_once_are_one_success_of_its_amount() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = Arc::new(home.serve().await);
    allow(&chain, PAYER, u128::MAX).await;
    let draft = Permit2Draft::upto(10_000);
    let tasks: Vec<_> = (1..=100_u64)
        .map(|i| {
            let (service, body) = (Arc::clone(&service), draft.charged(100 * i).body());
            tokio::spawn(async move { service.post("/settle", &body).await })
        })
        .collect();
    let mut answers = vec![];
    for task in tasks {
        answers.push(task.await.expect("no panic"));
    }
    let good: Vec<_> = answers.iter().filter(|answer| answer.is_good()).collect();
    assert_eq!(good.len(), 1, "{answers:?}");
    let amount: u128 = good[0].text("amount").parse().expect("a number");
    for answer in answers.iter().filter(|answer| !answer.is_good()) {
        assert_eq!((answer.status, answer.text("errorReason")), (200, "duplicate_settlement"), "{answer:?}");
        assert_eq!(answer.text("transaction"), good[0].text("transaction"));
    }
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, amount);
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    assert_eq!(home.audit().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gas_wallet_that_was_signed_for_sends_the_charge() {
    let chain = Anvil::start().await;
    let key = e2e::anvil::GAS_WALLET_KEY;
    let home = Home::on(&chain).wallets(&[key, SECOND_KEY]);
    let service = home.serve().await;
    allow(&chain, PAYER, u128::MAX).await;
    for wallet in [SECOND_WALLET, GAS_WALLET, SECOND_WALLET] {
        let mut draft = Permit2Draft::upto(5000);
        draft.order.facilitator = Some(wallet.to_owned());
        assert!(service.post("/verify", &draft.body()).await.is_good(), "{wallet}");
        let settled = service.post("/settle", &draft.charged(1000).body()).await;
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
        let sent = chain.node.call("eth_getTransactionByHash", json!([settled.text("transaction")])).await;
        assert_eq!(sent["from"].as_str().map(str::to_lowercase), Some(wallet.to_lowercase()));
    }
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 3000);
    let mut announced = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let supported = service.get("/supported").await.body;
        let kinds = supported["kinds"].as_array().expect("kinds").clone();
        let upto = kinds.iter().find(|kind| kind["scheme"] == "upto").expect("announced");
        assert_eq!((&upto["x402Version"], &upto["network"]), (&json!(2), &json!("eip155:84532")));
        announced.extend(upto["extra"]["facilitatorAddress"].as_str().map(str::to_owned));
        assert!(supported["extensions"].to_string().contains("eip2612GasSponsoring"), "{supported}");
    }
    assert_eq!(announced, [GAS_WALLET, SECOND_WALLET].map(str::to_owned).into(), "each in its turn");
    assert_eq!(home.audit().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_for_the_ceiling_comes_along() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let draft = Permit2Draft::upto(5000).with_permit();
    assert!(service.post("/verify", &draft.body()).await.is_good());
    let settled = service.post("/settle", &draft.charged(1234).body()).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 1234);
    assert_eq!(allowance(&chain, PAYER).await, Amount::from(3766_u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_payment_gets_the_protocol_s_code_and_spends_nothing() {
    type Spoil = fn(&mut Permit2Draft);
    type Alter = fn(&mut Value);
    type Case = (&'static str, Spoil, Alter, &'static str);
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    allow(&chain, PAYER, u128::MAX).await;
    let poor = PrivateKeySigner::from_slice(&[0x42; 32]).expect("a key");
    chain.mint(&poor.address().to_checksum(None), 1_000_000).await;
    let leave: fn(&mut Permit2Draft) = |_| ();
    let keep: fn(&mut Value) = |_| ();
    let cases: [Case; 16] = [
        ("scheme", leave, |b| b["paymentPayload"]["accepted"]["scheme"] = json!("exact"), "invalid_upto_evm_scheme"),
        (
            "network",
            leave,
            |b| b["paymentPayload"]["accepted"]["network"] = json!("x:y"),
            "invalid_upto_evm_network_mismatch",
        ),
        (
            "spender",
            leave,
            |b| b["paymentPayload"]["payload"]["permit2Authorization"]["spender"] = json!(EXACT_PROXY),
            "invalid_permit2_spender",
        ),
        ("payTo", leave, |b| b["paymentRequirements"]["payTo"] = json!(OTHER), "invalid_permit2_recipient_mismatch"),
        ("facilitator", |d| d.order.facilitator = Some(OTHER.into()), keep, "upto_facilitator_mismatch"),
        ("expired", |d| d.order.deadline = now() - 1, keep, "permit2_deadline_expired"),
        ("early", |d| d.order.valid_after = now() + 600, keep, "permit2_not_yet_valid"),
        (
            "token",
            leave,
            |b| b["paymentPayload"]["payload"]["permit2Authorization"]["permitted"]["token"] = json!(OTHER),
            "permit2_token_mismatch",
        ),
        ("asset", leave, |b| b["paymentRequirements"]["asset"] = json!(OTHER), "invalid_payment_requirements"),
        (
            "signature",
            leave,
            |b| b["paymentPayload"]["payload"]["signature"] = json!(format!("0x{}1b", "22".repeat(64))),
            "invalid_permit2_signature",
        ),
        ("another chain", |d| d.order.chain_id = 8453, keep, "invalid_permit2_signature"),
        (
            "signed for exact",
            |d| d.order.facilitator = None,
            |b| {
                b["paymentRequirements"]["scheme"] = json!("upto");
                b["paymentPayload"]["accepted"]["scheme"] = json!("upto");
            },
            "unsupported_payload_type",
        ),
        (
            "by EIP-3009",
            leave,
            |b| b["paymentPayload"]["payload"] = Draft::default().payload(),
            "unsupported_payload_type",
        ),
        ("balance", |d| d.order.amount = Amount::from(2_000_000_000_000_u64), keep, "permit2_insufficient_balance"),
        (
            "allowance",
            |d| *d = d.clone().of(&PrivateKeySigner::from_slice(&[0x42; 32]).expect("a key")),
            keep,
            "permit2_allowance_required",
        ),
        ("a ceiling of dust", |d| d.order.amount = Amount::from(999_u64), keep, "invalid_payment_requirements"),
    ];
    for (name, spoil, alter, code) in cases {
        let mut draft = Permit2Draft::upto(10_000);
        spoil(&mut draft);
        let mut body = draft.body();
        alter(&mut body);
        let verified = service.post("/verify", &body).await;
        assert_eq!((verified.status, verified.text("invalidReason")), (200, code), "{name}: {verified:?}");
        let settled = service.post("/settle", &body).await;
        assert_eq!((settled.status, settled.text("errorReason")), (200, code), "{name}: {settled:?}");
        assert_eq!(settled.body["transaction"], "", "{name}");
    }
    let less = service.post("/verify", &Permit2Draft::upto(10_000).charged(9_999).body()).await;
    assert_eq!(less.text("invalidReason"), "permit2_amount_mismatch", "what is verified is the ceiling");
    let nothing = service.post("/verify", &Permit2Draft::upto(10_000).charged(0).body()).await;
    assert_eq!(nothing.text("invalidReason"), "invalid_payment_requirements", "{nothing:?}");
    let mut v1 = Draft::default().v1();
    v1["paymentPayload"]["scheme"] = json!("upto");
    v1["paymentRequirements"]["scheme"] = json!("upto");
    let v1 = service.post("/verify", &v1).await;
    assert_eq!(v1.text("invalidReason"), "unsupported_scheme", "{v1:?}");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0, "nothing was sent");
}

/// Signed work is driven to its end, and a charge is the stored one's.
#[tokio::test(flavor = "multi_thread")]
async fn a_charge_survives_a_kill_and_is_not_charged_again() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "2s");
    let service = home.serve().await;
    allow(&chain, PAYER, u128::MAX).await;
    chain.node.stop_blocks().await;
    let draft = Permit2Draft::upto(5000);
    let pending = service.post("/settle", &draft.charged(1234).body()).await;
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    service.kill();
    chain.node.resume_blocks().await;
    let service = home.serve().await;
    let other = service.post("/settle", &draft.charged(5000).body()).await;
    assert_eq!(other.text("errorReason"), "duplicate_settlement", "{other:?}");
    let settled = service.post("/settle", &draft.charged(1234).body()).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(settled.text("transaction"), pending.text("transaction"));
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 1234);
    assert_eq!(home.audit().0, 0);
}
