//! `kill -9` at any moment, then recovery, then the audit.
//!
//! `CRASH_RUNS` sets how often; `./tests/run` does a few, the long run many.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::signers::local::PrivateKeySigner;
use chains_svm::local::{LocalChain, Payer, USDC as SVM_USDC};
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, PAYER, USDC},
    eventually,
    liar::Lie,
    liar_svm::SvmLie,
    payer::Draft,
    permit2::{Permit2Draft, allow},
    proxy::Proxy,
    service::{Home, Service, Stored},
    svm,
    validator::{PAYERS, Validator, fee_payer, payee},
};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::abuse_svm::FEE;

const RUNS: u32 = 6;

/// Callers at a time.
const CALLERS: u64 = 16;

pub fn runs() -> u32 {
    std::env::var("CRASH_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS)
}

/// Makes the body of a payment of this caller that was never made before.
type Draw = Arc<dyn Fn(u64) -> BoxFuture<'static, Value> + Send + Sync>;

/// The observations of all runs together.
#[derive(Default)]
struct Seen {
    successes: AtomicU64,
    begun: Mutex<Vec<Value>>,
}

/// Settles new payments until the service is gone; counts the successes.
async fn load(url: String, caller: u64, draw: Draw, seen: Arc<Seen>) {
    let client = e2e::http_client();
    loop {
        let body = draw(caller).await;
        seen.begun.lock().expect("no panic").push(body.clone());
        let Ok(answer) = client.post(format!("{url}/settle")).json(&body).send().await else { return };
        let Ok(answer) = answer.json::<Value>().await else { return };
        if answer["success"] == true {
            seen.successes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Everything that was begun is asked for again until it is decided; the
/// number of further successes.
async fn ask_again(service: &Service, begun: Vec<Value>) -> u64 {
    let asked = begun.iter().map(|body| async move {
        eventually("a payment is decided", || async {
            let answer = service.post("/settle", body).await;
            (answer.status == 200 && answer.text("errorReason") != "settlement_pending").then(|| answer.is_good())
        })
        .await
    });
    let good = futures::future::join_all(asked).await;
    u64::try_from(good.into_iter().filter(|good| *good).count()).expect("few")
}

/// Kills the service at some moment within two seconds, starts it again, and
/// has everything decided; the number of payments that were begun, and the
/// service that has decided them.
async fn crash(home: &Home, draw: &Draw, seen: &Arc<Seen>) -> (u64, Service) {
    let service = home.serve().await;
    let caller = |number| tokio::spawn(load(home.url.clone(), number, Arc::clone(draw), Arc::clone(seen)));
    let callers: Vec<_> = (0..CALLERS).map(caller).collect();
    // The moment is drawn anew each time.
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..2000))).await;
    service.kill();
    for task in callers {
        task.await.expect("no panic");
    }
    let begun = std::mem::take(&mut *seen.begun.lock().expect("no panic"));
    let payments = u64::try_from(begun.len()).expect("few");
    let service = home.serve().await;
    let more = ask_again(&service, begun).await;
    seen.successes.fetch_add(more, Ordering::Relaxed);
    (payments, service)
}

/// The minter's transactions go one after the other.
static MINTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// In each of the ways that take one transaction, a caller in its own.
async fn draw_evm(chain: &Anvil, caller: u64) -> Value {
    if caller % 4 < 3 {
        return draw_of_the_usual_payer(caller);
    }
    // A permit is good once: each has a payer of its own.
    let payer = PrivateKeySigner::random();
    let _alone = MINTING.lock().await;
    chain.mint(&payer.address().to_checksum(None), 10_000).await;
    Permit2Draft::default().of(&payer).with_permit().body()
}

/// In each of the ways for which a payer needs an approval at most.
fn draw_of_the_usual_payer(caller: u64) -> Value {
    match caller % 3 {
        0 => Draft::default().v2(),
        1 => Permit2Draft::default().body(),
        _ => Permit2Draft::upto(10_000).body(),
    }
}

/// Payments in each of the ways that take one transaction.
async fn draws(chain: &Arc<Anvil>) -> Draw {
    allow(chain, PAYER, u128::MAX).await;
    let chain = Arc::clone(chain);
    Arc::new(move |caller| {
        let chain = Arc::clone(&chain);
        Box::pin(async move { draw_evm(&chain, caller).await })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_paid_twice_when_the_process_is_killed_at_any_moment() {
    nothing_is_lost_or_paid_twice_when_the_process_is_killed_at_any_moment_in(Stored::of_environment()).await;
}

pub async fn nothing_is_lost_or_paid_twice_when_the_process_is_killed_at_any_moment_in(stored: Stored) {
    let chain = Arc::new(Anvil::start().await);
    let home = Home::on(&*chain)
        .stored_in(stored)
        .network("in_flight_max", 64)
        .network("fee_per_gas_max", "500000000000")
        .network("bump_after_blocks", 2);
    let leap = |_| tokio::spawn(leap(Arc::clone(&chain)));
    let draw = draws(&chain).await;
    let (payments, transactions) = crash_again_and_again(&chain, &home, draw, leap).await;
    assert_eq!(transactions, payments, "no transaction too many");
    assert!(home.log().contains("another takes its place"), "the base fee has left transactions behind");
}

/// Few places, so that many payments share a transaction while the process is killed and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_paid_twice_when_the_process_is_killed_with_batches_under_way() {
    let chain = Arc::new(Anvil::start().await);
    let home = Home::on(&*chain).network("in_flight_max", 2).with_batch_contract();
    let draw = draws(&chain).await;
    let (payments, transactions) = crash_again_and_again(&chain, &home, draw, |_| tokio::spawn(async {})).await;
    assert!(transactions < payments, "{transactions} transactions for {payments} payments: some were shared");
}

/// Lets the base fee fall, and at some moment within two seconds leap to fifty times as much.
async fn leap(chain: Arc<Anvil>) {
    for base_fee in ["0x3b9aca00", "0xba43b7400"] {
        {
            let _alone = MINTING.lock().await;
            chain.node.call("anvil_setNextBlockBaseFeePerGas", json!([base_fee])).await;
            chain.node.mine().await;
        }
        // The moment is drawn anew each time.
        tokio::time::sleep(Duration::from_millis(rand::random_range(300..2000))).await;
    }
}

/// H01: another node of three lies about something else after each crash, also while everything is decided. Blocks are
/// taken back, up to three at a time, and the base fee leaps.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_paid_twice_by_crashes_while_one_of_three_nodes_lies() {
    let chain = Arc::new(Anvil::start_with(&["--block-time", "1", "--slots-in-an-epoch", "2"]).await);
    let nodes = Proxy::three_before(&chain.node.url).await;
    let urls = nodes.each_ref().map(|node| node.url.as_str());
    let home = Home::on(&*chain)
        .rpc(&urls)
        .network("in_flight_max", 64)
        .network("fee_per_gas_max", "500000000000")
        .network("bump_after_blocks", 2);
    let draw = lasting_draws(&chain).await;
    let taken_back = Arc::new(AtomicU64::new(0));
    let trouble = |run: usize| {
        nodes.iter().for_each(Proxy::heal);
        nodes[run % nodes.len()].tell(Lie::ALL[run % Lie::ALL.len()]);
        let (chain, taken_back) = (Arc::clone(&chain), Arc::clone(&taken_back));
        tokio::spawn(async move {
            let ((), transactions) = tokio::join!(leap(Arc::clone(&chain)), take_back(&chain));
            taken_back.fetch_add(transactions, Ordering::Relaxed);
        })
    };
    let (payments, transactions) = crash_again_and_again(&chain, &home, draw, trouble).await;
    assert_eq!(transactions, payments, "no transaction too many");
    assert!(taken_back.load(Ordering::Relaxed) > 0, "the chain has taken transactions back");
}

/// Takes back one to three blocks at some moment within a second after a block with a transaction of the gas wallet;
/// the number of its transactions in them.
async fn take_back(chain: &Anvil) -> u64 {
    let sent = async || u64::try_from(chain.node.transactions_of(GAS_WALLET).await).expect("few");
    let earlier = sent().await;
    eventually("a block has a transaction", || async { (sent().await > earlier).then_some(()) }).await;
    // The moment is drawn anew each time.
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..1000))).await;
    let before = sent().await;
    chain.node.call("anvil_reorg", json!([rand::random_range(1..=3), []])).await;
    before.saturating_sub(sent().await)
}

