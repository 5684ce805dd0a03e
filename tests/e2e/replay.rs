//! One payment, one success: whoever asks, however often, in whatever version.

use std::sync::Arc;

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    payer::Draft,
    service::{Answer, Home, Service, Stored},
};
use serde_json::{Value, json};

async fn settle_all(service: &Arc<Service>, bodies: Vec<Value>) -> Vec<Answer> {
    let tasks = bodies.into_iter().map(|body| {
        let service = Arc::clone(service);
        tokio::spawn(async move { service.post("/settle", &body).await })
    });
    let mut answers = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        answers.push(task.await.expect("no panic"));
    }
    answers
}

fn assert_one_success(answers: &[Answer]) -> String {
    let good: Vec<_> = answers.iter().filter(|answer| answer.is_good()).collect();
    assert_eq!(good.len(), 1, "{answers:?}");
    let transaction = good[0].text("transaction").to_owned();
    for answer in answers.iter().filter(|answer| !answer.is_good()) {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.text("errorReason"), "duplicate_settlement", "{answer:?}");
        assert_eq!(answer.text("transaction"), transaction, "{answer:?}");
    }
    transaction
}

/// Scenario 7; B06, E03.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_settles_of_one_payment_in_both_versions_succeed_once() {
    two_hundred_settles_of_one_payment_in_both_versions_succeed_once_in(Stored::of_environment()).await;
}

pub async fn two_hundred_settles_of_one_payment_in_both_versions_succeed_once_in(stored: Stored) {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(stored);
    let service = Arc::new(home.serve().await);
    let v2 = Draft::default();
    let answers = settle_all(&service, vec![v2.v2(); 200]).await;
    assert_one_success(&answers);
    let mixed = Draft::default();
    let mut upper = mixed.v2();
    let signature = upper["paymentPayload"]["payload"]["signature"].as_str().expect("text").to_uppercase();
    upper["paymentPayload"]["payload"]["signature"] = json!(signature.replace("0X", "0x"));
    let bodies = (0..200).map(|i| match i % 3 {
        0 => mixed.v1(),
        1 => mixed.v2(),
        _ => upper.clone(),
    });
    let answers = settle_all(&service, bodies.collect()).await;
    let transaction = assert_one_success(&answers);
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 2);
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 20_000);
    drop(service);

    // And across a restart.
    let service = Arc::new(home.serve().await);
    for answer in settle_all(&service, vec![mixed.v1(), mixed.v2()]).await {
        assert_eq!(answer.text("errorReason"), "duplicate_settlement", "{answer:?}");
        assert_eq!(answer.text("transaction"), transaction);
    }
    assert_eq!(home.audit().0, 0);
}

/// Scenario 8.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gets_the_same_answer_and_another_request_under_it_is_refused() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let (body, key) = (Draft::default().v2(), Some("order-0000000000000001"));
    let both = futures::future::join_all((0..8).map(|_| service.try_post("/settle", &body, key))).await;
    for answer in both.into_iter().flatten() {
        assert!(answer.is_good(), "the same caller shares the success: {answer:?}");
    }
    let later = service.try_post("/settle", &body, key).await.expect("an answer");
    assert!(later.is_good(), "{later:?}");
    let keyless = service.post("/settle", &body).await;
    assert_eq!(keyless.text("errorReason"), "duplicate_settlement");
    let other = service.try_post("/settle", &Draft::default().v2(), key).await.expect("an answer");
    assert_eq!(other.status, 409, "G06 {other:?}");
    let bad = service.try_post("/settle", &Draft::default().v2(), Some("short")).await.expect("an answer");
    assert_eq!(bad.status, 400, "{bad:?}");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_retries_of_a_pending_settlement_share_one_success() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "2s");
    let service = Arc::new(home.serve().await);
    chain.node.stop_blocks().await;
    let body = Draft::default().v2();
    let pending = service.post("/settle", &body).await;
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    assert_eq!(pending.text("transaction").len(), 66);
    let waiting = tokio::spawn({
        let (service, body) = (Arc::clone(&service), vec![body.clone(); 2]);
        async move { settle_all(&service, body).await }
    });
    chain.node.resume_blocks().await;
    let mut answers = waiting.await.expect("no panic");
    answers.push(service.post("/settle", &body).await);
    let transaction = assert_one_success(&answers);
    assert_eq!(transaction, pending.text("transaction"), "the retry joins, nothing is signed again");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
}

