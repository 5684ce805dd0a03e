//! The table and the JSON.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use e2e::service::Service;
use serde::{Deserialize, Serialize};

use crate::load::Run;

/// One line of the table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its name.
    pub name: String,
    /// Good answers a second.
    pub per_second: f64,
    /// The median of the latency.
    pub p50_ms: Option<f64>,
    /// The 99th percentile of the latency.
    pub p99_ms: Option<f64>,
    /// The service's processor time for each answer.
    pub cpu_us_per_payment: Option<f64>,
    failed: u64,
    rpc_requests_per_payment: Option<f64>,
    #[serde(default)]
    rpc_calls_per_payment: Option<f64>,
    commits_per_payment: Option<f64>,
    /// The wake-ups of the service's threads for each answer.
    #[serde(default)]
    pub wake_ups_per_payment: Option<f64>,
    first_failure: Option<String>,
}

/// The holdings and the work of a service that nobody has asked for anything, and its peak later.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The family that it served.
    pub service: String,
    /// Resident, before it was asked anything.
    pub idle_kib: u64,
    /// Peak.
    pub peak_kib: u64,
    /// Processor time a second meanwhile.
    #[serde(default)]
    pub idle_cpu_us: f64,
    /// Wake-ups of its threads a second meanwhile.
    #[serde(default)]
    pub idle_wake_ups: f64,
}

impl Memory {
    /// Watches a service that nobody asks for anything.
    pub async fn idle(family: &str, service: &Service) -> Self {
        const TIME: Duration = Duration::from_secs(5);
        // It has just opened.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (cpu, wake_ups) = (e2e::hostile::cpu(service.id()), service.wake_ups());
        tokio::time::sleep(TIME).await;
        let cpu = e2e::hostile::cpu(service.id()).saturating_sub(cpu);
        Self {
            service: family.to_owned(),
            idle_kib: service.memory_kib().1,
            idle_cpu_us: ratio(cpu.as_secs_f64() * 1e6, TIME.as_secs()),
            idle_wake_ups: per_second(service.wake_ups().saturating_sub(wake_ups), TIME),
            peak_kib: 0,
        }
    }

    /// Of a service that has worked.
    pub fn now(name: &str, service: &Service) -> Self {
        let (peak_kib, resident) = service.memory_kib();
        Self { service: name.to_owned(), idle_kib: resident, peak_kib, ..Self::default() }
    }

    /// With its peak since.
    pub fn peak(self, service: &Service) -> Self {
        Self { peak_kib: service.memory_kib().0, ..self }
    }
}

/// Bytes of one settlement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Size {
    /// Their place.
    pub what: String,
    /// Their number.
    pub bytes: u64,
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The lines.
    pub rows: Vec<Row>,
    /// Of each service that ran.
    pub memory: Vec<Memory>,
    /// Bytes of a settlement.
    pub sizes: Vec<Size>,
    /// Gas of one settlement of each kind on EVM.
    pub gas: BTreeMap<String, u128>,
}

#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "statistics, not money"
)]
pub(crate) fn ratio(part: f64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part / whole as f64 }
}

#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "statistics, not money"
)]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "statistics, not money")]
fn per_answer(count: u64, answers: u64) -> f64 {
    ratio(count as f64, answers)
}

#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "statistics, not money"
)]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

impl Row {
    /// A line of plain throughput.
    pub fn rate(name: &str, count: u64, time: Duration) -> Self {
        Self { name: name.to_owned(), per_second: per_second(count, time), ..Self::default() }
    }

    /// A line of a run.
    pub fn of(name: &str, run: &Run, time: Duration) -> Self {
        Self {
            p50_ms: Some(millis(run.latency.value_at_quantile(0.5))),
            p99_ms: Some(millis(run.latency.value_at_quantile(0.99))),
            failed: run.done - run.good,
            first_failure: run.first_bad.clone(),
            ..Self::rate(name, run.good, time)
        }
    }

