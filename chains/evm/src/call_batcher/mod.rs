//! Asks the chain everything that the verification of a payment needs, for
//! many payments in one `eth_call`.
//!
//! Without a timer: whoever finds a free place takes all that wait along and
//! starts the call; what arrives meanwhile waits for the next place. Under load
//! the calls fill up by themselves, and a single payment never waits. The call
//! is made by a task of its own: a request that ends takes nobody's answer along.

pub(crate) mod approval;
pub(crate) mod confirmation;
pub mod eip3009;
pub mod permit2;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use alloy::primitives::Address;
use chains_core::chain::ChainUnavailable;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

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

/// The number of times that an item is asked when its call was given up or had too little gas.
const ASKS_MAX: usize = 4;

/// The form in which payments of one sort are put to the chain: the body of one call, being
/// filled, and the answer to it.
pub trait Batch: Default + Send + 'static {
    /// The question about one payment.
    type Item: Clone + Send + Sync + 'static;
    /// The chain's record of it.
    type Record: Send + Sync + 'static;

    /// Adds an item. `false` when the call would become too large: then it is
    /// left as it was, and not empty. `gas_max`: for all items together.
    fn push(&mut self, item: &Self::Item, items_max: u8, gas_max: u64) -> bool;

    /// The number of items in it.
    fn count(&self) -> u8;

    /// The call, in the name of a gas wallet.
    fn simulation(&self, sender: Address) -> Simulation;

    /// Reads an answer: a record for each of `count` items, `None` for one
    /// that was not asked because the node allowed too little gas. `None` when
    /// these are not the lens's bytes.
    fn read(bytes: &[u8], count: u8) -> Option<Vec<Option<Self::Record>>>;
}

/// The answer of a payer's code about a signature.
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

/// The batcher of one network, for payments of one sort, in the name of one gas wallet.
pub struct CallBatcher<B: Batch> {
    waiting: Mutex<VecDeque<Waiting<B>>>,
    places: Arc<Semaphore>,
    /// Items in a call: fewer while the node allows little gas.
    items_max: Arc<AtomicU8>,
    sender: Address,
}

impl<B: Batch> std::fmt::Debug for CallBatcher<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallBatcher").finish_non_exhaustive()
    }
}

impl<B: Batch> CallBatcher<B> {
    /// A batcher that asks in the name of `sender`, a gas wallet.
    pub fn new(sender: Address) -> Self {
        Self {
            waiting: Mutex::new(VecDeque::new()),
            places: Arc::new(Semaphore::new(CALLS_MAX)),
            items_max: Arc::new(AtomicU8::new(ITEMS_MAX)),
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
                // Not asked for want of gas, or the call's task ended early.
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
                place = Arc::clone(&self.places).acquire_owned() => {
                    // Others that are ready to run get to add their items first.
                    tokio::task::yield_now().await;
                    let Ok(place) = place else { return None };
                    let Some(call) = self.next_call() else {
                        // Nothing waits, so this item is in somebody else's call.
                        drop(place);
                        return told.await.ok();
                    };
                    self.start(call, simulator, place);
                }
            }
        }
    }

    /// Makes a call in a task of its own, which ends with the node's time limit at the latest.
    #[expect(clippy::disallowed_methods, reason = "it belongs to no request, and nothing waits for it at the end")]
    fn start(&self, call: SharedCall<B>, simulator: Simulator<'_>, place: OwnedSemaphorePermit) {
        let Simulator { rpc, price, place: block } = simulator;
        let (rpc, items_max) = (rpc.clone(), Arc::clone(&self.items_max));
        tokio::spawn(async move {
            call.run(Simulator { rpc: &rpc, price, place: block }, &items_max).await;
            drop(place);
        });
    }

    /// Returns the call for what waits; `None` when nothing does.
    fn next_call(&self) -> Option<SharedCall<B>> {
        let (batch, tells) = self.take();
        (!tells.is_empty()).then_some(SharedCall { batch, tells, sender: self.sender })
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
}

/// One call that is about to be made, and those who wait for its answer.
struct SharedCall<B: Batch> {
    batch: B,
    tells: Vec<oneshot::Sender<Told<B::Record>>>,
    sender: Address,
}

