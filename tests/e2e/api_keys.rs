//! API keys: each has its own rights, rates and settlements, and changes without a restart.

use std::{fs, sync::Arc};

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE},
    eventually,
    payer::Draft,
    redis::Redis,
    service::{Home, Service, config::table},
};
use futures::{StreamExt as _, stream};
use serde_json::Value;
use toml::Table;

use crate::redis_guard::{counted, with};

/// A token and its SHA-256.
pub(crate) type Token = (&'static str, &'static str);

pub(crate) const FIRST: Token =
    ("test-token-0000000000000001", "4d6c39192af87696ddddcf065123941ea0f36007cb656145350788b93a0366d8");
const SECOND: Token =
    ("test-token-0000000000000002", "b76a0f753a6b43e03281c148fe878067917bdcf299bc865eea83c927d043c366");
const THIRD: Token =
    ("test-token-0000000000000003", "7c87867ea72fd06fd4ab133911dfae8f491c7e473081acdf3648ba308ea5ad6e");

/// An entry of `auth.keys` with every right.
fn key(name: &str, (_, sha256): Token) -> Table {
    table([
        ("name", name.into()),
        ("sha256", sha256.into()),
        ("scopes", vec!["verify", "settle", "status"].into()),
        ("pay_to", vec![PAYEE].into()),
    ])
}

pub(crate) fn limited(name: &str, token: Token, rate: &str) -> Table {
    let mut key = key(name, token);
    key.insert("rate".to_owned(), table([("verify", rate.into())]).into());
    key
}

pub(crate) fn with_keys(home: Home, keys: Vec<Table>) -> Home {
    home.section("auth", "mode", "api_key").section("auth", "keys", keys)
}

/// The status of an answer, its code, and the seconds after which to come back.
async fn ask(url: &str, path: &str, (token, _): Token, body: &Value) -> (u16, String, Option<u64>) {
    let request = e2e::http_client().post(format!("{url}{path}")).bearer_auth(token).json(body);
    let answer = request.send().await.expect("an answer");
    let after = answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    (status, body["code"].as_str().unwrap_or("").to_owned(), after)
}

/// The settlements that a token sees.
async fn listed(url: &str, (token, _): Token) -> Vec<String> {
    let answer = e2e::http_client().get(format!("{url}/settlements")).bearer_auth(token).send().await;
    let body: Value = answer.expect("an answer").json().await.expect("JSON");
    let ids = body["settlements"].as_array().into_iter().flatten();
    ids.filter_map(|settlement| settlement["id"].as_str().map(str::to_owned)).collect()
}

