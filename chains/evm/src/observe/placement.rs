//! The places of transactions, as one endpoint sees them.
//!
//! A receipt is as good as its block: the block's hash is fetched anew after
//! the block that makes it deep enough is known to exist, and must be the
//! receipt's. Nothing that is remembered counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chains_core::{
    observation::{BlockRef, Depth, TransactionView},
    transaction::SignedTransaction,
};

use super::receipt::Receipt;
use crate::{
    blocks::{self, Header},
    context::Context,
    rpc::{Rpc, error::CallError, method::Call},
    wallet,
};

/// The least depth of a used nonce that proves a death, in blocks.
const DEATH_DEPTH_MIN: u64 = 4;

/// The least age of the block that proves it, in milliseconds.
const DEATH_AGE_MIN_MILLIS: u64 = 4_000;

/// An attempt that a canonical block includes.
#[derive(Clone, Debug)]
pub(super) struct Placement<'a> {
    pub receipt: Receipt,
    pub block: BlockRef,
    /// The block's time.
    pub timestamp: u64,
    /// True when the block has the configured confirmations.
    pub confirmed: bool,
    pub attempt: &'a SignedTransaction,
}

/// The place of a transaction.
#[derive(Clone, Debug)]
pub(super) enum Found<'a> {
    /// In a block.
    Placed(Box<Placement<'a>>),
    /// In none, and its nonce may still be its own.
    Nowhere,
    /// In none, and its nonce is used, by a block that is [deep enough](death_depth) to call it dead.
    NonceUsed,
}

/// The finding about one transaction, or the reason why the endpoint gives none.
pub(super) type Finding<'a> = Result<Found<'a>, CallError>;

/// Looks for transactions; one finding for each, in order.
///
/// # Errors
/// The endpoint gave no answer about any of them.
pub(super) async fn find<'a>(
    context: &Context,
    rpc: &Rpc,
    views: &[TransactionView<'a>],
) -> Result<Vec<Finding<'a>>, CallError> {
    let first = places(context, rpc, views).await?;
    let mut found: Vec<Finding<'a>> = first.into_iter().map(|place| place.map(placed_or_nowhere)).collect();
    let unseen: Vec<usize> =
        found.iter().enumerate().filter(|(_, one)| matches!(one, Ok(Found::Nowhere))).map(|(i, _)| i).collect();
    let mut used = vec![];
    for (index, is_used) in used_nonces(context, rpc, views, &unseen).await {
        match is_used {
            Ok(true) => used.push(index),
            Ok(false) => {}
            Err(error) => found.splice(index..=index, [Err(error)]).for_each(drop),
        }
    }
    if used.is_empty() {
        return Ok(found);
    }
    // Asked once more, after the nonces: its own inclusion may have come in between.
    let again: Vec<TransactionView<'a>> = used.iter().filter_map(|i| views.get(*i).copied()).collect();
    let again_places = places(context, rpc, &again).await?;
    for (index, place) in used.into_iter().zip(again_places) {
        if let Some(one) = found.get_mut(index) {
            *one = place.map(|place| place.map_or(Found::NonceUsed, |place| Found::Placed(Box::new(place))));
        }
    }
    Ok(found)
}

fn placed_or_nowhere(place: Option<Placement<'_>>) -> Found<'_> {
    place.map_or(Found::Nowhere, |place| Found::Placed(Box::new(place)))
}

/// Returns, of each of these transactions, whether its nonce is used at the depth of a death.
async fn used_nonces(
    context: &Context,
    rpc: &Rpc,
    views: &[TransactionView<'_>],
    unseen: &[usize],
) -> Vec<(usize, Result<bool, CallError>)> {
    let mut nonces: BTreeMap<&str, Result<Option<u64>, CallError>> = BTreeMap::new();
    let mut used = vec![];
    for index in unseen {
        let attempt = views.get(*index).and_then(|view| view.attempts.last());
        let Some((attempt, nonce)) = attempt.and_then(|attempt| Some((attempt, attempt.nonce?))) else { continue };
        let wallet = attempt.gas_wallet.as_str();
        if !nonces.contains_key(wallet) {
            nonces.insert(wallet, deep_nonce(context, rpc, wallet).await);
        }
        let Some(next) = nonces.get(wallet) else { continue };
        used.push((*index, next.clone().map(|next| next.is_some_and(|next| next > nonce))));
    }
    used
}

/// The wallet's next nonce at the depth of a death; `None` when it is no address.
async fn deep_nonce(context: &Context, rpc: &Rpc, gas_wallet: &str) -> Result<Option<u64>, CallError> {
    let Some(address) = crate::parse::address(gas_wallet) else { return Ok(None) };
    let depth = death_depth(context.config.confirmations, context.config.block_time);
    wallet::nonce_at(rpc, address, Depth::Confirmed, depth).await.map(Some)
}

/// Blocks, counted from the newest as the first, below which a used nonce means that another transaction has
/// it: an endpoint may know the newest blocks' nonces before their receipts, and the chain may take them back.
fn death_depth(confirmations: u64, block_time: Duration) -> u64 {
    let millis = u64::try_from(block_time.as_millis()).unwrap_or(u64::MAX).max(1);
    confirmations.max(DEATH_DEPTH_MIN).max(DEATH_AGE_MIN_MILLIS.div_ceil(millis))
}

/// The attempt of each transaction that a canonical block includes, or the
/// reason why the endpoint does not tell.
///
/// # Errors
/// The endpoint gave no answer about any of them.
pub(super) async fn places<'a>(
    context: &Context,
    rpc: &Rpc,
    views: &[TransactionView<'a>],
) -> Result<Vec<Result<Option<Placement<'a>>, CallError>>, CallError> {
    let hashes: Vec<&str> = views.iter().flat_map(|view| view.attempts).map(|attempt| attempt.hash.as_str()).collect();
    let receipts = receipts(context, rpc, &hashes).await?;
    let known = receipts.iter().filter_map(|receipt| receipt.as_ref().ok()?.as_ref());
    let numbers: BTreeSet<u64> = known.filter_map(Receipt::block).map(|block| block.number).collect();
    let canon = Canon::read(rpc, &numbers, context.config.confirmations).await?;
    let mut receipts = receipts.into_iter();
    let place = |view: &TransactionView<'a>| {
        let mine = receipts.by_ref().take(view.attempts.len());
        canon.place_of(view, mine.collect())
    };
    Ok(views.iter().map(place).collect())
}

