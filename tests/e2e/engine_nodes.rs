//! A node that lacks what others have, or limits it, serves as well as it can.

use e2e::{
    anvil::{Anvil, PAYEE, USDC},
    payer::Draft,
    proxy::Proxy,
    service::{Home, text_of},
};

/// Methods that not every node has, and without which a payment can be settled.
const OPTIONAL: [&str; 7] = [
    "eth_feeHistory",
    "eth_maxPriorityFeePerGas",
    "eth_getBlockReceipts",
    "eth_simulateV1",
    "eth_sendRawTransactionSync",
    "debug_traceTransaction",
    "trace_transaction",
];

async fn settles(proxy: &Proxy, chain: &Anvil, what: &str) -> Home {
    let home = Home::on(chain).rpc(&[&proxy.url]);
    let service = home.serve().await;
    let before = chain.node.token_balance(USDC, PAYEE).await;
    for _ in 0..3 {
        let settled = service.post("/settle", &Draft::default().v2()).await;
        assert!(settled.is_good(), "{what}: {settled:?}\n{}", home.log());
    }
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, before + 30_000, "{what}");
    drop(service);
    drop(home.serve().await);
    home.assert_audit();
    home
}

/// K21: batches are an optimisation.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_refuses_batches_or_large_ones_is_asked_one_by_one() {
    for calls in [0, 1, 3] {
        let chain = Anvil::start().await;
        let proxy = Proxy::before(&chain.node.url).await;
        proxy.batch_max(calls);
        let home = settles(&proxy, &chain, &format!("at most {calls} calls")).await;
        let doctor = text_of(&home.run(&["doctor"]));
        assert!(doctor.contains("batch"), "at most {calls} calls: {doctor}");
    }
}

/// K21.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_the_methods_that_not_every_node_has_settles_payments() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    proxy.without(&OPTIONAL);
    settles(&proxy, &chain, "without optional methods").await;
}

/// K21: more than the newest blocks is not needed while nothing goes wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_the_state_of_few_blocks_and_short_ranges_of_logs_settles_payments() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    proxy.keep_state_of(8);
    proxy.log_range_max(5, "query exceeds max block range 5");
    settles(&proxy, &chain, "a small node").await;
}

/// K21: it takes transactions, and sees their blocks later than they are there.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_some_blocks_behind_settles_payments() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    // The payer has its money for longer than that.
    chain.node.mine_blocks(4).await;
    proxy.lag(3);
    settles(&proxy, &chain, "three blocks behind").await;
}
