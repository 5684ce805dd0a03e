//! Every chain family keeps the promises of the seam: one suite, one list.
//!
//! To add a family, write its `World` below and add a test that runs the suite.

use std::{sync::Arc, time::Duration};

use chains_core::{
    Payment,
    chain::{Chain, SignError},
    diagnostic::Severity,
    observation::{Block, Depth, Effect, Inclusion, Item, Observation, Recheck, TransactionView, Urgency},
    scheme::{Authorization, Occasion, Verdict},
    transaction::{BroadcastResult, Plan, Purpose, SignedTransaction},
};
use futures::future::BoxFuture;

mod evm;
mod fake;
mod svm;

/// A family with a chain to run on.
pub(crate) trait World: Send + Sync {
    /// The chain under test.
    fn chain(&self) -> Arc<dyn Chain>;
    /// A payment that is good, each time another one.
    fn payment(&self) -> Payment;
    /// The payee's balance.
    fn paid(&self) -> BoxFuture<'_, u128>;
    /// Makes a block, or lets the chain make one.
    fn mine(&self) -> BoxFuture<'_, ()>;
    /// Takes the gas wallet's money away.
    fn empty_gas_wallet(&self) -> BoxFuture<'_, ()>;
    /// Lets the chain answer no more.
    fn disconnect(&self) -> BoxFuture<'_, ()>;
}

/// A chain may need this long for anything that it is asked here.
const PATIENCE: Duration = Duration::from_secs(30);

fn read(world: &dyn World) -> Box<dyn Authorization> {
    let scheme = Arc::clone(&world.chain().schemes()[0]);
    scheme.read(&world.payment()).expect("a good payment is read")
}

async fn verified_plan(authorization: &dyn Authorization) -> Plan {
    match authorization.verify(Occasion::Settle).await {
        Verdict::Valid(verified) => {
            let funds = verified.funds.expect("the chain shows what it is paid from");
            assert!(!funds.account.is_empty() && funds.available >= verified.amount, "{funds:?}");
            assert_eq!(verified.payer, authorization.payer(), "a payer with a key is known before the checks");
            assert_eq!(verified.payer_code, None, "no code decides about its signature");
            verified.plan
        }
        other => panic!("a good payment is valid: {other:?}"),
    }
}

async fn newest(chain: &Arc<dyn Chain>) -> Block {
    chain.next_block(None, Urgency::Closely).await.expect("a block")
}

/// The plan's transaction at a nonce, at the price of the moment.
fn sign(chain: &Arc<dyn Chain>, plan: &Plan, nonce: Option<u64>) -> SignedTransaction {
    let purpose = Purpose::Steps(std::slice::from_ref(plan));
    let fee = chain.quote(purpose).expect("a quote after a block");
    let wallet = plan.gas_wallet.as_ref().unwrap_or(&chain.gas_wallets()[0]);
    let signed = chain.sign(wallet, nonce, purpose, &fee).expect("signed");
    assert_eq!(signed, chain.sign(wallet, nonce, purpose, &fee).expect("signed"), "signing is repeatable");
    assert_eq!((&signed.gas_wallet, signed.nonce), (wallet, nonce));
    assert!(matches!(chain.sign("nobody", nonce, purpose, &fee), Err(SignError::NoKey(_) | SignError::Plan(_))));
    signed
}

async fn observe(chain: &Arc<dyn Chain>, view: TransactionView<'_>) -> Observation {
    let mut observed = chain.observe(&[view, view]).await.expect("observed");
    assert_eq!(observed.len(), 2, "one answer for each");
    observed.remove(0)
}

/// A chain whose doctor finds nothing wrong is proven and names what it offers.
async fn profile(world: &dyn World) {
    let chain = world.chain();
    chain.prove().await.expect("proven");
    let wallet = chain.gas_wallets()[0].clone();
    let offers = chain.offers(&wallet);
    assert!(!offers.is_empty() && offers.iter().all(|offer| chain.schemes().iter().any(|s| s.name() == offer.scheme)));
    let balance = chain.balance(&wallet).await.expect("a balance");
    assert!(balance >= chain.parameters().balance_min, "{balance}");
    assert_eq!(chain.trouble(), None);
    let findings = chain.doctor().await;
    assert!(findings.iter().all(|finding| finding.severity != Severity::Error), "{findings:?}");
}

