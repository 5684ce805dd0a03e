//! The knobs do what they say, seen through the seam.

use std::sync::Arc;

use chains_core::{
    Network, Payment,
    chain::{Chain, Execution, Profile, ProofError, QuoteError, SignError},
    observation::{Depth, Effect, Item, Observation, Recheck, TransactionView, Urgency},
    payment::Chosen,
    scheme::{Occasion, Verdict, VerifiedPayment},
    transaction::{BroadcastResult, Plan, Purpose, SignedTransaction},
};
use serde_json::{Map, Value, json};

use crate::{Clarity, FakeChain, Lie, NodeFault, SendStep, Transfer, World, parameters};

struct Rig {
    world: Arc<World>,
    chain: FakeChain,
}

impl Rig {
    fn new() -> Self {
        let world = Arc::new(World::default());
        world.fund("payer", 1_000_000);
        world.fund("gas", 100_000_000);
        let network: Network = "fake:local".parse().expect("CAIP-2");
        let chain = FakeChain::new(network, vec!["gas".into()], parameters(), Arc::clone(&world));
        Self { world, chain }
    }

    async fn verify(&self, more: Value) -> Verdict {
        let mut payload = json!({"from": "payer", "nonce": "1", "signature": "signed by payer"});
        payload.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let network = self.chain.network().clone();
        let payment = Payment {
            scheme: "exact".into(),
            network: network.clone(),
            asset: "coin".into(),
            pay_to: "payee".into(),
            amount: 1000_u64.into(),
            extra: Map::new(),
            chosen: Chosen { scheme: "exact".into(), network: Some(network) },
            payload: payload.as_object().cloned().unwrap_or_default(),
            extensions: Map::new(),
        };
        self.chain.schemes()[0].read(&payment).expect("read").verify(Occasion::Settle).await
    }

    async fn verified(&self, more: Value) -> VerifiedPayment {
        match self.verify(more).await {
            Verdict::Valid(payment) => payment,
            other => panic!("{other:?}"),
        }
    }

    /// The plan's transaction, signed with the wallet's next nonce.
    async fn sign(&self, plan: &Plan) -> [SignedTransaction; 1] {
        let purpose = Purpose::Steps(std::slice::from_ref(plan));
        let fee = self.chain.quote(purpose).expect("a quote");
        let nonce = self.chain.nonce("gas", Depth::Latest).await.expect("a nonce");
        [self.chain.sign("gas", nonce, purpose, &fee).expect("signed")]
    }

    /// The plan's transaction, sent.
    async fn sent(&self, plan: &Plan) -> [SignedTransaction; 1] {
        let signed = self.sign(plan).await;
        assert_eq!(self.chain.broadcast(&signed).await, [BroadcastResult::Accepted]);
        signed
    }

    async fn observe(&self, attempts: &[SignedTransaction], plan: &Plan) -> Observation {
        let items = [Item { plan, claimed_block: 0 }];
        self.chain.observe(&[TransactionView { attempts, items: &items }]).await.expect("observed").remove(0)
    }

    async fn investigate(&self, attempts: &[SignedTransaction], plan: &Plan) -> Observation {
        let items = [Item { plan, claimed_block: 0 }];
        self.chain.investigate(&TransactionView { attempts, items: &items }).await.expect("found out")
    }

    async fn effect(&self, attempts: &[SignedTransaction], plan: &Plan) -> Effect {
        match self.observe(attempts, plan).await {
            Observation::Included(_, effects) => effects.into_iter().next().expect("one"),
            other => panic!("{other:?}"),
        }
    }
}

fn transfer(nonce: &str) -> Transfer {
    Transfer { from: "payer".into(), to: "payee".into(), value: 1000, nonce: nonce.into(), valid_before: None }
}

#[tokio::test]
async fn a_transfer_is_done_once_and_costs_the_gas_wallet_its_fee() {
    let rig = Rig::new();
    let plan = rig.verified(json!({})).await.plan;
    let sent = rig.sent(&plan).await;
    assert_eq!(rig.observe(&sent, &plan).await, Observation::Pending);
    rig.world.mine();
    assert_eq!(rig.effect(&sent, &plan).await, Effect::Done);
    assert_eq!((rig.world.balance("payee"), rig.world.balance("gas")), (1000, 100_000_000 - 21_000));
    assert_eq!(rig.chain.broadcast(&sent).await, [BroadcastResult::NonceTooLow]);
    assert!(matches!(rig.verify(json!({})).await, Verdict::Invalid(_)));
}

