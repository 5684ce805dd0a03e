//! Wallets that are programs pay, where the operator allows it: what they
//! would do decides in `/verify`, what they have done in `/settle`.

use chains_svm::local::{PYUSD, Payer, Pubkey, USDC};
use e2e::{
    service::{Home, Service},
    svm::Draft,
    validator::{Validator, fee_payer, payee},
    wallet::{Call, PROGRAM, Transfer},
};
use futures::future::join_all;

/// The number of callers that ask for the one message at a time.
const CALLERS: usize = 50;

/// Two signatures, and 100,000 units at a millionth of a lamport, rounded up.
pub(crate) const FEE: u64 = 10_001;

/// Returns a home of a service that allows the wallet.
pub(crate) fn with_smart_wallets(validator: &Validator) -> Home {
    let programs = vec![PROGRAM.to_string()];
    Home::on(validator).network("smart_wallets", true).network("smart_wallet_programs", programs)
}

async fn start(validator: &Validator) -> (Home, Service) {
    let home = with_smart_wallets(validator);
    let service = home.serve().await;
    (home, service)
}

async fn tokens(validator: &Validator, owner: &Pubkey, mint: &Pubkey) -> u64 {
    validator.chain.token_balance(owner, mint).await.expect("a balance")
}

async fn coins(validator: &Validator) -> u64 {
    validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_wallet_pays_in_both_token_programs_and_costs_exactly_the_fee() {
    let validator = Validator::start().await;
    let (home, service) = start(&validator).await;
    for mint in [USDC, PYUSD] {
        let mut draft = Draft::default();
        draft.order.mint = mint;
        let call = Call::honest(draft);
        let (vault, payee) = (call.vault(), payee().address());
        let body = call.body(&validator.chain).await;
        let before =
            (tokens(&validator, &vault, &mint).await, tokens(&validator, &payee, &mint).await, coins(&validator).await);
        let verified = service.post("/verify", &body).await;
        assert!(verified.is_good(), "{mint}: {verified:?}");
        let settled = service.post("/settle", &body).await;
        assert!(settled.is_good(), "{mint}: {settled:?}\n{}", home.log());
        let again = service.post("/settle", &body).await;
        for answer in [&verified, &settled, &again] {
            assert_eq!(answer.text("payer"), vault.to_string(), "whose tokens they are: {answer:?}");
        }
        let after =
            (tokens(&validator, &vault, &mint).await, tokens(&validator, &payee, &mint).await, coins(&validator).await);
        assert_eq!(after, (before.0 - 10_000, before.1 + 10_000, before.2 - FEE), "{mint}");
    }
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_would_not_pay_once_and_in_full_is_refused_for_nothing() {
    let validator = Validator::start().await;
    let (home, service) = start(&validator).await;
    let (payee, other) = (payee().address(), Payer::numbered(1).address());
    let cases: [(&str, Vec<Transfer>, &str); 6] = [
        ("nothing", vec![], "no_transfer_in_simulation"),
        ("less", vec![(payee, 9_999)], "transfer_mismatch"),
        ("in two parts", vec![(payee, 5_000), (payee, 5_000)], "transfer_mismatch"),
        ("somebody else", vec![(other, 10_000)], "transfer_mismatch"),
        ("twice", vec![(payee, 10_000), (payee, 10_000)], "multiple_matching_transfers"),
        ("more than there is", vec![(payee, u64::MAX)], "simulation_failed"),
    ];
    let before = coins(&validator).await;
    for (name, transfers, code) in cases {
        let call = Call { transfers, ..Call::honest(Draft::default()) };
        let body = call.body(&validator.chain).await;
        let code = format!("invalid_exact_svm_smart_wallet_{code}");
        for (path, key) in [("/verify", "invalidReason"), ("/settle", "errorReason")] {
            let answer = service.post(path, &body).await;
            assert!(!answer.is_good() && answer.text(key) == code, "{name} {path}: {answer:?}");
        }
    }
    assert_eq!((tokens(&validator, &payee, &USDC).await, coins(&validator).await), (0, before), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_of_one_wallets_payment_get_one_success() {
    let validator = Validator::start().await;
    let (home, service) = start(&validator).await;
    let before = coins(&validator).await;
    let body = Call::honest(Draft::default()).body(&validator.chain).await;
    let answers = join_all((0..CALLERS).map(|_| service.post("/settle", &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_good()).count(), 1, "{answers:?}");
    let others = answers.iter().filter(|answer| !answer.is_good());
    assert!(others.clone().all(|answer| answer.text("errorReason") == "duplicate_settlement"), "{answers:?}");
    let payee = payee().address();
    assert_eq!((tokens(&validator, &payee, &USDC).await, coins(&validator).await), (10_000, before - FEE));
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}
