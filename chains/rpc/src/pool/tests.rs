use super::*;
use crate::error::Fault;

/// The behaviour of an endpoint when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Answer(u64),
    Fail,
    /// An error that every other would repeat.
    Refuse,
    Hang,
}

struct Node {
    does: Does,
    standing: Standing,
    asked: AtomicU64,
}

impl Endpoint for Node {
    fn host(&self) -> &'static str {
        "node"
    }

    fn standing(&self) -> &Standing {
        &self.standing
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused")]
struct Refused;

impl NodeError for Refused {
    fn is_answer(&self) -> bool {
        true
    }
}

async fn ask(node: &Node) -> Result<u64, CallError<Refused>> {
    node.asked.fetch_add(1, Ordering::Relaxed);
    match node.does {
        Does::Answer(value) => Ok(value),
        Does::Fail => Err(CallError::Transport { host: "node".into(), fault: Fault::Connect }),
        Does::Refuse => Err(CallError::Node { host: "node".into(), error: Refused }),
        Does::Hang => std::future::pending().await,
    }
}

fn pool(does: &[Does]) -> Pool<Node> {
    let nodes = does.iter().map(|does| {
        let node = Node { does: *does, standing: Standing::default(), asked: AtomicU64::new(0) };
        node.standing.prove();
        node
    });
    Pool::new("eip155:1".parse().expect("a network"), nodes.collect(), Duration::from_millis(100))
}

fn asked(pool: &Pool<Node>) -> Vec<u64> {
    pool.endpoints().iter().map(|node| node.asked.load(Ordering::Relaxed)).collect()
}

#[tokio::test(start_paused = true)]
async fn reads_go_on_where_one_fails_or_hangs_and_ask_it_last_for_a_while() {
    for bad in [Does::Fail, Does::Hang] {
        let pool = pool(&[bad, Does::Answer(7)]);
        assert_eq!((pool.first(0, ask).await, pool.first(0, ask).await), (Ok(7), Ok(7)));
        assert_eq!(asked(&pool), [1, 2], "{bad:?}");
        tokio::time::advance(PENALTY).await;
        assert_eq!(pool.first(0, ask).await, Ok(7));
        assert_eq!(asked(&pool), [2, 3], "{bad:?}");
    }
    let fault = CallError::Transport { host: "node".into(), fault: Fault::Connect };
    assert_eq!(pool(&[Does::Fail]).first(0, ask).await, Err(fault));
    assert_eq!(pool(&[]).first(0, ask).await, Err(CallError::NoEndpoint));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_goes_on_failing_is_tried_ever_less_often_and_one_success_forgives_all() {
    let pool = pool(&[Does::Fail, Does::Answer(7)]);
    let mut tried = vec![];
    for second in 0..400 {
        let before = asked(&pool)[0];
        assert_eq!(pool.first(0, ask).await, Ok(7));
        if asked(&pool)[0] > before {
            tried.push(second);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(tried, [0, 5, 15, 35, 75, 155, 235, 315, 395]);
    pool.heard(0);
    pool.avoid(0);
    tokio::time::advance(PENALTY).await;
    assert_eq!(pool.order(0), [0, 1]);
}

/// A number of looks, the heights of endpoints in their order, and the order of reads then.
type Lagging = (usize, &'static [Does], &'static [usize]);

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_lags_is_read_from_last_until_it_has_caught_up() {
    let cases: [Lagging; 8] = [
        (1, &[Does::Answer(90), Does::Answer(100)], &[0, 1]),
        (2, &[Does::Answer(90), Does::Answer(100)], &[1, 0]),
        (2, &[Does::Answer(97), Does::Answer(100)], &[0, 1]),
        (2, &[Does::Answer(90), Does::Hang, Does::Answer(100)], &[0, 1, 2]),
        (2, &[Does::Answer(90), Does::Fail, Does::Answer(100)], &[1, 2, 0]),
        (2, &[Does::Answer(100), Does::Answer(9_000), Does::Answer(101)], &[0, 1, 2]),
        (2, &[Does::Answer(90), Does::Answer(100), Does::Answer(100)], &[1, 2, 0]),
        (2, &[Does::Fail, Does::Fail], &[0, 1]),
    ];
    for (looks, does, order) in cases {
        let pool = pool(does);
        for _ in 0..looks {
            // A look waits for each endpoint.
            drop(tokio::time::timeout(Duration::from_secs(1), pool.look(ask)).await);
        }
        assert_eq!(pool.order(0), order, "{looks} looks at {does:?}");
    }
    let pool = pool(&[Does::Answer(90), Does::Answer(100)]);
    for _ in 0..LAGS_MIN {
        pool.look(ask).await;
    }
    pool.look(|_: &Node| std::future::ready(Ok::<u64, CallError<Refused>>(100))).await;
    assert_eq!(pool.order(0), [0, 1], "it has caught up");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_all_would_repeat_is_an_answer() {
    let pool = pool(&[Does::Refuse, Does::Answer(7)]);
    assert!(matches!(pool.first(0, ask).await, Err(CallError::Node { .. })));
    assert_eq!(asked(&pool), [1, 0]);
    assert_eq!(pool.first(1, ask).await, Ok(7), "another turn, another endpoint");
}

#[tokio::test(start_paused = true)]
async fn only_who_serves_this_chain_is_asked() {
    let pool = pool(&[Does::Answer(8), Does::Answer(7), Does::Fail]);
    let judge = |value: u64| if value == 7 { Ok(()) } else { Err(value.to_string()) };
    let found = pool.prove(ask, judge).await;
    assert_eq!((found.proven, found.foreign, found.silent.len()), (1, vec![("node".into(), "8".into())], 1));
    assert_eq!((pool.first(0, ask).await, pool.usable().count()), (Ok(7), 2), "who is silent stays what it was");
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_tells_its_own_height_or_why_it_has_none() {
    let pool = pool(&[Does::Answer(8), Does::Answer(7), Does::Fail]);
    pool.endpoints()[1].standing().disprove();
    let seen: Vec<_> = pool.look(ask).await.into_iter().map(|look| look.height).collect();
    assert_eq!(seen[0], Ok(8));
    assert!(seen[1].as_ref().is_err_and(|why| why.contains("serves this chain")), "{seen:?}");
    assert!(seen[2].as_ref().is_err_and(|why| why.contains("cannot connect")), "{seen:?}");
}

/// Two transactions at a time, of the same fate.
async fn send(node: &Node) -> Vec<BroadcastResult> {
    let answer = match ask(node).await {
        Ok(_) => BroadcastResult::Accepted,
        Err(CallError::Node { .. }) => BroadcastResult::Rejected("never".into()),
        Err(_) => BroadcastResult::Unknown("how".into()),
    };
    vec![answer.clone(), answer]
}

#[test]
fn every_answer_to_a_send_has_a_label_of_the_closed_set() {
    let text = String::new;
    let answers = [
        BroadcastResult::Accepted,
        BroadcastResult::Unknown(text()),
        BroadcastResult::NonceTooLow,
        BroadcastResult::NonceGap,
        BroadcastResult::NonceTaken,
        BroadcastResult::Underpriced(text()),
        BroadcastResult::InsufficientFunds,
        BroadcastResult::PoolFull,
        BroadcastResult::Rejected(text()),
    ];
    for answer in answers {
        assert!(chains_core::metric::BROADCAST_ANSWERS.contains(&broadcast_answer(&answer)), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_goes_to_all_and_waits_for_none_that_hangs_once_one_has_it() {
    let all = pool(&[Does::Hang, Does::Refuse, Does::Answer(1)]);
    assert_eq!(all.send(2, send).await, [BroadcastResult::Accepted, BroadcastResult::Accepted]);
    assert_eq!(asked(&all), [1, 1, 1]);
    assert_eq!(pool(&[Does::Refuse, Does::Fail]).send(1, send).await, [BroadcastResult::Unknown("how".into())]);
    assert_eq!(pool(&[Does::Refuse]).send(1, send).await, [BroadcastResult::Rejected("never".into())]);
    assert_eq!(pool(&[]).send(1, send).await, [BroadcastResult::Unknown("no endpoint answered".into())]);
}
