//! Answers when endpoints differ, lag, lie, or answer only small questions.

use super::*;

/// A node that answers as the scene, but for what `but` says.
async fn node(scene: Scene, but: impl Fn(&str, &Value) -> Option<Say> + Send + Sync + 'static) -> FakeNode {
    FakeNode::start(move |method, params| but(method, params).unwrap_or_else(|| scene.say(method, params))).await
}

async fn plain(scene: Scene) -> FakeNode {
    node(scene, |_, _| None).await
}

/// Returns what is observed, and what is found out, through these nodes.
async fn seen(nodes: &[FakeNode], effect: Transfer, confirmations: u64) -> (Observation, Observation) {
    let mut context = fake_node::context(&nodes[0]);
    context.rpc = fake_node::rpc(&nodes.iter().collect::<Vec<_>>());
    context.config.confirmations = confirmations;
    let plan = TransferPlan { to: transfer().token, data: Bytes::new(), gas_limit: 120_000, effect };
    let plan = Plan::new(plan.to_body()).valid_before(Some(fake_node::NOW + 60));
    let (items, attempts) = ([Item { plan: &plan, claimed_block: BLOCK - 20 }], [attempt(&context, false)]);
    let view = TransactionView { attempts: &attempts, items: &items };
    let observed = observe(&context, &[view]).await.expect("an answer").remove(0);
    (observed, investigate(&context, &view).await.expect("an answer"))
}

async fn found(nodes: &[FakeNode]) -> Effect {
    match seen(nodes, transfer(), 1).await.1 {
        Observation::Included(_, mut effects) => effects.remove(0),
        other => panic!("it is in a block: {other:?}"),
    }
}

fn settled() -> Scene {
    Scene { ours: raw("0x1", OUR_HASH, &exact_logs()), ..Scene::reverted() }
}

fn absent() -> Scene {
    Scene { ours: Value::Null, ..Scene::reverted() }
}

fn word(observation: &Observation) -> &'static str {
    match observation {
        Observation::Pending => "pending",
        Observation::Included(inclusion, effects) => match (inclusion.confirmed, &effects[0]) {
            (true, Effect::Done) => "settled",
            (false, Effect::Done) => "settled, not deep",
            (_, Effect::Missing { .. }) => "missing",
            (_, Effect::Unclear(_)) => "unclear",
            (_, Effect::Elsewhere { .. } | Effect::Continues(_)) => "elsewhere",
        },
        Observation::Replaced => "replaced",
        Observation::Expired(_) => "expired",
        Observation::Unknown { .. } => "unknown",
    }
}

#[tokio::test]
async fn what_one_endpoint_alone_says_of_a_receipt_decides_nothing() {
    let stale = || Scene { canonical: false, ..settled() };
    let reverted = || Scene { ours: raw("0x0", OUR_HASH, &[]), used: (false, false), ..Scene::reverted() };
    let cases: Vec<(&str, Vec<Scene>, &str)> = vec![
        ("one endpoint", vec![settled()], "settled"),
        ("two that agree", vec![settled(), settled()], "settled"),
        ("a liar, and one that is honest", vec![settled(), absent()], "unknown"),
        ("a liar among three", vec![settled(), absent(), absent()], "pending"),
        ("one that lags among three", vec![absent(), settled(), settled()], "settled"),
        ("one that still has the old receipt after a reorg", vec![settled(), stale(), stale()], "pending"),
        ("one that denies the transfer", vec![reverted(), settled(), settled()], "settled"),
        ("one that invents it", vec![settled(), reverted(), reverted()], "missing"),
    ];
    for (what, scenes, expected) in cases {
        let mut nodes = vec![];
        for scene in scenes {
            nodes.push(plain(scene).await);
        }
        let (observed, investigated) = seen(&nodes, transfer(), 1).await;
        assert_eq!(word(&investigated), expected, "{what}");
        let cheap = if expected == "missing" { "unclear" } else { expected };
        assert_eq!(word(&observed), cheap, "{what}");
    }
}

