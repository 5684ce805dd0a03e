//! The seam over a world.

use std::sync::Arc;

use async_trait::async_trait;
use chains_core::{
    Amount, Network, Rejection,
    chain::{
        BlockRef, Broadcast, Chain, ChainUnavailable, Effect, Fees, Finding, GasBalance, Head, Kind, Landed,
        Observation, OpenError, Pace, PlannedTransaction, QuoteError, Sequence, Severity, SignError, SignedTransaction,
        Watch, Watched,
    },
    protocol::Version,
    reason,
    scheme::Scheme,
};
use sha2::{Digest, Sha256};

use crate::{
    scheme::{Exact, NONCE_USED},
    world::{Transaction, Transfer, World},
};

/// A network over a [`World`].
pub struct FakeChain {
    network: Network,
    gas_wallets: Vec<String>,
    pace: Pace,
    world: Arc<World>,
    schemes: Vec<Arc<dyn Scheme>>,
}

impl FakeChain {
    /// A network over a world, which tests keep to pull its strings.
    pub fn new(network: Network, gas_wallets: Vec<String>, pace: Pace, world: Arc<World>) -> Self {
        let exact = Exact { network: network.clone(), world: Arc::clone(&world) };
        Self { network, gas_wallets, pace, world, schemes: vec![Arc::new(exact)] }
    }

    fn ask(&self) -> Result<&World, ChainUnavailable> {
        if self.world.is_broken() {
            let detail = "the world is broken".to_owned();
            return Err(ChainUnavailable { network: self.network.clone(), detail });
        }
        Ok(&self.world)
    }

    fn look(&self, watched: &Watched<'_>) -> Observation {
        let found = watched.attempts.iter().find_map(|a| self.world.find(&a.transaction).map(|f| (a, f)));
        let Some((attempt, (height, done))) = found else { return Observation::Pending };
        let effect = match serde_json::from_str::<Transfer>(&watched.plan.body) {
            Ok(_) if done => Effect::Done,
            Ok(Transfer { from, nonce, .. }) => match self.world.executed(&from, &nonce) {
                Some((height, transaction)) => Effect::DoneElsewhere { transaction, block: block_ref(height) },
                None if self.world.is_used(&from, &nonce) => Effect::Missing(Rejection::new(NONCE_USED, "cancelled")),
                None => Effect::Missing(Rejection::new(reason::INSUFFICIENT_FUNDS, "the payer had too little")),
            },
            Err(error) => Effect::Unclear(error.to_string()),
        };
        Observation::Landed(Landed {
            transaction: attempt.transaction.clone(),
            block: block_ref(height),
            fee_paid: Amount::from(21_000_u64),
            gas_used: 21_000,
            effect,
        })
    }
}

fn block_ref(number: u64) -> BlockRef {
    BlockRef { number, hash: format!("block-{number}") }
}

#[async_trait]
impl Chain for FakeChain {
    fn network(&self) -> &Network {
        &self.network
    }

    fn legacy_name(&self) -> Option<&str> {
        Some("fake")
    }

    fn schemes(&self) -> &[Arc<dyn Scheme>] {
        &self.schemes
    }

    fn kinds(&self, _gas_wallet: &str) -> Vec<Kind> {
        let kind = |version, network: &str| Kind { version, scheme: "exact", network: network.to_owned(), extra: None };
        vec![kind(Version::V2, self.network.as_str()), kind(Version::V1, "fake")]
    }

    fn extensions(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn gas_wallets(&self) -> &[String] {
        &self.gas_wallets
    }

    fn pace(&self) -> Pace {
        self.pace
    }

    async fn open(&self) -> Result<(), OpenError> {
        self.ask()?;
        Ok(())
    }

    async fn sequence(&self, gas_wallet: &str) -> Result<Option<Sequence>, ChainUnavailable> {
        Ok(Some(Sequence { latest: self.ask()?.sequence(gas_wallet) }))
    }

    async fn gas_balance(&self, gas_wallet: &str) -> Result<GasBalance, ChainUnavailable> {
        let balance = Amount::from(self.ask()?.balance(gas_wallet));
        Ok(GasBalance { balance, balance_min: Amount::from(1_u64) })
    }

    fn sign(
        &self,
        gas_wallet: &str,
        sequence: Option<u64>,
        plan: &PlannedTransaction,
        fees: &Fees,
    ) -> Result<SignedTransaction, SignError> {
        if !self.gas_wallets.iter().any(|wallet| wallet == gas_wallet) {
            return Err(SignError::NoKey(gas_wallet.to_owned()));
        }
        let transfer = serde_json::from_str(&plan.body).map_err(|error| SignError::Plan(error.to_string()))?;
        let transaction =
            Transaction { gas_wallet: gas_wallet.to_owned(), sequence: sequence.unwrap_or_default(), transfer };
        let raw = serde_json::to_vec(&transaction).map_err(|error| SignError::Plan(error.to_string()))?;
        Ok(SignedTransaction {
            transaction: hex::encode(Sha256::digest(&raw)),
            raw,
            gas_wallet: gas_wallet.to_owned(),
            sequence,
            gas_limit: 21_000,
            fees: fees.clone(),
        })
    }

    fn quote(&self) -> Result<Fees, QuoteError> {
        Ok(Fees { per_gas_max: 1, tip_per_gas: 0 })
    }

    async fn broadcast(&self, transactions: &[SignedTransaction]) -> Vec<Broadcast> {
        let send = |signed: &SignedTransaction| match serde_json::from_slice(&signed.raw) {
            Ok(transaction) => self.world.receive(&signed.transaction, transaction),
            Err(error) => Broadcast::Refused(error.to_string()),
        };
        transactions.iter().map(send).collect()
    }

    async fn next_head(&self, after: Option<&Head>, _watch: Watch) -> Result<Head, ChainUnavailable> {
        let mut height = self.world.watch_height();
        let newest = *height.borrow_and_update();
        let wanted = match after {
            None => newest,
            Some(head) if head.number > newest => newest,
            Some(head) => head.number + 1,
        };
        // The sender lives as long as the world, which this chain holds.
        drop(height.wait_for(|height| *height >= wanted).await);
        let world = self.ask()?;
        let block = world.block(wanted);
        let names = block.as_ref().map(|block| block.transactions.iter().map(|(name, ..)| name.clone()).collect());
        Ok(Head {
            number: wanted,
            hash: format!("block-{wanted}"),
            timestamp: block.map_or(0, |block| block.timestamp),
            transactions: names.filter(|_| after.is_some_and(|head| head.number + 1 == wanted)),
        })
    }

    async fn observe(&self, transactions: &[Watched<'_>]) -> Result<Vec<Observation>, ChainUnavailable> {
        self.ask()?;
        Ok(transactions.iter().map(|watched| self.look(watched)).collect())
    }

    async fn check(&self) -> Vec<Finding> {
        let finding = |severity, seen: &str, meaning: &str, fix: &str| Finding {
            severity,
            subject: self.network.to_string(),
            seen: seen.to_owned(),
            meaning: meaning.to_owned(),
            fix: fix.to_owned(),
        };
        if self.ask().is_err() {
            return vec![finding(Severity::Error, "no answer", "nothing can be settled", "mend the world")];
        }
        let empty = self.gas_wallets.iter().filter(|wallet| self.world.balance(wallet) == 0);
        empty.map(|_| finding(Severity::Error, "an empty gas wallet", "it cannot pay", "fund it")).collect()
    }
}
