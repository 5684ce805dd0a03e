//! Nodes that answer a send with its block (EIP-7966): their word saves time, and decides nothing.

use std::time::{Duration, Instant};

use e2e::{
    anvil::{Anvil, PAYEE, USDC},
    eventually,
    node::parse_quantity,
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::Home,
    stranger::SEND,
};
use serde_json::{Value, json};

/// The method.
const SEND_SYNC: &str = "eth_sendRawTransactionSync";

/// The usual time between blocks, as far as the service knows.
const BLOCK_TIME: Duration = Duration::from_secs(8);

/// Makes a block of the next transaction that comes; returns the moment.
async fn mine_next(chain: &Anvil) -> Instant {
    eventually("a transaction waits", || async {
        let pool = chain.node.try_call("txpool_status", json!([])).await?;
        (parse_quantity(&pool["pending"]) > 0).then_some(())
    })
    .await;
    chain.node.mine().await;
    Instant::now()
}

/// Settles a payment whose block is there long before it is expected; returns the time from then on.
async fn settle_early(chain: &Anvil, home: &Home) -> Duration {
    let service = home.serve().await;
    let [first, second] = [(), ()].map(|()| Draft::default().v2());
    let (settled, _) = tokio::join!(service.decided(&first), mine_next(chain));
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    // A block has been seen to come: now the next one is expected at a time.
    let (settled, mined) = tokio::join!(service.decided(&second), mine_next(chain));
    let took = mined.elapsed();
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    drop(service);
    home.assert_audit();
    took
}

/// Scenario 32, and its other side: the answer comes with the block, which is looked at then and not when it is expected.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_includes_a_payment_is_looked_at_as_soon_as_the_answer_to_its_send_comes() {
    for has_it in [true, false] {
        let chain = Anvil::start_with(&["--no-mining"]).await;
        let proxy = Proxy::before(&chain.node.url).await;
        if has_it {
            proxy.with_send_sync();
        }
        let home = Home::on(&chain).rpc(&[&proxy.url]).network("block_time", format!("{}s", BLOCK_TIME.as_secs()));
        let took = settle_early(&chain, &home).await;
        assert_eq!(took < BLOCK_TIME / 8, has_it, "after {took:?}\n{}", home.log());
        let calls = proxy.calls(SEND_SYNC);
        assert!(if has_it { calls == 2 } else { calls == 1 }, "a node that has not got it is asked once: {calls}");
    }
}

/// Scenario 32: answered falsely, late, with an error or not at all, a payment is settled all the same, once, and by the
/// proof alone.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_a_send_that_waits_for_its_block_is_believed() {
    let receipt = |status: &str, number: &str| {
        json!({
            "status": status, "blockNumber": number, "blockHash": format!("0x{}", "ab".repeat(32)),
            "transactionHash": format!("0x{}", "cd".repeat(32)), "gasUsed": "0x1", "logs": [],
        })
    };
    let cases: [(&str, Fault); 8] = [
        (
            "it waits no longer",
            Fault::Refuse(4, "the transaction was added to the mempool but was not processed in 2s"),
        ),
        ("it has not got it", Fault::Refuse(-32601, "the method does not exist or is not available")),
        ("it answers late", Fault::Delay(Duration::from_mins(5))),
        ("its answer is lost", Fault::LoseAnswer),
        ("it says nothing", Fault::Replace(Value::Null)),
        ("it says that it has failed", Fault::Replace(receipt("0x0", "0x1"))),
        ("it invents a success", Fault::Pretend(receipt("0x1", "0x3"))),
        ("it invents a block far ahead", Fault::Pretend(receipt("0x1", "0xf4240"))),
    ];
    for (name, fault) in cases {
        let chain = Anvil::start().await;
        let proxy = Proxy::before(&chain.node.url).await;
        proxy.with_send_sync();
        proxy.fail(SEND_SYNC, fault, Times::Always);
        let home = Home::on(&chain).rpc(&[&proxy.url]);
        let service = home.serve().await;
        let before = chain.node.token_balance(USDC, PAYEE).await;
        for _ in 0..2 {
            let settled = service.decided(&Draft::default().v2()).await;
            assert!(settled.is_good(), "{name}: {settled:?}\n{}", home.log());
        }
        // The first one alone is lost, and the receipt is there: a lie would be a success.
        proxy.fail(SEND, Fault::Refuse(-32000, "request timed out"), Times::Next(1));
        let settled = service.decided(&Draft::default().v2()).await;
        assert!(settled.is_good(), "{name}: {settled:?}\n{}", home.log());
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, before + 30_000, "{name}");
        drop(service);
        home.assert_audit();
    }
}
