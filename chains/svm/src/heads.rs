//! Follows the chain: its newest confirmed slot, and the slots in which a
//! transaction of ours was confirmed.
//!
//! A slot has at most one block, so its number is the block's name as well.
//! Nothing about a payment here depends on the time of a block, only on its
//! height; [`Head::timestamp`] is the machine's.

use std::{collections::HashSet, time::Duration};

use chains_core::{
    chain::{BlockRef, ChainUnavailable, Head, Watch},
    clock::Clock,
};
use parking_lot::Mutex;
use solana_commitment_config::CommitmentConfig;
use tokio::time::{Instant, sleep_until};

use crate::{
    logs::Logs,
    rpc::{Rpc, error::CallError},
};

/// How often is asked when nobody waits.
const POLL_IDLE: Duration = Duration::from_secs(2);

/// How often is asked when somebody waits and the node tells by itself.
const POLL_TOLD: Duration = Duration::from_secs(1);

/// How often is asked for the next slot when something was told of a slot
/// that is past.
const POLL_LATE: Duration = Duration::from_millis(50);

/// How often every endpoint has to show its genesis hash again.
const PROVE_INTERVAL: Duration = Duration::from_mins(1);

/// The newest confirmed block that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its slot.
    pub slot: u64,
    /// How many blocks the chain has: slots without a block do not count.
    pub height: u64,
}

impl Newest {
    /// The height that the chain has at a slot, at most: not every slot has a block.
    pub const fn height_max_at(&self, slot: u64) -> u64 {
        self.height.saturating_add(slot.saturating_sub(self.slot))
    }
}

/// The name of a slot's block.
pub fn block(slot: u64) -> BlockRef {
    BlockRef { number: slot, hash: slot.to_string() }
}

/// The slots of one network.
#[derive(Debug)]
pub struct Heads {
    block_time: Duration,
    newest: Mutex<Option<Newest>>,
    proven: Mutex<Instant>,
}

impl Heads {
    /// Nothing seen yet.
    pub fn new(block_time: Duration) -> Self {
        Self { block_time, newest: Mutex::new(None), proven: Mutex::new(Instant::now()) }
    }

    /// The newest block seen.
    pub fn newest(&self) -> Option<Newest> {
        *self.newest.lock()
    }

    /// The next slot worth looking at; see [`Chain::next_head`](chains_core::chain::Chain::next_head).
    ///
    /// # Errors
    /// No endpoint gave an answer.
    pub async fn next(
        &self,
        rpc: &Rpc,
        logs: &Logs,
        clock: &dyn Clock,
        after: Option<&Head>,
        watch: Watch,
    ) -> Result<Head, ChainUnavailable> {
        self.prove_again(rpc).await;
        let head = |slot: u64, transactions: Option<HashSet<String>>| {
            let BlockRef { number, hash } = block(slot);
            Head { number, hash, timestamp: clock.now().seconds(), transactions }
        };
        let Some(after) = after else {
            let newest = self.ask(rpc).await.map_err(|error| rpc.unavailable(error))?;
            return Ok(head(newest.slot, None));
        };
        let mut pause = match watch {
            Watch::Idly => POLL_IDLE.max(self.block_time),
            Watch::Closely if logs.is_live() => POLL_TOLD.max(self.block_time),
            Watch::Closely => self.block_time,
        };
        let mut next_poll = Instant::now() + pause;
        loop {
            tokio::select! {
                (slot, transactions) = logs.next() => {
                    if slot > after.number {
                        return Ok(head(slot, Some(transactions)));
                    }
                    // Its slot has been passed: the next one asks for everything.
                    pause = POLL_LATE;
                    next_poll = Instant::now();
                }
                () = sleep_until(next_poll) => {
                    let newest = self.ask(rpc).await.map_err(|error| rpc.unavailable(error))?;
                    if newest.slot > after.number {
                        return Ok(head(newest.slot, None));
                    }
                    next_poll = Instant::now() + pause;
                }
            }
        }
    }

    async fn ask(&self, rpc: &Rpc) -> Result<Newest, CallError> {
        let info = rpc.read(|client| client.get_epoch_info_with_commitment(CommitmentConfig::confirmed())).await?;
        let asked = Newest { slot: info.absolute_slot, height: info.block_height };
        let mut newest = self.newest.lock();
        // An endpoint that lags takes nothing back.
        let kept = newest.filter(|newest| newest.slot >= asked.slot).unwrap_or(asked);
        *newest = Some(kept);
        Ok(kept)
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
            tracing::error!(host, genesis_hash, "an endpoint serves another cluster and is left out");
        }
    }
}
