//! The log of an operator's first day: what runs, what was answered, what became of it, and nothing that is secret.

use std::collections::BTreeSet;

use e2e::{
    anvil::{Anvil, GAS_WALLET, GAS_WALLET_KEY, NETWORK},
    eventually,
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::{Home, Stored, text_of},
};
use serde_json::{Value, json};

/// Every line of the log; one that is no JSON object fails the test.
fn lines(home: &Home) -> Vec<Value> {
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    home.log().lines().map(read).collect()
}

fn with<'l>(lines: &'l [Value], message: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with(message))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_id_finds_every_line_of_its_settlement_and_the_settlement_itself() {
    const ID: &str = "order-4711.first";
    let chain = Anvil::start().await;
    let home = Home::on(&chain).logs_json("info,facilitator=debug");
    let service = home.serve().await;
    let client = e2e::http_client();
    let body = Draft::default().v2();
    let post = |path: &str, id: &'static str| {
        client.post(format!("{}{path}", home.url)).header("x-request-id", id).json(&body).send()
    };
    let verified = post("/verify", "order-4711.verify").await.expect("an answer");
    assert_eq!(verified.headers()["x-request-id"], "order-4711.verify");
    let settled: Value = post("/settle", ID).await.expect("an answer").json().await.expect("JSON");
    let (id, hash) = (settled["extra"]["settlementId"].as_str().expect("an id"), settled["transaction"].clone());
    let again: Value = post("/settle", "order-4711.again").await.expect("an answer").json().await.expect("JSON");
    assert_eq!(again["errorReason"], "duplicate_settlement");
    chain.node.mine_blocks(80).await;
    eventually("it is final", || async { (!with(&lines(&home), "final:").is_empty()).then_some(()) }).await;
    let lines = lines(&home);
    let of_settlement: Vec<&Value> = lines.iter().filter(|line| line["settlement_id"] == id).collect();
    // Another request's answer names the settlement too, under its own id.
    let (ours, others): (Vec<&Value>, Vec<&Value>) = of_settlement.iter().partition(|line| line["request_id"] == ID);
    assert_eq!(others.len(), 1, "{others:?}");
    assert_eq!((&others[0]["request_id"], &others[0]["outcome"]), (&json!("order-4711.again"), &json!("duplicate")));
    let story = ["stored; it is sent now", "settled", "/settle answered", "final: the chain cannot take it back"];
    let told: BTreeSet<&str> = ours.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(told, BTreeSet::from(story), "from admission to finality");
    for line in &ours {
        let named = (&line["network"], &line["transaction"]);
        assert_eq!(named, (&json!(NETWORK), &hash), "{line}");
    }
    let answers: Vec<_> = with(&lines, "/settle answered").iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(answers, ["success", "duplicate"], "one line for each answer");
    let verified = with(&lines, "/verify answered");
    assert_eq!(
        (verified.len(), &verified[0]["level"], &verified[0]["request_id"]),
        (1, &json!("DEBUG"), &json!("order-4711.verify"))
    );
    let found = service.get(&format!("/settlements?requestId={ID}")).await;
    assert_eq!(found.body["settlements"][0]["id"], id, "{found:?}");
    assert_eq!(found.body["settlements"].as_array().map(Vec::len), Some(1));
    assert_eq!(service.settlement(id).await.text("requestId"), ID);
    assert_eq!(service.get("/settlements?requestId=order").await.body["settlements"], json!([]));
    for name in [ID, id] {
        let shown = text_of(&home.run(&["settlement", name]));
        assert!(shown.contains(&format!("request      {ID}")) && shown.contains(id), "{shown}");
    }
    drop(service);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_line_says_what_runs_and_no_line_holds_a_secret_a_body_or_a_path() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let node = format!("{}/v2/canary-of-a-path?key=canary-of-a-node", proxy.url);
    let home = Home::on(&chain)
        .stored_in(Stored::Sqlite)
        .rpc(&[&node])
        .server("settle_wait", "2s")
        .network("recheck_interval", "200ms")
        .logs_json("trace,hyper=info,h2=info,reqwest=info,sqlx=info,tower=info");
    let service = home.serve().await;
    let good = Draft::default();
    assert!(service.post("/verify", &good.v2()).await.is_good());
    assert!(service.post("/settle", &good.v2()).await.is_good());
    let mut bad = Draft::default().v2();
    bad["paymentPayload"]["payload"]["signature"] = json!("0xcanary-of-a-body");
    bad["paymentPayload"]["resource"] = json!({"url": "https://canary-of-a-resource.example/x"});
    assert!(!service.post("/settle", &bad).await.is_good());
    service.get("/canary-of-a-request?token=canary-of-a-query").await;
    service.try_post("/settle", &json!({"canary-of-a-body": 1}), Some("canary-of-a-key-0123456789")).await;
    // The node fails in its own words, which repeat its URL.
    proxy.fail("*", Fault::Refuse(-32000, "no such key: https://x.example/v2/canary-of-a-node"), Times::Always);
    assert_eq!(service.post("/settle", &Draft::default().v2()).await.status, 503);
    eventually("the fault is said", || async { with(&lines(&home), "there is no next block").first().map(|_| ()) })
        .await;
    let lines = lines(&home);
    let first = &with(&lines, "the service runs")[0];
    let expected = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("configuration", home.config_file().display().to_string()),
        ("networks", NETWORK.to_owned()),
        ("wallets", format!("{NETWORK}:{GAS_WALLET}")),
        ("store", home.database().display().to_string()),
        ("public", home.url.trim_start_matches("http://").to_owned()),
        ("admin", home.admin_url.trim_start_matches("http://").to_owned()),
    ];
    for (field, value) in expected {
        assert_eq!(first[field].as_str(), Some(value.as_str()), "{field} of {first}");
    }
    assert!(first["commit"].as_str().is_some_and(|commit| !commit.is_empty()), "{first}");
    let text = home.log();
    let key = GAS_WALLET_KEY.trim_start_matches("0x");
    let signature = hex::encode(good.signature());
    for secret in ["canary", key, &key.to_uppercase(), &signature] {
        let found = text.lines().find(|line| line.contains(secret));
        assert!(found.is_none(), "{secret}: {found:?}");
    }
    drop(service);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_wrong_is_said_again() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&proxy.url]).logs_json("info");
    let service = home.serve().await;
    proxy.fail("*", Fault::LoseRequest, Times::Always);
    let node = proxy.url.trim_start_matches("http://").to_owned();
    eventually("a node that is still down, and blocks that still do not come, are said again", || async {
        let lines = lines(&home);
        let again = |message: &str| {
            let lines = with(&lines, message);
            lines.into_iter().find(|line| line["network"] == NETWORK && line["lasted_s"].as_u64() >= Some(9)).cloned()
        };
        let (down, blocks) = (again("a node is still not well")?, again("there is still no next block")?);
        (down["node"] == node && !down["error"].is_null() && !blocks["error"].is_null()).then_some(())
    })
    .await;
    let lines = lines(&home);
    let first = with(&lines, "a node is not well");
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(with(&lines, "a node is still not well").len() <= 2, "at growing intervals");
    proxy.heal();
    eventually("it is said that it is over", || async {
        with(&self::lines(&home), "a node is well again").first().map(|_| ())
    })
    .await;
    drop(service);
}
