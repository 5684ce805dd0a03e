//! Following a chain that a test moves.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use serde_json::{Value, json};

use super::*;
use crate::fake_node::{self, FakeNode, Say};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn block(number: u64, hash: &str, parent: &str) -> Block {
    Block {
        number: format!("{number:#x}"),
        hash: hash.to_owned(),
        parent_hash: parent.to_owned(),
        timestamp: format!("{:#x}", 1000 + number),
        base_fee_per_gas: Some("0x7".to_owned()),
        transactions: HashSet::from(["0xa".to_owned()]),
    }
}

#[test]
fn the_newest_block_is_kept_and_a_reorg_replaces_names() {
    let heads = Heads::new(ms(2000));
    assert!(heads.newest().is_none());
    assert_eq!(heads.see(block(5, "a5", "a4"), Came::Jumped).expect("read").transactions, None);
    let next = heads.see(block(6, "a6", "a5"), Came::Live).expect("read");
    assert_eq!(next.transactions.expect("listed").len(), 1);
    assert_eq!(heads.newest().map(|n| (n.number, n.timestamp, n.base_fee)), Some((6, 1006, 7)));
    heads.see(block(5, "b5", "a4"), Came::Jumped).expect("read");
    assert_eq!(heads.recent(6), None, "gone with the reorg");
    assert_eq!(heads.recent(5).map(|b| b.hash), Some("b5".to_owned()));
    assert_eq!(heads.timestamp(), 1005);
}

#[test]
fn a_block_that_cannot_be_read_is_no_block() {
    let heads = Heads::new(ms(2000));
    for (number, timestamp) in [("5", "0x1"), ("0x", "0x1"), ("0x5", "x"), ("0x10000000000000000", "0x1")] {
        let block = Block { number: number.into(), timestamp: timestamp.into(), ..block(1, "a", "b") };
        assert!(heads.see(block, Came::Live).is_err(), "{number} {timestamp}");
    }
}

/// A chain of `hashes`, the first at height 10, whose end a test moves.
async fn chain(hashes: &'static [&'static str], visible: &Arc<AtomicUsize>) -> FakeNode {
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
                Say::Result(json!({
                    "number": height(wanted), "hash": hash, "parentHash": parent, "timestamp": height(wanted),
                    "baseFeePerGas": "0x1", "transactions": ["0xaa"],
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
    let (rpc, heads) = (fake_node::rpc(&[&node]), Heads::new(ms(2000)));
    let mut head = heads.next(&rpc, None, Watch::Closely).await.expect("a block");
    assert_eq!((head.number, head.transactions), (10, None));
    visible.store(4, Relaxed);
    let began = Instant::now();
    head.transactions = None;
    for number in 11..14 {
        head = heads.next(&rpc, Some(&head), Watch::Closely).await.expect("a block");
        assert_eq!((head.number, head.transactions.as_ref().map(HashSet::len)), (number, Some(1)));
    }
    assert!(began.elapsed() < ms(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn after_a_reorg_everything_has_to_be_looked_at() {
    let visible = Arc::new(AtomicUsize::new(3));
    let node = chain(&["h0", "h1", "h2"], &visible).await;
    let (rpc, heads) = (fake_node::rpc(&[&node]), Heads::new(ms(2000)));
    let gone = Head { number: 11, hash: "other".into(), timestamp: 11, transactions: None };
    let head = heads.next(&rpc, Some(&gone), Watch::Closely).await.expect("a block");
    assert_eq!((head.number, head.hash.as_str(), head.transactions), (12, "h2", None));
}

#[tokio::test]
async fn far_behind_is_made_up_in_one_step() {
    static HASHES: [&str; 80] = ["h"; 80];
    let visible = Arc::new(AtomicUsize::new(80));
    let node = chain(&HASHES, &visible).await;
    let (rpc, heads) = (fake_node::rpc(&[&node]), Heads::new(ms(2000)));
    let old = Head { number: 10, hash: "h".into(), timestamp: 10, transactions: None };
    let head = heads.next(&rpc, Some(&old), Watch::Closely).await.expect("a block");
    assert_eq!((head.number, head.transactions), (89, None));
}

#[tokio::test]
async fn a_block_is_noticed_while_it_is_waited_for() {
    let visible = Arc::new(AtomicUsize::new(1));
    let node = chain(&["h0", "h1"], &visible).await;
    let (rpc, heads) = (fake_node::rpc(&[&node]), Heads::new(ms(200)));
    let head = heads.next(&rpc, None, Watch::Closely).await.expect("a block");
    let waiting = heads.next(&rpc, Some(&head), Watch::Closely);
    let mined = async {
        tokio::time::sleep(ms(150)).await;
        visible.store(2, Relaxed);
        Instant::now()
    };
    let (head, mined) = futures::future::join(waiting, mined).await;
    assert_eq!(head.expect("a block").number, 11);
    assert!(mined.elapsed() < ms(150), "{:?}", mined.elapsed());
    assert!(node.requests() < 20, "{} requests", node.requests());
}
