//! Asks the chain everything that the verification of a payment needs, for
//! many payments in one `eth_call`.
//!
//! Without a task and without a timer: whoever finds a free place takes all
//! that wait along and makes the call; what arrives meanwhile waits for the
//! next place. Under load the calls fill up by themselves, and a single
//! payment never waits.

pub(crate) mod approval;
pub mod eip3009;
pub mod permit2;

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU8, Ordering},
};

use alloy::primitives::Address;
use chains_core::chain::ChainUnavailable;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use crate::simulation::{Simulation, Simulator};

/// Items in one call, at most.
const ITEMS_MAX: u8 = 32;

/// Gas of the items of one call. With the call's own it stays below EIP-7825's
/// limit of 2^24 for a transaction, which some nodes also hold calls to.
pub(crate) const GAS_MAX: u64 = 16_500_000;

/// Calls under way at a time.
const CALLS_MAX: usize = 3;

/// Items that may wait, at most: about a second's worth.
const WAITING_MAX: usize = 8192;

/// How often an item is asked when its call was given up or had too little gas.
const ASKS_MAX: usize = 4;

/// How payments of one sort are put to the chain: the body of one call, being
/// filled, and the answer to it.
pub trait Batch: Default {
    /// What one payment asks.
    type Item: Clone + Send;
    /// What the chain says of it.
    type Record: Send;

    /// Adds an item. `false` when the call would become too large: then it is
    /// left as it was, and not empty. `gas_max`: for all items together.
    fn push(&mut self, item: &Self::Item, items_max: u8, gas_max: u64) -> bool;

    /// How many items are in it.
    fn count(&self) -> u8;

    /// The call, in the name of a gas wallet.
    fn simulation(&self, sender: Address) -> Simulation;

    /// Reads an answer: a record for each of `count` items, `None` for one
    /// that was not asked because the node allowed too little gas. `None` when
    /// these are not the lens's bytes.
    fn read(bytes: &[u8], count: u8) -> Option<Vec<Option<Self::Record>>>;
}

/// What the payer's code says of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAnswer {
    /// It was not asked.
    NotAsked,
    /// Valid.
    Valid,
    /// Something else than valid, or it failed.
    Invalid,
}

impl SignatureAnswer {
    const fn read(byte: u8) -> Self {
        match byte {
            0 => Self::NotAsked,
            1 => Self::Valid,
            _ => Self::Invalid,
        }
    }
}

type Told<R> = Result<Option<R>, ChainUnavailable>;

struct Waiting<B: Batch> {
    item: B::Item,
    tell: oneshot::Sender<Told<B::Record>>,
}

/// The lens of one network, for payments of one sort, in the name of one gas wallet.
pub struct Lens<B: Batch> {
    waiting: Mutex<VecDeque<Waiting<B>>>,
    places: Semaphore,
    /// Items in a call: fewer while the node allows little gas.
    items_max: AtomicU8,
    sender: Address,
}

impl<B: Batch> std::fmt::Debug for Lens<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lens").finish_non_exhaustive()
    }
}

impl<B: Batch> Lens<B> {
    /// A lens that asks in the name of `sender`, a gas wallet.
    pub fn new(sender: Address) -> Self {
        Self {
            waiting: Mutex::new(VecDeque::new()),
            places: Semaphore::new(CALLS_MAX),
            items_max: AtomicU8::new(ITEMS_MAX),
            sender,
        }
    }

    /// The gas wallet in whose name it asks.
    pub const fn sender(&self) -> Address {
        self.sender
    }

