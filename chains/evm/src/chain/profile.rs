use std::sync::Arc;

use chains_core::{
    Code, Network,
    chain::{Offer, Parameters, Profile},
    metric::Labels,
    scheme::Scheme,
};
use chains_rpc::Endpoint as _;

use super::EvmChain;
use crate::{
    extension::{
        builder_code,
        sponsoring::{eip2612, erc20_approval},
    },
    reason,
    rpc::method::Method as RpcMethod,
    scheme::{exact, upto},
    tx::plan::Method,
};

/// Decimals of an EVM chain's coin, whatever it is called: one coin is 10^18 wei.
const COIN_DECIMALS: u8 = 18;

impl Profile for EvmChain {
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
        let context = &self.context;
        let by_eip3009 = context.config.assets.iter().any(|asset| asset.eip3009.is_some());
        let mut offers = vec![];
        if by_eip3009 || context.capabilities.has(Method::Permit2) {
            // v1 knows EIP-3009 only.
            offers.push(Offer { scheme: exact::NAME, extra: None, since_v1: by_eip3009 });
        }
        if context.capabilities.has(Method::Upto) {
            let extra = serde_json::json!({ "facilitatorAddress": gas_wallet });
            offers.push(Offer { scheme: upto::NAME, extra: Some(extra), since_v1: false });
        }
        offers
    }

    fn extensions(&self) -> Vec<&'static str> {
        let capabilities = &self.context.capabilities;
        let by_permit2 = capabilities.has(Method::Permit2) || capabilities.has(Method::Upto);
        let config = &self.context.config;
        let sponsoring = [(config.sponsor_eip2612, eip2612::KEY), (config.sponsor_erc20_approval, erc20_approval::KEY)];
        let sponsoring = sponsoring.into_iter().filter(|(on, _)| by_permit2 && *on).map(|(_, key)| key);
        std::iter::once(builder_code::KEY).chain(sponsoring).collect()
    }

    fn gas_wallets(&self) -> &[String] {
        self.context.wallets.names()
    }

    fn parameters(&self) -> Parameters {
        let config = &self.context.config;
        Parameters {
            in_flight_max: config.in_flight_max,
            confirmations: config.confirmations,
            block_time: config.block_time,
            resend_after: config.resend_after_blocks,
            bump_after: config.bump_after_blocks,
            recheck_interval: config.recheck_interval,
            balance_min: config.gas_balance_min,
            coin_decimals: COIN_DECIMALS,
            coin: config.coin,
            loss_budget: config.loss_budget,
        }
    }

    fn asset(&self, asset: &str) -> Option<(String, u8)> {
        let known = self.context.config.asset(crate::parse::address(asset)?)?;
        Some((known.symbol.clone(), known.decimals))
    }

    fn codes(&self) -> &'static [Code] {
        &reason::ALL
    }

    fn metric_labels(&self) -> Labels {
        Labels {
            nodes: self.context.rpc.endpoints().iter().map(|endpoint| endpoint.host().to_owned()).collect(),
            assets: self.context.config.assets.iter().map(|asset| asset.address.to_string()).collect(),
            height_method: RpcMethod::BlockNumber.name(),
        }
    }
}
