//! Several gas wallets share the load, and one that is not well holds nobody up.

use std::sync::Arc;

use e2e::{
    anvil::{Anvil, GAS_WALLET, GAS_WALLET_KEY, PAYEE, USDC},
    eventually,
    payer::Draft,
    service::{Answer, Home, Service},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// The second gas wallet, another of anvil's well-known accounts.
const SECOND_KEY: &str = "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba";
const SECOND: &str = "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc";

const RICH: &str = "0x3635c9adc5dea00000";

async fn fund(chain: &Anvil, wallet: &str, balance: &str) {
    chain.node.call("anvil_setBalance", json!([wallet, balance])).await;
}

/// Settles payments, each for a caller that waits.
fn settle(service: &Arc<Service>, count: usize) -> Vec<(Value, JoinHandle<Answer>)> {
    let settle = |_| {
        let (service, body) = (Arc::clone(service), Draft::default().v2());
        let sent = body.clone();
        (body, tokio::spawn(async move { service.post("/settle", &sent).await }))
    };
    (0..count).map(settle).collect()
}

async fn two_wallets(chain: &Anvil) -> Home {
    for wallet in [GAS_WALLET, SECOND] {
        fund(chain, wallet, RICH).await;
    }
    Home::on(chain).wallets(&[GAS_WALLET_KEY, SECOND_KEY]).server("settle_wait", "40s").network("in_flight_max", 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_go_to_the_wallet_with_the_least_to_do() {
    let chain = Anvil::start().await;
    let home = two_wallets(&chain).await;
    let service = Arc::new(home.serve().await);
    chain.node.stop_blocks().await;
    let settled = settle(&service, 4);
    eventually("both wallets have used their places", || async {
        let pending = chain.node.call("txpool_status", json!([])).await;
        (pending["pending"] == "0x4").then_some(())
    })
    .await;
    chain.node.resume_blocks().await;
    for (_, answer) in settled {
        let answer = answer.await.expect("answered");
        assert!(answer.is_good(), "{answer:?}");
    }
    for wallet in [GAS_WALLET, SECOND] {
        assert_eq!(chain.node.transactions_of(wallet).await, 2, "{wallet}");
    }
    home.assert_audit();
}

/// Payments that are queued at a wallet that runs dry move to the other before they are signed; new ones go there.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_a_wallet_that_runs_dry_is_begun_by_another() {
    let chain = Anvil::start().await;
    let home = two_wallets(&chain).await;
    let service = Arc::new(home.serve().await);
    chain.node.stop_blocks().await;
    // Each wallet signs two, and two more wait at each.
    let settled = settle(&service, 8);
    home.queued(4).await;
    fund(&chain, SECOND, "0x1").await;
    eventually("the second wallet is known to be dry", || async {
        let ready = service.try_get("/ready").await?;
        ready.body.to_string().contains("does not cover").then_some(())
    })
    .await;
    home.queued(4).await;
    let late = settle(&service, 2);
    home.queued(6).await;
    // The dry wallet's own two cannot be included: nothing of the others waits for them.
    chain.node.resume_blocks().await;
    eventually("the first wallet has begun all the others", || async {
        (chain.node.transactions_of(GAS_WALLET).await == 8).then_some(())
    })
    .await;
    assert_eq!(chain.node.transactions_of(SECOND).await, 0, "it cannot pay");
    fund(&chain, SECOND, RICH).await;
    for (body, answer) in settled.into_iter().chain(late) {
        let answer = answer.await.expect("answered");
        let answer = if answer.is_good() { answer } else { service.decided(&body).await };
        assert!(answer.is_good(), "{answer:?}\n{}", home.log());
    }
    assert_eq!(chain.node.transactions_of(SECOND).await, 2, "what was signed is sent by whoever signed it");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 100_000);
    home.assert_audit();
}

/// Beyond what may wait, callers are told to come back before anything was done for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_told_before_anything_is_done() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "40s").network("in_flight_max", 1).network("batch", "off");
    let service = Arc::new(home.serve().await);
    chain.node.stop_blocks().await;
    // One is signed, 256 are in the queue, and 256 wait for it.
    let under_way = settle(&service, 513);
    home.queued(512).await;
    let refused = e2e::http_client()
        .post(format!("{}/settle", home.url))
        .json(&Draft::default().v2())
        .send()
        .await
        .expect("an answer");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
    let listed = service.get("/settlements?limit=10").await;
    assert_eq!(listed.body["settlements"].as_array().map(Vec::len), Some(1), "only what was signed is stored");
    for (_, answer) in under_way {
        answer.abort();
    }
    chain.node.resume_blocks().await;
}
