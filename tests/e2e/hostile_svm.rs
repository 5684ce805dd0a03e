//! Many keys that are used for a few payments and thrown away, each in one of the ways that cost the fee payer
//! something: together they cost what the operator has set, and those who have paid before are served meanwhile.
//!
//! Longer by `HOSTILE_KEYS` and `HOSTILE_PAYMENTS`, such as 1000 and 10000.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use chains_svm::{
    exact::transaction::Transaction,
    local::{Instruction, Payer, Pubkey, USDC, program_of},
    token::associated_account,
};
use e2e::{
    eventually,
    guard::{self, EQUAL},
    proxy::Proxy,
    service::{Answer, Home, Service},
    svm::Draft,
    throwaway,
    validator::{Validator, fee_payer, payee},
    wallet::{Call, Witness},
};
use futures::{
    future::{Either, join, join_all, select},
    pin_mut,
    stream::{self, StreamExt},
};
use serde_json::Value;
use tokio::sync::watch;

use crate::smart_wallet_svm::with_smart_wallets;

/// Slots of 100 ms, so that what never lands expires soon.
const TICKS_PER_SLOT: u32 = 16;

/// Blocks after which what has not landed is known to be lost: a blockhash lives for 150, and final are those
/// behind the newest 32.
const EXPIRY: u64 = 210;

/// Keys and payments of a short run.
const KEYS: u64 = 63;
const PAYMENTS: u64 = 315;

/// Keys that attack at a time.
const AT_A_TIME: usize = 21;

/// Payers that have paid before, each so often, and go on one payment after the other.
const HONEST: u64 = 4;
const PAID_BEFORE: usize = 20;

/// The lamports that may be lost in an hour: some 60 payments, of which strangers may have half.
const BUDGET: u64 = 600_000;
const STRANGERS: u64 = 300_000;

/// Returns a number of the environment.
fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().map_or(usual, |text| text.parse().expect("a number"))
}

/// One way to cost the fee payer something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// The money is moved away while the payments are under way.
    MovesTheMoney,
    /// Each payment asserts what the others change.
    BreaksItsOwnGuards,
    /// A wallet pays in the simulation and not on chain.
    PaysInTheSimulation,
    /// No leader ever gets the payments.
    NeverLands,
    /// Each payment asserts that it is not late.
    AssertsTheClock,
    /// Each offers the highest price.
    IsDear,
    /// One payment is brought again and again.
    Repeats,
}

impl Attack {
    const ALL: [Self; 7] = [
        Self::MovesTheMoney,
        Self::BreaksItsOwnGuards,
        Self::PaysInTheSimulation,
        Self::NeverLands,
        Self::AssertsTheClock,
        Self::IsDear,
        Self::Repeats,
    ];
}

/// Transactions of these keys reach no leader.
#[derive(Clone, Debug, Default)]
struct Held {
    keys: Arc<Mutex<HashSet<Pubkey>>>,
    /// The keys of which one was held up.
    seen: Arc<Mutex<HashSet<Pubkey>>>,
}

impl Held {
    fn before(proxy: &Proxy) -> Self {
        let held = Self::default();
        let rule = held.clone();
        proxy.refuse_when("sendTransaction", move |params| rule.refuse(params));
        held
    }

    fn refuse(&self, params: &Value) -> Option<(i64, String)> {
        let transaction = Transaction::decode(params[0].as_str()?).ok()?;
        let keys = self.keys.lock().expect("held");
        let key = transaction.signers().iter().find(|key| keys.contains(key))?;
        self.seen.lock().expect("held").insert(*key);
        Some((-32_005, "Node is behind by 60 slots".to_owned()))
    }

    fn hold(&self, key: Pubkey) {
        self.keys.lock().expect("held").insert(key);
    }

    fn let_go(&self, key: &Pubkey) {
        self.keys.lock().expect("held").remove(key);
    }

    async fn has_seen(&self, key: &Pubkey) {
        eventually("a payment is sent", || async { self.seen.lock().expect("held").contains(key).then_some(()) }).await;
    }
}

struct World {
    validator: Validator,
    held: Held,
    home: Home,
    service: Service,
}

