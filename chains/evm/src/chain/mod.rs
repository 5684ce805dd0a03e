//! One EVM network, as the service sees it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`profile`] | what the network is and offers |
//! | [`execution`] | quoting, signing, sending, following, observing |
//! | [`health`] | whether the network is what the configuration says |

mod execution;
mod health;
mod profile;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use alloy::primitives::Address;
use chains_core::{chain::ChainUnavailable, scheme::Scheme};

use crate::{
    context::Context,
    scheme::{exact::Exact, upto::Upto},
};

/// One configured EVM network.
pub(crate) struct EvmChain {
    context: Arc<Context>,
    schemes: Vec<Arc<dyn Scheme>>,
}

impl EvmChain {
    pub fn new(context: Context) -> Self {
        let context = Arc::new(context);
        let schemes: Vec<Arc<dyn Scheme>> =
            vec![Arc::new(Exact::new(Arc::clone(&context))), Arc::new(Upto::new(Arc::clone(&context)))];
        Self { context, schemes }
    }

    fn address(&self, gas_wallet: &str) -> Result<Address, ChainUnavailable> {
        let address = self.context.wallets.address(gas_wallet);
        address.ok_or_else(|| self.context.rpc.unavailable(format!("gas wallet {gas_wallet} has no key here")))
    }
}
