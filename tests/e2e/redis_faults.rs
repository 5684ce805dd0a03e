//! A Redis that is slow, full, read-only, paused or gone costs a few requests its budget, and nobody a payment.

use e2e::{
    anvil::{Anvil, GAS_WALLET},
    eventually,
    payer::Draft,
    redis::Redis,
    service::{Home, Service, text_of},
};
use serde_json::Value;

use crate::redis_guard::{counted, with};

/// Requests that meet each fault, one after the other.
const REQUESTS: u64 = 40;

/// The most commands in a row that fail before Redis is left alone.
const FAILURES_MAX: u64 = 5;

/// A fault of Redis: its name, the way to have it, and the way to mend it.
type Fault = (&'static str, fn(&mut Redis), fn(&mut Redis));

const FAULTS: [Fault; 5] = [
    ("paused", |redis| redis.pause(), |redis| redis.resume()),
    ("gone", Redis::kill, |_| ()),
    (
        "full",
        |redis| {
            redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
        },
        |redis| {
            redis.ask(&["CONFIG", "SET", "maxmemory", "64mb"]);
        },
    ),
    (
        "read-only",
        |redis| {
            redis.ask(&["REPLICAOF", "127.0.0.1", "9"]);
        },
        |redis| {
            redis.ask(&["REPLICAOF", "NO", "ONE"]);
        },
    ),
    (
        "slow to write",
        |redis| {
            redis.ask(&["CLIENT", "PAUSE", "600000", "WRITE"]);
        },
        |redis| {
            redis.ask(&["CLIENT", "UNPAUSE"]);
        },
    ),
];

/// Commands that were sent and not answered.
async fn unanswered(home: &Home) -> u64 {
    let of = |outcome: &str| format!("redis_commands_total{{command=\"mark\",outcome=\"{outcome}\"}}");
    counted(home, &of("error")).await + counted(home, &of("timeout")).await
}

/// The requests that Redis has said something about.
async fn answers(home: &Home) -> u64 {
    let of = |answer: &str| format!("replay_marks_total{{answer=\"{answer}\"}}");
    counted(home, &of("first")).await + counted(home, &of("delivered")).await
}

async fn is_used(home: &Home, used: bool) {
    eventually(&format!("Redis is used: {used}"), || async {
        (counted(home, "redis_breaker_open").await == u64::from(!used)).then_some(())
    })
    .await;
}

/// The commands that took longer than 50 ms: the budget is 20, and the machine may be busy.
async fn late(home: &Home) -> u64 {
    let name = "redis_command_duration_seconds";
    counted(home, &format!("{name}_count")).await - counted(home, &format!("{name}_bucket{{le=\"0.05\"}}")).await
}

/// The line of `/ready` about Redis, and the status of the whole.
async fn ready(service: &Service) -> (u16, Value) {
    let answer = service.get("/ready").await;
    let parts = answer.body["parts"].as_array().cloned().unwrap_or_default();
    let line = parts.into_iter().find(|part| part["subject"] == "redis").expect("a line about Redis");
    (answer.status, line)
}

/// Scenario 22.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_fails_costs_five_requests_the_budget_and_nobody_a_payment() {
    let (chain, mut redis) = (Anvil::start_with(&[]).await, Redis::start().await);
    let home = with(Home::on(&chain), &redis.url());
    let service = home.serve().await;
    assert_eq!(ready(&service).await.1["ready"], true);
    for (payments, (name, begin, mend)) in (1..).zip(FAULTS) {
        is_used(&home, true).await;
        let before = unanswered(&home).await;
        begin(&mut redis);
        let body = Draft::default().v2();
        assert!(service.post("/settle", &body).await.is_good(), "{name}: {}", home.log());
        for _ in 0..REQUESTS {
            let refused = service.post("/settle", &body).await;
            assert_eq!(refused.text("errorReason"), "duplicate_settlement", "{name}: {refused:?}");
        }
        assert_eq!(chain.node.transactions_of(GAS_WALLET).await, payments, "{name}");
        let failed = unanswered(&home).await - before;
        assert!((1..=FAILURES_MAX).contains(&failed), "{name}: {failed} of {REQUESTS} commands failed");
        is_used(&home, false).await;
        eventually(&format!("{name}: /ready says so"), || async {
            let (status, line) = ready(&service).await;
            assert_eq!(status, 200, "{name}: Redis need not be there");
            (line["ready"] == false).then_some(())
        })
        .await;
        mend(&mut redis);
        if name == "gone" {
            redis.restart().await;
        }
        is_used(&home, true).await;
        let marked = answers(&home).await;
        assert_eq!(service.post("/settle", &body).await.text("errorReason"), "duplicate_settlement", "{name}");
        assert_eq!(answers(&home).await, marked + 1, "{name}: Redis is asked again, and answers");
    }
    assert_eq!(late(&home).await, 0, "no command held a request for longer than its budget");
    let log = home.log();
    let said = log.matches("Redis is not used until it answers again").count();
    assert!(said <= FAULTS.len() && !log.contains("panicked"), "{log}");
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_starts_without_its_redis_and_uses_it_when_it_comes() {
    let (chain, mut redis) = (Anvil::start().await, Redis::start().await);
    redis.kill();
    let home = with(Home::on(&chain), &redis.url());
    let doctor = text_of(&home.run(&["doctor"]));
    assert!(doctor.contains("warning redis: ") && doctor.contains("goes on without it"), "{doctor}");
    let service = home.serve().await;
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good());
    is_used(&home, false).await;
    redis.restart().await;
    is_used(&home, true).await;
    assert!(home.log().contains("Redis answers: it is used from now on"), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_throw_marks_away_is_refused_at_the_start_and_left_alone_later() {
    let (chain, redis) = (Anvil::start().await, Redis::start_with(&["--maxmemory-policy", "allkeys-lru"]).await);
    let home = with(Home::on(&chain), &redis.url());
    let refused = home.run(&["serve"]);
    let said = text_of(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    for words in ["`allkeys-lru`", "CONFIG SET maxmemory-policy noeviction", "redis.accept_eviction = true"] {
        assert!(said.contains(words), "{said}");
    }
    let doctor = home.run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(2), "{}", text_of(&doctor));
    assert!(text_of(&doctor).contains("error   redis: "), "{}", text_of(&doctor));
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]), "OK");
    let service = home.serve().await;
    is_used(&home, true).await;
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]), "OK");
    is_used(&home, false).await;
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good());
    drop(service);

    let accepted = home.section("redis", "accept_eviction", true);
    let service = accepted.serve().await;
    is_used(&accepted, true).await;
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good());
}
