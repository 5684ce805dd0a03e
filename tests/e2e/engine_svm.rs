//! On Solana, too, one node's one answer decides nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chains_svm::local::{PYUSD, Payer, USDC};
use e2e::{
    eventually,
    forger_svm::Forger,
    liar_svm::SvmLie,
    node::Node,
    proxy::{Fault, Proxy, Times},
    service::{Answer, Home, Service, text_of},
    svm::Draft,
    validator::{Validator, payee},
};
use futures::future::{join, join_all};
use serde_json::{Value, json};

const AHEAD: u64 = 1_000_000;

/// The time by which the second node is late.
const SECONDS_LATER_MS: u64 = 6_000;

async fn slot(node: &Node) -> u64 {
    node.call("getSlot", json!([])).await.as_u64().expect("a slot")
}

/// Adds a million slots to every number of these keys in so many answers of a method.
fn leap(proxy: &Proxy, method: &str, answers: u64) {
    let left = AtomicU64::new(answers);
    proxy.lie(method, move |_, honest| {
        let take = |left: u64| left.checked_sub(1);
        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() { further(honest) } else { honest }
    });
}

fn further(mut honest: Value) -> Value {
    if let Some(slot) = honest.as_u64() {
        return json!(slot + AHEAD);
    }
    for pointer in ["/absoluteSlot", "/blockHeight", "/context/slot", "/value/lastValidBlockHeight"] {
        if let Some(number) = honest.pointer_mut(pointer)
            && let Some(slot) = number.as_u64()
        {
            *number = json!(slot + AHEAD);
        }
    }
    honest
}

/// K08: each kind of answer once, and a restart with payments under way.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_far_ahead_on_solana_neither_stops_the_network_nor_ends_a_payment() {
    let validator = Validator::start().await;
    let proxy = Proxy::before(validator.chain.url()).await;
    let home = Home::on(&validator).rpc(&[&proxy.url]);
    let mut service = home.serve().await;
    let methods = ["getSlot", "getBlockHeight", "getEpochInfo", "getLatestBlockhash", "getSignatureStatuses"];
    let mut paid = 0;
    for (number, method) in methods.into_iter().enumerate() {
        leap(&proxy, method, 1);
        let drafts: Vec<_> = (0..3).map(|payer| Draft::of(Payer::numbered(payer))).collect();
        let bodies = join_all(drafts.iter().map(|draft| draft.body(&validator.chain, 2))).await;
        let answers = join_all(bodies.iter().map(|body| service.decided(body))).await;
        assert!(answers.iter().all(Answer::is_good), "{method}: {answers:?}\n{}", home.log());
        paid += 30_000;
        let balance = validator.chain.token_balance(&payee().address(), &USDC).await.expect("a balance");
        assert_eq!(balance, paid, "{method}");
        assert_eq!(service.get("/ready").await.status, 200, "{method}");
        if number == 0 {
            leap(&proxy, method, 1);
            service.kill();
            service = home.serve().await;
        }
        proxy.heal();
    }
    home.assert_audit();
}

/// K06, K08: each lie by another of three nodes; a payment settles as if nobody told it.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_nodes_of_solana_lies_and_payments_settle_as_if_it_did_not() {
    let validator = Validator::start().await;
    let nodes = Proxy::three_before(validator.chain.url()).await;
    let home = Home::on(&validator).rpc(&nodes.each_ref().map(|node| node.url.as_str()));
    let mut service = home.serve().await;
    for (place, lie) in SvmLie::ALL.into_iter().enumerate() {
        let liar = &nodes[place % nodes.len()];
        liar.tell_svm(lie);
        for when in ["while it runs", "from the start"] {
            let before = paid(&validator).await;
            let answers = settle_some(&validator, &service).await;
            assert!(answers.iter().all(Answer::is_good), "{lie:?} {when}: {answers:?}\n{}", home.log());
            assert_eq!(paid(&validator).await, before + 20_000, "{lie:?} {when}");
            assert_eq!(service.get("/ready").await.status, 200, "{lie:?} {when}");
            if when == "while it runs" {
                drop(service);
                service = home.serve().await;
            }
        }
        liar.heal();
    }
    home.assert_audit();
}

