//! Following a chain that a test moves.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use chains_core::clock::{ManualClock, Millis};
use serde_json::{Value, json};

use super::*;
use crate::fake_node::{self, FakeNode, NOW, Say};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A tracker of blocks every `block_time`, on a machine whose clock says this.
fn tracker_at(block_time: Duration, now: u64) -> BlockTracker {
    let (network, clock) = ("eip155:84532".parse().expect("a network"), ManualClock::at(Millis(now * 1000)));
    BlockTracker::new(network, block_time, Duration::from_secs(15), None, Arc::new(clock))
}

/// A tracker with a node that tells of blocks.
pub(super) fn tracker_with(block_time: Duration, websocket: Option<Url>) -> BlockTracker {
    let (network, clock) = ("eip155:84532".parse().expect("a network"), ManualClock::at(Millis(NOW * 1000)));
    BlockTracker::new(network, block_time, Duration::from_secs(15), websocket, Arc::new(clock))
}

fn tracker(block_time: Duration) -> BlockTracker {
    tracker_at(block_time, NOW)
}

fn raw(number: u64, hash: &str, parent: &str) -> RawBlock {
    RawBlock {
        number: format!("{number:#x}"),
        hash: hash.to_owned(),
        parent_hash: parent.to_owned(),
        timestamp: format!("{:#x}", NOW - 100 + number),
        base_fee_per_gas: Some("0x7".to_owned()),
        transactions: HashSet::from(["0xa".to_owned()]),
    }
}

fn arrival(number: u64, hash: &str, parent: &str) -> Arrival {
    let (header, transactions) = raw(number, hash, parent).read().expect("read");
    Arrival { header, transactions }
}

fn block(number: u64, hash: &str) -> Block {
    Block { number, hash: hash.to_owned(), timestamp: NOW, transactions: None }
}

#[test]
fn the_newest_block_is_kept_also_when_the_chain_goes_back() {
    let blocks = tracker(ms(2000));
    assert!(blocks.newest().is_none());
    assert_eq!(blocks.see(arrival(5, "a5", "a4"), Came::Jumped).transactions, None);
    let next = blocks.see(arrival(6, "a6", "a5"), Came::Live(ms(10)));
    assert_eq!(next.transactions.expect("listed").len(), 1);
    let newest = blocks.newest().expect("a block").header;
    assert_eq!((newest.number, newest.timestamp, newest.base_fee), (6, NOW - 94, 7));
    blocks.see(arrival(5, "b5", "a4"), Came::Jumped);
    assert_eq!(blocks.newest().map(|newest| newest.header.hash), Some("b5".to_owned()));
}

