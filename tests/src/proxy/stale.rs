//! The answers of a node that stands behind the others, or has thrown old state away.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::Refusal;

/// The part of the chain that the proxy shows.
pub(super) struct View {
    /// The newest block that it knows.
    head: u64,
    /// The oldest block whose state it knows, and the hashes of all blocks from there on.
    state_from: Option<u64>,
    hashes: HashSet<String>,
    lags: bool,
}

/// The place of the block among the parameters of the methods that read state.
fn block_parameter(method: &str) -> Option<usize> {
    match method {
        "eth_call" | "eth_getBalance" | "eth_getTransactionCount" | "eth_getCode" | "eth_estimateGas" => Some(1),
        "eth_getStorageAt" => Some(2),
        _ => None,
    }
}

impl View {
    pub(super) fn new(node_head: u64, lag: u64, state_kept: Option<u64>) -> Self {
        let head = node_head.saturating_sub(lag);
        let state_from = state_kept.map(|kept| (head + 1).saturating_sub(kept));
        Self { head, state_from, hashes: HashSet::new(), lags: lag > 0 }
    }

    /// Returns the questions for the blocks whose state is known, where that is not every block's.
    pub(super) fn blocks_with_state(&self) -> Option<Vec<Value>> {
        let ask = |number: u64| {
            let params = json!([format!("{number:#x}"), false]);
            json!({"jsonrpc": "2.0", "id": number, "method": "eth_getBlockByNumber", "params": params})
        };
        Some((self.state_from?..=self.head).map(ask).collect())
    }

    /// Takes the answers to [`View::blocks_with_state`].
    pub(super) fn set_hashes_with_state(&mut self, answers: &Value) {
        let answers = answers.as_array().into_iter().flatten();
        self.hashes = answers.filter_map(|answer| Some(answer["result"]["hash"].as_str()?.to_lowercase())).collect();
    }

    /// Returns the error for a question about state that is not here.
    pub(super) fn refusal(&self, method: &str, params: &Value) -> Option<Refusal> {
        let block = &params[block_parameter(method)?];
        let is_pruned = match (number(block).or_else(|| number(&block["blockNumber"])), block["blockHash"].as_str()) {
            (Some(number), _) => self.state_from.is_some_and(|from| number < from),
            (None, Some(hash)) => self.state_from.is_some() && !self.hashes.contains(&hash.to_lowercase()),
            (None, None) => false,
        };
        if is_pruned {
            return Some((-32000, "missing trie node: the state of this block is not available, pruned".to_owned()));
        }
        let is_ahead = self.lags && number(block) > Some(self.head);
        is_ahead.then(|| (-32000, "header not found".to_owned()))
    }

    /// Makes a question about the newest block one about the newest block that is known here.
    pub(super) fn rewrite(&self, method: &str, params: &mut Value) {
        if !self.lags {
            return;
        }
        let place = match method {
            "eth_getBlockByNumber" | "eth_getBlockReceipts" => Some(0),
            "eth_feeHistory" => Some(1),
            _ => block_parameter(method),
        };
        if let Some(block) = place.and_then(|place| params.get_mut(place)) {
            self.rewrite_block(block);
        }
        if let Some(filter) = params.get_mut(0).filter(|_| method == "eth_getLogs") {
            for key in ["fromBlock", "toBlock"] {
                if let Some(block) = filter.get_mut(key) {
                    self.rewrite_block(block);
                }
            }
        }
    }

    fn rewrite_block(&self, block: &mut Value) {
        let number = match block.as_str() {
            Some("latest" | "pending") => self.head,
            Some("safe" | "finalized") => self.head.saturating_sub(2),
            _ => return,
        };
        *block = json!(format!("{number:#x}"));
    }

    /// Hides what is in blocks that are not known here.
    pub(super) fn twist(&self, method: &str, result: Value) -> Value {
        if !self.lags {
            return result;
        }
        let is_new = |key: &str| number(&result[key]).is_some_and(|number| number > self.head);
        match method {
            "eth_blockNumber" => json!(format!("{:#x}", self.head)),
            "eth_getBlockByNumber" | "eth_getBlockByHash" if is_new("number") => Value::Null,
            "eth_getTransactionReceipt" if is_new("blockNumber") => Value::Null,
            "eth_getBlockReceipts"
                if result[0]["blockNumber"].is_string() && number(&result[0]["blockNumber"]) > Some(self.head) =>
            {
                Value::Null
            }
            "eth_getTransactionByHash" if is_new("blockNumber") => {
                let mut pending = result;
                for key in ["blockHash", "blockNumber", "transactionIndex"] {
                    pending[key] = Value::Null;
                }
                pending
            }
            "eth_getLogs" => {
                let logs = result.as_array().cloned().unwrap_or_default();
                logs.into_iter().filter(|log| number(&log["blockNumber"]) <= Some(self.head)).collect()
            }
            _ => result,
        }
    }
}

/// Reads a quantity; `None` for tags and hashes.
fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}
