use chains_core::payment::Chosen;
use chains_nodes::Fault;
use serde_json::{Map, json};
use solana_address_lookup_table_interface::state::{AddressLookupTable, LookupTableMeta};
use solana_sdk::{
    hash::Hash,
    instruction::{AccountMeta, Instruction},
    signature::Keypair,
    signer::Signer as _,
};

use super::*;
use crate::{
    config::{self, tests::fee_payer},
    fake_node::{self, FakeNode, Say, at, epoch_info},
    local::{AddressLookupTableAccount, NETWORK, Order, PYUSD, Payer, USDC},
};

const SLOT: u64 = 1000;
const HEIGHT: u64 = 900;

fn blockhash() -> Hash {
    Hash::new_from_array([5; 32])
}

/// A payment of the first payer that nothing is wrong with.
fn payment(change: impl Fn(&mut Order)) -> Payment {
    let mut order = Order::new(fee_payer().pubkey(), USDC, Payer::numbered(2).address(), 10_000, "memo".into());
    change(&mut order);
    let network: chains_core::Network = NETWORK.parse().expect("a network");
    let mut extra = Map::new();
    extra.insert("feePayer".into(), json!(fee_payer().pubkey().to_string()));
    Payment {
        scheme: NAME.into(),
        network: network.clone(),
        asset: order.mint.to_string(),
        pay_to: order.pay_to.to_string(),
        amount: Amount::from(order.amount),
        extra,
        chosen: Chosen { scheme: NAME.into(), network: Some(network) },
        payload: Payer::numbered(1).sign(&order, blockhash()).expect("signed"),
        extensions: Map::new(),
    }
}

/// The sysvar with the payment's blockhash at this age.
fn blockhashes(age: usize) -> Value {
    let mut data = 150_u64.to_le_bytes().to_vec();
    for n in 0..150 {
        let hash = if n == age { blockhash() } else { Hash::new_from_array([200; 32]) };
        data.extend_from_slice(hash.as_ref());
        data.extend_from_slice(&[0; 8]);
    }
    json!([{"lamports": 1, "data": [BASE64_STANDARD.encode(data), "base64"], "owner": Pubkey::default().to_string(),
        "executable": false, "rentEpoch": 0, "space": 6008}])
}

fn simulated(err: &Value, accounts: &Value) -> Say {
    at(
        SLOT + 3,
        &json!({"err": err, "logs": [], "accounts": accounts, "unitsConsumed": 1, "returnData": null,
        "innerInstructions": null}),
    )
}

/// A node that says this of every transaction.
fn node(err: Value, accounts: Value) -> FakeNode {
    FakeNode::new(move |method, _| match method {
        "getEpochInfo" => epoch_info(SLOT, HEIGHT),
        "simulateTransaction" => simulated(&err, &accounts),
        "getMultipleAccounts" => at(SLOT, &json!([null, null])),
        _ => Say::Error(-32601, "no such method"),
    })
}

/// The scheme over these nodes, with the newest block known.
async fn scheme(nodes: &[&FakeNode]) -> Exact {
    scheme_over(fake_node::context(nodes)).await
}

async fn scheme_over(context: Context) -> Exact {
    let Context { heads, rpc, logs, clock, .. } = &context;
    heads.next(rpc, logs, &**clock, None, chains_core::chain::Watch::Closely).await.expect("a head");
    Exact::new(Arc::new(context))
}

/// The verdict in a few words.
fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Valid(_) => "valid".to_owned(),
        Verdict::Invalid(rejection) => {
            format!("{}: {}", rejection.code.spelling(chains_core::protocol::Version::V2), rejection.message)
        }
        Verdict::Unavailable(error) => format!("unavailable: {}", error.detail),
    }
}

async fn verified(nodes: &[&FakeNode], purpose: Purpose) -> String {
    let scheme = scheme(nodes).await;
    let read = scheme.read(&payment(|_| {})).expect("read");
    words(&read.verify(purpose).await)
}

#[tokio::test]
async fn a_good_payment_costs_one_request_and_none_when_it_is_settled_at_once() {
    let node = node(Value::Null, blockhashes(7));
    let scheme = scheme(&[&node]).await;
    let read = scheme.read(&payment(|_| {})).expect("read");
    assert_eq!(read.payer(), Payer::numbered(1).address().to_string());
    let before = node.calls();
    let Verdict::Valid(first) = read.verify(Purpose::Verify).await else { panic!("valid") };
    assert_eq!(node.calls() - before, 1);
    let again = scheme.read(&payment(|_| {})).expect("read");
    let Verdict::Valid(second) = again.verify(Purpose::Settle).await else { panic!("valid") };
    assert_eq!((node.calls() - before, first.plan == second.plan), (1, true));
    assert_eq!(first.plan.gas_wallet, Some(fee_payer().pubkey().to_string()));
    let plan = Plan::from_body(&first.plan.body).expect("a plan");
    // Three slots later than the newest known block, and 143 blocks to live.
    assert_eq!(plan.last_valid_block_height, HEIGHT + 3 + 143);
    assert_eq!(plan.effect.amount, Amount::from(10_000_u64));
    assert!(matches!(again.verify(Purpose::Settle).await, Verdict::Valid(_)));
    assert_eq!(node.calls() - before, 2, "what was found is used once");
}

