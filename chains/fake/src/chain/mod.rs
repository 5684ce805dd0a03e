//! The seam over a world.

mod execution;
mod health;
mod observe;

use std::sync::Arc;

use chains_core::{
    Code, Network,
    chain::{ChainUnavailable, Offer, Parameters, Profile},
    scheme::Scheme,
};
use chains_rpc::Pool;

use crate::{
    nodes::{self, CallError, Node},
    scheme::{Exact, NONCE_USED},
    world::World,
};

/// The most that the chain offers for one unit of gas.
pub const PRICE_MAX: u64 = 1_000;

/// A network over a [`World`].
pub struct FakeChain {
    network: Network,
    gas_wallets: Vec<String>,
    parameters: Parameters,
    has_nonces: bool,
    world: Arc<World>,
    nodes: Pool<Node>,
    schemes: Vec<Arc<dyn Scheme>>,
}

impl FakeChain {
    /// A network over a world, which tests keep to turn its knobs.
    pub fn new(network: Network, gas_wallets: Vec<String>, parameters: Parameters, world: Arc<World>) -> Self {
        let exact = Exact { network: network.clone(), world: Arc::clone(&world) };
        let nodes = nodes::pool(network.clone(), &world);
        Self { network, gas_wallets, parameters, has_nonces: true, world, nodes, schemes: vec![Arc::new(exact)] }
    }

    /// The same chain without nonces: a transaction is included once, by its hash.
    #[must_use]
    pub fn without_nonces(self) -> Self {
        Self { has_nonces: false, ..self }
    }

    fn ask(&self) -> Result<&World, ChainUnavailable> {
        if self.world.is_broken() {
            let detail = "the world is broken".to_owned();
            return Err(ChainUnavailable { network: self.network.clone(), detail });
        }
        Ok(&self.world)
    }

    fn unavailable(&self, error: &CallError) -> ChainUnavailable {
        self.nodes.unavailable(error)
    }
}

impl Profile for FakeChain {
    fn network(&self) -> &Network {
        &self.network
    }

    fn legacy_name(&self) -> Option<&str> {
        Some("fake")
    }

    fn schemes(&self) -> &[Arc<dyn Scheme>] {
        &self.schemes
    }

    fn offers(&self, _gas_wallet: &str) -> Vec<Offer> {
        vec![Offer { scheme: "exact", extra: None, since_v1: true }]
    }

    fn extensions(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn gas_wallets(&self) -> &[String] {
        &self.gas_wallets
    }

    fn parameters(&self) -> Parameters {
        self.parameters
    }

    fn asset(&self, _asset: &str) -> Option<(String, u8)> {
        Some(("FAKE".to_owned(), 6))
    }

    fn codes(&self) -> &'static [Code] {
        const { &[NONCE_USED] }
    }
}
