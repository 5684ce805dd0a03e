//! A node that lies about one thing, whatever it is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::{hex, keccak256};
use serde_json::{Value, json};

use crate::{
    node::parse_quantity,
    proxy::{Fault, Proxy, Times},
    stranger::SEND,
};

/// The thing that a node lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Receipts of successes say that they have reverted.
    Reverted,
    /// No transaction has a receipt.
    NoReceipt,
    /// Blocks have other hashes and no transactions.
    Blocks,
    /// The newest block is a million blocks further.
    High,
    /// The chain has stood still at block 1.
    Low,
    /// It stands five blocks behind.
    Behind,
    /// Blocks are of the year 2106.
    Future,
    /// Blocks are of 1970.
    Past,
    /// The gas of the newest block costs a thousand times as much.
    BaseFee,
    /// Nobody has ever written a log.
    NoLogs,
    /// The gas wallet has used a hundred nonces more.
    HighNonce,
    /// The gas wallet has used no nonce.
    LowNonce,
    /// Nobody has any coin.
    NoCoin,
    /// It takes every transaction and keeps it to itself.
    Sends,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Reverted,
        Self::NoReceipt,
        Self::Blocks,
        Self::High,
        Self::Low,
        Self::Behind,
        Self::Future,
        Self::Past,
        Self::BaseFee,
        Self::NoLogs,
        Self::HighNonce,
        Self::LowNonce,
        Self::NoCoin,
        Self::Sends,
    ];
}

impl Proxy {
    /// Tells a lie from now on.
    pub fn tell(&self, lie: Lie) {
        match lie {
            Lie::Reverted => self.lie_about_receipts(|receipt| {
                receipt["status"] = json!("0x0");
                receipt["logs"] = json!([]);
            }),
            Lie::NoReceipt => {
                for method in ["eth_getTransactionReceipt", "eth_getBlockReceipts"] {
                    self.fail(method, Fault::Replace(Value::Null), Times::Always);
                }
            }
            Lie::Blocks => self.lie_about_blocks(|block, _| {
                for key in ["hash", "parentHash"] {
                    block[key] = json!(other_hash(&block[key]));
                }
                block["transactions"] = json!([]);
            }),
            Lie::High => self.lie_about_heights(|height| height + 1_000_000),
            Lie::Low => self.lie_about_heights(|_| 1),
            Lie::Behind => self.lag(5),
            Lie::Future => self.lie_about_blocks(|block, _| block["timestamp"] = json!("0xffffffff")),
            Lie::Past => self.lie_about_blocks(|block, _| block["timestamp"] = json!("0x1")),
            Lie::BaseFee => self.lie_about_base_fees(),
            Lie::NoLogs => self.fail("eth_getLogs", Fault::Replace(json!([])), Times::Always),
            Lie::HighNonce => self.lie_about("eth_getTransactionCount", |count| count + 100),
            Lie::LowNonce => self.lie_about("eth_getTransactionCount", |_| 0),
            Lie::NoCoin => self.lie_about("eth_getBalance", |_| 0),
            // The answer to a send is the transaction's hash, which the caller knows as well.
            Lie::Sends => self.fail(SEND, Fault::Pretend(json!(format!("0x{}", "0".repeat(64)))), Times::Always),
        }
    }

    fn lie_about(&self, method: &str, change: impl Fn(u128) -> u128 + Send + Sync + 'static) {
        self.lie(method, move |_, honest| json!(format!("{:#x}", change(parse_quantity(&honest)))));
    }

    fn lie_about_receipts(&self, change: impl Fn(&mut Value) + Clone + Send + Sync + 'static) {
        let one = change.clone();
        self.lie("eth_getTransactionReceipt", move |_, honest| changed(honest, &one));
        self.lie("eth_getBlockReceipts", move |_, mut honest| {
            honest.as_array_mut().into_iter().flatten().for_each(&change);
            honest
        });
    }

