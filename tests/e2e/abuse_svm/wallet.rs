//! Wallets that do on chain what they did not do in the simulation.

use chains_svm::local::{PYUSD, Payer, Pubkey, USDC};
use e2e::{
    eventually,
    proxy::Proxy,
    service::{Answer, Home, Service},
    svm::Draft,
    validator::{Validator, fee_payer, payee},
    wallet::{Call, Transfer, Witness},
};

use super::{row, settle_after};
use crate::smart_wallet_svm::{FEE, with_smart_wallets};

/// Slots that pass before the chain itself makes the wallet do the other
/// thing; until then it has been found good.
const SLOTS: u64 = 25;

/// An account without the token that the wallet looks at.
const STRANGER: u64 = 500;

/// The change that makes the wallet do the other thing.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// That time passes.
    Slot,
    /// That somebody gets tokens.
    Account,
}

struct World {
    validator: Validator,
    proxy: Proxy,
    home: Home,
    service: Service,
}

impl World {
    async fn start() -> Self {
        Self::start_with(|home| home).await
    }

    async fn start_with(change: impl Fn(Home) -> Home) -> Self {
        let validator = Validator::start().await;
        let proxy = Proxy::before(validator.chain.url()).await;
        let home = change(with_smart_wallets(&validator).rpc(&[&proxy.url]));
        let service = home.serve().await;
        Self { validator, proxy, home, service }
    }

    async fn slot(&self) -> u64 {
        self.validator.chain.client().get_slot().await.expect("a slot")
    }

    async fn mint(&self, stranger: &Pubkey) {
        self.validator.chain.mint(stranger, &PYUSD, 1).await.expect("minted");
    }

    /// Returns the account that the wallet looks at.
    async fn witness(&self, change: Change) -> Witness {
        match change {
            Change::Slot => Witness::slot(self.slot().await + SLOTS),
            Change::Account => {
                let stranger = Payer::numbered(STRANGER).address();
                self.mint(&stranger).await;
                let has = self.validator.chain.token_balance(&stranger, &PYUSD).await;
                Witness::tokens(&stranger, &PYUSD, has.expect("a balance"))
            }
        }
    }

    /// Brings about what the wallet waits for.
    async fn turn(&self, change: Change, witness: Witness) {
        match change {
            Change::Slot => {
                eventually("slots pass", || async { (self.slot().await > witness.limit).then_some(()) }).await;
            }
            Change::Account => self.mint(&Payer::numbered(STRANGER).address()).await,
        }
    }

    /// Settles what `/verify` finds good, and lets the leader have it only
    /// when the wallet does the other thing.
    async fn settle(&self, change: Change, otherwise: Vec<Transfer>) -> Answer {
        let witness = self.witness(change).await;
        let call = Call { witness, otherwise, ..Call::honest(Draft::default()) };
        let body = call.body(&self.validator.chain).await;
        let verified = self.service.post("/verify", &body).await;
        assert!(verified.is_good(), "{verified:?}");
        settle_after(&self.service, &self.proxy, &body, self.turn(change, witness)).await
    }

    /// Returns the balances of the payee and the fee payer.
    async fn balances(&self) -> (u64, u64) {
        let paid = self.validator.chain.token_balance(&payee().address(), &USDC).await.expect("a balance");
        (paid, self.validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f24_a_wallet_that_does_otherwise_on_chain_is_no_success_and_costs_the_fee_alone() {
    let world = World::start().await;
    let (payee, other) = (payee().address(), Payer::numbered(1).address());
    let unpaid = "post_settlement_transfer_not_confirmed";
    // (what it does, when, its transfers then, what the payee gets of them, the answer)
    let cases: [(&str, Change, Vec<Transfer>, u64, &str); 5] = [
        ("nothing, by the clock", Change::Slot, vec![], 0, unpaid),
        ("nothing, by an account", Change::Account, vec![], 0, unpaid),
        ("less", Change::Account, vec![(payee, 9_999)], 9_999, unpaid),
        ("to somebody else", Change::Account, vec![(other, 10_000)], 0, unpaid),
        ("fails", Change::Account, vec![(payee, u64::MAX)], 0, "invalid_exact_svm_transaction_failed"),
    ];
    for (name, change, otherwise, gets, code) in cases {
        let (paid, coins) = world.balances().await;
        let settled = world.settle(change, otherwise).await;
        assert!(!settled.is_good() && settled.text("errorReason") == code, "{name}: {settled:?}\n{}", world.home.log());
        let row = row(&world.service, &settled).await;
        assert_eq!((row.text("state"), row.text("feePaid")), ("failed", FEE.to_string().as_str()), "{name}: {row:?}");
        assert_eq!(world.balances().await, (paid + gets, coins - FEE), "{name}");
    }
    let (code, text) = world.home.audit();
    assert_eq!(code, 0, "{text}");
}

/// F32: the owner of the tokens pays, not a key that signs: it is told, and barred when its payments fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_vault_whose_payments_fail_is_barred_whoever_signs_beside_its_owner() {
    const FAILURES_MAX: u8 = 2;
    let world = World::start_with(|home| home.section("payers", "failures_max", i64::from(FAILURES_MAX))).await;
    let before = world.balances().await;
    for number in 0..FAILURES_MAX + 2 {
        let witness = world.witness(Change::Account).await;
        let call = Call { witness, ..Call::honest(Draft::default()) };
        let body = call.body_signed_too(&world.validator.chain, &Payer::numbered(600 + u64::from(number))).await;
        let verified = world.service.post("/verify", &body).await;
        let settled = if number < FAILURES_MAX {
            assert!(verified.is_good(), "{number}: {verified:?}");
            settle_after(&world.service, &world.proxy, &body, world.turn(Change::Account, witness)).await
        } else {
            world.service.post("/settle", &body).await
        };
        let (invalid, error) = if number < FAILURES_MAX {
            ("", "post_settlement_transfer_not_confirmed")
        } else {
            ("payer_failed_too_often", "payer_failed_too_often")
        };
        assert_eq!((verified.text("invalidReason"), settled.text("errorReason")), (invalid, error), "{settled:?}");
        for answer in [&verified, &settled] {
            assert_eq!(answer.text("payer"), call.vault().to_string(), "{answer:?}");
        }
    }
    // Three signatures, and the units as usual.
    assert_eq!(before.1 - world.balances().await.1, u64::from(FAILURES_MAX) * (FEE + 5_000));
    world.home.assert_audit();
}
