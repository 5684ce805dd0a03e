//! A message that was settled before, elsewhere or too long ago.

use chains_svm::local::USDC;
use e2e::{
    eventually,
    svm::Draft,
    validator::{Validator, fee_payer, payee},
};

use super::{FEE, serve};

/// Slots of 50 ms, so that a blockhash grows old in seconds.
const TICKS_PER_SLOT: u32 = 8;

/// After so many of its 150 blocks, fewer than 30 are left to a blockhash.
const BLOCKS: u64 = 125;

async fn paid(validator: &Validator) -> u64 {
    validator.chain.token_balance(&payee().address(), &USDC).await.expect("a balance")
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_a_restart_forgets_no_settled_message() {
    let validator = Validator::start().await;
    let (home, service) = serve(&validator, validator.chain.url()).await;
    let draft = Draft::default();
    let payload = draft.payload(&validator.chain).await;
    let settled = service.post("/settle", &draft.v2(&payload)).await;
    assert!(settled.is_good(), "{settled:?}");
    service.kill();
    let service = home.serve().await;
    for body in [draft.v2(&payload), draft.v1(&payload)] {
        let answer = service.post("/settle", &body).await;
        assert_eq!(answer.text("errorReason"), "duplicate_settlement", "{answer:?}");
        assert_eq!(answer.text("transaction"), settled.text("transaction"), "{answer:?}");
    }
    assert_eq!(paid(&validator).await, 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn f25_a_message_that_somebody_else_has_settled_is_no_success_here() {
    let validator = Validator::start().await;
    let (home, service) = serve(&validator, validator.chain.url()).await;
    let coins = validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance");
    let draft = Draft::default();
    let payload = draft.payload(&validator.chain).await;
    validator.chain.submit(&fee_payer().cosign(&payload).expect("a transaction")).await.expect("confirmed");
    let verified = service.post("/verify", &draft.v2(&payload)).await;
    assert!(!verified.is_good(), "{verified:?}");
    let settled = service.post("/settle", &draft.v2(&payload)).await;
    assert!(!settled.is_good(), "{settled:?}");
    assert!(settled.text("errorMessage").contains("already"), "{settled:?}");
    assert_eq!(paid(&validator).await, 10_000);
    assert_eq!(coins - validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance"), FEE);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_a_blockhash_about_to_expire_is_refused_before_it_costs_anything() {
    let validator = Validator::start_with(TICKS_PER_SLOT).await;
    let (_home, service) = serve(&validator, validator.chain.url()).await;
    let draft = Draft::default();
    let body = draft.v2(&draft.payload(&validator.chain).await);
    let height = || async { validator.chain.client().get_block_height().await.expect("a height") };
    let old = height().await + BLOCKS;
    eventually("the blockhash grows old", || async { (height().await >= old).then_some(()) }).await;
    for (path, key) in [("/verify", "invalidReason"), ("/settle", "errorReason")] {
        let answer = service.post(path, &body).await;
        assert_eq!(answer.text(key), "invalid_exact_svm_blockhash_expiring", "{path}: {answer:?}");
    }
    assert_eq!(paid(&validator).await, 0);
}