/// Waits until a token is known, or is not.
async fn is_known(url: &str, token: Token, known: bool) {
    eventually(&format!("{} is known: {known}", token.0), || async {
        let (status, ..) = ask(url, "/verify", token, &Draft::default().v2()).await;
        ((status != 401) == known).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_added_and_withdrawn_without_a_restart_and_each_caller_sees_its_own() {
    let chain = Anvil::start().await;
    let mut home = with_keys(Home::on(&chain), vec![key("shop", FIRST)]);
    let service = home.serve().await;
    let url = service.url.clone();
    let (status, ..) = ask(&url, "/settle", FIRST, &Draft::default().v2()).await;
    assert_eq!(status, 200);
    let of_shop = listed(&url, FIRST).await;
    assert_eq!(of_shop.len(), 1);
    is_known(&url, SECOND, false).await;

    // The same caller gets a second token, and another caller comes.
    home = with_keys(home, vec![key("shop", FIRST), key("shop", SECOND), key("other", THIRD)]);
    is_known(&url, THIRD, true).await;
    assert_eq!(listed(&url, SECOND).await, of_shop, "a new token of the same caller");
    assert!(listed(&url, THIRD).await.is_empty(), "another caller");
    let other = e2e::http_client().get(format!("{url}/settlements/{}", of_shop[0])).bearer_auth(THIRD.0);
    assert_eq!(other.send().await.expect("an answer").status(), 404);

    // A file that is wrong changes nothing, and is told of.
    let good = fs::read_to_string(home.config_file()).expect("read");
    fs::write(home.config_file(), good.replace("[[auth.keys]]\n", "[[auth.keys]]\nodd = 1\n")).expect("written");
    eventually("the mistake is told", || async {
        home.log().contains("the API keys cannot be read again").then_some(())
    })
    .await;
    is_known(&url, THIRD, true).await;

    // The old token is withdrawn.
    home = with_keys(home, vec![key("shop", SECOND), key("other", THIRD)]);
    is_known(&url, FIRST, false).await;
    assert_eq!(listed(&url, SECOND).await, of_shop);
    let log = home.log();
    assert!([FIRST, SECOND, THIRD].iter().all(|(token, _)| !log.contains(token)), "{log}");
    assert!(log.contains("the API keys were read again"), "{log}");
    drop(service);
}

/// Commands about rates that Redis did not answer in time, at these services: each may let one request more
/// through, or one fewer.
async fn unanswered(homes: &[Home]) -> usize {
    let mut sum = 0;
    for (home, outcome) in homes.iter().flat_map(|home| ["timeout", "error", "not_used"].map(|outcome| (home, outcome)))
    {
        sum += counted(home, &format!("redis_commands_total{{command=\"rate\",outcome=\"{outcome}\"}}")).await;
    }
    usize::try_from(sum).expect("a few")
}

/// Requests to `/verify` of all services in turn: those that were let through, and the longest wait that the others
/// were told.
pub(crate) async fn burst(services: &[Arc<Service>], token: Token, requests: usize) -> (usize, u64) {
    let asked = (0..requests).map(|number| {
        let url = services[number % services.len()].url.clone();
        async move { ask(&url, "/verify", token, &Draft::default().v2()).await }
    });
    let answers: Vec<_> = stream::iter(asked).buffered(2).collect().await;
    let mut waits = vec![];
    for (status, code, after) in &answers {
        assert!(*status == 200 || (*status == 429 && code == "rate_limited"), "{status} {code}");
        waits.extend(after.filter(|_| *status == 429));
    }
    let passed = answers.iter().filter(|(status, ..)| *status == 200).count();
    assert_eq!(passed + waits.len(), requests, "each refusal says when to come back");
    (passed, waits.into_iter().max().unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_holds_over_instances_and_each_keeps_its_part_while_redis_is_away() {
    let (chain, mut redis) = (Anvil::start().await, Redis::start().await);
    let keys =
        || vec![limited("shop", FIRST, "12/h"), limited("other", SECOND, "12/h"), limited("third", THIRD, "12/h")];
    let homes = [(); 2].map(|()| with_keys(with(Home::on(&chain), &redis.url()), keys()));
    let services = [Arc::new(homes[0].serve().await), Arc::new(homes[1].serve().await)];
    // Every five minutes another one.
    let (passed, wait) = burst(&services, FIRST, 40).await;
    assert!(passed.abs_diff(12) <= unanswered(&homes).await, "{passed} over both instances");
    assert!((200..=300).contains(&wait), "{wait}");
    let (passed, _) = burst(&services[..1], SECOND, 40).await;
    assert!(passed.abs_diff(12) <= unanswered(&homes).await, "{passed} at one instance: all of it");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0);
    let refused = "rate_limited_total{key=\"other\",route=\"verify\",limit=\"rate\"}";
    assert!(counted(&homes[0], refused).await >= 20);

    // Both have seen each other; each keeps half.
    for home in &homes {
        eventually("both instances are counted", || async { (counted(home, "instances").await == 2).then_some(()) })
            .await;
    }
    redis.kill();
    let (passed, _) = burst(&services, THIRD, 40).await;
    assert_eq!(passed, 12, "half of it at each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_has_as_many_requests_under_way_as_it_may() {
    let chain = Anvil::start().await;
    let mut few = key("shop", FIRST);
    few.insert("in_flight_max".to_owned(), 2.into());
    let home = with_keys(Home::on(&chain).server("settle_wait", "20s"), vec![few, key("other", SECOND)]);
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let url = service.url.clone();
            tokio::spawn(async move { ask(&url, "/settle", FIRST, &Draft::default().v2()).await })
        })
        .collect();
    eventually("two settlements are under way", || async {
        (listed(&service.url, SECOND).await.is_empty() && home.metric("settlements_in_flight").await >= 2.0)
            .then_some(())
    })
    .await;
    let (status, code, after) = ask(&service.url, "/verify", FIRST, &Draft::default().v2()).await;
    assert_eq!((status, code.as_str(), after), (429, "too_many_in_flight", Some(1)));
    let (status, ..) = ask(&service.url, "/verify", SECOND, &Draft::default().v2()).await;
    assert_eq!(status, 200, "another caller");
    chain.node.resume_blocks().await;
    for settled in waiting {
        assert_eq!(settled.await.expect("no panic").0, 200);
    }
    let (status, ..) = ask(&service.url, "/verify", FIRST, &Draft::default().v2()).await;
    assert_eq!(status, 200, "there is room again");
}
