//! Thousands of payments on Solana between token accounts in states of all kinds, most of them wrong in one way or
//! several, before this service, which looks at the accounts alone, and before a validator, which executes the token
//! program: never good here and refused there.

use std::{collections::BTreeMap, time::Duration};

use chains_svm::{
    exact::transaction::Transaction,
    local::{Hash, Payer, Pubkey, USDC},
    programs,
    token::associated_account,
};
use e2e::{
    node::Node,
    service::{Home, Service, config::table},
    svm::Draft,
    token_states::{self, NATIVE_DECIMALS, NATIVE_MINT, Side, TokenState},
    validator::{TICKS_PER_SLOT, Validator},
};
use futures::stream::{self, StreamExt};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::Instant;
use toml::Table;

/// Payments, and the states that they run between.
const PAYMENTS: usize = 20_000;
const SOURCES: usize = 400;
const DESTINATIONS: usize = 150;
/// Those who sign.
const SIGNERS: usize = 18;

/// Payments that are asked about at a time.
const AT_A_TIME: usize = 64;
/// The age at which a blockhash is replaced: it lives for a minute.
const BLOCKHASH_AGE: Duration = Duration::from_secs(8);

/// One of so many payments is simulated all the same, at most.
const SAMPLED: usize = 256;

const SEED: u64 = 2026;
const AMOUNT: u64 = 10_000;
/// The first numbers of the payers and the payees of this test.
const FIRST_SIGNER: u64 = 5_000;
const FIRST_PAYEE: u64 = 6_000;

/// The refusals of accounts that no program leaves behind.
const UNHEARD_OF: [&str; 2] = ["is not an account of this token", "holds too much to take the amount"];

/// An account that pays, and the number of the payer who signs for it.
struct Source {
    address: Pubkey,
    mint: Pubkey,
    signer: u64,
}

/// Everything that payments are made of.
struct World {
    sources: Vec<Source>,
    /// Payees by their numbers, with the token that each is paid in.
    payees: Vec<(u64, Pubkey)>,
}

fn number(index: usize, first: u64) -> u64 {
    first + u64::try_from(index).expect("small")
}

/// One of seven tokens is made of lamports.
fn mint(rng: &mut StdRng) -> Pubkey {
    if rng.random_ratio(1, 7) { NATIVE_MINT } else { USDC }
}

/// None, one, or two things are wrong.
fn twisted(mut state: TokenState, side: Side, others: &[Pubkey], rng: &mut StdRng) -> TokenState {
    for _ in 0..[0, 0, 1, 1, 1, 2][rng.random_range(0..6)] {
        state.twist(side, AMOUNT, others, rng);
    }
    state
}

async fn start(rng: &mut StdRng) -> (Validator, World) {
    let signers: Vec<Pubkey> =
        (0..SIGNERS).map(|index| Payer::numbered(number(index, FIRST_SIGNER)).address()).collect();
    let mut world = World { sources: vec![], payees: vec![] };
    let validator = Validator::start_among(TICKS_PER_SLOT, |genesis| {
        token_states::put_native_mint(genesis);
        for (index, signer) in signers.iter().enumerate() {
            token_states::put_signer(genesis, signer, index);
        }
        let others = [signers.as_slice(), &[USDC, NATIVE_MINT, Payer::numbered(FIRST_PAYEE).address()]].concat();
        for index in 0..SOURCES {
            // The payer of whom nothing but coins is there has every third.
            let at = if index % 3 == 0 { 1 } else { rng.random_range(0..SIGNERS) };
            let (address, mint) = (Pubkey::new_from_array(rng.random()), mint(rng));
            let state = TokenState::good(mint, signers[at], 50_000);
            twisted(state, Side::Source, &others, rng).put(genesis, &address);
            world.sources.push(Source { address, mint, signer: number(at, FIRST_SIGNER) });
        }
        for index in 0..DESTINATIONS {
            let (payee, mint) = (number(index, FIRST_PAYEE), mint(rng));
            let owner = Payer::numbered(payee).address();
            let state = twisted(TokenState::good(mint, owner, 5), Side::Destination, &others, rng);
            state.put(genesis, &associated_account(&owner, &mint, &programs::TOKEN));
            world.payees.push((payee, mint));
        }
    })
    .await;
    (validator, world)
}

impl World {
    /// A payment between accounts that may be of two tokens, but seldom are.
    fn payment(&self, rng: &mut StdRng) -> Draft {
        let source = &self.sources[rng.random_range(0..self.sources.len())];
        let mut payee = self.payees[rng.random_range(0..self.payees.len())];
        while payee.1 != source.mint && rng.random_ratio(29, 30) {
            payee = self.payees[rng.random_range(0..self.payees.len())];
        }
        let mut draft = Draft::of(Payer::numbered(source.signer));
        let order = &mut draft.order;
        (order.mint, order.pay_to) = (payee.1, Payer::numbered(payee.0).address());
        order.amount = [AMOUNT, AMOUNT, AMOUNT, AMOUNT - 1, AMOUNT + 1, u64::MAX][rng.random_range(0..6)];
        (order.source, order.legacy) = (Some(source.address), rng.random());
        if order.mint == NATIVE_MINT {
            order.decimals = NATIVE_DECIMALS;
        }
        draft
    }
}