    /// The closure gets the block and the parameters of the question.
    fn lie_about_blocks(&self, change: impl Fn(&mut Value, &Value) + Clone + Send + Sync + 'static) {
        for method in ["eth_getBlockByNumber", "eth_getBlockByHash"] {
            let change = change.clone();
            self.lie(method, move |params, honest| changed(honest, |block| change(block, params)));
        }
    }

    fn lie_about_heights(&self, change: impl Fn(u128) -> u128 + Copy + Send + Sync + 'static) {
        self.lie_about("eth_blockNumber", change);
        self.lie_about_blocks(move |block, params| {
            // A block that is asked for by its number has it.
            if !params[0].as_str().is_some_and(|name| name.starts_with("0x")) {
                block["number"] = json!(format!("{:#x}", change(parse_quantity(&block["number"]))));
            }
        });
    }

    fn lie_about_base_fees(&self) {
        self.lie_about_blocks(|block, _| {
            block["baseFeePerGas"] = json!(format!("{:#x}", parse_quantity(&block["baseFeePerGas"]) * 1000));
        });
        self.lie_about("eth_gasPrice", |price| price * 1000);
    }

    /// Loses every transaction and tells of it that it is in the newest block and has written these logs.
    pub fn invent_receipts(&self, from: &'static str, to: &'static str, logs: Vec<Value>) {
        let newest = Arc::new(Mutex::new(Value::Null));
        let lost = Arc::new(Mutex::new(vec![]));
        let seen = Arc::clone(&lost);
        self.refuse_when(SEND, move |params| {
            locked(&seen).push(json!(hash_of(&params[0])));
            Some((-32000, "request timed out".to_owned()))
        });
        let (seen, within) = (Arc::clone(&newest), Arc::clone(&lost));
        self.lie_about_blocks(move |block, _| {
            let mut newest = locked(&seen);
            if height(block) >= height(&newest) {
                block["transactions"] = json!(*locked(&within));
                *newest = block.clone();
            }
        });
        self.lie("eth_getTransactionReceipt", move |params, honest| {
            let block = locked(&newest).clone();
            let is_lost = locked(&lost).contains(&params[0]);
            if is_lost && block.is_object() { receipt_of(&params[0], from, to, &block, &logs) } else { honest }
        });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn height(block: &Value) -> Option<u128> {
    block["number"].as_str().map(|_| parse_quantity(&block["number"]))
}

/// Returns the hash of a signed transaction.
fn hash_of(raw: &Value) -> String {
    let bytes = hex::decode(raw.as_str().expect("hex")).expect("hex");
    keccak256(bytes).to_string()
}

fn receipt_of(hash: &Value, from: &str, to: &str, block: &Value, logs: &[Value]) -> Value {
    let place = |mut log: Value| {
        log["transactionHash"] = hash.clone();
        log["blockHash"] = block["hash"].clone();
        log["blockNumber"] = block["number"].clone();
        log["transactionIndex"] = json!("0x0");
        log["removed"] = json!(false);
        log
    };
    json!({
        "type": "0x2", "status": "0x1", "transactionHash": hash, "transactionIndex": "0x0",
        "blockHash": block["hash"], "blockNumber": block["number"], "from": from, "to": to,
        "gasUsed": "0x15000", "cumulativeGasUsed": "0x15000", "effectiveGasPrice": "0x3b9aca00",
        "contractAddress": null, "logsBloom": format!("0x{}", "0".repeat(512)),
        "logs": logs.iter().cloned().map(place).collect::<Vec<_>>(),
    })
}

fn changed(mut honest: Value, change: impl FnOnce(&mut Value)) -> Value {
    if honest.is_object() {
        change(&mut honest);
    }
    honest
}

/// Returns another hash, the same for the same one.
fn other_hash(hash: &Value) -> String {
    let digits = hash.as_str().expect("a hash").trim_start_matches("0x");
    format!("0x{}", digits.chars().rev().collect::<String>())
}
