//! The price that a payment offers for its place in a block, which the fee payer pays.

use chains_svm::local::Payer;
use e2e::{
    proxy::Proxy,
    svm::Draft,
    validator::{Validator, fee_payer},
};
use serde_json::{Value, json};

use super::serve;

const DEAR: &str = "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high";

/// The price that is always accepted, and the ceiling, as the configuration comes.
const FLOOR: u64 = 100_000;
const CEILING: u64 = 5_000_000;

/// F31: prices are in millionths of a lamport; a payment has 20,000 units.
#[tokio::test(flavor = "multi_thread")]
async fn a_price_far_above_what_the_network_asks_for_is_refused_and_costs_nothing() {
    let validator = Validator::start().await;
    let coins = async || validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance");
    // (the price of each block; `None`: the node does not tell, the highest that is accepted)
    for (asked, cap) in [(Some(0), FLOOR), (Some(50_000), 200_000), (Some(10_000_000), CEILING), (None, CEILING)] {
        let proxy = Proxy::before(validator.chain.url()).await;
        match asked {
            Some(price) => proxy.lie("getRecentPrioritizationFees", move |_, _| {
                json!((1..=20).map(|slot| json!({"slot": slot, "prioritizationFee": price})).collect::<Vec<Value>>())
            }),
            None => proxy.without(&["getRecentPrioritizationFees"]),
        }
        let (home, service) = serve(&validator, &proxy.url).await;
        for (price, may) in [(cap, true), (cap + 1, false)] {
            let before = coins().await;
            let mut draft = Draft::of(Payer::numbered(3));
            draft.order.unit_price = price;
            let settled = service.post("/settle", &draft.body(&validator.chain, 2).await).await;
            assert_eq!(settled.is_good(), may, "{asked:?} {price}: {settled:?}\n{}", home.log());
            assert!(may || settled.text("errorReason") == DEAR, "{asked:?} {price}: {settled:?}");
            let fee = if may { 10_000 + (20_000 * price).div_ceil(1_000_000) } else { 0 };
            assert_eq!(before - coins().await, fee, "{asked:?} {price}");
        }
    }
}
