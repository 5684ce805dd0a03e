//! Nothing is lost when the chain, or the way to it, misbehaves.

use std::time::{Duration, Instant};

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, PAYER, USDC},
    eventually,
    payer::Draft,
    permit2::{self, Permit2Draft},
    proxy::{Fault, Proxy, Times},
    service::{Home, Service},
};
use serde_json::json;

const SEND: &str = "eth_sendRawTransaction";

async fn settles_once(chain: &Anvil, home: &Home, service: &Service, draft: &Draft, what: &str) {
    let mut answer = service.post("/settle", &draft.v2()).await;
    for _ in 0..5 {
        if answer.text("errorReason") == "settlement_pending" {
            answer = service.post("/settle", &draft.v2()).await;
        }
    }
    assert!(answer.is_good(), "{what}: {answer:?}\n{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000, "{what}");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1, "{what}: one sequence is used");
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{what}: {text}");
}

/// Scenarios 1, 2 and 15.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_send_answers_the_payment_settles_once() {
    let cases: [(&str, Fault); 7] = [
        ("1 accepted, answer lost", Fault::LoseAnswer),
        ("2 lost before the node", Fault::LoseRequest),
        ("H04 node says already known", Fault::Refuse(-32000, "already known")),
        ("H04 unknown text", Fault::Refuse(-32000, "the dog ate it")),
        ("HTTP 429", Fault::Status(429)),
        ("HTTP 502", Fault::Status(502)),
        ("15 sequence gap", Fault::Refuse(-32000, "nonce too high")),
    ];
    for (what, fault) in cases {
        let chain = Anvil::start().await;
        let proxy = Proxy::before(&chain.node.url).await;
        let home = Home::on(&chain).rpc(&[&proxy.url]);
        let service = home.serve().await;
        proxy.fail(SEND, fault, Times::Next(1));
        settles_once(&chain, &home, &service, &Draft::default(), what).await;
    }
}

/// Scenarios 10 and 11.
#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_whose_receipt_cannot_be_read_stays_pending_and_then_succeeds() {
    for (what, fault) in [
        ("10 receipts fail", Fault::Refuse(-32000, "internal error")),
        ("11 receipts are null", Fault::Replace(json!(null))),
    ] {
        let chain = Anvil::start().await;
        let proxy = Proxy::before(&chain.node.url).await;
        let home = Home::on(&chain).rpc(&[&proxy.url]).server("settle_wait", "3s");
        let service = home.serve().await;
        proxy.fail("eth_getTransactionReceipt", fault, Times::Always);
        let draft = Draft::default();
        let answer = service.post("/settle", &draft.v2()).await;
        assert_eq!(answer.text("errorReason"), "settlement_pending", "{what}: {answer:?}");
        assert!(!answer.text("transaction").is_empty());
        proxy.heal();
        settles_once(&chain, &home, &service, &draft, what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_blocks_the_answer_is_pending_in_time_and_the_retry_succeeds_once() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "3s");
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let draft = Draft::default();
    let asked = Instant::now();
    let answer = service.post("/settle", &draft.v2()).await;
    assert!(asked.elapsed() < Duration::from_millis(3500), "{:?}", asked.elapsed());
    assert_eq!(answer.text("errorReason"), "settlement_pending", "{answer:?}");
    let transaction = answer.text("transaction").to_owned();
    chain.node.resume_blocks().await;
    let retry = service.post("/settle", &draft.v2()).await;
    assert!(retry.is_good(), "{retry:?}");
    assert_eq!(retry.text("transaction"), transaction);
    assert_eq!(service.post("/settle", &draft.v2()).await.text("errorReason"), "duplicate_settlement");
}

