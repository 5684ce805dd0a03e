//! Asks the chain everything that the verification of a payment needs, for
//! many payments in one `eth_call`.
//!
//! Without a task and without a timer: whoever finds a free place takes all
//! that wait along and makes the call; what arrives meanwhile waits for the
//! next place. Under load the calls fill up by themselves, and a single
//! payment never waits.

pub mod layout;

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU8, Ordering},
};

use alloy::primitives::Address;
use chains_core::chain::ChainUnavailable;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use self::layout::{Batch, Item, Record};
use crate::rpc::{Rpc, method::Call};

/// Items in one call, at most.
const ITEMS_MAX: u8 = 32;

/// Gas of one call: what every common node allows.
const GAS_MAX: u64 = 30_000_000 - 200_000;

/// Calls under way at a time.
const CALLS_MAX: usize = 3;

/// Items that may wait, at most: about a second's worth.
const WAITING_MAX: usize = 8192;

/// How often an item is asked when its call was given up or had too little gas.
const ASKS_MAX: usize = 4;

type Told = Result<Option<Record>, ChainUnavailable>;

struct Waiting {
    item: Item,
    tell: oneshot::Sender<Told>,
}

/// The lens of one network.
pub struct Lens {
    waiting: Mutex<VecDeque<Waiting>>,
    places: Semaphore,
    /// Items in a call: fewer while the node allows little gas.
    items_max: AtomicU8,
    sender: Address,
}

impl std::fmt::Debug for Lens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lens").finish_non_exhaustive()
    }
}

impl Lens {
    /// A lens that asks in the name of `sender`, a gas wallet.
    pub fn new(sender: Address) -> Self {
        Self {
            waiting: Mutex::default(),
            places: Semaphore::new(CALLS_MAX),
            items_max: AtomicU8::new(ITEMS_MAX),
            sender,
        }
    }

    /// Asks for one payment. Reads the newest block.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn ask(&self, rpc: &Rpc, item: &Item) -> Result<Record, ChainUnavailable> {
        for _ in 0..ASKS_MAX {
            let (tell, mut told) = oneshot::channel();
            {
                let mut waiting = self.waiting.lock();
                if waiting.len() >= WAITING_MAX {
                    return Err(rpc.unavailable("too many payments wait to be verified"));
                }
                waiting.push_back(Waiting { item: item.clone(), tell });
            }
            match self.wait(rpc, &mut told).await {
                Some(Ok(Some(record))) => return Ok(record),
                Some(Err(error)) => return Err(error),
                // Not asked for want of gas, or whoever made the call was cancelled.
                Some(Ok(None)) | None => {}
            }
        }
        Err(rpc.unavailable("the node allows too little gas in eth_call to simulate a payment"))
    }

    async fn wait(&self, rpc: &Rpc, told: &mut oneshot::Receiver<Told>) -> Option<Told> {
        loop {
            tokio::select! {
                biased;
                answer = &mut *told => return answer.ok(),
                place = self.places.acquire() => {
                    // Others that are ready to run get to add their items first.
                    tokio::task::yield_now().await;
                    let led = self.lead(rpc).await;
                    drop(place);
                    if !led {
                        // Nothing waits, so this item is in somebody else's call.
                        return told.await.ok();
                    }
                }
            }
        }
    }

    /// Makes one call for what waits; `false` when nothing does.
    async fn lead(&self, rpc: &Rpc) -> bool {
        let (batch, tells) = self.take();
        if tells.is_empty() {
            return false;
        }
        let call = Call::create(self.sender, &batch.data(), batch.gas());
        let answer = rpc.call::<String>(call).await;
        let records = match &answer {
            Ok(text) => {
                let bytes = text.strip_prefix("0x").and_then(crate::parse::hex);
                let read = bytes.and_then(|bytes| layout::read(&bytes, batch.count()));
                read.ok_or_else(|| rpc.unavailable("eth_call of the lens was answered with something else"))
            }
            Err(error) => Err(rpc.unavailable(error)),
        };
        match records {
            Ok(records) => {
                self.adapt(&records);
                for (tell, record) in tells.into_iter().zip(records) {
                    // Whoever asked may have gone.
                    let _ = tell.send(Ok(record));
                }
            }
            Err(error) => {
                for tell in tells {
                    let _ = tell.send(Err(error.clone()));
                }
            }
        }
        true
    }

    fn take(&self) -> (Batch, Vec<oneshot::Sender<Told>>) {
        let items_max = self.items_max.load(Ordering::Relaxed);
        let mut waiting = self.waiting.lock();
        let mut batch = Batch::default();
        let mut tells = Vec::with_capacity(usize::from(items_max).min(waiting.len()));
        while let Some(next) = waiting.front() {
            // Whoever asked may have gone. An item too large for an empty call
            // does not exist (signatures are bounded), and must not block the rest.
            let gone = next.tell.is_closed();
            if !gone && !batch.push(&next.item, items_max, GAS_MAX) && batch.count() > 0 {
                break;
            }
            let next = waiting.pop_front();
            tells.extend(next.filter(|_| !gone && usize::from(batch.count()) > tells.len()).map(|next| next.tell));
        }
        (batch, tells)
    }

    /// A node that allows less gas than asked leaves items out: ask for fewer.
    fn adapt(&self, records: &[Option<Record>]) {
        let left_out = records.iter().any(Option::is_none);
        let _ = self.items_max.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |max| {
            Some(if left_out { (max / 2).max(1) } else { (max + 1).min(ITEMS_MAX) })
        });
    }
}
