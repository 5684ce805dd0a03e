use std::sync::Arc;

use chains_core::{
    chain::Execution as _,
    observation::{Item, Urgency},
    protocol::Version,
    transaction::{Fee, Plan, Purpose, SignedTransaction},
};
use chains_rpc::Fault;
use parking_lot::Mutex;
use serde_json::{Value, json};
use solana_sdk::{hash::Hash, pubkey::Pubkey, signer::Signer as _};

use super::*;
use crate::{
    chain::SvmChain,
    config::tests::fee_payer,
    exact::transaction::Transaction,
    fake_node::{self, FakeNode, Say, at, epoch_info},
    local::{Order, Payer, USDC},
    plan::{Credit, PlanBody, Proof, Terms},
    programs,
    token::associated_account,
};

const AMOUNT: u64 = 10_000;
const EXPIRY: u64 = 150;
const KNOWN: u64 = 40;
const CLAIMED: u64 = 50;

fn payee() -> Pubkey {
    Payer::numbered(2).address()
}

fn destination() -> Pubkey {
    associated_account(&payee(), &USDC, &programs::TOKEN)
}

fn body(proof: Proof) -> PlanBody {
    let payer = Payer::numbered(1);
    let order = Order::new(fee_payer().pubkey(), USDC, payee(), AMOUNT, "memo".into());
    let payload = payer.sign(&order, Hash::new_from_array([5; 32])).expect("signed");
    PlanBody {
        transaction: payload["transaction"].as_str().expect("a text").to_owned(),
        terms: Terms { unit_limit: 20_000, unit_price: 1 },
        fee: 10_001,
        known_height: KNOWN,
        last_valid_block_height: EXPIRY,
        proof,
        effect: Credit {
            mint: USDC.to_string(),
            destination: destination().to_string(),
            pay_to: payee().to_string(),
            authority: payer.address().to_string(),
            amount: Amount::from(AMOUNT),
        },
    }
}

fn plan(proof: Proof) -> Plan {
    body(proof).plan(fee_payer().pubkey().to_string())
}

fn signed(plan: &Plan) -> SignedTransaction {
    let transaction = TransferPlan::of(plan).expect("a plan").transaction.clone();
    let signature = fee_payer().sign_message(transaction.message());
    SignedTransaction {
        hash: signature.to_string(),
        raw: transaction.cosigned(&signature),
        gas_wallet: fee_payer().pubkey().to_string(),
        nonce: None,
        fee: Fee { amount_max: Amount::from(10_001_u64), terms: String::new() },
    }
}

/// A chain over nodes, with the newest block known.
async fn chain(nodes: &[&FakeNode]) -> SvmChain {
    let chain = SvmChain::new(fake_node::context(nodes));
    chain.next_block(None, Urgency::Closely).await.expect("a block");
    chain
}

/// The words about a transaction that was sent: with its block, and by
/// an investigation.
async fn both(nodes: &[&FakeNode], proof: Proof) -> [String; 2] {
    let chain = chain(nodes).await;
    let plan = plan(proof);
    let attempts = [signed(&plan)];
    let items = [Item { plan: &plan, claimed_block: CLAIMED }];
    let view = TransactionView { attempts: &attempts, items: &items };
    let observed = chain.observe(&[view]).await.map(|mut found| found.remove(0));
    let investigated = chain.investigate(&view).await;
    [observed, investigated].map(|found| found.map_or_else(|error| error.to_string(), |found| words(&found)))
}

/// The same, where both say the same.
async fn seen(nodes: &[&FakeNode], proof: Proof) -> String {
    let [observed, investigated] = both(nodes, proof).await;
    assert_eq!(observed, investigated);
    observed
}

fn status(slot: u64, confirmation: &str, err: &Value) -> Value {
    let status = if err.is_null() { json!({"Ok": null}) } else { json!({"Err": err}) };
    json!([{"slot": slot, "confirmations": 1, "status": status, "err": err, "confirmationStatus": confirmation}])
}

