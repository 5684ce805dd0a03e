//! Two builds of the service by turns, so that both meet the same machine in the same minutes.

use std::process::Command;

use e2e::service::{BINARY_VARIABLE, binary};

use crate::report::{Report, Row};

/// Runs of each build; a line shows the better of them, which other work on the machine has disturbed least.
const ROUNDS: usize = 2;

/// Runs the lines with the named build and with this one, and prints both.
///
/// # Panics
/// Without the path of another build, and when a run fails.
pub(crate) fn run(mut arguments: impl Iterator<Item = String>) {
    let other = arguments.next().expect("the path of another build of `facilitator`");
    let own = binary().display().to_string();
    let rest: Vec<String> = arguments.collect();
    let (mut before, mut after) = (Report::default(), Report::default());
    for _ in 0..ROUNDS {
        keep_best(&mut before, measured(&other, &rest));
        keep_best(&mut after, measured(&own, &rest));
    }
    println!(
        "{:<56} {:>21} {:>19} {:>19} {:>15} {:>15}",
        "other | this", "per s", "p50 ms", "p99 ms", "cpu us", "wake-ups"
    );
    for (old, new) in before.rows.iter().zip(&after.rows) {
        let rate = pair(Some(old.per_second), Some(new.per_second), 10, 0);
        let p50 = pair(old.p50_ms, new.p50_ms, 9, 1);
        let p99 = pair(old.p99_ms, new.p99_ms, 9, 1);
        let cpu = pair(old.cpu_us_per_payment, new.cpu_us_per_payment, 7, 0);
        let wakes = pair(old.wake_ups_per_payment, new.wake_ups_per_payment, 7, 1);
        println!("{:<56} {rate} {p50} {p99} {cpu} {wakes}", old.name);
    }
    for (old, new) in before.memory.iter().zip(&after.memory) {
        let (idle, peak) = ((old.idle_kib, new.idle_kib), (old.peak_kib, new.peak_kib));
        println!(
            "{}: idle {} | {} KiB, {} us of CPU and {} wake-ups a second; peak {} | {} KiB",
            old.service,
            idle.0,
            idle.1,
            pair(Some(old.idle_cpu_us), Some(new.idle_cpu_us), 1, 0),
            pair(Some(old.idle_wake_ups), Some(new.idle_wake_ups), 1, 0),
            peak.0,
            peak.1
        );
    }
}

/// One run of the benchmark, with this build of the service.
fn measured(binary: &str, arguments: &[String]) -> Report {
    let own = std::env::current_exe().expect("a path");
    let done = Command::new(own).args(arguments).env(BINARY_VARIABLE, binary).status().expect("the benchmark runs");
    assert!(done.success(), "the benchmark with {binary}");
    Report::read()
}

/// The better of two runs, line by line.
fn keep_best(best: &mut Report, run: Report) {
    if best.rows.is_empty() {
        *best = run;
        return;
    }
    let better = |old: &Row, new: &Row| new.per_second > old.per_second;
    for (old, new) in best.rows.iter_mut().zip(run.rows) {
        if better(old, &new) {
            *old = new;
        }
    }
}

fn pair(old: Option<f64>, new: Option<f64>, width: usize, digits: usize) -> String {
    let show = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.digits$}"));
    format!("{:>width$}|{:>width$}", show(old), show(new))
}
