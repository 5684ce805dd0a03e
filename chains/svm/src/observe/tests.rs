use std::sync::Arc;

use chains_core::chain::{Chain as _, PlannedTransaction, SignedTransaction};
use chains_nodes::Fault;
use parking_lot::Mutex;
use serde_json::{Value, json};
use solana_sdk::hash::Hash;

use super::*;
use crate::{
    chain::SvmChain,
    config::tests::fee_payer,
    fake_node::{self, FakeNode, Say, at, epoch_info},
    local::{Order, Payer, USDC},
    plan::Credit,
    programs,
    token::associated_account,
};
use solana_sdk::signer::Signer as _;

const AMOUNT: u64 = 10_000;
const EXPIRY: u64 = 150;
const CLAIMED_AT: u64 = 50;

fn payee() -> Pubkey {
    Payer::numbered(2).address()
}

fn destination() -> Pubkey {
    associated_account(&payee(), &USDC, &programs::TOKEN)
}

fn plan() -> Plan {
    let payer = Payer::numbered(1);
    let order = Order::new(fee_payer().pubkey(), USDC, payee(), AMOUNT, "memo".into());
    let payload = payer.sign(&order, Hash::new_from_array([5; 32])).expect("signed");
    Plan {
        transaction: payload["transaction"].as_str().expect("a text").to_owned(),
        unit_limit: 20_000,
        last_valid_block_height: EXPIRY,
        effect: Credit {
            mint: USDC.to_string(),
            destination: destination().to_string(),
            authority: payer.address().to_string(),
            amount: Amount::from(AMOUNT),
        },
    }
}

/// A transaction that was signed over these nodes, and what `observe` says of it.
async fn observed(nodes: &[&FakeNode], body: &str) -> Result<Observation, ChainUnavailable> {
    let chain = SvmChain::new(fake_node::context(nodes));
    // So that the height is known.
    chain.next_head(None, chains_core::chain::Watch::Closely).await?;
    let plan = PlannedTransaction { gas_wallet: None, body: plan().to_body(), valid_before: None };
    let fees = chain.quote().expect("a quote");
    let attempts = [chain.sign(&fee_payer().pubkey().to_string(), None, &plan, &fees).expect("signed")];
    let plan = PlannedTransaction { body: body.to_owned(), ..plan };
    let watched = [Watched { attempts: &attempts, plan: &plan, claimed_at: CLAIMED_AT }];
    chain.observe(&watched).await.map(|mut found| found.remove(0))
}

fn status(slot: u64, confirmation: &str, err: &Value) -> Value {
    let status = if err.is_null() { json!({"Ok": null}) } else { json!({"Err": err}) };
    json!([{"slot": slot, "confirmations": 1, "status": status, "err": err, "confirmationStatus": confirmation}])
}

fn balance(index: usize, amount: u64) -> Value {
    json!({"accountIndex": index, "mint": USDC.to_string(),
        "uiTokenAmount": {"uiAmount": null, "decimals": 6, "amount": amount.to_string(), "uiAmountString": "x"}})
}

/// What `getTransaction` says of the payee's account.
fn transaction(slot: u64, before: Option<u64>, after: u64, err: &Value) -> Value {
    let decoded = Transaction::decode(&plan().transaction).expect("decoded");
    let index = decoded.accounts().iter().position(|key| *key == destination()).expect("there");
    let status = if err.is_null() { json!({"Ok": null}) } else { json!({"Err": err}) };
    json!({
        "slot": slot, "blockTime": 1, "version": 0, "transaction": [plan().transaction, "base64"],
        "meta": {
            "err": err, "status": status, "fee": 10_001, "preBalances": [1], "postBalances": [1],
            "preTokenBalances": before.map(|before| vec![balance(index, before)]).unwrap_or_default(),
            "postTokenBalances": [balance(index, after)], "computeUnitsConsumed": 6_200,
        },
    })
}

