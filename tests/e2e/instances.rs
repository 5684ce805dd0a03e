//! Several instances on one PostgreSQL database: each gas wallet has one owner, whoever is none any more writes
//! nothing, and what one begins another ends.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use e2e::{
    anvil::{Anvil, GAS_WALLET, GAS_WALLET_KEY, PAYEE, USDC, free_port},
    balancer::Balancer,
    eventually,
    payer::Draft,
    redis::Redis,
    service::{Home, Service, Stored, text_of},
    stranger::settle_without_blocks,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::redis_guard::settles_once_of_300;

/// A second and a third gas wallet, others of anvil's well-known accounts.
pub(crate) const SECOND: (&str, &str) = (
    "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
    "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
);
const THIRD: (&str, &str) = (
    "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
    "0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
);

/// Gives every gas wallet to an owner who is not there.
const THEFT: &str = "UPDATE wallet_owner SET owner = 'a thief', owner_name = 'a thief', epoch = epoch + 1";

/// The time within which a dead instance's wallets are another's.
const TAKE_OVER_MAX: Duration = Duration::from_secs(15);

/// A home of an instance with two gas wallets.
async fn first(chain: &Anvil) -> Home {
    for wallet in [GAS_WALLET, SECOND.0, THIRD.0] {
        chain.node.call("anvil_setBalance", json!([wallet, "0x3635c9adc5dea00000"])).await;
    }
    Home::on(chain).stored_in(Stored::Postgres).wallets(&[GAS_WALLET_KEY, SECOND.1]).server("settle_wait", "20s")
}

/// Waits until an instance has so many gas wallets, and the others have so many.
pub(crate) async fn shares(service: &Service, here: usize, elsewhere: usize) {
    let said = format!("gas wallets here: {here}, elsewhere: {elsewhere}");
    drop(service.ready_says(&[&said]).await);
}

/// The gas wallet of a settlement.
pub(crate) fn wallet_of(home: &Home, id: &str) -> String {
    home.postgres().execute(&format!(
        "SELECT t.gas_wallet FROM wallet_transaction t JOIN transaction_item i ON i.transaction_id = t.id \
         WHERE i.settlement = '{id}' ORDER BY t.id DESC LIMIT 1"
    ))
}

