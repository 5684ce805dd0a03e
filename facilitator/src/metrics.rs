//! Every metric of the service: its name, its labels, its description.
//!
//! Names begin with `facilitator_`, units stand last, labels come from closed
//! sets or from the configuration. Nothing else in the service names a metric.

use std::time::Duration;

use chains_core::{Amount, Network, clock::Millis, transaction::BroadcastResult};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::settlement::{Facts, State};

const PANICS: &str = "facilitator_panics_total";
const HTTP_REQUESTS: &str = "facilitator_http_requests_total";
const HTTP_SECONDS: &str = "facilitator_http_request_duration_seconds";
const CONNECTIONS_DROPPED: &str = "facilitator_http_connections_dropped_total";
const CONNECTIONS_REFUSED: &str = "facilitator_http_connections_refused_total";
const LOG_LINES_DROPPED: &str = "facilitator_log_lines_dropped_total";
const SETTLEMENTS: &str = "facilitator_settlements_total";
const SETTLE_SECONDS: &str = "facilitator_settlement_duration_seconds";
const INCLUDE_SECONDS: &str = "facilitator_settlement_include_duration_seconds";
const UNRESOLVED: &str = "facilitator_settlements_unresolved";
const OLDEST_AGE: &str = "facilitator_settlement_oldest_age_seconds";
const REORGED: &str = "facilitator_settlements_reorged_total";
const LOST: &str = "facilitator_settlements_lost_total";
const UNVERIFIED: &str = "facilitator_settlements_unverified_total";
const FAILED_EXECUTED: &str = "facilitator_failed_executed_total";
const HEAD_BLOCK: &str = "facilitator_head_block";
const BROADCASTS: &str = "facilitator_broadcasts_total";
const REPLACEMENTS: &str = "facilitator_replacements_total";
const FEE_CEILING_REACHED: &str = "facilitator_fee_ceiling_reached_total";
const WALLET_BALANCE: &str = "facilitator_gas_wallet_balance";
const WALLET_REFUSED: &str = "facilitator_gas_wallet_refused";
const COMMITS: &str = "facilitator_store_commits_total";
const COMMIT_FAILURES: &str = "facilitator_store_commit_failures_total";
const COMMIT_SECONDS: &str = "facilitator_store_commit_duration_seconds";
const COMMIT_REQUESTS: &str = "facilitator_store_commit_requests";
const NOTES_DROPPED: &str = "facilitator_store_notes_dropped_total";

/// Describes every metric. Called once, when the recorder is installed.
pub fn describe() {
    describe_counter!(PANICS, "Panics: each is a bug");
    describe_counter!(HTTP_REQUESTS, "Answers by route and class of status");
    describe_histogram!(HTTP_SECONDS, Unit::Seconds, "Time from a request's head to its answer");
    describe_counter!(CONNECTIONS_DROPPED, "Connections that were ended, by the reason");
    describe_counter!(CONNECTIONS_REFUSED, "Connections that found no place");
    describe_counter!(LOG_LINES_DROPPED, "Log lines that found no room because stderr does not take them");
    describe_counter!(SETTLEMENTS, "Settlements that ended, by state: settled, failed, unresolved");
    describe_histogram!(SETTLE_SECONDS, Unit::Seconds, "Time from a settlement's claim to its end");
    describe_histogram!(INCLUDE_SECONDS, Unit::Seconds, "Time from a transaction's commit to its confirmed block");
    describe_gauge!(UNRESOLVED, "Settlements whose proof is withheld");
    describe_gauge!(OLDEST_AGE, Unit::Seconds, "Age of the oldest transaction that waits for a block");
    describe_counter!(REORGED, "Settled transfers that the chain took back");
    describe_counter!(LOST, "Settled transfers that are gone from the chain for good");
    describe_counter!(UNVERIFIED, "Settled transfers whose finality no node can confirm");
    describe_counter!(FAILED_EXECUTED, "Failed payments that somebody else executed later");
    describe_gauge!(HEAD_BLOCK, "Height of the newest block that was seen");
    describe_counter!(BROADCASTS, "Sends by the answer of all endpoints together");
    describe_counter!(REPLACEMENTS, "Attempts that took the place of others, by kind: bump, cancel, gap");
    describe_counter!(
        FEE_CEILING_REACHED,
        "Times that a gas wallet's oldest transaction needed more than it may offer"
    );
    describe_gauge!(WALLET_BALANCE, "Balance of a gas wallet in the coin's atomic units");
    describe_gauge!(WALLET_REFUSED, "1 while no node takes the transactions of a gas wallet");
    describe_counter!(COMMITS, "Commits of the store");
    describe_counter!(COMMIT_FAILURES, "Commits of the store that failed");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "Time of one commit");
    describe_histogram!(COMMIT_REQUESTS, "Requests that shared one commit");
    describe_counter!(NOTES_DROPPED, "Answers to sends that the store had no room to note");
}