    /// The line of a run of several services, from the line of each.
    ///
    /// # Panics
    /// If there is none.
    pub fn sum(rows: Vec<Self>) -> Self {
        let both = |a: Option<f64>, b: Option<f64>| Some(a.unwrap_or_default() + b.unwrap_or_default());
        let add = |sum: Self, row: Self| Self {
            cpu_us_per_payment: both(sum.cpu_us_per_payment, row.cpu_us_per_payment),
            rpc_requests_per_payment: both(sum.rpc_requests_per_payment, row.rpc_requests_per_payment),
            rpc_calls_per_payment: both(sum.rpc_calls_per_payment, row.rpc_calls_per_payment),
            commits_per_payment: both(sum.commits_per_payment, row.commits_per_payment),
            wake_ups_per_payment: both(sum.wake_ups_per_payment, row.wake_ups_per_payment),
            ..sum
        };
        rows.into_iter().reduce(add).expect("a service")
    }

    /// With HTTP requests to the node for each payment.
    pub fn rpc(self, per_payment: f64) -> Self {
        Self { rpc_requests_per_payment: Some(per_payment), ..self }
    }

    /// With calls to the node, in whatever requests, for each payment.
    pub fn calls(self, per_payment: f64) -> Self {
        Self { rpc_calls_per_payment: Some(per_payment), ..self }
    }

    /// With the processor time that the service used meanwhile, over its answers.
    pub fn cpu(self, used: Duration, answers: u64) -> Self {
        Self { cpu_us_per_payment: Some(ratio(used.as_secs_f64() * 1e6, answers)), ..self }
    }

    /// With the wake-ups of the service's threads meanwhile, over its answers.
    pub fn wake_ups(self, count: u64, answers: u64) -> Self {
        Self { wake_ups_per_payment: Some(per_answer(count, answers)), ..self }
    }

    /// With commits for each payment.
    pub fn commits(self, per_payment: f64) -> Self {
        Self { commits_per_payment: Some(per_payment), ..self }
    }
}

impl Report {
    /// Adds a line.
    pub fn add(&mut self, row: Row) {
        eprintln!("… {}", row.name);
        self.rows.push(row);
    }

    /// Prints the table.
    pub fn print(&self) {
        println!(
            "{:<64} {:>10} {:>10} {:>10} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "", "per s", "p50 ms", "p99 ms", "failed", "cpu us", "wake-ups", "rpc/pay", "calls/pay", "commit/pay"
        );
        let show = |value: Option<f64>, digits: usize| value.map_or_else(String::new, |v| format!("{v:.digits$}"));
        for row in &self.rows {
            let Row {
                name,
                per_second,
                p50_ms,
                p99_ms,
                cpu_us_per_payment: cpu,
                failed,
                rpc_requests_per_payment: rpc,
                rpc_calls_per_payment: calls,
                commits_per_payment: commits,
                wake_ups_per_payment: wakes,
                ..
            } = row;
            let (p50, p99, rpc, commits) = (show(*p50_ms, 1), show(*p99_ms, 1), show(*rpc, 3), show(*commits, 3));
            let (cpu, wakes, calls) = (show(*cpu, 0), show(*wakes, 1), show(*calls, 3));
            println!(
                "{name:<64} {per_second:>10.0} {p50:>10} {p99:>10} {failed:>7} {cpu:>9} {wakes:>9} {rpc:>9} {calls:>9} {commits:>9}"
            );
            if let Some(failure) = &row.first_failure {
                println!("    first failure: {failure}");
            }
        }
        for Memory { service, idle_kib, peak_kib, idle_cpu_us, idle_wake_ups } in &self.memory {
            println!(
                "{service}: idle {idle_kib} KiB, {idle_cpu_us:.0} us of CPU and {idle_wake_ups:.0} wake-ups a second; \
                 peak {peak_kib} KiB"
            );
        }
        for Size { what, bytes } in &self.sizes {
            println!("bytes of a settlement {what}: {bytes}");
        }
        if !self.gas.is_empty() {
            println!("gas of a settlement: {:?}", self.gas);
        }
    }

    /// Writes the JSON.
    pub fn write(&self) {
        let text = serde_json::to_string_pretty(self).expect("JSON");
        fs::write(Self::path(), text).expect("written");
        println!("written to target/bench.json");
    }

    /// Reads what the last run has written.
    pub fn read() -> Self {
        let text = fs::read_to_string(Self::path()).expect("a run has written it");
        serde_json::from_str(&text).expect("a report")
    }

    fn path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench.json")
    }
}
