//! Follows the chain's blocks.
//!
//! `eth_getBlockByNumber(n + 1)` is null until that block exists, so one call
//! both notices a block and brings it. When to ask is predicted from the last
//! arrival: often around the expected moment, seldom otherwise.

use std::{collections::HashSet, collections::VecDeque, sync::atomic::AtomicBool, time::Duration};

use alloy::primitives::U256;
use chains_core::chain::{ChainUnavailable, Head, Watch};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use crate::rpc::{
    Rpc,
    error::{CallError, Fault},
    method::{At, Call, quantity},
};

/// How far behind the newest block one may be and still take every block.
const BEHIND_MAX: u64 = 64;

/// How often is asked around the moment at which a block is expected.
const POLL_CLOSE: Duration = Duration::from_millis(10);

/// How often is asked, at least, when a block is late and somebody waits.
const POLL_LATE_MAX: Duration = Duration::from_millis(250);

/// How often is asked when nobody waits, at most.
const POLL_IDLE_MIN: Duration = Duration::from_secs(2);

/// Blocks whose names are kept, to tell whether a receipt's block still counts.
const RECENT_MAX: usize = 256;

/// How often every endpoint has to show its chain id again.
const PROVE_INTERVAL: Duration = Duration::from_mins(1);

/// A block as nodes describe it, as far as it matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    number: String,
    hash: String,
    parent_hash: String,
    timestamp: String,
    #[serde(default)]
    base_fee_per_gas: Option<String>,
    #[serde(default)]
    transactions: HashSet<String>,
}

/// What stays known of the newest block.
#[derive(Clone, Debug)]
pub struct Newest {
    /// Its height.
    pub number: u64,
    /// Its time, seconds since the epoch.
    pub timestamp: u64,
    /// Its base fee in wei; 0 where the chain has none.
    pub base_fee: u128,
    /// When it was seen here.
    pub arrived: Instant,
}

/// A block of the recent past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// Its height.
    pub number: u64,
    /// Its name.
    pub hash: String,
    /// Its time.
    pub timestamp: u64,
}

#[derive(Debug)]
struct State {
    newest: Option<Newest>,
    recent: VecDeque<Recent>,
    /// The usual time between arrivals, as observed.
    interval: Duration,
    proven: Instant,
}

/// The blocks of one network.
#[derive(Debug)]
pub struct Heads {
    chain_id: u64,
    block_time: Duration,
    state: Mutex<State>,
    proving: AtomicBool,
}

impl Heads {
    /// Nothing seen yet.
    pub fn new(chain_id: u64, block_time: Duration) -> Self {
        let state = State { newest: None, recent: VecDeque::new(), interval: block_time, proven: Instant::now() };
        Self { chain_id, block_time, state: Mutex::new(state), proving: AtomicBool::new(false) }
    }

    /// The newest block seen.
    pub fn newest(&self) -> Option<Newest> {
        self.state.lock().newest.clone()
    }

    /// The time of the newest block seen; 0 before the first.
    pub fn timestamp(&self) -> u64 {
        self.state.lock().newest.as_ref().map_or(0, |newest| newest.timestamp)
    }

    /// The block seen at this height, when it was.
    pub fn recent(&self, number: u64) -> Option<Recent> {
        self.state.lock().recent.iter().find(|block| block.number == number).cloned()
    }

    /// The block at a height as the node has it now; `None` when there is none.
    ///
    /// # Errors
    /// The node gave no answer.
    pub async fn at(&self, rpc: &Rpc, number: u64) -> Result<Option<Recent>, CallError> {
        let block: Option<Block> = rpc.call(Call::block(At::Number(number))).await?;
        block.map(|block| read(block).map(|(seen, _, _)| seen)).transpose()
    }

    /// The next block after `after`; see [`Chain::next_head`](chains_core::chain::Chain::next_head).
    ///
    /// # Errors
    /// No endpoint gave an answer.
    pub async fn next(&self, rpc: &Rpc, after: Option<&Head>, watch: Watch) -> Result<Head, ChainUnavailable> {
        self.prove_again(rpc).await;
        let found = match after {
            None => self.jump(rpc).await,
            Some(after) => self.follow(rpc, after, watch).await,
        };
        found.map_err(|error| rpc.unavailable(error))
    }

