//! The family of EVM chains.

use std::sync::Arc;

use chains_core::{
    Network,
    chain::Chain,
    clock::Clock,
    config::Section,
    family::{Family, KnownNetwork, StartingNode},
};

use crate::{chain::EvmChain, config, context::Context, known_networks};

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

    fn known_networks(&self) -> Vec<KnownNetwork> {
        let starts = known_networks::all().iter().filter_map(|known| {
            Some(KnownNetwork {
                network: format!("{}:{}", self.namespace(), known.chain_id).parse().ok()?,
                name: known.name,
                legacy_name: known.legacy_name,
                rpc: StartingNode { public: public_node(known.chain_id), local: "http://127.0.0.1:8545" },
                keys: "gas_wallets",
                key_variable: "GAS_WALLET_KEY",
                asset: known.assets.is_empty().then_some(ASSET),
            })
        });
        starts.collect()
    }
}

/// An asset to begin with.
const ASSET: &str = "\
address = \"0x…\"
symbol = \"USDC\"
decimals = 6
# \"permit2\" for a token without EIP-3009; then it needs no domain.
method = \"eip3009\"
eip712 = { name = \"USD Coin\", version = \"2\" }
";

/// The endpoint that a network's operators offer to anybody.
const fn public_node(chain_id: u64) -> Option<&'static str> {
    match chain_id {
        8453 => Some("https://mainnet.base.org"),
        84_532 => Some("https://sepolia.base.org"),
        _ => None,
    }
}
