//! A payment of scheme `exact`: read, judged, and looked at on chain.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chains_core::{
    Amount, Fingerprint, Identity, Payment, Rejection,
    chain::{ChainUnavailable, PlannedTransaction},
    reason::{INVALID_PAYLOAD, INVALID_PAYMENT_REQUIREMENTS},
    scheme::{Authorization, Funds, Purpose, Scheme, Verdict, VerifiedPayment},
};
use serde_json::Value;
use solana_sdk::{account::Account, pubkey::Pubkey, signature::SIGNATURE_BYTES, transaction::TransactionError};

use super::{
    NAME,
    demand::Demand,
    diagnosis, inner, lookup,
    rules::{self, Judged, Policy},
    simulation::{self, Simulated, Tell},
    smart_wallet::{self, Simulatable},
    transaction::Transaction,
};
use crate::{
    compute_budget::Limits,
    config::BLOCKHASH_BLOCKS,
    context::Context,
    failure::{self, Fault},
    plan::{Credit, Plan},
    reason,
    rpc::error::CallError,
    token_account::{self, AccountView},
};

/// Scheme `exact` on one cluster.
pub(crate) struct Exact {
    context: Arc<Context>,
}

impl Exact {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }
}

impl Scheme for Exact {
    fn name(&self) -> &'static str {
        NAME
    }

    fn read(&self, payment: &Payment) -> Result<Box<dyn Authorization>, Rejection> {
        let Context { config, wallets, .. } = &*self.context;
        let demand = Demand::read(payment)?;
        let fee_payer = demand.check_names(&config.network, wallets.addresses())?;
        let text = payment.payload.get("transaction").and_then(Value::as_str);
        let text = text.ok_or_else(|| Rejection::new(INVALID_PAYLOAD, "`payload.transaction` must be a string"))?;
        let transaction = Transaction::decode(text)?;
        let claim = claim(&self.context, &transaction, &demand, fee_payer);
        let payer = payer(&transaction, claim.as_ref().ok());
        let fingerprint = fingerprint(&demand, fee_payer, &transaction);
        let nonce = hex::encode(transaction.message_hash());
        let context = Arc::clone(&self.context);
        Ok(Box::new(Transfer { context, transaction, demand, claim, payer, fingerprint, nonce }))
    }
}

/// What is found without the chain.
enum Claim {
    /// The transfer stands in the transaction itself.
    Direct(Judged),
    /// A wallet's program is to make the transfer.
    Wallet(Simulatable),
}

/// Everything that needs no chain.
fn claim(context: &Context, transaction: &Transaction, demand: &Demand, fee_payer: Pubkey) -> Result<Claim, Rejection> {
    let programs = &context.config.smart_wallets;
    match judge(context, transaction, demand, fee_payer) {
        Ok(judged) => Ok(Claim::Direct(judged)),
        Err(refused) if programs.is_empty() || !smart_wallet::may_be_wallet(refused.code) => Err(refused),
        Err(_) => {
            let limits = smart_wallet::default_limits();
            let limits = Limits {
                units_max: limits.units_max.min(context.config.limits.units_max),
                unit_price_max: limits.unit_price_max.min(context.config.limits.unit_price_max),
                fee_max: context.config.limits.fee_max,
            };
            let policy = smart_wallet::Policy { ours: context.wallets.addresses(), programs, limits };
            smart_wallet::check(transaction, demand, fee_payer, policy).map(Claim::Wallet)
        }
    }
}

/// The transfer's authority. A wallet's is known only after the simulation:
/// until then, who signs for it.
fn payer(transaction: &Transaction, claim: Option<&Claim>) -> String {
    let payer = match claim {
        Some(Claim::Direct(judged)) => Some(&judged.transfer.authority),
        Some(Claim::Wallet(_)) => transaction.signers().get(1),
        None => transaction.payer(),
    };
    payer.map(ToString::to_string).unwrap_or_default()
}

/// The usual layout.
fn judge(
    context: &Context,
    transaction: &Transaction,
    demand: &Demand,
    fee_payer: Pubkey,
) -> Result<Judged, Rejection> {
    let config = &context.config;
    demand.check_requirements(&config.assets)?;
    let lone = config.lone_transfer_fee_max;
    let policy =
        Policy { ours: context.wallets.addresses(), limits: config.limits, without_compute_budget: lone.is_some() };
    let judged = rules::judge(transaction, demand, fee_payer, policy)?;
    if judged.budget.unit_price == 0 && lone.is_some_and(|max| judged.fee > max) {
        let message = format!("the fee would be {} lamports, more than such a transfer may cost", judged.fee);
        return Err(Rejection::new(reason::COMPUTE_PRICE_TOO_HIGH, message));
    }
    Ok(judged)
}

