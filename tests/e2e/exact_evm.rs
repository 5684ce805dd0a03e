//! An EIP-3009 payment is judged and settled as the protocol says.

use alloy::{primitives::U256, signers::local::PrivateKeySigner};
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    payer::{Draft, now},
    proxy::Proxy,
    service::Home,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_good_payment_is_verified_settled_and_paid_exactly_once() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    for (version, network) in [(2, "eip155:84532"), (1, "base-sepolia")] {
        let before = chain.node.token_balance(USDC, PAYEE).await;
        let draft = Draft::default();
        let body = draft.body(version);
        let verified = service.post("/verify", &body).await;
        assert_eq!((verified.status, verified.is_good()), (200, true), "{verified:?}");
        assert_eq!(verified.text("payer"), draft.from.to_checksum(None));
        let settled = service.post("/settle", &body).await;
        assert_eq!((settled.status, settled.is_good()), (200, true), "{settled:?}\n{}", home.log());
        assert_eq!(settled.text("network"), network);
        assert_eq!(settled.text("amount"), "10000");
        assert_eq!(settled.text("payer"), draft.from.to_checksum(None));
        assert_eq!(settled.text("transaction").len(), 66);
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, before + 10_000);
        let again = service.post("/verify", &body).await;
        assert_eq!(again.text("invalidReason"), "invalid_exact_evm_nonce_already_used", "{again:?}");
        let twice = service.post("/settle", &body).await;
        assert_eq!(twice.text("errorReason"), "duplicate_settlement", "{twice:?}");
        assert_eq!(twice.text("transaction"), settled.text("transaction"));
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, before + 10_000);
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 2);
}

/// One wrong thing about a good payment, and the code that it gets in v2 and v1.
struct Case {
    name: &'static str,
    spoil: fn(&mut Draft),
    alter: fn(&mut Value),
    v2: &'static str,
    v1: &'static str,
}

const fn case(name: &'static str, spoil: fn(&mut Draft), alter: fn(&mut Value), code: &'static str) -> Case {
    Case { name, spoil, alter, v2: code, v1: code }
}

fn leave(_: &mut Draft) {}
fn keep(_: &mut Value) {}

fn requirements(body: &mut Value, key: &str, value: Value) {
    body["paymentRequirements"][key] = value;
}

fn authorization<'a>(body: &'a mut Value, key: &str) -> &'a mut Value {
    &mut body["paymentPayload"]["payload"]["authorization"][key]
}

