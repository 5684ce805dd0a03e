//! Ends of the steps before a sponsored settlement, by the words of nodes.

use alloy::primitives::{Address, B256, U256};
use chains_core::{
    observation::Urgency,
    transaction::{Fee, Plan, SignedTransaction},
};
use serde_json::{Value, json};

use super::super::{investigate, observe};
use super::*;
use crate::{
    extension::sponsoring::{erc20_approval::tests::Signed, steps::Body},
    fake_node::{self, FakeNode, NOW, Say},
    tx::plan::{Method, TransferPlan},
};

/// The newest block.
const NEWEST: u64 = 100;

/// A step, and what the chain says of it.
#[derive(Clone, Copy, Debug)]
struct Scene {
    /// Wei that the payer is given; 0: the step is its approval.
    funding: u64,
    /// The status of the step's receipt, when it has one.
    receipt: Option<&'static str>,
    /// The receipt is there only when it is asked for once more.
    late: bool,
    /// The block from which on the payer's nonce is used up.
    used_from: u64,
    /// The amount that Permit2 may take.
    allowance: u64,
    /// Seconds that the authorization is still valid.
    valid_for: u64,
    /// Seconds that the approval has waited already.
    waited: u64,
    confirmations: u64,
}

/// An approval that waits for its block.
const WAITING: Scene = Scene {
    funding: 0,
    receipt: None,
    late: false,
    used_from: u64::MAX,
    allowance: 0,
    valid_for: 1000,
    waited: 0,
    confirmations: 1,
};

fn settle() -> TransferPlan {
    let effect = Transfer {
        token: Address::repeat_byte(0xaa),
        from: Address::repeat_byte(1),
        to: Address::repeat_byte(2),
        value: U256::from(10_000),
        nonce: B256::ZERO,
        method: Method::Permit2,
    };
    TransferPlan { to: Address::repeat_byte(3), data: Bytes::new(), gas_limit: 140_000, effect }
}

fn number(value: &Value) -> u64 {
    let text = value.as_str().expect("a text");
    if text == "latest" { NEWEST } else { u64::from_str_radix(&text[2..], 16).expect("a number") }
}

impl Scene {
    fn say(self, method: &str, params: &Value, asked: u64) -> Say {
        Say::Result(match method {
            "eth_getTransactionReceipt" if !self.late || asked > 0 => {
                let receipt = |status| {
                    json!({ "transactionHash": params[0], "blockNumber": "0x64", "blockHash": "0xb", "status": status,
                        "gasUsed": "0x5208", "effectiveGasPrice": "0x2" })
                };
                self.receipt.map_or(Value::Null, receipt)
            }
            "eth_getTransactionReceipt" => Value::Null,
            "eth_getBlockByNumber" => json!({ "number": format!("{:#x}", number(&params[0])), "hash": "0xb",
                "parentHash": "0xa", "timestamp": format!("{NOW:#x}"), "transactions": [] }),
            "eth_blockNumber" => json!(format!("{NEWEST:#x}")),
            "eth_getTransactionCount" => json!(if number(&params[1]) >= self.used_from { "0x1" } else { "0x0" }),
            "eth_call" => json!(B256::from(U256::from(self.allowance))),
            _ => return Say::Error(-32601, "no such method"),
        })
    }

    async fn look(self) -> String {
        let asked = std::sync::atomic::AtomicU64::new(0);
        let node = FakeNode::start(move |method, params| {
            let again = method == "eth_getTransactionReceipt";
            let before = asked.fetch_add(u64::from(again), std::sync::atomic::Ordering::Relaxed);
            self.say(method, params, before)
        })
        .await;
        let mut context = fake_node::context(&node);
        context.config.confirmations = self.confirmations;
        context.blocks.next(&context.rpc, None, Urgency::Closely).await.expect("a block");
        let approval = Signed::default().transaction();
        let body = Step::first(&approval, U256::from(self.funding), 0, settle(), NOW - self.waited);
        let plan = Plan::new(body).valid_before(Some(NOW + self.valid_for));
        let attempts = [SignedTransaction {
            hash: "0xaa".into(),
            raw: vec![],
            gas_wallet: context.wallets.names()[0].clone(),
            nonce: None,
            fee: Fee { amount_max: Amount::ZERO, terms: String::new() },
        }];
        let items = [Item { plan: &plan, claimed_block: 1 }];
        let view = TransactionView { attempts: &attempts, items: &items };
        let seen = match observe(&context, &[view]).await.expect("an answer").remove(0) {
            Observation::Included(_, effects) if matches!(effects[..], [Effect::Unclear(_)]) => {
                investigate(&context, &view).await.expect("an answer")
            }
            seen => seen,
        };
        let payer = settle().effect.from;
        let given_again = context.ledger.check(payer, U256::ZERO, Instant::now()).is_ok();
        let said = summary(seen);
        let ended = said.starts_with("expired") || said.contains("missing");
        assert_eq!(given_again, !ended, "{self:?}: who fails gets nothing more, and nobody else");
        said
    }
}