#[tokio::test]
async fn a_foreign_transaction_replaces_ours_and_ours_is_found_after_a_reorg() {
    let rig = Rig::new();
    let plan = rig.verified(json!({})).await.plan;
    let sent = rig.sent(&plan).await;
    rig.world.take_nonce("gas");
    assert_eq!(rig.observe(&sent, &plan).await, Observation::Replaced);
    rig.world.unmine();
    assert_eq!(rig.observe(&sent, &plan).await, Observation::Pending);
    rig.world.lose_pool();
    rig.chain.broadcast(&sent).await;
    rig.world.mine();
    assert_eq!(rig.effect(&sent, &plan).await, Effect::Done);
}

#[tokio::test]
async fn a_block_that_is_taken_back_takes_its_effects_back_and_another_one_follows() {
    let rig = Rig::new();
    let plan = rig.verified(json!({})).await.plan;
    let sent = rig.sent(&plan).await;
    rig.world.mine();
    let first = rig.chain.next_block(None, Urgency::Closely).await.expect("a block");
    rig.world.unmine();
    assert_eq!(rig.observe(&sent, &plan).await, Observation::Pending);
    assert_eq!((rig.world.balance("payee"), rig.world.balance("gas")), (0, 100_000_000));
    rig.world.mine();
    let second = rig.chain.next_block(Some(&first), Urgency::Closely).await.expect("a block");
    assert_eq!((second.number, second.hash == first.hash), (first.number, false));
    assert_eq!(second.transactions, None, "what is not canonical is followed by nothing");
}

#[tokio::test]
async fn effects_are_as_clear_as_the_world_is_told_to_make_them() {
    let rig = Rig::new();
    let plan = rig.verified(json!({})).await.plan;
    let sent = rig.sent(&plan).await;
    rig.world.mine();
    rig.world.set_clarity(Clarity::ByInvestigation);
    assert!(matches!(rig.effect(&sent, &plan).await, Effect::Unclear(_)));
    let Observation::Included(_, effects) = rig.investigate(&sent, &plan).await else { panic!("included") };
    assert_eq!(effects, [Effect::Done]);
    rig.world.set_clarity(Clarity::Never);
    let Observation::Included(_, effects) = rig.investigate(&sent, &plan).await else { panic!("included") };
    assert!(matches!(effects[..], [Effect::Unclear(_)]));
    rig.world.set_clarity(Clarity::AtOnce);
    rig.world.forget_below(2);
    assert!(matches!(rig.investigate(&sent, &plan).await, Observation::Unknown { .. }));
    assert_eq!(rig.world.investigations(), 3);
}

#[tokio::test]
async fn an_investigation_waits_while_it_is_held() {
    let rig = Rig::new();
    let plan = rig.verified(json!({})).await.plan;
    let sent = rig.sent(&plan).await;
    rig.world.hold_investigations(true);
    let items = [Item { plan: &plan, claimed_block: 0 }];
    let view = TransactionView { attempts: &sent, items: &items };
    let release = async {
        while rig.world.investigations() == 0 {
            tokio::task::yield_now().await;
        }
        rig.world.hold_investigations(false);
    };
    let (found, ()) = tokio::join!(rig.chain.investigate(&view), release);
    assert_eq!(found, Ok(Observation::Pending));
}

#[tokio::test]
async fn what_others_do_with_a_payment_is_told_apart() {
    let rig = Rig::new();
    let plan = rig.verified(json!({})).await.plan;
    let sent = rig.sent(&plan).await;
    let hash = rig.world.execute_elsewhere(transfer("1"));
    rig.world.mine();
    assert!(matches!(rig.effect(&sent, &plan).await, Effect::Elsewhere { hash: by, .. } if by == hash));
    let plan = rig.verified(json!({"nonce": "2", "validBefore": 1000})).await.plan;
    let sent = rig.sent(&plan).await;
    rig.world.drain("payer");
    rig.world.mine();
    let Effect::Missing { executable_until, .. } = rig.effect(&sent, &plan).await else { panic!("missing") };
    assert_eq!(executable_until, Some(1000), "whoever holds the payload can still execute it");
    rig.world.cancel("payer", "2");
    let Effect::Missing { executable_until, .. } = rig.effect(&sent, &plan).await else { panic!("missing") };
    assert_eq!(executable_until, None);
}

#[tokio::test]
async fn a_settlement_of_two_steps_goes_on_with_the_second() {
    let rig = Rig::new();
    let plan = rig.verified(json!({"approveFirst": true})).await.plan;
    assert_eq!(rig.chain.exclusive(&plan).as_deref(), Some("fake:local/payer"));
    let sent = rig.sent(&plan).await;
    rig.world.mine();
    let Effect::Continues(next) = rig.effect(&sent, &plan).await else { panic!("continues") };
    let sent = rig.sent(&next).await;
    rig.world.mine();
    assert_eq!(rig.effect(&sent, &next).await, Effect::Done);
    assert_eq!(rig.world.balance("payee"), 1000);
}

