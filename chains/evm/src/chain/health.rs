use async_trait::async_trait;
use chains_core::{
    chain::{Health, NodeLook, ProofError},
    diagnostic::Finding,
};

use super::EvmChain;
use crate::health::{doctor, prove};

#[async_trait]
impl Health for EvmChain {
    async fn prove(&self) -> Result<(), ProofError> {
        prove::prove(&self.context).await
    }

    fn warnings(&self) -> Vec<String> {
        self.context.token_code.notices(&self.context.config.assets)
    }

    fn trouble(&self) -> Option<String> {
        self.context.blocks.trouble()
    }

    async fn look_at_nodes(&self) -> Vec<NodeLook> {
        self.context.rpc.look_at_nodes().await
    }

    async fn doctor(&self) -> Vec<Finding> {
        doctor::doctor(&self.context).await
    }
}