    async fn follow(&self, rpc: &Rpc, after: &Head, watch: Watch) -> Result<Head, CallError> {
        let wanted = after.number.saturating_add(1);
        let mut turn = 0;
        let mut paused = false;
        loop {
            let now = Instant::now();
            let plan = self.plan(after.number, watch, now);
            if paused || plan.early {
                sleep_until(plan.next).await;
            }
            // A node that is stuck says null for ever: when a block is late, the others are asked in turn.
            turn = if plan.overdue { turn + 1 } else { 0 };
            let block: Option<Block> = rpc.call_at(Call::block(At::Number(wanted)), turn).await?;
            let Some(block) = block else {
                paused = true;
                continue;
            };
            // A block that was there at the first look: perhaps many are.
            if !paused && !plan.early && self.is_far_behind(rpc, wanted).await? {
                return self.jump(rpc).await;
            }
            if block.parent_hash != after.hash {
                return self.jump(rpc).await;
            }
            return self.see(block, true);
        }
    }

    async fn is_far_behind(&self, rpc: &Rpc, wanted: u64) -> Result<bool, CallError> {
        let newest: String = rpc.call(Call::block_number()).await?;
        let newest = number(&newest).unwrap_or(wanted);
        Ok(newest.saturating_sub(wanted) > BEHIND_MAX)
    }

    /// The newest block, with nothing said of those before it.
    async fn jump(&self, rpc: &Rpc) -> Result<Head, CallError> {
        let block: Block = rpc.call(Call::block(At::Latest)).await?;
        self.see(block, false)
    }

    fn see(&self, block: Block, follows: bool) -> Result<Head, CallError> {
        let (seen, base_fee, transactions) = read(block)?;
        let arrived = Instant::now();
        let mut state = self.state.lock();
        if let Some(last) = state.newest.as_ref().filter(|last| follows && last.number + 1 == seen.number) {
            let took = arrived.duration_since(last.arrived).min(self.block_time * 4);
            state.interval = (state.interval * 3 + took) / 4;
        }
        state.newest = Some(Newest { number: seen.number, timestamp: seen.timestamp, base_fee, arrived });
        state.recent.retain(|block| block.number < seen.number);
        state.recent.push_back(seen.clone());
        if state.recent.len() > RECENT_MAX {
            state.recent.pop_front();
        }
        drop(state);
        let transactions = follows.then_some(transactions);
        Ok(Head { number: seen.number, hash: seen.hash, timestamp: seen.timestamp, transactions })
    }

    fn plan(&self, after: u64, watch: Watch, now: Instant) -> Plan {
        let state = self.state.lock();
        // Nothing is known of the arrival of a block other than the newest.
        let newest = state.newest.as_ref().filter(|newest| newest.number == after);
        plan(newest.map(|newest| newest.arrived), state.interval, watch, now)
    }

    /// Lets endpoints show their chain id again from time to time: one that
    /// was down may be back, one may have been pointed elsewhere.
    async fn prove_again(&self, rpc: &Rpc) {
        use std::sync::atomic::Ordering::Relaxed;
        let due = self.state.lock().proven.elapsed() >= PROVE_INTERVAL;
        if !due || self.proving.swap(true, Relaxed) {
            return;
        }
        let _done = Proving(&self.proving);
        self.state.lock().proven = Instant::now();
        for (host, chain_id) in rpc.prove(self.chain_id).await.foreign {
            tracing::error!(
                host,
                chain_id,
                expected = self.chain_id,
                "an endpoint serves another chain and is left out"
            );
        }
    }
}

/// Clears the flag also when the future is dropped half way.
struct Proving<'a>(&'a AtomicBool);

impl Drop for Proving<'_> {
    fn drop(&mut self) {
        self.0.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}

/// When to ask for the next block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    next: Instant,
    /// The block is not expected yet.
    early: bool,
    /// The block is so late that the endpoint itself is in doubt.
    overdue: bool,
}

