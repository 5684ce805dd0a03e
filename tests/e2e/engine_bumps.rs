//! A transaction that waits at too low a price, or for nothing, gets another attempt; a payment is still made once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use alloy::{
    consensus::{Transaction as _, TxEnvelope},
    eips::eip2718::Decodable2718,
    primitives::hex,
};
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    eventually,
    node::parse_quantity,
    payer::{Draft, now},
    proxy::{Fault, Proxy, Times},
    service::{Answer, Home, Service, text_of},
    stranger::{SEND, STRANGER, send_first, settle_without_blocks},
};
use futures::future::join_all;
use serde_json::{Value, json};

const GWEI: u128 = 1_000_000_000;

/// 50 gwei, some fifty times what anvil begins with.
const DEAR: &str = "0xba43b7400";
/// 5 gwei.
const MIDDLING: &str = "0x12a05f200";
const CHEAP: &str = "0x3b9aca00";

/// A home whose wallet may offer much, and does so soon.
fn home(chain: &Anvil) -> Home {
    Home::on(chain)
        .server("settle_wait", "1s")
        .network("fee_per_gas_max", "500000000000")
        .network("bump_after_blocks", 2)
        .network("resend_after_blocks", 2)
}

/// A home whose wallet may not offer what a dear block asks for.
fn below_the_market(chain: &Anvil) -> Home {
    home(chain).network("fee_per_gas_max", "20000000000")
}

/// Waits until the service has seen the newest block.
async fn seen(chain: &Anvil, home: &Home) {
    let height = u32::try_from(chain.node.quantity("eth_blockNumber", json!([])).await).expect("a short chain");
    eventually("the block is seen", || async { (home.metric("head_block").await >= f64::from(height)).then_some(()) })
        .await;
}

async fn mine_at(chain: &Anvil, base_fee: &str) {
    chain.node.call("anvil_setNextBlockBaseFeePerGas", json!([base_fee])).await;
    chain.node.mine().await;
}

/// The attempts of a settlement, oldest first.
async fn attempts(service: &Service, id: &str) -> Vec<Value> {
    service.settlement(id).await.body["attempts"].as_array().cloned().unwrap_or_default()
}

fn kinds(attempts: &[Value]) -> Vec<&str> {
    attempts.iter().filter_map(|attempt| attempt["kind"].as_str()).collect()
}

/// The price of an attempt: `maxFeePerGas` and `maxPriorityFeePerGas`.
fn offer(attempt: &Value) -> (u128, u128) {
    let price = |name: &str| u128::from(attempt["feeTerms"][name].as_u64().expect("a price below 2^64"));
    (price("max_fee_per_gas"), price("max_priority_fee_per_gas"))
}

fn decode(params: &Value) -> TxEnvelope {
    let raw = hex::decode(params[0].as_str().expect("bytes")).expect("hex");
    TxEnvelope::decode_2718(&mut raw.as_slice()).expect("a transaction")
}

/// Makes a node refuse as geth's pool does where anvil does not: a replacement must offer a tenth more of both.
fn pool_of_geth(proxy: &Proxy) {
    let pool: Mutex<HashMap<u64, (u128, u128, String)>> = Mutex::default();
    proxy.refuse_when(SEND, move |params| {
        let sent = decode(params);
        let (fee, tip) = (sent.max_fee_per_gas(), sent.max_priority_fee_per_gas().unwrap_or_default());
        let mut pool = pool.lock().expect("no panic");
        let hash = sent.tx_hash().to_string();
        if let Some((old_fee, old_tip, old_hash)) = pool.get(&sent.nonce())
            && *old_hash != hash
            && (fee * 10 < old_fee * 11 || tip * 10 < old_tip * 11)
        {
            return Some((-32000, "replacement transaction underpriced".to_owned()));
        }
        pool.insert(sent.nonce(), (fee, tip, hash));
        None
    });
}

async fn settle_all(service: &Service, count: usize) -> Vec<(Value, Answer)> {
    let bodies: Vec<_> = (0..count).map(|_| Draft::default().v2()).collect();
    let answers = join_all(bodies.iter().map(|body| service.post("/settle", body))).await;
    bodies.into_iter().zip(answers).collect()
}