impl<B: Batch> SharedCall<B> {
    async fn run(self, simulator: Simulator<'_>, items_max: &AtomicU8) {
        let (rpc, count) = (simulator.rpc, self.batch.count());
        let simulation = self.batch.simulation(self.sender);
        drop(self.batch);
        let records = match simulator.run::<String>(&simulation).await {
            Ok(text) => {
                let bytes = text.strip_prefix("0x").and_then(crate::parse::hex);
                let read = bytes.and_then(|bytes| B::read(&bytes, count));
                read.ok_or_else(|| rpc.unavailable("eth_call of the lens was answered with something else"))
            }
            Err(error) => Err(rpc.unavailable(error)),
        };
        match records {
            Ok(records) => {
                adapt(items_max, records.iter().any(Option::is_none));
                for (tell, record) in self.tells.into_iter().zip(records) {
                    // Whoever asked may have gone.
                    let _ = tell.send(Ok(record));
                }
            }
            Err(error) => {
                for tell in self.tells {
                    let _ = tell.send(Err(error.clone()));
                }
            }
        }
    }
}

/// A node that allows less gas than asked leaves items out: ask for fewer.
fn adapt(items_max: &AtomicU8, left_out: bool) {
    let _ = items_max.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |max| {
        Some(if left_out { (max / 2).max(1) } else { (max + 1).min(ITEMS_MAX) })
    });
}

#[cfg(test)]
mod tests {

    use alloy::{hex, primitives::Bytes};
    use futures::future::join_all;
    use serde_json::{Value, json};

    use super::{eip3009::Item, *};
    use crate::{
        fake_node::{self, FakeNode, Say},
        rpc::Rpc,
    };

    type CallBatcher = super::CallBatcher<eip3009::Body>;

    const fn free(rpc: &Rpc) -> Simulator<'_> {
        Simulator { rpc, price: None, place: None }
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
        let (rpc, batcher, item) = (fake_node::rpc(&[&node]), CallBatcher::new(Address::ZERO), item());
        let answers = join_all((0..100).map(|_| batcher.ask(free(&rpc), &item))).await;
        assert!(answers.iter().all(Result::is_ok));
        assert!(node.requests() <= 8, "{} requests", node.requests());
    }

    #[tokio::test]
    async fn what_a_node_has_no_gas_for_is_asked_again_and_in_smaller_calls() {
        let node = FakeNode::start(|_, params| records(params, 4)).await;
        let (rpc, batcher, item) = (fake_node::rpc(&[&node]), CallBatcher::new(Address::ZERO), item());
        let answers = join_all((0..16).map(|_| batcher.ask(free(&rpc), &item))).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let never = FakeNode::start(|_, params| records(params, 0)).await;
        assert!(batcher.ask(free(&fake_node::rpc(&[&never])), &item).await.is_err(), "unknown, not invalid");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_the_lenss_is_no_answer() {
        for bad in [json!("0x"), json!("0x0102"), json!(null), json!(7)] {
            let node = FakeNode::start(move |_, _| Say::Result(bad.clone())).await;
            assert!(CallBatcher::new(Address::ZERO).ask(free(&fake_node::rpc(&[&node])), &item()).await.is_err());
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_caller_that_goes_away_takes_nobody_along() {
        let free_answer = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&free_answer);
        let node = FakeNode::start(move |_, params| {
            // The node answers when it is let to.
            while held.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_err() {
                std::thread::yield_now();
            }
            records(params, usize::MAX)
        })
        .await;
        let (rpc, batcher, item) = (fake_node::rpc(&[&node]), CallBatcher::new(Address::ZERO), item());
        let mut leader = Box::pin(batcher.ask(free(&rpc), &item));
        let mut follower = Box::pin(batcher.ask(free(&rpc), &item));
        // Both wait in the call that the first has started; then the first is gone.
        tokio::select! {
            biased;
            _ = &mut leader => panic!("the node has not answered"),
            _ = &mut follower => panic!("the node has not answered"),
            () = async { while node.requests() == 0 { tokio::task::yield_now().await } } => {}
        }
        drop(leader);
        free_answer.add_permits(1);
        assert!(follower.await.is_ok());
        assert_eq!(node.requests(), 1, "the call of the first was everybody's");
    }
}