/// The two verdicts on a payment.
#[derive(Debug)]
struct Verdicts {
    /// The service's: none when it finds the payment good.
    refused: Option<String>,
    /// The validator's answer to a simulation.
    simulated: Value,
    /// The place of the payee's account in the transaction.
    paid_at: Option<usize>,
    draft: Draft,
}

async fn judge(service: &Service, node: &Node, draft: Draft, blockhash: Hash) -> Verdicts {
    let payload = draft.payer.sign(&draft.order, blockhash).expect("signed");
    let body = draft.v2(&payload);
    let options = json!({"encoding": "base64", "sigVerify": false, "commitment": "confirmed"});
    let (verified, simulated) = futures::join!(
        service.post("/verify", &body),
        node.call("simulateTransaction", json!([payload["transaction"], options]))
    );
    assert_eq!(verified.status, 200, "{verified:?}");
    let refused = (!verified.is_good()).then(|| verified.text("invalidMessage").to_owned());
    let destination = associated_account(&draft.order.pay_to, &draft.order.mint, &programs::TOKEN);
    let transaction = Transaction::decode(payload["transaction"].as_str().expect("a text")).expect("sound");
    let paid_at = transaction.accounts().iter().position(|account| *account == destination);
    Verdicts { refused, simulated: simulated["value"].clone(), paid_at, draft }
}

impl Verdicts {
    /// The rise of the payee's account in the simulation, and its owner there.
    fn credit(&self) -> Option<(u64, String)> {
        let balance = |key: &str| {
            let balances = self.simulated[key].as_array()?;
            balances.iter().find(|balance| balance["accountIndex"] == json!(self.paid_at)).cloned()
        };
        let amount = |balance: &Value| balance["uiTokenAmount"]["amount"].as_str()?.parse::<u64>().ok();
        let (pre, post) = (balance("preTokenBalances")?, balance("postTokenBalances")?);
        Some((amount(&post)? - amount(&pre)?, post["owner"].as_str()?.to_owned()))
    }

    /// The pair of verdicts in a word; a pair that must not be is a panic.
    fn kind(&self) -> &'static str {
        let fails = !self.simulated["err"].is_null();
        match &self.refused {
            None if fails => panic!("good here, and the token program refuses it: {self:?}"),
            None => {
                let paid = Some((self.draft.order.amount, self.draft.order.pay_to.to_string()));
                assert_eq!(self.credit(), paid, "good here, and the payee does not have it: {self:?}");
                "good"
            }
            Some(_) if fails => "bad",
            // The payee could not spend it, or it would be paid with its own tokens.
            Some(why) if why.contains("belongs to somebody else") => "stricter",
            // A multisig of another program, about which releases of the token program differ.
            Some(why) if why.contains("is moved by a multisig") => "stricter",
            // The program reads no more of an account than it needs, and lets sums overflow that no supply reaches:
            // no program leaves an account like that.
            Some(why) if UNHEARD_OF.iter().any(|words| why.contains(words)) => "unheard of",
            Some(_) => panic!("refused here, and the token program takes it: {self:?}"),
        }
    }
}

fn assets() -> [Table; 2] {
    [(USDC, "USDC", 6_i64), (NATIVE_MINT, "SOL", i64::from(NATIVE_DECIMALS))].map(|(mint, symbol, decimals)| {
        table([
            ("mint", mint.to_string().into()),
            ("symbol", symbol.into()),
            ("decimals", decimals.into()),
            ("amount_min", "1".into()),
        ])
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_payments_are_never_good_by_their_accounts_where_the_token_program_refuses_them() {
    let mut rng = StdRng::seed_from_u64(SEED);
    let (validator, world) = start(&mut rng).await;
    let home = assets().into_iter().fold(Home::on(&validator), Home::asset);
    let service = home.serve().await;
    let node = Node::at(validator.chain.url());
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut left = PAYMENTS;
    while left > 0 {
        let blockhash = validator.chain.blockhash().await.expect("a blockhash");
        let began = Instant::now();
        let drafts = std::iter::from_fn(|| (began.elapsed() < BLOCKHASH_AGE).then(|| world.payment(&mut rng)));
        let judged = stream::iter(drafts.take(left)).map(|draft| judge(&service, &node, draft, blockhash));
        let verdicts: Vec<Verdicts> = judged.buffer_unordered(AT_A_TIME).collect().await;
        left -= verdicts.len();
        for verdicts in &verdicts {
            *kinds.entry(verdicts.kind()).or_default() += 1;
        }
    }
    for (kind, least) in [("good", 8), ("bad", 8), ("stricter", 100)] {
        let count = kinds.get(kind).copied().unwrap_or_default();
        assert!(count * least > PAYMENTS, "too few to show anything: {kinds:?}");
    }
    let metrics = home.metrics().await;
    let simulations = metrics.lines().filter(|line| line.contains("rpc_calls") && line.contains("simulateTransaction"));
    let simulated: usize = simulations.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum();
    assert!(simulated * SAMPLED <= PAYMENTS, "it simulated {simulated}, more than a sample of them");
    assert!(!home.log().contains("contradicts"), "{}", home.log());
}