/// Pure: `arrived` is when the block before came, `interval` the usual time
/// between two.
fn plan(arrived: Option<Instant>, interval: Duration, watch: Watch, now: Instant) -> Plan {
    let Some(arrived) = arrived else {
        let pause = if watch == Watch::Closely { POLL_CLOSE } else { POLL_IDLE_MIN };
        return Plan { next: now + pause, early: false, overdue: false };
    };
    let expected = arrived + interval;
    // A twentieth on both sides: arrivals jitter with the network.
    let slack = (interval / 20).max(POLL_CLOSE);
    let overdue = now > expected + interval * 2;
    let next = match watch {
        Watch::Idly => (arrived + interval.max(POLL_IDLE_MIN))
            .max(now + if now < expected { Duration::ZERO } else { POLL_IDLE_MIN }),
        Watch::Closely if now < expected - slack.min(interval) => expected - slack.min(interval),
        Watch::Closely if now <= expected + slack => now + POLL_CLOSE,
        Watch::Closely => now + (interval / 10).clamp(POLL_CLOSE, POLL_LATE_MAX),
    };
    Plan { next, early: now < expected - slack.min(interval), overdue }
}

fn number(text: &str) -> Option<u64> {
    quantity(text).and_then(|value| u64::try_from(value).ok())
}

type Read = (Recent, u128, HashSet<String>);

fn read(block: Block) -> Result<Read, CallError> {
    let unreadable = || CallError::Transport { host: "a node".to_owned(), fault: Fault::Unreadable };
    let seen = Recent {
        number: number(&block.number).ok_or_else(unreadable)?,
        timestamp: number(&block.timestamp).ok_or_else(unreadable)?,
        hash: block.hash,
    };
    let base_fee = block.base_fee_per_gas.as_deref().map_or(Some(U256::ZERO), quantity).ok_or_else(unreadable)?;
    let base_fee = u128::try_from(base_fee).unwrap_or(u128::MAX);
    Ok((seen, base_fee, block.transactions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn asks_often_only_when_a_block_is_expected() {
        let born = Instant::now() + ms(60_000);
        // (milliseconds since the last block, watch, next ask in milliseconds, early, overdue)
        let cases = [
            (0, Watch::Closely, 1900, true, false),
            (1000, Watch::Closely, 900, true, false),
            (1900, Watch::Closely, 10, false, false),
            (2100, Watch::Closely, 10, false, false),
            (2101, Watch::Closely, 200, false, false),
            (9000, Watch::Closely, 200, false, true),
            (0, Watch::Idly, 2000, true, false),
            (500, Watch::Idly, 1500, true, false),
            (2500, Watch::Idly, 2000, false, false),
        ];
        for (since, watch, next, early, overdue) in cases {
            let now = born + ms(since);
            let expected = Plan { next: now + ms(next), early, overdue };
            assert_eq!(plan(Some(born), ms(2000), watch, now), expected, "{since} {watch:?}");
        }
        let fast = plan(Some(born), ms(100), Watch::Idly, born);
        assert_eq!(fast.next, born + POLL_IDLE_MIN, "an idle fast chain is not asked for every block");
        assert!(!plan(None, ms(2000), Watch::Closely, born).early);
    }

    fn block(number: u64, hash: &str, parent: &str) -> Block {
        Block {
            number: format!("{number:#x}"),
            hash: hash.to_owned(),
            parent_hash: parent.to_owned(),
            timestamp: format!("{:#x}", 1000 + number),
            base_fee_per_gas: Some("0x7".to_owned()),
            transactions: HashSet::from(["0xa".to_owned()]),
        }
    }

    #[test]
    fn the_newest_block_is_kept_and_a_reorg_replaces_names() {
        let heads = Heads::new(1, ms(2000));
        assert!(heads.newest().is_none());
        assert_eq!(heads.see(block(5, "a5", "a4"), false).expect("read").transactions, None);
        let next = heads.see(block(6, "a6", "a5"), true).expect("read");
        assert_eq!(next.transactions.expect("listed").len(), 1);
        assert_eq!(heads.newest().map(|n| (n.number, n.timestamp, n.base_fee)), Some((6, 1006, 7)));
        heads.see(block(5, "b5", "a4"), false).expect("read");
        assert_eq!(heads.recent(6), None, "gone with the reorg");
        assert_eq!(heads.recent(5).map(|b| b.hash), Some("b5".to_owned()));
        assert_eq!(heads.timestamp(), 1005);
    }

    #[test]
    fn a_block_that_cannot_be_read_is_no_block() {
        let heads = Heads::new(1, ms(2000));
        for (number, timestamp) in [("5", "0x1"), ("0x", "0x1"), ("0x5", "x"), ("0x10000000000000000", "0x1")] {
            let block = Block { number: number.into(), timestamp: timestamp.into(), ..block(1, "a", "b") };
            assert!(heads.see(block, true).is_err(), "{number} {timestamp}");
        }
    }
}