fn balance(index: usize, amount: u64, owner: &Pubkey) -> Value {
    json!({"accountIndex": index, "mint": USDC.to_string(), "owner": owner.to_string(),
        "uiTokenAmount": {"uiAmount": null, "decimals": 6, "amount": amount.to_string(), "uiAmountString": "x"}})
}

/// The answer of `getTransaction` about the payee's account.
fn transaction_of(slot: u64, before: Option<u64>, after: u64, owner: &Pubkey) -> Value {
    let text = body(Proof::Balances).transaction;
    let decoded = Transaction::decode(&text).expect("decoded");
    let index = decoded.accounts().iter().position(|key| *key == destination()).expect("there");
    json!({
        "slot": slot, "blockTime": 1, "version": 0, "transaction": [text, "base64"],
        "meta": {
            "err": null, "status": {"Ok": null}, "fee": 10_001, "preBalances": [1], "postBalances": [1],
            "preTokenBalances": before.map(|before| vec![balance(index, before, owner)]).unwrap_or_default(),
            "postTokenBalances": [balance(index, after, owner)], "computeUnitsConsumed": 6_200,
        },
    })
}

fn transaction(slot: u64, before: Option<u64>, after: u64) -> Value {
    transaction_of(slot, before, after, &payee())
}

/// The knowledge of a node.
#[derive(Clone)]
struct Knows {
    height: u64,
    status: Value,
    transaction: Value,
    finalized: u64,
    first_slot: u64,
    /// The status that only its history has.
    past: Value,
    blockhash_is_valid: bool,
}

impl Knows {
    /// A transaction that is in no block, at this height.
    fn nothing(height: u64) -> Self {
        let (status, past) = (json!([null]), json!([null]));
        let finalized = height.saturating_sub(32);
        let blockhash_is_valid = finalized < EXPIRY;
        Self { height, status, transaction: Value::Null, finalized, first_slot: 0, past, blockhash_is_valid }
    }

    fn status(status: Value, transaction: Value) -> Self {
        Self { status, transaction, ..Self::nothing(100) }
    }

    fn node(self) -> FakeNode {
        FakeNode::new(move |method, params| match method {
            "getEpochInfo" if params[0]["commitment"] == "finalized" => {
                epoch_info(self.finalized + 1000, self.finalized)
            }
            "getEpochInfo" => epoch_info(self.height + 1000, self.height),
            "getFirstAvailableBlock" => Say::Result(json!(self.first_slot)),
            "isBlockhashValid" => at(self.finalized + 1000, &json!(self.blockhash_is_valid)),
            "getSignatureStatuses" if params[1]["searchTransactionHistory"] == true => {
                let found = if self.past[0].is_null() { &self.status } else { &self.past };
                at(self.height + 1000, found)
            }
            "getSignatureStatuses" => at(self.height + 1000, &self.status),
            "getTransaction" => Say::Result(self.transaction.clone()),
            _ => Say::Error(-32601, "no such method"),
        })
    }
}

fn dead() -> FakeNode {
    FakeNode::new(|_, _| Say::Fault(Fault::Connect))
}

/// In a few words.
fn words(observation: &Observation) -> String {
    match observation {
        Observation::Pending => "pending".to_owned(),
        Observation::Replaced => "replaced".to_owned(),
        Observation::Unknown { why, .. } => format!("unknown: {why}"),
        Observation::Expired(rejection) => format!("expired {}", rejection.code.spelling(Version::V2)),
        Observation::Included(Inclusion { block, confirmed, .. }, effects) => {
            assert!(*confirmed && effects.len() == 1);
            match &effects[0] {
                Effect::Done => format!("done at {}", block.number),
                Effect::Elsewhere { .. } => format!("elsewhere at {}", block.number),
                Effect::Missing { why, executable_until } => {
                    assert_eq!(*executable_until, None, "what was executed is not executed again");
                    format!("missing {}: {}", why.code.spelling(Version::V1), why.message)
                }
                Effect::Continues(_) => "continues".to_owned(),
                Effect::Unclear(_) => "unclear".to_owned(),
            }
        }
    }
}

