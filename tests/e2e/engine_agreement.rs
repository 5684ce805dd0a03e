//! With several nodes no single one decides about money: whatever one of them lies about, and whenever.

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, PAYER, USDC},
    liar::Lie,
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::{Answer, Home, Service},
    stranger::{SEND, Way, overtake},
};
use futures::{
    StreamExt,
    future::{self, join_all},
    stream,
};
use serde_json::{Value, json};

/// Payments that are made at once.
const PAYMENTS: u32 = 3;

/// Starts a chain whose payer has its money for longer than any node is behind.
async fn start() -> Anvil {
    let chain = Anvil::start().await;
    chain.node.mine_blocks(6).await;
    chain
}

async fn settle_some(service: &Service) -> Vec<Answer> {
    let bodies: Vec<_> = (0..PAYMENTS).map(|_| Draft::default().v2()).collect();
    join_all(bodies.iter().map(|body| service.post("/settle", body))).await
}

async fn paid(chain: &Anvil) -> u128 {
    chain.node.token_balance(USDC, PAYEE).await
}

/// Checks that run at a time, each with a chain of its own.
const AT_ONCE: usize = 3;

/// Runs a check for every lie and fails with those that got through.
async fn for_every_lie<F: Future<Output = ()> + Send + 'static>(check: impl Fn(usize, Lie) -> F) {
    let checks = Lie::ALL.into_iter().enumerate().map(|(number, lie)| {
        let check = tokio::spawn(check(number, lie));
        async move {
            let failure = check.await.err()?;
            let why = failure.into_panic().downcast::<String>().map_or_else(|_| String::new(), |why| *why);
            Some(format!("{lie:?}: {why}"))
        }
    });
    let got_through: Vec<_> = stream::iter(checks).buffer_unordered(AT_ONCE).filter_map(future::ready).collect().await;
    assert!(got_through.is_empty(), "{} of {}:\n{}", got_through.len(), Lie::ALL.len(), got_through.join("\n"));
}

/// K06, K07: each of the three in turn; the liar begins while the service runs, and goes on over a restart.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_nodes_lies_and_payments_settle_as_if_it_did_not() {
    for_every_lie(|_, lie| async move {
        let chain = start().await;
        let nodes = Proxy::three_before(&chain.node.url).await;
        let home = Home::on(&chain).rpc(&nodes.each_ref().map(|node| node.url.as_str()));
        let mut service = home.serve().await;
        for (place, liar) in nodes.iter().enumerate() {
            liar.tell(lie);
            for when in ["while it runs", "from the start"] {
                let before = paid(&chain).await;
                let answers = settle_some(&service).await;
                assert!(answers.iter().all(Answer::is_good), "{place} {when}: {answers:?}\n{}", home.log());
                assert_eq!(paid(&chain).await, before + u128::from(PAYMENTS) * 10_000, "{place} {when}");
                assert_eq!(service.get("/ready").await.status, 200, "{place} {when}");
                drop(service);
                service = home.serve().await;
            }
            liar.heal();
        }
        home.assert_audit();
    })
    .await;
}

/// K06: a stranger has executed the payment, and one of the nodes hides it.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_a_stranger_has_executed_is_settled_though_one_of_three_nodes_hides_it() {
    for lie in [Lie::NoLogs, Lie::NoReceipt, Lie::Reverted, Lie::Blocks] {
        let chain = Anvil::start().await;
        let nodes = Proxy::three_before(&chain.node.url).await;
        let home = Home::on(&chain).rpc(&nodes.each_ref().map(|node| node.url.as_str())).server("settle_wait", "1s");
        let service = home.serve().await;
        for liar in &nodes {
            liar.tell(lie);
            let body = Draft::default().v2();
            let overtaken = overtake(&chain, &service, &body, Way::Directly).await;
            let settled = service.decided(&body).await;
            assert!(settled.is_good(), "{lie:?}: {settled:?}\n{}", home.log());
            assert_eq!(settled.text("transaction"), overtaken.foreign, "{lie:?}: {settled:?}");
            liar.heal();
        }
        home.assert_audit();
    }
}

