//! The edge, byte by byte: probes, header fields, codes, and how connections end.

use std::collections::BTreeSet;

use e2e::{
    anvil::{Anvil, GAS_WALLET_KEY, USDC},
    eventually,
    hostile::wire::{answer, connect, from, request, say},
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::{
        Home,
        config::{asset, table},
    },
};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use toml::Value;

/// SHA-256 of [`TOKEN`].
const SHA256: &str = "4d6c39192af87696ddddcf065123941ea0f36007cb656145350788b93a0366d8";
const TOKEN: &str = "test-token-0000000000000001";

/// T2-04: what load balancers do.
#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_whatever_host_they_name_and_payments_only_to_ours() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("hosts", vec!["facilitator.example"]);
    let service = home.serve().await;
    for host in ["", "host: 10.0.0.7:8402\r\n", "host: facilitator.example.\r\n", "host: evil.example\r\n", "host:\r\n"]
    {
        for path in ["/health", "/ready", "/"] {
            let raw = say(&service.url, format!("GET {path} HTTP/1.1\r\n{host}\r\n")).await;
            assert_eq!(raw.status, 200, "{path} {host:?}: {raw:?}");
        }
    }
    let raw = say(&service.url, "OPTIONS / HTTP/1.0\r\n\r\n").await;
    assert_eq!(raw.status, 204, "HAProxy's own question: {raw:?}");
    assert!(raw.head.contains("allow: get"), "{raw:?}");
    for (host, status) in [
        ("facilitator.example", 200),
        ("facilitator.example.", 200),
        ("FACILITATOR.example:443", 200),
        ("[::1]:8402", 200),
        ("10.0.0.7", 421),
        ("evil.example", 421),
    ] {
        let raw = say(&service.url, format!("GET /supported HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(raw.status, status, "{host}: {raw:?}");
    }
    let raw = say(&service.url, "GET /supported HTTP/1.1\r\n\r\n").await;
    assert_eq!((raw.status, raw.code()), (421, "unknown_host"), "{raw:?}");
    let target = "GET http://evil.example/supported HTTP/1.1\r\nhost: facilitator.example\r\n\r\n";
    assert_eq!(say(&service.url, target).await.status, 421, "the target stands above the header");
    for url in [&service.url, &home.admin_url] {
        let two = "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example\r\n\r\n";
        let raw = say(url, two).await;
        assert_eq!((raw.status, raw.code()), (400, "ambiguous_host"), "J10: {raw:?}");
    }
}

/// A name, the first line, fields, a body; the status and the code.
type Case<'a> = (&'a str, &'a str, Vec<&'a str>, &'a str, u16, &'a str);

/// T2-36, T2-21c: each field by its grammar, and a code that says whose fault it is.
#[tokio::test(flavor = "multi_thread")]
async fn header_fields_are_read_by_their_grammar_and_mistakes_have_codes() {
    let chain = Anvil::start().await;
    let scopes = vec!["verify", "settle"];
    let key = table([("name", "shop".into()), ("sha256", SHA256.into()), ("scopes", scopes.into())]);
    let home = Home::on(&chain).section("auth", "mode", "api_key").section("auth", "keys", vec![key]).section(
        "admin",
        "token_sha256",
        SHA256,
    );
    let service = home.serve().await;
    let body = Draft::default().v2().to_string();
    let (host, json) = ("host: 127.0.0.1", "content-type: application/json");
    let spellings = [format!("bearer {TOKEN}"), format!("BEARER  {TOKEN}"), format!("Bearer \t{TOKEN} ")];
    for value in &spellings {
        let field = format!("Authorization: {value}");
        let raw = say(&service.url, request("POST /verify", &[host, json, &field], &body)).await;
        assert_eq!((raw.status, &raw.body["isValid"]), (200, &json!(true)), "{value:?}: {raw:?}");
        let raw = say(&home.admin_url, request("GET /metrics", &[host, &field], "")).await;
        assert_eq!(raw.status, 200, "the second listener reads it alike: {raw:?}");
    }
    let bearer = format!("authorization: Bearer {TOKEN}");
    let other = "authorization: Bearer other";
    let cases: [Case<'_>; 14] = [
        ("no key", "POST /settle", vec![json], &body, 401, "api_key_required"),
        ("a wrong key", "POST /verify", vec![json, other], &body, 401, "api_key_required"),
        ("two keys", "POST /verify", vec![json, &bearer, other], &body, 401, "api_key_required"),
        ("another scope", "GET /settlements", vec![&bearer], "", 403, "api_key_not_allowed"),
        ("no type", "POST /verify", vec![&bearer], &body, 415, "unsupported_media_type"),
        (
            "charset",
            "POST /verify",
            vec![&bearer, "content-type: application/json; charset=utf-16"],
            &body,
            415,
            "unsupported_media_type",
        ),
        (
            "a short key",
            "POST /settle",
            vec![json, &bearer, "idempotency-key: abc"],
            &body,
            400,
            "invalid_idempotency_key",
        ),
        (
            "two keys",
            "POST /settle",
            vec![json, &bearer, "idempotency-key: 0123456789abcdef", "idempotency-key: 0123456789abcdeg"],
            &body,
            400,
            "invalid_idempotency_key",
        ),
        ("no JSON", "POST /verify", vec![json, &bearer], "hello", 400, "invalid_json"),
        ("nothing in it", "POST /verify", vec![json, &bearer], "{}", 400, "missing_parameters"),
        ("method", "DELETE /settle", vec![&bearer], "", 405, "method_not_allowed"),
        ("path", "GET /nothing", vec![&bearer], "", 404, "not_found"),
        ("query", "GET /settlements?payr=1", vec![&bearer], "", 400, "invalid_request"),
        ("good", "POST /verify", vec![&bearer, "Content-Type: Application/JSON;charset=\"UTF-8\""], &body, 200, ""),
    ];
    for (name, first, mut fields, body, status, code) in cases {
        fields.push(host);
        let raw = say(&service.url, request(first, &fields, body)).await;
        assert_eq!((raw.status, raw.code()), (status, code), "{name}: {raw:?}");
        assert!(!raw.body.to_string().contains("unexpected_"), "{name}: {raw:?}");
        let is_payment = first.ends_with("/verify") || first.ends_with("/settle");
        assert_eq!(raw.body["payer"].is_string(), is_payment, "members of the protocol on its routes only: {raw:?}");
    }
    let tag = say(&service.url, request("GET /supported", &[host], "")).await;
    let tag = tag.head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag").to_owned();
    for list in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let field = format!("if-none-match: {list}");
        let raw = say(&service.url, request("GET /supported", &[host, &field], "")).await;
        assert_eq!(raw.status, 304, "{list}: {raw:?}");
    }
}

