//! A clock that cannot be right ends nothing: neither a node's nor the machine's.

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    eventually,
    liar::Lie,
    payer::{Draft, now},
    proxy::Proxy,
    service::Home,
    stranger::settle_without_blocks,
};

/// K07: the only node's blocks are of the year 2106, or of 1970.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_an_impossible_time_make_payments_unavailable_and_not_expired() {
    for lie in [Lie::Future, Lie::Past] {
        let chain = Anvil::start().await;
        let proxy = Proxy::before(&chain.node.url).await;
        let home = Home::on(&chain).rpc(&[&proxy.url]).server("settle_wait", "1s");
        let service = home.serve().await;
        let under_way = Draft::default();
        let (id, _) = settle_without_blocks(&chain, &service, &under_way.v2()).await;
        chain.node.call("anvil_dropAllTransactions", serde_json::json!([])).await;
        proxy.tell(lie);
        chain.node.resume_blocks().await;
        service.ready_says(&["clock", "time of"]).await;
        let waiting = Draft::default();
        for (path, key) in [("/verify", "invalidReason"), ("/settle", "errorReason")] {
            let answer = service.post(path, &waiting.v2()).await;
            assert_eq!(answer.status, 503, "{lie:?} {path} {}: {answer:?}", answer.text(key));
        }
        assert_ne!(service.settlement(&id).await.text("state"), "failed", "{lie:?}: no such block ends anything");
        proxy.heal();
        for body in [under_way.v2(), waiting.v2()] {
            let settled = service.decided(&body).await;
            assert!(settled.is_good(), "{lie:?}: {settled:?}\n{}", home.log());
        }
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 20_000);
        home.assert_audit();
    }
}

/// K07: from the service's side the machine's clock is ten hours ahead.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_clock_is_far_from_the_chain_s_takes_no_payment_and_says_so() {
    let behind = (now() - 36_000).to_string();
    let chain = Anvil::start_with(&["--block-time", "1", "--timestamp", &behind]).await;
    let home = Home::on(&chain);
    let service = home.spawn();
    eventually("the service says why", || async {
        let ready = service.try_get("/ready").await?;
        (ready.status == 503 && ready.body.to_string().contains("clock")).then_some(())
    })
    .await;
    assert_eq!(service.post("/settle", &Draft::default().v2()).await.status, 503);
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0);
}
