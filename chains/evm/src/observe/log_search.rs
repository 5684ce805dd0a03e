//! Searching logs, in as small ranges as an endpoint allows.

use std::ops::RangeInclusive;

use alloy::primitives::{Address, B256};
use chains_rpc::Fault;

use super::receipt::ReceiptLog;

use crate::rpc::{
    Rpc,
    error::{CallError, is_rate_limit},
    method::Call,
};

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
    /// The endpoint refuses even a single block, cannot be reached, or is asked too often.
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
                    // Whatever its words: a smaller range may be what it takes. Not where nobody was there to
                    // read it, or too much was asked before: that would last for as long as the service runs.
                    Err(error) if from < to && may_be_about_size(&error) => {
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

/// Returns whether a smaller range may be answered where this error came.
fn may_be_about_size(error: &CallError) -> bool {
    match error {
        CallError::Node { .. } => !is_rate_limit(error),
        CallError::Transport { fault, .. } => match fault {
            Fault::Status(status) => !matches!(status, 401..=403 | 429 | 502 | 503),
            Fault::TooLarge | Fault::Unreadable | Fault::Timeout => true,
            Fault::Connect | Fault::Broken => false,
        },
        CallError::NoEndpoint | CallError::OneWitness { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fake_node::{self, FakeNode, Say};

    /// A limit that is learned is kept for the endpoint's lifetime.
    #[tokio::test]
    async fn a_range_is_made_smaller_for_limits_on_ranges_alone() {
        let cases = [
            ("query exceeds max block range 100", 62),
            ("limit exceeded", 62),
            ("rate limit exceeded", 500),
            ("Too Many Requests", 500),
            ("50/second request limit reached - reduce calls per second", 500),
        ];
        for (words, left) in cases {
            let node = FakeNode::start(move |_, params| {
                let height = |key: &str| {
                    let text = params[0][key].as_str().and_then(|text| text.strip_prefix("0x"));
                    text.and_then(|text| u64::from_str_radix(text, 16).ok()).expect("a height")
                };
                let blocks = height("toBlock") - height("fromBlock") + 1;
                if blocks > 100 { Say::Error(-32005, words) } else { Say::Result(json!([])) }
            });
            let context = fake_node::context(&node.await);
            let rpc = context.rpc.pinned(&context.rpc.endpoints()[0]);
            let query = Query { contract: Address::ZERO, events: &[B256::ZERO], more: &[], max: 1 };
            let searched = query.search(&rpc, &[0..=499], |_| true).await;
            assert_eq!(searched.is_ok_and(|searched| searched.complete), left < 500, "{words}");
            assert_eq!(rpc.log_blocks_max(), left, "{words}");
        }
    }
}