#[tokio::test]
async fn a_status_proves_a_direct_payment_and_costs_one_request() {
    let good = Value::Null;
    let poor = json!({"InstructionError": [2, {"Custom": 1}]});
    let cases = [
        (json!([null]), "pending"),
        (status(60, "processed", &good), "pending"),
        (status(60, "confirmed", &good), "done at 60"),
        (status(60, "finalized", &good), "done at 60"),
        // In a block that looks older than the claim: only our key can have made it.
        (status(CLAIMED, "confirmed", &good), "done at 50"),
        (
            status(60, "confirmed", &poor),
            "missing transaction_failed: the transaction failed on chain: \
             the payer's token account does not hold the amount",
        ),
        (
            status(60, "confirmed", &json!("BlockhashNotFound")),
            "missing transaction_failed: the transaction failed on chain: Blockhash not found",
        ),
    ];
    for (status, expected) in cases {
        let node = Knows::status(status.clone(), Value::Null).node();
        assert_eq!(seen(&[&node], Proof::Status).await, expected, "{status}");
        assert_eq!(node.calls_of("getTransaction"), 0);
    }
}

#[tokio::test]
async fn a_payer_whose_transaction_failed_is_remembered() {
    let poor = json!({"InstructionError": [2, {"Custom": 1}]});
    for (err, is_remembered) in [(Value::Null, false), (poor, true)] {
        let context = fake_node::context(&[&Knows::status(status(60, "confirmed", &err), Value::Null).node()]);
        let plan = plan(Proof::Status);
        let attempts = [signed(&plan)];
        let items = [Item { plan: &plan, claimed_block: CLAIMED }];
        observe(&context, &[TransactionView { attempts: &attempts, items: &items }]).await.expect("observed");
        let remembered = context.failed.get(&Payer::numbered(1).address(), Instant::now());
        assert_eq!(remembered.is_some(), is_remembered, "{err}");
    }
}

#[tokio::test]
async fn any_other_payment_is_done_when_the_payee_holds_more_and_not_before() {
    let good = Value::Null;
    let confirmed = |slot| status(slot, "confirmed", &good);
    let not_told = json!({"slot": 60, "blockTime": 1, "transaction": ["", "base64"], "meta": null});
    let cases = [
        (confirmed(60), transaction(60, Some(5), 5 + AMOUNT), "done at 60"),
        (confirmed(60), transaction(60, None, AMOUNT), "done at 60"),
        (confirmed(60), Value::Null, "unclear"),
        (confirmed(60), not_told, "unclear"),
        (
            confirmed(60),
            transaction(60, Some(5), 4 + AMOUNT),
            "missing post_settlement_transfer_not_confirmed: the payee's token account did not rise by the amount",
        ),
        (
            confirmed(60),
            transaction_of(60, Some(5), 5 + AMOUNT, &Payer::numbered(9).address()),
            "missing post_settlement_transfer_not_confirmed: the payee's token account belongs to somebody else",
        ),
    ];
    for (status, transaction, expected) in cases {
        let node = Knows::status(status.clone(), transaction.clone()).node();
        assert_eq!(seen(&[&node], Proof::Balances).await, expected, "{status} {transaction}");
    }
}

