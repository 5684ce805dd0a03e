use async_trait::async_trait;
use chains_core::{
    chain::{Health, ProofError},
    diagnostic::{Finding, Severity},
};

use super::FakeChain;

#[async_trait]
impl Health for FakeChain {
    async fn prove(&self) -> Result<(), ProofError> {
        match self.ask()?.mismatch() {
            Some(detail) => Err(ProofError::Mismatch { network: self.network.clone(), detail }),
            None => Ok(()),
        }
    }

    fn warnings(&self) -> Vec<String> {
        self.world.warnings()
    }

    fn trouble(&self) -> Option<String> {
        self.world.trouble()
    }

    async fn doctor(&self) -> Vec<Finding> {
        if self.ask().is_err() {
            return vec![Finding::unreachable("node_answers", "the world", "no answer")];
        }
        let mut findings = vec![Finding::fine("node_answers", "the world", "answers")];
        for wallet in self.gas_wallets.iter().filter(|wallet| self.world.balance(wallet) == 0) {
            let fix = format!("Fund {wallet}");
            let (seen, meaning) = ("has nothing", "It pays for no transaction");
            findings.push(Finding::new(Severity::Error, "wallet_balance", wallet, seen, meaning, fix));
        }
        findings
    }
}
