//! Searching logs, in as small ranges as an endpoint allows.

use std::ops::RangeInclusive;

use alloy::primitives::{Address, B256};

use super::receipt::ReceiptLog;
use crate::rpc::{Rpc, error::CallError, method::Call};

/// Requests in one search, at most.
const REQUESTS_MAX: usize = 256;

/// The logs that are searched for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    /// The contract that writes them.
    pub contract: Address,
    /// Any of these is the first topic.
    pub events: &'a [B256],
    /// Those after the first.
    pub more: &'a [B256],
    /// As many are enough.
    pub max: usize,
}

/// The outcome of a search.
#[derive(Debug)]
pub(super) struct Searched {
    pub logs: Vec<ReceiptLog>,
    /// Every block was searched, or enough was found.
    pub complete: bool,
}

impl Query<'_> {
    /// Searches ranges of blocks in order, each with its newest blocks first.
    ///
    /// # Errors
    /// The endpoint refuses even a single block.
    pub async fn search(
        &self,
        rpc: &Rpc,
        ranges: &[RangeInclusive<u64>],
        wanted: impl Fn(&ReceiptLog) -> bool,
    ) -> Result<Searched, CallError> {
        let mut logs = vec![];
        let mut requests = 0;
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let (first, mut to) = (*range.start(), *range.end());
            loop {
                if requests == REQUESTS_MAX {
                    return Ok(Searched { logs, complete: false });
                }
                requests += 1;
                let size = rpc.log_blocks_max();
                let from = to.saturating_sub(size - 1).max(first);
                let answer = rpc.call::<Vec<ReceiptLog>>(self.call(from, to)).await;
                let found = match answer {
                    Ok(found) => found,
                    // Whatever its words: a smaller range may be what it takes.
                    Err(_) if from < to => {
                        rpc.limit_log_blocks((to - from).div_ceil(2));
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let found = found.into_iter().filter(|log| log.topics.get(1..) == Some(self.more) && wanted(log));
                logs.extend(found.take(self.max - logs.len()));
                if logs.len() == self.max {
                    return Ok(Searched { logs, complete: true });
                }
                if from <= first {
                    break;
                }
                to = from - 1;
            }
        }
        Ok(Searched { logs, complete: true })
    }

    fn call(&self, from: u64, to: u64) -> Call {
        Call::logs(self.contract, self.events, self.more, from, to)
    }
}
