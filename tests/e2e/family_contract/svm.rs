//! The Solana family's world: a real validator, whose blocks come by themselves.

use std::sync::Arc;

use chains_core::{
    Payment,
    chain::Chain,
    clock::{Clock, SystemClock},
    protocol,
};
use chains_svm::local::USDC;
use e2e::{
    proxy::{Fault, Proxy, Times},
    service::chain_of,
    svm::Draft,
    validator::{Validator, fee_payer, payee},
};
use futures::future::BoxFuture;
use tokio::{runtime::Handle, task::block_in_place};

use super::World;

pub(super) struct SvmWorld {
    validator: Validator,
    proxy: Proxy,
    chain: Arc<dyn Chain>,
}

impl SvmWorld {
    pub(super) async fn start() -> Self {
        let validator = Validator::start().await;
        let proxy = Proxy::before(validator.chain.url()).await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let chain = chain_of(&validator, &proxy.url, &clock);
        Self { validator, proxy, chain }
    }
}

impl World for SvmWorld {
    fn chain(&self) -> Arc<dyn Chain> {
        Arc::clone(&self.chain)
    }

    fn payment(&self) -> Payment {
        let draft = Draft::default();
        let body = block_in_place(|| Handle::current().block_on(draft.body(&self.validator.chain, 2))).to_string();
        let request = protocol::parse(body.as_bytes(), &protocol::LegacyNames::new()).expect("a request");
        request.payment.expect("a payment")
    }

    fn paid(&self) -> BoxFuture<'_, u128> {
        Box::pin(async {
            let held = self.validator.chain.token_balance(&payee().address(), &USDC).await;
            u128::from(held.expect("a balance"))
        })
    }

    fn mine(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn empty_gas_wallet(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.validator.chain.empty(fee_payer().key()).await.expect("emptied") })
    }

    fn disconnect(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let methods =
                ["simulateTransaction", "getMultipleAccounts", "getGenesisHash", "getEpochInfo", "getBalance"];
            for method in methods {
                self.proxy.fail(method, Fault::LoseAnswer, Times::Always);
            }
        })
    }
}
