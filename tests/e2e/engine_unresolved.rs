//! Every settlement ends: by a proof, however a node limits the questions, or as `unresolved` where no proof is to be
//! had. Until then it holds nobody up.

use std::time::{Duration, Instant};

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, PAYER, USDC},
    eventually,
    payer::Draft,
    permit2::{Permit2Draft, allow},
    proxy::{Fault, Proxy, Times},
    service::{Answer, Home, Service, Stored, text_of},
    stranger::{Overtaken, Way, overtake, overtake_late, settle_without_blocks, spend_first, sweep_and_execute},
};
use futures::future::join_all;
use serde_json::Value;

const TRACES: [&str; 4] = ["debug_traceTransaction", "debug_traceBlockByNumber", "trace_transaction", "trace_block"];

async fn start(wait: &str) -> (Anvil, Proxy, Home, Service) {
    start_in(Stored::of_environment(), wait).await
}

async fn start_in(stored: Stored, wait: &str) -> (Anvil, Proxy, Home, Service) {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).stored_in(stored).rpc(&[&proxy.url]);
    let home = home.server("settle_wait", wait).network("in_flight_max", 2);
    let service = home.serve().await;
    (chain, proxy, home, service)
}

/// Answers no question that shows who has executed a payment but us.
fn withhold_proofs(proxy: &Proxy) {
    proxy.without(&TRACES);
    proxy.without(&["eth_getLogs", "eth_getBlockReceipts"]);
    let ours = GAS_WALLET.to_lowercase();
    proxy.lie("eth_getTransactionReceipt", move |_, receipt| {
        if receipt["from"].as_str() == Some(ours.as_str()) { receipt } else { Value::Null }
    });
}

async fn unresolved(chain: &Anvil, service: &Service, count: usize) -> Vec<Overtaken> {
    let mut overtaken = vec![];
    for _ in 0..count {
        overtaken.push(overtake(chain, service, &Draft::default().v2(), Way::Directly).await);
    }
    for Overtaken { id, .. } in &overtaken {
        service.settlement_in(id, "unresolved").await;
    }
    overtaken
}

fn ids(listed: &Answer) -> Vec<&str> {
    let rows = listed.body["settlements"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["id"].as_str()).collect()
}

async fn settles(service: &Service, home: &Home) {
    let settled = service.decided(&Draft::default().v2()).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
}

/// K01, K02: as many as the wallet has places; both places are free again.
#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_without_proof_becomes_unresolved_blocks_nobody_and_ends_once_a_proof_can_be_had() {
    let (chain, proxy, home, service) = start("1s").await;
    withhold_proofs(&proxy);
    let overtaken = unresolved(&chain, &service, 2).await;
    settles(&service, &home).await;
    let ready = service.ready_says(&["unresolved"]).await;
    assert_eq!(ready.status, 200, "two payments without proof close no network: {ready:?}");
    let listed = service.get("/settlements?state=unresolved").await;
    assert_eq!(ids(&listed).len(), 2, "{listed:?}");
    let (_, text) = home.audit();
    assert!(text.contains("unresolved"), "the audit knows them: {text}");
    for Overtaken { id, .. } in &overtaken {
        assert!(ids(&listed).contains(&id.as_str()), "{listed:?}");
        assert!(home.log().contains(id.as_str()), "an operator is told");
    }

    assert_eq!(service.stop(), Some(0));
    let service = home.serve().await;
    for Overtaken { id, .. } in &overtaken {
        assert_eq!(service.settlement(id).await.text("state"), "unresolved", "also after a restart");
    }
    settles(&service, &home).await;

    proxy.heal();
    for Overtaken { id, foreign, .. } in &overtaken {
        let settled = service.settlement_in(id, "settled").await;
        assert_eq!(settled.text("transaction"), foreign, "{settled:?}");
    }
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 40_000);
    home.assert_audit();
}

fn resolve(home: &Home, id: &str, word: &str, reason: &[&str]) -> (bool, String) {
    let output = home.run(&[&["settlement", id, "--resolve", word], reason].concat());
    (output.status.success(), text_of(&output))
}

/// K01: the operator has looked where the service cannot.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_s_word_with_a_reason_ends_an_unresolved_settlement_and_overrides_no_proof() {
    the_operator_s_word_with_a_reason_ends_an_unresolved_settlement_and_overrides_no_proof_in(Stored::of_environment())
        .await;
}

pub async fn the_operator_s_word_with_a_reason_ends_an_unresolved_settlement_and_overrides_no_proof_in(stored: Stored) {
    let (chain, proxy, home, service) = start_in(stored, "1s").await;
    let proven = service.decided(&Draft::default().v2()).await;
    assert!(proven.is_good(), "{proven:?}");
    withhold_proofs(&proxy);
    let overtaken = unresolved(&chain, &service, 2).await;
    let (first, second) = (&overtaken[0], &overtaken[1]);

    let settled = format!("settled:{}", first.foreign);
    let (taken, text) = resolve(&home, &first.id, &settled, &[]);
    assert!(!taken, "a reason is needed: {text}");
    let (taken, text) = resolve(&home, &first.id, &settled, &["--reason", "seen on the explorer"]);
    assert!(taken, "beside the service: {text}");
    let found = service.settlement_in(&first.id, "settled").await;
    assert_eq!(found.text("transaction"), first.foreign, "{found:?}");
    assert!(found.body.to_string().contains("seen on the explorer"), "{found:?}");

    assert_eq!(service.stop(), Some(0));
    let (taken, text) = resolve(&home, &second.id, "failed", &["--reason", "refunded by hand"]);
    assert!(taken, "without the service: {text}");
    let service = home.serve().await;
    let found = service.settlement(&second.id).await;
    assert_eq!(found.text("state"), "failed", "{found:?}");
    let shown = text_of(&home.run(&["settlement", &second.id]));
    for text in [found.body.to_string(), shown] {
        assert!(text.contains("refunded by hand"), "{text}");
    }

    let decided = [(first.id.as_str(), "settled"), (&second.id, "failed"), (proven.settlement_id(), "settled")];
    for (id, state) in decided {
        for word in ["failed", &settled] {
            let (taken, text) = resolve(&home, id, word, &["--reason", "another word"]);
            assert!(!taken, "{id} is {state} already: {text}");
            assert_eq!(service.settlement(id).await.text("state"), state);
        }
    }
    let listed = service.get("/settlements?state=unresolved").await;
    assert!(ids(&listed).is_empty(), "{listed:?}");
}

