//! `kill -9` at any moment, then recovery, then the audit.
//!
//! `CRASH_RUNS` sets how often; `./tests/run` does a few, the long run many.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    eventually,
    payer::Draft,
    service::{Home, Service},
};
use serde_json::Value;

const RUNS: u32 = 6;

pub fn runs() -> u32 {
    std::env::var("CRASH_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS)
}

/// Settles new payments until the service is gone; counts the successes.
async fn load(url: String, successes: Arc<AtomicU64>, begun: Arc<std::sync::Mutex<Vec<Value>>>) {
    let client = reqwest::Client::new();
    loop {
        let body = Draft::default().v2();
        begun.lock().expect("no panic").push(body.clone());
        let Ok(answer) = client.post(format!("{url}/settle")).json(&body).send().await else { return };
        let Ok(answer) = answer.json::<Value>().await else { return };
        if answer["success"] == true {
            successes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Everything that was begun is asked for again until it is decided; the
/// number of further successes.
async fn ask_again(service: &Service, begun: Vec<Value>) -> u64 {
    let asked = begun.iter().map(|body| async move {
        eventually("a payment is decided", || async {
            let answer = service.post("/settle", body).await;
            (answer.status == 200 && answer.text("errorReason") != "settlement_pending").then(|| answer.is_good())
        })
        .await
    });
    let good = futures::future::join_all(asked).await;
    u64::try_from(good.into_iter().filter(|good| *good).count()).expect("few")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_paid_twice_when_the_process_is_killed_at_any_moment() {
    let chain = Anvil::start().await;
    let home = Home::with(&chain.node.url, "", "in_flight_max = 64");
    let (successes, mut payments) = (Arc::new(AtomicU64::new(0)), 0_u64);
    for run in 0..runs() {
        let service = home.serve().await;
        let begun = Arc::new(std::sync::Mutex::new(Vec::new()));
        let loads: Vec<_> =
            (0..16).map(|_| tokio::spawn(load(home.url.clone(), Arc::clone(&successes), Arc::clone(&begun)))).collect();
        // The moment is drawn anew each time: anywhere within two blocks.
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..2000))).await;
        service.kill();
        for task in loads {
            task.await.expect("no panic");
        }
        let begun = std::mem::take(&mut *begun.lock().expect("no panic"));
        payments += u64::try_from(begun.len()).expect("few");
        let service = home.serve().await;
        let more = ask_again(&service, begun).await;
        successes.fetch_add(more, Ordering::Relaxed);
        drop(service);
        let (code, text) = home.audit();
        assert_eq!(code, 0, "run {run}: {text}");
        let paid = chain.node.token_balance(USDC, PAYEE).await;
        assert_eq!(paid, u128::from(payments) * 10_000, "run {run}: every payment is paid exactly once");
        let successes = successes.load(Ordering::Relaxed);
        assert!(successes <= payments, "run {run}: {successes} successes of {payments} payments");
        let sequence = chain.node.transactions_of(GAS_WALLET).await;
        assert_eq!(sequence, u128::from(payments), "run {run}: no gap, no transaction too many");
    }
}
