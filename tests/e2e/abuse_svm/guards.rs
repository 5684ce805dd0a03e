//! Assertions that strangers add to payments, so that they fail at our cost: what somebody can make fail without
//! moving the payer's money is refused by itself, and the rest costs a bounded amount.

use chains_svm::{
    local::{Instruction, Payer, Pubkey, USDC, program_of},
    token::associated_account,
};
use e2e::{
    guard::{self, AT_LEAST, EQUAL},
    proxy::Proxy,
    service::Service,
    svm::Draft,
    validator::{TOKENS, Validator, fee_payer, payee},
};
use futures::future::join_all;

use super::serve;

/// The fee of a payment with guards: 60,000 units at a millionth of a lamport, rounded up.
const GUARDED_FEE: u64 = 10_001;

fn tokens_of(owner: &Pubkey) -> Pubkey {
    associated_account(owner, &USDC, &program_of(&USDC))
}

/// Every instruction of Lighthouse, by its number, and whether a payment may bring it.
fn instructions() -> Vec<(&'static str, Instruction, bool)> {
    let (payer, ours) = (Payer::numbered(0).address(), fee_payer().address());
    let (source, destination) = (tokens_of(&payer), tokens_of(&payee().address()));
    let stranger = tokens_of(&Payer::numbered(1).address());
    let one = |account: Pubkey, data: &[u8]| guard::reading(&[account], data);
    let anything = |kind: u8| guard::reading(&[source], &[kind, 0, 0, 0]);
    vec![
        // The first, as the payer then has what it began with.
        ("9 AssertTokenAccount: the payer has exactly", guard::tokens(source, EQUAL, TOKENS), true),
        ("0 MemoryWrite", anything(0), false),
        ("1 MemoryClose", anything(1), false),
        ("2 AssertAccountData of the payer's tokens", one(source, &[2, 0, 64, 7, 0, 0]), true),
        ("2 AssertAccountData of the payee's tokens", one(destination, &[2, 0, 64, 7, 0, 0]), false),
        ("2 AssertAccountData of the token", one(USDC, &[2, 0, 36, 7, 0, 0]), false),
        ("2 AssertAccountData of somebody else", one(stranger, &[2, 0, 64, 7, 0, 0]), false),
        ("3 AssertAccountDataMulti of the payer's tokens", one(source, &[3, 0, 1, 64, 7, 0, 0]), true),
        ("3 AssertAccountDataMulti of the payee's tokens", one(destination, &[3, 0, 1, 64, 7, 0, 0]), false),
        ("4 AssertAccountDelta of the payer's tokens", guard::reading(&[source, source], &[4, 0, 0]), true),
        ("4 AssertAccountDelta with the payee's", guard::reading(&[source, destination], &[4, 0, 0]), false),
        ("5 AssertAccountInfo: the payer keeps so much", guard::lamports(payer, AT_LEAST, 1), true),
        ("5 AssertAccountInfo: the payer has exactly", guard::lamports(payer, EQUAL, 1), false),
        ("5 AssertAccountInfo: our balance is exactly", guard::lamports(ours, EQUAL, 1), false),
        ("5 AssertAccountInfo: we keep what leaves room", guard::lamports(ours, AT_LEAST, 1), true),
        ("6 AssertAccountInfoMulti of our owner", one(ours, &[6, 4, 1, 3, 0, 0]), true),
        ("6 AssertAccountInfoMulti of somebody else", one(stranger, &[6, 4, 1, 3, 0, 0]), false),
        ("7 AssertMintAccount: its decimals", one(USDC, &[7, 0, 2, 6, 0]), true),
        ("7 AssertMintAccount: its supply", one(USDC, &[[7, 0, 1].as_slice(), &[0; 9]].concat()), false),
        ("8 AssertMintAccountMulti: that it is one", one(USDC, &[8, 0, 1, 3, 1, 0]), true),
        ("9 AssertTokenAccount: the payee has no less", guard::tokens(destination, AT_LEAST, 0), true),
        ("9 AssertTokenAccount: the payee has exactly", guard::tokens(destination, EQUAL, 0), false),
        ("10 AssertTokenAccountMulti: no delegate", one(source, &[10, 0, 1, 3, 0, 0]), true),
        ("11 AssertStakeAccount", anything(11), false),
        ("12 AssertStakeAccountMulti", anything(12), false),
        ("13 AssertUpgradeableLoaderAccount", anything(13), false),
        ("14 AssertUpgradeableLoaderAccountMulti", anything(14), false),
        ("15 AssertSysvarClock", guard::reading(&[], &[15, 0, 0, 0]), false),
        ("16 AssertMerkleTreeAccount", anything(16), false),
        ("17 AssertBubblegumTreeConfigAccount", anything(17), false),
        ("18 is none", anything(18), false),
    ]
}

