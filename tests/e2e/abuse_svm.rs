//! Strangers with a signed message on Solana, and payments that fail on
//! chain: every request is answered, nothing is paid twice, nothing stays behind.

mod changed;
mod failing;
mod guards;
mod looks;
mod lost;
mod prices;
mod replay;
mod spelling;
mod tables;
mod taxed;
mod unsound;
mod wallet;

use std::ops::Range;

use e2e::{
    eventually,
    proxy::{Fault, Proxy, Times},
    service::{Answer, Home, Service},
    validator::{Validator, fee_payer},
};
use futures::future::join;
use serde_json::{Value, json};

/// The places of the signatures in the bytes of a transaction with two signers.
const FEE_PAYER_SIGNATURE: Range<usize> = 1..65;
const CLIENT_SIGNATURE: Range<usize> = 65..129;
/// The place at which its message begins.
const AFTER_SIGNATURES: usize = CLIENT_SIGNATURE.end;

/// The fee of a transaction of the official clients: two signatures, and
/// 20,000 units at a millionth of a lamport, rounded up.
pub(crate) const FEE: u64 = 10_001;

async fn serve(validator: &Validator, rpc: &str) -> (Home, Service) {
    let home = Home::on(validator).rpc(&[rpc]);
    let service = home.serve().await;
    (home, service)
}

/// Settles a payment that the leader gets only after something else has happened.
async fn settle_after(service: &Service, proxy: &Proxy, body: &Value, something: impl Future<Output = ()>) -> Answer {
    let sent = proxy.calls("sendTransaction");
    proxy.fail("sendTransaction", Fault::Pretend(json!("1".repeat(64))), Times::Always);
    let meanwhile = async {
        eventually("it is sent", || async { (proxy.calls("sendTransaction") > sent).then_some(()) }).await;
        something.await;
        proxy.heal();
    };
    join(service.post("/settle", body), meanwhile).await.0
}

async fn coins(validator: &Validator) -> u64 {
    validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance")
}

/// Returns the stored settlement.
async fn row(service: &Service, settled: &Answer) -> Answer {
    let id = settled.body["extra"]["settlementId"].as_str().expect("an id");
    service.get(&format!("/settlements/{id}")).await
}

/// Posts a body just as it is written.
async fn post_text(service: &Service, path: &str, body: String) -> Answer {
    let request = e2e::http_client().post(format!("{}{path}", service.url));
    let answer = request.header("content-type", "application/json").body(body).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    Answer { status, body }
}
