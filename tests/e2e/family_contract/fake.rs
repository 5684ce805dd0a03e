//! The fake family's world.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chains_core::{
    Amount, Payment,
    chain::{Chain, Profile as _},
    payment::Chosen,
};
use chains_fake::{FakeChain, World as Fake, parameters};
use futures::future::BoxFuture;
use serde_json::{Map, json};

use super::World;

pub(super) struct FakeWorld {
    world: Arc<Fake>,
    chain: Arc<FakeChain>,
    payments: AtomicU64,
}

impl FakeWorld {
    pub(super) fn start() -> Self {
        let world = Arc::new(Fake::default());
        world.fund("payer", 1_000_000);
        world.fund("gas", 100_000_000);
        let network = "fake:local".parse().expect("CAIP-2");
        let chain = Arc::new(FakeChain::new(network, vec!["gas".into()], parameters(), Arc::clone(&world)));
        Self { world, chain, payments: AtomicU64::new(0) }
    }
}

impl World for FakeWorld {
    fn chain(&self) -> Arc<dyn Chain> {
        self.chain.clone()
    }

    fn payment(&self) -> Payment {
        let nonce = self.payments.fetch_add(1, Ordering::Relaxed).to_string();
        let payload = json!({"from": "payer", "nonce": nonce, "signature": "signed by payer"});
        let network = self.chain.network().clone();
        Payment {
            scheme: "exact".into(),
            network: network.clone(),
            asset: "coin".into(),
            pay_to: "payee".into(),
            amount: Amount::from(1000_u64),
            extra: Map::new(),
            chosen: Chosen { scheme: "exact".into(), network: Some(network) },
            payload: payload.as_object().cloned().unwrap_or_default(),
            extensions: Map::new(),
        }
    }

    fn paid(&self) -> BoxFuture<'_, u128> {
        Box::pin(async { self.world.balance("payee").into() })
    }

    fn mine(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.world.mine() })
    }

    fn empty_gas_wallet(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.world.drain("gas") })
    }

    fn disconnect(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.world.set_broken(true) })
    }
}
