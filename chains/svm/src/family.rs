//! The family of Solana's clusters.

use std::sync::Arc;

use chains_core::{
    Network,
    chain::Chain,
    clock::Clock,
    config::Section,
    family::{Family, KnownNetwork, StartingNode},
};

use crate::{chain::SvmChain, config, context::Context, networks};

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

    fn known_networks(&self) -> Vec<KnownNetwork> {
        let starts = networks::all().iter().filter_map(|known| {
            Some(KnownNetwork {
                network: format!("{}:{}", self.namespace(), known.reference()).parse().ok()?,
                name: known.name,
                legacy_name: Some(known.legacy_name),
                rpc: StartingNode { public: Some(known.public_node), local: "http://127.0.0.1:8899" },
                keys: "fee_payers",
                key_variable: "SOLANA_KEYPAIR",
                asset: None,
            })
        });
        starts.collect()
    }
}