#[tokio::test]
async fn what_one_endpoint_claims_ends_nothing() {
    let good = Value::Null;
    let nothing = || Knows::nothing(100);
    let confirmed = |slot| Knows::status(status(slot, "confirmed", &good), Value::Null);
    let failed = || Knows::status(status(60, "confirmed", &json!("AccountInUse")), Value::Null);
    let cases = [
        (vec![confirmed(60), confirmed(60)], "done at 60"),
        (vec![confirmed(60), nothing()], "pending"),
        (vec![nothing(), confirmed(60)], "pending"),
        (vec![confirmed(60), nothing(), confirmed(60)], "done at 60"),
        (vec![failed(), nothing()], "pending"),
        (vec![failed(), confirmed(60)], "unknown"),
        (vec![confirmed(60), confirmed(61)], "unknown"),
        (vec![failed(), confirmed(60), confirmed(60)], "done at 60"),
    ];
    for (number, (nodes, expected)) in cases.into_iter().enumerate() {
        let nodes: Vec<FakeNode> = nodes.into_iter().map(Knows::node).collect();
        let said = seen(&nodes.iter().collect::<Vec<_>>(), Proof::Status).await;
        assert_eq!(said.split(':').next(), Some(expected), "case {number}: {said}");
    }
    let alone = confirmed(60).node();
    assert_eq!(seen(&[&alone, &dead()], Proof::Status).await, "pending", "the other one is missed");
}

#[tokio::test]
async fn a_transaction_has_expired_when_two_endpoints_prove_it() {
    let proof = || Knows::nothing(EXPIRY + 33);
    let included = || Knows { past: status(60, "finalized", &Value::Null), ..proof() };
    let forgot = || Knows { first_slot: CLAIMED + 1, ..proof() };
    let expired = "expired invalid_exact_svm_transaction_failed";
    let cases = [
        (vec![proof()], expired),
        (vec![proof(), proof()], expired),
        (vec![proof(), proof(), Knows::nothing(100)], expired),
        (vec![proof(), Knows::nothing(EXPIRY + 1)], "pending"),
        (vec![Knows { blockhash_is_valid: true, ..proof() }], "pending"),
        (vec![Knows { finalized: KNOWN - 1, ..proof() }], "pending"),
        (vec![forgot()], "unknown"),
        (vec![forgot(), proof()], "unknown"),
        (vec![forgot(), proof(), proof()], expired),
        (vec![Knows { first_slot: CLAIMED, ..proof() }], expired),
        (vec![included()], "done at 60"),
        (vec![included(), proof()], "unknown"),
        (vec![included(), proof(), included()], "done at 60"),
    ];
    for (number, (nodes, expected)) in cases.into_iter().enumerate() {
        let nodes: Vec<FakeNode> = nodes.into_iter().map(Knows::node).collect();
        let said = seen(&nodes.iter().collect::<Vec<_>>(), Proof::Status).await;
        assert_eq!(said.split(':').next(), Some(expected), "case {number}: {said}");
    }
}

/// A dead endpoint stops being a witness after a while.
#[tokio::test(start_paused = true)]
async fn a_dead_second_endpoint_keeps_nothing_from_expiring() {
    let (proof, dead) = (Knows::nothing(EXPIRY + 33).node(), dead());
    let chain = chain(&[&proof, &dead]).await;
    let plan = plan(Proof::Status);
    let attempts = [signed(&plan)];
    let items = [Item { plan: &plan, claimed_block: CLAIMED }];
    let view = TransactionView { attempts: &attempts, items: &items };
    assert_eq!(chain.investigate(&view).await, Ok(Observation::Pending));
    tokio::time::advance(chains_core::chain::SILENCE_MAX).await;
    assert!(matches!(chain.investigate(&view).await, Ok(Observation::Expired(_))));
}

/// It was never in a block of the chain that was finalized, so nobody has to wait for it to grow old.
#[tokio::test]
async fn a_blockhash_of_a_fork_is_over_as_soon_as_the_finalized_chain_has_passed_it() {
    let node = Knows { finalized: KNOWN, blockhash_is_valid: false, ..Knows::nothing(80) }.node();
    let [observed, investigated] = both(&[&node], Proof::Status).await;
    assert_eq!(observed, "pending", "nobody asks before its last block");
    assert_eq!(investigated, "expired invalid_exact_svm_transaction_failed");
}

