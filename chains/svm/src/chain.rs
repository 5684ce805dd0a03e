//! One cluster of Solana, as the service sees it.

use std::sync::Arc;

use async_trait::async_trait;
use chains_core::{
    Amount, Network,
    chain::{
        Broadcast, Chain, ChainUnavailable, Fees, Finding, GasBalance, Head, Kind, Observation, OpenError, Pace,
        PlannedTransaction, QuoteError, Sequence, SignError, SignedTransaction, Watch, Watched,
    },
    protocol::Version,
    scheme::Scheme,
};
use serde_json::json;
use solana_commitment_config::CommitmentConfig;

use crate::{
    context::Context,
    exact::{self, payment::Exact, transaction::Transaction},
    observe, open,
    plan::Plan,
    reason,
};

/// Slots that a transaction may stay unseen before its bytes are sent again:
/// leaders drop what they have no room for, and nobody repeats it but us.
const RESEND_AFTER: u64 = 2;

/// Slots after which a confirmed block is finalized: 32 on top of it, and a few.
const FINAL_AFTER: u64 = 40;

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

#[async_trait]
impl Chain for SvmChain {
    fn network(&self) -> &Network {
        &self.context.config.network
    }

    fn legacy_name(&self) -> Option<&str> {
        self.context.config.legacy_name.as_deref()
    }

    fn schemes(&self) -> &[Arc<dyn Scheme>] {
        &self.schemes
    }

    fn kinds(&self, gas_wallet: &str) -> Vec<Kind> {
        let extra = json!({ "feePayer": self.context.wallets.announced(gas_wallet) });
        let kind = |version, network: &str| Kind {
            version,
            scheme: exact::NAME,
            network: network.to_owned(),
            extra: Some(extra.clone()),
        };
        let v2 = kind(Version::V2, self.network().as_str());
        let v1 = self.legacy_name().map(|name| kind(Version::V1, name));
        std::iter::once(v2).chain(v1).collect()
    }

    fn extensions(&self) -> Vec<&'static str> {
        vec![]
    }

    fn gas_wallets(&self) -> &[String] {
        self.context.wallets.names()
    }

    /// What is confirmed by two thirds of the stake has never been taken back:
    /// it counts at once.
    fn pace(&self) -> Pace {
        let config = &self.context.config;
        Pace {
            in_flight_max: config.in_flight_max,
            confirmations: 1,
            block_time: config.block_time,
            resend_after: RESEND_AFTER,
            final_after: FINAL_AFTER,
            recheck_interval: config.recheck_interval,
        }
    }

    fn legacy_reason(&self, reason: &str) -> Option<&'static str> {
        let code = reason::TRANSACTION_FAILED;
        (code.spelling(Version::V2) == reason).then(|| code.spelling(Version::V1))
    }

    async fn open(&self) -> Result<(), OpenError> {
        open::open(&self.context).await
    }

    /// A transaction's place is given by its blockhash: there is no sequence.
    async fn sequence(&self, _: &str) -> Result<Option<Sequence>, ChainUnavailable> {
        Ok(None)
    }

    async fn gas_balance(&self, gas_wallet: &str) -> Result<GasBalance, ChainUnavailable> {
        let rpc = &self.context.rpc;
        let address = self.context.wallets.address(gas_wallet);
        let address = address.ok_or_else(|| rpc.unavailable(format!("fee payer {gas_wallet} has no key here")))?;
        let balance = rpc
            .read(|client| {
                let commitment = CommitmentConfig::confirmed();
                async move { client.get_balance_with_commitment(&address, commitment).await }
            })
            .await
            .map_err(|error| rpc.unavailable(error))?;
        let balance_min = Amount::from(self.context.config.gas_balance_min);
        Ok(GasBalance { balance: Amount::from(balance.value), balance_min })
    }

    /// The payer has fixed everything but our signature.
    fn sign(
        &self,
        gas_wallet: &str,
        _: Option<u64>,
        plan: &PlannedTransaction,
        fees: &Fees,
    ) -> Result<SignedTransaction, SignError> {
        let body = Plan::from_body(&plan.body).map_err(|error| SignError::Plan(error.to_string()))?;
        let transaction = Transaction::decode(&body.transaction).map_err(|error| SignError::Plan(error.to_string()))?;
        if transaction.fee_payer().map(ToString::to_string).as_deref() != Some(gas_wallet) {
            return Err(SignError::Plan(format!("{gas_wallet} does not pay the transaction's fee")));
        }
        let signature = self.context.wallets.sign(gas_wallet, transaction.message());
        let signature = signature.ok_or_else(|| SignError::NoKey(gas_wallet.to_owned()))?;
        Ok(SignedTransaction {
            transaction: signature.to_string(),
            raw: transaction.cosigned(&signature),
            gas_wallet: gas_wallet.to_owned(),
            sequence: None,
            gas_limit: u64::from(body.unit_limit),
            fees: fees.clone(),
        })
    }

    /// The payer's transaction offers what it offers.
    fn quote(&self) -> Result<Fees, QuoteError> {
        self.context.heads.newest().map(|_| Fees { per_gas_max: 0, tip_per_gas: 0 }).ok_or(QuoteError::NoHead)
    }

    async fn broadcast(&self, transactions: &[SignedTransaction]) -> Vec<Broadcast> {
        let raw: Vec<&[u8]> = transactions.iter().map(|transaction| transaction.raw.as_slice()).collect();
        self.context.rpc.send(&raw).await
    }

    async fn next_head(&self, after: Option<&Head>, watch: Watch) -> Result<Head, ChainUnavailable> {
        let Context { heads, rpc, logs, clock, .. } = &*self.context;
        heads.next(rpc, logs, &**clock, after, watch).await
    }

    async fn observe(&self, transactions: &[Watched<'_>]) -> Result<Vec<Observation>, ChainUnavailable> {
        observe::observe(&self.context, transactions).await
    }

    async fn check(&self) -> Vec<Finding> {
        open::check(&self.context).await
    }
}
