//! Bad input spends nothing, loses nothing and gets a clear answer in time.

use std::time::{Duration, Instant};

use e2e::{
    anvil::{Anvil, GAS_WALLET},
    payer::Draft,
    permit2::Permit2Draft,
    service::Home,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn raw(url: &str, request: &[u8]) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    drop(stream.write_all(request).await);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    drop(tokio::time::timeout(Duration::from_secs(20), read).await);
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_bodies_get_a_hybrid_400_and_spend_nothing() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let good = Draft::default().v2().to_string();
    let duplicate = good.replacen("\"payTo\"", "\"payTo\":\"0x0\",\"payTo\"", 1);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "invalid_json"),
        ("not JSON", b"hello".to_vec(), "invalid_json"),
        ("array", b"[]".to_vec(), "invalid_json"),
        ("no members", b"{}".to_vec(), "missing_parameters"),
        ("no requirements", br#"{"paymentPayload":{}}"#.to_vec(), "missing_parameters"),
        ("A06 duplicate key", duplicate.into_bytes(), "invalid_payload"),
        ("NUL", good.replace("127", "1\\u00007").replace("exact", "ex\\u0000act").into_bytes(), "invalid_payload"),
        ("invalid UTF-8", [good.as_bytes(), b"\xff"].concat(), "invalid_json"),
        ("deep", deep.into_bytes(), "invalid_json"),
        ("trailing garbage", [good.as_bytes(), b"{}"].concat(), "invalid_json"),
    ];
    for (name, body, code) in cases {
        for path in ["/verify", "/settle", "/platform/v2/x402/verify", "//settle"] {
            let answer = raw(&service.url, &post(path, "application/json", &body)).await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{name} {path}: {answer}");
            assert!(answer.contains(code) && answer.contains("\"payer\":\"\""), "{name} {path}: {answer}");
        }
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_of_the_wrong_type_or_too_slow_is_turned_away() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let good = Draft::default().v2().to_string();
    for (name, request, status) in [
        ("A14 form", post("/settle", "text/plain", good.as_bytes()), "415"),
        ("A02 said too large", b"POST /settle HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 9000000000\r\n\r\n".to_vec(), "413"),
        ("A02 is too large", post("/settle", "application/json", &vec![b' '; 300_000]), "413"),
        ("A04 encoded", b"POST /settle HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}".to_vec(), "415"),
        ("no such path", b"GET /nothing HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".to_vec(), "404"),
        ("method", b"DELETE /settle HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".to_vec(), "405"),
        ("A14 rebinding", b"GET /supported HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n".to_vec(), "4"),
    ] {
        let answer = raw(&service.url, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {answer}");
    }
    let rebound = b"GET /metrics HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert!(raw(&home.admin_url, rebound).await.starts_with("HTTP/1.1 421"), "A14 rebinding of the second listener");
    let asked = Instant::now();
    let answer = raw(&service.url, b"POST /settle HTTP/1.1\r\nhost: 127.0.0.1\r\n").await;
    assert!(asked.elapsed() < Duration::from_secs(15), "A03: the header must come in time: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_value_at_any_place_is_never_valid_and_never_a_5xx() {
    type Body = fn() -> Value;
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let values = [
        json!(null),
        json!(""),
        json!(0),
        json!(-1),
        json!(1.5),
        json!([]),
        json!({}),
        json!(true),
        json!("0x"),
        json!("-1"),
        json!("1e3"),
        json!(" 10000"),
        json!("0x2710"),
        json!("９"),
        json!("x".repeat(10_000)),
        json!("115792089237316195423570985008687907853269984665640564039457584007913129639936"),
    ];
    let bodies: [(Body, &[&str]); 4] = [
        (|| Draft::default().v1(), &EIP3009),
        (|| Draft::default().v2(), &EIP3009),
        (|| Permit2Draft::default().with_permit().body(), &PERMIT2),
        (|| Permit2Draft::upto(10_000).with_permit().body(), &PERMIT2),
    ];
    for (body, fields) in bodies {
        for path in COMMON.iter().chain(fields) {
            for value in &values {
                let mut body = body();
                let Some(place) = body.pointer_mut(path) else { continue };
                *place = value.clone();
                for route in ["/verify", "/settle"] {
                    let asked = Instant::now();
                    let answer = service.post(route, &body).await;
                    assert!(answer.status < 500 && !answer.is_good(), "{route} {path} = {value}: {answer:?}");
                    assert!(asked.elapsed() < Duration::from_secs(2), "{route} {path} = {value}");
                    assert!(answer.body["payer"].is_string(), "{answer:?}");
                }
            }
        }
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0);
}

const COMMON: [&str; 9] = [
    "/paymentRequirements/scheme",
    "/paymentRequirements/network",
    "/paymentRequirements/payTo",
    "/paymentRequirements/asset",
    "/paymentRequirements/amount",
    "/paymentRequirements/maxAmountRequired",
    "/paymentPayload/payload",
    "/paymentPayload/payload/signature",
    "/paymentPayload/x402Version",
];

const EIP3009: [&str; 6] = [
    "/paymentPayload/payload/authorization",
    "/paymentPayload/payload/authorization/from",
    "/paymentPayload/payload/authorization/to",
    "/paymentPayload/payload/authorization/value",
    "/paymentPayload/payload/authorization/validBefore",
    "/paymentPayload/payload/authorization/nonce",
];

const PERMIT2: [&str; 13] = [
    "/paymentPayload/payload/permit2Authorization",
    "/paymentPayload/payload/permit2Authorization/from",
    "/paymentPayload/payload/permit2Authorization/permitted",
    "/paymentPayload/payload/permit2Authorization/permitted/token",
    "/paymentPayload/payload/permit2Authorization/permitted/amount",
    "/paymentPayload/payload/permit2Authorization/spender",
    "/paymentPayload/payload/permit2Authorization/nonce",
    "/paymentPayload/payload/permit2Authorization/deadline",
    "/paymentPayload/payload/permit2Authorization/witness",
    "/paymentPayload/payload/permit2Authorization/witness/to",
    "/paymentPayload/extensions/eip2612GasSponsoring/info",
    "/paymentPayload/extensions/eip2612GasSponsoring/info/amount",
    "/paymentPayload/extensions/eip2612GasSponsoring/info/signature",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_compared_letter_for_letter() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    for name in
        ["eip155:084532", "eip155:+84532", "EIP155:84532", "eip155:84532 ", "eip155:*", "eip155:", "base-sepolia"]
    {
        let mut body = Draft::default().v2();
        body["paymentRequirements"]["network"] = Value::from(name);
        body["paymentPayload"]["accepted"]["network"] = Value::from(name);
        let answer = service.post("/verify", &body).await;
        assert_eq!((answer.status, answer.text("invalidReason")), (200, "invalid_network"), "A13 {name:?}");
    }
}

/// H05: a seller's or a buyer's words name addresses; none of them is asked.
#[tokio::test(flavor = "multi_thread")]
async fn no_address_that_a_payment_names_is_ever_asked() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let bait = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    bait.set_nonblocking(true).expect("set");
    let address = format!("http://{}/", bait.local_addr().expect("bound"));
    let named = |mut body: Value| {
        let schema = json!({"$ref": address, "$schema": address, "type": "object"});
        let extensions = json!({
            "bazaar": {"info": {"input": {"type": "http", "url": address}}, "schema": schema},
            "sign-in-with-x": {"info": {"uri": address}, "schema": schema},
        });
        let payload = &mut body["paymentPayload"];
        payload["resource"] = json!({"url": address, "iconUrl": address, "description": address});
        payload["extensions"] = extensions.clone();
        payload["accepted"]["extra"]["url"] = json!(address);
        let requirements = &mut body["paymentRequirements"];
        (requirements["resource"], requirements["outputSchema"]) = (json!(address), schema);
        requirements["extensions"] = extensions;
        requirements["extra"]["jwks_uri"] = json!(address);
        body
    };
    let (first, second) = (Draft::default(), Draft::default());
    for body in [named(first.v2()), named(second.v1())] {
        for path in ["/verify", "/settle"] {
            let answer = service.post(path, &body).await;
            assert!(answer.is_good(), "{path} {answer:?}");
        }
    }
    let asked = bait.accept().map_err(|error| error.kind());
    assert!(matches!(asked, Err(std::io::ErrorKind::WouldBlock)), "{asked:?}");
}
