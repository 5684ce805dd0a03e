//! The highest price of a compute unit that is accepted now.
//!
//! The payer fixes the price and we pay it. What the network asks for bounds it:
//! a multiple of what nearly every block of the last minute took, at least the
//! configured floor and at most the configured ceiling. As long as no node tells
//! what it asks for, the ceiling alone bounds it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::rpc::Rpc;

/// The pause between two questions.
const INTERVAL: Duration = Duration::from_secs(10);

/// The multiple of the network's price that a payment may offer.
const FACTOR: u64 = 4;

/// The configured bounds, in millionths of a lamport for a compute unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceBounds {
    /// Always accepted, and told to servers.
    pub floor: u64,
    /// Never exceeded.
    pub ceiling: u64,
}

/// The price that the network asks for.
#[derive(Debug, Default)]
pub struct Prices {
    /// The moment at which it was asked for last, and the newest answer; `None` when no node has given one.
    asked: Mutex<Option<(Instant, Option<u64>)>>,
    asking: tokio::sync::Mutex<()>,
}

impl Prices {
    /// The highest price that is accepted now.
    pub async fn cap(&self, rpc: &Rpc, bounds: PriceBounds) -> u64 {
        self.refresh(rpc).await;
        let market = self.asked.lock().and_then(|(_, price)| price);
        let cap = market.map_or(bounds.ceiling, |price| price.saturating_mul(FACTOR).max(bounds.floor));
        cap.min(bounds.ceiling)
    }

    /// One payment asks at a time, and the others go on with what is known; they wait where nothing is.
    async fn refresh(&self, rpc: &Rpc) {
        let is_first = self.asked.lock().is_none();
        let asking = if is_first { Some(self.asking.lock().await) } else { self.asking.try_lock().ok() };
        let Some(_asking) = asking else { return };
        if self.asked.lock().is_some_and(|(at, _)| at.elapsed() < INTERVAL) {
            return;
        }
        // A node that does not answer leaves the price as it was.
        let answer = rpc.read(|client| client.get_recent_prioritization_fees(&[])).await;
        let known = self.asked.lock().and_then(|(_, price)| price);
        let price = answer.map_or(known, |fees| ninetieth(fees.iter().map(|fee| fee.prioritization_fee).collect()));
        *self.asked.lock() = Some((Instant::now(), price));
    }
}

/// The price that nine of ten blocks asked for, or less; `None` when there are no blocks.
fn ninetieth(mut prices: Vec<u64>) -> Option<u64> {
    prices.sort_unstable();
    let at = prices.len().saturating_mul(9) / 10;
    prices.get(at).or(prices.last()).copied()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fake_node::{self, FakeNode, Say};

    #[tokio::test]
    async fn the_cap_follows_the_network_between_floor_and_ceiling() {
        let bounds = PriceBounds { floor: 1000, ceiling: 50_000 };
        // (prices of the last ten slots, the cap)
        let cases = [(0, 1000), (100, 1000), (5000, 20_000), (1_000_000, 50_000)];
        for (price, cap) in cases {
            let node = FakeNode::new(move |_, _| {
                let fee =
                    |slot: u64| json!({"slot": slot, "prioritizationFee": if slot == 0 { u64::MAX } else { price }});
                Say::Result(json!((0..20).map(fee).collect::<Vec<_>>()))
            });
            let (rpc, prices) = (fake_node::rpc(&[&node]), Prices::default());
            // The second does not go on before the first has its answer.
            assert_eq!(futures::join!(prices.cap(&rpc, bounds), prices.cap(&rpc, bounds)), (cap, cap));
            assert_eq!(node.calls(), 1, "asked once in a while");
        }
        let silent = FakeNode::new(|_, _| Say::Error(-32601, "no such method"));
        let cap = Prices::default().cap(&fake_node::rpc(&[&silent]), bounds).await;
        assert_eq!(cap, 50_000, "no node tells");
    }
}