/// Payments whose payers have had their money and approvals for longer than any block is taken back.
async fn lasting_draws(chain: &Anvil) -> Draw {
    allow(chain, PAYER, u128::MAX).await;
    chain.node.call("anvil_mine", json!([4])).await;
    Arc::new(|caller| Box::pin(async move { draw_of_the_usual_payer(caller) }))
}

/// Begins some trouble before each crash; the number of payments, and of the transactions that the gas wallet has sent for them.
async fn crash_again_and_again(
    chain: &Anvil,
    home: &Home,
    draw: Draw,
    before: impl Fn(usize) -> JoinHandle<()>,
) -> (u64, u64) {
    let sent = async || u64::try_from(chain.node.transactions_of(GAS_WALLET).await).expect("few");
    let paid = async || chain.node.token_balance(USDC, PAYEE).await;
    let earlier = sent().await;
    let (seen, mut payments) = (Arc::new(Seen::default()), 0);
    for run in 0..runs() {
        let trouble = before(usize::try_from(run).expect("few"));
        let (begun, service) = crash(home, &draw, &seen).await;
        trouble.await.expect("no panic");
        payments += begun;
        let due = u128::from(payments) * 10_000;
        let all_paid = eventually("transfers that were taken back are made again", || async {
            (paid().await >= due).then_some(())
        });
        // Before `eventually` gives up, so that the log is shown.
        let paid_in_time = tokio::time::timeout(Duration::from_secs(55), all_paid).await;
        assert!(paid_in_time.is_ok(), "run {run}: {} of {due} are paid\n{}", paid().await, home.log());
        drop(service);
        home.assert_audit();
        assert_eq!(paid().await, due, "run {run}: every payment is paid exactly once");
        let successes = seen.successes.load(Ordering::Relaxed);
        assert!(successes <= payments, "run {run}: {successes} successes of {payments} payments");
        let transactions = sent().await - earlier;
        assert!(transactions <= payments, "run {run}: {transactions} transactions for {payments} payments");
    }
    (payments, sent().await - earlier)
}

