//! Many settlements share a transaction when there are more than places, each for itself.

use std::{collections::BTreeSet, sync::Arc};

use alloy::{primitives::U256, signers::local::PrivateKeySigner};
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, PAYER, USDC},
    eventually,
    node::parse_quantity,
    payer::{Draft, cancel_calldata, now},
    permit2::{PERMIT2, Permit2Draft, allow},
    service::{Answer, Home, Service, text_of},
    stranger::{STRANGER, send_first},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A payment that is being settled for a caller that waits.
struct Asked {
    body: Value,
    answer: JoinHandle<Answer>,
}

fn ask(service: &Arc<Service>, body: Value) -> Asked {
    let (service, sent) = (Arc::clone(service), body.clone());
    Asked { body, answer: tokio::spawn(async move { service.post("/settle", &sent).await }) }
}

/// A home with few places, whose gas wallet has a batch contract.
fn home(chain: &Anvil, places: u32) -> Home {
    let home = Home::on(chain).server("settle_wait", "40s").network("in_flight_max", i64::from(places));
    home.network("fee_per_gas_max", "500000000000").network("bump_after_blocks", 2).with_batch_contract()
}

/// Uses every place up, so that what comes next waits for the block that is made by hand.
async fn fill(chain: &Anvil, service: &Arc<Service>, places: u32) -> Vec<Asked> {
    chain.node.stop_blocks().await;
    let asked = (0..places).map(|_| ask(service, Draft::default().v2())).collect();
    in_pool(chain, places).await;
    asked
}

/// Waits until the pool holds so many transactions.
async fn in_pool(chain: &Anvil, count: u32) {
    let count = format!("{count:#x}");
    eventually("the transactions are in the pool", || async {
        (chain.node.try_call("txpool_status", json!([])).await?["pending"] == count).then_some(())
    })
    .await;
}

/// Makes the block that frees the places, and waits until what waited has taken them.
async fn free(chain: &Anvil, transactions: u32) {
    chain.node.mine().await;
    in_pool(chain, transactions).await;
}

/// A payer of its own with money, so that payments are told apart.
async fn payer(chain: &Anvil) -> PrivateKeySigner {
    let key = PrivateKeySigner::random();
    chain.mint(&key.address().to_checksum(None), 20_000).await;
    key
}

async fn receipt(chain: &Anvil, hash: &str) -> Value {
    chain.node.call("eth_getTransactionReceipt", json!([hash])).await
}