/// Verify has no effect; sign is repeatable; a broadcast twice is harmless;
/// observe finds what was sent although the answer was lost; a block lists it;
/// an investigation says the same; the fee is what was offered, at most.
async fn one_payment(world: &dyn World) {
    let chain = world.chain();
    let (before, authorization) = (world.paid().await, read(world));
    let plan = verified_plan(&*authorization).await;
    assert!(matches!(authorization.verify(Occasion::Verify).await, Verdict::Valid(_)), "verify changes nothing");
    assert_eq!(world.paid().await, before);
    let block = newest(&chain).await;
    let wallet = chain.gas_wallets()[0].clone();
    let nonce = chain.nonce(&wallet, Depth::Latest).await.expect("a nonce");
    let confirmed = chain.nonce(&wallet, Depth::Confirmed).await.expect("a nonce");
    assert!(confirmed.is_some() == nonce.is_some() && confirmed <= nonce, "{confirmed:?} {nonce:?}");
    assert_eq!(chain.recheck(std::slice::from_ref(&plan)).await, [Recheck::Good]);
    let signed = sign(&chain, &plan, nonce);
    let attempts = [signed.clone()];
    let items = [Item { plan: &plan, claimed_block: block.number }];
    let view = TransactionView { attempts: &attempts, items: &items };
    assert_eq!(observe(&chain, view).await, Observation::Pending);
    assert_eq!(chain.investigate(&view).await, Ok(Observation::Pending), "nothing ends before its time");
    for _ in 0..2 {
        assert_eq!(chain.broadcast(&attempts).await, [BroadcastResult::Accepted], "twice is harmless");
    }
    let (inclusion, effect, blocks) = include(world, &block, view).await;
    assert_eq!((&effect, &inclusion.hash), (&Effect::Done, &signed.hash));
    assert!(inclusion.fee_paid <= signed.fee.amount_max && !inclusion.fee_paid.is_zero(), "{inclusion:?}");
    for block in blocks {
        let listed = block.transactions.is_some_and(|list| list.contains(&signed.hash));
        assert!(!listed || block.number >= inclusion.block.number, "no block lists it before it is included");
    }
    assert!(world.paid().await > before);
    match chain.investigate(&view).await.expect("found out") {
        Observation::Included(found, effects) => {
            assert_eq!((found.block, effects), (inclusion.block, vec![Effect::Done]));
        }
        other => panic!("an investigation finds what observe finds: {other:?}"),
    }
    assert!(matches!(authorization.verify(Occasion::Verify).await, Verdict::Invalid(_)), "a payment is good once");
    let late = if nonce.is_some() { BroadcastResult::NonceTooLow } else { BroadcastResult::Accepted };
    assert_eq!(chain.broadcast(&attempts).await, [late], "late repeats are told apart, or harmless");
}

/// Follows the chain until the transaction is in a confirmed block, and sends
/// it again where it is not seen, as the submitter does: a chain may drop what
/// it was sent. The inclusion, its effect, and the blocks that came.
async fn include(world: &dyn World, from: &Block, view: TransactionView<'_>) -> (Inclusion, Effect, Vec<Block>) {
    let chain = world.chain();
    let mut blocks = vec![from.clone()];
    let resend_after = chain.parameters().resend_after;
    let mut sent_at = from.number;
    let follow = async {
        loop {
            world.mine().await;
            let next = chain.next_block(blocks.last(), Urgency::Closely).await.expect("the next block");
            let height = next.number;
            assert!(height > blocks[blocks.len() - 1].number, "blocks come in order");
            blocks.push(next);
            if let Observation::Included(inclusion, effects) = observe(&chain, view).await
                && inclusion.confirmed
            {
                assert_eq!(effects.len(), view.items.len(), "one effect for each step");
                return (inclusion, effects.into_iter().next().expect("a step"));
            }
            if height >= sent_at + resend_after {
                sent_at = height;
                drop(chain.broadcast(view.attempts).await);
            }
        }
    };
    let (inclusion, effect) = tokio::time::timeout(PATIENCE, follow).await.expect("it is included in time");
    (inclusion, effect, blocks)
}

