//! Proofs about a transaction, by the words of nodes.

mod agreement;

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::SolEvent,
};
use chains_core::{
    Amount, Code,
    observation::{BlockRef, Effect, Item},
    transaction::{Fee, Plan, SignedTransaction},
};
use serde_json::{Value, json};

use super::{
    receipt::{Receipt, ReceiptLog},
    *,
};
use crate::{
    abi::Token,
    fake_node::{self, FakeNode, Say},
    method::permit2::{
        abi::{EXACT_PROXY, PERMIT2, Settle, SignatureTransfer, UPTO_PROXY},
        permit::{Permit, Witness},
    },
    reason,
    tx::{
        batch,
        plan::{Method, Transfer, TransferPlan},
    },
};

fn transfer() -> Transfer {
    Transfer {
        token: Address::repeat_byte(0xaa),
        from: Address::repeat_byte(1),
        to: Address::repeat_byte(2),
        value: U256::from(10_000),
        nonce: B256::repeat_byte(7),
        method: Method::Eip3009,
    }
}

fn log(address: Address, event: &impl SolEvent) -> ReceiptLog {
    let data = event.encode_log_data();
    ReceiptLog { address, topics: data.topics().to_vec(), data: data.data.clone(), transaction_hash: None }
}

fn moved(token: Address, from: Address, to: Address, value: u64) -> ReceiptLog {
    log(token, &Token::Transfer { from, to, value: U256::from(value) })
}

fn receipt(status: Option<&str>, logs: Vec<ReceiptLog>) -> Receipt {
    Receipt {
        transaction_hash: "0xab".into(),
        block_number: "0x10".into(),
        block_hash: "0xcd".into(),
        status: status.map(str::to_owned),
        gas_used: "0x14ed8".into(),
        effective_gas_price: Some("0x3b9aca00".into()),
        l1_fee: None,
        logs,
    }
}

#[test]
fn only_the_exact_transfer_by_the_token_counts() {
    let t = transfer();
    let other = Address::repeat_byte(9);
    let used = |nonce| log(t.token, &Token::AuthorizationUsed { authorizer: t.from, nonce: B256::repeat_byte(nonce) });
    let exact = moved(t.token, t.from, t.to, 10_000);
    let cases = [
        ("exact", vec![exact.clone()], true),
        ("exact, with its authorization", vec![used(7), exact.clone()], true),
        ("another authorization", vec![used(8), exact.clone()], false),
        ("one of a batch", vec![used(8), moved(t.token, other, t.to, 1), used(7), exact.clone()], true),
        ("another token", vec![moved(other, t.from, t.to, 10_000)], false),
        ("another payer", vec![moved(t.token, other, t.to, 10_000)], false),
        ("another payee", vec![moved(t.token, t.from, other, 10_000)], false),
        ("a fee taken", vec![moved(t.token, t.from, t.to, 9_900), moved(t.token, t.from, other, 100)], false),
        ("more", vec![moved(t.token, t.from, t.to, 10_001)], false),
        ("nothing", vec![], false),
        ("an event without its topics", vec![ReceiptLog { topics: exact.topics[..1].to_vec(), ..exact }], false),
    ];
    for (what, logs, expected) in cases {
        assert_eq!(receipt(Some("0x1"), logs).has(&t, 1), expected, "{what}");
    }
}

#[test]
fn settlements_that_move_the_same_need_a_transfer_each() {
    let t = Transfer { method: Method::Permit2, ..transfer() };
    let exact = moved(t.token, t.from, t.to, 10_000);
    for (count, times, expected) in [(1, 1, true), (1, 2, false), (2, 2, true), (3, 2, true), (0, 1, false)] {
        let logs = vec![exact.clone(); count];
        assert_eq!(receipt(Some("0x1"), logs).has(&t, times), expected, "{count} transfers for {times}");
    }
}

#[test]
fn what_succeeded_in_a_batch_is_the_word_of_the_contract_that_carried_it() {
    let (contract, other) = (Address::repeat_byte(0xba), Address::repeat_byte(9));
    let carried = |by| log(by, &batch::SettlementBatch::Carried { succeeded: U256::from(5) });
    let cases = [
        ("its event", vec![moved(other, other, other, 1), carried(contract)], Some(U256::from(5))),
        ("somebody else's", vec![carried(other)], None),
        ("none", vec![], None),
    ];
    for (what, logs, expected) in cases {
        assert_eq!(receipt(Some("0x1"), logs).carried(contract), expected, "{what}");
    }
}

