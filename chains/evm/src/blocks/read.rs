//! Blocks as nodes describe them, and where they are read one by one.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use alloy::primitives::U256;
use chains_core::{chain::ChainUnavailable, observation::FinalBlock};
use serde::Deserialize;

use crate::{
    context::Context,
    rpc::{
        Rpc,
        error::CallError,
        method::{At, Call, quantity},
    },
};

/// Blocks below the newest one that count as final where nodes do not say
/// which are: two epochs of Ethereum.
const FINAL_AFTER_BLOCKS: u64 = 64;

/// A block as nodes describe it, as far as it matters.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawBlock {
    pub number: String,
    pub hash: String,
    pub parent_hash: String,
    pub timestamp: String,
    #[serde(default)]
    pub base_fee_per_gas: Option<String>,
    #[serde(default)]
    pub transactions: HashSet<String>,
}

/// A block without its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its height.
    pub number: u64,
    /// Its name.
    pub hash: String,
    /// The name of the block before it.
    pub parent_hash: String,
    /// Its time, seconds since the epoch.
    pub timestamp: u64,
    /// Its base fee in wei; 0 where the chain has none.
    pub base_fee: u128,
}

impl RawBlock {
    /// Its header, and the hashes of its transactions.
    pub fn read(self) -> Result<(Header, HashSet<String>), CallError> {
        let number = |text: &str| number(text).ok_or_else(CallError::unreadable);
        let base_fee = self.base_fee_per_gas.as_deref().map_or(Some(U256::ZERO), quantity);
        let base_fee = base_fee.ok_or_else(CallError::unreadable)?;
        let header = Header {
            number: number(&self.number)?,
            hash: self.hash.to_lowercase(),
            parent_hash: self.parent_hash.to_lowercase(),
            timestamp: number(&self.timestamp)?,
            base_fee: u128::try_from(base_fee).unwrap_or(u128::MAX),
        };
        Ok((header, self.transactions))
    }
}

/// A number of JSON-RPC that fits the store's integers.
pub(super) fn number(text: &str) -> Option<u64> {
    quantity(text).and_then(|value| u64::try_from(value).ok()).filter(|value| i64::try_from(*value).is_ok())
}

/// The newest block.
///
/// # Errors
/// There is no answer.
pub(crate) async fn latest(rpc: &Rpc) -> Result<Header, CallError> {
    rpc.call::<RawBlock>(Call::block(At::Latest)).await?.read().map(|(header, _)| header)
}

/// The newest block with this many confirmations.
///
/// # Errors
/// There is no answer.
pub(crate) async fn confirmed(rpc: &Rpc, confirmations: u64) -> Result<Header, CallError> {
    let newest = latest(rpc).await?;
    let depth = confirmations.saturating_sub(1);
    if depth == 0 {
        return Ok(newest);
    }
    let number = newest.number.saturating_sub(depth);
    headers(rpc, &[number].into()).await?.remove(&number).ok_or_else(CallError::unreadable)
}

/// The blocks at these heights, without those that do not exist; in one batch.
///
/// # Errors
/// There is no answer.
pub(crate) async fn headers(rpc: &Rpc, numbers: &BTreeSet<u64>) -> Result<BTreeMap<u64, Header>, CallError> {
    let calls: Vec<Call> = numbers.iter().map(|number| Call::block(At::Number(*number))).collect();
    let blocks = rpc.all::<Option<RawBlock>>(&calls).await?;
    let mut headers = BTreeMap::new();
    for (number, block) in numbers.iter().zip(blocks) {
        let Some(block) = block else { continue };
        let (header, _) = block.read()?;
        // A node that answers with another block has not got this one.
        if header.number == *number {
            headers.insert(*number, header);
        }
    }
    Ok(headers)
}

/// The newest block that the chain can no longer take back, as two endpoints
/// say; by the `finalized` tag, or by depth where a node does not know it.
pub(crate) async fn final_block(context: &Context) -> Result<FinalBlock, ChainUnavailable> {
    let answer = context.rpc.second_highest_of_two(|rpc| async move { final_at(&rpc).await }).await;
    let (number, timestamp) = answer.map_err(|error| context.rpc.unavailable(error))?;
    Ok(FinalBlock { number, timestamp })
}

async fn final_at(rpc: &Rpc) -> Result<(u64, u64), CallError> {
    match rpc.call::<Option<RawBlock>>(Call::block(At::Finalized)).await {
        Ok(Some(block)) => return block.read().map(|(header, _)| (header.number, header.timestamp)),
        Ok(None) | Err(CallError::Node { .. }) => {}
        Err(error) => return Err(error),
    }
    let header = confirmed(rpc, FINAL_AFTER_BLOCKS + 1).await?;
    Ok((header.number, header.timestamp))
}
