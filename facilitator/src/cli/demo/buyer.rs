//! A paying client in a few lines: asks, reads the price, signs, asks again.

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use super::scene::Scene;

/// Buys, and says which transaction paid.
pub(super) async fn buy(shop: &str, scene: &impl Scene) -> anyhow::Result<String> {
    #[expect(clippy::disallowed_methods, reason = "the demonstration asks its own server")]
    let client = reqwest::Client::new();
    let url = format!("{shop}/weather");
    println!("  client → GET {url}");
    let answer = client.get(&url).send().await?;
    let required = header(&answer, "payment-required")?;
    println!("  client ← {} PAYMENT-REQUIRED: {required}", answer.status());
    let accepted = required["accepts"][0].clone();
    let payload = scene.sign(&accepted).await?;
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

fn header(answer: &reqwest::Response, name: &str) -> anyhow::Result<Value> {
    let value = answer.headers().get(name).with_context(|| format!("the answer has no {name} header"))?;
    Ok(serde_json::from_slice(&BASE64.decode(value.as_bytes())?)?)
}
