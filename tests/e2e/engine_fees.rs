//! Payments that no block takes at their price are told of, and cost nothing more.

use alloy::signers::local::PrivateKeySigner;
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    eventually,
    node::parse_quantity,
    payer::{Draft, now},
    proxy::{Fault, Proxy, Times},
    service::{Answer, Home, Service},
    stranger::SEND,
};
use futures::future::join_all;
use serde_json::{Value, json};

async fn settle_all(service: &Service, count: usize) -> Vec<(Value, Answer)> {
    let bodies: Vec<_> = (0..count).map(|_| Draft::default().v2()).collect();
    let answers = join_all(bodies.iter().map(|body| service.post("/settle", body))).await;
    bodies.into_iter().zip(answers).collect()
}

async fn stored(service: &Service) -> usize {
    service.get("/settlements?limit=100").await.body["settlements"].as_array().map_or(0, Vec::len)
}

/// K10: an authorization that ends while it waits for a place is not signed for.
#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_that_ends_in_the_queue_costs_no_gas() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "30s").network("in_flight_max", 1);
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let first = Draft::default();
    let valid_before = now() + 10;
    let ending = Draft { valid_before, ..Draft::of(PrivateKeySigner::random()) };
    chain.mint(&ending.from.to_string(), 10_000).await;
    chain.node.call("anvil_dropAllTransactions", json!([])).await;
    let resume = async {
        eventually("the first is sent and the authorization over", || async {
            (now() > valid_before && chain.node.transactions_of(GAS_WALLET).await == 0).then_some(())
        })
        .await;
        chain.node.resume_blocks().await;
    };
    let (first_body, ending_body) = (first.v2(), ending.v2());
    let second = async {
        eventually("the first has the place", || async { (stored(&service).await == 1).then_some(()) }).await;
        service.post("/settle", &ending_body).await
    };
    let (first, second, ()) = futures::join!(service.post("/settle", &first_body), second, resume);
    assert!(first.is_good(), "{first:?}\n{}", home.log());
    assert!(!second.is_good() && second.text("errorReason") != "settlement_pending", "{second:?}\n{}", home.log());
    let after = service.decided(&Draft::default().v2()).await;
    assert!(after.is_good(), "{after:?}");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 2, "nothing is sent for it: {second:?}");
}

/// K11: while the oldest transaction needs more than the ceiling, a payment is refused before it is claimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_fee_above_the_ceiling_is_told_of_and_no_further_payment_is_claimed_meanwhile() {
    const PLACES: usize = 4;
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "2s").network("in_flight_max", 4);
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let under_way = settle_all(&service, PLACES).await;
    assert!(under_way.iter().all(|(_, answer)| answer.text("errorReason") == "settlement_pending"), "{under_way:?}");
    let mine_dear = async || {
        chain.node.call("anvil_setNextBlockBaseFeePerGas", json!(["0xba43b7400"])).await;
        chain.node.mine().await;
    };
    let ready = eventually("/ready says that the base fee has left the wallet behind", || async {
        mine_dear().await;
        let ready = service.get("/ready").await;
        let text = ready.body.to_string().to_lowercase();
        (text.contains("base fee") || text.contains("underpriced")).then_some(ready)
    })
    .await;
    assert!(ready.body.to_string().contains("eip155:84532"), "{ready:?}");
    let late = Draft::default();
    let refused = service.post("/settle", &late.v2()).await;
    assert_eq!((refused.status, stored(&service).await), (503, PLACES), "it is not claimed: {refused:?}");
    assert!(home.metric("fee_ceiling_reached_total").await > 0.0, "{}", home.log());
    chain.node.call("anvil_setNextBlockBaseFeePerGas", json!(["0x3b9aca00"])).await;
    chain.node.resume_blocks().await;
    for (body, _) in under_way {
        assert!(service.decided(&body).await.is_good(), "{}", home.log());
    }
    assert!(service.decided(&late.v2()).await.is_good(), "{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 50_000);
    home.assert_audit();
}