/// Scenario 19; E01: the calldata of a pending settlement, sent by somebody else with a higher tip.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_executed_by_a_stranger_after_our_claim_is_our_success_once() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "2s");
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let draft = Draft::default();
    let pending = service.post("/settle", &draft.v2()).await;
    let ours = pending.text("transaction");
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    let transaction = chain.node.call("eth_getTransactionByHash", json!([ours])).await;
    let tip = "0x3b9aca00";
    let stranger = "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955";
    let copy = json!([{
        "from": stranger, "to": USDC, "data": transaction["input"], "gas": "0x30d40",
        "maxFeePerGas": "0x12a05f200", "maxPriorityFeePerGas": tip,
    }]);
    let foreign = chain.node.call("eth_sendTransaction", copy).await;
    chain.node.mine().await;
    let receipt = chain.node.call("eth_getTransactionReceipt", json!([ours])).await;
    assert_eq!(receipt["status"], "0x0", "the stranger came first: {receipt}");
    chain.node.resume_blocks().await;
    let retry = service.post("/settle", &draft.v2()).await;
    assert!(retry.is_good(), "{retry:?}\n{}", home.log());
    assert_eq!(retry.body["transaction"], foreign);
    let again = service.post("/settle", &draft.v2()).await;
    assert_eq!(again.text("errorReason"), "duplicate_settlement");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

/// E02: the payer spends the money in the same block, before us.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_fails_on_chain_is_failed_with_its_reason() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "2s");
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let draft = Draft { value: alloy::primitives::U256::from(1_000_000_000_000_u64), ..Draft::default() };
    let pending = service.post("/settle", &draft.v2()).await;
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    let data = format!("0xa9059cbb{:0>64}{:064x}", &GAS_WALLET[2..], 1);
    chain
        .node
        .call(
            "eth_sendTransaction",
            json!([{
                "from": e2e::anvil::PAYER, "to": USDC, "data": data, "gas": "0x30d40",
                "maxFeePerGas": "0x12a05f200", "maxPriorityFeePerGas": "0x3b9aca00",
            }]),
        )
        .await;
    chain.node.mine().await;
    chain.node.resume_blocks().await;
    let retry = service.post("/settle", &draft.v2()).await;
    assert_eq!(retry.text("errorReason"), "invalid_exact_evm_insufficient_balance", "{retry:?}");
    assert_eq!(retry.text("transaction"), pending.text("transaction"));
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 0);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

/// Scenario 17; E11.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_gas_wallet_takes_no_payment_and_comes_back_by_itself() {
    let chain = Anvil::start().await;
    chain.node.call("anvil_setBalance", json!([GAS_WALLET, "0x0"])).await;
    let home = Home::on(&chain);
    let service = home.spawn();
    eventually("the service says that the wallet is empty", || async {
        let ready = service.try_get("/ready").await?;
        ready.body.to_string().contains("gas").then_some(())
    })
    .await;
    let draft = Draft::default();
    let refused = service.post("/settle", &draft.v2()).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    let nothing = service.get("/supported").await;
    assert_eq!(
        (nothing.status, nothing.text("code")),
        (503, "nothing_supported_now"),
        "sellers keep a list: {nothing:?}"
    );
    chain.node.call("anvil_setBalance", json!([GAS_WALLET, "0x8ac7230489e80000"])).await;
    eventually("the wallet is used again", || async { (service.get("/ready").await.status == 200).then_some(()) })
        .await;
    assert!(service.post("/settle", &draft.v2()).await.is_good());
}

/// D09.
#[tokio::test(flavor = "multi_thread")]
async fn a_fee_above_the_ceiling_is_not_paid_and_the_payment_can_be_made_when_it_falls() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).network("fee_per_gas_max", "20000000000");
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let set_fee = async |wei: &str| {
        chain.node.call("anvil_setNextBlockBaseFeePerGas", json!([wei])).await;
        chain.node.mine().await;
        let height = u32::try_from(chain.node.quantity("eth_blockNumber", json!([])).await).expect("a short chain");
        eventually("the block is seen", || async {
            (home.metric("head_block").await >= f64::from(height)).then_some(())
        })
        .await;
    };
    set_fee("0x38d7ea4c68000").await;
    let draft = Draft::default();
    let refused = service.post("/settle", &draft.v2()).await;
    assert_eq!((refused.status, refused.text("errorReason")), (503, "gas_price_too_high"), "{refused:?}");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0);
    set_fee("0x3b9aca00").await;
    chain.node.resume_blocks().await;
    assert!(service.post("/settle", &draft.v2()).await.is_good(), "the claim was given back");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
}