#[test]
fn receipts_say_status_and_cost() {
    for (status, expected) in [(Some("0x1"), true), (Some("0x0"), false), (None, false), (Some("1"), false)] {
        assert_eq!(receipt(status, vec![]).succeeded(), expected, "{status:?}");
    }
    let mut one = receipt(None, vec![]);
    assert_eq!(one.fee_paid(), Amount::from(85_720_000_000_000_u64));
    one.l1_fee = Some("0x5".into());
    assert_eq!(one.fee_paid(), Amount::from(85_720_000_000_005_u64));
    assert_eq!(one.block(), Some(BlockRef { number: 16, hash: "0xcd".into() }));
}

/// A chain with one landed transaction of ours, and what a test says of the rest.
struct Scene {
    /// Our receipt.
    ours: Value,
    /// `authorizationState` at the landing block, and earlier.
    used: (bool, bool),
    logs: Value,
    /// The receipt of the foreign transaction.
    foreign: Value,
    /// The answer to the replay.
    replay: Say,
    canonical: bool,
    effect: Transfer,
    /// Logs of Permit2.
    cancelled: Value,
    /// The transactions of `logs`.
    transaction: Value,
    /// The trace of those that call neither the token nor a proxy.
    trace: Say,
    /// The gas wallet's next nonce.
    nonce: u64,
    /// Our transaction only used up its nonce.
    cancel: bool,
}

const OUR_HASH: &str = "0xaa";
const BLOCK: u64 = 100;

fn raw(status: &str, hash: &str, logs: &[ReceiptLog]) -> Value {
    let logs: Vec<_> =
        logs.iter().map(|l| json!({ "address": l.address, "topics": l.topics, "data": l.data })).collect();
    json!({
        "transactionHash": hash, "blockNumber": "0x64", "blockHash": "0xb", "status": status, "gasUsed": "0x5208",
        "effectiveGasPrice": "0x1", "logs": logs,
    })
}

fn event(event: &impl SolEvent) -> Value {
    let log = log(transfer().token, event);
    json!([{ "address": log.address, "topics": log.topics, "data": log.data, "transactionHash": "0xbb" }])
}

impl Scene {
    fn reverted() -> Self {
        Self {
            ours: raw("0x0", OUR_HASH, &[]),
            used: (true, false),
            logs: json!([]),
            foreign: Value::Null,
            replay: Say::Error(3, "execution reverted"),
            canonical: true,
            effect: transfer(),
            cancelled: json!([]),
            transaction: Value::Null,
            trace: Say::Error(-32601, "no such method"),
            nonce: 0,
            cancel: false,
        }
    }

    fn say(&self, method: &str, params: &Value) -> Say {
        match method {
            "eth_getTransactionReceipt" if params[0] == OUR_HASH => Say::Result(self.ours.clone()),
            "eth_getTransactionReceipt" => Say::Result(self.foreign.clone()),
            "eth_getLogs" if params[0]["address"] == json!(PERMIT2) => Say::Result(self.cancelled.clone()),
            "eth_getLogs" => Say::Result(self.logs.clone()),
            "debug_traceTransaction" => self.trace.clone(),
            "eth_getTransactionByHash" => Say::Result(self.transaction.clone()),
            "eth_getTransactionCount" => Say::Result(json!(format!("{:#x}", self.nonce))),
            "eth_blockNumber" => Say::Result(json!(format!("{BLOCK:#x}"))),
            "eth_getBlockByNumber" => Say::Result(json!({
                "number": if params[0] == "latest" { json!("0x64") } else { params[0].clone() }, "hash": if self.canonical { "0xb" } else { "0xc" }, "parentHash": "0xa",
                "timestamp": format!("{:#x}", fake_node::NOW), "transactions": [],
            })),
            "eth_call" if params[0].get("from").is_some() => self.replay.clone(),
            "eth_call" => {
                let used = if params[1] == "0x64" || params[1] == "latest" { self.used.0 } else { self.used.1 };
                // In a bitmap the nonce's last byte, 7, says which bit; its neighbours are used.
                let by_permit2 = params[0]["to"] == json!(format!("{PERMIT2:#x}"));
                let answer = if by_permit2 { (u8::from(used) << 7) | 0x7f } else { u8::from(used) };
                Say::Result(json!(B256::with_last_byte(answer)))
            }
            _ => Say::Error(-32601, "no such method"),
        }
    }

