//! A receipt counts only in a chain that was looked at after the block that makes it deep enough.

use std::sync::{Arc, Mutex, PoisonError};

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, PAYER, USDC},
    eventually,
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::Home,
    stranger::{SEND, settle_without_blocks, spend_first},
};
use serde_json::{Value, json};

/// K05: the block is taken back while the transfer waits for depth, and the node goes on serving its receipt.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_receipt_of_a_block_that_was_taken_back_is_no_success() {
    let chain = Anvil::start_with(&["--no-mining"]).await;
    let proxy = Proxy::before(&chain.node.url).await;
    remember_receipts(&proxy);
    let home = Home::on(&chain).rpc(&[&proxy.url]).server("settle_wait", "4s").network("confirmations", 3);
    let service = Arc::new(home.serve().await);
    let body = Draft::default().v2();
    let waiting = tokio::spawn({
        let (service, body) = (Arc::clone(&service), body.clone());
        async move { service.post("/settle", &body).await }
    });
    eventually("the transaction is in the pool", || async {
        (proxy.calls(SEND) > 0 && chain.node.try_call("txpool_status", json!([])).await?["pending"] != "0x0")
            .then_some(())
    })
    .await;
    let receipts = proxy.calls("eth_getTransactionReceipt");
    chain.node.mine().await;
    eventually("the receipt is read", || async { (proxy.calls("eth_getTransactionReceipt") > receipts).then_some(()) })
        .await;
    proxy.fail(SEND, Fault::LoseRequest, Times::Always);
    chain.node.call("anvil_reorg", json!([1, []])).await;
    chain.node.call("anvil_dropAllTransactions", json!([])).await;
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 0, "the chain has forgotten it");
    let answer = eventually("the wait ends", || async {
        chain.node.mine().await;
        waiting.is_finished().then_some(())
    });
    answer.await;
    let answer = waiting.await.expect("no panic");
    assert_eq!(answer.text("errorReason"), "settlement_pending", "the payee has nothing: {answer:?}\n{}", home.log());

    proxy.heal();
    chain.node.resume_blocks().await;
    let settled = service.decided(&body).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    home.assert_audit();
}

/// K05: our transaction reverted, nobody could say what became of the authorization, and the chain took its block
/// back. It is sent again, and pays this time.
#[tokio::test(flavor = "multi_thread")]
async fn a_reverted_transaction_whose_block_is_taken_back_is_sent_again() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&proxy.url]).server("settle_wait", "1s");
    let service = home.serve().await;
    let all = chain.node.token_balance(USDC, PAYER).await;
    let body = Draft { value: alloy::primitives::U256::from(all), ..Draft::default() }.v2();
    let (id, _) = settle_without_blocks(&chain, &service, &body).await;
    spend_first(&chain, USDC, PAYER).await;
    // The receipts are to be had, the state is not.
    proxy.fail("eth_call", Fault::Refuse(-32_000, "header not found"), Times::Always);
    let asked = proxy.calls("eth_call");
    chain.node.mine().await;
    eventually("it is stored that the block has it, and asked in vain what it did", || async {
        let found = service.try_get(&format!("/settlements/{id}")).await?;
        (found.body["attempts"][0]["state"] == "included" && proxy.calls("eth_call") > asked).then_some(())
    })
    .await;
    chain.node.call("anvil_reorg", json!([1, []])).await;
    chain.node.call("anvil_dropAllTransactions", json!([])).await;
    assert_eq!(chain.node.token_balance(USDC, PAYER).await, all, "the chain has forgotten both");
    proxy.heal();
    chain.node.resume_blocks().await;
    let settled = service.decided(&body).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, all);
    let timeline = service.settlement(&id).await.body.to_string();
    assert!(timeline.contains("reorged"), "{timeline}");
    home.assert_audit();
}

/// Serves the first receipt that the node has given, for ever.
fn remember_receipts(proxy: &Proxy) {
    let first = Mutex::new(Value::Null);
    proxy.lie("eth_getTransactionReceipt", move |_, honest| {
        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_null() {
            *first = honest;
        }
        first.clone()
    });
}