/// D06.
#[tokio::test(flavor = "multi_thread")]
async fn whom_the_token_has_blocked_neither_pays_nor_is_paid_and_costs_nothing() {
    let chain = Anvil::start().await;
    permit2::allow(&chain, PAYER, u128::MAX).await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let owner = "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955";
    let about = |selector: &str, account: &str| format!("{selector}{:0>64}", account.trim_start_matches("0x"));
    for (what, block, unblock) in [
        ("the payer", about("0xf9f92be4", PAYER), about("0x1a895266", PAYER)),
        ("the payee", about("0xf9f92be4", PAYEE), about("0x1a895266", PAYEE)),
        ("everybody", "0x8456cb59".to_owned(), "0x3f4ba83a".to_owned()),
    ] {
        let before = chain.node.transactions_of(GAS_WALLET).await;
        chain.send_and_mine(owner, USDC, &block).await;
        let bodies = [Draft::default().v2(), Permit2Draft::default().body()];
        for body in &bodies {
            let verified = service.post("/verify", body).await;
            assert!(verified.text("invalidReason").ends_with("simulation_failed"), "{what}: {verified:?}");
            let refused = service.post("/settle", body).await;
            assert!(refused.status == 200 && !refused.is_good(), "{what}: {refused:?}");
        }
        assert_eq!(chain.node.transactions_of(GAS_WALLET).await, before, "{what}");
        chain.send_and_mine(owner, USDC, &unblock).await;
        for body in &bodies {
            assert!(service.post("/settle", body).await.is_good(), "{what} no more");
        }
    }
    chain.send_and_mine(owner, USDC, &about("0xf9f92be4", GAS_WALLET)).await;
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good(), "who sends it is not asked");
    assert_eq!(home.audit().0, 0);
}

/// E12.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_chain_is_not_opened() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    proxy.fail("eth_chainId", Fault::Replace(json!("0x1")), Times::Always);
    let home = Home::on(&chain).rpc(&[&proxy.url]);
    let service = home.spawn();
    eventually("the service says that the chain is another", || async {
        let ready = service.try_get("/ready").await?;
        (ready.status == 503 && ready.body.to_string().contains("84532")).then_some(())
    })
    .await;
    assert_eq!(service.post("/settle", &Draft::default().v2()).await.status, 503);
}

/// E12: behind a URL that was right stands another chain for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_to_serve_another_chain_closes_the_network_until_it_does_not() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&proxy.url]).server("settle_wait", "2s").network("recheck_interval", "500ms");
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let under_way = Draft::default();
    let pending = service.post("/settle", &under_way.v2()).await;
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    proxy.fail("eth_chainId", Fault::Replace(json!("0x1")), Times::Always);
    eventually("the network is closed", || async {
        let ready = service.get("/ready").await;
        (ready.status == 503 && ready.body.to_string().contains("serves chain 1, not 84532")).then_some(())
    })
    .await;
    let refused = Draft::default();
    for path in ["/verify", "/settle"] {
        assert_eq!(service.post(path, &refused.v2()).await.status, 503, "{path}");
    }
    let kinds = service.get("/supported").await.body["kinds"].clone();
    assert!(kinds.as_array().is_some_and(|kinds| !kinds.is_empty()), "T2-28: servers keep the list for their lifetime");
    chain.node.resume_blocks().await;
    proxy.heal();
    eventually("the network opens again", || async { (service.get("/ready").await.status == 200).then_some(()) }).await;
    let settled = service.post("/settle", &under_way.v2()).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(settled.text("transaction"), pending.text("transaction"));
    assert!(service.post("/settle", &refused.v2()).await.is_good(), "nothing was claimed while it was closed");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 20_000);
    assert_eq!(home.audit().0, 0);
}