    async fn look(self, valid_before: u64) -> Observation {
        let (effect, cancelled) = (self.effect.clone(), self.cancel);
        let node = FakeNode::start(move |method, params| self.say(method, params)).await;
        let context = fake_node::context(&node);
        let plan = TransferPlan { to: transfer().token, data: Bytes::new(), gas_limit: 120_000, effect };
        let plan = Plan::new(plan.to_body()).valid_before(Some(valid_before));
        let items = [Item { plan: &plan, claimed_block: BLOCK - 1 }];
        let attempts = [attempt(&context, cancelled)];
        let view = TransactionView { attempts: &attempts, items: &items };
        let cheap = observe(&context, &[view]).await.expect("an answer").remove(0);
        let proven = investigate(&context, &view).await.expect("an answer");
        assert!(is_as_good(&proven, &cheap), "{cheap:?} is not {proven:?}");
        proven
    }

    async fn effect(self) -> Effect {
        match self.look(fake_node::NOW + 60).await {
            Observation::Included(_, effects) => effects.into_iter().next().expect("one item"),
            other => panic!("it is in a block: {other:?}"),
        }
    }
}

fn attempt(context: &Context, cancelled: bool) -> SignedTransaction {
    let wallet = context.wallets.names()[0].clone();
    let fee = crate::tx::fees::Terms { gas_limit: 21_000, max_fee_per_gas: 1, max_priority_fee_per_gas: 1 };
    let raw = if cancelled {
        let address = context.wallets.first();
        let purpose = chains_core::transaction::Purpose::Cancel;
        let Ok(sign::Form::Ours(form)) = sign::form(context, address, purpose) else { panic!("ours") };
        form.sign(1, &context.wallets, &wallet, Some(0), fee).expect("signed").raw
    } else {
        vec![]
    };
    let fee = Fee { amount_max: Amount::ZERO, terms: String::new() };
    SignedTransaction { hash: OUR_HASH.into(), raw, gas_wallet: wallet, nonce: Some(0), fee }
}

/// Returns whether a look by receipts alone says the same, or that it takes more.
fn is_as_good(proven: &Observation, cheap: &Observation) -> bool {
    match (proven, cheap) {
        (Observation::Included(proven, effects), Observation::Included(cheap, seen)) => {
            let same = |(effect, seen): (&Effect, &Effect)| effect == seen || matches!(seen, Effect::Unclear(_));
            proven == cheap && effects.iter().zip(seen).all(same)
        }
        (proven, cheap) => proven == cheap,
    }
}

fn code(effect: &Effect) -> Option<Code> {
    if let Effect::Missing { why, .. } = effect { Some(why.code) } else { None }
}

fn exact_logs() -> Vec<ReceiptLog> {
    let t = transfer();
    vec![moved(t.token, t.from, t.to, 10_000)]
}

#[tokio::test]
async fn a_transaction_that_is_in_no_canonical_block_is_pending() {
    for scene in [
        Scene { ours: Value::Null, ..Scene::reverted() },
        Scene { canonical: false, ..Scene::reverted() },
        Scene { canonical: false, ours: raw("0x1", OUR_HASH, &exact_logs()), ..Scene::reverted() },
    ] {
        assert_eq!(scene.look(fake_node::NOW).await, Observation::Pending);
    }
}

#[tokio::test]
async fn success_needs_the_effect() {
    let done = Scene { ours: raw("0x1", OUR_HASH, &exact_logs()), ..Scene::reverted() };
    assert_eq!(done.effect().await, Effect::Done);
    let empty = Scene { ours: raw("0x1", OUR_HASH, &[]), ..Scene::reverted() };
    assert_eq!(code(&empty.effect().await), Some(reason::TRANSFER_EVENT_MISMATCH));
    let reverted = Scene { ours: raw("0x0", OUR_HASH, &exact_logs()), used: (false, false), ..Scene::reverted() };
    assert_eq!(code(&reverted.effect().await), Some(reason::TRANSACTION_FAILED));
}

#[tokio::test]
async fn a_revert_without_use_gives_its_reason() {
    let unused = |text| Scene { used: (false, false), replay: Say::Error(3, text), ..Scene::reverted() };
    let paused = unused("execution reverted: Pausable: paused");
    assert_eq!(code(&paused.effect().await), Some(reason::TRANSACTION_FAILED));
    let poor = unused("execution reverted: ERC20: transfer amount exceeds balance");
    assert_eq!(code(&poor.effect().await), Some(reason::INSUFFICIENT_BALANCE));
    let Observation::Included(_, late) = unused("execution reverted").look(fake_node::NOW).await else {
        panic!("it is in a block");
    };
    assert_eq!(code(&late[0]), Some(reason::VALID_BEFORE));
}