/// G06: one key in two spellings is one key.
#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_in_quotes_is_the_same_key() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let fields = |key: &str| {
        ["host: 127.0.0.1".to_owned(), "content-type: application/json".to_owned(), format!("Idempotency-Key: {key}")]
    };
    let settle = async |key: &str, body: &str| {
        let fields = fields(key);
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        say(&service.url, request("POST /settle", &fields, body)).await
    };
    let body = Draft::default().v2().to_string();
    let first = settle("0123456789abcdef", &body).await;
    assert_eq!(first.body["success"], true, "{first:?}");
    let again = settle("\"0123456789abcdef\"", &body).await;
    assert_eq!((&again.body["success"], &again.body["transaction"]), (&json!(true), &first.body["transaction"]));
    let reused = settle("\"0123456789abcdef\"", &Draft::default().v2().to_string()).await;
    assert_eq!((reused.status, reused.code()), (409, "idempotency_key_reused"), "{reused:?}");
}

/// T2-41.
#[tokio::test(flavor = "multi_thread")]
async fn known_spellings_of_a_network_are_served_and_never_announced() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let mut v1 = Draft::default().v1();
    for name in ["base-sepolia", "eip155:84532"] {
        v1["paymentPayload"]["network"] = json!(name);
        v1["paymentRequirements"]["network"] = json!(name);
        assert!(service.post("/verify", &v1).await.is_good(), "{name}");
    }
    let payload = v1["paymentPayload"].as_object_mut().expect("an object");
    payload.remove("x402Version");
    payload.insert("version".to_owned(), json!("x402/1.0"));
    let settled = service.post("/settle", &v1).await;
    assert!(settled.is_good() && settled.text("network") == "eip155:84532", "the caller's spelling: {settled:?}");
    let mut other = Draft::default().v1();
    other["paymentPayload"]["network"] = json!("base-mainnet");
    other["paymentRequirements"]["network"] = json!("base-mainnet");
    let refused = service.post("/verify", &other).await;
    assert_eq!(refused.text("invalidReason"), "invalid_network", "not configured here: {refused:?}");
    let kinds = service.get("/supported").await.body["kinds"].clone();
    let names: Vec<_> = kinds.as_array().expect("a list").iter().map(|kind| kind["network"].clone()).collect();
    assert!(names.iter().all(|name| name == "eip155:84532" || name == "base-sepolia"), "{names:?}");
}

/// T2-28.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_supported_is_not_told_before_it_is_known_nor_taken_back_for_a_moment() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    proxy.fail("eth_chainId", Fault::LoseRequest, Times::Always);
    let home = Home::on(&chain).rpc(&[&proxy.url]).network("recheck_interval", "200ms");
    let service = home.spawn();
    eventually("the service listens", || async { service.try_get("/health").await }).await;
    let early = say(&service.url, request("GET /supported", &["host: 127.0.0.1"], "")).await;
    assert_eq!((early.status, early.code()), (503, "service_starting"), "{early:?}");
    assert!(early.head.contains("retry-after: "), "{early:?}");
    proxy.heal();
    eventually("the network opens", || async { (service.get("/ready").await.status == 200).then_some(()) }).await;
    let known = service.get("/supported").await;
    assert_eq!((known.status, known.body["kinds"].as_array().map(Vec::is_empty)), (200, Some(false)), "{known:?}");
    proxy.fail("eth_chainId", Fault::Replace(json!("0x1")), Times::Always);
    eventually("the network is closed", || async { (service.get("/ready").await.status == 503).then_some(()) }).await;
    let closed = service.get("/supported").await;
    assert_eq!((closed.status, &closed.body["kinds"]), (200, &known.body["kinds"]), "servers keep it for a lifetime");
}

