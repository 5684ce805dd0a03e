//! The benchmark: the service beside the chain's own limit, in one run.
//!
//! `cargo run --release -p e2e --bin bench [seconds [part]]` prints a table and writes
//! `target/bench.json`. Needs `anvil` on PATH (`tests/run` installs it in
//! `tests/contracts/node_modules`). Everything runs on this machine: the load
//! driver, the service and anvil share its cores.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command that reports")]
#![expect(clippy::float_arithmetic, reason = "statistics, not money")]

mod baseline;
mod load;
mod report;

use std::{process::Command, sync::Arc, time::Duration};

use e2e::{
    anvil::{Anvil, PAYEE, USDC},
    eventually,
    payer::Draft,
    service::Home,
};
use report::{Report, Row};

/// Callers of the closed-loop runs.
const CALLERS: usize = 64;

/// Arrivals a second of the open-loop run.
const ARRIVALS: u32 = 60;

/// Different payments that the verify run goes through.
const PAYMENTS: usize = 2000;

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let time = Duration::from_secs(seconds);
    let part = std::env::args().nth(2).unwrap_or_default();
    let wanted = |name: &str| name.contains(&part);
    build_service();
    let chain = Anvil::start().await;
    let mut report = Report::default();

    if wanted("chain") {
        report.add(baseline::calls(&chain, time).await);
        report.add(baseline::transactions(&chain, time).await);
    }

    let home = Home::with(&chain.node.url, "", "in_flight_max = 256");
    let service = home.serve().await;
    // Idle memory is read once the service has done nothing for a while.
    tokio::time::sleep(Duration::from_secs(3)).await;
    report.idle_kib = service.memory_kib().1;

    if wanted("verify") {
        report.add(verify(&home, &service.url, time).await);
    }
    let settles = [("settle, arrivals at 60/s", true), ("settle, 64 callers", false)];
    for (name, open) in settles.into_iter().filter(|(name, _)| wanted(name)) {
        let before = Counters::read(&home).await;
        let paid = chain.node.token_balance(USDC, PAYEE).await;
        let fresh = |_| Draft::default().v2().to_string();
        let run = if open {
            load::open_loop(&service.url, "/settle", ARRIVALS, time, fresh).await
        } else {
            load::closed_loop(&service.url, "/settle", CALLERS, time, fresh).await
        };
        let after = Counters::read(&home).await;
        let moved = chain.node.token_balance(USDC, PAYEE).await - paid;
        assert!(moved >= u128::from(run.good) * 10_000, "every success moved its money");
        let row = Row::of(name, &run, time).rpc(report::ratio(after.rpc - before.rpc, run.done));
        report.add(row.commits(report::ratio(after.commits - before.commits, run.done)));
    }
    report.peak_kib = service.memory_kib().0;
    report.gas = gas_of_a_settlement(&chain, &home).await;
    report.print();
    report.write();
    drop(service);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "the audit after the benchmark: {text}");
}

async fn verify(home: &Home, url: &str, time: Duration) -> Row {
    let bodies: Arc<Vec<_>> = Arc::new((0..PAYMENTS).map(|_| Draft::default().v2().to_string()).collect());
    let calls = home.metric("rpc_requests_total").await;
    let verify = load::closed_loop(url, "/verify", CALLERS, time, move |i| bodies[i % PAYMENTS].clone()).await;
    let per_payment = report::ratio(home.metric("rpc_requests_total").await - calls, verify.done);
    Row::of("verify, 64 callers", &verify, time).rpc(per_payment)
}

/// What the service has counted.
struct Counters {
    rpc: f64,
    commits: f64,
}

impl Counters {
    async fn read(home: &Home) -> Self {
        Self { rpc: home.metric("rpc_requests_total").await, commits: home.metric("store_commits_total").await }
    }
}

async fn gas_of_a_settlement(chain: &Anvil, home: &Home) -> u128 {
    let client = reqwest::Client::new();
    let settled: serde_json::Value = client
        .post(format!("{}/settle", home.url))
        .json(&Draft::default().v2())
        .send()
        .await
        .expect("answered")
        .json()
        .await
        .expect("JSON");
    let receipt = eventually("a receipt", || async {
        chain.node.try_call("eth_getTransactionReceipt", serde_json::json!([settled["transaction"]])).await
    })
    .await;
    e2e::node::parse_quantity(&receipt["gasUsed"])
}

/// The benchmark measures the release build of this very tree.
fn build_service() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "facilitator", "--bin", "facilitator"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the service is built");
}