/// Stops a process where it is, or lets it go on.
pub(crate) fn signal(service: &Service, signal: &str) {
    let told = Command::new("kill").args([signal, &service.id().to_string()]).status().expect("`kill` runs");
    assert!(told.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_wallet_is_another_s_sends_nothing_new_and_takes_it_back_when_that_one_is_gone() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Postgres).server("settle_wait", "1s");
    let service = home.serve().await;
    let under_way = Draft::default().v2();
    let (id, _) = settle_without_blocks(&chain, &service, &under_way).await;
    home.postgres().execute(THEFT);

    let refused = service.post("/settle", &Draft::default().v2()).await;
    assert_eq!(refused.status, 503, "nothing was begun: {refused:?}");
    let asked_again = service.post("/settle", &under_way).await;
    assert_eq!(asked_again.text("errorReason"), "settlement_pending", "{asked_again:?}");
    assert_eq!(asked_again.settlement_id(), id);
    chain.node.resume_blocks().await;
    chain.node.mine_blocks(3).await;
    let late = service.post("/settle", &under_way).await;
    assert_eq!(late.text("errorReason"), "settlement_pending", "the end is the new owner's to find: {late:?}");
    assert_eq!(service.settlement(&id).await.text("state"), "broadcast");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1, "no transaction of its own");
    // Nobody is there: after a lease's time the wallet is taken over.
    assert!(service.decided(&under_way).await.is_good(), "{}", home.log());
    assert!(service.decided(&Draft::default().v2()).await.is_good());
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 2);
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_joins_gets_its_share_and_both_settle() {
    let chain = Anvil::start().await;
    let home = first(&chain).await;
    let one = home.serve().await;
    assert!(one.decided(&Draft::default().v2()).await.is_good());
    let beside = home.beside("two");
    let two = beside.serve().await;
    shares(&one, 1, 1).await;
    shares(&two, 1, 1).await;
    let mut wallets = vec![];
    for service in [&one, &two] {
        let settled = service.decided(&Draft::default().v2()).await;
        assert!(settled.is_good(), "{settled:?}\n{}\n{}", home.log(), beside.log());
        wallets.push(wallet_of(&home, settled.settlement_id()));
    }
    assert_ne!(wallets[0], wallets[1], "each has its own");
    let told = home.run(&["instances", "--json"]);
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    let names: Vec<_> = told["instances"].as_array().expect("a list").iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["one", "two"], "{told}");
    let wallets = told["wallets"].as_array().expect("a list");
    let owners =
        |name: &str| wallets.iter().filter(|lease| lease["ownerName"] == name && lease["wallet"].is_string()).count();
    assert_eq!((owners("one"), owners("two"), wallets.len()), (1, 1, 3), "two wallets and a duty: {told}");
    assert!(wallets.iter().all(|lease| lease["lives"] == true), "{told}");
    let table = text_of(&home.run(&["instances"]));
    assert!(table.contains("(finality check)") && table.contains("lives"), "{table}");
    let supported = [one.get("/supported").await, two.get("/supported").await];
    assert_eq!(supported[0].body, supported[1].body, "whoever is asked");
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_told_to_stop_hands_over_at_once_with_what_is_under_way() {
    let chain = Anvil::start().await;
    let home = first(&chain).await;
    let one = Arc::new(home.serve().await);
    let beside = home.beside("two");
    let two = beside.serve().await;
    shares(&two, 1, 1).await;
    chain.node.stop_blocks().await;
    let under_way = Draft::default().v2();
    let asked = tokio::spawn({
        let (one, under_way) = (Arc::clone(&one), under_way.clone());
        async move { one.post("/settle", &under_way).await }
    });
    eventually("its transaction is in the pool", || async {
        let pending = chain.node.call("txpool_status", json!([])).await;
        (pending["pending"] == "0x1").then_some(())
    })
    .await;
    let told = Instant::now();
    one.terminate();
    shares_all(&two, 2).await;
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}\n{}\n{}", told.elapsed(), home.log(), beside.log());
    assert!(!asked.is_finished(), "its caller still waits");
    chain.node.resume_blocks().await;
    let answer = asked.await.expect("no panic");
    assert!(answer.is_good(), "what another has settled: {answer:?}\n{}\n{}", home.log(), beside.log());
    let again = two.post("/settle", &under_way).await;
    assert_eq!(again.text("errorReason"), "duplicate_settlement", "{again:?}");
    let mut one = Arc::into_inner(one).expect("nobody asks any more");
    eventually("it ends", || std::future::ready(one.exit_code().map(|code| assert_eq!(code, 0)))).await;
    assert!(two.decided(&Draft::default().v2()).await.is_good());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 20_000);
    beside.assert_audit();
}

