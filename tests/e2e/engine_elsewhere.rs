//! A payment that has failed can still be executed by whoever holds it: the answer says until when, and it is watched.

use alloy::primitives::U256;
use e2e::{
    anvil::{Anvil, PAYEE, PAYER, USDC},
    eventually,
    payer::{Draft, cancel_calldata},
    service::Home,
    stranger::{STRANGER, send_first, settle_without_blocks, spend_first, sweep},
};
use serde_json::json;

/// K19: the money is back, and somebody executes the payment that the seller was told has failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_payment_says_until_when_it_can_be_executed_and_its_execution_is_an_alarm() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "1s");
    let service = home.serve().await;
    let all = U256::from(chain.node.token_balance(USDC, PAYER).await);
    let draft = Draft { value: all, ..Draft::default() };
    let (id, transaction) = settle_without_blocks(&chain, &service, &draft.v2()).await;
    spend_first(&chain, USDC, PAYER).await;
    chain.node.mine().await;
    chain.node.resume_blocks().await;
    let failed = service.decided(&draft.v2()).await;
    assert_eq!(failed.text("errorReason"), "invalid_exact_evm_insufficient_balance", "{failed:?}");
    assert_eq!(failed.body["extra"]["executableUntil"], draft.valid_before, "{failed:?}");
    let found = service.settlement(&id).await;
    assert_eq!((found.text("state"), &found.body["executableUntil"]), ("failed", &json!(draft.valid_before)));
    assert!(home.metric("failed_executed_total").await < 1.0);

    chain.mint(PAYER, 1).await;
    let to = transaction["to"].as_str().expect("an address");
    let foreign = send_first(&chain, STRANGER, to, &transaction["input"]).await;
    eventually("the payee has the money", || async {
        (U256::from(chain.node.token_balance(USDC, PAYEE).await) == all).then_some(())
    })
    .await;
    eventually("the alarm is raised", || async {
        let counted = home.metric("failed_executed_total").await;
        (counted >= 1.0 && home.log().contains(&id)).then_some(())
    })
    .await;
    let found = service.settlement(&id).await;
    assert_eq!(found.text("state"), "failed", "the answer that was given stays: {found:?}");
    let (_, text) = home.audit();
    assert!(text.contains(&id), "the audit names it, executed by {foreign}: {text}");
}

/// K04, K19: the transaction died of a transfer by hand, and its step failed without another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_failed_without_a_transaction_and_is_executed_later_is_in_the_audit() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "1s");
    let service = home.serve().await;
    let all = U256::from(chain.node.token_balance(USDC, PAYER).await);
    let draft = Draft { value: all, ..Draft::default() };
    let (id, transaction) = settle_without_blocks(&chain, &service, &draft.v2()).await;
    sweep(&chain, &transaction).await;
    spend_first(&chain, USDC, PAYER).await;
    chain.node.mine().await;
    chain.node.resume_blocks().await;
    let failed = service.settlement_in(&id, "failed").await;
    assert_eq!(failed.body["executableUntil"], json!(draft.valid_before), "{failed:?}");

    chain.mint(PAYER, 1).await;
    let to = transaction["to"].as_str().expect("an address");
    let foreign = send_first(&chain, STRANGER, to, &transaction["input"]).await;
    eventually("the audit names the transaction that paid", || async {
        let (good, text) = home.audit();
        (good != 0 && text.contains(&id) && text.contains(&foreign)).then_some(())
    })
    .await;
}

/// K19: an authorization that is used up or over cannot be executed any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_payment_that_nobody_can_execute_any_more_says_nothing_of_the_kind() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "1s");
    let service = home.serve().await;
    let draft = Draft::default();
    let (id, _) = settle_without_blocks(&chain, &service, &draft.v2()).await;
    cancel(&chain, &draft).await;
    chain.node.mine().await;
    chain.node.resume_blocks().await;
    let failed = service.decided(&draft.v2()).await;
    assert!(!failed.is_good(), "{failed:?}");
    assert!(failed.body["extra"]["executableUntil"].is_null(), "{failed:?}");
    let found = service.settlement_in(&id, "failed").await;
    assert!(found.body["executableUntil"].is_null(), "{found:?}");
    home.assert_audit();
}

/// E07, K19: the chain takes the cancellation back, and our own transaction, which a later one waits for, pays then.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_payment_whose_block_is_taken_back_and_that_is_made_then_is_an_alarm() {
    let chain = Anvil::start_with(&["--block-time", "1", "--slots-in-an-epoch", "16"]).await;
    let home = Home::on(&chain).server("settle_wait", "1s");
    let service = home.serve().await;
    let draft = Draft::default();
    let (id, _) = settle_without_blocks(&chain, &service, &draft.v2()).await;
    cancel(&chain, &draft).await;
    let before = chain.node.quantity("eth_blockNumber", json!([])).await;
    chain.node.mine().await;
    chain.node.resume_blocks().await;
    let failed = service.decided(&draft.v2()).await;
    assert_eq!(failed.text("errorReason"), "invalid_exact_evm_nonce_already_used", "{failed:?}");
    let depth = chain.node.quantity("eth_blockNumber", json!([])).await - before;
    chain.node.call("anvil_reorg", json!([depth, []])).await;
    // The next one waits for its nonce, so it is sent again.
    assert!(service.decided(&Draft::default().v2()).await.is_good());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 20_000, "both have paid");
    eventually("the alarm is raised", || async {
        let counted = home.metric("failed_executed_total").await;
        (counted >= 1.0 && home.log().contains(&id)).then_some(())
    })
    .await;
    let found = service.settlement(&id).await;
    assert_eq!(found.text("state"), "failed", "the answer that was given stays: {found:?}");
}

/// Uses the authorization up by `cancelAuthorization`, before our transaction in the next block.
async fn cancel(chain: &Anvil, draft: &Draft) {
    send_first(chain, STRANGER, USDC, &json!(cancel_calldata(draft))).await;
}
