//! The metrics of the service: what happened is told here in words of the domain,
//! and only here it gets a name.
//!
//! | module | what it holds |
//! |---|---|
//! | [`names`] | the catalogue: names, kinds, descriptions, buckets |
//! | [`zero`] | every series that can be foreseen, from the start |
//! | [`exact`] | counters of money |
//! | [`exposition`] | the recorder, and the text that Prometheus reads |
//!
//! Names begin with `facilitator_`, units stand last and are base units, labels come
//! from closed sets or from the configuration: what a stranger writes into a request
//! never makes a series.

pub mod exact;
pub mod exposition;
mod names;
pub mod zero;

use std::time::Duration;

use chains_core::{Amount, Network};
use metrics::{counter, gauge, histogram};

use self::names::{
    CLOCK_SKEW, COMMIT_FAILURES, COMMIT_REQUESTS, COMMIT_SECONDS, COMMITS, CONNECTIONS_DROPPED, CONNECTIONS_REFUSED,
    FAILED_EXECUTED, FEE_CEILING_REACHED, HAND_OVERS, HANDED_OVER, HEAD_AGE, HEAD_BLOCK, HTTP_CONNECTIONS,
    HTTP_REQUESTS, HTTP_SECONDS, IN_FLIGHT, INSTANCES, LEASES_LOST, LEASES_TAKEN, LOG_LINES_DROPPED, LOST, MARKS,
    NETWORK_OPEN, NODE_LAG, NODE_UP, NOTES_DROPPED, OLDEST_AGE, PANICS, PAUSED, RATE_LIMITED, READY, REDIS_BREAKER,
    REDIS_COMMANDS, REDIS_SECONDS, REORGED, REPLACEMENTS, SETTLE_ANSWERS, SETTLE_SECONDS, SETTLEMENTS, STAGE_SECONDS,
    STORE_BYTES, STORE_WAL_BYTES, TRANSACTION_SETTLEMENTS, UNVERIFIED, VERIFY_ANSWERS, WALLET_BALANCE,
    WALLET_BALANCE_MIN, WALLET_IN_FLIGHT, WALLET_IN_FLIGHT_MAX, WALLET_REFUSED, WALLET_RUNWAY, WALLET_STATE,
};
use crate::settlement::{Facts, State};

/// The commit that this program was built from; `unknown` outside of a checkout.
pub const COMMIT: &str = env!("FACILITATOR_COMMIT");

/// The compiler that built this program.
pub const RUSTC: &str = env!("FACILITATOR_RUSTC");

/// The states of a gas wallet.
pub const WALLET_STATES: [&str; 5] = ["open", "low", "closed", "elsewhere", "retiring"];

/// A part of a settlement's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the claim until it has a place of its gas wallet.
    Queue,
    /// Signing, of a whole group.
    Sign,
    /// The commit that stores the bytes.
    Commit,
    /// From the commit until a node has accepted them.
    Accept,
    /// From the commit until a block is seen to have them.
    Include,
    /// From there until that block has the configured confirmations.
    Confirm,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Queue, Self::Sign, Self::Commit, Self::Accept, Self::Include, Self::Confirm];

    /// Its label.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Sign => "sign",
            Self::Commit => "commit",
            Self::Accept => "accept",
            Self::Include => "include",
            Self::Confirm => "confirm",
        }
    }
}

/// The purpose for which a gas wallet paid a fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A transfer that settled a payment.
    Settle,
    /// A step before the transfer: gas money for a payer, or its approval.
    Sponsor,
    /// A transaction whose settlement failed with it.
    Failed,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Settle, Self::Sponsor, Self::Failed];

    /// Its label.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::Sponsor => "sponsor",
            Self::Failed => "failed",
        }
    }
}

/// Counts a panic.
pub fn panicked() {
    counter!(PANICS).increment(1);
}

/// Counts an answer by its status, and the time it took where that is of interest.
pub fn answered(route: &'static str, code: u16, took: Option<Duration>) {
    counter!(HTTP_REQUESTS, "route" => route, "code" => code.to_string()).increment(1);
    if let Some(took) = took {
        histogram!(HTTP_SECONDS, "route" => route).record(took);
    }
}

