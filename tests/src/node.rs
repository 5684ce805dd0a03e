//! JSON-RPC to a local node, for looking at the chain and for moving it.

use serde_json::{Value, json};

/// A node by its address.
#[derive(Clone, Debug)]
pub struct Node {
    /// `http://127.0.0.1:…`.
    pub url: String,
    client: reqwest::Client,
}

impl Node {
    /// A node at an address.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), client: crate::http_client() }
    }

    /// Calls a method; `None` when the node does not answer.
    pub async fn try_call(&self, method: &str, params: Value) -> Option<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer: Value = self.client.post(&self.url).json(&body).send().await.ok()?.json().await.ok()?;
        answer.get("result").cloned()
    }

    /// Calls a method that must work.
    ///
    /// # Panics
    /// If it does not.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let sent = self.client.post(&self.url).json(&body).send().await.expect("the node answers");
        let answer: Value = sent.json().await.expect("the node answers in JSON");
        answer.get("result").unwrap_or_else(|| panic!("{method}: {answer}")).clone()
    }

    /// A quantity that a method gives.
    pub async fn quantity(&self, method: &str, params: Value) -> u128 {
        parse_quantity(&self.call(method, params).await)
    }

    /// The result of a call to a contract, as hex.
    ///
    /// # Panics
    /// If the call fails.
    pub async fn eth_call(&self, to: &str, data: &str) -> String {
        let result = self.call("eth_call", json!([{"to": to, "data": data}, "latest"])).await;
        result.as_str().expect("hex").to_owned()
    }

    /// A token balance.
    pub async fn token_balance(&self, token: &str, holder: &str) -> u128 {
        let data = format!("0x70a08231{:0>64}", holder.trim_start_matches("0x"));
        parse_quantity(&Value::from(self.eth_call(token, &data).await))
    }

    /// Returns the number of transactions that an account has sent.
    pub async fn transactions_of(&self, account: &str) -> u128 {
        self.quantity("eth_getTransactionCount", json!([account, "latest"])).await
    }

    /// Makes a block now.
    pub async fn mine(&self) {
        self.call("evm_mine", json!([])).await;
    }

    /// Makes so many blocks at once, a second apart.
    pub async fn mine_blocks(&self, count: u32) {
        self.call("anvil_mine", json!([format!("{count:#x}")])).await;
    }

    /// Stops making blocks by itself.
    pub async fn stop_blocks(&self) {
        self.call("evm_setIntervalMining", json!([0])).await;
        self.call("evm_setAutomine", json!([false])).await;
    }

    /// Makes a block each second again.
    pub async fn resume_blocks(&self) {
        self.call("evm_setIntervalMining", json!([1])).await;
    }
}

/// Reads `0x…` as a number.
///
/// # Panics
/// If it is none.
pub fn parse_quantity(value: &Value) -> u128 {
    let text = value.as_str().unwrap_or_else(|| panic!("a quantity, not {value}"));
    let digits = text.trim_start_matches("0x").trim_start_matches('0');
    if digits.is_empty() { 0 } else { u128::from_str_radix(digits, 16).expect("a quantity of 128 bits") }
}