#[tokio::test]
async fn endpoints_that_contradict_each_other_for_long_are_told_of() {
    let stuck = Knows { height: EXPIRY + 33, ..Knows::nothing(100) };
    let late = EXPIRY + LAG_BLOCKS_MAX + 40;
    let nodes = [Knows::nothing(late).node(), stuck.node()];
    let said = seen(&[&nodes[0], &nodes[1]], Proof::Status).await;
    assert!(said.contains("no two endpoints agree") || said == "pending", "{said}");
}

#[tokio::test]
async fn a_plan_of_another_build_is_unknown() {
    let node = Knows::nothing(100).node();
    let chain = chain(&[&node]).await;
    let (good, other) = (plan(Proof::Status), Plan::new("{}"));
    let attempts = [signed(&good)];
    let [first, second] = [&other, &good].map(|plan| [Item { plan, claimed_block: CLAIMED }]);
    let views = [&first, &second].map(|items| TransactionView { attempts: &attempts, items });
    let found = chain.observe(&views).await.expect("observed");
    assert!(matches!(found[0], Observation::Unknown { .. }), "{found:?}");
    assert_eq!(found[1], Observation::Pending, "and the others are looked for");
}

#[tokio::test]
async fn before_its_last_block_nobody_is_asked_for_proof() {
    let node = Knows::nothing(EXPIRY).node();
    assert_eq!(both(&[&node], Proof::Status).await[0], "pending");
    // One of them by the investigation, and one of its history.
    assert_eq!((node.calls_of("getSignatureStatuses"), node.calls_of("isBlockhashValid")), (3, 1));
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
    let chain = chain(&[&node]).await;
    let plan = plan(Proof::Status);
    let attempts: Vec<[SignedTransaction; 1]> = (0..300_u32)
        .map(|n| {
            let mut signature = [0; 64];
            signature[..4].copy_from_slice(&n.to_be_bytes());
            [SignedTransaction { hash: Signature::from(signature).to_string(), ..signed(&plan) }]
        })
        .collect();
    let items = [Item { plan: &plan, claimed_block: CLAIMED }];
    let views: Vec<_> = attempts.iter().map(|attempts| TransactionView { attempts, items: &items }).collect();
    let found = chain.observe(&views).await.expect("observed");
    assert!(found.len() == 300 && found.iter().all(|found| *found == Observation::Pending));
    assert_eq!(*seen.lock(), [256, 44]);
}

#[tokio::test]
async fn the_fee_is_the_transactions_own_and_a_void_one_is_not_signed() {
    let node = Knows::nothing(EXPIRY - 8).node();
    let signing = chain(&[&node]).await;
    let plan = plan(Proof::Status);
    let steps = std::slice::from_ref(&plan);
    let fee = signing.quote(Purpose::Steps(steps)).expect("a quote");
    assert_eq!(
        (fee.amount_max, fee.terms.as_str()),
        (Amount::from(10_001_u64), r#"{"unit_limit":20000,"unit_price":1}"#)
    );
    let wallet = fee_payer().pubkey().to_string();
    let done = signing.sign(&wallet, None, Purpose::Steps(steps), &fee).expect("signed");
    assert_eq!((done.hash, done.nonce, done.fee), (signed(&plan).hash, None, fee.clone()));
    assert!(signing.sign("somebody", None, Purpose::Steps(steps), &fee).is_err());
    assert!(signing.sign(&wallet, None, Purpose::Steps(&[]), &fee).is_err());
    assert!(signing.quote(Purpose::Cancel).is_err());
    let late = chain(&[&Knows::nothing(EXPIRY - 7).node()]).await;
    let void = late.sign(&wallet, None, Purpose::Steps(steps), &fee);
    assert!(matches!(void, Err(chains_core::chain::SignError::Void(_))), "{void:?}");
}