/// Scenario 13: with 16 in flight and a base fee that leaps, all are bumped together and settle, each with its bump.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_fee_that_leaps_is_followed_by_every_transaction_that_waits() {
    const PLACES: usize = 16;
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    pool_of_geth(&proxy);
    let home = home(&chain).rpc(&[&proxy.url]);
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let under_way = settle_all(&service, PLACES).await;
    assert!(under_way.iter().all(|(_, answer)| answer.text("errorReason") == "settlement_pending"), "{under_way:?}");
    eventually("the oldest is included", || async {
        mine_at(&chain, DEAR).await;
        (chain.node.transactions_of(GAS_WALLET).await > 0).then_some(())
    })
    .await;
    chain.node.resume_blocks().await;
    for (body, answer) in under_way {
        let settled = service.decided(&body).await;
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
        let attempts = attempts(&service, answer.settlement_id()).await;
        assert!(kinds(&attempts).starts_with(&["first", "bump"]), "{attempts:?}");
        let ((old_fee, old_tip), (fee, tip)) = (offer(&attempts[0]), offer(&attempts[1]));
        assert!(fee * 8 >= old_fee * 9 && tip * 8 >= old_tip * 9, "an eighth more of both: {attempts:?}");
        assert!(fee >= 50 * GWEI, "the next block takes it: {attempts:?}");
    }
    assert!(home.log().contains("another takes its place"), "{}", home.log());
    assert!(!home.log().contains("replacement transaction underpriced"), "{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 160_000);
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 16, "each nonce is used once");
    assert!(home.metric("replacements_total").await >= 16.0);
    home.assert_audit();
}

/// Scenario 14: the bump comes too late, or never; the first attempt is included, and is the one that is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_old_attempt_is_included_after_its_bump_is_settled_by_the_old_one() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let sent: Arc<Mutex<Vec<Value>>> = Arc::default();
    let record = Arc::clone(&sent);
    proxy.refuse_when(SEND, move |params| {
        record.lock().expect("no panic").push(params.clone());
        None
    });
    let home = home(&chain).rpc(&[&proxy.url]);
    let service = home.serve().await;
    let body = Draft::default().v2();
    let (id, first) = settle_without_blocks(&chain, &service, &body).await;
    proxy.fail(SEND, Fault::LoseRequest, Times::Always);
    eventually("the bump is stored", || async {
        mine_at(&chain, DEAR).await;
        (kinds(&attempts(&service, &id).await).len() > 1).then_some(())
    })
    .await;
    // anvil has dropped the first, which other pools keep.
    mine_at(&chain, CHEAP).await;
    let old = sent.lock().expect("no panic")[0].clone();
    chain.node.call(SEND, old).await;
    mine_at(&chain, CHEAP).await;
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1, "the old attempt is in a block");
    proxy.heal();
    chain.node.resume_blocks().await;
    let settled = service.decided(&body).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(settled.body["transaction"], first["hash"], "the one that is on the chain");
    let attempts = attempts(&service, &id).await;
    assert!(
        attempts[0]["block"].is_object() && attempts[1..].iter().all(|bump| bump["block"].is_null()),
        "{attempts:?}"
    );
    assert!(service.decided(&Draft::default().v2()).await.is_good(), "the wallet goes on");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 2);
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 20_000);
    home.assert_audit();
}

/// Scenarios 3 and 13: killed after the commit of a bump and before its send; the start sends the stored bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_bump_that_was_stored_and_not_sent_is_sent_after_a_crash() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = home(&chain).rpc(&[&proxy.url]);
    let service = home.serve().await;
    let body = Draft::default().v2();
    let (id, _) = settle_without_blocks(&chain, &service, &body).await;
    proxy.fail(SEND, Fault::LoseRequest, Times::Always);
    let stored = eventually("a bump is stored", || async {
        mine_at(&chain, DEAR).await;
        let attempts = attempts(&service, &id).await;
        (attempts.len() > 1).then_some(attempts)
    })
    .await;
    service.kill();
    proxy.heal();
    let service = home.serve().await;
    let bump = eventually("a bump of the store is in a block", || async {
        mine_at(&chain, DEAR).await;
        let attempts = attempts(&service, &id).await;
        attempts.into_iter().find(|attempt| attempt["kind"] == "bump" && attempt["block"].is_object())
    })
    .await;
    chain.node.resume_blocks().await;
    let settled = service.decided(&body).await;
    assert!(settled.is_good() && settled.body["transaction"] == bump["transaction"], "{settled:?}\n{}", home.log());
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    let shown = text_of(&home.run(&["settlement", &id]));
    for attempt in stored {
        let (hash, kind) =
            (attempt["transaction"].as_str().expect("a hash"), attempt["kind"].as_str().expect("a kind"));
        assert!(shown.contains(&format!("signed {hash} ({kind})")), "{shown}");
        assert!(shown.contains(&offer(&attempt).0.to_string()), "what it offers: {shown}");
    }
    home.assert_audit();
}

