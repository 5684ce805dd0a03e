//! Calls that try out what a transaction of ours would do, at its price.
//!
//! Code can see what its transaction pays for gas. In an `eth_call` that names
//! no price `tx.gasprice` is 0, on most nodes `block.basefee` too: a wallet can
//! be good there and nowhere else. So a price is named where the node was found
//! to heed it (`price_support`), and the sender is given the coins for it.
//!
//! Not hidden: how many coins those are, and that the sender or a lens has code.

use std::fmt::Write;

use alloy::primitives::{Address, U256};
use serde::de::DeserializeOwned;

use crate::rpc::{
    Rpc,
    error::CallError,
    method::{Call, Method},
};

/// By how much the offer exceeds the price. The base fee may have risen at the
/// node by blocks that were not seen here yet: eleven full ones, at an eighth each.
const OFFER_FACTOR: u128 = 4;

/// The price that a simulated transaction pays for a unit of gas, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    base_fee: u128,
    tip: u128,
}

impl Price {
    /// That of a transaction of ours after a block with this base fee. The
    /// operator's ceiling is no part of it: code sees what is paid, never
    /// what is offered, and a call must not fail where a transaction would wait.
    pub const fn after(base_fee: u128, tip: u128) -> Self {
        Self { base_fee, tip }
    }

    /// The base fee that it was made for.
    pub const fn base_fee(self) -> u128 {
        self.base_fee
    }

    /// The most that is offered.
    pub const fn offer(self) -> u128 {
        self.base_fee.saturating_add(self.tip).saturating_mul(OFFER_FACTOR)
    }

    /// The price paid in a block with this base fee: `tx.gasprice`, by EIP-1559.
    pub fn paid(self, base_fee: u128) -> u128 {
        base_fee.saturating_add(self.tip).min(self.offer())
    }

    /// The coins that this much gas may cost, and as much again for what a
    /// rollup charges besides.
    fn coins(self, gas: u64) -> U256 {
        U256::from(self.offer()).saturating_mul(U256::from(gas)).saturating_mul(U256::from(2))
    }
}

/// The block that a simulation is made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// Its height.
    pub number: u64,
    /// Its time, seconds since the epoch.
    pub timestamp: u64,
}

/// A transaction to be tried out on top of the newest block.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// The sender: a gas wallet.
    pub sender: Address,
    /// The contract that is called; `None`: the data is creation code.
    pub to: Option<Address>,
    /// Hex with `0x`.
    pub data: String,
    /// The most gas it may use.
    pub gas: u64,
    /// Accounts that have `code` for this call only.
    pub with_code: Vec<Address>,
    /// Bare hex.
    pub code: &'static str,
}

impl Simulation {
    /// Of creation code, whose "deployed code" is the answer.
    pub const fn of_creation(sender: Address, data: String, gas: u64) -> Self {
        Self { sender, to: None, data, gas, with_code: vec![], code: "" }
    }

    /// Of a call.
    pub const fn of_call(sender: Address, to: Address, data: String, gas: u64) -> Self {
        Self { sender, to: Some(to), data, gas, with_code: vec![], code: "" }
    }

    /// Of a call of the sender by itself, where it and others have this code.
    pub fn with_code(sender: Address, with_code: Vec<Address>, code: &'static str, data: String, gas: u64) -> Self {
        Self { with_code, code: code.trim_end(), ..Self::of_call(sender, sender, data, gas) }
    }

    /// The `eth_call`, at a price or at none, in a block to come or in the newest.
    pub fn call(&self, price: Option<Price>, place: Option<BlockPlace>) -> Call {
        let Self { sender, data, gas, code, .. } = self;
        let mut params = String::with_capacity(data.len() + self.with_code.len() * (code.len() + 64) + 512);
        let _ = write!(params, "[{{\"from\":\"{sender:#x}\",\"gas\":\"{gas:#x}\"");
        if let Some(to) = self.to {
            let _ = write!(params, ",\"to\":\"{to:#x}\"");
        }
        if let Some(price) = price {
            let (offer, tip) = (price.offer(), price.tip);
            let _ = write!(params, ",\"maxFeePerGas\":\"{offer:#x}\",\"maxPriorityFeePerGas\":\"{tip:#x}\"");
        }
        let _ = write!(params, ",\"data\":\"{data}\"}},\"latest\"");
        let has_overrides = self.write_overrides(&mut params, price);
        if let Some(BlockPlace { number, timestamp }) = place {
            params.push_str(if has_overrides { "" } else { ",{}" });
            let _ = write!(params, ",{{\"number\":\"{number:#x}\",\"time\":\"{timestamp:#x}\"}}");
        }
        params.push(']');
        Call { method: Method::Call, params }
    }

    /// Writes the accounts that are other for this call; `false`: there are none.
    fn write_overrides(&self, params: &mut String, price: Option<Price>) -> bool {
        let coins = price.map(|price| format!("\"balance\":\"{:#x}\"", price.coins(self.gas)));
        let lone_sender = coins.is_some() && !self.with_code.contains(&self.sender);
        let accounts = self.with_code.iter().map(|account| (*account, true));
        let accounts = accounts.chain(lone_sender.then_some((self.sender, false)));
        let mut before = ",{";
        for (account, has_code) in accounts {
            let _ = write!(params, "{before}\"{account:#x}\":{{");
            before = ",";
            let coins = coins.as_deref().filter(|_| account == self.sender);
            params.push_str(coins.unwrap_or_default());
            if has_code {
                params.push_str(if coins.is_some() { ",\"code\":\"0x" } else { "\"code\":\"0x" });
                params.push_str(self.code);
                params.push('"');
            }
            params.push('}');
        }
        if before == "," {
            params.push('}');
        }
        before == ","
    }
}