#[tokio::test]
async fn a_block_is_deep_when_the_block_above_it_exists_and_it_is_still_there() {
    for (newest, expected) in [(BLOCK, "settled, not deep"), (BLOCK + 1, "settled, not deep"), (BLOCK + 2, "settled")] {
        let node = node(settled(), move |method, params| {
            let asked = params[0].as_str().and_then(crate::rpc::method::quantity).map(|n| n.to::<u64>());
            let absent = method == "eth_getBlockByNumber" && asked.is_some_and(|asked| asked > newest);
            absent.then_some(Say::Result(Value::Null))
        })
        .await;
        assert_eq!(word(&seen(&[node], transfer(), 3).await.0), expected, "{newest}");
    }
}

#[tokio::test]
async fn a_nonce_that_is_used_without_a_receipt_was_used_by_another_transaction() {
    let swept = |nonce, used| Scene { nonce, used: (used, used), ..absent() };
    for (what, scenes, expected) in [
        ("not used", vec![swept(0, false)], "pending"),
        ("used", vec![swept(1, false)], "replaced"),
        ("used, as two say", vec![swept(1, false), swept(1, false)], "replaced"),
        ("used, as one of two says", vec![swept(1, false), swept(0, false)], "unknown"),
        ("used, as one of three says", vec![swept(1, false), swept(0, false), swept(0, false)], "pending"),
        ("used, and so is the authorization", vec![swept(1, true)], "replaced"),
    ] {
        let mut nodes = vec![];
        for scene in scenes {
            nodes.push(plain(scene).await);
        }
        let (observed, investigated) = seen(&nodes, transfer(), 1).await;
        assert_eq!((word(&observed), word(&investigated)), (expected, expected), "{what}");
    }
}

/// The nonce is used from a block on that is so many below the newest.
#[tokio::test]
async fn a_nonce_that_is_used_in_the_newest_blocks_only_is_not_used_for_good() {
    for (depth, expected) in [(0, "pending"), (2, "pending"), (3, "replaced")] {
        let node = node(Scene { used: (false, false), ..absent() }, move |method, params| {
            let at = crate::rpc::method::quantity(params[1].as_str()?)?.to::<u64>();
            let nonce = if at >= BLOCK - depth { "0x1" } else { "0x0" };
            (method == "eth_getTransactionCount").then_some(Say::Result(json!(nonce)))
        })
        .await;
        assert_eq!(word(&seen(&[node], transfer(), 1).await.0), expected, "{depth}");
    }
}

/// Nothing more is told than that the nonce is used: enough to free its place.
#[tokio::test]
async fn a_used_nonce_is_known_though_nothing_is_told_of_the_authorization() {
    for withheld in ["eth_call", "eth_getLogs"] {
        let node = node(Scene { nonce: 1, ..absent() }, move |method, _| {
            (method == withheld).then_some(Say::Error(-32601, "the method does not exist"))
        })
        .await;
        let found = seen(&[node], transfer(), 1).await.1;
        assert!(matches!(found, Observation::Unknown { nonce_used: true, .. }), "{withheld}: {found:?}");
    }
}

/// One receipt is not to be had, as where a limit of the rate hits a call of a batch.
#[tokio::test]
async fn what_a_node_does_not_tell_of_one_transaction_keeps_nothing_back_of_the_others() {
    const OTHER_HASH: &str = "0xdd";
    let picky = node(settled(), |method, params| {
        (method == "eth_getTransactionReceipt" && params[0] == OTHER_HASH)
            .then_some(Say::Error(-32005, "limit exceeded"))
    })
    .await;
    let nodes = [picky, plain(settled()).await];
    let mut context = fake_node::context(&nodes[0]);
    context.rpc = fake_node::rpc(&nodes.iter().collect::<Vec<_>>());
    let plan = TransferPlan { to: transfer().token, data: Bytes::new(), gas_limit: 120_000, effect: transfer() };
    let plan = Plan::new(plan.to_body());
    let items = [Item { plan: &plan, claimed_block: BLOCK - 1 }];
    let good = [attempt(&context, false)];
    let other = [SignedTransaction { hash: OTHER_HASH.into(), ..attempt(&context, false) }];
    let views = [&other, &good].map(|attempts| TransactionView { attempts, items: &items });
    let observed = observe(&context, &views).await.expect("an answer");
    assert_eq!(observed.iter().map(word).collect::<Vec<_>>(), ["unknown", "settled"]);
}