/// K06, K07: two that disagree leave the payment open, and it ends when they agree again.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_nodes_lies_and_no_answer_is_wrong() {
    for_every_lie(|number, lie| async move {
        let chain = start().await;
        let [liar, honest, _] = Proxy::three_before(&chain.node.url).await;
        let urls = if number % 2 == 0 { [&liar.url, &honest.url] } else { [&honest.url, &liar.url] };
        let home = Home::on(&chain).rpc(&urls.map(String::as_str)).server("settle_wait", "3s");
        let service = home.serve().await;
        liar.tell(lie);
        let body = Draft::default().v2();
        let answer = service.post("/settle", &body).await;
        if answer.is_good() {
            assert_eq!(paid(&chain).await, 10_000, "{lie:?}: {answer:?}");
        } else {
            let cannot_say = answer.status == 503 || answer.text("errorReason") == "settlement_pending";
            assert!(cannot_say, "{lie:?}: {answer:?}");
            let ready = service.get("/ready").await;
            let says = ["disagree", "endpoint", "node"].iter().any(|word| ready.body.to_string().contains(word));
            assert!(says, "{lie:?}: an operator learns why: {ready:?}");
        }
        liar.heal();
        let settled = service.decided(&body).await;
        let is_settled = settled.is_good() || settled.text("errorReason") == "duplicate_settlement";
        assert!(is_settled, "{lie:?}: {settled:?}\n{}", home.log());
        assert_eq!(paid(&chain).await, 10_000, "{lie:?}");
        home.assert_audit();
    })
    .await;
}

/// K06, K18: a provider's key has expired: its endpoint answers every call, and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_nodes_answers_with_errors_alone_and_payments_settle_after_a_while() {
    let chain = start().await;
    let [bad, good, _] = Proxy::three_before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&bad.url, &good.url]).server("settle_wait", "3s");
    let service = home.serve().await;
    bad.fail("*", Fault::Refuse(-32000, "invalid api key"), Times::Always);
    for _ in 0..2 {
        let settled = service.decided(&Draft::default().v2()).await;
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    }
    home.assert_audit();
}

/// K06, K18: one of the two does not answer from the start, and the other one invents a transfer.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_down_at_the_start_is_missed_and_the_other_s_word_alone_is_no_success() {
    let chain = Anvil::start().await;
    let [liar, honest, _] = Proxy::three_before(&chain.node.url).await;
    honest.fail("*", Fault::LoseRequest, Times::Always);
    let home = Home::on(&chain).rpc(&[&liar.url, &honest.url]).server("settle_wait", "3s");
    let service = home.serve().await;
    let draft = Draft::default();
    liar.invent_receipts(GAS_WALLET, USDC, logs(&draft));
    let answer = service.post("/settle", &draft.v2()).await;
    assert!(!answer.is_good(), "{answer:?}\n{}", home.log());
    assert_eq!(paid(&chain).await, 0);
    liar.heal();
    honest.heal();
    let settled = service.decided(&draft.v2()).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(paid(&chain).await, 10_000);
    home.assert_audit();
}

/// K06: the transfer is on no chain, and one node shows a receipt with the log that it would have.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_one_of_several_nodes_invents_is_no_success() {
    for count in [2, 3] {
        let chain = Anvil::start().await;
        let nodes = Proxy::three_before(&chain.node.url).await;
        let urls: Vec<_> = nodes.iter().take(count).map(|node| node.url.as_str()).collect();
        let home = Home::on(&chain).rpc(&urls).server("settle_wait", "5s");
        let service = home.serve().await;
        let draft = Draft::default();
        for node in &nodes[1..] {
            node.fail(SEND, Fault::LoseRequest, Times::Always);
        }
        nodes[0].invent_receipts(GAS_WALLET, USDC, logs(&draft));
        let answer = service.post("/settle", &draft.v2()).await;
        assert_eq!(answer.text("errorReason"), "settlement_pending", "{count} nodes: {answer:?}\n{}", home.log());
        assert_eq!(paid(&chain).await, 0);
        for node in &nodes {
            node.heal();
        }
        let settled = service.decided(&draft.v2()).await;
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
        assert_eq!((paid(&chain).await, chain.node.transactions_of(GAS_WALLET).await), (10_000, 1));
        home.assert_audit();
    }
}

/// The logs that the transfer would write: `AuthorizationUsed` and `Transfer`.
fn logs(draft: &Draft) -> Vec<Value> {
    let word = |address: &str| format!("0x{:0>64}", address.trim_start_matches("0x").to_lowercase());
    let log = |index: u8, topics: Value, data: String| json!({"address": USDC.to_lowercase(), "topics": topics, "data": data, "logIndex": format!("{index:#x}")});
    let used = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5";
    let transfer = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
    let amount = format!("0x{:064x}", draft.value);
    vec![
        log(0, json!([used, word(PAYER), draft.nonce]), "0x".to_owned()),
        log(1, json!([transfer, word(PAYER), word(PAYEE)]), amount),
    ]
}
