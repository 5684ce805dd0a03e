//! Failures of payers that no simulation foresees cost what the operator has set, and no more.

use alloy::{primitives::U256, signers::local::PrivateKeySigner};
use e2e::{
    anvil::{Anvil, GAS_WALLET, GAS_WALLET_KEY, PAYER},
    eventually,
    payer::Draft,
    service::{Answer, Home, Service},
};
use futures::future::join_all;
use serde_json::{Value, json};

/// A gas wallet with an odd address; that of the usual one is even.
const ODD_KEY: &str = "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a";
const ODD_WALLET: &str = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65";

/// Hostile payments of a test. About half pass the simulation, and half of those fail.
const PAYMENTS: u64 = 72;
/// Those that are made at once.
const AT_ONCE: usize = 12;
/// The blocks in which a refused one is tried.
const TRIES: usize = 5;

/// Ten gwei: a failure costs some 5e14 wei.
const TIP: &str = "10000000000";
/// About six failures.
const BUDGET: u128 = 3_000_000_000_000_000;
/// More than all failures of a test.
const PLENTY: &str = "1000000000000000000";

/// The thing whose parity decides in `CoinWallet`.
#[derive(Clone, Copy, Debug)]
enum Coin {
    Time,
    Number,
    GasPrice,
    Sender,
    Random,
}

/// Returns a home in which one budget is small and the others are not.
fn home(chain: &Anvil, small: &str) -> Home {
    let budgets = ["gas_lost_per_hour_max", "gas_lost_per_hour_key_max", "gas_lost_per_hour_code_max"];
    let home =
        Home::on(chain).network("tip_per_gas", TIP).server("settle_wait", "20s").wallets(&[GAS_WALLET_KEY, ODD_KEY]);
    budgets
        .into_iter()
        .fold(home, |home, key| home.network(key, if key == small { BUDGET.to_string() } else { PLENTY.to_owned() }))
}

/// Deploys a wallet of the usual payer; with another salt it has another code.
async fn deploy(chain: &Anvil, coin: Coin, salt: u64) -> String {
    let source = match coin {
        Coin::Time => 0,
        Coin::Number => 1,
        Coin::GasPrice => 2,
        Coin::Sender => 3,
        Coin::Random => 4,
    };
    let code = include_str!("../contracts/out/CoinWallet.hex").trim_end();
    let wallet = chain.deploy(&format!("{code}{:0>64}{source:064x}{salt:064x}", &PAYER[2..])).await;
    chain.mint(&wallet, 10_000).await;
    wallet
}

/// Brings every payment again in later blocks until it has cost a transaction, or is given up.
async fn attack(chain: &Anvil, service: &Service, wallets: &[String]) -> Vec<Answer> {
    let mut answers = vec![];
    for group in wallets.chunks(AT_ONCE) {
        let drafts = group.iter().map(|wallet| Draft { from: wallet.parse().expect("an address"), ..Draft::default() });
        let mut bodies: Vec<_> = drafts.map(|draft| draft.v2()).collect();
        for _ in 0..TRIES {
            let height = chain.node.quantity("eth_blockNumber", json!([])).await;
            let tried = join_all(bodies.iter().map(|body| service.post("/settle", body))).await;
            let (taken, refused): (Vec<_>, Vec<_>) =
                bodies.into_iter().zip(tried).partition(|(_, answer)| !answer.text("transaction").is_empty());
            answers.extend(taken.into_iter().map(|(_, answer)| answer));
            bodies = refused.into_iter().map(|(body, _)| body).collect();
            if bodies.is_empty() {
                break;
            }
            eventually("there is another block", || async {
                (chain.node.quantity("eth_blockNumber", json!([])).await > height).then_some(())
            })
            .await;
        }
    }
    answers
}

async fn costs_at_most_the_budget(coin: Coin, small: &str, salt: impl Fn(u64) -> u64) {
    let chain = Anvil::start().await;
    let home = home(&chain, small);
    let mut wallets = vec![];
    for number in 0..PAYMENTS {
        wallets.push(deploy(&chain, coin, salt(number)).await);
    }
    let service = home.serve().await;
    let answers = attack(&chain, &service, &wallets).await;
    let lost = chain.gas_lost(&[GAS_WALLET, ODD_WALLET]).await;
    assert!(lost <= BUDGET, "{coin:?}: {lost} wei are lost of {BUDGET}: {answers:?}");
    let honest = PrivateKeySigner::random();
    chain.mint(&honest.address().to_string(), 10_000).await;
    let settled = service.decided(&Draft { value: U256::from(10_000), ..Draft::of(honest) }.v2()).await;
    assert!(settled.is_good(), "{coin:?}: payers with a key are served meanwhile: {settled:?}\n{}", home.log());
    home.assert_audit();
}

/// K09: every wallet has a code of its own.
#[tokio::test(flavor = "multi_thread")]
async fn wallets_that_fail_by_the_time_cost_at_most_the_network_s_budget() {
    costs_at_most_the_budget(Coin::Time, "gas_lost_per_hour_max", |number| number).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wallets_that_fail_by_the_block_number_cost_at_most_the_network_s_budget() {
    costs_at_most_the_budget(Coin::Number, "gas_lost_per_hour_max", |number| number).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wallets_that_fail_by_the_gas_price_cost_at_most_the_network_s_budget() {
    costs_at_most_the_budget(Coin::GasPrice, "gas_lost_per_hour_max", |number| number).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wallets_that_fail_by_the_sender_cost_at_most_the_network_s_budget() {
    costs_at_most_the_budget(Coin::Sender, "gas_lost_per_hour_max", |number| number).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wallets_that_fail_by_the_block_s_random_number_cost_at_most_the_network_s_budget() {
    costs_at_most_the_budget(Coin::Random, "gas_lost_per_hour_max", |number| number).await;
}

/// K09: any number of wallets of one code.
#[tokio::test(flavor = "multi_thread")]
async fn wallets_of_one_code_cost_at_most_the_code_s_budget() {
    costs_at_most_the_budget(Coin::Random, "gas_lost_per_hour_code_max", |_| 0).await;
}

/// K09: one caller brings them all.
#[tokio::test(flavor = "multi_thread")]
async fn payments_of_one_caller_cost_at_most_the_key_s_budget() {
    costs_at_most_the_budget(Coin::Random, "gas_lost_per_hour_key_max", |number| number).await;
}

/// K09: what was lost before a restart counts after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_gives_no_new_budget() {
    let chain = Anvil::start().await;
    let home = home(&chain, "gas_lost_per_hour_max");
    let mut wallets = vec![];
    for number in 0..PAYMENTS {
        wallets.push(deploy(&chain, Coin::Random, number).await);
    }
    let mut answers: Vec<Value> = vec![];
    for part in wallets.chunks(wallets.len() / 3) {
        let service = home.serve().await;
        answers.extend(attack(&chain, &service, part).await.into_iter().map(|answer| answer.body));
        assert_eq!(service.stop(), Some(0));
    }
    let lost = chain.gas_lost(&[GAS_WALLET, ODD_WALLET]).await;
    assert!(lost <= BUDGET, "{lost} wei are lost of {BUDGET}: {answers:?}");
}