#[tokio::test]
async fn prices_bounds_and_times_are_obeyed() {
    let rig = Rig::new();
    let plan = rig.verified(json!({"validBefore": 4})).await.plan;
    let sent = rig.sent(&plan).await;
    rig.world.set_price(7);
    rig.world.mine();
    assert_eq!(rig.observe(&sent, &plan).await, Observation::Pending, "it offers too little");
    assert!(matches!(rig.chain.broadcast(&sent).await[..], [BroadcastResult::Underpriced(_)]));
    let bump = rig.sign(&plan).await;
    assert_eq!((bump[0].nonce, bump[0].hash == sent[0].hash), (sent[0].nonce, false));
    assert_eq!(rig.chain.broadcast(&bump).await, [BroadcastResult::Accepted], "the pool takes the higher price");
    assert_eq!(rig.chain.recheck(std::slice::from_ref(&plan)).await, [Recheck::Good]);
    rig.world.set_price(10_000);
    let purpose = Purpose::Steps(std::slice::from_ref(&plan));
    assert!(matches!(rig.chain.quote(purpose), Err(QuoteError::AboveCeiling { .. })));
    rig.world.mine();
    rig.world.mine();
    assert!(matches!(rig.chain.recheck(std::slice::from_ref(&plan)).await[..], [Recheck::Bad(_)]));
    assert!(matches!(rig.chain.sign("gas", Some(9), purpose, &bump[0].fee), Err(SignError::Void(_))));
    rig.world.set_price(1);
    rig.world.drain("gas");
    assert!(matches!(
        rig.chain.broadcast(&sent).await[..],
        [BroadcastResult::NonceTaken | BroadcastResult::InsufficientFunds]
    ));
}

#[tokio::test]
async fn a_cancelled_nonce_is_used_up_without_effect() {
    let rig = Rig::new();
    let plan = rig.verified(json!({})).await.plan;
    let sent = rig.sign(&plan).await;
    rig.world.set_price(2);
    let fee = rig.chain.quote(Purpose::Cancel).expect("a quote");
    let cancel = rig.chain.sign("gas", sent[0].nonce, Purpose::Cancel, &fee).expect("signed");
    rig.chain.broadcast(std::slice::from_ref(&cancel)).await;
    rig.world.mine();
    let attempts = [sent[0].clone(), cancel];
    let Effect::Missing { .. } = rig.effect(&attempts, &plan).await else { panic!("missing") };
    assert_eq!(rig.world.balance("payee"), 0);
}

#[tokio::test]
async fn sends_follow_their_script() {
    let rig = Rig::new();
    let plan = rig.verified(json!({})).await.plan;
    let signed = rig.sign(&plan).await;
    let lost = BroadcastResult::Unknown("timeout".into());
    rig.world.script([SendStep::LoseAndAnswer(lost.clone()), SendStep::ArriveAndAnswer(lost.clone())]);
    assert_eq!(rig.chain.broadcast(&signed).await, std::slice::from_ref(&lost));
    rig.world.mine();
    assert_eq!(rig.observe(&signed, &plan).await, Observation::Pending);
    assert_eq!(rig.chain.broadcast(&signed).await, [lost]);
    rig.world.mine();
    assert_eq!(rig.effect(&signed, &plan).await, Effect::Done);
    assert_eq!(rig.world.broadcasts(), 2);
}

#[tokio::test]
async fn without_nonces_a_transaction_is_included_once_or_expires() {
    let Rig { world, chain } = Rig::new();
    let rig = Rig { world, chain: chain.without_nonces() };
    assert_eq!(rig.chain.nonce("gas", Depth::Latest).await, Ok(None));
    let plan = rig.verified(json!({})).await.plan;
    let sent = rig.sent(&plan).await;
    rig.world.mine();
    assert_eq!(rig.chain.broadcast(&sent).await, [BroadcastResult::Accepted], "late repeats are harmless");
    rig.world.mine();
    assert_eq!((rig.effect(&sent, &plan).await, rig.world.balance("payee")), (Effect::Done, 1000));
    let plan = rig.verified(json!({"nonce": "2"})).await.plan;
    let sent = rig.sent(&plan).await;
    rig.world.expire(&sent[0].hash);
    rig.world.mine();
    assert!(matches!(rig.observe(&sent, &plan).await, Observation::Expired(_)));
}