/// T2-28: a network that never comes up keeps nobody from the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_does_not_come_up_is_left_out_of_what_is_supported_after_a_while() {
    let (chain, other) = (Anvil::start().await, Anvil::start().await);
    other.node.call("anvil_setChainId", json!([11_124])).await;
    let proxy = Proxy::before(&other.node.url).await;
    proxy.fail("eth_chainId", Fault::LoseRequest, Times::Always);
    let second = table([
        ("rpc", vec![proxy.url.as_str()].into()),
        ("gas_wallets", vec![GAS_WALLET_KEY].into()),
        ("block_time", "1s".into()),
        ("assets", vec![Value::from(asset(USDC))].into()),
    ]);
    let home = Home::on(&chain).section("networks", "eip155:11124", second).server("supported_wait", "5s");
    let service = home.spawn();
    let names = |kinds: &serde_json::Value| {
        let names = kinds.as_array().into_iter().flatten().filter_map(|kind| kind["network"].as_str());
        names.filter(|name| name.starts_with("eip155:")).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let ask = || say(&service.url, request("GET /supported", &["host: 127.0.0.1"], ""));
    eventually("the first network is open", || async {
        service.try_get("/ready").await?.body["parts"]
            .as_array()?
            .iter()
            .find(|part| part["subject"] == "eip155:84532" && part["ready"] == true)?;
        Some(())
    })
    .await;
    let early = ask().await;
    assert_eq!((early.status, early.code()), (503, "service_starting"), "the other is still waited for: {early:?}");
    let without = eventually("the other is not waited for any more", || async {
        let answer = ask().await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert!(without.head.contains("cache-control: max-age=10"), "{without:?}");
    let listed = service.get("/supported").await;
    assert_eq!(names(&listed.body["kinds"]), BTreeSet::from(["eip155:84532".to_owned()]), "{listed:?}");
    assert!(service.post("/verify", &Draft::default().v2()).await.is_good());
    let ready = service.get("/ready").await;
    assert!(ready.status == 503 && ready.body.to_string().contains("eip155:11124"), "{ready:?}");
    let log = eventually("the log names the network", || async {
        let log = home.log();
        log.contains("/supported lists the others without it").then_some(log)
    })
    .await;
    assert!(log.contains("eip155:11124"), "{log}");
    assert!((home.metric("network_open").await - 1.0).abs() < f64::EPSILON, "one of two");

    proxy.heal();
    let whole = eventually("both are listed", || async {
        let listed = service.get("/supported").await;
        (names(&listed.body["kinds"]).len() == 2).then(ask)
    })
    .await
    .await;
    assert!(!whole.head.contains("cache-control"), "{whole:?}");
}

/// A connection that is idle for long is kept, and one whose head is slow is not.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_outlives_slow_heads_and_slow_readers() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("header_timeout", "300ms").server("write_timeout", "300ms");
    let service = home.serve().await;
    let ask = request("GET /health", &["host: 127.0.0.1"], "");
    let mut kept = connect(&service.url, from(1)).await.expect("connected");
    kept.write_all(ask.as_bytes()).await.expect("sent");
    assert_eq!(answer(&mut kept).await.status, 200);
    // Three times the time that others have, as measured by one of them.
    for _ in 0..3 {
        let mut slow = connect(&service.url, from(1)).await.expect("connected");
        slow.write_all(b"GET /health HTTP/1.1\r\nhost:").await.expect("sent");
        assert_eq!(answer(&mut slow).await.status, 0, "A03: it is closed");
        let mut silent = connect(&service.url, from(1)).await.expect("connected");
        assert_eq!(answer(&mut silent).await.status, 0, "who says nothing at first has no more time");
    }
    kept.write_all(ask.as_bytes()).await.expect("sent");
    assert_eq!(answer(&mut kept).await.status, 200, "proxies keep connections for a minute and more");
    assert!(home.metric("http_connections_dropped_total").await > 5.0);
}

/// G13: what is on its way when the service is told to stop is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_gets_its_answer_and_is_told_to_close() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let ask = request("GET /health", &["host: 127.0.0.1"], "");
    let mut kept = connect(&service.url, from(1)).await.expect("connected");
    kept.write_all(ask.as_bytes()).await.expect("sent");
    assert!(!answer(&mut kept).await.head.contains("connection: close"));
    service.terminate();
    eventually("it has heard", || async { home.log().contains("told to stop").then_some(()) }).await;
    kept.write_all(ask.as_bytes()).await.expect("sent");
    let last = answer(&mut kept).await;
    assert!(last.status == 200 && last.head.contains("connection: close"), "{last:?}");
    assert_eq!(answer(&mut kept).await.status, 0, "and then it is closed");
    assert_eq!(service.stop(), Some(0));
}
