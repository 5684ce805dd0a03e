//! The least price for which an endpoint takes transactions, found out without money.

use alloy::{
    consensus::{SignableTransaction as _, TxEip1559},
    eips::eip2718::Encodable2718 as _,
    primitives::TxKind,
    signers::SignerSync as _,
};
use alloy_signer_local::Secp256k1Signer;
use chains_core::{
    diagnostic::{Finding, Severity},
    transaction::BroadcastResult,
};
use chains_rpc::Endpoint as _;

use crate::{
    context::Context,
    rpc::{
        self,
        endpoint::Endpoint,
        error::{CallError, is_rate_limit},
        method::{Call, quantity},
        send_answers::{self, PriceFloor},
    },
    tx::gas::BASE_GAS,
};

const CHECK: &str = "node_tip";

/// Sends a transaction with the configured tip from an account that was never used before and has no money: it can get
/// into no block. Pools look at the price before they look at the balance, so the refusal tells which of the two it was.
///
/// # Errors
/// The endpoint did not answer.
pub(super) async fn check(context: &Context, endpoint: &Endpoint) -> Result<Option<Finding>, CallError> {
    let Some(raw) = without_money(context) else { return Ok(None) };
    let refusal = match rpc::one::<String>(endpoint, &[Call::send(&raw)]).await {
        Ok(_) => return Ok(None),
        Err(error) if is_rate_limit(&error) => return Err(error),
        Err(CallError::Node { error, .. }) => error,
        Err(error) => return Err(error),
    };
    let BroadcastResult::Underpriced(text) = send_answers::read_error(&refusal) else { return Ok(None) };
    let floor = match send_answers::price_floor(&text) {
        Some(PriceFloor::Unnamed) => {
            let more = recommended_tip(endpoint).await.filter(|tip| *tip > context.config.tip_per_gas);
            more.map_or(PriceFloor::Unnamed, PriceFloor::Tip)
        }
        Some(floor) => floor,
        // The base fee is above what is offered at most, for every node alike.
        None => return Ok(None),
    };
    let (tip, ceiling) = (context.config.tip_per_gas, context.config.fee_per_gas_max);
    let (meaning, fix) = remedy(floor, ceiling);
    let seen = format!("refuses a tip of {tip} wei: {text}");
    Ok(Some(Finding::new(Severity::Warning, CHECK, endpoint.host(), seen, meaning, fix)))
}

async fn recommended_tip(endpoint: &Endpoint) -> Option<u128> {
    let tip = rpc::one::<String>(endpoint, &[Call::recommended_tip()]).await.ok()?;
    quantity(&tip)?.try_into().ok()
}

/// The signed bytes; `None` only for what does not happen, a key that signs nothing.
fn without_money(context: &Context) -> Option<Vec<u8>> {
    let signer = Secp256k1Signer::random();
    let transaction = TxEip1559 {
        chain_id: context.config.chain_id,
        gas_limit: BASE_GAS.saturating_add(context.config.gas_extra),
        max_fee_per_gas: context.config.fee_per_gas_max,
        max_priority_fee_per_gas: context.config.tip_per_gas,
        to: TxKind::Call(signer.address()),
        ..TxEip1559::default()
    };
    let signature = signer.sign_hash_sync(&transaction.signature_hash()).ok()?;
    Some(transaction.into_signed(signature).encoded_2718())
}

/// The meaning of a floor, and what to write.
fn remedy(floor: PriceFloor, ceiling: u128) -> (&'static str, String) {
    let later = "The first transactions after a while are refused there, and offered again with more";
    let never = "It takes no transaction of this service: another node has to, or payments wait";
    match floor {
        PriceFloor::Tip(tip) if tip < ceiling => (later, format!("Write `tip_per_gas = \"{tip}\"`")),
        PriceFloor::Tip(tip) => {
            (never, format!("Write `tip_per_gas = \"{tip}\"`, and a `fee_per_gas_max` above it, now {ceiling}"))
        }
        PriceFloor::Fee(fee) => (never, format!("Write `fee_per_gas_max = \"{fee}\"` or more; now it is {ceiling}")),
        PriceFloor::Unnamed => (later, "Raise `tip_per_gas` to what this node's operator asks for".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_floor_has_the_setting_that_meets_it() {
        let cases = [
            (PriceFloor::Tip(25), "Write `tip_per_gas = \"25\"`", false),
            (PriceFloor::Tip(101), "Write `tip_per_gas = \"101\"`, and a `fee_per_gas_max` above it, now 100", true),
            (PriceFloor::Fee(101), "Write `fee_per_gas_max = \"101\"` or more; now it is 100", true),
            (PriceFloor::Unnamed, "Raise `tip_per_gas` to what this node's operator asks for", false),
        ];
        for (floor, fix, takes_nothing) in cases {
            let (meaning, told) = remedy(floor, 100);
            assert_eq!((told.as_str(), meaning.contains("no transaction")), (fix, takes_nothing), "{floor:?}");
        }
    }
}