/// K06, K08: two that disagree leave a payment open, and it ends when they agree again.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_nodes_of_solana_lies_and_no_answer_is_wrong() {
    let validator = Validator::start().await;
    let [liar, honest, _] = Proxy::three_before(validator.chain.url()).await;
    let home = Home::on(&validator).rpc(&[&liar.url, &honest.url]).server("settle_wait", "2s");
    let service = home.serve().await;
    for lie in SvmLie::ALL {
        liar.tell_svm(lie);
        let before = paid(&validator).await;
        let body = Draft::default().body(&validator.chain, 2).await;
        let answer = service.post("/settle", &body).await;
        if answer.is_good() {
            assert_eq!(paid(&validator).await, before + 10_000, "{lie:?}: {answer:?}");
        } else {
            let cannot_say = answer.status == 503 || answer.text("errorReason") == "settlement_pending";
            assert!(cannot_say, "{lie:?}: {answer:?}");
        }
        liar.heal();
        let settled = service.decided(&body).await;
        let is_settled = settled.is_good() || settled.text("errorReason") == "duplicate_settlement";
        assert!(is_settled, "{lie:?}: {settled:?}\n{}", home.log());
        assert_eq!(paid(&validator).await, before + 10_000, "{lie:?}");
    }
    home.assert_audit();
}

async fn paid(validator: &Validator) -> u64 {
    validator.chain.token_balance(&payee().address(), &USDC).await.expect("a balance")
}

/// Two payers pay at once.
async fn settle_some(validator: &Validator, service: &Service) -> Vec<Answer> {
    let drafts: Vec<_> = (0..2).map(|payer| Draft::of(Payer::numbered(payer))).collect();
    let bodies = join_all(drafts.iter().map(|draft| draft.body(&validator.chain, 2))).await;
    join_all(bodies.iter().map(|body| service.decided(body))).await
}

/// K18: what never landed expires though one of two nodes is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_on_solana_that_never_lands_fails_though_one_of_two_nodes_is_dead() {
    const TICKS_PER_SLOT: u32 = 16;
    let validator = Validator::start_with(TICKS_PER_SLOT).await;
    let nodes = Proxy::three_before(validator.chain.url()).await;
    let home = Home::on(&validator).rpc(&[&nodes[0].url, &nodes[1].url]).server("settle_wait", "1s");
    let service = home.serve().await;
    nodes[1].fail("*", Fault::LoseRequest, Times::Always);
    nodes[0].fail("sendTransaction", Fault::Pretend(json!("1".repeat(64))), Times::Always);
    let pending = service.post("/settle", &Draft::default().body(&validator.chain, 2).await).await;
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    let failed = eventually("it expires", || async {
        let found = service.settlement(pending.settlement_id()).await;
        (found.text("state") == "failed").then_some(found)
    })
    .await;
    let balance = validator.chain.token_balance(&payee().address(), &USDC).await.expect("a balance");
    assert_eq!(balance, 0, "{failed:?}");
}

/// K01: one of two nodes shows a transaction some seconds after the other. Meanwhile it is asked with growing
/// intervals, and nobody is called to end what ends by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_a_second_node_has_seconds_later_leaves_no_settlement_unresolved() {
    let validator = Validator::start().await;
    let nodes = Proxy::three_before(validator.chain.url()).await;
    let home = Home::on(&validator).rpc(&[&nodes[0].url, &nodes[1].url]);
    let service = home.serve().await;
    nodes[1].fail("getTransaction", Fault::Pretend(Value::Null), Times::Always);
    let mut draft = Draft::default();
    draft.order.mint = PYUSD;
    let body = draft.body(&validator.chain, 2).await;
    let node = Node::at(validator.chain.url());
    let until = slot(&node).await + SECONDS_LATER_MS / u64::from(validator.slot_ms());
    let settle = service.post("/settle", &body);
    let later = async {
        eventually("seconds have passed", || async { (slot(&node).await >= until).then_some(()) }).await;
        nodes[1].heal();
    };
    let (settled, ()) = futures::join!(settle, later);
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    let timeline = service.settlement(settled.settlement_id()).await.body.to_string();
    assert!(!timeline.contains("unresolved"), "{timeline}");
    eventually("/ready says nothing of it any more", || async {
        let ready = service.try_get("/ready").await?;
        (!ready.body.to_string().contains("cannot be said")).then_some(())
    })
    .await;
    home.assert_audit();
}