/// What decides the answer: the demand, the message, and who signed it how.
fn fingerprint(demand: &Demand, fee_payer: Pubkey, transaction: &Transaction) -> Fingerprint {
    let parts: [&[u8]; 6] = [
        demand.asset.as_ref(),
        demand.pay_to.as_ref(),
        &demand.amount.to_be_bytes(),
        fee_payer.as_ref(),
        demand.memo.as_deref().unwrap_or_default().as_bytes(),
        after_our_signature(transaction.wire()),
    ];
    Fingerprint::of("svm", &parts)
}

/// The payer's signature and the message; what stands in the place of ours means nothing.
fn after_our_signature(wire: &[u8]) -> &[u8] {
    wire.get(1 + SIGNATURE_BYTES..).unwrap_or_default()
}

/// One transfer that the payer has signed.
struct Transfer {
    context: Arc<Context>,
    transaction: Transaction,
    demand: Demand,
    claim: Result<Claim, Rejection>,
    payer: String,
    fingerprint: Fingerprint,
    nonce: String,
}

/// Why a payment is not valid, and for how long.
enum Refusal {
    /// The same transaction stays bad for a while.
    Lasting(Rejection),
    /// It may be good in a moment.
    Brief(Rejection),
    /// We could not find out.
    Unavailable(ChainUnavailable),
}

#[async_trait]
impl Authorization for Transfer {
    fn payer(&self) -> &str {
        &self.payer
    }

    fn identity(&self) -> Identity {
        self.transaction.identity(&self.context.config.network)
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The payer draws none: what makes the transaction one of its kind is its message.
    fn nonce(&self) -> &str {
        &self.nonce
    }

    async fn verify(&self, purpose: Purpose) -> Verdict {
        let claim = match &self.claim {
            Ok(claim) => claim,
            Err(rejection) => return Verdict::Invalid(rejection.clone()),
        };
        let Context { verified, refused, .. } = &*self.context;
        let now = Instant::now();
        if purpose == Purpose::Settle
            && let Some(payment) = verified.take(&self.fingerprint, now)
        {
            return Verdict::Valid(payment);
        }
        if let Some(rejection) = refused.get(self.transaction.message_hash(), now) {
            return Verdict::Invalid(rejection);
        }
        match self.look(claim).await {
            Ok(payment) => {
                // Lookup tables are looked at again when it is settled.
                if purpose == Purpose::Verify && self.transaction.lookups().is_empty() {
                    verified.keep(self.fingerprint, payment.clone(), now);
                }
                Verdict::Valid(payment)
            }
            Err(refusal) => {
                // What a verify before this one found good is so no longer.
                drop(verified.take(&self.fingerprint, now));
                self.verdict(refusal, now)
            }
        }
    }
}

impl Transfer {
    fn verdict(&self, refusal: Refusal, now: Instant) -> Verdict {
        match refusal {
            Refusal::Lasting(rejection) => {
                let refused = &self.context.refused;
                refused.keep(*self.transaction.message_hash(), rejection.clone(), now);
                Verdict::Invalid(rejection)
            }
            Refusal::Brief(rejection) => Verdict::Invalid(rejection),
            Refusal::Unavailable(error) => Verdict::Unavailable(error),
        }
    }

    /// What the chain says: one request when all is good.
    async fn look(&self, claim: &Claim) -> Result<VerifiedPayment, Refusal> {
        if let Claim::Direct(judged) = claim {
            self.check_token_program(judged)?;
        }
        let tell = match claim {
            Claim::Direct(judged) => Tell::Source(judged.transfer.source),
            Claim::Wallet(_) => Tell::Calls,
        };
        let simulated = match simulation::simulate(&self.context, &self.transaction, tell).await {
            Ok(simulated) => simulated,
            Err(error) => return Err(self.unanswered(error).await),
        };
        if let Some(error) = &simulated.error {
            return Err(self.refusal(claim, error).await);
        }
        let blocks_left = self.blocks_left(&simulated)?;
        let judged = match claim {
            Claim::Direct(judged) => *judged,
            Claim::Wallet(simulatable) => self.find_transfer(simulatable, &simulated)?,
        };
        let payment = self.plan(&judged, simulated.height_max.saturating_add(blocks_left));
        Ok(VerifiedPayment { funds: self.funds(&judged, simulated.source.as_ref()), ..payment })
    }

    /// What the payment is paid from, of what the simulation leaves there.
    fn funds(&self, judged: &Judged, source: Option<&Account>) -> Option<Funds> {
        let (transfer, account) = (&judged.transfer, source?);
        let view = AccountView { owner: &account.owner, data: &account.data };
        let left = token_account::available(view, transfer, &self.demand.pay_to)?;
        let account = format!("{}/{}", self.context.config.network, transfer.source);
        Some(Funds { account, available: Amount::from(left.saturating_add(transfer.amount)) })
    }

