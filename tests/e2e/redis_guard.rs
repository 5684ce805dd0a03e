//! Instances that share a Redis: a repeated payment is refused early, and whatever Redis forgets is decided without it.

use std::{
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chains_core::{
    clock::{Clock, SystemClock},
    protocol,
};
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    eventually,
    payer::{Draft, now},
    proxy::Proxy,
    redis::{
        Redis,
        several::{PRIMARY, Several},
        tls::Certificates,
    },
    service::{Answer, Home, Service, chain_of, text_of},
};

/// The key of the gas wallet of a second instance, which has a store of its own.
pub const SECOND_WALLET_KEY: &str = "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba";

/// A password that nothing may show.
const PASSWORD: &str = "canary-of-redis-0001";

/// A home whose service uses this Redis.
pub fn with(home: Home, url: &str) -> Home {
    home.section("redis", "url", url)
}

/// The value of a series of `/metrics`, by its name without `facilitator_` and its label.
pub async fn counted(home: &Home, series: &str) -> u64 {
    let text = home.metrics().await;
    let line = text.lines().find_map(|line| line.strip_prefix("facilitator_")?.strip_prefix(series)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("{series} is not there"));
    value.parse().unwrap_or_else(|_| panic!("{series} is {value}"))
}

/// Waits until Redis knows the success of a payment.
async fn is_delivered(redis: &Redis, settled: &Answer) {
    let mark = format!("d:{}:{}", settled.settlement_id(), settled.text("transaction"));
    eventually("Redis knows the success", || async {
        let keys = redis.ask(&["--scan", "--pattern", "x402:m:*"]);
        keys.lines().any(|key| redis.ask(&["GET", key]) == mark).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_one_instance_has_settled_is_refused_by_another_before_its_store_and_its_node() {
    let (chain, redis) = (Anvil::start().await, Redis::start().await);
    let node = Proxy::before(&chain.node.url).await;
    let first = with(Home::on(&chain), &redis.url());
    let second = with(Home::on(&chain).rpc(&[&node.url]).wallets(&[SECOND_WALLET_KEY]), &redis.url());
    let (one, other) = (first.serve().await, second.serve().await);
    let body = Draft::default().v2();
    let settled = one.post("/settle", &body).await;
    assert!(settled.is_good(), "{settled:?}");
    is_delivered(&redis, &settled).await;
    let calls = node.calls("eth_call");
    let refused = other.post("/settle", &body).await;
    assert_eq!((refused.status, refused.text("errorReason")), (200, "duplicate_settlement"), "{refused:?}");
    assert_eq!(refused.settlement_id(), settled.settlement_id(), "{refused:?}");
    assert_eq!(refused.text("transaction"), settled.text("transaction"), "{refused:?}");
    assert_eq!(node.calls("eth_call"), calls, "no node is asked");
    assert_eq!(counted(&second, "replay_marks_total{answer=\"delivered\"}").await, 1);

    // A request with a key may be the one that the success belongs to: the store is asked, not Redis.
    let keyed = other.try_post("/settle", &body, Some("order-0000000000000001")).await.expect("an answer");
    assert_eq!(keyed.text("errorReason"), "invalid_exact_evm_nonce_already_used", "{keyed:?}");
    assert!(node.calls("eth_call") > calls);
    let again = one.post("/settle", &body).await;
    assert_eq!(again.text("errorReason"), "duplicate_settlement", "{again:?}");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
    first.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_refused_leaves_no_mark_and_one_that_another_instance_verifies_is_waited_for() {
    let (chain, redis) = (Anvil::start().await, Redis::start().await);
    let home = with(Home::on(&chain), &redis.url());
    let service = home.serve().await;
    let expired = Draft { valid_before: now() - 10, ..Draft::default() }.v2();
    for _ in 0..3 {
        let refused = service.post("/settle", &expired).await;
        assert!(refused.text("errorReason").contains("valid_before"), "{refused:?}");
        eventually("the mark is taken back", || async {
            redis.ask(&["--scan", "--pattern", "x402:m:*"]).is_empty().then_some(())
        })
        .await;
    }
    assert_eq!(counted(&home, "replay_marks_total{answer=\"first\"}").await, 3, "each was the first again");

    // Another instance says that it verifies, and dies: the payment is settled here after the looks.
    let draft = Draft::default();
    let key = key_of(&chain, &draft);
    assert_eq!(redis.ask(&["SET", &key, "p:another", "PX", "60000"]), "OK");
    let began = std::time::Instant::now();
    let settled = service.post("/settle", &draft.v2()).await;
    assert!(settled.is_good(), "{settled:?}");
    assert!(began.elapsed().as_millis() >= 775, "it looked into the store five times");
    assert_eq!(counted(&home, "replay_marks_total{answer=\"elsewhere\"}").await, 1);
    is_delivered(&redis, &settled).await;
    home.assert_audit();
}

/// The key of a payment's mark.
fn key_of(chain: &Anvil, draft: &Draft) -> String {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let network = chain_of(chain, &chain.node.url, &clock);
    let request = protocol::parse(draft.v2().to_string().as_bytes(), &protocol::LegacyNames::new());
    let payment = request.expect("a request").payment.expect("a payment");
    let scheme = network.schemes().iter().find(|scheme| scheme.name() == payment.scheme).expect("exact");
    format!("x402:m:{}", scheme.read(&payment).expect("read").identity())
}

/// Scenario 22; B06, E03.
#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_settles_of_one_payment_succeed_once_while_redis_is_flushed() {
    let (chain, redis) = (Anvil::start().await, Arc::new(Redis::start().await));
    let home = with(Home::on(&chain), &redis.url());
    let service = Arc::new(home.serve().await);
    let stop = Arc::new(AtomicBool::new(false));
    let flushing = std::thread::spawn({
        let (redis, stop) = (Arc::clone(&redis), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Relaxed) {
                redis.ask(&["FLUSHALL"]);
            }
        }
    });
    for payments in 1..=2 {
        settles_once_of_300(std::slice::from_ref(&service), &home).await;
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000 * payments);
    }
    stop.store(true, Ordering::Relaxed);
    flushing.join().expect("no panic");
    assert!(counted(&home, "replay_marks_total{answer=\"first\"}").await >= 2);
    home.assert_audit();
}

/// A way to Redis: its name, the settings of `[redis]`, and the ACL user that it uses.
type Way = (&'static str, Vec<(&'static str, String)>);

