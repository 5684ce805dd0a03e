//! Settlements can be looked up: over HTTP, with the command, with the audit.

use e2e::{
    anvil::{Anvil, NETWORK},
    node::parse_quantity,
    payer::Draft,
    service::{Home, Service, text_of},
};
use reqwest::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_is_found_by_id_transaction_payer_and_nonce_and_tells_its_whole_story() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let draft = Draft::default();
    let settled = service.post("/settle", &draft.v2()).await;
    assert!(settled.is_good(), "{settled:?}");
    let id = settled.body["extra"]["settlementId"].as_str().expect("an id");
    let transaction = settled.text("transaction");
    let found = service.get(&format!("/settlements/{id}")).await;
    assert_eq!(found.status, 200, "{found:?}");
    for (key, value) in
        [("id", id), ("state", "settled"), ("network", NETWORK), ("transaction", transaction), ("amount", "10000")]
    {
        assert_eq!(found.text(key), value, "{found:?}");
    }
    assert!(found.text("feePaid").parse::<u128>().is_ok_and(|fee| fee > 0), "{found:?}");
    assert!(found.body["attempts"][0].to_string().contains(transaction), "{found:?}");
    let (payer, nonce) = (draft.from, draft.nonce);
    for query in [format!("transaction={transaction}"), format!("network={NETWORK}&payer={payer}&nonce={nonce}")] {
        let listed = service.get(&format!("/settlements?{query}")).await;
        assert!(listed.body.to_string().contains(id), "{query}: {listed:?}");
    }
    assert_eq!(service.get("/settlements?payr=0x1").await.status, 400, "a misspelt filter is not ignored");
    assert_eq!(service.get("/settlements/0195e9a0-0000-7000-8000-000000000000").await.status, 404);
    for name in [id, transaction] {
        let output = home.run(&["settlement", name]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(transaction) && text.contains("settled"), "{text}");
    }
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

/// The service sees a block later than it is made: the chain's own clock is what others can compare.
#[tokio::test(flavor = "multi_thread")]
async fn the_block_of_a_settlement_is_shown_with_its_own_time() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let settled = service.post("/settle", &Draft::default().v2()).await;
    assert!(settled.is_good(), "{settled:?}");
    let found = service.settlement(settled.settlement_id()).await;
    let block = &found.body["attempts"][0]["block"];
    let made = chain.node.call("eth_getBlockByHash", json!([block["hash"], false])).await;
    let made = u64::try_from(parse_quantity(&made["timestamp"])).expect("a time");
    assert_eq!(block["timestamp"], made, "{found:?}");
    let (hour, minute, second) = (made / 3_600 % 24, made / 60 % 60, made % 60);
    let at = format!("T{hour:02}:{minute:02}:{second:02}.000Z");
    let shown = text_of(&home.run(&["settlement", settled.settlement_id()]));
    let line = format!("{at}  included in block {} {}", block["number"], block["hash"].as_str().unwrap_or_default());
    assert!(shown.contains(&line), "{line}: {shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn supported_lists_both_versions_and_readiness_says_why() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    for prefix in ["", "/platform/v2/x402"] {
        let supported = service.get(&format!("{prefix}/supported")).await;
        assert_eq!(supported.status, 200);
        let text = supported.body["kinds"].to_string();
        assert!(text.contains("eip155:84532") && text.contains("base-sepolia"), "{text}");
        assert!(supported.body["signers"]["eip155:*"].is_array() && supported.body["extensions"].is_array());
    }
    assert_eq!(service.get("/health").await.text("status"), "ok");
    let page = reqwest::get(&service.url).await.expect("an answer").text().await.expect("a page");
    assert!(page.contains("eip155:84532 (base-sepolia)") && page.contains("viewport"), "{page}");
    is_not_sent_twice(&service, "/supported").await;
    drop(chain);
    e2e::eventually("readiness notices that the chain is gone", || async {
        let ready = service.get("/ready").await;
        (ready.status == 503 && ready.body.to_string().contains(NETWORK)).then_some(())
    })
    .await;
}

/// B12: who has it already is told so, and no node is asked.
async fn is_not_sent_twice(service: &Service, path: &str) {
    let client = e2e::http_client();
    let ask = |tag: Option<HeaderValue>| {
        let request = client.get(format!("{}{path}", service.url));
        let request = tag.into_iter().fold(request, |request, tag| request.header(IF_NONE_MATCH, tag));
        async move { request.send().await.expect("an answer") }
    };
    let tag = ask(None).await.headers()[ETAG].clone();
    let again = ask(Some(tag)).await;
    assert_eq!(again.status(), 304);
    assert!(again.bytes().await.expect("a body").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_serves_the_service_is_told_on_the_admin_listener_only() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).rpc(&["http://127.0.0.1:9"]);
    let service = home.spawn();
    let public = service.ready_says(&["cannot connect"]).await;
    let public = public.body.to_string();
    assert!(public.contains("rpc[0]: cannot connect") && !public.contains("127.0.0.1:9"), "{public}");
    let admin = reqwest::get(format!("{}/ready", home.admin_url)).await.expect("an answer");
    assert_eq!(admin.status(), 503);
    let admin = admin.text().await.expect("a body");
    assert!(admin.contains("127.0.0.1:9: cannot connect"), "{admin}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_the_protocol_are_in_errors_of_its_routes_only() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let client = e2e::http_client();
    let plain = ["code", "error", "requestId"];
    let verify = ["code", "error", "invalidMessage", "invalidReason", "isValid", "payer", "requestId"];
    let settle =
        ["code", "error", "errorMessage", "errorReason", "network", "payer", "requestId", "success", "transaction"];
    for (base, method, path, status, members) in [
        (&service.url, "GET", "/nothing", 404, &plain[..]),
        (&service.url, "GET", "/settlements/x", 404, &plain),
        (&service.url, "DELETE", "/supported", 405, &plain),
        (&service.url, "POST", "/nothing/settle/x", 404, &plain),
        (&service.url, "DELETE", "/verify", 405, &verify),
        (&service.url, "POST", "/settle", 415, &settle),
        (&home.admin_url, "GET", "/nothing", 404, &plain),
        (&home.admin_url, "POST", "/metrics", 405, &plain),
    ] {
        let method = method.parse().expect("a method");
        let answer = client.request(method, format!("{base}{path}")).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
        let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
        let body: serde_json::Value = answer.json().await.expect("JSON");
        let found: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(found, members, "{path}");
        assert!(!id.is_empty() && body["requestId"] == id.as_str(), "{path}: {body}");
    }
}