impl World {
    async fn start(keys: u64) -> Self {
        let validator = Validator::start_among(TICKS_PER_SLOT, |genesis| throwaway::fund(genesis, keys)).await;
        let proxy = Proxy::before(validator.chain.url()).await;
        let held = Held::before(&proxy);
        let lamports = |lamports: u64| i64::try_from(lamports).expect("small");
        let home = with_smart_wallets(&validator)
            .rpc(&[&proxy.url])
            .server("settle_wait", "5s")
            .network("lamports_lost_per_hour_max", lamports(BUDGET))
            .network("lamports_lost_per_hour_key_max", lamports(BUDGET))
            .network("lamports_lost_per_hour_code_max", lamports(STRANGERS))
            .network("lamports_lost_per_hour_strangers_max", lamports(STRANGERS));
        let service = home.serve().await;
        Self { validator, held, home, service }
    }

    async fn coins(&self) -> u64 {
        self.validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance")
    }

    async fn settle(&self, bodies: &[Value]) -> Vec<Answer> {
        join_all(bodies.iter().map(|body| self.service.post("/settle", body))).await
    }

    /// Pays once, as an honest payer; the payments are told apart by their memos.
    async fn pay(&self, payer: u64) -> Answer {
        let body = Draft::of(Payer::numbered(payer)).body(&self.validator.chain, 2).await;
        self.service.post("/settle", &body).await
    }

    /// Pays until the attack is over.
    async fn go_on(&self, payer: u64, mut over: watch::Receiver<bool>) -> Vec<Answer> {
        let mut answers = vec![];
        while !*over.borrow_and_update() {
            answers.push(self.pay(payer).await);
        }
        answers
    }

    /// So many payments of one key.
    async fn attack(&self, attack: Attack, number: u64, payments: u64) -> Vec<Answer> {
        let key = throwaway::key(number);
        let bodies = self.bodies(attack, number, payments).await;
        match attack {
            Attack::MovesTheMoney => {
                self.held.hold(key.address());
                let settle = self.settle(&bodies);
                let address = key.address();
                let sent = self.held.has_seen(&address);
                pin_mut!(settle, sent);
                match select(settle, sent).await {
                    // None was taken.
                    Either::Left((answers, _)) => answers,
                    Either::Right(((), settle)) => {
                        let moved = async {
                            self.validator.chain.send(key.key(), &[all_away(&key)]).await.expect("moved");
                            self.held.let_go(&address);
                        };
                        join(settle, moved).await.0
                    }
                }
            }
            Attack::NeverLands => {
                self.held.hold(key.address());
                self.settle(&bodies).await
            }
            Attack::BreaksItsOwnGuards
            | Attack::PaysInTheSimulation
            | Attack::AssertsTheClock
            | Attack::IsDear
            | Attack::Repeats => self.settle(&bodies).await,
        }
    }

    async fn bodies(&self, attack: Attack, number: u64, payments: u64) -> Vec<Value> {
        let chain = &self.validator.chain;
        let draft = || {
            let mut draft = Draft::of(throwaway::key(number));
            draft.order.amount = 1_000;
            draft
        };
        let tokens = associated_account(&throwaway::key(number).address(), &USDC, &program_of(&USDC));
        let guarded = async |guard: Instruction| guard::body(draft(), &[guard], chain).await;
        let has = chain.token_balance(&payee().address(), &USDC).await.expect("a balance");
        let one = async |_| match attack {
            Attack::MovesTheMoney | Attack::NeverLands | Attack::Repeats => draft().body(chain, 2).await,
            Attack::BreaksItsOwnGuards => guarded(guard::tokens(tokens, EQUAL, throwaway::TOKENS)).await,
            Attack::AssertsTheClock => guarded(guard::reading(&[], &[15, 0, 0, 0])).await,
            Attack::PaysInTheSimulation => {
                let witness = Witness::tokens(&payee().address(), &USDC, has);
                Call { witness, ..Call::honest(draft()) }.body(chain).await
            }
            Attack::IsDear => {
                let mut draft = draft();
                draft.order.unit_price = 5_000_000;
                draft.body(chain, 2).await
            }
        };
        let mut bodies = join_all((0..payments).map(one)).await;
        if attack == Attack::Repeats {
            let first = bodies[0].clone();
            bodies.fill(first);
        }
        bodies
    }