#[tokio::test]
async fn f19_nothing_is_signed_before_a_payment_is_settled() {
    let seen: Arc<parking_lot::Mutex<Vec<Value>>> = Arc::default();
    let told = Arc::clone(&seen);
    let node = FakeNode::new(move |method, params| match method {
        "getEpochInfo" => epoch_info(SLOT, HEIGHT),
        "simulateTransaction" => {
            told.lock().push(params[0].clone());
            simulated(&Value::Null, &blockhashes(0))
        }
        _ => Say::Error(-32601, "no such method"),
    });
    let payment = payment(|_| {});
    let scheme = scheme(&[&node]).await;
    for purpose in [Purpose::Verify, Purpose::Settle, Purpose::Settle] {
        let verdict = scheme.read(&payment).expect("read").verify(purpose).await;
        let Verdict::Valid(found) = verdict else { panic!("{verdict:?}") };
        let plan = Plan::from_body(&found.plan.body).expect("a plan");
        assert_eq!(json!(plan.transaction), payment.payload["transaction"], "as the payer sent it");
    }
    assert_eq!(*seen.lock(), vec![payment.payload["transaction"].clone(); 2], "so do nodes see it");
}

#[tokio::test]
async fn what_is_bad_in_itself_costs_no_request() {
    let node = node(Value::Null, blockhashes(0));
    let scheme = scheme(&[&node]).await;
    let before = node.calls();
    let changes: [fn(&mut Payment); 5] = [
        |p| p.amount = Amount::from(10_001_u64),
        |p| p.pay_to = Payer::numbered(3).address().to_string(),
        |p| p.asset = PYUSD.to_string(),
        |p| p.extra.clear(),
        |p| drop(p.payload.insert("transaction".into(), json!("AAAA"))),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut payment = payment(|_| {});
        change(&mut payment);
        if let Ok(read) = scheme.read(&payment) {
            let verdict = read.verify(Purpose::Settle).await;
            assert!(matches!(verdict, Verdict::Invalid(_)), "case {number}: {verdict:?}");
        }
    }
    assert_eq!(node.calls(), before);
}

#[tokio::test]
async fn a_payment_that_would_fail_is_told_why_and_is_not_looked_at_again_for_a_while() {
    let node = node(json!({"InstructionError": [2, {"Custom": 1}]}), Value::Null);
    let scheme = scheme(&[&node]).await;
    let read = scheme.read(&payment(|_| {})).expect("read");
    let said = words(&read.verify(Purpose::Verify).await);
    assert!(
        said.starts_with("invalid_exact_svm_destination_account_missing: the payee has no token account"),
        "{said}"
    );
    let calls = node.calls();
    assert_eq!(words(&read.verify(Purpose::Settle).await), said);
    assert_eq!(node.calls(), calls);
}

#[tokio::test]
async fn a_blockhash_that_one_node_does_not_know_is_asked_of_the_next() {
    let unknown = || node(json!("BlockhashNotFound"), Value::Null);
    let good = node(Value::Null, blockhashes(0));
    let (lagging, other) = (unknown(), unknown());
    assert_eq!(verified(&[&lagging, &good], Purpose::Verify).await, "valid");
    let said = verified(&[&lagging, &other], Purpose::Verify).await;
    assert!(said.contains("invalid_exact_svm_transaction_simulation_failed") && said.contains("blockhash"), "{said}");
    assert_eq!(other.calls_of("simulateTransaction"), 1);
}

#[tokio::test]
async fn a_blockhash_must_live_long_enough_to_send_again() {
    // (age in blocks, verdict); it lives for 150.
    for (age, expected) in [(0, "valid"), (120, "valid"), (121, "expiring"), (149, "expiring"), (150, "expiring")] {
        let said = verified(&[&node(Value::Null, blockhashes(age))], Purpose::Settle).await;
        assert!(said.contains(expected), "{age}: {said}");
    }
    let silent = node(Value::Null, json!([null]));
    assert_eq!(verified(&[&silent], Purpose::Settle).await, "valid", "a node that does not keep the list");
}

