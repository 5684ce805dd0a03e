//! Transactions that fail, get lost or expire: each is answered, and nothing
//! of them stays in the process.

use std::ops::Range;

use chains_svm::local::{Payer, USDC};
use e2e::{
    eventually,
    proxy::{Fault, Proxy, Times},
    service::{Answer, Footprint, Home, Service},
    svm::Draft,
    validator::{PAYERS, Validator, fee_payer, payee},
};
use futures::future::join_all;
use serde_json::{Value, json};

use super::FEE;
use crate::exact_svm::{TOO_MUCH, rich};

/// Slots of 100 ms: a blockhash lives for 150.
const TICKS_PER_SLOT: u32 = 16;

/// The number of transactions of each kind.
const LAND_WITH_AN_ERROR: u64 = 250;
const ARE_LOST_AT_FIRST: u64 = 100;
const EXPIRE: u64 = 150;

/// The number that is settled at a time: a fee payer takes 200.
const AT_A_TIME: u64 = 125;

/// The growth that a process may show after all of them since the first good
/// ones: some connections to the node that wait for use; memory that caches
/// take until they are full, which some thousand transactions bring about.
const MORE_DESCRIPTORS: u64 = 16;
const MORE_KIB: u64 = 32 * 1024;

/// A node that says it took the transaction, and drops it.
fn forgetful() -> Fault {
    Fault::Pretend(json!("1".repeat(64)))
}

struct World {
    validator: Validator,
    proxy: Proxy,
    home: Home,
    service: Service,
}

impl World {
    async fn start() -> Self {
        let validator = Validator::start_with(TICKS_PER_SLOT).await;
        let proxy = Proxy::before(validator.chain.url()).await;
        let home = Home::on(&validator)
            .rpc(&[&proxy.url])
            .server("settle_wait", "2s")
            .server("idle_timeout", "5s")
            .section("payers", "failures_max", 1000);
        let service = home.serve().await;
        Self { validator, proxy, home, service }
    }

    async fn bodies(&self, numbers: Range<u64>, amount: u64) -> Vec<Value> {
        join_all(numbers.map(|number| async move {
            let mut draft = Draft::of(Payer::numbered(number % PAYERS));
            draft.order.amount = amount;
            draft.body(&self.validator.chain, 2).await
        }))
        .await
    }

    async fn settle(&self, bodies: &[Value]) -> Vec<Answer> {
        join_all(bodies.iter().map(|body| self.service.post("/settle", body))).await
    }

    /// Asks, and again until it is decided.
    async fn decided(&self, bodies: &[Value]) -> Vec<Answer> {
        join_all(bodies.iter().map(|body| {
            eventually("a settlement is decided", || async {
                let answer = self.service.post("/settle", body).await;
                (answer.status == 200 && answer.text("errorReason") != "settlement_pending").then_some(answer)
            })
        }))
        .await
    }

    async fn coins(&self) -> u64 {
        self.validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance")
    }

    async fn paid(&self) -> u64 {
        self.validator.chain.token_balance(&payee().address(), &USDC).await.expect("a balance")
    }

    /// Waits until the service has seen a few slots and looked for nothing in
    /// them. It looks at what is settled once more when that is final.
    async fn is_at_rest(&self) {
        let asked =
            || ["getSignatureStatuses", "getTransaction", "sendTransaction"].map(|method| self.proxy.calls(method));
        let looked = || self.proxy.calls("getEpochInfo");
        let (mut before, mut since) = (asked(), looked());
        eventually("nothing is looked for any more", || {
            if asked() != before {
                (before, since) = (asked(), looked());
            }
            std::future::ready((looked() >= since + 3).then_some(()))
        })
        .await;
    }
}

async fn land_with_an_error(world: &World) {
    world.proxy.lie("getMultipleAccounts", rich);
    // The payment that is simulated all the same would show the lie.
    world.proxy.fail("simulateTransaction", Fault::Refuse(-32603, "internal error"), Times::Always);
    for first in (0..LAND_WITH_AN_ERROR).step_by(usize::try_from(AT_A_TIME).expect("small")) {
        let bodies = world.bodies(first..LAND_WITH_AN_ERROR.min(first + AT_A_TIME), TOO_MUCH).await;
        for answer in world.decided(&bodies).await {
            assert!(!answer.is_good() && !answer.text("transaction").is_empty(), "{answer:?}");
        }
    }
    world.proxy.heal();
}

async fn are_lost_at_first(world: &World) {
    world.proxy.fail("sendTransaction", forgetful(), Times::Next(ARE_LOST_AT_FIRST));
    let bodies = world.bodies(0..ARE_LOST_AT_FIRST, 10_000).await;
    for answer in world.decided(&bodies).await {
        assert!(answer.is_good(), "{answer:?}");
    }
}

async fn expire(world: &World) {
    world.proxy.fail("sendTransaction", forgetful(), Times::Always);
    let bodies = world.bodies(0..EXPIRE, 10_000).await;
    for answer in world.settle(&bodies).await {
        assert_eq!(answer.text("errorReason"), "settlement_pending", "{answer:?}");
        assert!(!answer.text("transaction").is_empty(), "{answer:?}");
    }
    for answer in world.decided(&bodies).await {
        assert!(!answer.is_good(), "{answer:?}");
    }
    world.proxy.heal();
}

#[tokio::test(flavor = "multi_thread")]
async fn f09_five_hundred_that_fail_are_lost_or_expire_are_answered_and_leave_nothing_behind() {
    let world = World::start().await;
    let first = world.bodies(0..AT_A_TIME, 10_000).await;
    world.decided(&first).await;
    let (coins, paid) = (world.coins().await, world.paid().await);
    let before = world.service.footprint();

    land_with_an_error(&world).await;
    are_lost_at_first(&world).await;
    expire(&world).await;

    assert_eq!(world.paid().await - paid, ARE_LOST_AT_FIRST * 10_000);
    assert_eq!(coins - world.coins().await, (LAND_WITH_AN_ERROR + ARE_LOST_AT_FIRST) * FEE, "each landed once");
    let (code, text) = world.home.audit();
    assert_eq!(code, 0, "{text}");
    world.is_at_rest().await;
    eventually("sockets are closed", || async {
        (world.service.footprint().descriptors <= before.descriptors + MORE_DESCRIPTORS).then_some(())
    })
    .await;
    let Footprint { threads, resident_kib, .. } = world.service.footprint();
    assert!(threads <= before.threads, "{threads} threads, {before:?}");
    assert!(resident_kib <= before.resident_kib + MORE_KIB, "{resident_kib} KiB, {before:?}");
}