/// The receipts of transactions: of the newest block's together where many are
/// in it, of the others one by one.
async fn receipts(
    context: &Context,
    rpc: &Rpc,
    hashes: &[&str],
) -> Result<Vec<Result<Option<Receipt>, CallError>>, CallError> {
    let newest = context.block_receipts.newest(context, rpc, hashes.len()).await;
    let in_newest = |hash: &&str| newest.as_ref()?.get(&hash.to_lowercase()).cloned();
    let found: Vec<Option<Receipt>> = hashes.iter().map(in_newest).collect();
    let missing = hashes.iter().zip(&found).filter(|(_, found)| found.is_none());
    let calls: Vec<Call> = missing.map(|(hash, _)| Call::receipt(hash)).collect();
    let mut asked = rpc.each::<Option<Receipt>>(&calls).await?.into_iter();
    let receipt = |found: Option<Receipt>| match found {
        Some(receipt) => Ok(Some(receipt)),
        None => asked.next().unwrap_or_else(|| Err(CallError::unreadable())),
    };
    Ok(found.into_iter().map(receipt).collect())
}

/// Blocks as the endpoint has them now.
pub(super) struct Canon {
    headers: BTreeMap<u64, Header>,
    /// The numbers of those that are deep enough.
    confirmed: BTreeSet<u64>,
}

impl Canon {
    /// Reads the blocks with these numbers, after those that make them deep enough.
    pub async fn read(rpc: &Rpc, numbers: &BTreeSet<u64>, confirmations: u64) -> Result<Self, CallError> {
        let depth = confirmations.saturating_sub(1);
        let mut confirmed = numbers.clone();
        if depth > 0 {
            let deep: BTreeSet<u64> = numbers.iter().map(|number| number.saturating_add(depth)).collect();
            let above = blocks::headers(rpc, &deep).await?;
            confirmed.retain(|number| above.contains_key(&number.saturating_add(depth)));
        }
        Ok(Self { headers: blocks::headers(rpc, numbers).await?, confirmed })
    }

    /// The header of a receipt's block, when it is part of the chain.
    pub fn header(&self, block: &BlockRef) -> Option<&Header> {
        self.headers.get(&block.number).filter(|header| header.hash.eq_ignore_ascii_case(&block.hash))
    }

    /// Returns whether the block at this receipt's height is deep enough.
    pub fn is_confirmed(&self, block: &BlockRef) -> bool {
        self.confirmed.contains(&block.number)
    }

    /// The attempt of a transaction that is in a block: these are the receipts of its attempts. One without an
    /// answer may be the one.
    fn place_of<'a>(
        &self,
        view: &TransactionView<'a>,
        receipts: Vec<Result<Option<Receipt>, CallError>>,
    ) -> Result<Option<Placement<'a>>, CallError> {
        let mut failure = None;
        for (attempt, receipt) in view.attempts.iter().zip(receipts) {
            match receipt {
                Ok(receipt) => {
                    if let Some(place) = receipt.and_then(|receipt| self.place(attempt, receipt)) {
                        return Ok(Some(place));
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }

    fn place<'a>(&self, attempt: &'a SignedTransaction, receipt: Receipt) -> Option<Placement<'a>> {
        let block = receipt.block().filter(|_| receipt.transaction_hash.eq_ignore_ascii_case(&attempt.hash))?;
        let timestamp = self.header(&block)?.timestamp;
        let confirmed = self.confirmed.contains(&block.number);
        Some(Placement { receipt, block, timestamp, confirmed, attempt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_four_blocks_and_four_seconds_deep_at_least() {
        for (confirmations, millis, expected) in
            [(1, 12_000, 4), (1, 1_000, 4), (1, 250, 16), (1, 100, 40), (6, 1_000, 6), (1, 0, 4_000)]
        {
            assert_eq!(death_depth(confirmations, Duration::from_millis(millis)), expected, "{confirmations} {millis}");
        }
    }
}
