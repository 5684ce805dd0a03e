//! A node that tells of blocks as a test says, before a chain that a test moves.

use std::sync::atomic::AtomicUsize;

use chains_core::observation::{Block, Urgency};
use tokio::{net::TcpListener, sync::broadcast, task::JoinHandle};
use tokio_tungstenite::accept_async;

use super::*;
use crate::{
    blocks::{
        BlockTracker,
        tests::{chain, tracker_with},
    },
    fake_node,
    rpc::sync_send::SyncAnswer,
};

const BLOCK_TIME: Duration = Duration::from_millis(400);

/// The way in which a fake node treats those who subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Tells,
    ClosesAtOnce,
    AnswersNothing,
    Refuses,
    Babbles,
}

/// A WebSocket of a node.
struct FakeHeads {
    url: Url,
    heads: broadcast::Sender<u64>,
    serving: JoinHandle<()>,
}

impl Drop for FakeHeads {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl FakeHeads {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ws://{}", listener.local_addr().expect("bound")).parse().expect("a URL");
        let (heads, _) = broadcast::channel(16);
        let told = heads.clone();
        #[expect(clippy::disallowed_methods, reason = "a server of a test ends with the test")]
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(manner, stream, told.subscribe()).await;
            }
        });
        Self { url, heads, serving }
    }

    /// Tells of a height, once somebody listens.
    async fn tell(&self, height: u64) {
        while self.heads.send(height).is_err() {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn serve(manner: Manner, stream: TcpStream, mut heads: broadcast::Receiver<u64>) {
    let Ok(mut socket) = accept_async(stream).await else { return };
    if manner == Manner::ClosesAtOnce {
        return;
    }
    let asked = socket.next().await;
    assert!(matches!(asked, Some(Ok(Message::Text(text))) if text == SUBSCRIBE));
    let answer = match manner {
        Manner::AnswersNothing => None,
        Manner::Refuses => Some(r#"{"id":1,"error":{"code":-32601,"message":"no"}}"#.to_owned()),
        Manner::Babbles => Some("x".repeat(2 * MESSAGE_MAX)),
        Manner::Tells | Manner::ClosesAtOnce => Some(r#"{"id":1,"result":"0x1"}"#.to_owned()),
    };
    if let Some(answer) = answer {
        drop(socket.send(Message::text(answer)).await);
    }
    while let Ok(height) = heads.recv().await {
        let head = format!(r#"{{"method":"eth_subscription","params":{{"result":{{"number":"{height:#x}"}}}}}}"#);
        if socket.send(Message::text(head)).await.is_err() {
            return;
        }
    }
}

async fn next(blocks: &BlockTracker, rpc: &crate::rpc::Rpc, after: &Block) -> Block {
    blocks.next(rpc, Some(after), Urgency::Closely).await.expect("a block")
}

#[tokio::test]
async fn a_block_that_is_told_is_asked_for_once_when_it_is_there() {
    let visible = Arc::new(AtomicUsize::new(1));
    let node = chain(&["h0", "h1", "h2", "h3"], &visible).await;
    let heads = FakeHeads::start(Manner::Tells).await;
    let (rpc, blocks) = (fake_node::rpc(&[&node]), tracker_with(BLOCK_TIME, Some(heads.url.clone())));
    let mut block = blocks.next(&rpc, None, Urgency::Closely).await.expect("a block");
    for (shown, is_first) in [(2, true), (3, false), (4, false)] {
        let asked = node.requests();
        // Later than it would be asked for again and again, and earlier than it is asked for unless it is told.
        let made = async {
            sleep(BLOCK_TIME * 11 / 10).await;
            visible.store(shown, Relaxed);
            heads.tell(9 + u64::try_from(shown).expect("small")).await;
        };
        (block, ()) = futures::join!(next(&blocks, &rpc, &block), made);
        let asked = node.requests() - asked;
        assert!(is_first || asked <= 2, "{} after {asked} questions", block.hash);
    }
    assert_eq!((block.number, blocks.heads.is_live()), (13, true));
}

#[tokio::test]
async fn a_node_that_tells_nothing_or_lies_keeps_no_block_back_and_costs_few_questions() {
    let cases = [
        ("silent", Manner::Tells, None),
        ("a million ahead", Manner::Tells, Some(1_000_000)),
        ("far behind", Manner::Tells, Some(1)),
        ("closed at once", Manner::ClosesAtOnce, None),
        ("no answer", Manner::AnswersNothing, None),
        ("no subscriptions", Manner::Refuses, None),
        ("more than a message", Manner::Babbles, None),
    ];
    for (name, manner, lie) in cases {
        let visible = Arc::new(AtomicUsize::new(1));
        let node = chain(&["h0", "h1", "h2", "h3"], &visible).await;
        let heads = FakeHeads::start(manner).await;
        let (rpc, blocks) = (fake_node::rpc(&[&node]), tracker_with(BLOCK_TIME, Some(heads.url.clone())));
        let mut block = blocks.next(&rpc, None, Urgency::Closely).await.expect("a block");
        for shown in 2..=4 {
            let asked = node.requests();
            let made = async {
                if let Some(height) = lie {
                    heads.tell(height).await;
                }
                sleep(BLOCK_TIME).await;
                visible.store(shown, Relaxed);
            };
            (block, ()) = futures::join!(next(&blocks, &rpc, &block), made);
            let asked = node.requests() - asked;
            let bound = usize::try_from(crate::blocks::TOLD_QUESTIONS_MAX).expect("small") + 20;
            assert!(asked <= bound, "{name}: {} after {asked} questions", block.hash);
        }
        assert_eq!(block.number, 13, "{name}");
    }
}

/// The time until the block after this is found, which is there after a quarter of the usual time.
async fn early(blocks: &BlockTracker, rpc: &crate::rpc::Rpc, after: &Block, show: impl FnOnce()) -> (Block, Duration) {
    let began = Instant::now();
    let made = async {
        sleep(BLOCK_TIME / 4).await;
        show();
    };
    let (block, ()) = futures::join!(next(blocks, rpc, after), made);
    (block, began.elapsed())
}

#[tokio::test]
async fn a_block_of_which_the_answer_to_a_send_tells_is_asked_for_at_once() {
    let visible = Arc::new(AtomicUsize::new(1));
    let node = chain(&["h0", "h1", "h2", "h3"], &visible).await;
    let (rpc, blocks) = (fake_node::rpc(&[&node]), tracker_with(BLOCK_TIME, None));
    let mut block = blocks.next(&rpc, None, Urgency::Closely).await.expect("a block");
    (block, _) = early(&blocks, &rpc, &block, || visible.store(2, Relaxed)).await;
    for (shown, answer) in [(3, SyncAnswer::Nothing), (4, SyncAnswer::Included(13))] {
        let notice = blocks.send_notice().expect("it is wanted");
        assert!(blocks.send_notice().is_none(), "one at a time");
        let show = || {
            visible.store(shown, Relaxed);
            notice.heed(answer);
        };
        let (found, took) = early(&blocks, &rpc, &block, show).await;
        assert_eq!(took < BLOCK_TIME / 2, answer != SyncAnswer::Nothing, "{answer:?}: after {took:?}");
        block = found;
    }
    assert_eq!((block.number, blocks.heads.is_live()), (13, false), "the next one may not be told");
}

#[tokio::test]
async fn sends_whose_answers_are_of_no_use_are_made_no_more_and_keep_no_block_back() {
    let cases = [
        ("nothing", SyncAnswer::Nothing, true),
        ("the method is not there", SyncAnswer::Unfit, false),
        ("a million ahead", SyncAnswer::Included(1_000_000), false),
        ("a block that is to be made yet", SyncAnswer::Included(12), false),
        ("a block that is known", SyncAnswer::Included(10), true),
    ];
    for (name, answer, goes_on) in cases {
        let visible = Arc::new(AtomicUsize::new(1));
        let node = chain(&["h0", "h1", "h2"], &visible).await;
        let (rpc, blocks) = (fake_node::rpc(&[&node]), tracker_with(BLOCK_TIME, None));
        let mut block = blocks.next(&rpc, None, Urgency::Closely).await.expect("a block");
        (block, _) = early(&blocks, &rpc, &block, || visible.store(2, Relaxed)).await;
        blocks.send_notice().expect("it is wanted").heed(answer);
        let asked = node.requests();
        let made = async {
            sleep(BLOCK_TIME * 2).await;
            visible.store(3, Relaxed);
        };
        (block, ()) = futures::join!(next(&blocks, &rpc, &block), made);
        let asked = node.requests() - asked;
        let bound = usize::try_from(crate::blocks::TOLD_QUESTIONS_MAX).expect("small") + 20;
        assert!(block.number == 12 && asked <= bound, "{name}: {} after {asked} questions", block.hash);
        assert_eq!(blocks.send_notice().is_some(), goes_on, "{name}");
    }
}

#[tokio::test]
async fn the_doctor_tries_the_subscription() {
    for (manner, seen) in [
        (Manner::Tells, Ok(())),
        (Manner::ClosesAtOnce, Err("the subscription is refused")),
        (Manner::Refuses, Err("the subscription is refused")),
        (Manner::Babbles, Err("the subscription is refused")),
    ] {
        assert_eq!(probe(&FakeHeads::start(manner).await.url).await, seen, "{manner:?}");
    }
    let nobody = "ws://127.0.0.1:9".parse().expect("a URL");
    assert_eq!(probe(&nobody).await, Err("the WebSocket cannot be opened"));
}
