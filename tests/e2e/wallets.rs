//! Wallets that tell a simulation from a transaction.

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, PAYER, USDC},
    payer::Draft,
    permit2::{Permit2Draft, allow},
    service::Home,
};
use serde_json::Value;

/// A wallet of the usual payer, with money that Permit2 may take.
async fn deploy(chain: &Anvil, code: &str) -> String {
    let wallet = chain.deploy(&format!("{}{:0>64}", code.trim_end(), &PAYER[2..])).await;
    chain.mint(&wallet, 1_000_000).await;
    allow(chain, &wallet, u128::MAX).await;
    wallet
}

/// A payment from it by each method, with the code for a signature that it refuses.
fn payments(wallet: &str) -> [(Value, &'static str); 4] {
    let by_eip3009 = Draft { from: wallet.parse().expect("an address"), ..Draft::default() };
    let by_permit2 = |draft: Permit2Draft| Permit2Draft { from: wallet.to_owned(), ..draft }.body();
    [
        (by_eip3009.v2(), "invalid_exact_evm_signature"),
        (by_eip3009.v1(), "invalid_exact_evm_signature"),
        (by_permit2(Permit2Draft::default()), "invalid_permit2_signature"),
        (by_permit2(Permit2Draft::upto(10_000)), "invalid_permit2_signature"),
    ]
}

/// C07.
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_is_good_only_where_gas_costs_nothing_is_refused_and_costs_nothing() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let wallet = deploy(&chain, include_str!("../contracts/out/CallOnlyWallet.hex")).await;
    for (body, code) in payments(&wallet) {
        let verified = service.post("/verify", &body).await;
        assert_eq!((verified.status, verified.text("invalidReason")), (200, code), "{verified:?}");
        let settled = service.post("/settle", &body).await;
        assert_eq!((settled.status, settled.text("errorReason")), (200, code), "{settled:?}");
        assert_eq!(settled.body["transaction"], "");
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0, "no gas is spent");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 0);
    let honest = deploy(&chain, include_str!("../contracts/out/OwnerWallet.hex")).await;
    // Both spellings of the first are one payment.
    for (body, _) in payments(&honest).into_iter().skip(1) {
        let settled = service.post("/settle", &body).await;
        assert!(settled.is_good(), "an honest wallet pays: {settled:?}\n{}", home.log());
    }
    let doctor = String::from_utf8_lossy(&home.run(&["doctor", "--verbose"]).stdout).into_owned();
    assert!(doctor.contains("simulated at the gas price of a transaction"), "{doctor}");
}