    /// Waits until no blockhash of now is accepted any more, however slow the machine is.
    async fn blockhashes_expire(&self) {
        let height = async || self.validator.chain.client().get_block_height().await.unwrap_or(0);
        let now = height().await;
        for blocks in (0..=EXPIRY).step_by(30) {
            eventually("blocks are made", || async { (height().await >= now + blocks).then_some(()) }).await;
        }
    }

    /// The fees of settlements that ended as told, as the store has them.
    async fn fees(&self, answers: &[Answer]) -> (u64, u64) {
        let ids: HashSet<&str> = answers.iter().map(Answer::settlement_id).filter(|id| !id.is_empty()).collect();
        let rows = stream::iter(ids).map(|id| self.ended(id)).buffer_unordered(16).collect::<Vec<_>>().await;
        let sum = |state: &str| {
            let of_state = rows.iter().filter(|row| row.text("state") == state);
            of_state.map(|row| row.text("feePaid").parse::<u64>().unwrap_or(0)).sum()
        };
        (sum("settled"), sum("failed"))
    }

    async fn ended(&self, id: &str) -> Answer {
        eventually(&format!("settlement {id} ends"), || async {
            let row = self.service.settlement(id).await;
            ["settled", "failed"].contains(&row.text("state")).then_some(row)
        })
        .await
    }
}

/// All tokens of a key, to somebody who is not the payee.
fn all_away(key: &Payer) -> Instruction {
    let mut order = Draft::default().order;
    (order.pay_to, order.amount) = (Payer::numbered(15).address(), throwaway::TOKENS);
    order.instructions(&key.address()).swap_remove(2)
}

/// F30 to F33 at once.
#[expect(clippy::print_stdout, reason = "a long run is made for its figures")]
#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_throwaway_keys_costs_the_budget_and_payers_with_a_record_are_served_throughout() {
    let (keys, payments) = (number("HOSTILE_KEYS", KEYS), number("HOSTILE_PAYMENTS", PAYMENTS));
    let world = World::start(keys).await;
    let before = world.coins().await;
    for _ in 0..PAID_BEFORE {
        let answers = join_all((0..HONEST).map(|payer| world.pay(payer))).await;
        assert!(answers.iter().all(Answer::is_good), "{answers:?}\n{}", world.home.log());
    }
    let so_far = before - world.coins().await;

    let (tell, over) = watch::channel(false);
    let attack = async {
        let numbers = (0..keys).zip(Attack::ALL.into_iter().cycle());
        let each = |(number, attack)| {
            let world = &world;
            async move { (attack, world.attack(attack, number, payments / keys).await) }
        };
        let attacked: Vec<_> = stream::iter(numbers).map(each).buffer_unordered(AT_A_TIME).collect().await;
        tell.send_replace(true);
        attacked
    };
    let honest = join_all((0..HONEST).map(|payer| world.go_on(payer, over.clone())));
    let (attacked, honest) = join(attack, honest).await;

    let honest: Vec<Answer> = honest.into_iter().flatten().collect();
    let served = honest.iter().filter(|answer| answer.is_good()).count();
    world.blockhashes_expire().await;
    let hostile: Vec<Answer> = attacked.iter().flat_map(|(_, answers)| answers.iter().cloned()).collect();
    let (paid, lost) = world.fees(&hostile).await;
    let (own, _) = world.fees(&honest).await;
    let spent = before - world.coins().await;
    println!(
        "{} hostile payments by {keys} keys: {lost} lamports are lost of {BUDGET}, {paid} are fees of what was paid; \
         {served} of {} honest payments are served",
        hostile.len(),
        honest.len()
    );
    assert!(lost > 0 && lost <= BUDGET, "{lost} lamports are lost");
    assert_eq!(spent, so_far + paid + lost + own, "every lamport is in the store");
    let bad = honest.iter().find(|answer| !answer.is_good());
    assert!(served * 100 >= honest.len() * 99, "{served} of {}: {bad:?}\n{}", honest.len(), world.home.log());
    for (attack, answers) in &attacked {
        let refused = matches!(attack, Attack::AssertsTheClock | Attack::IsDear);
        let good = answers.iter().filter(|answer| answer.is_good()).count();
        assert!(!refused || good == 0, "{attack:?}: {answers:?}");
        assert!(*attack != Attack::Repeats || good <= 1, "{attack:?}: {answers:?}");
    }
    world.home.assert_audit();
}
