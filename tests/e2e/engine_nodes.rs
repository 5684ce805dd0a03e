//! A node that lacks what others have, or limits it, serves as well as it can.

use std::{net::TcpListener, sync::Arc, time::Duration};

use e2e::{
    anvil::{Anvil, GAS_WALLET_KEY, PAYEE, USDC},
    eventually,
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::{
        Home,
        config::{asset, table},
        text_of,
    },
};
use serde_json::{Value, json};

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

/// Scenario 31: the word of a node that tells of new blocks is a reason to ask, and nothing depends on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_tells_of_blocks_falls_silent_or_lies_keeps_no_payment_back() {
    let chain = Anvil::start().await;
    let other = Anvil::start_as("1", &["--block-time", "1"]).await;
    other.node.mine_blocks(1_000).await;
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let websocket = |chain: &Anvil| chain.node.url.replace("http:", "ws:");
    let cases = [
        ("its own node", websocket(&chain), "accepts a subscription"),
        ("another chain, far ahead", websocket(&other), "accepts a subscription"),
        ("nobody", "ws://127.0.0.1:9".to_owned(), "the WebSocket cannot be opened"),
        ("says nothing", format!("ws://{}", silent.local_addr().expect("bound")), "the WebSocket cannot be opened"),
    ];
    for (name, websocket, seen) in cases {
        let home = Home::on(&chain).network("websocket", websocket);
        let service = home.serve().await;
        for _ in 0..3 {
            let settled = service.post("/settle", &Draft::default().v2()).await;
            assert!(settled.is_good(), "{name}: {settled:?}\n{}", home.log());
        }
        let doctor = text_of(&home.run(&["doctor", "--verbose"]));
        assert!(doctor.contains("websocket") && doctor.contains(seen), "{name}: {doctor}");
        let tells = home.log().contains("a node tells of new blocks by WebSocket");
        assert_eq!(tells, seen.starts_with("accepts"), "{name}: {}", home.log());
        home.assert_audit();
    }
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

/// A payment on another chain.
fn on_chain(id: u64) -> Value {
    let mut draft = Draft::default();
    draft.domain.chain_id = Some(alloy::primitives::U256::from(id));
    let mut body = draft.v2();
    for network in ["/paymentPayload/accepted/network", "/paymentRequirements/network"] {
        *body.pointer_mut(network).expect(network) = json!(format!("eip155:{id}"));
    }
    body
}

/// H09: requests for a network whose nodes are away wait, and others go on beside them.
#[tokio::test(flavor = "multi_thread")]
async fn the_outage_of_one_network_s_nodes_leaves_the_others_at_full_service() {
    const OTHER: u64 = 421_614;
    let chain = Anvil::start().await;
    let other = Anvil::start_as(&OTHER.to_string(), &["--block-time", "1"]).await;
    let proxy = Proxy::before(&other.node.url).await;
    let network = table([
        ("rpc", vec![proxy.url.clone()].into()),
        ("gas_wallets", vec![GAS_WALLET_KEY].into()),
        ("testnet", true.into()),
        ("assets", vec![asset(USDC)].into()),
    ]);
    let home = Home::on(&chain).more(&format!("eip155:{OTHER}"), network);
    let service = Arc::new(home.serve().await);
    let settles = || async { service.post("/settle", &on_chain(OTHER)).await.is_good().then_some(()) };
    eventually("the other network settles", settles).await;
    let outages = [
        ("it never answers", Fault::Delay(Duration::from_mins(5))),
        ("it answers with errors", Fault::Status(500)),
        ("it breaks connections", Fault::LoseRequest),
    ];
    for (what, fault) in outages {
        proxy.fail("*", fault, Times::Always);
        let waiting = (0..32).map(|_| {
            let service = Arc::clone(&service);
            tokio::spawn(async move { service.post("/settle", &on_chain(OTHER)).await })
        });
        let waiting: Vec<_> = waiting.collect();
        for _ in 0..5 {
            let payment = Draft::default().v2();
            assert!(service.post("/verify", &payment).await.is_good(), "{what}");
            let settled = service.post("/settle", &payment).await;
            assert!(settled.is_good(), "{what}: {settled:?}");
        }
        for answer in waiting {
            let answer = answer.await.expect("no panic");
            assert!(!answer.is_good(), "{what}: {answer:?}");
        }
        proxy.heal();
        eventually("it settles again", settles).await;
    }
    drop(service);
    home.assert_audit();
}