/// Settles a payment by each way, and finds its success in Redis by a second request.
async fn settles_by(chain: &Anvil, (name, settings): &Way) -> (Home, Service) {
    let mut home = Home::on(chain);
    for (key, value) in settings {
        home = home.section("redis", key, value.as_str());
    }
    let service = home.serve().await;
    marks(&home, &service, name).await;
    let doctor = text_of(&home.run(&["doctor", "--verbose"]));
    assert!(doctor.contains("ok      redis: ") && doctor.contains("it answers after"), "{name}: {doctor}");
    let printed = text_of(&home.run(&["config", "print"]));
    assert!(printed.contains("[redis]"), "{name}: {printed}");
    for text in [printed, doctor, home.log(), service.get("/ready").await.body.to_string()] {
        assert!(!text.contains(PASSWORD), "{name}: {text}");
    }
    (home, service)
}

/// Settles a payment whose success Redis then knows.
async fn marks(home: &Home, service: &Service, name: &str) {
    let before = counted(home, "replay_marks_total{answer=\"delivered\"}").await;
    let body = Draft::default().v2();
    let settled = service.post("/settle", &body).await;
    assert!(settled.is_good(), "{name}: {settled:?}\n{}", home.log());
    eventually(&format!("{name}: Redis knows the success"), || async {
        let refused = service.post("/settle", &body).await;
        assert_eq!(refused.text("errorReason"), "duplicate_settlement", "{name}: {refused:?}");
        (counted(home, "replay_marks_total{answer=\"delivered\"}").await > before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_redis_works_and_shows_no_password() {
    let chain = Anvil::start_with(&[]).await;
    let certificates = Certificates::default();
    let path = |name: &str| certificates.path(name).display().to_string();
    let secured = e2e::anvil::free_port().to_string();
    let (certificate, key, authority) = (path("server.pem"), path("server.key"), path("ca.pem"));
    let tls = ["--tls-port", &secured, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let clients = ["--tls-ca-cert-file", &authority, "--tls-auth-clients", "no"];
    let redis = Redis::start_with(&[&tls[..], &clients[..]].concat()).await;
    // Nothing but what the documents tell a user to allow.
    let rules = ["on", &format!(">{PASSWORD}"), "~x402:*", "+set", "+get", "+del", "+eval", "+info", "+time"];
    let more = ["+zadd", "+zcard", "+zremrangebyscore", "+expire"];
    let rules = [&rules[..], &more[..]].concat();
    assert_eq!(redis.ask(&[&["ACL", "SETUSER", "app"][..], &rules[..]].concat()), "OK");
    let password = certificates.path("password");
    std::fs::write(&password, format!("{PASSWORD}\n")).expect("written");
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let password = password.display().to_string();
    let (mut sentinel, cluster) = (Several::with_sentinel().await, Several::cluster().await);
    for node in 0..2 {
        for (servers, more) in [(&sentinel, "+role"), (&cluster, "+cluster|slots")] {
            assert_eq!(servers.ask(node, &[&["ACL", "SETUSER", "app"][..], &rules[..], &[more]].concat()), "OK");
        }
    }
    let user = format!("app:{PASSWORD}@127.0.0.1");
    let watched = format!("redis-sentinel://{user}:{}/{PRIMARY}", sentinel.port(2));
    let ways: [Way; 5] = [
        ("a socket, a user", vec![("url", format!("{}?user=app", redis.url())), ("password_file", password)]),
        (
            "TLS",
            vec![("url", format!("rediss://app:{PASSWORD}@127.0.0.1:{secured}/0")), ("ca_file", authority.clone())],
        ),
        ("a port", vec![("url", format!("redis://127.0.0.1:{}", sentinel.port(0)))]),
        ("a cluster", vec![("url", format!("redis-cluster://{user}:{}", cluster.port(1)))]),
        ("Sentinel", vec![("url", watched)]),
    ];
    let mut last = None;
    for way in &ways {
        last = Some(settles_by(&chain, way).await);
    }
    let (home, service) = last.expect("five ways");
    // The primary dies: the Sentinel makes the replica one, and the service follows.
    sentinel.kill(0);
    eventually("the replica is the primary", || async {
        sentinel.ask(1, &["ROLE"]).starts_with("master").then_some(())
    })
    .await;
    // The first request finds out, and is served without Redis.
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good());
    eventually("Redis is used again", || async { (counted(&home, "redis_breaker_open").await == 0).then_some(()) })
        .await;
    marks(&home, &service, "the new primary").await;
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 7);
}

/// A certificate that nobody vouches for: Redis is not used, and the service runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_cannot_prove_who_it_is_is_not_used() {
    let (chain, certificates, other) = (Anvil::start().await, Certificates::default(), Certificates::default());
    let port = e2e::anvil::free_port().to_string();
    let path = |name: &str| certificates.path(name).display().to_string();
    let (certificate, key, authority) = (path("server.pem"), path("server.key"), path("ca.pem"));
    let tls = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let clients = ["--tls-ca-cert-file", &authority, "--tls-auth-clients", "no"];
    let _redis = Redis::start_with(&[&tls[..], &clients[..]].concat()).await;
    let home = with(Home::on(&chain), &format!("rediss://127.0.0.1:{port}")).section(
        "redis",
        "ca_file",
        other.path("ca.pem").display().to_string(),
    );
    let service = home.serve().await;
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good());
    assert_eq!(counted(&home, "redis_breaker_open").await, 1);
    assert_eq!(counted(&home, "redis_commands_total{command=\"mark\",outcome=\"not_used\"}").await, 1);
}

/// Asks 300 times at once for one payment to be settled, of each service in turn: one is told of the success, and the
/// others which transaction it was.
pub async fn settles_once_of_300(services: &[Arc<Service>], home: &Home) {
    let body = Draft::default().v2();
    let asked = (0..300).zip(services.iter().cycle()).map(|(_, service)| {
        let (service, body) = (Arc::clone(service), body.clone());
        tokio::spawn(async move { service.post("/settle", &body).await })
    });
    let answers = futures::future::join_all(asked.collect::<Vec<_>>()).await;
    let answers: Vec<Answer> = answers.into_iter().map(|answer| answer.expect("no panic")).collect();
    let (good, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.is_good());
    assert_eq!(good.len(), 1, "{good:?}\n{}", home.log());
    for other in others {
        assert_eq!(other.text("errorReason"), "duplicate_settlement", "{other:?}");
        assert_eq!(other.text("transaction"), good[0].text("transaction"), "{other:?}");
    }
}
