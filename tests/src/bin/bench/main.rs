//! The benchmark: the service beside the chain's own limit, in one run.
//!
//! `cargo run --release -p e2e --bin bench [seconds [part]]` prints a table and writes
//! `target/bench.json`; `part` is a piece of the names of the lines that are wanted, for example `Solana`.
//! `… --bin bench compare BINARY [seconds [part]]` runs the lines by turns with another build of the service, for
//! example an earlier version, and prints both.
//! `… --bin bench hostile [seconds]` puts honest callers beside strangers instead and ends with 1 when a
//! bound does not hold.
//! Needs `anvil` and `solana-test-validator` on PATH (`tests/run` brings both). Everything runs on this
//! machine: the load driver, the service and the chain share its cores.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command that reports")]
#![expect(clippy::float_arithmetic, reason = "statistics, not money")]

mod compare;
mod evm;
mod hostile;
mod hot_path;
mod load;
mod many;
mod report;
mod store;
mod svm;

use std::{process::Command, time::Duration};

use e2e::service::{BINARY_VARIABLE, Home, Service};
use load::Run;
use report::{Report, Row, ratio};

/// Callers of the closed-loop runs.
const CALLERS: usize = 64;

/// Different payments that a verify run goes through.
const PAYMENTS: usize = 2000;

#[tokio::main]
async fn main() {
    if std::env::args().nth(1).as_deref() == Some("hostile") {
        let seconds = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(30);
        build_service();
        return hostile::run(Duration::from_secs(seconds)).await;
    }
    if std::env::args().nth(1).as_deref() == Some("compare") {
        build_service();
        return compare::run(std::env::args().skip(2));
    }
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let time = Duration::from_secs(seconds);
    let part = std::env::args().nth(2).unwrap_or_default();
    let wanted = |name: &str| name.contains(&part);
    let mut report = Report::default();
    store::run(&mut report, time, wanted).await;
    if !part.starts_with("store") {
        build_service();
        evm::run(&mut report, time, wanted).await;
        hot_path::run(&mut report, time, wanted).await;
        many::run(&mut report, wanted).await;
        svm::run(&mut report, time, wanted).await;
    }
    report.print();
    report.write();
}

/// The counters of the service and of the kernel.
struct Counters {
    rpc: f64,
    calls: f64,
    commits: f64,
    cpu: Duration,
    wake_ups: u64,
}

impl Counters {
    async fn read(home: &Home, service: &Service) -> Self {
        let (rpc, calls) = (home.metric("rpc_requests_total").await, home.metric("rpc_calls_total").await);
        let commits = home.metric("store_commits_total").await;
        Self { rpc, calls, commits, cpu: e2e::hostile::cpu(service.id()), wake_ups: service.wake_ups() }
    }

    /// A line with what was counted since.
    async fn since(&self, home: &Home, service: &Service, name: &str, run: &Run, time: Duration) -> Row {
        let now = Self::read(home, service).await;
        let row = Row::of(name, run, time).rpc(ratio(now.rpc - self.rpc, run.done));
        let row = row.calls(ratio(now.calls - self.calls, run.done));
        let row = row.cpu(now.cpu.saturating_sub(self.cpu), run.done);
        let row = row.wake_ups(now.wake_ups.saturating_sub(self.wake_ups), run.done);
        row.commits(ratio(now.commits - self.commits, run.done))
    }
}

/// The benchmark measures the build of this very tree that stands beside it: the release build, unless it is
/// tried out as a debug build itself. Nothing is built where another binary is named.
fn build_service() {
    if std::env::var_os(BINARY_VARIABLE).is_some() {
        return;
    }
    let profile: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--package", "facilitator", "--bin", "facilitator"])
        .args(profile)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the service is built");
}