/// Waits until an instance has so many gas wallets, and nobody else has any.
pub(crate) async fn shares_all(service: &Service, count: usize) {
    eventually(&format!("it has all {count} gas wallets"), || async {
        let ready = service.try_get("/ready").await?;
        let all = ready.status == 200 && !ready.body.to_string().contains("elsewhere");
        all.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_instance_had_is_taken_over_and_ended_within_seconds() {
    let chain = Anvil::start().await;
    let home = first(&chain).await;
    let one = home.serve().await;
    let beside = home.beside("two");
    let two = beside.serve().await;
    shares(&one, 1, 1).await;
    chain.node.stop_blocks().await;
    let under_way: Vec<Value> = (0..4).map(|_| Draft::default().v2()).collect();
    let asked = under_way.iter().map(|body| one.try_post("/settle", body, None));
    let all_sent = eventually("they are in the pool", || async {
        let pending = chain.node.call("txpool_status", json!([])).await;
        (pending["pending"] == "0x4").then_some(())
    });
    tokio::select! {
        _ = futures::future::join_all(asked) => panic!("nobody is answered"),
        () = all_sent => {}
    }
    // The chain forgets them, too: whoever takes over sends the stored bytes again.
    let killed = Instant::now();
    one.kill();
    chain.node.call("anvil_dropAllTransactions", json!([])).await;
    chain.node.resume_blocks().await;
    shares_all(&two, 2).await;
    assert!(killed.elapsed() < TAKE_OVER_MAX, "{:?}\n{}", killed.elapsed(), beside.log());
    for body in &under_way {
        let decided = two.decided(body).await;
        assert!(decided.is_good(), "{decided:?}\n{}", beside.log());
    }
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 40_000);
    beside.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_was_stopped_beyond_its_lease_begins_nothing_and_says_nothing_wrong() {
    let chain = Anvil::start().await;
    let home = first(&chain).await.server("settle_wait", "1s");
    let one = home.serve().await;
    let beside = home.beside("two");
    let two = beside.serve().await;
    shares(&one, 1, 1).await;
    shares(&two, 1, 1).await;
    let under_way = Draft::default().v2();
    let (id, _) = settle_without_blocks(&chain, &one, &under_way).await;
    let mine = wallet_of(&home, &id);
    signal(&one, "-STOP");
    shares_all(&two, 2).await;
    chain.node.resume_blocks().await;
    two.settlement_in(&id, "settled").await;
    let epochs = "SELECT max(t.epoch) FROM wallet_transaction t";
    let fresh = Draft::default().v2();
    let asked = fresh.clone();
    // Its caller has waited for it to go on: the request is the first that it sees.
    let late = async {
        let late = one.post("/settle", &asked).await;
        assert!(late.is_good() || late.status == 503 || late.text("errorReason") == "settlement_pending", "{late:?}");
        late
    };
    let woken = async { signal(&one, "-CONT") };
    let (late, ()) = tokio::join!(late, woken);
    let decided = two.decided(&fresh).await;
    let duplicate = decided.text("errorReason") == "duplicate_settlement";
    assert!(decided.is_good() != late.is_good() && (decided.is_good() || duplicate), "{late:?} {decided:?}");
    let again = one.post("/settle", &under_way).await;
    assert!(again.is_good(), "nobody was told of its success yet: {again:?}\n{}", home.log());
    let twice = two.post("/settle", &under_way).await;
    assert_eq!(twice.text("errorReason"), "duplicate_settlement", "{twice:?}");
    shares(&one, 1, 1).await;
    assert!(one.decided(&Draft::default().v2()).await.is_good(), "it has a wallet again");
    let stolen = format!("SELECT count(*) FROM wallet_transaction t WHERE t.gas_wallet = '{mine}' AND t.epoch < 1");
    assert_eq!(home.postgres().execute(&stolen), "0");
    let falling = "SELECT count(*) FROM wallet_transaction t JOIN wallet_transaction u ON u.network = t.network \
         AND u.gas_wallet = t.gas_wallet AND u.nonce > t.nonce AND u.epoch < t.epoch";
    assert_eq!(home.postgres().execute(falling), "0", "no older epoch above a newer one");
    assert_ne!(home.postgres().execute(epochs), "");
    home.assert_audit();
}

/// Callers that settle payments one after the other, until they are told to stop; each answer that is no success.
fn callers(url: &str, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<(usize, Vec<String>)>> {
    let caller = |_| {
        let (url, stop, client) = (format!("{url}/settle"), Arc::clone(stop), e2e::http_client());
        tokio::spawn(async move {
            let (mut good, mut others) = (0, vec![]);
            while !stop.load(Ordering::Relaxed) {
                let answer = client.post(&url).json(&Draft::default().v2()).send().await;
                let text = match answer {
                    Ok(answer) => format!("{} {}", answer.status(), answer.text().await.unwrap_or_default()),
                    Err(error) => error.to_string(),
                };
                if text.starts_with("200") && text.contains("\"success\":true") {
                    good += 1;
                } else {
                    others.push(text);
                }
            }
            (good, others)
        })
    };
    (0..6).map(caller).collect()
}

/// As an upgrade does it, with HAProxy as it is delivered.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_behind_haproxy_is_noticed_by_no_caller() {
    let chain = Anvil::start().await;
    let home = first(&chain).await.wallets(&[GAS_WALLET_KEY, SECOND.1, THIRD.1]).server("drain_delay", "3s");
    let homes = [home.beside("two"), home];
    let mut services = [homes[1].serve().await, homes[0].serve().await].map(Some);
    services.reverse();
    drop(services[0].as_ref().expect("it runs").ready_says(&["elsewhere"]).await);
    let port = free_port();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../facilitator/deploy/haproxy/haproxy.cfg");
    let text = fs::read_to_string(file).expect("the file").replace("bind :8402", &format!("bind 127.0.0.1:{port}"));
    let text = ["facilitator-1:8402", "facilitator-2:8402"]
        .into_iter()
        .zip(&homes)
        .fold(text, |text, (name, home)| text.replace(name, home.url.trim_start_matches("http://")));
    let balancer = Balancer::configured(port, &text).await;
    let stop = Arc::new(AtomicBool::new(false));
    let asking = callers(&balancer.url, &stop);
    for place in [0, 1, 0] {
        let leaving = services[place].take().expect("it runs");
        assert_eq!(tokio::task::block_in_place(|| leaving.stop()), Some(0), "{}", homes[place].log());
        let again = homes[place].serve().await;
        drop(again.ready_says(&["elsewhere: 1", "elsewhere: 2"]).await);
        services[place] = Some(again);
    }
    stop.store(true, Ordering::Relaxed);
    let mut settled = 0;
    for asked in asking {
        let (good, others) = asked.await.expect("no panic");
        assert!(others.is_empty(), "{others:?}\n{}\n{}", homes[0].log(), homes[1].log());
        settled += good;
    }
    assert!(settled > 30, "{settled}");
    let paid = chain.node.token_balance(USDC, PAYEE).await;
    assert_eq!(paid, 10_000 * u128::try_from(settled).expect("a count"), "each was paid once");
    homes[0].assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_younger_of_two_instances_of_one_name_ends_and_says_why() {
    let chain = Anvil::start().await;
    let home = first(&chain).await;
    let one = home.serve().await;
    let beside = home.beside("one");
    let mut namesake = beside.spawn();
    let code = eventually("it ends", || std::future::ready(namesake.exit_code())).await;
    let log = beside.log();
    assert!(code == 1 && log.contains("another instance runs under the name \"one\""), "{code} {log}");
    shares_all(&one, 2).await;
    assert!(one.decided(&Draft::default().v2()).await.is_good(), "{}", home.log());
    home.assert_audit();
}

/// B06, E03, over instances.
#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_settles_of_one_payment_over_three_instances_succeed_once_while_redis_is_flushed() {
    let (chain, redis) = (Anvil::start().await, Arc::new(Redis::start().await));
    let home = first(&chain).await.wallets(&[GAS_WALLET_KEY, SECOND.1, THIRD.1]).section("redis", "url", redis.url());
    let homes = [home.beside("two"), home.beside("three")];
    let services = [home.serve().await, homes[0].serve().await, homes[1].serve().await].map(Arc::new);
    for service in &services {
        shares(service, 1, 2).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let flushing = std::thread::spawn({
        let (redis, stop) = (Arc::clone(&redis), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Relaxed) {
                redis.ask(&["FLUSHALL"]);
            }
        }
    });
    for payments in 1..=3 {
        settles_once_of_300(&services, &home).await;
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000 * payments);
    }
    stop.store(true, Ordering::Relaxed);
    flushing.join().expect("no panic");
    home.assert_audit();
}
