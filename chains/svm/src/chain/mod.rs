//! One cluster of Solana, as the service sees it.

mod execution;
mod health;

use std::sync::Arc;

use chains_core::{
    Amount, Code, Network,
    chain::{Offer, Parameters, Profile},
    metric::Labels,
    scheme::Scheme,
};
use chains_rpc::Endpoint as _;
use serde_json::json;

use crate::{
    context::Context,
    exact::{self, payment::Exact},
    reason, rpc,
};

/// Slots that a transaction may stay unseen before its bytes are sent again:
/// leaders drop what they have no room for, and nobody repeats it but us.
const RESEND_AFTER: u64 = 2;

/// Decimals of SOL: one is 10^9 lamports.
const COIN_DECIMALS: u8 = 9;

/// One configured cluster.
pub(crate) struct SvmChain {
    context: Arc<Context>,
    schemes: Vec<Arc<dyn Scheme>>,
}

impl SvmChain {
    pub fn new(context: Context) -> Self {
        let context = Arc::new(context);
        let schemes: Vec<Arc<dyn Scheme>> = vec![Arc::new(Exact::new(Arc::clone(&context)))];
        Self { context, schemes }
    }
}

impl Profile for SvmChain {
    fn network(&self) -> &Network {
        &self.context.config.network
    }

    fn legacy_name(&self) -> Option<&str> {
        self.context.config.legacy_name.as_deref()
    }

    fn schemes(&self) -> &[Arc<dyn Scheme>] {
        &self.schemes
    }

    fn offers(&self, gas_wallet: &str) -> Vec<Offer> {
        let Context { wallets, config, .. } = &*self.context;
        // The price that is always accepted. What is accepted beyond it now is not told: servers keep
        // `extra`, and compare it as a whole with what a payment brings.
        let extra = json!({
            "feePayer": wallets.announced(gas_wallet),
            "computeUnitPriceAccepted": config.unit_price_floor.to_string(),
        });
        vec![Offer { scheme: exact::NAME, extra: Some(extra), since_v1: true }]
    }

    fn extensions(&self) -> Vec<&'static str> {
        vec![]
    }

    fn gas_wallets(&self) -> &[String] {
        self.context.wallets.names()
    }

    /// Only the blockhash in it, and clusters that a validator poses as may share those.
    fn transactions_name_their_network(&self) -> bool {
        false
    }

    /// A block that is confirmed by two thirds of the stake has never been
    /// taken back: one confirmation is enough.
    fn parameters(&self) -> Parameters {
        let config = &self.context.config;
        Parameters {
            in_flight_max: config.in_flight_max,
            confirmations: 1,
            block_time: config.block_time,
            resend_after: RESEND_AFTER,
            // The payer fixes the fee: nothing is ever bumped.
            bump_after: u64::MAX,
            recheck_interval: config.recheck_interval,
            balance_min: Amount::from(config.gas_balance_min),
            coin_decimals: COIN_DECIMALS,
            coin: "SOL",
            loss_budget: config.loss_budget,
        }
    }

    fn asset(&self, asset: &str) -> Option<(String, u8)> {
        let known = self.context.config.assets.iter().find(|known| known.mint.to_string() == asset)?;
        Some((known.symbol.clone(), known.decimals))
    }

    fn codes(&self) -> &'static [Code] {
        &reason::ALL
    }

    fn metric_labels(&self) -> Labels {
        let nodes = self.context.rpc.endpoints().iter().map(|endpoint| endpoint.host().to_owned()).collect();
        Labels { nodes, assets: vec![], height_method: rpc::HEIGHT_METHOD }
    }
}
