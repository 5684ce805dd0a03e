//! A payment by Permit2 in scheme `exact` is judged and settled as the protocol says.

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    node::parse_quantity,
    permit2::{Permit2Draft, allow},
    service::{Answer, Home},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_good_payment_is_verified_settled_and_paid_exactly_once() {
    let chain = Anvil::start().await;
    let home = Home::new(&chain);
    let service = home.serve().await;
    let draft = Permit2Draft::default();
    allow(&chain, &draft.from, u128::MAX).await;
    let before = chain.node.token_balance(USDC, PAYEE).await;
    let body = draft.body();
    let verified = service.post("/verify", &body).await;
    assert_eq!((verified.status, verified.is_good()), (200, true), "{verified:?}\n{}", home.log());
    assert_eq!(verified.text("payer"), draft.from);
    let settled = service.post("/settle", &body).await;
    assert_eq!((settled.status, settled.is_good()), (200, true), "{settled:?}\n{}", home.log());
    assert_eq!((settled.text("amount"), settled.text("network")), ("10000", "eip155:84532"));
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, before + 10_000);
    let again = service.post("/verify", &body).await;
    assert_eq!(again.text("invalidReason"), "permit2_simulation_failed", "{again:?}");
    assert!(again.text("invalidMessage").contains("InvalidNonce"), "{again:?}");
    let twice = service.post("/settle", &body).await;
    assert_eq!(twice.text("errorReason"), "duplicate_settlement", "{twice:?}");
    assert_eq!(twice.text("transaction"), settled.text("transaction"));
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    // The first settlement also pays for storage that every later one finds.
    let second = service.post("/settle", &Permit2Draft::default().body()).await;
    assert!(second.is_good(), "{second:?}");
    let gas = gas_of(&chain, &second).await;
    assert!(gas <= 98_000, "{gas}");
}

async fn gas_of(chain: &Anvil, settled: &Answer) -> u128 {
    let receipt = chain.node.call("eth_getTransactionReceipt", json!([settled.text("transaction")])).await;
    parse_quantity(&receipt["gasUsed"])
}