/// Tries transactions out on one network, at the price of the moment.
#[derive(Clone, Copy, Debug)]
pub struct Simulator<'a> {
    /// The network's endpoints.
    pub rpc: &'a Rpc,
    /// `None` where the nodes do not heed one, or none is known.
    pub price: Option<Price>,
    /// `None` where the nodes do not heed one, or none is known.
    pub place: Option<BlockPlace>,
}

impl Simulator<'_> {
    /// Returns the outcome that the transaction would have. A node that refuses the price itself is
    /// asked once more without: too low an offer says nothing about a payment.
    ///
    /// # Errors
    /// No endpoint gave an answer of the type, or the call failed.
    pub async fn run<T: DeserializeOwned>(self, simulation: &Simulation) -> Result<T, CallError> {
        match self.rpc.call(simulation.call(self.price, self.place)).await {
            Err(CallError::Node { error, .. }) if self.price.is_some() && error.refuses_price() => {
                tracing::debug!(%error, "the node refuses the price of a simulation");
                self.rpc.call(simulation.call(None, self.place)).await
            }
            answer => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_node::{self, FakeNode, Say};

    const SENDER: Address = Address::repeat_byte(0x11);
    const OTHER: Address = Address::repeat_byte(0x22);
    const PRICE: Price = Price::after(100, 5);

    fn creation() -> Simulation {
        Simulation::of_creation(SENDER, "0xfe".to_owned(), 1000)
    }

    #[test]
    fn a_price_is_named_with_the_coins_to_pay_it() {
        let word = |account: Address| format!("{account:#x}");
        let (sender, other) = (word(SENDER), word(OTHER));
        let with_code = |accounts| Simulation::with_code(SENDER, accounts, "ab\n", "0xfe".to_owned(), 1000);
        let to_other = Simulation::of_call(SENDER, OTHER, "0xfe".to_owned(), 1000);
        // 4 × (100 + 5) for each of 1000 units, twice.
        let (coins, code) = (format!("{:#x}", 840_000), "0xab");
        let cases = [
            (creation(), None, Value::Null, Value::Null),
            (creation(), Some(PRICE), Value::Null, json!({ &sender: { "balance": coins } })),
            (to_other.clone(), None, json!(other), Value::Null),
            (to_other, Some(PRICE), json!(other), json!({ &sender: { "balance": coins } })),
            (with_code(vec![SENDER]), None, json!(sender), json!({ &sender: { "code": code } })),
            (
                with_code(vec![SENDER, OTHER]),
                Some(PRICE),
                json!(sender),
                json!({ &sender: { "balance": coins, "code": code }, &other: { "code": code } }),
            ),
        ];
        for (simulation, price, to, overrides) in cases {
            let params: Value = serde_json::from_str(&simulation.call(price, None).params).expect("JSON");
            let offer = price.map_or(Value::Null, |_| json!("0x1a4"));
            let tip = price.map_or(Value::Null, |_| json!("0x5"));
            assert_eq!(
                (&params[0]["from"], &params[0]["gas"], &params[0]["data"]),
                (&json!(sender), &json!("0x3e8"), &json!("0xfe"))
            );
            assert_eq!(
                (&params[0]["to"], &params[0]["maxFeePerGas"], &params[0]["maxPriorityFeePerGas"]),
                (&to, &offer, &tip)
            );
            assert_eq!((&params[1], &params[2]), (&json!("latest"), &overrides), "{params}");
        }
    }

    #[test]
    fn code_sees_the_price_of_a_transaction_however_the_base_fee_has_moved() {
        for (base_fee, paid) in [(0, 5), (100, 105), (400, 405), (415, 420), (416, 420)] {
            assert_eq!(PRICE.paid(base_fee), paid);
        }
        assert_eq!(Price::after(u128::MAX, 1).offer(), u128::MAX);
    }

    #[tokio::test]
    async fn a_refused_price_is_left_out_and_nothing_else_is_asked_twice() {
        let low = "err: max fee per gas less than block base fee: address 0x, maxFeePerGas: 420, baseFee: 500";
        let cases = [
            (Say::Error(-32000, low), Some(PRICE), Ok("0x07"), 2),
            (Say::Error(-32000, "miner premium is negative"), Some(PRICE), Ok("0x07"), 2),
            (Say::Error(-32000, "insufficient funds for gas * price + value"), Some(PRICE), Ok("0x07"), 2),
            (Say::Error(-32602, "unknown field"), Some(PRICE), Ok("0x07"), 2),
            (Say::Error(-32000, low), None, Err(()), 1),
            (Say::Error(-32000, "out of gas"), Some(PRICE), Err(()), 1),
            (Say::Error(3, "execution reverted: insufficient funds"), Some(PRICE), Err(()), 1),
            (Say::Error(-32000, "execution aborted (timeout = 5s)"), Some(PRICE), Err(()), 1),
        ];
        for (says, price, expected, requests) in cases {
            let (said, first) = (says.clone(), std::sync::atomic::AtomicBool::new(true));
            let node = FakeNode::start(move |_, params| {
                let priced = !params[0]["maxFeePerGas"].is_null();
                let fails = first.swap(false, std::sync::atomic::Ordering::Relaxed);
                assert_eq!(priced, fails && price.is_some());
                if fails { said.clone() } else { Say::Result(json!("0x07")) }
            })
            .await;
            let rpc = fake_node::rpc(&[&node]);
            let answer = Simulator { rpc: &rpc, price, place: None }.run::<String>(&creation()).await;
            assert_eq!(answer.as_deref().map_err(|_| ()), expected, "{says:?}");
            assert_eq!(node.requests(), requests, "{says:?}");
        }
    }
}
