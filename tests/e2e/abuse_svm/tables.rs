//! Accounts that hide in lookup tables: found where the runtime finds them, or
//! the payment is refused.

use chains_svm::{
    exact::transaction::Transaction,
    local::{AccountMeta, AddressLookupTableAccount, Payer, Pubkey, USDC},
};
use e2e::{
    service::{Home, Service},
    svm::Draft,
    tables,
    validator::{Validator, fee_payer, payee},
    wallet::Call,
};
use serde_json::Value;

use crate::smart_wallet_svm::{FEE, with_smart_wallets};

/// A fee payer of old: no longer announced, still ours.
fn former() -> Payer {
    Payer::numbered(900)
}

async fn start(validator: &Validator) -> (Home, Service) {
    let former = vec![former().secret().expose().to_owned()];
    let home = with_smart_wallets(validator).network("fee_payers_former", former);
    let service = home.serve().await;
    (home, service)
}

/// Returns the balances of the payee and the fee payer.
async fn balances(validator: &Validator) -> (u64, u64) {
    let paid = validator.chain.token_balance(&payee().address(), &USDC).await.expect("a balance");
    (paid, validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance"))
}

/// The accounts of the wallet's instruction that can stand in a table: all but the owner, who signs.
fn given(call: &Call) -> Vec<Pubkey> {
    call.instructions()[2].accounts[1..].iter().map(|meta| meta.pubkey).collect()
}

async fn body(validator: &Validator, call: &Call, tables: &[AddressLookupTableAccount], more: &[AccountMeta]) -> Value {
    let blockhash = validator.chain.blockhash().await.expect("a blockhash");
    let mut instructions = call.instructions();
    instructions[2].accounts.extend_from_slice(more);
    let Draft { payer, order } = &call.draft;
    let signed = payer.sign_with_tables(&order.fee_payer, &instructions, tables, blockhash).expect("signed");
    let read = Transaction::decode(signed["transaction"].as_str().expect("a text")).expect("sound");
    assert_eq!(read.lookups().len(), tables.len(), "all tables are used");
    call.draft.v2(&signed)
}

#[tokio::test(flavor = "multi_thread")]
async fn f16_a_wallets_accounts_may_stand_in_several_tables() {
    let validator = Validator::start().await;
    let (home, service) = start(&validator).await;
    let authority = Payer::numbered(9);
    let call = Call::honest(Draft::default());
    // Writable accounts and others in each of the first two, in another order than the wallet takes them.
    let [vault, source, mint, program, clock, payee] = given(&call).try_into().expect("six accounts");
    let mut known = vec![];
    for held in [vec![payee, program, mint], vec![mint, vault, source], vec![clock]] {
        known.push(tables::create(&validator.chain, &authority, &held).await);
    }
    let body = body(&validator, &call, &known, &[]).await;
    let before = balances(&validator).await;
    let verified = service.post("/verify", &body).await;
    assert!(verified.is_good(), "{verified:?}");
    let settled = service.post("/settle", &body).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(balances(&validator).await, (before.0 + 10_000, before.1 - FEE));
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f16_a_table_that_is_not_what_the_client_says_or_is_given_up_costs_nothing() {
    let validator = Validator::start().await;
    let (home, service) = start(&validator).await;
    let authority = Payer::numbered(9);
    let call = Call::honest(Draft::default());
    let addresses = given(&call);
    let ours = AccountMeta::new_readonly(former().address(), false);
    let failed = "invalid_exact_svm_smart_wallet_alt_resolution_failed";
    let isolated = "invalid_exact_svm_smart_wallet_fee_payer_not_isolated";

    let missing = AddressLookupTableAccount { key: Payer::numbered(901).address(), addresses: addresses.clone() };
    let mut short = tables::create(&validator.chain, &authority, &addresses[..5]).await;
    short.addresses.clone_from(&addresses);
    let all = [addresses.clone(), vec![ours.pubkey]].concat();
    let reaches_us = tables::create(&validator.chain, &authority, &all).await;
    let given_up = tables::create(&validator.chain, &authority, &addresses).await;
    let last = body(&validator, &call, std::slice::from_ref(&given_up), &[]).await;
    let before = balances(&validator).await;
    let verified = service.post("/verify", &last).await;
    assert!(verified.is_good(), "{verified:?}");
    tables::deactivate(&validator.chain, &authority, &given_up).await;
    let cases = [
        ("missing", body(&validator, &call, &[missing], &[]).await, failed),
        ("shorter", body(&validator, &call, &[short], &[]).await, failed),
        ("a key of ours", body(&validator, &call, &[reaches_us], &[ours]).await, isolated),
        ("given up after /verify", last, failed),
    ];
    for (name, body, code) in cases {
        for (path, key) in [("/settle", "errorReason"), ("/verify", "invalidReason")] {
            let answer = service.post(path, &body).await;
            assert!(!answer.is_good() && answer.text(key) == code, "{name} {path}: {answer:?}\n{}", home.log());
        }
    }
    assert_eq!(balances(&validator).await, before);
}