/// Counts a panic.
pub fn panicked() {
    counter!(PANICS).increment(1);
}

/// Counts an answer, and the time it took where that is of interest.
pub fn answered(route: &'static str, status_class: &'static str, took: Option<Duration>) {
    counter!(HTTP_REQUESTS, "route" => route, "status" => status_class).increment(1);
    if let Some(took) = took {
        histogram!(HTTP_SECONDS, "route" => route).record(took);
    }
}

/// Counts a connection that was ended.
pub fn connection_dropped(why: &'static str) {
    counter!(CONNECTIONS_DROPPED, "why" => why).increment(1);
}

/// Counts a connection that found no place.
pub fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

/// Sets the number of log lines that found no room.
pub fn log_lines_dropped(count: u64) {
    counter!(LOG_LINES_DROPPED).absolute(count);
}

/// Counts the end of a settlement.
pub fn settlement_ended(facts: &Facts, state: &State, at: Millis) {
    let word = match state {
        State::Settled(_) => "settled",
        State::Failed(_) => "failed",
        State::Unresolved { .. } => "unresolved",
        State::Open => return,
    };
    let network = facts.network.to_string();
    counter!(SETTLEMENTS, "network" => network.clone(), "scheme" => facts.scheme.clone(), "state" => word).increment(1);
    let took = Duration::from_millis(at.0.saturating_sub(facts.created_at.0));
    histogram!(SETTLE_SECONDS, "network" => network, "state" => word).record(took);
}

/// Notes that a confirmed block includes a transaction.
pub fn included(network: &Network, took: Duration) {
    histogram!(INCLUDE_SECONDS, "network" => network.to_string()).record(took);
}

/// Sets the number of unresolved settlements.
pub fn unresolved(network: &Network, count: u64) {
    gauge!(UNRESOLVED, "network" => network.to_string()).set(number(count));
}

/// Sets the age of the oldest transaction that waits.
pub fn oldest_age(network: &Network, wallet: &str, age: Duration) {
    gauge!(OLDEST_AGE, "network" => network.to_string(), "wallet" => wallet.to_owned()).set(age.as_secs_f64());
}

/// Counts a settled transfer that the chain took back.
pub fn reorged(network: &Network) {
    counter!(REORGED, "network" => network.to_string()).increment(1);
}

/// Counts a settled transfer that is gone for good.
pub fn lost(network: &Network) {
    counter!(LOST, "network" => network.to_string()).increment(1);
}

/// Counts a settled transfer that no node can confirm.
pub fn unverified(network: &Network) {
    counter!(UNVERIFIED, "network" => network.to_string()).increment(1);
}

/// Counts a failed payment that somebody else executed.
pub fn failed_executed(network: &Network) {
    counter!(FAILED_EXECUTED, "network" => network.to_string()).increment(1);
}

/// Sets the newest block.
pub fn saw_block(network: &Network, block: u64) {
    gauge!(HEAD_BLOCK, "network" => network.to_string()).set(number(block));
}

/// Counts a send.
pub fn broadcast(network: &Network, answer: &BroadcastResult) {
    counter!(BROADCASTS, "network" => network.to_string(), "answer" => answer.word()).increment(1);
}

