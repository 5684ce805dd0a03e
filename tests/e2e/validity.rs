//! From when on a payment is valid, and in which forms clients sign it.

use std::collections::HashSet;

use e2e::{
    anvil::{Anvil, PAYEE, PAYER, USDC},
    eventually,
    node::parse_quantity,
    payer::{Draft, now},
    permit2::{Permit2Draft, allow},
    service::Home,
};
use serde_json::{Value, json};

/// Clients sign a time a moment before theirs; the block that is the newest then may be older than that.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_judged_at_the_time_of_the_block_to_come() {
    let chain = Anvil::start_with(&["--block-time", "6"]).await;
    let home = Home::on(&chain).network("block_time", "6s");
    let service = home.serve().await;
    let mut blocks = HashSet::new();
    // Over two whole intervals between blocks, so at each distance from the newest one.
    while blocks.len() < 3 {
        blocks.insert(chain.node.call("eth_blockNumber", json!([])).await.to_string());
        let draft = Draft { valid_after: now() - 2, ..Draft::default() };
        let answer = service.post("/verify", &draft.v2()).await;
        assert!(answer.is_good(), "{answer:?}");
    }
}

/// A chain that makes blocks only now and then says nothing against a payment.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_valid_since_the_newest_block_is_valid() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).network("block_time", "12s");
    let service = home.serve().await;
    chain.node.call("evm_setIntervalMining", json!([0])).await;
    eventually("the newest block is nine seconds old", || async {
        let block = chain.node.try_call("eth_getBlockByNumber", json!(["latest", false])).await?;
        (u128::from(now()) >= parse_quantity(&block["timestamp"]) + 9).then_some(())
    })
    .await;
    let draft = Draft { valid_after: now() - 4, ..Draft::default() };
    let verified = service.post("/verify", &draft.v2()).await;
    assert!(verified.is_good(), "{verified:?}");
}

/// `/verify` says which clock decided; `/settle` waits for the few seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_becomes_valid_in_seconds_is_settled_then() {
    let chain = Anvil::start().await;
    allow(&chain, PAYER, u128::MAX).await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let soon = || now() + 4;
    let mut permit2 = Permit2Draft::default();
    permit2.order.valid_after = soon();
    let bodies = [Draft { valid_after: soon(), ..Draft::default() }.v2(), permit2.body()];
    for body in &bodies {
        let verified = service.post("/verify", body).await;
        let message = verified.text("invalidMessage");
        assert!(!verified.is_good() && message.contains("is after the block to come"), "{verified:?}");
    }
    let settled = futures::future::join_all(bodies.iter().map(|body| service.post("/settle", body))).await;
    assert!(settled.iter().all(e2e::service::Answer::is_good), "{settled:?}\n{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 20_000);
    home.assert_audit();
}

/// Returns the signature of a payload in the 64 bytes of EIP-2098: the parity stands in the highest bit of s.
fn compact(payload: &mut Value) {
    let text = payload["signature"].as_str().expect("a signature").trim_start_matches("0x");
    let mut bytes = hex::decode(text).expect("hex");
    let parity = bytes.pop().expect("v") - 27;
    bytes[32] |= parity << 7;
    payload["signature"] = format!("0x{}", hex::encode(bytes)).into();
}

/// The forms of one signature that contracts take are one payment; any other is told as a wrong form, not as
/// somebody else's signature.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_read_in_each_form_that_contracts_take_and_other_forms_are_named() {
    let chain = Anvil::start().await;
    allow(&chain, PAYER, u128::MAX).await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    for body in [Draft::default().v2(), Permit2Draft::default().body()] {
        let mut short = body.clone();
        compact(&mut short["paymentPayload"]["payload"]);
        let settled = service.post("/settle", &short).await;
        assert!(settled.is_good(), "{settled:?}");
        let again = service.post("/settle", &body).await;
        assert_eq!(again.text("errorReason"), "duplicate_settlement", "{again:?}");
    }
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 20_000);
    for body in [Draft::default().v2(), Permit2Draft::default().body()] {
        let text = body["paymentPayload"]["payload"]["signature"].as_str().expect("text");
        let without_v = &text[..text.len() - 2];
        let forms = [
            (text[..text.len() - 4].to_owned(), "63 bytes"),
            (format!("{text}00"), "66 bytes"),
            (format!("{without_v}05"), "last byte is 5"),
        ];
        for (form, said) in forms {
            let mut spoilt = body.clone();
            spoilt["paymentPayload"]["payload"]["signature"] = form.into();
            let answer = service.post("/verify", &spoilt).await;
            assert!(!answer.is_good() && answer.text("invalidMessage").contains(said), "{said}: {answer:?}");
        }
    }
    home.assert_audit();
}