/// Row 2 of the table of answers (T2-21): a node's least tip is said at once, and is offered with the next block.
#[tokio::test(flavor = "multi_thread")]
async fn the_least_tip_that_nodes_take_is_offered_whether_they_name_it_or_not() {
    const FLOOR: u128 = 25 * GWEI;
    let named = |tip: u128| format!("transaction underpriced: gas tip cap {tip}, minimum needed {FLOOR}");
    let unnamed = |_: u128| "transaction underpriced".to_owned();
    let words: [fn(u128) -> String; 2] = [named, unnamed];
    for words in words {
        let chain = Anvil::start().await;
        let proxy = Proxy::before(&chain.node.url).await;
        let home = home(&chain).rpc(&[&proxy.url]);
        let service = home.serve().await;
        proxy.fail("eth_maxPriorityFeePerGas", Fault::Pretend(json!(format!("{FLOOR:#x}"))), Times::Always);
        proxy.refuse_when(SEND, move |params| {
            let tip = decode(params).max_priority_fee_per_gas().unwrap_or_default();
            (tip < FLOOR).then(|| (-32000, words(tip)))
        });
        let body = Draft::default().v2();
        let settled = service.decided(&body).await;
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
        let attempts = attempts(&service, settled.settlement_id()).await;
        assert_eq!(kinds(&attempts), ["first", "bump"], "one bump is enough: {attempts:?}");
        assert!(home.log().contains("no node takes"), "it is said at once\n{}", home.log());
        assert_eq!(offer(&attempts[1]).1, FLOOR, "{attempts:?}");
        let next = service.decided(&Draft::default().v2()).await;
        let next = self::attempts(&service, next.settlement_id()).await;
        assert_eq!((kinds(&next), offer(&next[0]).1), (vec!["first"], FLOOR), "the next one offers it at once");
        home.assert_audit();
    }
}

/// Scenario 20: what ends while it waits is replaced by a transfer of nothing, and `failed` comes with its inclusion.
#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_that_ends_while_its_transaction_waits_is_cancelled_for_the_gas_of_a_transfer() {
    let chain = Anvil::start().await;
    let home = below_the_market(&chain);
    let service = home.serve().await;
    let valid_before = now() + 10;
    let body = Draft { valid_before, ..Draft::default() }.v2();
    let (id, first) = settle_without_blocks(&chain, &service, &body).await;
    eventually("the authorization is over", || async {
        mine_at(&chain, DEAR).await;
        (now() > valid_before).then_some(())
    })
    .await;
    assert_eq!(kinds(&attempts(&service, &id).await), ["first"], "nothing is offered above the ceiling");
    let cancelled = eventually("it is cancelled", || async {
        mine_at(&chain, MIDDLING).await;
        let attempts = attempts(&service, &id).await;
        (kinds(&attempts) == ["first", "cancel"]).then_some(attempts)
    })
    .await;
    assert!(offer(&cancelled[1]) > offer(&cancelled[0]), "{cancelled:?}");
    let failed = eventually("it is failed", || async {
        mine_at(&chain, MIDDLING).await;
        let found = service.settlement(&id).await;
        (found.text("state") == "failed").then_some(found)
    })
    .await;
    assert!(failed.text("reason").ends_with("valid_before"), "{failed:?}");
    let cancel = &attempts(&service, &id).await[1];
    assert_eq!((cancel["gasUsed"].as_u64(), parse_quantity(&first["nonce"])), (Some(21_000), 0), "{cancel}");
    chain.node.resume_blocks().await;
    assert!(service.decided(&Draft::default().v2()).await.is_good(), "{}", home.log());
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 2);
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
    home.assert_audit();
}

/// Scenario 19: executed by somebody else while ours waits: ours is cancelled, and the payment is a success once.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_a_stranger_executes_while_ours_waits_is_cancelled_and_settled_by_the_strangers() {
    let chain = Anvil::start().await;
    let home = below_the_market(&chain);
    let service = home.serve().await;
    let body = Draft::default().v2();
    let (id, first) = settle_without_blocks(&chain, &service, &body).await;
    chain.node.call("anvil_setNextBlockBaseFeePerGas", json!([DEAR])).await;
    let copy = json!([{"from": STRANGER, "to": USDC, "data": first["input"], "gas": "0x30d40",
        "maxFeePerGas": "0x174876e800", "maxPriorityFeePerGas": "0x3b9aca00"}]);
    let foreign = chain.node.call("eth_sendTransaction", copy).await;
    mine_at(&chain, DEAR).await;
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000, "the stranger has paid more");
    for _ in 0..8 {
        mine_at(&chain, DEAR).await;
        seen(&chain, &home).await;
    }
    assert_eq!(kinds(&attempts(&service, &id).await), ["first"], "nothing is offered above the ceiling");
    eventually("ours is cancelled", || async {
        mine_at(&chain, MIDDLING).await;
        (kinds(&attempts(&service, &id).await).last() == Some(&"cancel")).then_some(())
    })
    .await;
    chain.node.resume_blocks().await;
    let settled = service.decided(&body).await;
    assert!(settled.is_good() && settled.body["transaction"] == foreign, "{settled:?}\n{}", home.log());
    assert_eq!(service.post("/settle", &body).await.text("errorReason"), "duplicate_settlement");
    let attempts = attempts(&service, &id).await;
    assert_eq!(attempts.last().map(|cancel| &cancel["gasUsed"]), Some(&json!(21_000)), "{attempts:?}");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
    home.assert_audit();
}

