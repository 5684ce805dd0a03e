//! The rules of a proxy: which fault hits which call, and what is told instead.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

use super::{Fault, Refusal, Times, stale::View};
use crate::node::parse_quantity;

type Lie = Arc<dyn Fn(&Value, Value) -> Value + Send + Sync>;
type RefusalRule = Arc<dyn Fn(&Value) -> Option<Refusal> + Send + Sync>;

/// The course of one call through the proxy.
pub(super) struct Plan {
    /// The time before anything else happens.
    pub(super) delay: Duration,
    /// True when the node gets the call.
    pub(super) reaches_node: bool,
    /// The time between the node's answer and the caller's.
    pub(super) answer_delay: Duration,
    /// The answer that the caller gets.
    pub(super) ending: Ending,
}

/// The answer that a caller gets.
pub(super) enum Ending {
    /// The node's, changed by the lies about its method.
    Node,
    /// This result.
    Result(Value),
    /// This error.
    Error(i64, String),
    /// This HTTP status for the whole request.
    Status(u16),
    /// The connection breaks.
    Break,
}

impl Plan {
    const HONEST: Self = Self::new(true, Ending::Node);

    const fn new(reaches_node: bool, ending: Ending) -> Self {
        Self { delay: Duration::ZERO, reaches_node, answer_delay: Duration::ZERO, ending }
    }
}

impl From<Fault> for Plan {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::LoseRequest => Self::new(false, Ending::Break),
            Fault::LoseAnswer => Self::new(true, Ending::Break),
            Fault::Refuse(code, message) => Self::new(false, Ending::Error(code, message.to_owned())),
            Fault::Status(status) => Self::new(false, Ending::Status(status)),
            Fault::Pretend(result) => Self::new(false, Ending::Result(result)),
            Fault::Delay(delay) => Self { delay, ..Self::HONEST },
            Fault::DelayAnswer(answer_delay) => Self { answer_delay, ..Self::HONEST },
            Fault::Replace(result) => Self::new(true, Ending::Result(result)),
        }
    }
}

/// Stands for every method that has no fault of its own.
pub(super) const ANY: &str = "*";

/// Answers a send with the block that includes the transaction. Rules for sends
/// would not hold where it brings the transaction as well, hence a proxy has it
/// where a test wants it.
pub(super) const SEND_SYNC: &str = "eth_sendRawTransactionSync";

#[derive(Default)]
pub(super) struct Rules {
    faults: HashMap<String, VecDeque<(Fault, Times)>>,
    refusals: HashMap<String, Vec<RefusalRule>>,
    lies: HashMap<String, Vec<Lie>>,
    seen: HashMap<String, u64>,
    /// The most calls of a batch.
    pub(super) batch_max: Option<usize>,
    /// The number of blocks whose state is known.
    pub(super) state_kept: Option<u64>,
    /// Blocks behind the node.
    pub(super) lag: u64,
    /// True when it has [`SEND_SYNC`].
    pub(super) has_send_sync: bool,
}

impl Rules {
    pub(super) fn add_fault(&mut self, method: &str, fault: Fault, times: Times) {
        self.faults.entry(method.to_owned()).or_default().push_back((fault, times));
    }

    pub(super) fn add_lie(&mut self, method: &str, lie: Lie) {
        self.lies.entry(method.to_owned()).or_default().push(lie);
    }

    pub(super) fn add_refusal(&mut self, method: &str, rule: RefusalRule) {
        self.refusals.entry(method.to_owned()).or_default().push(rule);
    }

    /// Forgets every rule and keeps the counts.
    pub(super) fn heal(&mut self) {
        let (seen, has_send_sync) = (std::mem::take(&mut self.seen), self.has_send_sync);
        *self = Self { seen, has_send_sync, ..Self::default() };
    }

    pub(super) fn calls(&self, method: &str) -> u64 {
        self.seen.get(method).copied().unwrap_or(0)
    }

    pub(super) fn all_calls(&self) -> BTreeMap<String, u64> {
        self.seen.iter().map(|(method, count)| (method.clone(), *count)).collect()
    }

    /// Counts a call, decides its course, and changes its parameters where the proxy stands behind the node.
    pub(super) fn plan(&mut self, call: &mut Value, view: Option<&View>) -> Plan {
        let method = call["method"].as_str().unwrap_or("").to_owned();
        if let Some(fault) = self.next_fault(&method) {
            return fault.into();
        }
        let refusal = self.refusals.get(&method).into_iter().flatten().find_map(|rule| rule(&call["params"]));
        let refusal = refusal.or_else(|| view?.refusal(&method, &call["params"]));
        let refusal = refusal.or_else(|| (method == SEND_SYNC && !self.has_send_sync).then(no_method));
        if let Some((code, message)) = refusal {
            return Plan::new(false, Ending::Error(code, message));
        }
        if let Some(view) = view {
            view.rewrite(&method, &mut call["params"]);
        }
        Plan::HONEST
    }

    /// Returns the node's answer as the proxy tells it.
    pub(super) fn twist(&self, call: &Value, mut answer: Value, view: Option<&View>) -> Value {
        let method = call["method"].as_str().unwrap_or("");
        if let (Some(view), Some(result)) = (view, answer.get_mut("result")) {
            *result = view.twist(method, result.take());
        }
        for lie in self.lies.get(method).into_iter().flatten() {
            if let Some(result) = answer.get_mut("result") {
                *result = lie(&call["params"], result.take());
            }
        }
        answer
    }

    /// Counts a call of this method and returns the fault that hits it.
    fn next_fault(&mut self, method: &str) -> Option<Fault> {
        let seen = self.seen.entry(method.to_owned()).or_default();
        *seen += 1;
        let seen = *seen;
        let method = if self.faults.contains_key(method) { method } else { ANY };
        let queue = self.faults.get_mut(method)?;
        let (fault, times) = queue.front_mut()?;
        let hit = match times {
            Times::Always => true,
            Times::Every(n) => seen.is_multiple_of(*n),
            Times::Next(left) => {
                *left -= 1;
                true
            }
        };
        let fault = hit.then(|| fault.clone());
        if *times == Times::Next(0) {
            queue.pop_front();
        }
        fault
    }
}

/// The error of a node for a method that it has not got.
fn no_method() -> Refusal {
    (-32601, "the method does not exist or is not available".to_owned())
}

/// Returns an error when a call of `eth_getLogs` asks for more than so many blocks; "latest" counts as far away.
pub(super) fn log_range(params: &Value, blocks: u128, words: &str) -> Option<Refusal> {
    let filter = &params[0];
    if filter.get("blockHash").is_some() {
        return None;
    }
    let number =
        |key: &str| filter[key].as_str().filter(|text| text.starts_with("0x")).map(|_| parse_quantity(&filter[key]));
    let is_small = match (number("fromBlock"), number("toBlock")) {
        (Some(from), Some(to)) => to.saturating_sub(from) < blocks,
        _ => false,
    };
    (!is_small).then(|| (-32005, words.to_owned()))
}
