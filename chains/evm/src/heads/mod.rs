//! Follows the chain's blocks.
//!
//! `eth_getBlockByNumber(n + 1)` is null until that block exists, so one call
//! both notices a block and brings it. When to ask is predicted from the last
//! arrival: often around the expected moment, seldom otherwise.

mod poll;

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use alloy::primitives::U256;
use chains_core::chain::{ChainUnavailable, Head, Watch};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until};

use self::poll::{Came, Plan};
use crate::rpc::{
    Rpc,
    error::CallError,
    method::{At, Call, quantity},
};

/// How far behind the newest block one may be and still take every block.
const BEHIND_MAX: u64 = 64;

/// How often is asked when nobody waits, at most.
const POLL_IDLE_MIN: Duration = Duration::from_secs(2);

/// Blocks whose names are kept, to tell whether a receipt's block still counts.
const RECENT_MAX: usize = 256;

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
    arrived: Instant,
    /// Whether it was not there a moment before, so that `arrived` is about
    /// when it came.
    live: bool,
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
    /// The usual time between blocks, as observed.
    interval: Duration,
}

/// The blocks of one network.
#[derive(Debug)]
pub struct Heads {
    block_time: Duration,
    state: Mutex<State>,
}

impl Heads {
    /// Nothing seen yet.
    pub fn new(block_time: Duration) -> Self {
        let state = State { newest: None, recent: VecDeque::new(), interval: block_time };
        Self { block_time, state: Mutex::new(state) }
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
        let found = match (after, watch) {
            (None, Watch::Closely | Watch::Idly) => self.jump(rpc).await,
            (Some(after), Watch::Closely) => self.follow(rpc, after).await,
            (Some(after), Watch::Idly) => self.glance(rpc, after).await,
        };
        found.map_err(|error| rpc.unavailable(error))
    }

    /// The newest block, once it is another than `after`. For when nobody
    /// waits: what is left out has nothing of ours in it.
    async fn glance(&self, rpc: &Rpc, after: &Head) -> Result<Head, CallError> {
        loop {
            sleep(self.block_time.max(POLL_IDLE_MIN)).await;
            let block: Block = rpc.call(Call::block(At::Latest)).await?;
            if block.hash != after.hash {
                let came =
                    if block.parent_hash == after.hash { Came::Before { predicted: false } } else { Came::Jumped };
                return self.see(block, came);
            }
        }
    }

    async fn follow(&self, rpc: &Rpc, after: &Head) -> Result<Head, CallError> {
        let wanted = after.number.saturating_add(1);
        let mut turn = 0;
        let mut paused = false;
        loop {
            let now = Instant::now();
            let plan = self.plan(after.number, now);
            if paused || plan.early {
                sleep_until(plan.next).await;
            }
            // A node that is stuck says null for ever: when a block is late, the others are asked in turn.
            turn = if plan.overdue { turn + 1 } else { 0 };
            let block: Option<Block> = rpc.call_at(Call::block(At::Number(wanted)), turn).await?;
            let Some(block) = block else {
                paused = true;
                if plan.overdue && self.is_gone(rpc, after).await? {
                    return self.jump(rpc).await;
                }
                continue;
            };
            // A block that was there at the first look: perhaps many are.
            let came = if paused { Came::Live } else { Came::Before { predicted: plan.early } };
            if !paused && self.is_far_behind(rpc, wanted).await? {
                return self.jump(rpc).await;
            }
            if block.parent_hash != after.hash {
                return self.jump(rpc).await;
            }
            return self.see(block, came);
        }
    }

    /// Whether the chain went back to before this block.
    async fn is_gone(&self, rpc: &Rpc, head: &Head) -> Result<bool, CallError> {
        let now: Block = rpc.call(Call::block(At::Latest)).await?;
        let number = number(&now.number).unwrap_or(head.number);
        // A lower newest block may be that of an endpoint that lags: ask for the very one.
        Ok(number <= head.number && self.at(rpc, head.number).await?.is_some_and(|block| block.hash != head.hash))
    }

    async fn is_far_behind(&self, rpc: &Rpc, wanted: u64) -> Result<bool, CallError> {
        let newest: String = rpc.call(Call::block_number()).await?;
        let newest = number(&newest).unwrap_or(wanted);
        Ok(newest.saturating_sub(wanted) > BEHIND_MAX)
    }

    /// The newest block, with nothing said of those before it.
    async fn jump(&self, rpc: &Rpc) -> Result<Head, CallError> {
        let block: Block = rpc.call(Call::block(At::Latest)).await?;
        self.see(block, Came::Jumped)
    }

    fn see(&self, block: Block, came: Came) -> Result<Head, CallError> {
        let (seen, base_fee, transactions) = read(block)?;
        let arrived = Instant::now();
        let mut state = self.state.lock();
        let last = state.newest.as_ref().filter(|last| last.live && last.number + 1 == seen.number);
        let took = last.map(|last| arrived.duration_since(last.arrived));
        state.interval = poll::learn(state.interval, took, came, self.block_time);
        let live = came == Came::Live;
        state.newest = Some(Newest { number: seen.number, timestamp: seen.timestamp, base_fee, arrived, live });
        state.recent.retain(|block| block.number < seen.number);
        state.recent.push_back(seen.clone());
        if state.recent.len() > RECENT_MAX {
            state.recent.pop_front();
        }
        drop(state);
        let transactions = (came != Came::Jumped).then_some(transactions);
        Ok(Head { number: seen.number, hash: seen.hash, timestamp: seen.timestamp, transactions })
    }

    fn plan(&self, after: u64, now: Instant) -> Plan {
        let state = self.state.lock();
        let newest = state.newest.as_ref().filter(|newest| newest.live && newest.number == after);
        poll::plan(newest.map(|newest| newest.arrived), state.interval, now)
    }
}

fn number(text: &str) -> Option<u64> {
    quantity(text).and_then(|value| u64::try_from(value).ok())
}

type Read = (Recent, u128, HashSet<String>);

fn read(block: Block) -> Result<Read, CallError> {
    let unreadable = CallError::unreadable;
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
mod tests;