/// An effect by another transaction is found, and told from ours. Chains
/// without nonces have no other transaction: there the payer's own is sent.
async fn executed_elsewhere(world: &dyn World) {
    let chain = world.chain();
    let plan = verified_plan(&*read(world)).await;
    let block = newest(&chain).await;
    let wallet = chain.gas_wallets()[0].clone();
    let Some(next) = chain.nonce(&wallet, Depth::Latest).await.expect("a nonce") else { return };
    let [first, second] = [next, next + 1].map(|nonce| [sign(&chain, &plan, Some(nonce))]);
    chain.broadcast(&first).await;
    world.mine().await;
    chain.broadcast(&second).await;
    world.mine().await;
    let items = [Item { plan: &plan, claimed_block: block.number }];
    let view = TransactionView { attempts: &second, items: &items };
    let (_, effect, _) = include(world, &block, view).await;
    let found = match effect {
        Effect::Unclear(_) => match chain.investigate(&view).await.expect("found out") {
            Observation::Included(_, mut effects) => effects.remove(0),
            other => panic!("it is included: {other:?}"),
        },
        clear => clear,
    };
    match found {
        Effect::Elsewhere { hash, .. } => assert_eq!(hash, first[0].hash),
        other => panic!("the first one did it: {other:?}"),
    }
}

/// A dearer attempt takes the place of an earlier one, and a cancellation that
/// of both: it uses the nonce up, and nothing is paid.
async fn replaced(world: &dyn World) {
    let chain = world.chain();
    let (before, plan) = (world.paid().await, verified_plan(&*read(world)).await);
    let block = newest(&chain).await;
    let wallet = chain.gas_wallets()[0].clone();
    let Some(nonce) = chain.nonce(&wallet, Depth::Latest).await.expect("a nonce") else { return };
    let first = sign(&chain, &plan, Some(nonce));
    assert!(chain.is_enough(&first.fee), "what is quoted is enough");
    let mut attempts = vec![first];
    let plans = [plan.clone()];
    for purpose in [Purpose::Steps(&plans), Purpose::Cancel] {
        let fees: Vec<_> = attempts.iter().map(|attempt| &attempt.fee).collect();
        let fee = chain.quote_replacement(purpose, &fees).expect("a price");
        assert!(chain.is_enough(&fee));
        attempts.push(chain.sign(&wallet, Some(nonce), purpose, &fee).expect("signed"));
    }
    assert!(attempts[1].fee.amount_max > attempts[0].fee.amount_max, "{attempts:?}");
    for attempt in &attempts {
        let answers = chain.broadcast(std::slice::from_ref(attempt)).await;
        assert_eq!(answers, [BroadcastResult::Accepted], "each takes the place of the one before");
    }
    let items = [Item { plan: &plan, claimed_block: block.number }];
    let view = TransactionView { attempts: &attempts, items: &items };
    let (inclusion, effect, _) = include(world, &block, view).await;
    assert_eq!(inclusion.hash, attempts[2].hash);
    let effect = match effect {
        Effect::Unclear(_) => match chain.investigate(&view).await.expect("found out") {
            Observation::Included(_, mut effects) => effects.remove(0),
            other => panic!("it is included: {other:?}"),
        },
        clear => clear,
    };
    assert!(matches!(effect, Effect::Missing { .. }), "{effect:?}");
    assert_eq!(world.paid().await, before, "nothing is paid");
}

/// The final block never runs ahead of the newest.
async fn finality(world: &dyn World) {
    let chain = world.chain();
    let last = chain.final_block().await.expect("a final block");
    assert!(last.number <= newest(&chain).await.number);
}

/// A chain that cannot be asked is unavailable, never invalid; the doctor says so.
async fn troubles(world: &dyn World) {
    let chain = world.chain();
    world.empty_gas_wallet().await;
    let balance = chain.balance(&chain.gas_wallets()[0]).await.expect("a balance");
    assert!(balance < chain.parameters().balance_min);
    let findings = chain.doctor().await;
    assert!(findings.iter().any(|finding| finding.severity == Severity::Error), "the empty wallet is found");
    let authorization = read(world);
    world.disconnect().await;
    let asked = tokio::time::timeout(PATIENCE, authorization.verify(Occasion::Verify)).await;
    assert!(matches!(asked.expect("in time"), Verdict::Unavailable(_)));
    let findings = chain.doctor().await;
    assert!(
        findings.iter().any(|finding| finding.severity == Severity::Error && !finding.fix.is_empty()),
        "{findings:?}"
    );
}

async fn suite(world: &dyn World) {
    profile(world).await;
    one_payment(world).await;
    executed_elsewhere(world).await;
    replaced(world).await;
    finality(world).await;
    troubles(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fake_keeps_the_seam_s_promises() {
    suite(&fake::FakeWorld::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evm_keeps_the_seam_s_promises() {
    suite(&evm::EvmWorld::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn svm_keeps_the_seam_s_promises() {
    suite(&svm::SvmWorld::start().await).await;
}
