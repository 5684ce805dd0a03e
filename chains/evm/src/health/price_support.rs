//! Finds out whether simulations can be made at the price that a transaction pays.

use alloy::primitives::{Bytes, U256};
use chains_core::{chain::ChainUnavailable, observation::Urgency};

use crate::{
    call_batcher,
    context::Context,
    rpc::error::CallError,
    simulation::{Price, Simulation},
};

/// Creation code whose "deployed code" is `tx.gasprice` and `block.basefee`.
const SAYS_PRICE: &str = "0x3a6000524860205260406000f3";

/// The finding about a node that does not: what was seen, what it means, what to do.
pub(crate) const SEEN: &str = "the node simulates at no gas price, whatever an eth_call names";
pub(crate) const MEANING: &str = "Wallets with code could behave otherwise on chain, at the gas wallets' cost";
pub(crate) const FIX: &str =
    "Use a node that heeds `maxFeePerGas` and state overrides, or set `contract_wallets = false`";

/// Looks, with as much gas to be paid for as simulations ever ask for.
pub(crate) async fn probe(context: &Context) -> Result<bool, ChainUnavailable> {
    if context.blocks.newest().is_none() {
        context.blocks.next(&context.rpc, None, Urgency::Closely).await?;
    }
    let Some(price) = context.price() else { return Ok(false) };
    let simulation = Simulation::of_creation(context.wallets.first(), SAYS_PRICE.to_owned(), call_batcher::GAS_MAX);
    match context.rpc.call::<Bytes>(simulation.call(Some(price), None)).await {
        Ok(answer) => Ok(is_heeded(&answer, price)),
        Err(CallError::Node { .. }) => Ok(false),
        Err(error) => Err(context.rpc.unavailable(error)),
    }
}

/// Pure: whether code saw what it would see in a transaction: the block's base
/// fee, and a price that covers it and no more than the tip besides (there are
/// rollups that take no tip).
fn is_heeded(answer: &[u8], price: Price) -> bool {
    let Ok(words) = <&[u8; 64]>::try_from(answer) else { return false };
    let number = |word: &[u8]| u128::try_from(U256::from_be_slice(word)).ok();
    let (gas_price, base_fee) = words.split_at(32);
    let (Some(gas_price), Some(base_fee)) = (number(gas_price), number(base_fee)) else { return false };
    let base_fee_is_there = base_fee > 0 || price.base_fee() == 0;
    let paid = price.paid(base_fee);
    base_fee_is_there && gas_price >= base_fee && gas_price <= paid && (gas_price > 0 || paid == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_heeds_the_price_when_code_sees_what_a_transaction_would() {
        let (usual, free) = (Price::after(100, 5), Price::after(0, 5));
        let cases = [
            ("as offered", usual, 105, 100, true),
            ("the base fee has risen", usual, 205, 200, true),
            ("a rollup without tips", usual, 100, 100, true),
            ("ignored", usual, 0, 0, false),
            ("ignored, base fee shown", usual, 0, 100, false),
            ("base fee hidden", usual, 5, 0, false),
            ("the offer shown as the price", usual, 420, 100, false),
            ("no base fee on this chain", free, 5, 0, true),
            ("ignored there", free, 0, 0, false),
            ("a chain where nothing is paid", Price::after(0, 0), 0, 0, true),
        ];
        for (name, price, gas_price, base_fee, expected) in cases {
            let answer = [U256::from(gas_price).to_be_bytes::<32>(), U256::from(base_fee).to_be_bytes()].concat();
            assert_eq!(is_heeded(&answer, price), expected, "{name}");
        }
        for answer in [&[][..], &[0; 63], &[0xff; 64]] {
            assert!(!is_heeded(answer, usual), "{answer:?}");
        }
    }
}
