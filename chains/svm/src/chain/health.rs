use std::time::Duration;

use async_trait::async_trait;
use chains_core::{
    chain::{Health, NodeLook, ProofError},
    diagnostic::Finding,
};

use super::SvmChain;
use crate::{open, pace::Newest, wallet_tokens};

/// A chain makes a slot each half second: one that makes none for this long stands still.
const STANDSTILL: Duration = Duration::from_mins(1);

#[async_trait]
impl Health for SvmChain {
    async fn prove(&self) -> Result<(), ProofError> {
        open::open(&self.context).await
    }

    fn warnings(&self) -> Vec<String> {
        let blocks = &self.context.blocks;
        let Some(Newest { slot, .. }) = blocks.newest() else { return vec![] };
        let contested = blocks.contested().map(|claim| {
            format!(
                "the nodes claim slot {}, which cannot follow slot {slot} so soon: it is not believed until they \
                 repeat it. Run `facilitator doctor` to see which node is wrong",
                claim.slot
            )
        });
        let stands_still = blocks.age().filter(|age| *age > STANDSTILL).map(|age| {
            format!(
                "slot {slot} has been the newest for {} s: the chain or its nodes stand still, and nothing settles. \
                 Check the nodes in `rpc`",
                age.as_secs()
            )
        });
        let contradicted = self.context.sample.is_doubted(std::time::Instant::now()).then(|| {
            "a simulation has contradicted the accounts of a payment: every payment is simulated for an hour. The token \
             program may have changed: look for a newer version of this service"
                .to_owned()
        });
        let notices = self.context.mints.notices();
        contested.into_iter().chain(stands_still).chain(contradicted).chain(notices).collect()
    }

    async fn look_at_nodes(&self) -> Vec<NodeLook> {
        self.context.rpc.look_at_nodes().await
    }

    async fn doctor(&self) -> Vec<Finding> {
        let mut findings = open::check(&self.context).await;
        findings.extend(wallet_tokens::check(&self.context).await);
        findings
    }
}