/// Scenario 27: what is cancelled, spent or overtaken fails or succeeds by itself, and the others are settled.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_batch_that_fails_fails_alone() {
    let chain = Anvil::start().await;
    allow(&chain, PAYER, u128::MAX).await;
    let home = home(&chain, 1);
    let service = Arc::new(home.serve().await);
    let poor = payer(&chain).await;
    let first = fill(&chain, &service, 1).await;
    let good: Vec<_> = (0..3).map(|_| Draft::default()).collect();
    // Both move the same money from the same payer to the same payee: only the contract's word tells them apart.
    let (twin, invalidated) = (Permit2Draft::default(), Permit2Draft::default());
    let (cancelled, overtaken) = (Draft::default(), Draft::default());
    let spent = Draft { value: U256::from(20_000), ..Draft::of(poor.clone()) };
    let mut fine: Vec<_> = good.iter().map(|draft| ask(&service, draft.v2())).collect();
    fine.push(ask(&service, twin.body()));
    let failing = [invalidated.body(), cancelled.v2(), spent.v2()].map(|body| ask(&service, body));
    let elsewhere = ask(&service, overtaken.v2());
    home.queued(8).await;
    free(&chain, 1).await;

    send_first(&chain, PAYER, PERMIT2, &json!(invalidated.invalidate_calldata())).await;
    send_first(&chain, STRANGER, USDC, &json!(cancel_calldata(&cancelled))).await;
    let foreign =
        send_first(&chain, "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f", USDC, &json!(overtaken.calldata())).await;
    let burn = format!("0xa9059cbb{:0>64}{:064x}", &STRANGER[2..], 1);
    let poor_address = poor.address().to_checksum(None);
    chain.node.call("anvil_impersonateAccount", json!([poor_address])).await;
    chain.node.call("anvil_setBalance", json!([poor_address, "0x3635c9adc5dea00000"])).await;
    send_first(&chain, &poor_address, USDC, &json!(burn)).await;
    chain.node.mine().await;
    chain.node.resume_blocks().await;

    for asked in first {
        assert!(asked.answer.await.expect("answered").is_good());
    }
    let mut hashes = BTreeSet::new();
    let mut shares = 0;
    for asked in fine {
        let settled = asked.answer.await.expect("answered");
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
        hashes.insert(settled.text("transaction").to_owned());
    }
    assert_eq!(hashes.len(), 1, "all in one transaction: {hashes:?}");
    let batch = hashes.pop_first().expect("one");
    let reasons =
        ["permit2_invalid_nonce", "invalid_exact_evm_nonce_already_used", "invalid_exact_evm_insufficient_balance"];
    for (asked, reason) in failing.into_iter().zip(reasons) {
        let failed = asked.answer.await.expect("answered");
        assert_eq!(failed.text("errorReason"), reason, "{failed:?}\n{}", home.log());
        let again = service.decided(&asked.body).await;
        assert_eq!(again.text("errorReason"), reason, "it stays failed: {again:?}");
    }
    let settled = elsewhere.answer.await.expect("answered");
    assert!(settled.is_good(), "the payee has the money: {settled:?}");
    assert_eq!(settled.text("transaction"), foreign, "by whoever came first");

    let receipt = receipt(&chain, &batch).await;
    let page = service.get("/settlements?limit=20").await;
    for found in page.body["settlements"].as_array().expect("a list") {
        let settlement = service.settlement(found["id"].as_str().expect("an id")).await;
        let attempt = &settlement.body["attempts"][0];
        if attempt["transaction"] == batch {
            assert_eq!(attempt["settlements"], 8, "{attempt}");
            shares += settlement.text("feePaid").parse::<u128>().expect("a share");
        }
    }
    assert_eq!(
        shares,
        parse_quantity(&receipt["gasUsed"]) * parse_quantity(&receipt["effectiveGasPrice"]),
        "the fee is shared"
    );
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 3, "the contract, the first payment, the batch");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 60_000);
    home.assert_audit();
}

/// Scenario 26: a payer with code, which could burn what the others need, goes alone; so does `upto`.
#[tokio::test(flavor = "multi_thread")]
async fn payers_with_code_and_upto_never_share_a_transaction() {
    let chain = Anvil::start().await;
    allow(&chain, PAYER, u128::MAX).await;
    let home = home(&chain, 3);
    let code = include_str!("../contracts/out/OwnerWallet.hex").trim_end();
    let wallet = chain.deploy(&format!("{code}{:0>64}", &PAYER[2..])).await;
    chain.mint(&wallet, 1_000_000).await;
    let service = Arc::new(home.serve().await);
    let first = fill(&chain, &service, 3).await;
    let by_contract = Draft { from: wallet.parse().expect("an address"), ..Draft::default() };
    let alone = [by_contract.v2(), Permit2Draft::upto(10_000).body()].map(|body| ask(&service, body));
    let together: Vec<_> = (0..4).map(|_| ask(&service, Draft::default().v2())).collect();
    home.queued(6).await;
    free(&chain, 3).await;
    chain.node.mine().await;
    chain.node.resume_blocks().await;
    let hash = async |asked: Asked| {
        let settled = asked.answer.await.expect("answered");
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
        settled.text("transaction").to_owned()
    };
    for asked in first {
        hash(asked).await;
    }
    let mut own = BTreeSet::new();
    for asked in alone {
        own.insert(hash(asked).await);
    }
    let mut shared = BTreeSet::new();
    for asked in together {
        shared.insert(hash(asked).await);
    }
    assert_eq!((own.len(), shared.len()), (2, 1), "{own:?} {shared:?}");
    assert!(own.is_disjoint(&shared));
    home.assert_audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_places_are_free_each_payment_has_a_transaction_of_its_own() {
    let chain = Anvil::start().await;
    let home = home(&chain, 16);
    let service = Arc::new(home.serve().await);
    chain.node.stop_blocks().await;
    let asked: Vec<_> = (0..12).map(|_| ask(&service, Draft::default().v2())).collect();
    in_pool(&chain, 12).await;
    chain.node.resume_blocks().await;
    for asked in asked {
        assert!(asked.answer.await.expect("answered").is_good());
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 13);
    home.assert_audit();
}

/// Without the contract, and with `batch = "off"`, nothing is shared, and both are said.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_contract_each_payment_goes_alone() {
    let chain = Anvil::start().await;
    let without = || Home::on(&chain).server("settle_wait", "40s").network("in_flight_max", 1);
    for (home, said) in [(without(), "there is no batch contract"), (without().network("batch", "off"), "`batch` is")] {
        let doctor = text_of(&home.run(&["doctor", "--verbose"]));
        assert!(doctor.contains(said), "{doctor}");
        let before = chain.node.transactions_of(GAS_WALLET).await;
        let service = Arc::new(home.serve().await);
        let mut asked = fill(&chain, &service, 1).await;
        asked.extend((0..2).map(|_| ask(&service, Draft::default().v2())));
        home.queued(2).await;
        chain.node.resume_blocks().await;
        for asked in asked {
            assert!(asked.answer.await.expect("answered").is_good());
        }
        assert_eq!(chain.node.transactions_of(GAS_WALLET).await, before + 3);
        home.assert_audit();
    }
    let checked = without().run(&["batch-contract", "check"]);
    assert_eq!(checked.status.code(), Some(1), "{}", text_of(&checked));
    let off = without().network("batch", "off").run(&["batch-contract", "deploy"]);
    assert!(text_of(&off).contains("nothing uses the contract"), "{}", text_of(&off));
}

