//! Accounts that change between two looks at them: what was found a moment ago is not believed when money is spent,
//! and what was wrong may be right in a moment.

use std::time::{Duration, Instant};

use chains_svm::{
    local::{AccountMeta, Instruction, PYUSD, Payer, Pubkey, USDC, program_of},
    token::associated_account,
};
use e2e::{
    eventually,
    proxy::Proxy,
    service::Answer,
    svm::Draft,
    validator::{TOKENS, Validator},
};
use futures::future::join_all;
use serde_json::Value;

use super::{FEE, coins, serve, settle_after};

const FAILED: &str = "invalid_exact_svm_transaction_simulation_failed";
const UNPAID: &str = "post_settlement_transfer_not_confirmed";

/// The payments that one payer has verified before it takes its tokens away.
const VERIFIED: usize = 150;

/// The longest that a payment stays refused for what is mended: a few slots, on a busy machine.
const REFUSED_MAX: Duration = Duration::from_secs(5);

/// F26: as many fees as payments would be lost, at no cost to the payer.
#[tokio::test(flavor = "multi_thread")]
async fn f26_of_150_payments_found_good_none_is_sent_once_the_payer_has_emptied_its_account() {
    let validator = Validator::start().await;
    let (home, service) = serve(&validator, validator.chain.url()).await;
    let payer = Payer::numbered(1);
    let drafts: Vec<Draft> = (0..VERIFIED).map(|_| Draft::of(Payer::numbered(1))).collect();
    let bodies = join_all(drafts.iter().map(|draft| draft.body(&validator.chain, 2))).await;
    let verified = join_all(bodies.iter().map(|body| service.post("/verify", body))).await;
    assert!(verified.iter().all(Answer::is_good), "{verified:?}");

    let mut away = Draft::default().order;
    (away.pay_to, away.amount) = (Payer::numbered(2).address(), TOKENS);
    let transfer = away.instructions(&payer.address()).swap_remove(2);
    let before = coins(&validator).await;
    validator.chain.send(payer.key(), &[transfer]).await.expect("empty");

    let settled = join_all(bodies.iter().map(|body| service.post("/settle", body))).await;
    for answer in &settled {
        assert_eq!(answer.text("errorReason"), FAILED, "{answer:?}");
        assert!(answer.text("errorMessage").contains("holds too little"), "{answer:?}");
    }
    assert_eq!(coins(&validator).await, before, "nothing was sent\n{}", home.log());
    home.assert_audit();
}

/// A payment is asked about again until it is good; it was refused with these words.
async fn mended(service: &e2e::service::Service, body: &Value, since: Instant) {
    eventually("it is found good", || async { service.post("/verify", body).await.is_good().then_some(()) }).await;
    assert!(since.elapsed() < REFUSED_MAX, "refused for {:?} after it was mended", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_are_opened_or_filled_are_seen_within_a_slot_or_two() {
    let validator = Validator::start().await;
    let (home, service) = serve(&validator, validator.chain.url()).await;
    let chain = &validator.chain;
    let newcomer = Payer::numbered(77);
    let pays = Draft::of(Payer::numbered(77));
    let mut is_paid = Draft::of(Payer::numbered(1));
    is_paid.order.pay_to = newcomer.address();
    let (pays, is_paid) = (pays.body(chain, 2).await, is_paid.body(chain, 2).await);
    // (the payment, its refusal, the tokens that mend it)
    let cases = [(&is_paid, "must exist before the first payment", 1), (&pays, "holds too little", 10_000)];
    let absent = service.post("/verify", &pays).await;
    assert!(absent.text("invalidMessage").contains("the payer's token account does not exist"), "{absent:?}");
    for (body, words, tokens) in cases {
        let refused = eventually("it is refused for this", || async {
            let answer = service.post("/verify", body).await;
            answer.text("invalidMessage").contains(words).then_some(answer)
        });
        refused.await;
        chain.mint(&newcomer.address(), &USDC, tokens).await.expect("minted");
        mended(&service, body, Instant::now()).await;
    }
    for body in [&pays, &is_paid] {
        let settled = service.post("/settle", body).await;
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    }
    home.assert_audit();
}

/// Gives an owner's associated account to somebody else.
fn given(owner: &Payer, mint: &Pubkey, other: &Pubkey) -> Instruction {
    /// `SetAuthority`, `AccountOwner`, some.
    const SET_OWNER: [u8; 3] = [6, 2, 1];
    let program_id = program_of(mint);
    let accounts = vec![
        AccountMeta::new(associated_account(&owner.address(), mint, &program_id), false),
        AccountMeta::new_readonly(owner.address(), true),
    ];
    Instruction { program_id, accounts, data: [SET_OWNER.as_slice(), other.as_ref()].concat() }
}

/// The payee could not spend what it was paid.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_the_payee_has_given_to_somebody_else_is_not_paid() {
    let validator = Validator::start().await;
    let proxy = Proxy::before(validator.chain.url()).await;
    let (home, service) = serve(&validator, &proxy.url).await;
    let (payee, other) = (Payer::numbered(3), Payer::numbered(4).address());
    let mut drafts: Vec<Draft> = (0..3).map(|_| Draft::of(Payer::numbered(1))).collect();
    for draft in &mut drafts {
        draft.order.pay_to = payee.address();
    }
    // By the balances of the block that has it, a payment of Token-2022 is not done.
    drafts[0].order.mint = PYUSD;
    let bodies = join_all(drafts.iter().map(|draft| draft.body(&validator.chain, 2))).await;
    let (of_2022, of_2020) = bodies.split_first().expect("three");
    let give = |mint| {
        let gift = given(&payee, mint, &other);
        let (chain, key) = (&validator.chain, payee.key());
        async move { chain.send(key, &[gift]).await.expect("given") }
    };
    let unpaid = settle_after(&service, &proxy, of_2022, give(&PYUSD)).await;
    assert_eq!(unpaid.text("errorReason"), UNPAID, "{unpaid:?}");
    assert!(unpaid.text("errorMessage").contains("belongs to somebody else"), "{unpaid:?}");

    let verified = service.post("/verify", &of_2020[0]).await;
    assert!(verified.is_good(), "{verified:?}");
    let before = coins(&validator).await;
    give(&USDC).await;
    // One that was found good before, and one that was not looked at yet.
    for body in of_2020 {
        let settled = service.post("/settle", body).await;
        assert_eq!(settled.text("errorReason"), FAILED, "{settled:?}");
        assert!(settled.text("errorMessage").contains("payee's token account belongs to somebody else"), "{settled:?}");
    }
    assert_eq!(coins(&validator).await, before, "each fee is {FEE}\n{}", home.log());
    home.assert_audit();
}