const OTHER: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    vec![
        case("scheme unknown", leave, |b| requirements(b, "scheme", json!("steal")), "unsupported_scheme"),
        case(
            "B01 payTo of the requirements",
            leave,
            |b| requirements(b, "payTo", json!(OTHER)),
            "invalid_exact_evm_recipient_mismatch",
        ),
        case(
            "no EIP-712 domain",
            leave,
            |b| requirements(b, "extra", json!({})),
            "invalid_exact_evm_missing_eip712_domain",
        ),
        case(
            "C04 value changed after signing",
            leave,
            |b| *authorization(b, "value") = json!("10001"),
            "invalid_exact_evm_signature",
        ),
        case(
            "C04 recipient changed after signing",
            leave,
            |b| *authorization(b, "to") = json!(OTHER),
            "invalid_exact_evm_signature",
        ),
        case(
            "C04 payer changed after signing",
            leave,
            |b| *authorization(b, "from") = json!(OTHER),
            "invalid_exact_evm_signature",
        ),
        case("expired", |d| d.valid_before = now() - 1, keep, "invalid_exact_evm_payload_authorization_valid_before"),
        case(
            "about to expire",
            |d| d.valid_before = now() + 3,
            keep,
            "invalid_exact_evm_payload_authorization_valid_before",
        ),
        case(
            "not valid yet",
            |d| d.valid_after = now() + 600,
            keep,
            "invalid_exact_evm_payload_authorization_valid_after",
        ),
        Case {
            name: "amount differs",
            spoil: leave,
            alter: |b| {
                let key = if b["x402Version"] == 1 { "maxAmountRequired" } else { "amount" };
                requirements(b, key, json!("9999"));
            },
            v2: "invalid_exact_evm_payload_authorization_value_mismatch",
            v1: "invalid_exact_evm_authorization_value",
        },
        case(
            "B10 another name, signed so",
            |d| d.domain.name = Some("USD Coin".into()),
            |b| requirements(b, "extra", json!({"name": "USD Coin", "version": "2"})),
            "invalid_exact_evm_token_name_mismatch",
        ),
        case(
            "B10 another version, signed so",
            |d| d.domain.version = Some("1".into()),
            |b| requirements(b, "extra", json!({"name": "USDC", "version": "1"})),
            "invalid_exact_evm_token_version_mismatch",
        ),
        case(
            "more than the balance",
            |d| d.value = U256::from(2_000_000_000_000_u64),
            keep,
            "invalid_exact_evm_insufficient_balance",
        ),
        case(
            "payer without money",
            |d| *d = Draft::of(PrivateKeySigner::random()),
            keep,
            "invalid_exact_evm_insufficient_balance",
        ),
        case("B04 nothing", |d| d.value = U256::ZERO, keep, "invalid_payment_requirements"),
        case("B05 dust", |d| d.value = U256::from(1), keep, "invalid_payment_requirements"),
        case("B05 to oneself", |d| d.to = d.from, keep, "invalid_payment_requirements"),
        case("B05 to the token", |d| d.to = USDC.parse().expect("address"), keep, "invalid_payment_requirements"),
        case(
            "B02 D01 asset not allowed",
            leave,
            |b| requirements(b, "asset", json!(OTHER)),
            "invalid_payment_requirements",
        ),
        case(
            "A13 network unknown",
            leave,
            |b| {
                let other = if b["x402Version"] == 1 { "base" } else { "eip155:8453" };
                requirements(b, "network", json!(other));
            },
            "invalid_network",
        ),
        case(
            "malformed payload",
            leave,
            |b| b["paymentPayload"]["payload"] = json!({"signature": "0x"}),
            "invalid_payload",
        ),
        case(
            "A09 nonce of 31 bytes",
            leave,
            |b| *authorization(b, "nonce") = json!(format!("0x{}", "1".repeat(62))),
            "invalid_payload",
        ),
        case("A09 value in hex", leave, |b| *authorization(b, "value") = json!("0x2710"), "invalid_payload"),
        case(
            "C11 endless signature",
            leave,
            |b| {
                b["paymentPayload"]["payload"]["signature"] = json!(format!("0x{}", "11".repeat(5000)));
            },
            "invalid_payload",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_payment_gets_the_protocol_s_code_and_spends_nothing() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    for case in cases() {
        for version in [2, 1] {
            let mut draft = Draft::default();
            (case.spoil)(&mut draft);
            let mut body = draft.body(version);
            (case.alter)(&mut body);
            let expected = if version == 1 { case.v1 } else { case.v2 };
            let verified = service.post("/verify", &body).await;
            assert_eq!(verified.status, 200, "{} v{version}: {verified:?}", case.name);
            assert_eq!(verified.text("invalidReason"), expected, "{} v{version}: {verified:?}", case.name);
            assert!(verified.body["payer"].is_string() && !verified.text("invalidMessage").is_empty());
            // B11: settle judges for itself.
            let settled = service.post("/settle", &body).await;
            assert_eq!(settled.status, 200, "{} v{version}: {settled:?}", case.name);
            assert_eq!(settled.text("errorReason"), expected, "{} v{version}: {settled:?}", case.name);
            assert_eq!(settled.body["transaction"], "", "{}", case.name);
        }
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0, "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_buyer_echoes_in_accepted_decides_nothing() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    for (key, value) in
        [("payTo", json!(OTHER)), ("amount", json!("1")), ("asset", json!(OTHER)), ("extra", json!(null))]
    {
        let mut body = Draft::default().v2();
        body["paymentPayload"]["accepted"][key] = value;
        let verified = service.post("/verify", &body).await;
        assert!(verified.is_good(), "A10 {key}: {verified:?}");
    }
    for (key, value, code) in [
        ("scheme", "upto", "invalid_exact_evm_scheme"),
        ("network", "eip155:8453", "invalid_exact_evm_network_mismatch"),
    ] {
        let mut body = Draft::default().v2();
        body["paymentPayload"]["accepted"][key] = json!(value);
        let verified = service.post("/verify", &body).await;
        assert_eq!(verified.text("invalidReason"), code, "{verified:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn static_rejects_cost_no_call_and_a_good_payment_one() {
    let chain = Anvil::start_with(&["--no-mining"]).await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&proxy.url]);
    let service = home.serve().await;
    let calls = || proxy.calls("eth_call");
    let before = calls();
    let mut wrong = Draft::default().v2();
    wrong["paymentRequirements"]["payTo"] = json!(OTHER);
    for _ in 0..5 {
        assert!(!service.post("/verify", &wrong).await.is_good());
    }
    let expired = Draft { valid_before: now() - 1, ..Draft::default() };
    assert!(!service.post("/verify", &expired.v2()).await.is_good());
    assert_eq!(calls(), before, "what is decidable here is decided here");
    assert!(service.post("/verify", &Draft::default().v2()).await.is_good());
    assert_eq!(calls(), before + 1, "a good payment costs one call");
    let mut forged = Draft::default().v2();
    forged["paymentPayload"]["payload"]["signature"] = json!(format!("0x{}1b", "22".repeat(64)));
    assert_eq!(service.post("/verify", &forged).await.text("invalidReason"), "invalid_exact_evm_signature");
    assert!(calls() <= before + 2, "C04: a forged signature costs one read at most");
}