/// A batch whose price falls behind is signed again with the same calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_bumped_with_the_same_settlements() {
    let chain = Anvil::start().await;
    let home = home(&chain, 1);
    let service = Arc::new(home.serve().await);
    let first = fill(&chain, &service, 1).await;
    let asked: Vec<_> = (0..5).map(|_| ask(&service, Draft::default().v2())).collect();
    home.queued(5).await;
    free(&chain, 1).await;
    // Fifty times what it was: the batch cannot be included at its price.
    for _ in 0..4 {
        chain.node.call("anvil_setNextBlockBaseFeePerGas", json!(["0xba43b7400"])).await;
        chain.node.mine().await;
    }
    eventually("the batch is bumped", || async {
        chain.node.call("anvil_setNextBlockBaseFeePerGas", json!(["0xba43b7400"])).await;
        chain.node.mine().await;
        (chain.node.transactions_of(GAS_WALLET).await == 3).then_some(())
    })
    .await;
    chain.node.resume_blocks().await;
    let mut hashes = BTreeSet::new();
    for asked in first.into_iter().chain(asked) {
        let settled = asked.answer.await.expect("answered");
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
        hashes.insert(settled.text("transaction").to_owned());
    }
    assert_eq!(hashes.len(), 2, "{hashes:?}");
    assert!(home.metric("replacements_total").await >= 1.0, "{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 60_000);
    home.assert_audit();
}

/// One that is no longer valid when its turn comes is left out, and the others go without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_has_ended_while_it_waited_is_left_out_of_the_batch() {
    let chain = Anvil::start().await;
    let home = home(&chain, 1);
    let service = Arc::new(home.serve().await);
    let first = fill(&chain, &service, 1).await;
    let short = Draft { valid_before: now() + 9, ..Draft::default() };
    let ends = ask(&service, short.v2());
    let asked: Vec<_> = (0..3).map(|_| ask(&service, Draft::default().v2())).collect();
    home.queued(4).await;
    // The chain's time is past its end with the next block.
    chain.node.call("evm_increaseTime", json!([12])).await;
    free(&chain, 1).await;
    chain.node.mine().await;
    chain.node.resume_blocks().await;
    let over = ends.answer.await.expect("answered");
    assert_eq!((over.is_good(), over.text("transaction")), (false, ""), "{over:?}");
    for asked in first.into_iter().chain(asked) {
        let settled = asked.answer.await.expect("answered");
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 3);
    home.assert_audit();
}
