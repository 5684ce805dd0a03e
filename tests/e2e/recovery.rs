//! The trust of a start, and the consequences of a block that is taken back.

use std::fs;

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    eventually,
    node::parse_quantity,
    payer::Draft,
    service::{Home, Stored},
};
use serde_json::json;

/// Scenario 25; G15: a backup knows less than the chain: going on from it would give out nonces twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_restored_from_an_old_copy_opens_no_wallet_until_the_operator_says_so() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Sqlite);
    let first = home.serve().await;
    assert!(first.post("/settle", &Draft::default().v2()).await.is_good());
    assert_eq!(first.stop(), Some(0));
    let (database, copy) = (home.path().join("facilitator.db"), home.path().join("copy"));
    fs::copy(&database, &copy).expect("a closed store is one file");
    let second = home.serve().await;
    let forgotten = Draft::default();
    assert!(second.post("/settle", &forgotten.v2()).await.is_good());
    assert_eq!(second.stop(), Some(0));
    fs::copy(&copy, &database).expect("restored");

    let third = home.spawn();
    let detail = eventually("the service says why its wallet is closed", || async {
        let ready = third.try_get("/ready").await?;
        let text = ready.body.to_string();
        (ready.status == 503 && text.contains("nonce")).then_some(text)
    })
    .await;
    assert!(detail.contains("audit") && detail.contains("--accept-foreign-nonces"), "{detail}");
    assert_eq!(third.post("/settle", &Draft::default().v2()).await.status, 503);
    drop(third);

    let mut accepted = home.command(&["serve", "--accept-foreign-nonces"]).spawn().expect("the binary starts");
    let client = e2e::http_client();
    let settle = async |draft: Draft| {
        let sent = client.post(format!("{}/settle", home.url)).json(&draft.v2()).send().await.ok()?;
        sent.json::<serde_json::Value>().await.ok()
    };
    eventually("the operator's word opens the wallet", || async {
        let answer = settle(Draft::default()).await?;
        (answer["success"] == true).then_some(())
    })
    .await;
    // G15: what the store has forgotten, the chain has not.
    let again = settle(forgotten).await.expect("an answer");
    assert_eq!(again["errorReason"], "invalid_exact_evm_nonce_already_used", "{again}");
    accepted.kill().expect("killed");
    accepted.wait().expect("gone");
}

/// Scenario 16; E07: a block that held the transfer is taken back before it was deep enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_counts_only_when_it_is_deep_enough_and_survives_a_reorg() {
    let chain = Anvil::start_with(&["--no-mining"]).await;
    let home = Home::on(&chain).server("settle_wait", "30s").network("confirmations", 3);
    let service = std::sync::Arc::new(home.serve().await);
    let body = Draft::default().v2();
    let waiting = tokio::spawn({
        let (service, body) = (std::sync::Arc::clone(&service), body.clone());
        async move { service.post("/settle", &body).await }
    });
    eventually("the transaction is in the pool", || async {
        let status = chain.node.try_call("txpool_status", json!([])).await?;
        (status["pending"] != "0x0").then_some(())
    })
    .await;
    chain.node.mine().await;
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000, "it is in a block");
    assert!(!waiting.is_finished(), "one block is not three");
    chain.node.call("anvil_reorg", json!([1, []])).await;
    eventually("the payment is on chain again, and told once it is deep enough", || async {
        chain.node.mine().await;
        waiting.is_finished().then_some(())
    })
    .await;
    let answer = waiting.await.expect("no panic");
    assert!(answer.is_good(), "{answer:?}\n{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

/// Scenario 16: up to three blocks are taken back after their transfer was told to be settled.
#[tokio::test(flavor = "multi_thread")]
async fn a_settled_transfer_that_the_chain_takes_back_is_sent_again() {
    for depth in 1..=3 {
        let chain = Anvil::start().await;
        let home = Home::on(&chain);
        let service = home.serve().await;
        let settled = service.post("/settle", &Draft::default().v2()).await;
        assert!(settled.is_good(), "{settled:?}");
        chain.node.call("anvil_setIntervalMining", json!([0])).await;
        chain.node.call("anvil_setAutomine", json!([false])).await;
        let receipt = chain.node.call("eth_getTransactionReceipt", json!([settled.text("transaction")])).await;
        let newest = chain.node.quantity("eth_blockNumber", json!([])).await;
        let on_top = newest - parse_quantity(&receipt["blockNumber"]);
        for _ in on_top + 1..depth {
            chain.node.mine().await;
        }
        chain.node.call("anvil_reorg", json!([depth.max(on_top + 1), []])).await;
        chain.node.call("anvil_dropAllTransactions", json!([])).await;
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 0, "{depth}: the chain has forgotten it");
        eventually("the payee has the money again", || async {
            chain.node.call("anvil_mine", json!(["0x10"])).await;
            (chain.node.token_balance(USDC, PAYEE).await == 10_000).then_some(())
        })
        .await;
        assert!(home.log().contains("took back"), "{depth}: an operator is told\n{}", home.log());
        let (code, text) = home.audit();
        assert_eq!(code, 0, "{depth}: {text}");
    }
}

/// E05: what comes after a transaction that the chain has lost is not held up.
#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_gap_that_a_reorg_leaves_is_closed() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "4s");
    let service = home.serve().await;
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good());
    chain.node.stop_blocks().await;
    chain.node.call("anvil_reorg", json!([1, []])).await;
    chain.node.call("anvil_dropAllTransactions", json!([])).await;
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0, "the chain has forgotten the first");
    let next = Draft::default().v2();
    assert_eq!(service.post("/settle", &next).await.text("errorReason"), "settlement_pending");
    eventually("both can be executed", || async {
        let status = chain.node.try_call("txpool_status", json!([])).await?;
        (status["pending"] == "0x2").then_some(())
    })
    .await;
    chain.node.resume_blocks().await;
    assert!(service.post("/settle", &next).await.is_good(), "{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 20_000);
    assert!(home.log().contains("not on the chain any more"), "an operator is told");
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}