/// A node with this newest block, this status and this transaction.
fn node(height: u64, status: Value, transaction: Value) -> FakeNode {
    FakeNode::new(move |method, _| match method {
        "getEpochInfo" => epoch_info(height + 1000, height),
        "getSignatureStatuses" => at(height + 1000, &status),
        "getTransaction" => Say::Result(transaction.clone()),
        _ => Say::Error(-32601, "no such method"),
    })
}

/// In a few words.
fn words(observation: &Observation) -> String {
    match observation {
        Observation::Pending => "pending".to_owned(),
        Observation::Unknown(_) => "unknown".to_owned(),
        Observation::Expired(rejection) => {
            format!("expired {}", rejection.code.spelling(chains_core::protocol::Version::V2))
        }
        Observation::Landed(Landed { effect, block, .. }) => match effect {
            Effect::Done => format!("done at {}", block.number),
            Effect::DoneElsewhere { .. } => format!("done before, at {}", block.number),
            Effect::Missing(rejection) => {
                format!(
                    "missing {}: {}",
                    rejection.code.spelling(chains_core::protocol::Version::V1),
                    rejection.message
                )
            }
            Effect::Continues(_) => "continues".to_owned(),
            Effect::Unclear(_) => "unclear".to_owned(),
        },
    }
}

#[tokio::test]
async fn a_payment_is_done_when_the_payee_holds_more_and_not_before() {
    let good = Value::Null;
    let poor = json!({"InstructionError": [2, {"Custom": 1}]});
    let late = json!("BlockhashNotFound");
    let seen = |slot| status(slot, "confirmed", &good);
    let paid = |slot| transaction(slot, Some(5), 5 + AMOUNT, &good);
    let cases = [
        (json!([null]), Value::Null, "pending"),
        (status(60, "processed", &good), paid(60), "pending"),
        (seen(60), paid(60), "done at 60"),
        (status(60, "finalized", &good), transaction(60, None, AMOUNT, &good), "done at 60"),
        (seen(CLAIMED_AT), paid(CLAIMED_AT), "done before, at 50"),
        (seen(60), Value::Null, "unclear"),
        (seen(60), json!({"slot": 60, "blockTime": 1, "transaction": ["", "base64"], "meta": null}), "unclear"),
        (
            seen(60),
            transaction(60, Some(5), 4 + AMOUNT, &good),
            "missing post_settlement_transfer_not_confirmed: the payee's token account did not rise by the amount",
        ),
        (
            status(60, "confirmed", &poor),
            transaction(60, Some(5), 5, &poor),
            "missing transaction_failed: the transaction failed on chain: \
             the payer's token account does not hold the amount",
        ),
        (
            status(60, "confirmed", &late),
            transaction(60, Some(5), 5, &late),
            "missing transaction_failed: the transaction failed on chain: Blockhash not found",
        ),
    ];
    for (status, transaction, expected) in cases {
        let node = node(100, status.clone(), transaction.clone());
        let observation = observed(&[&node], &plan().to_body()).await.expect("observed");
        assert_eq!(words(&observation), expected, "{status} {transaction}");
    }
    let node = node(100, seen(60), paid(60));
    let Ok(Observation::Landed(landed)) = observed(&[&node], &plan().to_body()).await else { panic!("landed") };
    assert_eq!((landed.fee_paid, landed.gas_used), (Amount::from(10_001_u64), 6_200));
}

#[tokio::test]
async fn a_plan_of_another_build_stays_as_it_is() {
    let node = node(100, json!([]), Value::Null);
    assert_eq!(observed(&[&node], "{}").await, Ok(Observation::Pending));
}

/// A node whose finalized chain and history are these; `None`: it is silent.
fn historian(finalized: Option<u64>, first_slot: u64, found: Value) -> FakeNode {
    FakeNode::new(move |method, params| match (method, finalized) {
        ("getEpochInfo", _) => epoch_info(1200, EXPIRY + 1),
        ("getBlockHeight", Some(height)) => Say::Result(json!(height)),
        ("getFirstAvailableBlock", _) => Say::Result(json!(first_slot)),
        ("getSignatureStatuses", _) if params[1]["searchTransactionHistory"] == true => at(1200, &found),
        ("getSignatureStatuses", _) => at(1200, &json!([null])),
        ("getTransaction", _) => Say::Result(transaction(60, Some(0), AMOUNT, &Value::Null)),
        _ => Say::Fault(Fault::Timeout),
    })
}