/// Counts an answer of `/verify`.
pub fn verify_answered(network: &str, scheme: &str, outcome: &'static str, reason: &'static str) {
    let labels = [("network", network.to_owned()), ("scheme", scheme.to_owned())];
    answer(VERIFY_ANSWERS, labels, outcome, reason).increment(1);
}

/// Counts an answer of `/settle`, and the time that it took.
pub fn settle_answered(network: &str, scheme: &str, outcome: &'static str, reason: &'static str, took: Duration) {
    let labels = [("network", network.to_owned()), ("scheme", scheme.to_owned())];
    answer(SETTLE_ANSWERS, labels, outcome, reason).increment(1);
    histogram!(SETTLE_SECONDS, "network" => network.to_owned(), "outcome" => outcome).record(took);
}

fn answer(
    name: &'static str,
    [network, scheme]: [(&'static str, String); 2],
    outcome: &'static str,
    reason: &'static str,
) -> metrics::Counter {
    counter!(name, "network" => network.1, "scheme" => scheme.1, "outcome" => outcome, "reason" => reason)
}

/// Notes a connection that was opened, or one that has ended.
pub fn connections(listener: &'static str, opened: bool) {
    let open = gauge!(HTTP_CONNECTIONS, "listener" => listener);
    if opened { open.increment(1.0) } else { open.decrement(1.0) }
}

/// Counts a connection that was ended.
pub fn connection_dropped(reason: &'static str) {
    counter!(CONNECTIONS_DROPPED, "reason" => reason).increment(1);
}

/// Counts a connection that found no place.
pub fn connection_refused(listener: &'static str, reason: &'static str) {
    counter!(CONNECTIONS_REFUSED, "listener" => listener, "reason" => reason).increment(1);
}

/// Sets the number of log lines that found no room.
pub fn log_lines_dropped(count: u64) {
    counter!(LOG_LINES_DROPPED).absolute(count);
}

/// Counts a command to Redis by its use and its outcome, and the time that it took where it was sent.
pub fn redis_command(purpose: &'static str, outcome: &'static str, took: Option<Duration>) {
    counter!(REDIS_COMMANDS, "command" => purpose, "outcome" => outcome).increment(1);
    if let Some(took) = took {
        histogram!(REDIS_SECONDS).record(took);
    }
}

/// Sets whether Redis is left alone.
pub fn redis_breaker(is_open: bool) {
    gauge!(REDIS_BREAKER).set(flag(is_open));
}

/// Sets the number of instances that share a Redis.
pub fn instances(count: u32) {
    gauge!(INSTANCES).set(f64::from(count));
}

/// The kinds of limit that a caller may be over.
const LIMITS: [&str; 2] = ["rate", "in_flight"];

/// Makes the series of a caller's limits.
pub fn begin_limits(key: &str, routes: &[&'static str]) {
    for route in routes {
        for limit in LIMITS {
            counter!(RATE_LIMITED, "key" => key.to_owned(), "route" => *route, "limit" => limit).increment(0);
        }
    }
}

/// Counts a request of a caller that is over one of its limits.
pub fn over_limit(key: &str, route: &'static str, limit: &'static str) {
    counter!(RATE_LIMITED, "key" => key.to_owned(), "route" => route, "limit" => limit).increment(1);
}

/// Counts an answer of the replay guard between instances.
pub fn payment_marked(answer: &'static str) {
    counter!(MARKS, "answer" => answer).increment(1);
}

/// Sets whether a part of the service is ready.
pub fn ready(part: &str, ready: bool) {
    gauge!(READY, "part" => part.to_owned()).set(flag(ready));
}

/// Sets how many things the operator has paused.
pub fn paused(entries: usize) {
    gauge!(PAUSED).set(count(entries));
}

/// Counts the end of a settlement.
pub fn settlement_ended(facts: &Facts, state: &State) {
    let word = match state {
        State::Settled(_) => "settled",
        State::Failed(_) => "failed",
        State::Unresolved { .. } => "unresolved",
        State::Open => return,
    };
    let (network, scheme) = (facts.network.to_string(), facts.scheme.clone());
    counter!(SETTLEMENTS, "network" => network, "scheme" => scheme, "state" => word).increment(1);
}

/// Notes the time that a settlement spent in a stage.
pub fn stage(network: &Network, stage: Stage, took: Duration) {
    histogram!(STAGE_SECONDS, "network" => network.to_string(), "stage" => stage.word()).record(took);
}

/// Adds a fee that a gas wallet has paid, as the receipt says.
pub fn gas_spent(network: &Network, wallet: &str, purpose: Purpose, fee: Amount, decimals: u8) {
    exact::add(network.as_str(), wallet, purpose.word(), fee, decimals);
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

impl Replaced {
    /// Every reason.
    pub(crate) const ALL: [Self; 3] = [Self::Bump, Self::Cancel, Self::Gap];

    /// Its label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Bump => "bump",
            Self::Cancel => "cancel",
            Self::Gap => "gap",
        }
    }
}

/// Notes a transaction that was begun with so many settlements.
pub fn begun(network: &Network, settlements: usize) {
    histogram!(TRANSACTION_SETTLEMENTS, "network" => network.to_string()).record(count(settlements));
}

/// Counts an attempt that takes another's place, or fills an empty one.
pub fn replaced(network: &Network, why: Replaced) {
    counter!(REPLACEMENTS, "network" => network.to_string(), "kind" => why.as_str()).increment(1);
}

/// Counts that the oldest transaction of a gas wallet needs more than it may offer.
pub fn fee_ceiling_reached(network: &Network) {
    counter!(FEE_CEILING_REACHED, "network" => network.to_string()).increment(1);
}

/// Counts a gas wallet that this instance has taken.
pub fn lease_taken(network: &Network) {
    counter!(LEASES_TAKEN, "network" => network.to_string()).increment(1);
}

/// Counts a gas wallet that another instance took from this one.
pub fn lease_lost(network: &Network) {
    counter!(LEASES_LOST, "network" => network.to_string()).increment(1);
}

/// An event of a payment that one instance hands over to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// This instance has handed it over.
    Made,
    /// Its caller has left before another began it.
    Withdrawn,
    /// This instance has taken it.
    Received,
    /// This instance could not begin it.
    HandedBack,
}

impl HandOver {
    /// Every event.
    pub(crate) const ALL: [Self; 4] = [Self::Made, Self::Withdrawn, Self::Received, Self::HandedBack];

    /// Its label.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Withdrawn => "withdrawn",
            Self::Received => "received",
            Self::HandedBack => "handed_back",
        }
    }
}