    /// Why nodes would not even try the transaction: they answer so when they
    /// cannot read its lookup tables.
    async fn unanswered(&self, error: CallError) -> Refusal {
        let lookups = self.transaction.lookups();
        if error.blames_request()
            && !lookups.is_empty()
            && let Ok(tables) = lookup::fetch(&self.context, lookups).await
            && let Err(rejection) = lookup::resolve(lookups, &tables)
        {
            return Refusal::Brief(rejection);
        }
        Refusal::Unavailable(self.context.rpc.unavailable(error))
    }

    /// Why the transaction would fail.
    async fn refusal(&self, claim: &Claim, error: &TransactionError) -> Refusal {
        match (failure::fault(error), claim) {
            (Fault::Passing, _) => Refusal::Unavailable(self.context.rpc.unavailable(error)),
            (Fault::Blockhash, _) => {
                let message = "the transaction would fail: its blockhash is too old, or of another cluster";
                Refusal::Brief(Rejection::new(reason::SIMULATION_FAILED, message))
            }
            (Fault::Tables, _) => {
                let message = format!("the transaction would fail: {error}");
                Refusal::Brief(Rejection::new(reason::ALT_RESOLUTION_FAILED, message))
            }
            (Fault::Payment, Claim::Direct(judged)) => {
                let (context, pay_to) = (&self.context, &self.demand.pay_to);
                Refusal::Lasting(diagnosis::find(context, &self.transaction, judged, pay_to, error).await)
            }
            (Fault::Payment, Claim::Wallet(_)) => {
                let message = format!("Simulation failed: {}", failure::explain(error, &self.transaction));
                Refusal::Lasting(Rejection::new(reason::WALLET_SIMULATION_FAILED, message))
            }
        }
    }

    /// The transfer that a wallet's program would make. What is wrong with it
    /// is wrong for this demand alone.
    fn find_transfer(&self, simulatable: &Simulatable, simulated: &Simulated) -> Result<Judged, Refusal> {
        let ours = self.context.wallets.addresses();
        let loaded = lookup::resolve(self.transaction.lookups(), &simulated.tables).map_err(Refusal::Brief)?;
        smart_wallet::check_loaded(&self.transaction, &loaded, ours).map_err(Refusal::Lasting)?;
        let called = inner::read(&simulated.inner, &self.transaction, &loaded);
        let judged = simulatable.judge(&called, &self.demand, ours).map_err(Refusal::Brief)?;
        self.check_token_program(&judged)?;
        Ok(judged)
    }

    /// The token's own program, as found when the network was opened.
    fn check_token_program(&self, judged: &Judged) -> Result<(), Refusal> {
        let mint = &judged.transfer.mint;
        let Some(program) = self.context.mints.read().get(mint).copied() else {
            let message = format!("the token {mint} has been found unfit for payments");
            return Err(Refusal::Lasting(Rejection::new(INVALID_PAYMENT_REQUIREMENTS, message)));
        };
        if program == judged.transfer.program {
            return Ok(());
        }
        let message = format!("the token {mint} is one of program {program}");
        Err(Refusal::Lasting(Rejection::new(reason::NO_TRANSFER_INSTRUCTION, message)))
    }

    /// For how many more blocks the blockhash is accepted; an upper bound
    /// when the node does not tell.
    fn blocks_left(&self, simulated: &Simulated) -> Result<u64, Refusal> {
        let Some(blockhashes) = &simulated.blockhashes else { return Ok(BLOCKHASH_BLOCKS) };
        let left = blockhashes.blocks_left(&self.transaction.blockhash()).unwrap_or(0);
        let min = self.context.config.blockhash_blocks_min;
        if left < min {
            let message = format!(
                "the transaction's blockhash is accepted for {left} more blocks, needed are {min}: sign with a new one"
            );
            return Err(Refusal::Lasting(Rejection::new(reason::BLOCKHASH_EXPIRING, message)));
        }
        Ok(left)
    }

    fn plan(&self, judged: &Judged, last_valid_block_height: u64) -> VerifiedPayment {
        let transfer = &judged.transfer;
        let amount = Amount::from(self.demand.amount);
        let body = Plan {
            transaction: BASE64_STANDARD.encode(self.transaction.wire()),
            unit_limit: judged.budget.unit_limit,
            last_valid_block_height,
            effect: Credit {
                mint: transfer.mint.to_string(),
                destination: transfer.destination.to_string(),
                authority: transfer.authority.to_string(),
                amount,
            },
        };
        let gas_wallet = Some(judged.fee_payer.to_string());
        let plan = PlannedTransaction { gas_wallet, body: body.to_body(), valid_before: None };
        VerifiedPayment { amount, plan, nothing_to_send: false, funds: None }
    }
}

#[cfg(test)]
mod tests;