/// The reason for an attempt that takes another's place, or fills an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It offers more.
    Bump,
    /// It only uses the nonce up: what the other carries is void.
    Cancel,
    /// It only uses the nonce up: nothing else has it, and others wait for it.
    Gap,
}

/// Begins the series of a network at 0.
pub fn begin_replacements(network: &Network) {
    for why in [Replaced::Bump, Replaced::Cancel, Replaced::Gap] {
        replacements(network, why).increment(0);
    }
    counter!(FEE_CEILING_REACHED, "network" => network.to_string()).increment(0);
}

/// Counts an attempt that takes another's place, or fills an empty one.
pub fn replaced(network: &Network, why: Replaced) {
    replacements(network, why).increment(1);
}

fn replacements(network: &Network, why: Replaced) -> metrics::Counter {
    let kind = match why {
        Replaced::Bump => "bump",
        Replaced::Cancel => "cancel",
        Replaced::Gap => "gap",
    };
    counter!(REPLACEMENTS, "network" => network.to_string(), "kind" => kind)
}

/// Counts that the oldest transaction of a gas wallet needs more than it may offer.
pub fn fee_ceiling_reached(network: &Network) {
    counter!(FEE_CEILING_REACHED, "network" => network.to_string()).increment(1);
}

/// Sets a gas wallet's balance.
pub fn balance(network: &Network, wallet: &str, balance: Amount) {
    let balance = balance.to_string().parse().unwrap_or(f64::MAX);
    gauge!(WALLET_BALANCE, "network" => network.to_string(), "wallet" => wallet.to_owned()).set(balance);
}

/// Notes whether no node takes a gas wallet's transactions.
pub fn refused(network: &Network, wallet: &str, refused: bool) {
    let gauge = gauge!(WALLET_REFUSED, "network" => network.to_string(), "wallet" => wallet.to_owned());
    gauge.set(f64::from(u8::from(refused)));
}

/// Counts a commit of the store.
pub fn committed(took: Duration, requests: usize) {
    counter!(COMMITS).increment(1);
    histogram!(COMMIT_SECONDS).record(took);
    histogram!(COMMIT_REQUESTS).record(u32::try_from(requests).unwrap_or(u32::MAX));
}

/// Counts a commit that failed.
pub fn commit_failed() {
    counter!(COMMIT_FAILURES).increment(1);
}

/// Counts notes that the store had no room for.
pub fn notes_dropped() {
    counter!(NOTES_DROPPED).increment(1);
}

fn number(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    /// Returns what stands in quotes behind `facilitator_` in the Rust files of a folder.
    fn named_in(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let named = |path: std::path::PathBuf| {
            if path.is_dir() {
                return named_in(&path);
            }
            let is_rust = path.extension().is_some_and(|ending| ending == "rs");
            let text = if is_rust { fs::read_to_string(&path).expect("a source") } else { String::new() };
            let quoted = text.split("\"facilitator_").skip(1).filter_map(|rest| rest.split_once('"'));
            let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            quoted.map(|(name, _)| name).filter(is_name).map(|name| format!("facilitator_{name}")).collect()
        };
        entries.flat_map(named).collect()
    }

    #[test]
    fn the_document_names_every_metric_of_the_sources_and_no_other() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let chains =
            fs::read_dir(root.join("../chains")).expect("a folder").map(|entry| entry.expect("an entry").path());
        let sources = chains.map(|chain| chain.join("src")).chain([root.join("src")]);
        let named: BTreeSet<_> = sources.flat_map(|folder| named_in(&folder)).collect();
        let document = fs::read_to_string(root.join("docs/metrics.md")).expect("the document");
        let rows = document.lines().filter_map(|line| line.strip_prefix("| `facilitator_")?.split_once('`'));
        let described: BTreeSet<_> = rows.map(|(name, _)| format!("facilitator_{name}")).collect();
        assert!(named.len() > 20, "{named:?}");
        assert_eq!(described, named);
    }
}