/// K01: providers' limits, in their words.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_the_range_of_logs_keeps_no_proof_back() {
    for (blocks, words) in [
        (5, "query exceeds max block range 5"),
        (10, "You can make eth_getLogs requests with up to a 10 block range. Based on your parameters"),
        (2, "eth_getLogs range is too large, max is 2 blocks"),
        (1, "block range is too wide"),
    ] {
        let (chain, proxy, home, service) = start("1s").await;
        let overtaken = overtake_late(&chain, &proxy, &service, &Draft::default().v2(), 15).await;
        proxy.heal();
        proxy.log_range_max(blocks, words);
        let settled = service.settlement_in(&overtaken.id, "settled").await;
        assert_eq!(settled.text("transaction"), overtaken.foreign, "{words}: {settled:?}");
        home.assert_audit();
    }
}

/// K01: the block of our transaction is older than the state that the node keeps.
#[tokio::test(flavor = "multi_thread")]
async fn state_that_nodes_have_thrown_away_keeps_no_settlement_pending_and_no_network_closed() {
    let (chain, proxy, home, service) = start("1s").await;
    let all = chain.node.token_balance(USDC, PAYER).await;
    let draft = Draft { value: alloy::primitives::U256::from(all), ..Draft::default() };
    let (id, transaction) = settle_without_blocks(&chain, &service, &draft.v2()).await;
    service.kill();
    spend_first(&chain, USDC, PAYER).await;
    chain.node.mine_blocks(30).await;
    chain.node.resume_blocks().await;
    proxy.keep_state_of(4);
    let service = home.serve().await;
    let failed = service.settlement_in(&id, "failed").await;
    assert_eq!(failed.body["transaction"], transaction["hash"], "{failed:?}");
    proxy.heal();
    home.assert_audit();
}

/// K01: Permit2 writes no log with its nonce; inside a contract's call only a trace shows the transfer.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_only_a_trace_shows_is_settled_or_unresolved_and_never_failed() {
    let (chain, proxy, home, service) = start("1s").await;
    allow(&chain, PAYER, u128::MAX).await;
    proxy.without(&TRACES);
    let overtaken = overtake(&chain, &service, &Permit2Draft::default().body(), Way::ThroughContract).await;
    let found = eventually("the settlement leaves the worker", || async {
        let found = service.settlement(&overtaken.id).await;
        (found.text("state") != "signed" && found.text("state") != "broadcast").then_some(found)
    })
    .await;
    match found.text("state") {
        "unresolved" => {}
        "settled" => assert_eq!(found.text("transaction"), overtaken.foreign, "{found:?}"),
        state => panic!("{state}: {found:?}"),
    }
    drop(service);
    let service = home.serve().await;
    settles(&service, &home).await;
    proxy.heal();
    let settled = service.settlement_in(&overtaken.id, "settled").await;
    assert_eq!(settled.text("transaction"), overtaken.foreign, "{settled:?}");
    home.assert_audit();
}

/// K01, K04: the nonce went to a transfer by hand, and the payment to a stranger, whose proof is withheld.
#[tokio::test(flavor = "multi_thread")]
async fn a_used_nonce_whose_payment_nobody_can_explain_holds_no_place() {
    let (chain, proxy, home, service) = start("1s").await;
    allow(&chain, PAYER, u128::MAX).await;
    withhold_proofs(&proxy);
    let mut overtaken = vec![];
    for _ in 0..2 {
        let (id, transaction) = settle_without_blocks(&chain, &service, &Permit2Draft::default().body()).await;
        let foreign = sweep_and_execute(&chain, &transaction).await;
        chain.node.mine().await;
        chain.node.resume_blocks().await;
        overtaken.push((id, foreign));
    }
    for (id, _) in &overtaken {
        service.settlement_in(id, "unresolved").await;
    }
    settles(&service, &home).await;
    proxy.heal();
    for (id, foreign) in &overtaken {
        let settled = service.settlement_in(id, "settled").await;
        assert_eq!(settled.text("transaction"), foreign, "{settled:?}");
    }
}

/// K03: the question for a proof takes 4.5 s each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_proof_delays_no_other_payment() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&proxy.url]).server("settle_wait", "3s");
    let service = home.serve().await;
    allow(&chain, PAYER, u128::MAX).await;
    for method in TRACES.into_iter().chain(["eth_getLogs"]) {
        proxy.fail(method, Fault::Delay(Duration::from_millis(4500)), Times::Always);
    }
    let overtaken = overtake(&chain, &service, &Permit2Draft::default().body(), Way::ThroughContract).await;
    let asked = Instant::now();
    let bodies: Vec<_> = (0..4).map(|_| Draft::default().v2()).collect();
    let answers = join_all(bodies.iter().map(|body| service.post("/settle", body))).await;
    assert!(answers.iter().all(Answer::is_good), "{:?}: {answers:?}", asked.elapsed());
    let settled = service.settlement_in(&overtaken.id, "settled").await;
    assert_eq!(settled.text("transaction"), overtaken.foreign, "{settled:?}");
}