#[tokio::test]
async fn what_is_not_the_payments_fault_is_no_verdict() {
    for passing in ["InsufficientFundsForFee", "AccountNotFound", "AccountInUse", "ClusterMaintenance"] {
        let said = verified(&[&node(json!(passing), Value::Null)], Purpose::Settle).await;
        assert!(said.starts_with("unavailable"), "{passing}: {said}");
    }
    let silent = FakeNode::new(|method, _| match method {
        "getEpochInfo" => epoch_info(SLOT, HEIGHT),
        _ => Say::Fault(Fault::Timeout),
    });
    assert!(verified(&[&silent], Purpose::Settle).await.starts_with("unavailable"));
}

#[tokio::test]
async fn one_message_is_one_payment_however_it_is_spelt() {
    let node = node(Value::Null, blockhashes(0));
    let scheme = scheme(&[&node]).await;
    let read = |payment: &Payment| scheme.read(payment).expect("read");
    let first = payment(|_| {});
    let mut wire = BASE64_STANDARD.decode(first.payload["transaction"].as_str().expect("a text")).expect("base64");
    wire[1..65].fill(9);
    let mut respelt = first.clone();
    respelt.payload.insert("transaction".into(), json!(BASE64_STANDARD.encode(&wire)));
    assert_eq!(read(&first).identity(), read(&respelt).identity());
    assert_eq!(read(&first).fingerprint(), read(&respelt).fingerprint(), "what stands for our signature means nothing");
    let other = payment(|order| order.memo = Some("other".into()));
    assert_ne!(read(&first).identity(), read(&other).identity());
    let mut dearer = first.clone();
    dearer.amount = Amount::from(10_001_u64);
    assert_eq!(read(&first).identity(), read(&dearer).identity());
    assert_ne!(read(&first).fingerprint(), read(&dearer).fingerprint());
}

/// A payment by a program's transfer, as nodes tell it.
fn called(amount: u64) -> Value {
    let account = |owner| crate::token::associated_account(owner, &USDC, &crate::programs::TOKEN).to_string();
    let wallet = Payer::numbered(5).address();
    json!([{"index": 2, "instructions": [
        {"program": "system", "programId": Pubkey::default().to_string(), "parsed": {"type": "transfer", "info": {}},
            "stackHeight": 2},
        {"program": "spl-token", "programId": crate::programs::TOKEN.to_string(), "stackHeight": 2,
            "parsed": {"type": "transferChecked", "info": {
                "source": account(&wallet), "mint": USDC.to_string(), "destination": account(&Payer::numbered(2).address()),
                "authority": wallet.to_string(),
                "tokenAmount": {"amount": amount.to_string(), "decimals": 6, "uiAmount": 0.01, "uiAmountString": "0.01"},
            }}},
    ]}])
}

/// A payment of which a wallet's program makes the transfer; what the program
/// is given stands in these tables, if they have it.
fn wallets_payment(given: &[Pubkey], tables: &[AddressLookupTableAccount]) -> Payment {
    let (payer, fee_payer) = (Payer::numbered(1), fee_payer().pubkey());
    let given = given.iter().map(|account| AccountMeta::new(*account, false));
    let wallet = Instruction {
        program_id: crate::programs::SMART_WALLETS[0],
        accounts: std::iter::once(AccountMeta::new_readonly(payer.address(), true)).chain(given).collect(),
        data: vec![1, 2, 3],
    };
    let order = Order::new(fee_payer, USDC, Payer::numbered(2).address(), 10_000, "memo".into());
    let budget = order.instructions(&payer.address()).into_iter().take(2);
    let instructions: Vec<_> = budget.chain([wallet]).collect();
    let signed = payer.sign_with_tables(&fee_payer, &instructions, tables, blockhash());
    Payment { payload: signed.expect("signed"), ..payment(|_| {}) }
}

/// The defaults with wallets allowed, and with a fee payer of old.
fn allowing(former: &Keypair) -> String {
    let defaults = config::tests::DEFAULTS.replace("smart_wallets = false", "smart_wallets = true");
    format!("{defaults}fee_payers_former = [\"{}\"]\n", former.to_base58_string())
}

/// The answer to a simulation that goes well.
fn simulated_with(accounts: &Value, inner: &Value) -> Say {
    at(
        SLOT,
        &json!({"err": null, "logs": [], "accounts": accounts, "unitsConsumed": 1, "returnData": null,
            "innerInstructions": inner}),
    )
}

