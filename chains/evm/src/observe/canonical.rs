//! Blocks that are still part of the chain, and what that says of the transfers in them.
//!
//! A transfer that two endpoints saw in a block is there for as long as the
//! chain has that block: one header answers for all transfers in it. What one
//! endpoint alone saw, because no other could be asked, is looked at anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use chains_core::{
    chain::ChainUnavailable,
    observation::{BlockRef, Effect, Observation},
};
use chains_rpc::Agreement;

use crate::{blocks, context::Context, rpc::Rpc};

/// The height from which on every inclusion was seen by two endpoints, or by the
/// only one that is configured. Nothing is known of what an earlier process saw.
#[derive(Debug)]
pub(crate) struct Witnessed(AtomicU64);

impl Default for Witnessed {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Witnessed {
    /// Counts from this height on, unless it does so already.
    fn begin(&self, height: u64) {
        let _ = self.0.compare_exchange(u64::MAX, height, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Notes that one endpoint alone saw something in this block.
    fn doubt(&self, number: u64) {
        self.0.fetch_max(number.saturating_add(1), Ordering::Relaxed);
    }

    fn covers(&self, number: u64) -> bool {
        number >= self.0.load(Ordering::Relaxed)
    }
}

/// Counts from the newest block on, before the first question about a transfer.
pub(super) fn begin(context: &Context) {
    if let Some(newest) = context.blocks.newest() {
        context.witnessed.begin(newest.header.number);
    }
}

/// Notes the blocks about whose transactions one endpoint alone could be asked.
pub(super) fn note_alone(context: &Context, said: &[Agreement<Observation>]) {
    for said in said {
        if let Agreement::Alone(Observation::Included(inclusion, effects)) = said {
            let elsewhere = effects.iter().filter_map(block_elsewhere);
            doubt(context, elsewhere.chain([inclusion.block.number]));
        }
    }
}

/// Notes the block of a transfer about which one endpoint alone could be asked.
pub(super) fn note_effect_alone(context: &Context, said: &Agreement<Effect>) {
    if let Agreement::Alone(effect) = said {
        doubt(context, block_elsewhere(effect));
    }
}

fn doubt(context: &Context, numbers: impl IntoIterator<Item = u64>) {
    // The only endpoint that is configured is all there is to ask later, too.
    if context.rpc.endpoints().len() > 1 {
        numbers.into_iter().for_each(|number| context.witnessed.doubt(number));
    }
}

/// The block of a transfer that another transaction made.
const fn block_elsewhere(effect: &Effect) -> Option<u64> {
    match effect {
        Effect::Elsewhere { block, .. } => Some(block.number),
        Effect::Done | Effect::Missing { .. } | Effect::Continues(_) | Effect::Unclear(_) => None,
    }
}

/// Returns, of each block, whether the chain has it; see
/// [`Execution::are_canonical`](chains_core::chain::Execution::are_canonical).
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn are_canonical(
    context: &Context,
    asked: &[BlockRef],
) -> Result<Vec<Option<bool>>, ChainUnavailable> {
    let covered = asked.iter().map(|block| block.number).filter(|number| context.witnessed.covers(*number));
    let numbers: BTreeSet<u64> = covered.collect();
    if numbers.is_empty() {
        return Ok(vec![None; asked.len()]);
    }
    let ask = |rpc: Rpc| {
        let numbers = &numbers;
        async move {
            let mut headers = blocks::headers(&rpc, numbers).await?;
            Ok(numbers.iter().map(|number| Some(headers.remove(number)?.hash)).collect())
        }
    };
    let said = context.rpc.agree_each(numbers.len(), ask, String::clone, |one, _| one).await;
    let said = said.map_err(|error| context.rpc.unavailable(error))?;
    let hash = |said| match said {
        Agreement::Agreed(hash) | Agreement::Alone(hash) => Some(hash),
        Agreement::Disagreed(_) => None,
    };
    let hashes: BTreeMap<u64, Option<String>> = numbers.iter().copied().zip(said.into_iter().map(hash)).collect();
    let is_there = |block: &BlockRef| {
        let hash = hashes.get(&block.number)?.as_ref()?;
        Some(hash.eq_ignore_ascii_case(&block.hash))
    };
    Ok(asked.iter().map(is_there).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_counts_when_nothing_in_it_was_seen_by_one_endpoint_alone() {
        let witnessed = Witnessed::default();
        assert!(!witnessed.covers(u64::MAX - 1), "nothing is known yet");
        witnessed.begin(10);
        witnessed.begin(5);
        assert_eq!([9, 10, 11].map(|number| witnessed.covers(number)), [false, true, true]);
        witnessed.doubt(12);
        witnessed.doubt(3);
        assert_eq!([12, 13].map(|number| witnessed.covers(number)), [false, true]);
    }
}
