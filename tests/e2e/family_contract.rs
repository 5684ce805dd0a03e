//! Every chain family keeps the promises of the seam: one suite, one list.
//!
//! To add a family, write its `World` below and add it to `worlds`.

use std::{sync::Arc, time::Duration};

use chains_core::{
    Payment,
    chain::{
        Broadcast, Chain, Effect, Head, Landed, Observation, PlannedTransaction, Sequence, Severity, Watch, Watched,
    },
    scheme::{Authorization, Purpose, Verdict},
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

fn read(world: &dyn World) -> Box<dyn Authorization> {
    let scheme = Arc::clone(&world.chain().schemes()[0]);
    scheme.read(&world.payment()).expect("a good payment is read")
}

async fn plan(authorization: &dyn Authorization) -> PlannedTransaction {
    match authorization.verify(Purpose::Settle).await {
        Verdict::Valid(verified) => {
            let funds = verified.funds.expect("the chain shows what it is paid from");
            assert!(!funds.account.is_empty() && funds.available >= verified.amount, "{funds:?}");
            verified.plan
        }
        other => panic!("a good payment is valid: {other:?}"),
    }
}

async fn newest(chain: &Arc<dyn Chain>) -> Head {
    chain.next_head(None, Watch::Closely).await.expect("a head")
}

async fn observe(chain: &Arc<dyn Chain>, watched: Watched<'_>) -> Observation {
    chain.observe(&[watched]).await.expect("observed").remove(0)
}

/// Verify has no effect; sign is repeatable; a broadcast twice is harmless;
/// observe finds what was sent although the answer was lost; a head lists it.
async fn one_payment(world: &dyn World) {
    let chain = world.chain();
    chain.open().await.expect("opens");
    let (before, authorization) = (world.paid().await, read(world));
    let plan = plan(&*authorization).await;
    assert!(matches!(authorization.verify(Purpose::Verify).await, Verdict::Valid(_)), "verify changes nothing");
    assert_eq!(world.paid().await, before);
    let head = newest(&chain).await;
    let wallet = chain.gas_wallets()[0].clone();
    let sequence = chain.sequence(&wallet).await.expect("a sequence").map(|sequence| sequence.latest);
    let fees = chain.quote().expect("a quote after a head");
    let signed = chain.sign(&wallet, sequence, &plan, &fees).expect("signed");
    assert_eq!(signed, chain.sign(&wallet, sequence, &plan, &fees).expect("signed"), "signing is repeatable");
    let attempts = [signed.clone()];
    let watched = Watched { attempts: &attempts, plan: &plan, claimed_at: head.number };
    assert_eq!(observe(&chain, watched).await, Observation::Pending);
    for _ in 0..2 {
        assert_eq!(chain.broadcast(&attempts).await, [Broadcast::Accepted], "twice is harmless");
    }
    let (landed, heads) = land(world, &head, watched).await;
    assert_eq!((&landed.effect, &landed.transaction), (&Effect::Done, &signed.transaction));
    for head in heads {
        let listed = head.transactions.is_some_and(|list| list.contains(&signed.transaction));
        assert!(!listed || head.number == landed.block.number, "only the block that includes it lists it");
    }
    assert!(world.paid().await > before);
    assert!(matches!(authorization.verify(Purpose::Verify).await, Verdict::Invalid(_)), "a payment is good once");
    let late = if sequence.is_some() { Broadcast::SequenceConsumed } else { Broadcast::Accepted };
    assert_eq!(chain.broadcast(&attempts).await, [late], "late repeats are told apart, or harmless");
}

/// Follows the chain until the transaction is in a block, and sends it again
/// where it is not seen, as the submitter does: a chain may drop what it was
/// sent. Says what heads came.
async fn land(world: &dyn World, from: &Head, watched: Watched<'_>) -> (Landed, Vec<Head>) {
    let chain = world.chain();
    let mut heads = vec![from.clone()];
    let resend_after = chain.pace().resend_after;
    let mut sent_at = from.number;
    let follow = async {
        loop {
            world.mine().await;
            let next = chain.next_head(heads.last(), Watch::Closely).await.expect("the next head");
            assert!(next.number > heads[heads.len() - 1].number, "heads come in order");
            heads.push(next);
            if let Observation::Landed(landed) = observe(&chain, watched).await {
                return landed;
            }
            let height = heads[heads.len() - 1].number;
            if height >= sent_at + resend_after {
                sent_at = height;
                drop(chain.broadcast(watched.attempts).await);
            }
        }
    };
    let landed = tokio::time::timeout(Duration::from_secs(30), follow).await.expect("it lands in time");
    (landed, heads)
}

/// An effect by another transaction is found, and told from ours. Chains
/// without sequences have no other transaction: there the payer's own is sent.
async fn executed_elsewhere(world: &dyn World) {
    let chain = world.chain();
    let plan = plan(&*read(world)).await;
    let head = newest(&chain).await;
    let wallet = chain.gas_wallets()[0].clone();
    let Some(Sequence { latest: next }) = chain.sequence(&wallet).await.expect("a sequence") else { return };
    let fees = chain.quote().expect("a quote");
    let first = [chain.sign(&wallet, Some(next), &plan, &fees).expect("signed")];
    let second = [chain.sign(&wallet, Some(next + 1), &plan, &fees).expect("signed")];
    chain.broadcast(&first).await;
    world.mine().await;
    chain.broadcast(&second).await;
    world.mine().await;
    let watched = Watched { attempts: &second, plan: &plan, claimed_at: head.number };
    match land(world, &head, watched).await.0.effect {
        Effect::DoneElsewhere { transaction, .. } => assert_eq!(transaction, first[0].transaction),
        other => panic!("the first one did it: {other:?}"),
    }
}

/// What cannot be asked is unavailable, never invalid; the doctor says so.
async fn troubles(world: &dyn World) {
    let chain = world.chain();
    assert!(chain.check().await.iter().all(|finding| finding.severity != Severity::Error), "{:?}", chain.check().await);
    world.empty_gas_wallet().await;
    let gas = chain.gas_balance(&chain.gas_wallets()[0]).await.expect("a balance");
    assert!(gas.balance < gas.balance_min);
    assert!(chain.check().await.iter().any(|finding| finding.severity == Severity::Error), "the empty wallet is found");
    let authorization = read(world);
    world.disconnect().await;
    let asked = tokio::time::timeout(Duration::from_secs(30), authorization.verify(Purpose::Verify)).await;
    assert!(matches!(asked.expect("in time"), Verdict::Unavailable(_)));
    let findings = chain.check().await;
    assert!(
        findings.iter().any(|finding| finding.severity == Severity::Error && !finding.fix.is_empty()),
        "{findings:?}"
    );
}

async fn suite(world: &dyn World) {
    one_payment(world).await;
    executed_elsewhere(world).await;
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