fn summary(seen: Observation) -> String {
    let (inclusion, effect) = match seen {
        Observation::Pending => return "pending".into(),
        Observation::Expired(why) => {
            return format!("expired {}", why.code.spelling(chains_core::protocol::Version::V2));
        }
        Observation::Included(inclusion, mut effects) => (inclusion, effects.remove(0)),
        Observation::Unknown { .. } | Observation::Replaced => panic!("{seen:?}"),
    };
    let Inclusion { block, fee_paid, .. } = inclusion;
    let effect = match effect {
        Effect::Continues(next) => match Body::read(next.body()).expect("a body") {
            Body::Settle(plan) if plan == settle() => "settle".into(),
            Body::Settle(_) | Body::Step(Step::Fund(_)) => panic!("not what comes next"),
            Body::Step(Step::Approve(approve)) => format!("approve until +{}", approve.until - NOW),
        },
        Effect::Missing { why, .. } => format!("missing {}", why.code.spelling(chains_core::protocol::Version::V2)),
        Effect::Done | Effect::Elsewhere { .. } | Effect::Unclear(_) => panic!("no step ends like this"),
    };
    format!("{effect}, in {}, for {fee_paid}", block.number)
}

#[tokio::test]
async fn each_step_leads_to_the_next_or_to_a_proven_end() {
    let funding = Scene { funding: 5, ..WAITING };
    let fund_landed = Scene { receipt: Some("0x1"), ..funding };
    let landed = Scene { receipt: Some("0x1"), used_from: 100, allowance: 10_000, ..WAITING };
    let overtaken = Scene { used_from: 98, ..WAITING };
    let cases = [
        (funding, "pending"),
        (Scene { valid_for: 0, waited: 900, ..funding }, "pending"),
        (fund_landed, "approve until +60, in 100, for 42005"),
        (Scene { receipt: Some("0x0"), ..funding }, "missing erc20_approval_broadcast_failed, in 100, for 42000"),
        (Scene { valid_for: 0, ..fund_landed }, "missing permit2_deadline_expired, in 100, for 42005"),
        (WAITING, "pending"),
        (Scene { waited: 59, ..WAITING }, "pending"),
        (Scene { waited: 60, ..WAITING }, "expired erc20_approval_broadcast_failed"),
        (Scene { valid_for: 0, ..WAITING }, "expired permit2_deadline_expired"),
        (Scene { allowance: 10_000, ..WAITING }, "pending"),
        (landed, "settle, in 100, for 0"),
        (Scene { waited: 900, ..landed }, "settle, in 100, for 0"),
        (Scene { receipt: Some("0x0"), ..landed }, "settle, in 100, for 0"),
        (Scene { allowance: 9_999, ..landed }, "missing erc20_approval_broadcast_failed, in 100, for 0"),
        (Scene { valid_for: 0, ..landed }, "missing permit2_deadline_expired, in 100, for 0"),
        (Scene { late: true, ..landed }, "settle, in 100, for 0"),
        (overtaken, "expired erc20_approval_broadcast_failed"),
        (Scene { allowance: 10_000, ..overtaken }, "settle, in 100, for 0"),
        (Scene { allowance: 10_000, confirmations: 3, ..overtaken }, "settle, in 98, for 0"),
        (Scene { allowance: 10_000, confirmations: 4, ..overtaken }, "pending"),
        (Scene { confirmations: 4, ..overtaken }, "pending"),
    ];
    for (scene, expected) in cases {
        assert_eq!(scene.look().await, expected, "{scene:?}");
    }
}