/// The block of our transaction goes while the state is read.
#[tokio::test]
async fn a_revert_whose_block_is_taken_back_meanwhile_is_no_failure() {
    let scene = Scene { used: (false, false), ..Scene::reverted() };
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let state_read = std::sync::Arc::clone(&asked);
    let node = node(scene, move |method, _| {
        if method == "eth_call" {
            state_read.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        let gone = method == "eth_getBlockByNumber" && state_read.load(std::sync::atomic::Ordering::Relaxed);
        let block = json!({ "number": "0x64", "hash": "0xother", "parentHash": "0xa", "timestamp": "0x1" });
        gone.then_some(Say::Result(block))
    })
    .await;
    let Effect::Unclear(why) = found(&[node]).await else { panic!("a failure") };
    assert!(why.contains("took a block back"), "{why}");
}

#[tokio::test]
async fn its_own_inclusion_between_two_questions_is_no_other_transaction() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let node = node(Scene { nonce: 1, ..settled() }, move |method, _| {
        let first = method == "eth_getTransactionReceipt"
            && asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(2);
        first.then_some(Say::Result(Value::Null))
    })
    .await;
    assert_eq!(word(&seen(&[node], transfer(), 1).await.0), "settled");
}

#[tokio::test]
async fn an_authorization_without_a_transaction_of_ours_is_traced_by_two_endpoints() {
    let unused = || Scene { used: (false, false), ..absent() };
    let elsewhere = || Scene { ours: Value::Null, ..used_elsewhere() };
    let until = fake_node::NOW + 60;
    for (what, scenes, expected) in [
        ("unused", vec![unused()], "missing"),
        ("used for the payment", vec![elsewhere()], "elsewhere"),
        ("used for the payment, as two say", vec![unused(), elsewhere(), elsewhere()], "elsewhere"),
        ("used, as one of two says", vec![unused(), elsewhere()], "unclear"),
    ] {
        let mut nodes = vec![];
        for scene in scenes {
            nodes.push(plain(scene).await);
        }
        let mut context = fake_node::context(&nodes[0]);
        context.rpc = fake_node::rpc(&nodes.iter().collect::<Vec<_>>());
        let settle = TransferPlan { to: transfer().token, data: Bytes::new(), gas_limit: 1, effect: transfer() };
        let plan = Plan::new(settle.to_body()).valid_before(Some(until));
        let item = Item { plan: &plan, claimed_block: BLOCK - 20 };
        let effect = trace_authorization(&context, &item).await.expect("an answer");
        let seen = match &effect {
            Effect::Missing { executable_until, .. } if *executable_until == Some(until) => "missing",
            Effect::Elsewhere { .. } => "elsewhere",
            Effect::Unclear(_) => "unclear",
            Effect::Missing { .. } | Effect::Done | Effect::Continues(_) => "something else",
        };
        assert_eq!(seen, expected, "{what}: {effect:?}");
    }
}

fn used_elsewhere() -> Scene {
    let t = transfer();
    let used = event(&Token::AuthorizationUsed { authorizer: t.from, nonce: t.nonce });
    Scene { logs: used, foreign: raw("0x1", "0xBB", &exact_logs()), ..Scene::reverted() }
}

#[tokio::test]
async fn a_node_that_answers_for_few_blocks_at_a_time_is_asked_for_few() {
    for limit in [1, 5, 10] {
        let node = node(used_elsewhere(), move |method, params| {
            let height = |key: &str| crate::rpc::method::quantity(params[0][key].as_str()?).map(|n| n.to::<u64>());
            let (from, to) = (height("fromBlock")?, height("toBlock")?);
            let answer = match to - from + 1 {
                size if size > limit => Say::Error(-32600, "up to a 5 block range, see https://x.io/plans"),
                _ if from <= BLOCK - 3 && BLOCK - 3 <= to => return None,
                _ => Say::Result(json!([])),
            };
            (method == "eth_getLogs").then_some(answer)
        })
        .await;
        assert!(matches!(found(std::slice::from_ref(&node)).await, Effect::Elsewhere { .. }), "{limit}");
        assert!(node.requests() < 60, "{limit}: {}", node.requests());
    }
}