#[tokio::test]
async fn a_use_by_somebody_else_is_told_apart() {
    let t = transfer();
    let used = event(&Token::AuthorizationUsed { authorizer: t.from, nonce: t.nonce });
    let by = |logs: &[ReceiptLog]| Scene { logs: used.clone(), foreign: raw("0x1", "0xBB", logs), ..Scene::reverted() };
    let block = BlockRef { number: BLOCK, hash: "0xb".into() };
    let elsewhere = Effect::Elsewhere { hash: "0xbb".into(), block };
    assert_eq!(by(&exact_logs()).effect().await, elsewhere);
    let other = [moved(t.token, t.from, Address::repeat_byte(9), 10_000)];
    assert_eq!(code(&by(&other).effect().await), Some(reason::NONCE_ALREADY_USED));
    let cancelled = event(&Token::AuthorizationCanceled { authorizer: t.from, nonce: t.nonce });
    let scene = Scene { logs: cancelled, ..Scene::reverted() };
    assert_eq!(code(&scene.effect().await), Some(reason::NONCE_ALREADY_USED));
    let before = Scene { used: (true, true), ..Scene::reverted() };
    assert_eq!(code(&before.effect().await), Some(reason::NONCE_ALREADY_USED));
}

#[tokio::test]
async fn without_proof_nothing_is_said_to_be_missing() {
    let t = transfer();
    let used = event(&Token::AuthorizationUsed { authorizer: t.from, nonce: t.nonce });
    for (what, scene) in [
        ("used, and no log", Scene::reverted()),
        ("no receipt of the foreign one", Scene { logs: used, ..Scene::reverted() }),
        ("logs are not to be had", Scene { logs: json!("no"), ..Scene::reverted() }),
    ] {
        assert!(matches!(scene.effect().await, Effect::Unclear(_)), "{what}");
    }
}

fn by_permit2(method: Method) -> Scene {
    Scene { effect: Transfer { method, ..transfer() }, ..Scene::reverted() }
}

/// Calldata of the very settlement, with something changed.
fn settlement(method: Method, change: impl FnOnce(&mut Permit)) -> Bytes {
    let (t, valid_after, facilitator) = (transfer(), U256::ZERO, Address::repeat_byte(9));
    let (spender, witness) = match method {
        Method::Upto => (UPTO_PROXY, Witness::Upto { to: t.to, facilitator, valid_after }),
        Method::Eip3009 | Method::Permit2 => (EXACT_PROXY, Witness::Exact { to: t.to, valid_after }),
    };
    let (nonce, deadline) = (U256::from_be_bytes(t.nonce.0), U256::MAX);
    let mut permit = Permit { from: t.from, token: t.token, amount: t.value, spender, nonce, deadline, witness };
    change(&mut permit);
    let signature = Bytes::from_static(&[1; 65]);
    Settle { permit: &permit, amount: t.value, permit2612: None, signature: &signature }.calldata()
}

fn transaction(to: Address, input: &Bytes) -> Value {
    json!({ "hash": "0xbb", "to": to, "input": input })
}

fn moved_in_a_log() -> Value {
    let t = transfer();
    event(&Token::Transfer { from: t.from, to: t.to, value: t.value })
}

#[tokio::test]
async fn a_payment_by_permit2_succeeded_when_its_transfer_is_there() {
    for (method, mismatch) in
        [(Method::Permit2, reason::TRANSFER_EVENT_MISMATCH), (Method::Upto, reason::UPTO_TRANSFER_EVENT_MISMATCH)]
    {
        let done = Scene { ours: raw("0x1", OUR_HASH, &exact_logs()), ..by_permit2(method) };
        assert_eq!(done.effect().await, Effect::Done);
        let empty = Scene { ours: raw("0x1", OUR_HASH, &[]), ..by_permit2(method) };
        assert_eq!(code(&empty.effect().await), Some(mismatch));
    }
}

#[tokio::test]
async fn a_revert_of_permit2_gives_its_reason_by_selector() {
    for (data, permit2, upto) in [
        ("0x756688fe", reason::PERMIT2_INVALID_NONCE, reason::PERMIT2_INVALID_NONCE),
        ("0x0f6fae87", reason::UPTO_UNAUTHORIZED_FACILITATOR, reason::UPTO_UNAUTHORIZED_FACILITATOR),
        ("0x12345678", reason::TRANSACTION_FAILED, reason::UPTO_TRANSACTION_FAILED),
    ] {
        for (method, expected) in [(Method::Permit2, permit2), (Method::Upto, upto)] {
            let scene = Scene { used: (false, false), replay: Say::Revert(data.to_owned()), ..by_permit2(method) };
            assert_eq!(code(&scene.effect().await), Some(expected), "{data}");
        }
    }
    let late = Scene { used: (false, false), ..by_permit2(Method::Permit2) };
    let Observation::Included(_, late) = late.look(fake_node::NOW).await else { panic!("it is in a block") };
    assert_eq!(code(&late[0]), Some(reason::PERMIT2_DEADLINE_EXPIRED));
}