/// Counts an event of a payment that is handed over.
pub fn hand_over(network: &Network, event: HandOver) {
    counter!(HAND_OVERS, "network" => network.to_string(), "event" => event.word()).increment(1);
}

/// Notes one payment more, or less, that this instance has handed over.
pub fn handed_over(network: &Network, change: f64) {
    gauge!(HANDED_OVER, "network" => network.to_string()).increment(change);
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

/// The state of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkGauges {
    /// It takes payments.
    pub open: bool,
    /// The height of its newest block; 0 before the first.
    pub head_block: u64,
    /// Time since that block was seen; zero before the first.
    pub head_age: Duration,
    /// This clock minus the block's time when it came, in seconds.
    pub clock_skew: i64,
    /// Payments and steps that wait for a place.
    pub queued: usize,
    /// Transactions that no node is known to have.
    pub signed: usize,
    /// Transactions that a node has accepted.
    pub broadcast: usize,
    /// Settlements whose proof is withheld.
    pub unresolved: u64,
    /// The age of the oldest transaction that no block has.
    pub oldest_age: Duration,
}

/// Sets the state of a network.
pub fn network(network: &Network, now: NetworkGauges) {
    let labelled = |name: &'static str| gauge!(name, "network" => network.to_string());
    labelled(NETWORK_OPEN).set(flag(now.open));
    labelled(HEAD_BLOCK).set(number(now.head_block));
    labelled(HEAD_AGE).set(now.head_age.as_secs_f64());
    let skew = i32::try_from(now.clock_skew).unwrap_or(if now.clock_skew < 0 { i32::MIN } else { i32::MAX });
    labelled(CLOCK_SKEW).set(f64::from(skew));
    labelled(OLDEST_AGE).set(now.oldest_age.as_secs_f64());
    let counts = [
        ("queued", count(now.queued)),
        ("signed", count(now.signed)),
        ("broadcast", count(now.broadcast)),
        ("unresolved", number(now.unresolved)),
    ];
    for (state, count) in counts {
        gauge!(IN_FLIGHT, "network" => network.to_string(), "state" => state).set(count);
    }
}