#[tokio::test]
async fn a_state_that_is_gone_is_made_up_for_by_the_newest() {
    let pruned = |scene| {
        node(scene, |method, params| {
            let old = method == "eth_call" && params[0].get("from").is_none() && params[1] != "latest";
            old.then_some(Say::Error(-32000, "missing trie node 0xabc (path ) state is not available"))
        })
    };
    let unused = || Scene { used: (false, false), ..Scene::reverted() };
    assert_eq!(code(&found(&[pruned(unused()).await]).await), Some(reason::TRANSACTION_FAILED));
    assert!(matches!(found(&[pruned(used_elsewhere()).await]).await, Effect::Elsewhere { .. }));
    let Effect::Unclear(text) = found(&[pruned(Scene::reverted()).await]).await else { panic!("no proof") };
    assert!(text.contains("archive node"), "{text}");
}

#[tokio::test]
async fn what_can_still_be_executed_says_until_when() {
    let unused = || Scene { used: (false, false), ..Scene::reverted() };
    let cancelled = Scene { ours: raw("0x1", OUR_HASH, &[]), cancel: true, ..unused() };
    for (what, scene, offset, expected) in [
        ("reverted", unused(), 60, Some(fake_node::NOW + 60)),
        ("reverted, and over", unused(), 0, None),
        ("used for something else", Scene { used: (true, true), ..Scene::reverted() }, 60, None),
    ] {
        let Observation::Included(_, effects) = scene.look(fake_node::NOW + offset).await else { panic!("{what}") };
        let Effect::Missing { executable_until, .. } = effects[0] else { panic!("{what}: {effects:?}") };
        assert_eq!(executable_until, expected, "{what}");
    }
    let Effect::Missing { why, executable_until } = cancelled.effect().await else { panic!("cancelled") };
    assert_eq!((why.code, executable_until), (reason::TRANSACTION_FAILED, Some(fake_node::NOW + 60)));
    assert!(why.message.contains("cancelled"), "{}", why.message);
}

#[tokio::test]
async fn a_flat_trace_is_as_good_as_a_tree() {
    let wrapped = || Scene {
        logs: moved_in_a_log(),
        foreign: raw("0x1", "0xBB", &exact_logs()),
        transaction: transaction(Address::repeat_byte(0xdd), &Bytes::new()),
        ..by_permit2(Method::Permit2)
    };
    for (undone, empty, expected) in
        [(Value::Null, false, "elsewhere"), (json!("Reverted"), false, "missing"), (Value::Null, true, "unclear")]
    {
        let node = node(wrapped(), move |method, _| {
            let call = |to: Address, input: &Bytes| json!({ "callType": "call", "to": to, "input": input });
            let calls = json!([
                { "action": call(Address::repeat_byte(0xdd), &Bytes::new()), "traceAddress": [], "error": undone },
                { "action": call(EXACT_PROXY, &settlement(Method::Permit2, |_| ())), "traceAddress": [0] },
            ]);
            (method == "trace_transaction").then_some(Say::Result(if empty { json!([]) } else { calls }))
        })
        .await;
        let effect = Transfer { method: Method::Permit2, ..transfer() };
        assert_eq!(word(&seen(&[node], effect, 1).await.1), expected);
    }
}

#[tokio::test]
async fn many_transactions_take_few_requests() {
    let node = plain(settled()).await;
    let context = fake_node::context(&node);
    let plan = TransferPlan { to: transfer().token, data: Bytes::new(), gas_limit: 120_000, effect: transfer() };
    let plan = Plan::new(plan.to_body());
    let (items, attempts) = ([Item { plan: &plan, claimed_block: BLOCK - 1 }], [attempt(&context, false)]);
    let views = vec![TransactionView { attempts: &attempts, items: &items }; 40];
    let observed = observe(&context, &views).await.expect("an answer");
    assert!(observed.len() == 40 && observed.iter().all(|one| word(one) == "settled"));
    assert_eq!(node.requests(), 2, "receipts, and the one block");
}
