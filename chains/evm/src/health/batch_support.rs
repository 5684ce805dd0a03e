//! Finds out whether the contract is there by which a transaction carries many
//! settlements.

use alloy::primitives::Bytes;
use chains_core::{
    chain::ChainUnavailable,
    diagnostic::{Finding, Severity},
};
use chains_rpc::Agreement;

use crate::{
    context::Context,
    rpc::{Rpc, method::Call},
    tx::batch::Contract,
};

/// Returns true when the endpoints agree that the contract is at its address. A
/// call to an address without code does nothing and counts as a success.
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn is_deployed(context: &Context) -> Result<bool, ChainUnavailable> {
    let code = Contract::code();
    let ask = |rpc: Rpc| {
        let code = code.clone();
        async move { Ok(rpc.call::<Bytes>(Call::code(context.batch_contract.address)).await? == code) }
    };
    match context.rpc.agree(ask, |there| *there).await {
        Ok(Agreement::Agreed(there) | Agreement::Alone(there)) => Ok(there),
        Ok(Agreement::Disagreed(_)) => Ok(false),
        Err(error) => Err(context.rpc.unavailable(error)),
    }
}

/// Looks, and remembers. An endpoint that does not answer changes nothing.
pub(crate) async fn learn(context: &Context, first: bool) {
    if !context.config.batch {
        return;
    }
    let Ok(there) = is_deployed(context).await else { return };
    let (network, contract) = (&context.config.network, context.batch_contract.address);
    let before = context.capabilities.found_batch(there);
    match (there, before) {
        (true, false) => {
            tracing::info!(%network, %contract, "transactions carry up to 25 settlements when many wait");
        }
        (false, true) => {
            tracing::warn!(%network, %contract, "the batch contract is not there any more: each settlement goes alone");
        }
        (false, false) if first => {
            tracing::info!(
                %network, %contract,
                "there is no batch contract of these gas wallets: each settlement goes in a transaction of its own. \
                 Deploy it by `facilitator batch-contract deploy`, or write `batch = \"off\"`"
            );
        }
        (true, true) | (false, false) => {}
    }
}

/// The doctor's finding.
pub(crate) async fn check(context: &Context) -> Finding {
    const CHECK: &str = "batch_contract";
    const SUBJECT: &str = "batch contract";
    if !context.config.batch {
        return Finding::fine(CHECK, SUBJECT, "`batch` is \"off\": each settlement goes in a transaction of its own");
    }
    let contract = context.batch_contract.address;
    match is_deployed(context).await {
        Ok(true) => Finding::fine(CHECK, SUBJECT, format!("the batch contract of these gas wallets is at {contract}")),
        Ok(false) => Finding::new(
            Severity::Ok,
            CHECK,
            SUBJECT,
            format!("there is no batch contract of these gas wallets at {contract}"),
            "Each settlement goes in a transaction of its own, so a gas wallet settles `in_flight_max` a block",
            "To settle up to 25 in one: `facilitator batch-contract deploy`; else write `batch = \"off\"`",
        ),
        Err(error) => Finding::unreachable(CHECK, SUBJECT, &error.detail),
    }
}
