//! The places of transactions, as one endpoint sees them.
//!
//! A receipt is as good as its block: the block's hash is fetched anew after
//! the block that makes it deep enough is known to exist, and must be the
//! receipt's. Nothing that is remembered counts.

use std::collections::{BTreeMap, BTreeSet};

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
    /// In none, and its nonce is used at the configured depth.
    NonceUsed,
}

/// Looks for transactions; one answer for each, in order.
///
/// # Errors
/// The endpoint gave no answer.
pub(super) async fn find<'a>(
    context: &Context,
    rpc: &Rpc,
    views: &[TransactionView<'a>],
) -> Result<Vec<Found<'a>>, CallError> {
    let first = places(context, rpc, views).await?;
    let mut found: Vec<Found<'a>> = first.into_iter().map(placed_or_nowhere).collect();
    let unseen: Vec<usize> =
        found.iter().enumerate().filter(|(_, one)| matches!(one, Found::Nowhere)).map(|(i, _)| i).collect();
    let used = used_nonces(context, rpc, views, &unseen).await?;
    if used.is_empty() {
        return Ok(found);
    }
    // Asked once more, after the nonces: its own inclusion may have come in between.
    let again: Vec<TransactionView<'a>> = used.iter().filter_map(|i| views.get(*i).copied()).collect();
    let again_places = places(context, rpc, &again).await?;
    for (index, place) in used.into_iter().zip(again_places) {
        if let Some(one) = found.get_mut(index) {
            *one = place.map_or(Found::NonceUsed, |place| Found::Placed(Box::new(place)));
        }
    }
    Ok(found)
}

fn placed_or_nowhere(place: Option<Placement<'_>>) -> Found<'_> {
    place.map_or(Found::Nowhere, |place| Found::Placed(Box::new(place)))
}

/// Of these transactions, those whose nonce is used at the configured depth.
async fn used_nonces(
    context: &Context,
    rpc: &Rpc,
    views: &[TransactionView<'_>],
    unseen: &[usize],
) -> Result<Vec<usize>, CallError> {
    let mut nonces: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    let mut used = vec![];
    for index in unseen {
        let attempt = views.get(*index).and_then(|view| view.attempts.last());
        let Some((attempt, nonce)) = attempt.and_then(|attempt| Some((attempt, attempt.nonce?))) else { continue };
        let next = if let Some(known) = nonces.get(attempt.gas_wallet.as_str()) {
            *known
        } else {
            let next = confirmed_nonce(context, rpc, &attempt.gas_wallet).await?;
            nonces.insert(&attempt.gas_wallet, next);
            next
        };
        if next.is_some_and(|next| next > nonce) {
            used.push(*index);
        }
    }
    Ok(used)
}

/// The wallet's next nonce at the configured depth; `None` when it is no
/// address.
async fn confirmed_nonce(context: &Context, rpc: &Rpc, gas_wallet: &str) -> Result<Option<u64>, CallError> {
    let Some(address) = crate::parse::address(gas_wallet) else { return Ok(None) };
    wallet::nonce_at(rpc, address, Depth::Confirmed, context.config.confirmations).await.map(Some)
}

/// The attempt of each transaction that a canonical block includes.
pub(super) async fn places<'a>(
    context: &Context,
    rpc: &Rpc,
    views: &[TransactionView<'a>],
) -> Result<Vec<Option<Placement<'a>>>, CallError> {
    let calls: Vec<Call> =
        views.iter().flat_map(|view| view.attempts).map(|attempt| Call::receipt(&attempt.hash)).collect();
    let receipts = rpc.all::<Option<Receipt>>(&calls).await?;
    let numbers: BTreeSet<u64> =
        receipts.iter().flatten().filter_map(Receipt::block).map(|block| block.number).collect();
    let canon = Canon::read(rpc, &numbers, context.config.confirmations).await?;
    let mut receipts = receipts.into_iter();
    let place = |view: &TransactionView<'a>| {
        let attempts = view.attempts;
        let mine: Vec<Option<Receipt>> = receipts.by_ref().take(attempts.len()).collect();
        attempts.iter().zip(mine).find_map(|(attempt, receipt)| canon.place(attempt, receipt?))
    };
    Ok(views.iter().map(place).collect())
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

    fn place<'a>(&self, attempt: &'a SignedTransaction, receipt: Receipt) -> Option<Placement<'a>> {
        let block = receipt.block().filter(|_| receipt.transaction_hash.eq_ignore_ascii_case(&attempt.hash))?;
        let timestamp = self.header(&block)?.timestamp;
        let confirmed = self.confirmed.contains(&block.number);
        Some(Placement { receipt, block, timestamp, confirmed, attempt })
    }
}
