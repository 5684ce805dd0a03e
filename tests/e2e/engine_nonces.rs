//! A nonce of the gas wallet that somebody else has used ends a transaction, and never a payment.

use std::sync::Arc;

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    payer::Draft,
    proxy::Proxy,
    service::{Answer, Home},
    stranger::{STRANGER, settle_without_blocks, sweep},
};
use futures::future::join_all;
use serde_json::json;

/// Scenario 18; K04, K18: with one node and with three.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_nonce_was_used_by_hand_settles_once_with_another_and_the_operator_is_told() {
    for nodes in [1, 3] {
        let chain = Anvil::start().await;
        let proxies = Proxy::three_before(&chain.node.url).await;
        let urls: Vec<_> = proxies.iter().take(nodes).map(|proxy| proxy.url.as_str()).collect();
        let home = Home::on(&chain).rpc(&urls).server("settle_wait", "1s");
        let service = home.serve().await;
        let draft = Draft::default();
        let (id, transaction) = settle_without_blocks(&chain, &service, &draft.v2()).await;
        sweep(&chain, &transaction).await;
        chain.node.mine().await;
        chain.node.resume_blocks().await;
        let settled = service.decided(&draft.v2()).await;
        assert!(settled.is_good(), "{nodes} nodes: {settled:?}\n{}", home.log());
        assert_ne!(settled.body["transaction"], transaction["hash"], "{settled:?}");
        assert_eq!(settled.settlement_id(), id, "it is the same settlement");
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
        assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 2, "the transfer by hand, and the payment");
        service.ready_says(&["nonce"]).await;
        assert!(home.log().to_lowercase().contains("nonce"), "{}", home.log());
        assert!(service.decided(&Draft::default().v2()).await.is_good(), "the wallet goes on");
    }
}

/// K04: another process with the same key, under load.
#[tokio::test(flavor = "multi_thread")]
async fn payments_beside_another_user_of_the_gas_wallet_s_key_all_settle_once() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "3s").network("in_flight_max", 64);
    let service = Arc::new(home.serve().await);
    let payments = (0..30).map(|_| {
        let service = Arc::clone(&service);
        tokio::spawn(async move { service.decided(&Draft::default().v2()).await })
    });
    let payments: Vec<_> = payments.collect();
    for _ in 0..10 {
        let by_hand = json!([{"from": GAS_WALLET, "to": STRANGER, "value": "0x1", "gas": "0x5208",
            "maxFeePerGas": "0x174876e800", "maxPriorityFeePerGas": "0x3b9aca00"}]);
        drop(chain.node.try_call("eth_sendTransaction", by_hand).await);
    }
    let answers: Vec<_> = join_all(payments).await.into_iter().map(|task| task.expect("decided")).collect();
    assert!(answers.iter().all(Answer::is_good), "{answers:?}\n{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 300_000);
    assert_eq!(service.ready_says(&["nonce"]).await.status, 200);
}

/// K18: a payment of a gas wallet that nobody configures any more would wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_gas_wallet_that_is_taken_away_with_payments_under_way_is_an_alarm() {
    const OTHER_KEY: &str = "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a";
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "1s");
    let service = home.serve().await;
    settle_without_blocks(&chain, &service, &Draft::default().v2()).await;
    chain.node.call("anvil_dropAllTransactions", json!([])).await;
    service.kill();
    let home = home.wallets(&[OTHER_KEY]);
    let service = home.spawn();
    chain.node.resume_blocks().await;
    let address = GAS_WALLET.to_lowercase();
    service.ready_says(&[&address]).await;
    assert!(home.log().to_lowercase().contains(&address), "{}", home.log());
    assert!(service.decided(&Draft::default().v2()).await.is_good(), "the other wallet serves");
}