/// K08: a notification is a reason to ask, and neither a slot nor a proof.
#[tokio::test(flavor = "multi_thread")]
async fn forged_notifications_a_million_slots_ahead_end_no_payment() {
    let validator = Validator::start().await;
    let (proxy, forger) = (Proxy::before(validator.chain.url()).await, Forger::start().await);
    let home = Home::on(&validator).rpc(&[&proxy.url]).network("websocket", forger.url.as_str());
    let home = home.server("settle_wait", "1s");
    let mut service = home.serve().await;
    let slot = slot(&Node::at(validator.chain.url())).await + AHEAD;
    proxy.fail("sendTransaction", Fault::Pretend(json!("1".repeat(64))), Times::Always);
    let body = Draft::default().body(&validator.chain, 2).await;
    let pending = service.post("/settle", &body).await;
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    for when in ["while it runs", "after a restart"] {
        let asked = proxy.calls("getEpochInfo");
        eventually("what is told is asked about", || async {
            let subscribers = forger.tell(pending.text("transaction"), slot);
            (subscribers > 0 && proxy.calls("getEpochInfo") > asked + 20).then_some(())
        })
        .await;
        let found = service.settlement(pending.settlement_id()).await;
        assert!(!["settled", "failed"].contains(&found.text("state")), "{when}: {found:?}");
        assert_eq!(service.get("/ready").await.status, 200, "{when}");
        if when == "while it runs" {
            service.kill();
            service = home.serve().await;
        }
    }
    proxy.heal();
    let settled = service.decided(&body).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(paid(&validator).await, 10_000);
    home.assert_audit();
}

/// Returns whether the bytes of a transaction hold a text.
fn holds(params: &Value, text: &str) -> bool {
    let wire = params[0].as_str().and_then(|sent| BASE64_STANDARD.decode(sent).ok()).unwrap_or_default();
    wire.windows(text.len()).any(|part| part == text.as_bytes())
}

/// K18: however much is told of other payments, a lost one is asked about in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_lost_expires_while_others_are_settled_all_the_time() {
    const TICKS_PER_SLOT: u32 = 8;
    let validator = Validator::start_with(TICKS_PER_SLOT).await;
    let proxy = Proxy::before(validator.chain.url()).await;
    let home = Home::on(&validator).rpc(&[&proxy.url]).server("settle_wait", "1s");
    let service = home.serve().await;
    let draft = Draft::default();
    let memo = draft.order.memo.clone().expect("a memo");
    proxy.refuse_when("sendTransaction", move |params| holds(params, &memo).then(|| (-32000, "lost".to_owned())));
    let pending = service.post("/settle", &draft.body(&validator.chain, 2).await).await;
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");

    let (settled, is_over) = (AtomicU64::new(0), AtomicU64::new(0));
    let traffic = join_all((1..5).map(|number| {
        let (service, validator, settled, is_over) = (&service, &validator, &settled, &is_over);
        async move {
            while is_over.load(Ordering::Relaxed) == 0 {
                let body = Draft::of(Payer::numbered(number)).body(&validator.chain, 2).await;
                let answer = service.decided(&body).await;
                assert!(answer.is_good(), "{answer:?}");
                settled.fetch_add(1, Ordering::Relaxed);
            }
        }
    }));
    let ends = async {
        let ended = service.settlement_in(pending.settlement_id(), "failed").await;
        is_over.store(1, Ordering::Relaxed);
        ended
    };
    let (ended, _) = join(ends, traffic).await;
    assert!(ended.body.to_string().contains("expired"), "{ended:?}");
    let others = settled.into_inner();
    assert!(others > 20, "{others} others are no traffic");
    assert_eq!(paid(&validator).await, others * 10_000);
    home.assert_audit();
}

/// K01: what cannot tell the end of a payment takes none.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_transaction_history_opens_no_network_and_is_named() {
    let validator = Validator::start().await;
    let proxy = Proxy::before(validator.chain.url()).await;
    proxy.tell_svm(SvmLie::NoHistory);
    let home = Home::on(&validator).rpc(&[&proxy.url]);
    let service = home.spawn();
    service.ready_says(&["getfirstavailableblock"]).await;
    let refused = service.post("/settle", &Draft::default().body(&validator.chain, 2).await).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(proxy.calls("sendTransaction"), 0);
    let doctor = home.run(&["doctor"]);
    let text = text_of(&doctor);
    assert!(!doctor.status.success() && text.contains("node_history"), "{text}");

    proxy.heal();
    let body = Draft::default().body(&validator.chain, 2).await;
    let settled = service.decided(&body).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert!(!text_of(&home.run(&["doctor"])).contains("node_history"));
    home.assert_audit();
}