/// E12: one such node among others is left out.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_chain_among_others_closes_nothing() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&proxy.url, &chain.node.url]).network("recheck_interval", "200ms");
    let service = home.serve().await;
    proxy.fail("eth_chainId", Fault::Replace(json!("0x1")), Times::Always);
    eventually("it is left out", || async { home.log().contains("an endpoint is left out").then_some(()) }).await;
    let asked = proxy.calls("eth_call");
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good());
    assert_eq!((service.get("/ready").await.status, proxy.calls("eth_call")), (200, asked));
}

/// A token that is no longer what payers are told to sign for.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_changes_its_domain_closes_the_network_until_it_changes_back() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).network("recheck_interval", "200ms");
    let service = home.serve().await;
    let code = chain.node.call("eth_getCode", json!([USDC, "latest"])).await;
    // Answers every question with nothing but zeros.
    chain.node.call("anvil_setCode", json!([USDC, "0x60206000f3"])).await;
    eventually("the network is closed", || async {
        let ready = service.get("/ready").await;
        (ready.status == 503 && ready.body.to_string().contains("DOMAIN_SEPARATOR")).then_some(())
    })
    .await;
    assert_eq!(service.post("/settle", &Draft::default().v2()).await.status, 503);
    chain.node.call("anvil_setCode", json!([USDC, code])).await;
    eventually("the network opens again", || async { (service.get("/ready").await.status == 200).then_some(()) }).await;
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good());
}

/// C, A18: what fails inside says nothing to the outside.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_node_is_unavailable_not_invalid_and_leaks_nothing() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&format!("{}/?key=canary", proxy.url)]);
    let service = home.serve().await;
    proxy.fail("eth_call", Fault::LoseAnswer, Times::Always);
    let draft = Draft::default();
    let verified = service.post("/verify", &draft.v2()).await;
    assert_eq!(verified.status, 503, "{verified:?}");
    assert_eq!(verified.text("invalidReason"), "unexpected_verify_error");
    let settled = service.post("/settle", &draft.v2()).await;
    assert_eq!((settled.status, settled.text("errorReason")), (503, "unexpected_settle_error"));
    proxy.heal();
    assert!(service.post("/settle", &draft.v2()).await.is_good(), "nothing was claimed by the failed tries");
    for text in [verified.body.to_string(), settled.body.to_string(), home.log()] {
        assert!(!text.contains("canary"), "{text}");
    }
}

/// Scenarios 2 and 15; E05: every third send is lost, many payments at once.
#[tokio::test(flavor = "multi_thread")]
async fn lost_sends_leave_no_gap() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&proxy.url]).network("in_flight_max", 64);
    let service = std::sync::Arc::new(home.serve().await);
    proxy.fail(SEND, Fault::LoseRequest, Times::Every(3));
    let tasks: Vec<_> = (0..60)
        .map(|_| {
            let service = std::sync::Arc::clone(&service);
            tokio::spawn(async move { service.post("/settle", &Draft::default().v2()).await })
        })
        .collect();
    for task in tasks {
        let answer = task.await.expect("no panic");
        assert!(answer.is_good(), "{answer:?}");
    }
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 600_000);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

/// G12.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_loses_nothing() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let draft = Draft::default();
    let body = draft.v2();
    let asked = tokio::time::timeout(Duration::from_secs(1), service.post("/settle", &body)).await;
    assert!(asked.is_err(), "no block, no answer");
    chain.node.resume_blocks().await;
    let retry = service.post("/settle", &body).await;
    assert!(retry.is_good(), "the success was given to nobody yet: {retry:?}");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
}
