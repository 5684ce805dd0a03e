//! Questions that strangers put cost little, and a chain that stands still is asked and written about rarely.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use e2e::{
    anvil::Anvil,
    eventually,
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::{Home, Service, Stored},
    stranger::settle_without_blocks,
};

/// K14: whoever asks for `/ready` in a loop makes nobody write to the disk.
#[tokio::test(flavor = "multi_thread")]
async fn asking_whether_it_is_ready_writes_nothing() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Sqlite);
    let service = home.serve().await;
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good());
    let wal = home.path().join("facilitator.db-wal");
    let (began, mut asked, mut writes) = (Instant::now(), 0, BTreeSet::new());
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(service.get("/ready").await.status, 200);
        asked += 1;
        writes.insert(fs::metadata(&wal).and_then(|file| file.modified()).expect("a write-ahead log"));
    }
    assert!(asked > 20, "{asked} answers in 3 s are too few to tell");
    // A block each second may be written down.
    assert!(writes.len() <= 8, "{} writes for {asked} questions", writes.len());
}

/// Time for growing intervals to reach their bound, and the time for which is counted.
const SETTLED: Duration = Duration::from_secs(25);
const COUNTED: Duration = Duration::from_secs(20);

/// Returns the calls by method and the lines of the log in [`COUNTED`].
async fn count(proxy: &Proxy, home: &Home) -> (BTreeMap<String, u64>, usize) {
    tokio::time::sleep(SETTLED).await;
    let (before, lines) = (proxy.all_calls(), home.log().lines().count());
    tokio::time::sleep(COUNTED).await;
    let mut calls = proxy.all_calls();
    for (method, count) in &mut calls {
        *count -= before.get(method).unwrap_or(&0);
    }
    (calls, home.log().lines().count() - lines)
}

async fn assert_quiet(what: &str, proxy: &Proxy, home: &Home) {
    let (calls, lines) = count(proxy, home).await;
    assert!(calls.values().sum::<u64>() <= 60, "{what}: in {COUNTED:?} {calls:?}");
    assert!(lines <= 4, "{what}: {lines} lines in {COUNTED:?}\n{}", home.log());
}

async fn recovers(service: &Service, home: &Home) {
    eventually("the network takes payments again", || async {
        (service.get("/ready").await.status == 200).then_some(())
    })
    .await;
    assert!(service.decided(&Draft::default().v2()).await.is_good(), "{}", home.log());
}

/// K15.
#[tokio::test(flavor = "multi_thread")]
async fn a_halted_chain_is_asked_and_written_about_rarely() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&proxy.url]).server("settle_wait", "1s");
    let service = home.serve().await;
    settle_without_blocks(&chain, &service, &Draft::default().v2()).await;
    assert_quiet("no blocks", &proxy, &home).await;
    chain.node.resume_blocks().await;
    recovers(&service, &home).await;
}

/// K15.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_refuses_everything_is_asked_and_written_about_rarely() {
    for (what, fault) in [
        ("quota", Fault::Refuse(-32005, "daily request count exceeded, request rate limited")),
        ("HTTP 403", Fault::Status(403)),
    ] {
        let chain = Anvil::start().await;
        let proxy = Proxy::before(&chain.node.url).await;
        let home = Home::on(&chain).rpc(&[&proxy.url]).server("settle_wait", "1s");
        let service = home.serve().await;
        settle_without_blocks(&chain, &service, &Draft::default().v2()).await;
        proxy.fail("*", fault, Times::Always);
        assert_quiet(what, &proxy, &home).await;
        proxy.heal();
        chain.node.resume_blocks().await;
        recovers(&service, &home).await;
    }
}