#[tokio::test]
async fn finality_and_confirmed_nonces_follow_the_chain() {
    let rig = Rig::new();
    let confirmed = chains_core::chain::Parameters { confirmations: 3, ..parameters() };
    let chain = FakeChain::new(rig.chain.network().clone(), vec!["gas".into()], confirmed, Arc::clone(&rig.world));
    let rig = Rig { chain, ..rig };
    let plan = rig.verified(json!({})).await.plan;
    let sent = rig.sent(&plan).await;
    for (nonce, is_confirmed) in [(0, false), (0, false), (1, true)] {
        rig.world.mine();
        assert_eq!(rig.chain.nonce("gas", Depth::Latest).await, Ok(Some(1)));
        assert_eq!(rig.chain.nonce("gas", Depth::Confirmed).await, Ok(Some(nonce)));
        let Observation::Included(inclusion, _) = rig.observe(&sent, &plan).await else { panic!("included") };
        assert_eq!(inclusion.confirmed, is_confirmed);
    }
    assert_eq!(rig.chain.final_block().await.map(|block| block.number), Ok(0));
    rig.world.set_final_lag(1);
    assert_eq!(rig.chain.final_block().await.map(|block| block.number), Ok(2));
}

#[tokio::test]
async fn health_is_what_the_knobs_say() {
    let rig = Rig::new();
    let chain: &dyn Chain = &rig.chain;
    assert_eq!((chain.prove().await, chain.trouble(), chain.warnings()), (Ok(()), None, vec![]));
    rig.world.set_mismatch(Some("another chain"));
    assert!(matches!(chain.prove().await, Err(ProofError::Mismatch { .. })));
    rig.world.set_trouble(Some("clocks differ"));
    rig.world.set_warnings(&["a lag"]);
    assert_eq!((chain.trouble().as_deref(), chain.warnings()), (Some("clocks differ"), vec!["a lag".to_owned()]));
    rig.world.set_broken(true);
    assert!(matches!(chain.prove().await, Err(ProofError::Unavailable(_))));
    assert!(matches!(rig.verify(json!({})).await, Verdict::Unavailable(_)));
}

#[tokio::test]
async fn a_payer_may_be_bound_to_code_and_to_a_gas_wallet() {
    let rig = Rig::new();
    let payment = rig.verified(json!({"code": "wallet", "gasWallet": "gas"})).await;
    assert_eq!((payment.payer_code.as_deref(), payment.plan.gas_wallet.as_deref()), (Some("wallet"), Some("gas")));
    assert_eq!(payment.payer, "payer");
}

#[tokio::test]
async fn the_fault_of_one_node_of_three_changes_no_answer_and_that_of_the_only_one_does() {
    for (nodes, honest) in [(3, true), (1, false)] {
        for fault in Lie::ALL.map(NodeFault::Lies).into_iter().chain([NodeFault::Silent, NodeFault::Lags(1)]) {
            let Rig { world, chain } = Rig::new();
            world.set_nodes(nodes);
            let chain = FakeChain::new(chain.network().clone(), vec!["gas".into()], parameters(), Arc::clone(&world));
            let rig = Rig { world, chain };
            let [plan, other] = [rig.verified(json!({})).await.plan, rig.verified(json!({"nonce": "2"})).await.plan];
            let sent = rig.sent(&plan).await;
            rig.world.mine();
            rig.world.set_fault(0, fault);
            let answers = async {
                let items = [Item { plan: &other, claimed_block: 0 }];
                let view = TransactionView { attempts: &sent, items: &[Item { plan: &plan, claimed_block: 0 }] };
                let observed = rig.chain.observe(&[view]).await.ok()?.remove(0);
                let next = rig.sign(&other).await;
                rig.chain.broadcast(&next).await;
                let height = rig.chain.next_block(None, Urgency::Idly).await.ok()?.number;
                let traced = rig.chain.trace_authorization(&items[0]).await.ok()?;
                let is_used = matches!(traced, Effect::Elsewhere { .. });
                Some((
                    observed,
                    height,
                    is_used,
                    rig.chain.nonce("gas", Depth::Latest).await.ok()?,
                    rig.world.waiting(),
                ))
            };
            let said = answers.await;
            let is_true = said.as_ref().is_some_and(|(observed, height, is_used, nonce, waiting)| {
                let included = matches!(observed, Observation::Included(inclusion, effects)
                    if inclusion.block.number == 1 && *effects == [Effect::Done]);
                included && (*height, *is_used, *nonce, waiting.len()) == (1, false, Some(1), 1)
            });
            let shows_nothing_else = fault == NodeFault::Lies(Lie::High);
            assert_eq!(is_true, honest || shows_nothing_else, "{nodes} nodes, {fault:?}: {said:?}");
        }
    }
}
