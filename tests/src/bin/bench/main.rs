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
    anvil::{Anvil, PAYEE, PAYER, USDC},
    eventually,
    payer::Draft,
    permit2::{Permit2Draft, allow},
    service::Home,
};
use report::{Report, Row};

/// Callers of the closed-loop runs.
const CALLERS: usize = 64;

/// Arrivals a second of the open-loop run.
const ARRIVALS: u32 = 60;

/// Different payments that a verify run goes through.
const PAYMENTS: usize = 2000;

/// How a payment is made, and its name in the table.
#[derive(Clone, Copy)]
enum Method {
    Eip3009,
    Permit2,
    Upto,
}

impl Method {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Eip3009, "exact by EIP-3009"), (Self::Permit2, "exact by Permit2"), (Self::Upto, "upto")];

    /// A request with a payment that nobody has seen.
    fn body(self) -> String {
        match self {
            Self::Eip3009 => Draft::default().v2(),
            Self::Permit2 => Permit2Draft::default().body(),
            Self::Upto => Permit2Draft::upto(10_000).body(),
        }
        .to_string()
    }
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let time = Duration::from_secs(seconds);
    let part = std::env::args().nth(2).unwrap_or_default();
    let wanted = |name: &str| name.contains(&part);
    build_service();
    let chain = Anvil::start().await;
    allow(&chain, PAYER, u128::MAX).await;
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

    for (method, name) in Method::ALL {
        let name = format!("verify {name}, 64 callers");
        if wanted(&name) {
            report.add(verify(&home, &service.url, time, method, name).await);
        }
    }
    let mut settles = vec![("settle exact by EIP-3009, arrivals at 60/s".to_owned(), Method::Eip3009, true)];
    settles.extend(Method::ALL.map(|(method, name)| (format!("settle {name}, 64 callers"), method, false)));
    for (name, method, open) in settles.into_iter().filter(|(name, ..)| wanted(name)) {
        let before = Counters::read(&home).await;
        let paid = chain.node.token_balance(USDC, PAYEE).await;
        let fresh = move |_| method.body();
        let run = if open {
            load::open_loop(&service.url, "/settle", ARRIVALS, time, fresh).await
        } else {
            load::closed_loop(&service.url, "/settle", CALLERS, time, fresh).await
        };
        let after = Counters::read(&home).await;
        let moved = chain.node.token_balance(USDC, PAYEE).await - paid;
        assert!(moved >= u128::from(run.good) * 10_000, "every success moved its money");
        let row = Row::of(&name, &run, time).rpc(report::ratio(after.rpc - before.rpc, run.done));
        report.add(row.commits(report::ratio(after.commits - before.commits, run.done)));
    }
    report.peak_kib = service.memory_kib().0;
    for (method, name) in Method::ALL {
        report.gas.insert(name, gas_of_a_settlement(&chain, &home, method).await);
    }
    report.print();
    report.write();
    drop(service);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "the audit after the benchmark: {text}");
}

async fn verify(home: &Home, url: &str, time: Duration, method: Method, name: String) -> Row {
    let bodies: Arc<Vec<_>> = Arc::new((0..PAYMENTS).map(|_| method.body()).collect());
    let calls = home.metric("rpc_requests_total").await;
    let verify = load::closed_loop(url, "/verify", CALLERS, time, move |i| bodies[i % PAYMENTS].clone()).await;
    let per_payment = report::ratio(home.metric("rpc_requests_total").await - calls, verify.done);
    Row::of(&name, &verify, time).rpc(per_payment)
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

async fn gas_of_a_settlement(chain: &Anvil, home: &Home, method: Method) -> u128 {
    let client = reqwest::Client::new();
    let settled: serde_json::Value = client
        .post(format!("{}/settle", home.url))
        .header("content-type", "application/json")
        .body(method.body())
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