/// The state of a gas wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletGauges {
    /// Its balance, in atomic units; `None` until it has been read.
    pub balance: Option<Amount>,
    /// The balance below which it takes nothing new, in atomic units.
    pub balance_min: Amount,
    /// Decimals of the coin.
    pub decimals: u8,
    /// Transactions that wait for a block.
    pub in_flight: usize,
    /// The most that may.
    pub in_flight_max: usize,
    /// Seconds until it reaches the minimum; `None` while it spends nothing.
    pub runway: Option<u64>,
    /// One of [`WALLET_STATES`].
    pub state: &'static str,
    /// No node takes its transactions.
    pub refused: bool,
}

/// Sets the state of a gas wallet.
pub fn wallet(network: &Network, wallet: &str, now: WalletGauges) {
    let labels = || [("network", network.to_string()), ("wallet", wallet.to_owned())];
    if let Some(balance) = now.balance {
        gauge!(WALLET_BALANCE, &labels()).set(coins(balance, now.decimals));
    }
    gauge!(WALLET_BALANCE_MIN, &labels()).set(coins(now.balance_min, now.decimals));
    gauge!(WALLET_IN_FLIGHT, &labels()).set(count(now.in_flight));
    gauge!(WALLET_IN_FLIGHT_MAX, &labels()).set(count(now.in_flight_max));
    gauge!(WALLET_RUNWAY, &labels()).set(now.runway.map_or(f64::INFINITY, number));
    gauge!(WALLET_REFUSED, &labels()).set(flag(now.refused));
    for state in WALLET_STATES {
        let (network, wallet) = (network.to_string(), wallet.to_owned());
        gauge!(WALLET_STATE, "network" => network, "wallet" => wallet, "state" => state).set(flag(state == now.state));
    }
}

/// Sets what a look at a node has found: its lag in blocks, or that it is down.
pub fn node(network: &Network, node: &str, lag: Option<u64>) {
    let labels = || [("network", network.to_string()), ("node", node.to_owned())];
    gauge!(NODE_UP, &labels()).set(flag(lag.is_some()));
    if let Some(lag) = lag {
        gauge!(NODE_LAG, &labels()).set(number(lag));
    }
}

/// Counts a commit of the store.
pub fn committed(took: Duration, requests: usize) {
    counter!(COMMITS).increment(1);
    histogram!(COMMIT_SECONDS).record(took);
    histogram!(COMMIT_REQUESTS).record(count(requests));
}

/// Counts a commit that failed.
pub fn commit_failed() {
    counter!(COMMIT_FAILURES).increment(1);
}

/// Counts notes that the store had no room for.
pub fn notes_dropped() {
    counter!(NOTES_DROPPED).increment(1);
}

/// Sets the sizes of the database and of its write-ahead log, in bytes, where
/// the log is its own.
pub fn store_size(bytes: u64, wal_bytes: Option<u64>) {
    gauge!(STORE_BYTES).set(wide(bytes));
    if let Some(wal_bytes) = wal_bytes {
        gauge!(STORE_WAL_BYTES).set(wide(wal_bytes));
    }
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn number(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

fn count(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

/// A number that 32 bits do not hold, as near as a float comes to it.
fn wide(value: u64) -> f64 {
    value.to_string().parse().unwrap_or(f64::MAX)
}

/// Whole coins, as near as a float comes to them.
fn coins(amount: Amount, decimals: u8) -> f64 {
    amount.in_units(decimals).parse().unwrap_or(f64::MAX)
}