#[tokio::test]
async fn the_same_settlement_by_somebody_else_is_found() {
    let block = BlockRef { number: BLOCK, hash: "0xb".into() };
    let elsewhere = Effect::Elsewhere { hash: "0xbb".into(), block };
    for (method, proxy) in [(Method::Permit2, EXACT_PROXY), (Method::Upto, UPTO_PROXY)] {
        let scene = |input: &Bytes| Scene {
            logs: moved_in_a_log(),
            foreign: raw("0x1", "0xBB", &exact_logs()),
            transaction: transaction(proxy, input),
            ..by_permit2(method)
        };
        assert_eq!(scene(&settlement(method, |_| ())).effect().await, elsewhere);
        let gone = Scene { foreign: Value::Null, ..scene(&settlement(method, |_| ())) };
        assert!(matches!(gone.effect().await, Effect::Unclear(_)), "no receipt");
        let other = scene(&settlement(method, |permit| permit.nonce += U256::from(1)));
        assert_eq!(code(&other.effect().await), Some(reason::PERMIT2_INVALID_NONCE), "a payment of its own");
    }
}

#[tokio::test]
async fn a_nonce_that_was_used_for_something_else_is_told_from_one_that_may_have_paid() {
    let t = transfer();
    let invalidated = |mask: u64| {
        let word = U256::from_be_bytes(t.nonce.0) >> 8;
        event(&SignatureTransfer::UnorderedNonceInvalidation { owner: t.from, word, mask: U256::from(mask) })
    };
    let wrapped = || Scene {
        logs: moved_in_a_log(),
        foreign: raw("0x1", "0xBB", &exact_logs()),
        transaction: transaction(Address::repeat_byte(0xdd), &settlement(Method::Permit2, |_| ())),
        ..by_permit2(Method::Permit2)
    };
    let other_value = event(&Token::Transfer { from: t.from, to: t.to, value: t.value + U256::from(1) });
    let by_token = Scene { transaction: transaction(t.token, &Bytes::new()), ..wrapped() };
    let missing = Some(reason::PERMIT2_INVALID_NONCE);
    let traced = |kind: &str, to: Address, error: Value| {
        let call = json!({ "type": kind, "to": to, "input": settlement(Method::Permit2, |_| ()), "error": error });
        let trace = json!({ "type": "CALL", "to": Address::repeat_byte(0xdd), "input": "0x", "calls": [call] });
        Scene { trace: Say::Result(trace), ..wrapped() }
    };
    let block = BlockRef { number: BLOCK, hash: "0xb".into() };
    let elsewhere = Effect::Elsewhere { hash: "0xbb".into(), block };
    assert_eq!(traced("CALL", EXACT_PROXY, Value::Null).effect().await, elsewhere, "the trace shows it");
    for (what, scene, expected) in [
        ("traced, undone", traced("CALL", EXACT_PROXY, json!("execution reverted")), missing),
        ("traced, with the proxy's code but not its name", traced("DELEGATECALL", EXACT_PROXY, Value::Null), missing),
        ("traced, another contract", traced("CALL", Address::repeat_byte(0xee), Value::Null), missing),
        ("no transfer", by_permit2(Method::Permit2), missing),
        ("a transfer of another value", Scene { logs: other_value, ..by_permit2(Method::Permit2) }, missing),
        ("a transfer by the token alone", by_token, missing),
        ("cancelled", Scene { cancelled: invalidated(0x80), ..wrapped() }, missing),
        ("another nonce cancelled", Scene { cancelled: invalidated(0x7f), ..wrapped() }, None),
        ("used long before", Scene { used: (true, true), ..wrapped() }, missing),
        ("inside another contract's call", wrapped(), None),
        ("not to be had", Scene { transaction: json!("no"), ..wrapped() }, None),
    ] {
        let effect = scene.effect().await;
        assert_eq!(code(&effect), expected, "{what}: {effect:?}");
        assert_eq!(matches!(effect, Effect::Unclear(_)), expected.is_none(), "{what}: {effect:?}");
    }
}
