//! Follows the chain: its newest confirmed slot, and the transactions of ours
//! that were confirmed.
//!
//! A slot has at most one block, so its number is the block's name as well.
//! Nothing about a payment here depends on the time of a block, only on its
//! height; [`Block::timestamp`] is the machine's.

use std::{collections::HashSet, time::Duration};

use chains_core::{
    chain::ChainUnavailable,
    clock::Clock,
    observation::{Block, BlockRef, Urgency},
};
use parking_lot::Mutex;
use solana_commitment_config::CommitmentConfig;
use tokio::time::{Instant, sleep_until};

use crate::{
    logs::Logs,
    pace::{self, Newest, Tip},
    rpc::{ClientResult, Rpc, RpcClient, error::CallError},
};

/// The pause between questions while nobody waits.
const POLL_IDLE: Duration = Duration::from_secs(2);

/// The pause between looks for every transaction while the node tells by itself
/// which ones are confirmed: notifications get lost.
const POLL_TOLD: Duration = Duration::from_secs(1);

/// The pause between questions for the next slot when the node has told of a
/// transaction, and the newest slot is still the one before.
const POLL_LATE: Duration = Duration::from_millis(50);

/// The pause after which every endpoint has to show its genesis hash again.
const PROVE_INTERVAL: Duration = Duration::from_mins(1);

/// The age of the newest block from which on another endpoint is asked as well.
const STALE: Duration = Duration::from_secs(2);

/// The name of a slot's block.
pub fn block(slot: u64) -> BlockRef {
    BlockRef { number: slot, hash: slot.to_string() }
}

/// The slots of one network.
#[derive(Debug)]
pub struct Blocks {
    block_time: Duration,
    tip: Mutex<Tip>,
    /// The moment from which every transaction was to be looked for last.
    full_look: Mutex<Instant>,
    proven: Mutex<Instant>,
}

impl Blocks {
    /// Nothing seen yet.
    pub fn new(block_time: Duration) -> Self {
        let now = || Mutex::new(Instant::now());
        Self { block_time, tip: Mutex::new(Tip::new(block_time)), full_look: now(), proven: now() }
    }

    /// The newest block seen.
    pub fn newest(&self) -> Option<Newest> {
        self.tip.lock().newest()
    }

    /// The time since the newest block was seen first.
    pub fn age(&self) -> Option<Duration> {
        self.tip.lock().age(Instant::now())
    }

    /// The claim about the newest block that is not believed, when there is one.
    pub fn contested(&self) -> Option<Newest> {
        self.tip.lock().contested()
    }

    /// The next slot worth looking at; see
    /// [`Execution::next_block`](chains_core::chain::Execution::next_block).
    ///
    /// # Errors
    /// No endpoint gave an answer.
    pub async fn next(
        &self,
        rpc: &Rpc,
        logs: &Logs,
        clock: &dyn Clock,
        after: Option<&Block>,
        urgency: Urgency,
    ) -> Result<Block, ChainUnavailable> {
        self.prove_again(rpc).await;
        let next = self.next_slot(rpc, logs, after.map(|after| after.number), urgency).await;
        let (slot, transactions) = next.map_err(|error| rpc.unavailable(error))?;
        let BlockRef { number, hash } = block(slot);
        Ok(Block { number, hash, timestamp: clock.now().seconds(), transactions })
    }

    async fn next_slot(
        &self,
        rpc: &Rpc,
        logs: &Logs,
        after: Option<u64>,
        urgency: Urgency,
    ) -> Result<(u64, Option<HashSet<String>>), CallError> {
        let Some(after) = after else { return Ok((self.ask(rpc).await?.slot, None)) };
        let interval = match urgency {
            Urgency::Idly => POLL_IDLE.max(self.block_time),
            Urgency::Closely if logs.is_live() => POLL_TOLD.max(self.block_time),
            Urgency::Closely => self.block_time,
        };
        // Survives notifications: they only bring the next question forward.
        let full_look = *self.full_look.lock() + interval;
        let mut told = HashSet::new();
        let mut next_poll = full_look.max(Instant::now());
        loop {
            tokio::select! {
                more = logs.next() => {
                    told.extend(more);
                    next_poll = Instant::now();
                }
                () = sleep_until(next_poll) => {
                    let newest = self.ask(rpc).await?;
                    let is_behind = newest.slot.saturating_add(pace::LAG_MAX) < after;
                    if newest.slot > after || is_behind {
                        let is_full = told.is_empty() || is_behind || Instant::now() >= full_look;
                        if is_full {
                            *self.full_look.lock() = Instant::now();
                        }
                        return Ok((newest.slot, (!is_full).then_some(told)));
                    }
                    next_poll = Instant::now() + if told.is_empty() { self.block_time } else { POLL_LATE };
                }
            }
        }
    }

    /// The newest confirmed block. A claim that the pace of slots does not
    /// allow is put to every endpoint: the word of one is not enough.
    async fn ask(&self, rpc: &Rpc) -> Result<Newest, CallError> {
        if self.newest().is_some() {
            let (host, claim) = rpc.read_named(0, newest_of).await?;
            let taken = self.tip.lock().take(claim, Instant::now());
            if let Some(newest) = taken {
                return Ok(self.ask_elsewhere(rpc, host, newest).await);
            }
        }
        let claim = rpc.second_highest(newest_of).await?;
        Ok(self.tip.lock().take_again(claim, Instant::now()))
    }

    /// The newest block of another endpoint, when this one has shown none for a
    /// while: it may stand still, and is asked last if it does.
    async fn ask_elsewhere(&self, rpc: &Rpc, host: &str, newest: Newest) -> Newest {
        if self.age().is_none_or(|age| age < STALE) {
            return newest;
        }
        let Ok((_, claim)) = rpc.read_named(1, newest_of).await else { return newest };
        let taken = self.tip.lock().take(claim, Instant::now()).unwrap_or(newest);
        if taken.slot > newest.slot {
            rpc.distrust(host);
        }
        taken
    }

    /// Lets endpoints show their genesis hash again from time to time: one
    /// that was down may be back, one may have been pointed elsewhere.
    async fn prove_again(&self, rpc: &Rpc) {
        let due = {
            let mut proven = self.proven.lock();
            let due = proven.elapsed() >= PROVE_INTERVAL;
            if due {
                *proven = Instant::now();
            }
            due
        };
        if !due {
            return;
        }
        for (host, genesis_hash) in rpc.prove().await.foreign {
            tracing::error!(node = host, genesis_hash, "an endpoint serves another cluster and is left out");
        }
    }
}

async fn newest_of(client: &RpcClient) -> ClientResult<Newest> {
    let info = client.get_epoch_info_with_commitment(CommitmentConfig::confirmed()).await?;
    Ok(Newest { slot: info.absolute_slot, height: info.block_height })
}

#[cfg(test)]
mod tests;