/// G08: the stored payment decides what is settled, not the retry.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_changes_a_field_of_a_payment_under_way_gets_no_success_and_changes_nothing() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "1s");
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let draft = Draft::default();
    let body = draft.v2();
    assert_eq!(service.post("/settle", &body).await.text("errorReason"), "settlement_pending");
    let changed = |pointer: &str, value: &str| {
        let mut body = body.clone();
        *body.pointer_mut(pointer).expect(pointer) = json!(value);
        body
    };
    let signed = "/paymentPayload/payload/authorization";
    let retries = [
        changed(&format!("{signed}/value"), "1"),
        changed(&format!("{signed}/to"), USDC),
        changed(&format!("{signed}/validBefore"), "99999999999"),
        changed("/paymentRequirements/payTo", USDC),
        changed("/paymentRequirements/amount", "1"),
        changed("/paymentRequirements/asset", PAYEE),
        changed("/paymentPayload/payload/signature", &format!("0x{}", "11".repeat(65))),
        // Signed, for another payee.
        Draft { to: USDC.parse().expect("an address"), ..draft.clone() }.v2(),
    ];
    for retry in &retries {
        let answer = service.post("/settle", retry).await;
        assert!(!answer.is_good(), "{retry} {answer:?}");
    }
    chain.node.resume_blocks().await;
    assert!(service.decided(&body).await.is_good());
    for retry in &retries {
        let answer = service.post("/settle", retry).await;
        assert!(!answer.is_good(), "afterwards: {retry} {answer:?}");
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
    home.assert_audit();
}

/// Leaves a settlement of this payment that ended while nobody waited; returns its body.
async fn ended_unheard(chain: &Anvil, service: &Service, key: &str) -> Value {
    chain.node.stop_blocks().await;
    let body = Draft::default().v2();
    let pending = service.try_post("/settle", &body, Some(key)).await.expect("an answer");
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    chain.node.resume_blocks().await;
    service.settlement_in(pending.settlement_id(), "settled").await;
    body
}

/// B06: a success that ended unheard belongs to the first who asks, and is shared by that caller alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_nobody_heard_is_given_to_one_caller() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "1s");
    let service = home.serve().await;
    let key = |number: u8| format!("order-000000000000000{number}");
    // The askers in order, each with its key and the answer that is right.
    let cases = [
        ("the same caller, then a stranger", vec![(Some("own"), true), (None, false), (Some("own"), true)]),
        ("a stranger, then the same caller", vec![(None, true), (Some("own"), false), (None, false)]),
        ("another key, then the same caller", vec![(Some("another"), true), (Some("own"), false)]),
    ];
    for (number, (case, askers)) in (1..).zip(cases) {
        let own = key(number);
        let body = ended_unheard(&chain, &service, &own).await;
        for (asker, expected) in askers {
            let name =
                asker.map(|name| if name == "own" { own.clone() } else { format!("{name}-00000000000{number}") });
            let answer = service.try_post("/settle", &body, name.as_deref()).await.expect("an answer");
            assert_eq!(answer.is_good(), expected, "{case}: {asker:?} {answer:?}");
            assert!(expected || answer.text("errorReason") == "duplicate_settlement", "{case}: {answer:?}");
        }
    }
    home.assert_audit();
}

/// B06: the caller who asks again while it is open, and hears its end, has been given the success.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_its_caller_waited_for_in_a_second_request_is_given_to_nobody_else() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "2s");
    let service = Arc::new(home.serve().await);
    chain.node.stop_blocks().await;
    let (body, key) = (Draft::default().v2(), Some("order-0000000000000001"));
    let pending = service.try_post("/settle", &body, key).await.expect("an answer");
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    let asked = tokio::spawn({
        let (service, body) = (Arc::clone(&service), body.clone());
        async move { service.try_post("/settle", &body, key).await.expect("an answer") }
    });
    chain.node.resume_blocks().await;
    let heard = asked.await.expect("no panic");
    let decided = if heard.is_good() { heard } else { service.decided_for(&body, key).await };
    assert!(decided.is_good(), "{decided:?}");
    let stranger = service.post("/settle", &body).await;
    assert_eq!(stranger.text("errorReason"), "duplicate_settlement", "{stranger:?}");
    let again = service.try_post("/settle", &body, key).await.expect("an answer");
    assert!(again.is_good(), "{again:?}");
}

/// `payment-identifier`: the payer's name for a payment names one, and shares no success.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_identifier_names_one_payment() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let named = |draft: &Draft, id: Value| {
        let mut body = draft.v2();
        body["paymentPayload"]["extensions"] = json!({"payment-identifier": {"info": {"required": true, "id": id}}});
        body
    };
    let (first, other) = (Draft::default(), Draft::default());
    let id = json!("pay_0123456789abcdef");
    for path in ["/verify", "/settle"] {
        let answer = service.post(path, &named(&first, json!("short"))).await;
        assert_eq!(
            answer.text(if path == "/verify" { "invalidReason" } else { "errorReason" }),
            "invalid_payload",
            "{answer:?}"
        );
    }
    assert!(service.post("/settle", &named(&first, id.clone())).await.is_good());
    let again = service.post("/settle", &named(&first, id.clone())).await;
    assert_eq!((again.status, again.text("errorReason")), (200, "duplicate_settlement"), "{again:?}");
    assert_eq!(service.post("/settle", &named(&other, id)).await.status, 409);
    assert!(service.post("/settle", &other.v2()).await.is_good(), "nothing of it was claimed");
    let supported = service.get("/supported").await;
    let extensions = supported.body["extensions"].as_array().expect("a list");
    assert!(extensions.contains(&json!("payment-identifier")), "{supported:?}");
}
