//! The family of EVM chains.

use std::sync::Arc;

use chains_core::{Network, chain::Chain, clock::Clock, config::Section, family::Family};

use crate::{chain::EvmChain, config, context::Context};

/// Chains of CAIP-2 namespace `eip155`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evm;

impl Family for Evm {
    fn namespace(&self) -> &'static str {
        "eip155"
    }

    fn configure(&self, network: Network, section: Section, clock: Arc<dyn Clock>) -> Option<Arc<dyn Chain>> {
        let (config, wallets, rpc) = config::read(network, section)?;
        Some(Arc::new(EvmChain::new(Context::new(config, wallets, rpc, clock))))
    }
}