#[tokio::test]
async fn a_wallet_program_pays_where_the_operator_allows_it() {
    let asked = wallets_payment(&[], &[]);
    let cases = [
        (called(10_000), "valid"),
        (called(10_001), "valid"),
        (called(9_999), "invalid_exact_svm_smart_wallet_transfer_mismatch"),
        (json!([]), "invalid_exact_svm_smart_wallet_no_transfer_in_simulation"),
        (Value::Null, "invalid_exact_svm_smart_wallet_no_transfer_in_simulation"),
    ];
    for (inner, expected) in cases {
        let told = inner.clone();
        let node = FakeNode::new(move |method, _| match method {
            "getEpochInfo" => epoch_info(SLOT, HEIGHT),
            "simulateTransaction" => simulated_with(&blockhashes(0), &told),
            _ => Say::Error(-32601, "no such method"),
        });
        let scheme = scheme_over(fake_node::context_with(&[&node], &allowing(&Keypair::new()))).await;
        let read = scheme.read(&asked).expect("read");
        let verdict = read.verify(Purpose::Settle).await;
        assert!(words(&verdict).starts_with(expected), "{inner}: {}", words(&verdict));
        if let Verdict::Valid(payment) = verdict {
            assert_eq!(payment.amount, Amount::from(10_000_u64));
        }
    }
    let node = node(Value::Null, blockhashes(0));
    let read = scheme(&[&node]).await.read(&asked).expect("read");
    let said = words(&read.verify(Purpose::Settle).await);
    assert!(said.starts_with("invalid_exact_svm_payload_no_transfer_instruction"), "off by default: {said}");
}

/// A lookup table as nodes tell it.
fn table(deactivation_slot: u64, addresses: &[Pubkey]) -> Value {
    let meta = LookupTableMeta { deactivation_slot, ..LookupTableMeta::default() };
    let data =
        AddressLookupTable { meta, addresses: addresses.to_vec().into() }.serialize_for_tests().expect("a table");
    json!({"lamports": 1, "data": [BASE64_STANDARD.encode(&data), "base64"], "executable": false, "rentEpoch": 0,
        "owner": crate::programs::ADDRESS_LOOKUP_TABLE.to_string(), "space": data.len()})
}

#[tokio::test]
async fn f16_what_lookup_tables_hold_is_looked_at_with_every_simulation() {
    let former = Keypair::new();
    let given = [Pubkey::new_unique(), Pubkey::new_unique()];
    let good = table(u64::MAX, &given);
    let told = |table: &Value| {
        let mut accounts = blockhashes(0);
        accounts.as_array_mut().expect("a list").push(table.clone());
        simulated_with(&accounts, &called(10_000))
    };
    let failed = "invalid_exact_svm_smart_wallet_alt_resolution_failed";
    let unreadable = Say::Error(-32602, "invalid transaction: Transaction loads an address table account");
    // (what the simulation says, what the node tells of the table by itself, verdict)
    let cases: [(&str, Say, Value, &str); 9] = [
        ("good", told(&good), Value::Null, "valid"),
        ("not told", told(&Value::Null), Value::Null, failed),
        ("deactivated", told(&table(SLOT, &given)), Value::Null, failed),
        ("too short", told(&table(u64::MAX, &given[..1])), Value::Null, failed),
        (
            "a key of ours",
            told(&table(u64::MAX, &[given[0], former.pubkey()])),
            Value::Null,
            "invalid_exact_svm_smart_wallet_fee_payer_not_isolated",
        ),
        ("not found", simulated(&json!("AddressLookupTableNotFound"), &Value::Null), Value::Null, failed),
        ("the node cannot read it", unreadable.clone(), Value::Null, failed),
        ("the node cannot read what is good", unreadable, good, "unavailable"),
        ("the node is behind", Say::Error(-32005, "Node is behind"), Value::Null, "unavailable"),
    ];
    for (name, simulation, table, expected) in cases {
        let node = FakeNode::new(move |method, _| match method {
            "getEpochInfo" => epoch_info(SLOT, HEIGHT),
            "simulateTransaction" => simulation.clone(),
            "getMultipleAccounts" => at(SLOT, &json!([table])),
            _ => Say::Error(-32601, "no such method"),
        });
        let scheme = scheme_over(fake_node::context_with(&[&node], &allowing(&former))).await;
        let addresses = given.to_vec();
        let known = AddressLookupTableAccount { key: Pubkey::new_unique(), addresses };
        let asked = wallets_payment(&given, &[known]);
        for purpose in [Purpose::Verify, Purpose::Settle] {
            let said = words(&scheme.read(&asked).expect("read").verify(purpose).await);
            assert!(said.starts_with(expected), "{name}: {said}");
        }
        if expected == "valid" {
            assert_eq!(node.calls_of("simulateTransaction"), 2, "what /verify found does not count for /settle");
        }
    }
}
