use async_trait::async_trait;
use chains_core::{
    chain::{BatchContract, ChainUnavailable, Health, NodeLook, ProofError},
    diagnostic::Finding,
};

use super::EvmChain;
use crate::health::{batch_support, doctor, prove};

#[async_trait]
impl Health for EvmChain {
    async fn prove(&self) -> Result<(), ProofError> {
        prove::prove(&self.context).await
    }

    fn warnings(&self) -> Vec<String> {
        let weak = self.context.wallets.weak().iter();
        let weak =
            weak.map(|(wallet, cost)| format!("the keystore of gas wallet {wallet} is quickly guessed ({cost})"));
        self.context.token_code.notices(&self.context.config.assets).into_iter().chain(weak).collect()
    }

    fn trouble(&self) -> Option<String> {
        self.context.blocks.trouble()
    }

    async fn look_at_nodes(&self) -> Vec<NodeLook> {
        self.context.rpc.look_at_nodes().await
    }

    async fn batch_contract(&self) -> Result<Option<BatchContract>, ChainUnavailable> {
        if !self.context.config.batch {
            return Ok(None);
        }
        let deployed = batch_support::is_deployed(&self.context).await?;
        let address = self.context.batch_contract.address.to_checksum(None);
        Ok(Some(BatchContract { address, deployed }))
    }

    async fn doctor(&self) -> Vec<Finding> {
        doctor::doctor(&self.context).await
    }
}
