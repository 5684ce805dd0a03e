//! A paying client in a few lines: asks, reads the price, signs, asks again.

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chains_core::clock::{Clock as _, SystemClock};
use chains_evm::local::{Order, Payer};
use serde_json::{Value, json};

/// Buys, and says which transaction paid.
pub(super) async fn buy(shop: &str, payer: &Payer) -> anyhow::Result<String> {
    let client = reqwest::Client::new();
    let url = format!("{shop}/weather");
    println!("  client → GET {url}");
    let answer = client.get(&url).send().await?;
    let required = header(&answer, "payment-required")?;
    println!("  client ← {} PAYMENT-REQUIRED: {required}", answer.status());
    let accepted = required["accepts"][0].clone();
    let payload = sign(payer, &accepted)?;
    let payment = json!({"x402Version": 2, "resource": required["resource"], "accepted": accepted, "payload": payload});
    println!("  client → GET {url} with PAYMENT-SIGNATURE: {payment}");
    let paid = client.get(&url).header("payment-signature", BASE64.encode(payment.to_string())).send().await?;
    let status = paid.status();
    ensure!(status.is_success(), "the server did not serve: {status} {}", header(&paid, "payment-required")?);
    let receipt = header(&paid, "payment-response")?;
    println!("  client ← {status} {}", paid.text().await?);
    let transaction = receipt["transaction"].as_str().context("the receipt names no transaction")?;
    Ok(transaction.to_owned())
}

fn sign(payer: &Payer, accepted: &Value) -> anyhow::Result<Value> {
    let text = |key: &str| accepted[key].as_str().with_context(|| format!("the price has no {key}"));
    let value = text("amount")?.parse()?;
    let valid_before = SystemClock.now().seconds() + 60;
    let nonce = rand::random::<[u8; 32]>();
    Ok(Value::Object(payer.sign(&Order::usdc(text("payTo")?, value, valid_before, nonce))?))
}

fn header(answer: &reqwest::Response, name: &str) -> anyhow::Result<Value> {
    let value = answer.headers().get(name).with_context(|| format!("the answer has no {name} header"))?;
    Ok(serde_json::from_slice(&BASE64.decode(value.as_bytes())?)?)
}
