//! Access to the service, and its end.

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE},
    payer::Draft,
    service::{Home, Stored, config::table},
};
use serde_json::Value;

/// SHA-256 of [`TOKEN`].
const SHA256: &str = "4d6c39192af87696ddddcf065123941ea0f36007cb656145350788b93a0366d8";
const TOKEN: &str = "test-token-0000000000000001";

async fn ask(url: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
    let mut request = e2e::http_client().post(url).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// A01, I04.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_known_key_nothing_is_read_and_with_one_only_its_payees_are_paid() {
    let chain = Anvil::start().await;
    let key = table([
        ("name", "shop".into()),
        ("sha256", SHA256.into()),
        ("scopes", vec!["verify", "settle"].into()),
        ("pay_to", vec![PAYEE].into()),
    ]);
    let home = Home::on(&chain).section("auth", "mode", "api_key").section("auth", "keys", vec![key]);
    let service = home.serve().await;
    let (settle, body) = (format!("{}/settle", service.url), Draft::default().v2());
    for token in [None, Some("wrong"), Some("")] {
        let (status, answer) = ask(&settle, token, &body).await;
        assert_eq!((status, &answer["success"]), (401, &Value::Bool(false)), "{answer}");
        assert!(answer["payer"].is_string() && answer["requestId"].is_string(), "{answer}");
    }
    let other =
        Draft { to: "0x90F79bf6EB2c4f870365E785982E1f101E93b906".parse().expect("an address"), ..Draft::default() };
    let (status, answer) = ask(&settle, Some(TOKEN), &other.v2()).await;
    assert_eq!((status, answer["errorReason"].as_str()), (200, Some("pay_to_not_allowed")), "{answer}");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0);
    let (_, answer) = ask(&settle, Some(TOKEN), &body).await;
    assert_eq!(answer["success"], true, "{answer}");
    let listed = e2e::http_client().get(format!("{}/settlements", service.url)).bearer_auth(TOKEN).send().await;
    assert_eq!(listed.expect("an answer").status(), 403, "the key has no scope `status`");
    assert_eq!(service.get("/supported").await.status, 200, "what can be paid with is no secret");
    assert!(!home.log().contains(TOKEN), "C: no token in the log");
}

/// G13.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_answers_what_is_in_flight_and_goes_on_at_the_next_start() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("settle_wait", "3s");
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let body = Draft::default().v2();
    let (url, asked) = (format!("{}/settle", service.url), body.clone());
    let waiting = tokio::spawn(async move { ask(&url, None, &asked).await });
    e2e::eventually("the settlement is in flight", || async {
        let listed = service.get("/settlements").await;
        (listed.body["settlements"].as_array()?.len() == 1).then_some(())
    })
    .await;
    let stopped = tokio::task::spawn_blocking(move || service.stop());
    let (status, answer) = waiting.await.expect("no panic");
    assert_eq!((status, answer["errorReason"].as_str()), (200, Some("settlement_pending")), "{answer}");
    assert_eq!(stopped.await.expect("no panic"), Some(0));
    chain.node.resume_blocks().await;
    let service = home.serve().await;
    let retry = service.post("/settle", &body).await;
    assert!(retry.is_good(), "the success was given to nobody yet: {retry:?}");
    assert_eq!(retry.body["transaction"], answer["transaction"]);
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
}

/// A second process on the same file would give out the same nonces; those that share a server have `instances`.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_file_is_refused() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Sqlite);
    let _service = home.serve().await;
    let second = home
        .command(&["serve"])
        .env("FACILITATOR__SERVER__LISTEN", "127.0.0.1:0")
        .env("FACILITATOR__ADMIN__LISTEN", "127.0.0.1:0")
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && text.contains("in use"), "{text}");
}
