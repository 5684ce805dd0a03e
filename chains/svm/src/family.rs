//! The family of Solana's clusters.

use std::sync::Arc;

use chains_core::{Network, chain::Chain, clock::Clock, config::Section, family::Family};

use crate::{chain::SvmChain, config, context::Context};

/// Clusters of CAIP-2 namespace `solana`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Svm;

impl Family for Svm {
    fn namespace(&self) -> &'static str {
        "solana"
    }

    fn configure(&self, network: Network, section: Section, clock: Arc<dyn Clock>) -> Option<Arc<dyn Chain>> {
        let (config, wallets, rpc) = config::read(network, section)?;
        Some(Arc::new(SvmChain::new(Context::new(config, wallets, rpc, clock))))
    }
}