    /// Asks for one payment. Reads the newest block.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn ask(&self, simulator: Simulator<'_>, item: &B::Item) -> Result<B::Record, ChainUnavailable> {
        for _ in 0..ASKS_MAX {
            let (tell, mut told) = oneshot::channel();
            {
                let mut waiting = self.waiting.lock();
                if waiting.len() >= WAITING_MAX {
                    return Err(simulator.rpc.unavailable("too many payments wait to be verified"));
                }
                waiting.push_back(Waiting { item: item.clone(), tell });
            }
            match self.wait(simulator, &mut told).await {
                Some(Ok(Some(record))) => return Ok(record),
                Some(Err(error)) => return Err(error),
                // Not asked for want of gas, or whoever made the call was cancelled.
                Some(Ok(None)) | None => {}
            }
        }
        Err(simulator.rpc.unavailable("the node allows too little gas in eth_call to simulate a payment"))
    }

    async fn wait(
        &self,
        simulator: Simulator<'_>,
        told: &mut oneshot::Receiver<Told<B::Record>>,
    ) -> Option<Told<B::Record>> {
        loop {
            tokio::select! {
                biased;
                answer = &mut *told => return answer.ok(),
                place = self.places.acquire() => {
                    // Others that are ready to run get to add their items first.
                    tokio::task::yield_now().await;
                    let led = self.lead(simulator).await;
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
    async fn lead(&self, simulator: Simulator<'_>) -> bool {
        let (batch, tells) = self.take();
        if tells.is_empty() {
            return false;
        }
        let rpc = simulator.rpc;
        let answer = simulator.run::<String>(&batch.simulation(self.sender)).await;
        let records = match &answer {
            Ok(text) => {
                let bytes = text.strip_prefix("0x").and_then(crate::parse::hex);
                let read = bytes.and_then(|bytes| B::read(&bytes, batch.count()));
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

    fn take(&self) -> (B, Vec<oneshot::Sender<Told<B::Record>>>) {
        let items_max = self.items_max.load(Ordering::Relaxed);
        let mut waiting = self.waiting.lock();
        let mut batch = B::default();
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
    fn adapt(&self, records: &[Option<B::Record>]) {
        let left_out = records.iter().any(Option::is_none);
        let _ = self.items_max.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |max| {
            Some(if left_out { (max / 2).max(1) } else { (max + 1).min(ITEMS_MAX) })
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use alloy::{hex, primitives::Bytes};
    use futures::future::join_all;
    use serde_json::{Value, json};

    use super::{eip3009::Item, *};
    use crate::{
        fake_node::{self, FakeNode, Say},
        rpc::Rpc,
    };

    type Lens = super::Lens<eip3009::Body>;

    const fn free(rpc: &Rpc) -> Simulator<'_> {
        Simulator { rpc, price: None }
    }

    fn item() -> Item {
        Item { token: Address::ZERO, gas_cap: 120_000, transfer: vec![0; 292].into(), signature: Bytes::new() }
    }

    /// An answer for as many items as were asked, of which `known` were simulated.
    fn records(params: &Value, known: usize) -> Say {
        let data = hex::decode(params[0]["data"].as_str().expect("data")).expect("hex");
        let size = usize::from(u16::from_be_bytes([data[data.len() - 2], data[data.len() - 1]]));
        let count = data[data.len() - 2 - size];
        let mut answer = vec![0; 34];
        (answer[0], answer[1]) = (1, count);
        for i in 0..usize::from(count) {
            let mut record = [0_u8; 40];
            record[0] = u8::from(i < known);
            answer.extend(record);
        }
        Say::Result(json!(hex::encode_prefixed(answer)))
    }

    #[tokio::test]
    async fn payments_that_arrive_together_share_calls() {
        let node = FakeNode::start(|_, params| records(params, usize::MAX)).await;
        let (rpc, lens, item) = (fake_node::rpc(&[&node]), Lens::new(Address::ZERO), item());
        let answers = join_all((0..100).map(|_| lens.ask(free(&rpc), &item))).await;
        assert!(answers.iter().all(Result::is_ok));
        assert!(node.requests() <= 8, "{} requests", node.requests());
    }

    #[tokio::test]
    async fn what_a_node_has_no_gas_for_is_asked_again_and_in_smaller_calls() {
        let node = FakeNode::start(|_, params| records(params, 4)).await;
        let (rpc, lens, item) = (fake_node::rpc(&[&node]), Lens::new(Address::ZERO), item());
        let answers = join_all((0..16).map(|_| lens.ask(free(&rpc), &item))).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let never = FakeNode::start(|_, params| records(params, 0)).await;
        assert!(lens.ask(free(&fake_node::rpc(&[&never])), &item).await.is_err(), "unknown, not invalid");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_the_lenss_is_no_answer() {
        for bad in [json!("0x"), json!("0x0102"), json!(null), json!(7)] {
            let node = FakeNode::start(move |_, _| Say::Result(bad.clone())).await;
            assert!(Lens::new(Address::ZERO).ask(free(&fake_node::rpc(&[&node])), &item()).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_takes_nobody_along() {
        let hung = std::sync::atomic::AtomicBool::new(false);
        let node =
            FakeNode::start(
                move |_, params| {
                    if hung.swap(true, Ordering::Relaxed) { records(params, usize::MAX) } else { Say::Hang }
                },
            )
            .await;
        let (rpc, lens, item) = (fake_node::rpc(&[&node]), Lens::new(Address::ZERO), item());
        let mut leader = Box::pin(lens.ask(free(&rpc), &item));
        let mut follower = Box::pin(lens.ask(free(&rpc), &item));
        // Both wait in the call of the first, which hangs; then the first is gone.
        tokio::select! {
            biased;
            _ = &mut leader => panic!("it hangs"),
            _ = &mut follower => panic!("it hangs"),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        drop(leader);
        assert!(follower.await.is_ok());
    }
}
