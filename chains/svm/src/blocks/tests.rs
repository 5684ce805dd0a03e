use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chains_core::clock::{ManualClock, Millis};

use super::*;
use crate::fake_node::{self, FakeNode, epoch_info};

/// A node whose newest slot is this number.
fn node(slot: &Arc<AtomicU64>) -> FakeNode {
    let slot = Arc::clone(slot);
    FakeNode::new(move |_, _| {
        let slot = slot.load(Ordering::Relaxed);
        epoch_info(slot, slot / 2)
    })
}

struct Follower {
    blocks: Blocks,
    rpc: Rpc,
    logs: Logs,
}

impl Follower {
    fn new(nodes: &[&FakeNode]) -> Self {
        let logs = Logs::new(None, vec![]);
        Self { blocks: Blocks::new(Duration::from_millis(400)), rpc: fake_node::rpc(nodes), logs }
    }

    async fn next(&self, after: Option<u64>) -> Block {
        let clock = ManualClock::at(Millis(7000));
        let after = after.map(|slot| {
            let BlockRef { number, hash } = block(slot);
            Block { number, hash, timestamp: 7, transactions: None }
        });
        self.blocks.next(&self.rpc, &self.logs, &clock, after.as_ref(), Urgency::Closely).await.expect("a block")
    }
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_that_is_a_million_slots_ahead_moves_nothing() {
    let (honest, liar) = (Arc::new(AtomicU64::new(1000)), Arc::new(AtomicU64::new(1_001_000)));
    for nodes in [[&honest, &liar], [&liar, &honest]] {
        let nodes = nodes.map(node);
        let follower = Follower::new(&[&nodes[0], &nodes[1]]);
        assert_eq!(follower.next(None).await.number, 1000);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_stands_still_is_left_for_another_one() {
    let (stuck, good) = (Arc::new(AtomicU64::new(1000)), Arc::new(AtomicU64::new(1000)));
    let nodes = [node(&stuck), node(&good)];
    let follower = Follower::new(&[&nodes[0], &nodes[1]]);
    assert_eq!(follower.next(None).await.number, 1000);
    good.store(1007, Ordering::Relaxed);
    let began = Instant::now();
    assert_eq!(follower.next(Some(1000)).await.number, 1007);
    assert!(began.elapsed() <= STALE + Duration::from_secs(1), "{:?}", began.elapsed());
    let asked = nodes[0].calls();
    good.store(1010, Ordering::Relaxed);
    assert_eq!(follower.next(Some(1007)).await.number, 1010);
    assert_eq!(nodes[0].calls(), asked, "it is asked last for a while");
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_is_far_ahead_of_the_chain_is_told_where_the_chain_is() {
    let slot = Arc::new(AtomicU64::new(1000));
    let node = node(&slot);
    let follower = Follower::new(&[&node]);
    assert_eq!(follower.next(None).await.number, 1000);
    let block = follower.next(Some(1_001_000)).await;
    assert_eq!((block.number, block.transactions), (1000, None));
}

#[tokio::test(start_paused = true)]
async fn a_notification_is_a_reason_to_ask_and_its_transactions_are_listed() {
    let slot = Arc::new(AtomicU64::new(1000));
    let node = node(&slot);
    let follower = Follower::new(&[&node]);
    follower.next(None).await;
    slot.store(1001, Ordering::Relaxed);
    follower.logs.tell("ours");
    let block = follower.next(Some(1000)).await;
    assert_eq!((block.number, block.transactions), (1001, Some(HashSet::from(["ours".to_owned()]))));
}

#[tokio::test(start_paused = true)]
async fn every_transaction_is_looked_for_now_and_then_however_much_is_told() {
    let slot = Arc::new(AtomicU64::new(1000));
    let node = node(&slot);
    let follower = Follower::new(&[&node]);
    let began = Instant::now();
    let mut after = follower.next(None).await.number;
    let mut full_looks = 0;
    while began.elapsed() < Duration::from_secs(10) {
        slot.fetch_add(1, Ordering::Relaxed);
        follower.logs.tell("ours");
        tokio::time::advance(Duration::from_millis(200)).await;
        let block = follower.next(Some(after)).await;
        full_looks += u32::from(block.transactions.is_none());
        after = block.number;
    }
    assert!(full_looks >= 10, "{full_looks} in ten seconds");
}