#[test]
fn a_block_that_cannot_be_read_is_no_block() {
    for (number, timestamp) in [("5", "0x1"), ("0x", "0x1"), ("0x5", "x"), ("0x8000000000000000", "0x1")] {
        let block = RawBlock { number: number.into(), timestamp: timestamp.into(), ..raw(1, "a", "b") };
        assert!(block.read().is_err(), "{number} {timestamp}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_block_to_come_is_the_chains_as_far_as_that_is_known() {
    let cases = [
        ("on time", NOW - 1, true, 0, NOW + 1),
        ("late, and seen to come", NOW - 60, true, 9, NOW - 60 + 2 + 9 + 15),
        ("late, and not seen to come", NOW - 60, false, 0, NOW),
        ("ahead", NOW + 10, true, 0, NOW + 12),
    ];
    for (what, timestamp, live, passed, expected) in cases {
        let blocks = tracker(ms(2000));
        assert_eq!(blocks.next_timestamp(), NOW, "before the first block");
        let mut arrival = arrival(5, "a5", "a4");
        arrival.header.timestamp = timestamp;
        blocks.see(arrival, if live { Came::Live(ms(10)) } else { Came::Jumped });
        tokio::time::advance(Duration::from_secs(passed)).await;
        assert_eq!(blocks.next_timestamp(), expected, "{what}");
    }
}

/// A chain of `hashes`, the first at height 10, whose end a test moves.
pub(super) async fn chain(hashes: &'static [&'static str], visible: &Arc<AtomicUsize>) -> FakeNode {
    let visible = Arc::clone(visible);
    FakeNode::start(move |method, params| {
        let newest = visible.load(Relaxed) - 1;
        let wanted = match params[0].as_str() {
            Some("latest") | None => newest,
            Some(text) => usize::try_from(number(text).expect("a height") - 10).expect("small"),
        };
        let height = |i: usize| format!("{:#x}", 10 + i);
        match hashes.get(wanted).filter(|_| wanted <= newest) {
            _ if method == "eth_blockNumber" => Say::Result(json!(height(newest))),
            None => Say::Result(Value::Null),
            Some(hash) => {
                let parent = wanted.checked_sub(1).map_or("0x0", |before| hashes[before]);
                let timestamp = NOW - 200 + u64::try_from(wanted).expect("small");
                Say::Result(json!({
                    "number": height(wanted), "hash": hash, "parentHash": parent,
                    "timestamp": format!("{timestamp:#x}"), "baseFeePerGas": "0x1", "transactions": ["0xaa"],
                }))
            }
        }
    })
    .await
}

#[tokio::test]
async fn no_block_is_left_out_and_none_is_waited_for_that_is_there() {
    let visible = Arc::new(AtomicUsize::new(1));
    let node = chain(&["h0", "h1", "h2", "h3"], &visible).await;
    let (rpc, blocks) = (fake_node::rpc(&[&node]), tracker(ms(2000)));
    let mut block = blocks.next(&rpc, None, Urgency::Closely).await.expect("a block");
    assert_eq!((block.number, block.transactions), (10, None));
    visible.store(4, Relaxed);
    let began = Instant::now();
    block.transactions = None;
    for number in 11..14 {
        block = blocks.next(&rpc, Some(&block), Urgency::Closely).await.expect("a block");
        assert_eq!((block.number, block.transactions.as_ref().map(HashSet::len)), (number, Some(1)));
    }
    assert!(began.elapsed() < ms(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn after_a_reorg_everything_has_to_be_looked_at() {
    let visible = Arc::new(AtomicUsize::new(3));
    let node = chain(&["h0", "h1", "h2"], &visible).await;
    let (rpc, blocks) = (fake_node::rpc(&[&node]), tracker(ms(2000)));
    let block = blocks.next(&rpc, Some(&block(11, "other")), Urgency::Closely).await.expect("a block");
    assert_eq!((block.number, block.hash.as_str(), block.transactions), (12, "h2", None));
}

#[tokio::test]
async fn far_behind_is_made_up_in_one_step() {
    static HASHES: [&str; 80] = ["h"; 80];
    let visible = Arc::new(AtomicUsize::new(80));
    let node = chain(&HASHES, &visible).await;
    let (rpc, blocks) = (fake_node::rpc(&[&node]), tracker(ms(2000)));
    let block = blocks.next(&rpc, Some(&block(10, "g")), Urgency::Closely).await.expect("a block");
    assert_eq!((block.number, block.transactions), (89, None));
}

#[tokio::test]
async fn a_block_is_noticed_while_it_is_waited_for() {
    let visible = Arc::new(AtomicUsize::new(1));
    let node = chain(&["h0", "h1"], &visible).await;
    let (rpc, blocks) = (fake_node::rpc(&[&node]), tracker(ms(200)));
    let block = blocks.next(&rpc, None, Urgency::Closely).await.expect("a block");
    let waiting = blocks.next(&rpc, Some(&block), Urgency::Closely);
    let mined = async {
        tokio::time::sleep(ms(150)).await;
        visible.store(2, Relaxed);
        Instant::now()
    };
    let (block, mined) = futures::future::join(waiting, mined).await;
    assert_eq!(block.expect("a block").number, 11);
    assert!(mined.elapsed() < ms(150), "{:?}", mined.elapsed());
    assert!(node.requests() < 20, "{} requests", node.requests());
}

/// Two chains that part after their first block.
const OURS: [&str; 9] = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"];
const FALSE: [&str; 9] = ["h0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8"];

#[tokio::test]
async fn an_endpoint_that_invents_a_chain_of_its_own_is_followed_for_few_blocks_only() {
    let visible = Arc::new(AtomicUsize::new(1));
    let nodes = [chain(&FALSE, &visible).await, chain(&OURS, &visible).await, chain(&OURS, &visible).await];
    let (rpc, blocks) = (fake_node::rpc(&[&nodes[0], &nodes[1], &nodes[2]]), tracker(ms(2000)));
    let mut block = blocks.next(&rpc, None, Urgency::Closely).await.expect("a block");
    visible.store(9, Relaxed);
    while block.number < 16 {
        block = blocks.next(&rpc, Some(&block), Urgency::Closely).await.expect("a block");
    }
    assert_eq!(block.hash, "x6", "the first endpoint leads");
    let block = blocks.next(&rpc, Some(&block), Urgency::Closely).await.expect("a block");
    assert_eq!((block.hash.as_str(), blocks.trouble()), ("h8", None));
}

#[tokio::test]
async fn two_endpoints_on_two_chains_are_told_and_no_block_is_taken_from_either() {
    let visible = Arc::new(AtomicUsize::new(1));
    let nodes = [chain(&FALSE, &visible).await, chain(&OURS, &visible).await];
    let (rpc, blocks) = (fake_node::rpc(&[&nodes[0], &nodes[1]]), tracker(ms(2000)));
    let mut block = blocks.next(&rpc, None, Urgency::Closely).await.expect("a block");
    visible.store(9, Relaxed);
    while block.number < 16 {
        block = blocks.next(&rpc, Some(&block), Urgency::Closely).await.expect("a block");
    }
    blocks.next(&rpc, Some(&block), Urgency::Closely).await.expect_err("a contradiction");
    assert!(blocks.trouble().is_some_and(|trouble| trouble.contains("different blocks at height 13")));
}

/// The newest block of a node that stands still: height, time, base fee.
type Shown = (u64, u64, u64);

/// A node that shows this block and all below it, as far as they are asked for.
async fn still((height, timestamp, base_fee): Shown) -> FakeNode {
    FakeNode::start(move |method, params| {
        let wanted = match params[0].as_str() {
            Some("latest") | None => height,
            Some(text) => number(text).expect("a height"),
        };
        let hash = |number: u64| format!("h{number}-{timestamp}-{base_fee}");
        let shift = height.saturating_sub(wanted);
        Say::Result(match method {
            "eth_blockNumber" => json!(format!("{height:#x}")),
            _ if wanted > height => Value::Null,
            _ => json!({
                "number": format!("{wanted:#x}"), "hash": hash(wanted), "parentHash": hash(wanted - 1),
                "timestamp": format!("{:#x}", timestamp - shift), "baseFeePerGas": format!("{base_fee:#x}"),
            }),
        })
    })
    .await
}

#[tokio::test]
async fn one_endpoint_of_three_that_shows_nonsense_moves_nothing() {
    let good = (100, NOW, 7);
    for (what, bad) in [
        ("a time of 2106", (100, 4_294_967_295, 7)),
        ("a million blocks ahead", (1_000_100, NOW, 7)),
        ("a base fee beyond any ceiling", (100, NOW, 1 << 60)),
        ("a base fee of nothing", (100, NOW, 0)),
        ("a long way back", (3, NOW - 200, 7)),
    ] {
        let nodes = [still(bad).await, still(good).await, still(good).await];
        let (rpc, blocks) = (fake_node::rpc(&[&nodes[0], &nodes[1], &nodes[2]]), tracker(ms(2000)));
        let first = blocks.next(&rpc, None, Urgency::Closely).await.expect("a block");
        let newest = blocks.newest().expect("a block").header;
        assert_eq!((newest.number, newest.timestamp, newest.base_fee), (100, NOW, 7), "{what}");
        assert_eq!((first.number, blocks.trouble()), (100, None), "{what}");
    }
}

#[tokio::test]
async fn an_idle_network_takes_no_block_that_one_endpoint_alone_shows() {
    let (good, invented) = ((100, NOW, 7), (103, NOW, 7));
    let nodes = [still(invented).await, still(good).await, still(good).await];
    let (rpc, blocks) = (fake_node::rpc(&[&nodes[0], &nodes[1], &nodes[2]]), tracker(ms(20)));
    blocks.see(arrival(99, "h99-1700000000-7", "x"), Came::Live(ms(10)));
    let next = blocks.next(&rpc, Some(&block(99, "somewhere")), Urgency::Idly).await.expect("a block");
    assert_eq!((next.number, blocks.newest().map(|newest| newest.header.number)), (100, Some(100)));
}

#[tokio::test]
async fn an_endpoint_that_goes_wrong_is_left_aside_while_two_are_right() {
    let good = (100, NOW, 7);
    for (what, bad) in [
        ("a time of 2106", (100, 4_294_967_295, 7)),
        ("a million blocks ahead", (1_000_100, NOW, 7)),
        ("a base fee beyond any ceiling", (100, NOW, 1 << 60)),
    ] {
        let nodes = [still(bad).await, still(good).await, still(good).await];
        let (rpc, blocks) = (fake_node::rpc(&[&nodes[0], &nodes[1], &nodes[2]]), tracker(ms(20)));
        blocks.see(arrival(99, "h99-1700000000-7", "x"), Came::Live(ms(10)));
        let next = blocks.next(&rpc, Some(&block(99, "somewhere")), Urgency::Idly).await.expect("a block");
        let newest = blocks.newest().expect("a block").header;
        assert_eq!((next.number, newest.timestamp, newest.base_fee), (100, NOW, 7), "{what}");
        assert_eq!(blocks.trouble(), None, "{what}");
    }
}

#[tokio::test]
async fn a_time_that_all_show_and_the_clock_does_not_is_told_until_it_fits() {
    let ahead = (100, NOW + 60, 7);
    let nodes = [still(ahead).await, still(ahead).await];
    let (rpc, blocks) = (fake_node::rpc(&[&nodes[0], &nodes[1]]), tracker(ms(2000)));
    blocks.next(&rpc, None, Urgency::Closely).await.expect("a block");
    let trouble = blocks.trouble().expect("the clocks differ");
    assert!(trouble.contains("60 s ahead") && trouble.contains("clock_skew_max"), "{trouble}");
    blocks.see(arrival(101, "a", "b"), Came::Live(ms(10)));
    assert_eq!(blocks.trouble(), None);
}

#[test]
fn blocks_that_keep_coming_from_the_past_are_told() {
    let blocks = tracker_at(ms(2000), NOW + 3600);
    for number in 1..3 {
        blocks.see(arrival(number, "a", "b"), Came::Live(ms(10)));
        assert_eq!(blocks.trouble(), None, "a few may be late");
    }
    blocks.see(arrival(3, "a", "b"), Came::Before { predicted: false });
    assert_eq!(blocks.trouble(), None, "blocks that are caught up with are old");
    blocks.see(arrival(4, "a", "b"), Came::Live(ms(10)));
    assert!(blocks.trouble().is_some_and(|trouble| trouble.contains("behind this machine's clock")));
}

#[tokio::test(start_paused = true)]
async fn failures_are_asked_about_ever_less_often() {
    let pauses = |count: u32| {
        let blocks = tracker(ms(2000));
        (0..count).map(|_| blocks.pause_after_failure()).collect::<Vec<_>>()
    };
    assert_eq!(pauses(7), [250, 500, 1000, 2000, 4000, 5000, 5000].map(ms));
}

#[tokio::test]
async fn the_final_block_is_the_nodes_word_or_a_depth() {
    for (tag, expected) in [(true, 90), (false, 136)] {
        let node = FakeNode::start(move |_, params| match params[0].as_str() {
            Some("finalized") if !tag => Say::Error(-32602, "invalid block tag"),
            Some(text) => {
                let height = match text {
                    "latest" => 200,
                    "finalized" => 90,
                    text => number(text).expect("a height"),
                };
                Say::Result(json!({
                    "number": format!("{height:#x}"), "hash": "h", "parentHash": "p", "timestamp": format!("{height:#x}"),
                }))
            }
            None => Say::Error(-32601, "no such method"),
        })
        .await;
        let last = final_block(&fake_node::context(&node)).await.expect("a block");
        assert_eq!((last.number, last.timestamp), (expected, expected), "{tag}");
    }
}