/// Row 15: a nonce that nothing stored can fill is used up, so that those after it get into a block.
#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_gap_that_somebody_else_s_transaction_leaves_is_filled() {
    let chain = Anvil::start().await;
    let home = home(&chain);
    let service = home.serve().await;
    assert!(service.decided(&Draft::default().v2()).await.is_good());
    send_first(&chain, GAS_WALLET, STRANGER, &json!("0x")).await;
    service.ready_says(&["somebody else has used its key"]).await;
    chain.node.stop_blocks().await;
    // The block with the stranger's transaction, and all after it.
    let newest = chain.node.quantity("eth_blockNumber", json!([])).await;
    let mut depth = 0;
    while chain.node.quantity("eth_getTransactionCount", json!([GAS_WALLET, format!("{:#x}", newest - depth)])).await
        > 1
    {
        depth += 1;
    }
    let body = Draft::default().v2();
    let pending = service.post("/settle", &body).await;
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    chain.node.call("anvil_reorg", json!([depth, []])).await;
    chain.node.call("anvil_dropAllTransactions", json!([])).await;
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1, "the chain has forgotten it");
    chain.node.resume_blocks().await;
    let settled = service.decided(&body).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 3, "the payments, and what fills the gap");
    assert!(home.metric("replacements_total").await >= 1.0, "{}", home.log());
    home.assert_audit();
}

/// A node whose answers are lost while it takes everything: what is bumped meanwhile is one payment.
#[tokio::test(flavor = "multi_thread")]
async fn bumps_whose_answers_are_lost_pay_once() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = home(&chain).rpc(&[&proxy.url]);
    let service = Arc::new(home.serve().await);
    proxy.fail(SEND, Fault::LoseAnswer, Times::Always);
    chain.node.stop_blocks().await;
    let under_way = settle_all(&service, 4).await;
    for _ in 0..6 {
        mine_at(&chain, DEAR).await;
    }
    chain.node.resume_blocks().await;
    for (body, _) in under_way {
        let settled = service.decided(&body).await;
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    }
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 40_000);
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 4);
    home.assert_audit();
}

/// A settled transfer comes back in the bump of the transaction that a reorg took. Store and chain agree on the way there,
/// and the store has the bump's name once its block is final.
#[tokio::test(flavor = "multi_thread")]
async fn a_settled_transfer_that_a_reorg_moves_into_a_bump_is_no_difference_and_gets_its_name() {
    let chain = Anvil::start_with(&["--slots-in-an-epoch", "16"]).await;
    let home = home(&chain);
    let service = home.serve().await;
    let first = Draft::default().v2();
    let (id, _) = settle_without_blocks(&chain, &service, &first).await;
    chain.node.mine().await;
    let settled = service.decided(&first).await;
    assert!(settled.is_good(), "{settled:?}");
    chain.node.call("anvil_reorg", json!([1, []])).await;
    chain.node.call("anvil_dropAllTransactions", json!([])).await;
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0, "the chain has forgotten it");
    let second = service.post("/settle", &Draft::default().v2()).await;
    assert_eq!(second.text("errorReason"), "settlement_pending", "{second:?}");
    eventually("the payee has the money of both", || async {
        mine_at(&chain, DEAR).await;
        (chain.node.token_balance(USDC, PAYEE).await == 20_000).then_some(())
    })
    .await;
    let told = settled.text("transaction").to_owned();
    assert!(chain.node.call("eth_getTransactionReceipt", json!([told])).await.is_null(), "it is in a bump of that");
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}\n{}", home.log());
    assert!(text.contains("1 of them were moved to another transaction of ours by a reorg"), "{text}");
    chain.node.mine_blocks(40).await;
    let now = eventually("it is final", || async {
        let settlement = service.settlement(&id).await.body;
        (!settlement["finalizedAt"].is_null()).then_some(settlement)
    })
    .await;
    assert_ne!(now["transaction"], told, "{now}");
    let (code, text) = home.audit();
    assert!(code == 0 && !text.contains("moved"), "{text}\n{}", home.log());
}
