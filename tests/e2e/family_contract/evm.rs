//! The EVM family's world: a real anvil without blocks of its own.

use std::sync::Arc;

use chains_core::{
    Payment,
    chain::Chain,
    clock::{Clock, SystemClock},
    protocol,
};
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::chain_of,
};
use futures::future::BoxFuture;
use serde_json::json;

use super::World;

pub(super) struct EvmWorld {
    anvil: Anvil,
    proxy: Proxy,
    chain: Arc<dyn Chain>,
}

impl EvmWorld {
    pub(super) async fn start() -> Self {
        let anvil = Anvil::start_with(&["--no-mining"]).await;
        let proxy = Proxy::before(&anvil.node.url).await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let chain = chain_of(&anvil, &proxy.url, &clock);
        Self { anvil, proxy, chain }
    }
}

impl World for EvmWorld {
    fn chain(&self) -> Arc<dyn Chain> {
        Arc::clone(&self.chain)
    }

    fn payment(&self) -> Payment {
        let body = Draft::default().v2().to_string();
        let request = protocol::parse(body.as_bytes(), &protocol::LegacyNames::new()).expect("a request");
        request.payment.expect("a payment")
    }

    fn paid(&self) -> BoxFuture<'_, u128> {
        Box::pin(self.anvil.node.token_balance(USDC, PAYEE))
    }

    fn mine(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.anvil.node.mine())
    }

    fn empty_gas_wallet(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.anvil.node.call("anvil_setBalance", json!([GAS_WALLET, "0x0"])).await;
        })
    }

    fn disconnect(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let methods = ["eth_call", "eth_chainId", "eth_getBlockByNumber", "eth_getBalance", "eth_blockNumber"];
            for method in methods {
                self.proxy.fail(method, Fault::LoseAnswer, Times::Always);
            }
        })
    }
}