/// F30: one case for each instruction.
#[tokio::test(flavor = "multi_thread")]
async fn each_assertion_of_lighthouse_pays_or_is_refused_before_anything_is_asked_or_spent() {
    let validator = Validator::start().await;
    let proxy = Proxy::before(validator.chain.url()).await;
    let (home, service) = serve(&validator, &proxy.url).await;
    let coins = async || validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance");
    let mut before = coins().await;
    for (name, assertion, may) in instructions() {
        let body = guard::body(Draft::default(), &[assertion], &validator.chain).await;
        let asked = proxy.calls("simulateTransaction");
        let settled = service.post("/settle", &body).await;
        assert_eq!(settled.is_good(), may, "{name}: {settled:?}\n{}", home.log());
        let after = coins().await;
        if may {
            assert_eq!(before - after, GUARDED_FEE, "{name}");
        } else {
            let code = settled.text("errorReason");
            assert!(code.starts_with("invalid_exact_svm_payload_unknown_"), "{name}: {settled:?}");
            assert_eq!((proxy.calls("simulateTransaction"), after), (asked, before), "{name}: it costs nothing");
        }
        before = after;
    }
    home.assert_audit();
}

/// F30: each of a payer's payments asserts what it has now, so that all but the first fail: at most as many as a
/// payer may fail are under way at a time, then it is barred.
#[tokio::test(flavor = "multi_thread")]
async fn payments_that_make_each_other_fail_cost_what_one_payer_may_fail() {
    const PAYMENTS: usize = 60;
    const FAILURES_MAX: u64 = 5;
    let validator = Validator::start().await;
    let (home, service) = serve(&validator, validator.chain.url()).await;
    let payer = || Payer::numbered(2);
    let coins = async || validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance");
    let before = coins().await;
    let all = guard::tokens(tokens_of(&payer().address()), EQUAL, TOKENS);
    let bodies = join_all(
        (0..PAYMENTS)
            .map(|_| async { guard::body(Draft::of(payer()), std::slice::from_ref(&all), &validator.chain).await }),
    )
    .await;
    let answers = join_all(bodies.iter().map(|body| service.post("/settle", body))).await;
    let settled = answers.iter().filter(|answer| answer.is_good()).count();
    assert_eq!(settled, 1, "{answers:?}");
    let cost = before - coins().await;
    assert!(cost <= (FAILURES_MAX + 1) * GUARDED_FEE, "{cost} lamports: {answers:?}");
    home.assert_audit();
}

/// F30: strangers are refused once failures have used up their budget, here from the start; those who have paid are
/// none, also after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_makes_no_stranger_of_a_payer_that_has_paid() {
    let validator = Validator::start().await;
    let (home, service) = serve(&validator, validator.chain.url()).await;
    let pay = async |service: &Service, payer| {
        let body = Draft::of(Payer::numbered(payer)).body(&validator.chain, 2).await;
        service.post("/settle", &body).await
    };
    let paid = pay(&service, 0).await;
    assert!(paid.is_good(), "{paid:?}");
    assert_eq!(service.stop(), Some(0));
    let home = home.network("lamports_lost_per_hour_strangers_max", 0);
    let service = home.serve().await;
    let (known, stranger) = (pay(&service, 0).await, pay(&service, 1).await);
    assert!(known.is_good(), "{known:?}\n{}", home.log());
    assert_eq!((stranger.status, stranger.text("transaction")), (503, ""), "{stranger:?}");
    assert!(stranger.text("errorMessage").contains("have not paid here before"), "{stranger:?}");
    home.assert_audit();
}