/// K13: transactions under way are never owed more than the wallet has, and `/ready` does not flap.
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_runs_dry_signs_no_more_than_it_can_pay_for() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "1s").network("gas_balance_min", "1");
    let service = home.serve().await;
    let first = service.decided(&Draft::default().v2()).await;
    assert_eq!(service.stop(), Some(0));
    let first = chain.node.call("eth_getTransactionByHash", json!([first.text("transaction")])).await;
    let cost = |transaction: &Value| parse_quantity(&transaction["gas"]) * parse_quantity(&transaction["maxFeePerGas"]);
    // Enough for three and a half.
    let balance = cost(&first) * 7 / 2;
    chain.node.call("anvil_setBalance", json!([GAS_WALLET, format!("{balance:#x}")])).await;
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let mut changes = 0;
    let mut last = service.get("/ready").await.status;
    for _ in 0..20 {
        settle_all(&service, 2).await;
        let status = service.get("/ready").await.status;
        changes += u32::from(status != last);
        last = status;
    }
    let pool = chain.node.call("txpool_content", json!([])).await;
    let ours = pool["pending"].as_object().into_iter().chain(pool["queued"].as_object()).flatten();
    let ours = ours.filter(|(from, _)| from.eq_ignore_ascii_case(GAS_WALLET));
    let owed: u128 =
        ours.flat_map(|(_, by_nonce)| by_nonce.as_object().into_iter().flatten()).map(|(_, tx)| cost(tx)).sum();
    assert!(owed > 0 && owed <= balance, "{owed} wei are owed, {balance} are there");
    assert!(changes <= 1, "/ready changes {changes} times");
    chain.node.call("anvil_setBalance", json!([GAS_WALLET, "0x8ac7230489e80000"])).await;
    chain.node.resume_blocks().await;
    eventually("all are settled", || async {
        let open = service.get("/settlements?state=broadcast").await.body["settlements"].as_array()?.len()
            + service.get("/settlements?state=signed").await.body["settlements"].as_array()?.len();
        (open == 0).then_some(())
    })
    .await;
    home.assert_audit();
}

/// K20: what the node says is in the log once, in `/ready`, in a metric, and the buyer reads what is true.
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_whose_transactions_no_node_takes_says_so() {
    const WORDS: &str = "transaction underpriced: gas tip cap 1000000, minimum needed 25000000000";
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&proxy.url]).server("settle_wait", "3s").network("in_flight_max", 24);
    let service = home.serve().await;
    proxy.fail(SEND, Fault::Refuse(-32000, WORDS), Times::Always);
    let answers = settle_all(&service, 24).await;
    // Once a node has named a price above the ceiling, nothing more is claimed.
    let (claimed, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, answer)| answer.status == 200);
    assert!(!claimed.is_empty() && refused.iter().all(|(_, answer)| answer.status == 503), "{answers:?}");
    for (_, answer) in &claimed {
        assert_eq!(answer.text("errorReason"), "settlement_pending", "{answer:?}");
        let message = answer.text("errorMessage");
        assert!(message.contains("stored, not yet accepted by any node"), "{message}");
    }
    let ready = service.ready_says(&["no node takes"]).await;
    assert!(ready.body.to_string().contains("minimum needed 25000000000"), "in the node's words: {ready:?}");
    let lines = || home.log().lines().filter(|line| line.contains("minimum needed")).count();
    let said = lines();
    assert!((1..=4).contains(&said), "{said} lines for 24 payments\n{}", home.log());
    let (resent, again) = (proxy.calls(SEND), u64::try_from(claimed.len()).expect("few"));
    eventually("they are sent again", || async { (proxy.calls(SEND) > resent + again).then_some(()) }).await;
    assert!(lines() <= said + 1, "a repetition is not news\n{}", home.log());
    assert!(home.metric("gas_wallet_refused").await > 0.0);
    proxy.heal();
    for (body, _) in answers {
        assert!(service.decided(&body).await.is_good(), "{}", home.log());
    }
    let ready = service.get("/ready").await;
    assert!(!ready.body.to_string().contains("no node takes"), "{ready:?}");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 240_000);
    home.assert_audit();
}