#[tokio::test]
async fn a_transaction_has_expired_when_enough_nodes_prove_it() {
    let nothing = || json!([null]);
    let landed = || status(60, "finalized", &Value::Null);
    let proof = || historian(Some(EXPIRY + 1), 0, nothing());
    let expired = "expired invalid_exact_svm_transaction_failed";
    let cases = [
        (vec![proof()], expired),
        (vec![proof(), proof()], expired),
        (vec![proof(), proof(), historian(None, 0, nothing())], expired),
        (vec![proof(), historian(None, 0, nothing())], "pending"),
        (vec![proof(), historian(Some(EXPIRY), 0, nothing())], "pending"),
        (vec![historian(Some(EXPIRY), 0, nothing())], "pending"),
        (vec![historian(Some(EXPIRY + 1), CLAIMED_AT + 1, nothing())], "unknown"),
        (vec![historian(Some(EXPIRY + 1), CLAIMED_AT + 1, nothing()), proof()], "pending"),
        (vec![historian(Some(EXPIRY + 1), CLAIMED_AT, nothing())], expired),
        (vec![proof(), proof(), historian(Some(EXPIRY + 1), 0, landed())], "done at 60"),
        (vec![historian(Some(EXPIRY + 1), 0, landed())], "done at 60"),
    ];
    for (number, (nodes, expected)) in cases.into_iter().enumerate() {
        let nodes: Vec<&FakeNode> = nodes.iter().collect();
        let observation = observed(&nodes, &plan().to_body()).await.expect("observed");
        assert_eq!(words(&observation), expected, "case {number}");
    }
}

#[tokio::test]
async fn before_its_last_block_nobody_is_asked_for_proof() {
    let node = node(EXPIRY, json!([null]), Value::Null);
    assert_eq!(observed(&[&node], &plan().to_body()).await, Ok(Observation::Pending));
    assert_eq!((node.calls_of("getSignatureStatuses"), node.calls_of("getBlockHeight")), (1, 0));
}

#[tokio::test]
async fn many_transactions_share_requests() {
    let seen = Arc::new(Mutex::new(vec![]));
    let sizes = Arc::clone(&seen);
    let node = FakeNode::new(move |method, params| match method {
        "getEpochInfo" => epoch_info(1100, 100),
        "getSignatureStatuses" => {
            let count = params[0].as_array().map_or(0, Vec::len);
            sizes.lock().push(count);
            at(1100, &json!(vec![Value::Null; count]))
        }
        _ => Say::Error(-32601, "no such method"),
    });
    let chain = SvmChain::new(fake_node::context(&[&node]));
    let plan = PlannedTransaction { gas_wallet: None, body: plan().to_body(), valid_before: None };
    let attempts: Vec<[SignedTransaction; 1]> = (0..300_u32)
        .map(|n| {
            let mut signature = [0; 64];
            signature[..4].copy_from_slice(&n.to_be_bytes());
            [SignedTransaction {
                transaction: Signature::from(signature).to_string(),
                raw: vec![],
                gas_wallet: String::new(),
                sequence: None,
                gas_limit: 0,
                fees: chains_core::chain::Fees { per_gas_max: 0, tip_per_gas: 0 },
            }]
        })
        .collect();
    let watched: Vec<_> =
        attempts.iter().map(|attempts| Watched { attempts, plan: &plan, claimed_at: CLAIMED_AT }).collect();
    let found = chain.observe(&watched).await.expect("observed");
    assert!(found.len() == 300 && found.iter().all(|found| *found == Observation::Pending));
    assert_eq!(*seen.lock(), [256, 44]);
}