/// H01: after each crash another node of three lies about something, or has no history.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_paid_twice_on_solana_either() {
    let validator = Validator::start().await;
    let nodes = Proxy::three_before(validator.chain.url()).await;
    let home = Home::on(&validator).rpc(&nodes.each_ref().map(|node| node.url.as_str()));
    let coins = validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance");
    let chain = Arc::new(LocalChain::at(validator.chain.url()));
    let draw: Draw = Arc::new(move |caller| {
        let chain = Arc::clone(&chain);
        Box::pin(async move { svm::Draft::of(Payer::numbered(caller % PAYERS)).body(&chain, 2).await })
    });
    let (seen, mut payments) = (Arc::new(Seen::default()), 0);
    for run in 0..runs() {
        let number = usize::try_from(run).expect("few");
        nodes.iter().for_each(Proxy::heal);
        nodes[number % nodes.len()].tell_svm(SvmLie::ALL[number % SvmLie::ALL.len()]);
        payments += crash(&home, &draw, &seen).await.0;
        home.assert_audit();
        let paid = validator.chain.token_balance(&payee().address(), &SVM_USDC).await.expect("a balance");
        assert_eq!(paid, payments * 10_000, "run {run}: every payment is paid exactly once");
        let successes = seen.successes.load(Ordering::Relaxed);
        assert!(successes <= payments, "run {run}: {successes} successes of {payments} payments");
        let spent = coins - validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance");
        assert_eq!(spent, payments * FEE, "run {run}: no transaction too many");
    }
}
