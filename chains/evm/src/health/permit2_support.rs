//! Finds out whether payments by Permit2 can be verified and settled on a network.

use alloy::primitives::{Address, B256, Bytes, U256};
use chains_core::chain::ChainUnavailable;

use crate::{
    call_batcher::permit2::Item,
    context::Context,
    method::permit2::{
        abi::{EXACT_PROXY, Settle, UPTO_PROXY},
        permit::{Permit, Witness},
    },
    rpc::{
        Rpc,
        error::{CallError, is_rate_limit},
    },
    simulation::Simulation,
};

/// Code that answers every call with the number 42, bare hex.
const FORTY_TWO: &str = "602a60005260206000f3";

/// Gas of the call to it.
const FORTY_TWO_GAS: u64 = 100_000;

/// The parts of Permit2 payments' needs that a network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// The node gives no account code for the time of a call, without which a
    /// settlement cannot be simulated as its sender.
    NoOverrides,
    /// The proxies that work, together with Permit2.
    Works {
        /// That of scheme `exact`.
        permit2: bool,
        /// That of scheme `upto`.
        upto: bool,
    },
}

impl Support {
    /// Returns whether scheme `exact` can be paid by Permit2.
    pub const fn permit2(self) -> bool {
        matches!(self, Self::Works { permit2: true, .. })
    }

    /// Returns whether scheme `upto` can be paid.
    pub const fn upto(self) -> bool {
        matches!(self, Self::Works { upto: true, .. })
    }

    /// The missing part, for people.
    pub const fn missing(self) -> &'static str {
        match self {
            Self::NoOverrides => "the node does not know state overrides in eth_call",
            Self::Works { permit2: false, upto: false } => "Permit2 and x402's proxies are not on this network",
            Self::Works { permit2: false, upto: true } => "the proxy of scheme exact is not on this network",
            Self::Works { permit2: true, upto: false } => "the proxy of scheme upto is not on this network",
            Self::Works { permit2: true, upto: true } => "nothing is missing",
        }
    }
}

/// Looks.
pub(crate) async fn probe(context: &Context) -> Result<Support, ChainUnavailable> {
    if !takes_overrides(&context.rpc, context.wallets.first()).await.map_err(|error| context.rpc.unavailable(error))? {
        return Ok(Support::NoOverrides);
    }
    let (exact, upto) = futures::join!(works(context, EXACT_PROXY), works(context, UPTO_PROXY));
    Ok(Support::Works { permit2: exact?, upto: upto? })
}

/// Returns whether an account can be given code for the time of a call.
///
/// # Errors
/// Nobody answered.
pub(super) async fn takes_overrides(rpc: &Rpc, sender: Address) -> Result<bool, CallError> {
    let simulation = Simulation::with_code(sender, vec![sender], FORTY_TWO, "0x".to_owned(), FORTY_TWO_GAS);
    match rpc.call::<Bytes>(simulation.call(None, None)).await {
        Ok(answer) => Ok(*answer == B256::with_last_byte(42)[..]),
        // One that was asked too often says nothing of what it can do.
        Err(error @ CallError::Node { .. }) if !is_rate_limit(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn works(context: &Context, proxy: Address) -> Result<bool, ChainUnavailable> {
    let account = Address::repeat_byte;
    let permit = Permit {
        from: account(0xfe),
        token: account(0xfc),
        amount: U256::from(1),
        spender: proxy,
        nonce: U256::ZERO,
        deadline: U256::ZERO,
        witness: Witness::Exact { to: account(0xfd), valid_after: U256::ZERO },
    };
    let signature = Bytes::new();
    let settle = Settle { permit: &permit, amount: permit.amount, permit2612: None, signature: &signature };
    let item = Item {
        token: permit.token,
        payer: permit.from,
        payee: permit.witness.to(),
        proxy,
        value: permit.amount,
        nonce: permit.nonce,
        hash: B256::ZERO,
        gas_cap: u32::try_from(context.config.gas_limit_permit2).unwrap_or(u32::MAX),
        call: settle.calldata(),
        signature_tail: settle.signature_tail(),
    };
    let record = context.permit2_batcher(None).ask(context.simulator(), &item).await?;
    Ok(record.proxy_works && record.nonce_used.is_some())
}
