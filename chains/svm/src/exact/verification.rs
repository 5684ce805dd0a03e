//! Verifies a payment on chain: one look, shared with many others.

use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chains_core::{
    Amount, Rejection,
    chain::ChainUnavailable,
    reason::INVALID_PAYMENT_REQUIREMENTS,
    scheme::{Funds, Occasion, VerifiedPayment},
};
use chains_rpc::Agreement;
use futures::{join, try_join};
use solana_sdk::{account::Account, signature::Signature, transaction::TransactionError};

use super::{
    inner, lookup, plain,
    requirements::Requirements,
    rules::Evaluated,
    simulation::{self, Ask, Simulated},
    smart_wallet::{self, Simulatable},
    transaction::Transaction,
};
use crate::{
    account_reader::Snapshot,
    blockhashes::Life,
    context::Context,
    failure::{self, Fault},
    observe::{self, Credited},
    pace::Newest,
    plan::{Credit, PlanBody, Proof, Terms},
    programs, reason,
    rpc::error::CallError,
    token::TransferChecked,
    token_account::{self, AccountError, AccountView, Call},
};

/// The time for which a blockhash that no node knows is waited for: about five blocks.
const BLOCKHASH_WAIT: Duration = Duration::from_secs(2);

/// The shortest pause between two questions for it.
const BLOCKHASH_PAUSE_MIN: Duration = Duration::from_millis(200);

/// The code of payers whose transactions hold guards: those can make them fail.
const GUARDED: &str = "lighthouse";

/// The findings without the chain.
pub(super) enum Claim {
    /// The transfer stands in the transaction itself.
    Direct(Evaluated),
    /// A wallet's program is to make the transfer.
    Wallet(Simulatable),
}

/// The reason why a payment is not valid, and its duration.
pub(super) enum Refusal {
    /// The same transaction stays bad for a slot or two.
    Lasting(Rejection),
    /// It may be good in a moment, or for other requirements.
    Brief(Rejection),
    /// We could not find out.
    Unavailable(ChainUnavailable),
}

/// One payment and what it is verified against.
#[derive(Clone, Copy)]
pub(super) struct Verification<'a> {
    pub context: &'a Context,
    pub transaction: &'a Transaction,
    pub requirements: &'a Requirements,
}

type Look<T> = Result<T, Refusal>;

impl Verification<'_> {
    /// Everything that the chain has to say.
    pub async fn look(&self, claim: &Claim, occasion: Occasion) -> Look<VerifiedPayment> {
        let newest = self.context.blocks.newest().ok_or_else(|| self.unavailable("no block has been seen yet"))?;
        match claim {
            Claim::Direct(evaluated) => {
                self.check_price(evaluated.budget.unit_price).await?;
                self.direct(evaluated, newest, occasion).await
            }
            Claim::Wallet(simulatable) => {
                self.check_price(simulatable.budget.unit_price).await?;
                self.wallet(simulatable, newest).await
            }
        }
    }

    async fn direct(&self, evaluated: &Evaluated, newest: Newest, occasion: Occasion) -> Look<VerifiedPayment> {
        self.check_token(&evaluated.transfer)?;
        let (life, available) = if plain::is_plain(self.transaction, evaluated) {
            self.by_accounts(evaluated, newest).await?
        } else {
            self.by_simulation(evaluated, newest, occasion).await?
        };
        let proof = if evaluated.transfer.program == programs::TOKEN { Proof::Status } else { Proof::Balances };
        let payment = self.payment(evaluated, life, proof);
        let payer_code = evaluated.guard.map(|_| GUARDED.to_owned());
        Ok(VerifiedPayment { funds: Some(self.funds(&evaluated.transfer, available)), payer_code, ..payment })
    }

    /// Looks at the accounts; the payer's tokens that it may spend.
    async fn by_accounts(&self, evaluated: &Evaluated, newest: Newest) -> Look<(Life, u64)> {
        // Whoever has no money for it is told so at once.
        let (life, (available, slot)) = try_join!(self.life(newest), self.available(evaluated))?;
        self.check_life(life, newest, slot)?;
        if !life.is_exact {
            self.simulate(evaluated, life).await?;
        } else if self.context.sample.takes_next(Instant::now()) {
            self.confirm(evaluated, life).await?;
        }
        Ok((life, available))
    }

    /// Simulates a payment that is good by its accounts. A node that cannot say
    /// contradicts nothing, nor does one alone: it may lie, or lag behind those
    /// that told of the accounts.
    async fn confirm(&self, evaluated: &Evaluated, life: Life) -> Look<()> {
        let Err(Refusal::Lasting(rejection)) = self.simulate(evaluated, life).await else { return Ok(()) };
        // They may have changed since, and then say so.
        self.available(evaluated).await?;
        if self.context.sample.is_doubted(Instant::now()) {
            return Err(Refusal::Lasting(rejection));
        }
        let network = &self.context.config.network;
        let ask = Ask::Account(evaluated.transfer.source);
        let second = simulation::simulate_elsewhere(self.context, self.transaction, ask, life.commitment).await;
        if second.is_ok_and(|simulated| self.judge(evaluated, &simulated).is_ok()) {
            tracing::warn!(
                %network,
                error = %rejection.message,
                "one node's simulation contradicts the accounts of a payment, another's agrees with them: it is taken"
            );
            return Ok(());
        }
        tracing::error!(
            %network,
            error = %rejection.message,
            "a simulation contradicts the accounts of a payment; for an hour every payment is simulated"
        );
        self.context.sample.doubt(Instant::now());
        Err(Refusal::Lasting(rejection))
    }

    /// Simulates; the payer's tokens that it may spend. Where that fails its
    /// accounts say why, and when money is spent they are looked at anyway.
    async fn by_simulation(&self, evaluated: &Evaluated, newest: Newest, occasion: Occasion) -> Look<(Life, u64)> {
        let life = self.life(newest).await?;
        let look = async || match occasion {
            Occasion::Settle => self.available(evaluated).await.map(|(available, _)| Some(available)),
            Occasion::Verify => Ok(None),
        };
        let (simulated, looked) = join!(self.simulate(evaluated, life), look());
        let looked = looked?;
        if let (Err(Refusal::Lasting(_)), None) = (&simulated, looked) {
            self.available(evaluated).await?;
        }
        let simulated = simulated?;
        self.check_life(life, newest, simulated.tables.slot)?;
        let left = || self.left(evaluated, &simulated);
        let available = match looked.or_else(left) {
            Some(available) => available,
            None => self.available(evaluated).await?.0,
        };
        Ok((life, available))
    }

    /// The tokens that the payer may spend, by the account as the transaction
    /// leaves it; `None` when the node does not tell.
    fn left(&self, evaluated: &Evaluated, simulated: &Simulated) -> Option<u64> {
        let transfer = &evaluated.transfer;
        let source = view(simulated.account.as_ref()?);
        // A delegate's last token takes its right away.
        let left = token_account::available(source, transfer, &self.requirements.pay_to).unwrap_or(0);
        Some(left.saturating_add(transfer.amount))
    }

    async fn simulate(&self, evaluated: &Evaluated, life: Life) -> Look<Simulated> {
        let ask = Ask::Account(evaluated.transfer.source);
        let asked = simulation::simulate(self.context, self.transaction, ask, life.commitment).await;
        let simulated = asked.map_err(|error| self.unavailable(error))?;
        self.judge(evaluated, &simulated)?;
        Ok(simulated)
    }

    fn judge(&self, evaluated: &Evaluated, simulated: &Simulated) -> Look<()> {
        if let Some(error) = &simulated.error {
            return Err(self.refusal(error, reason::SIMULATION_FAILED));
        }
        self.check_floor(evaluated, simulated)?;
        self.check_credit(&evaluated.transfer, simulated, self.transaction.accounts())
    }

    /// Checks that a guard on the fee payer leaves room for the payments
    /// that are under way with this one, each as dear as any may be.
    fn check_floor(&self, evaluated: &Evaluated, simulated: &Simulated) -> Look<()> {
        let Some(floor) = evaluated.guard.and_then(|guard| guard.fee_payer_floor) else { return Ok(()) };
        let balance = simulated.fee_payer_balance;
        let balance = balance.ok_or_else(|| self.unavailable("the node tells no balances in simulations"))?;
        let under_way = u64::try_from(self.context.config.in_flight_max).unwrap_or(u64::MAX);
        let room = self.context.config.limits.fee_max.saturating_mul(under_way);
        if floor.saturating_add(room) <= balance {
            return Ok(());
        }
        let message = "a guard asks that the fee payer keeps nearly all it has: the next payment would break it";
        Err(Refusal::Lasting(Rejection::new(reason::SIMULATION_FAILED, message)))
    }

    /// The function that evaluates a block evaluates the simulation: valid
    /// means that it would be called settled.
    fn check_credit(
        &self,
        transfer: &TransferChecked,
        simulated: &Simulated,
        accounts: &[solana_sdk::pubkey::Pubkey],
    ) -> Look<()> {
        let told = simulated.balances().map(|balances| balances.show(&self.credit(transfer), accounts));
        match told {
            Some(Credited::Yes) => Ok(()),
            Some(Credited::No(why)) => Err(Refusal::Lasting(Rejection::new(reason::SIMULATION_FAILED, why))),
            Some(Credited::Unknown) | None => Err(self.unavailable("the node tells no token balances in simulations")),
        }
    }

    async fn wallet(&self, simulatable: &Simulatable, newest: Newest) -> Look<VerifiedPayment> {
        let life = self.life(newest).await?;
        let simulated = match simulation::simulate(self.context, self.transaction, Ask::Calls, life.commitment).await {
            Ok(simulated) => simulated,
            Err(error) => return Err(self.unanswered(error).await),
        };
        if let Some(error) = &simulated.error {
            return Err(self.refusal(error, reason::WALLET_SIMULATION_FAILED));
        }
        self.check_life(life, newest, simulated.tables.slot)?;
        let Context { wallets, associated, .. } = self.context;
        let ours = wallets.addresses();
        let loaded = lookup::resolve(self.transaction.lookups(), &simulated.tables).map_err(Refusal::Brief)?;
        smart_wallet::check_loaded(self.transaction, &loaded, ours).map_err(Refusal::Lasting)?;
        let called = inner::read(&simulated.inner, self.transaction, &loaded);
        let evaluated = simulatable.evaluate(&called, self.requirements, ours, associated).map_err(Refusal::Brief)?;
        let transfer = &evaluated.transfer;
        self.check_token(transfer)?;
        self.check_credit(transfer, &simulated, &[self.transaction.accounts(), &loaded].concat())?;
        let [destination, source, _] = self.accounts(transfer, None).await?.accounts;
        self.check_destination(transfer, destination.as_ref())?;
        let payment = self.payment(&evaluated, life, Proof::Balances);
        let available = source
            .as_ref()
            .and_then(|source| token_account::available(view(source), transfer, &self.requirements.pay_to));
        let funds = available.map(|available| self.funds(transfer, available));
        Ok(VerifiedPayment { funds, payer_code: Some(simulatable.program.to_string()), ..payment })
    }

    /// Checks the price against that of the network.
    async fn check_price(&self, price: u64) -> Look<()> {
        let Context { config, prices, rpc, .. } = self.context;
        let bounds = config.price_bounds();
        if price <= bounds.floor {
            return Ok(());
        }
        let cap = prices.cap(rpc, bounds).await;
        if price <= cap {
            return Ok(());
        }
        let message = format!("{price} micro-lamports for a compute unit: the network takes {cap} and less now");
        Err(Refusal::Brief(Rejection::new(reason::COMPUTE_PRICE_TOO_HIGH, message)))
    }

    /// The token's own program and decimals, as found when the network was proven.
    fn check_token(&self, transfer: &TransferChecked) -> Look<()> {
        let mint = &transfer.mint;
        let known = match self.context.mints.found(mint) {
            Some(Ok(known)) => known,
            Some(Err(_)) => {
                let message = format!(
                    "{mint} is not what this facilitator's configuration says: payments in it are suspended until it is"
                );
                return Err(Refusal::Brief(Rejection::new(reason::ASSET_SUSPENDED, message)));
            }
            None => {
                let message = format!("there is no token {mint} on this cluster, or none that is fit for payments");
                return Err(Refusal::Lasting(Rejection::new(INVALID_PAYMENT_REQUIREMENTS, message)));
            }
        };
        if known.program != transfer.program {
            let message = format!("the token {mint} is one of program {}", known.program);
            return Err(Refusal::Lasting(Rejection::new(reason::NO_TRANSFER_INSTRUCTION, message)));
        }
        if known.decimals != transfer.decimals {
            let message =
                format!("the transfer writes {} decimals, the token has {}", transfer.decimals, known.decimals);
            return Err(Refusal::Lasting(Rejection::new(reason::SIMULATION_FAILED, message)));
        }
        Ok(())
    }

    /// The time of the blockhash. One that no node knows may be newer than their
    /// blocks, where the payer's node is ahead: the next blocks are waited for.
    async fn life(&self, newest: Newest) -> Look<Life> {
        let Context { blockhashes, blocks, rpc, config, .. } = self.context;
        let until = Instant::now() + BLOCKHASH_WAIT;
        let (mut newest, mut place) = (newest, None);
        loop {
            let life = blockhashes.life(rpc, newest, self.transaction.blockhash()).await;
            if let Some(life) = life.map_err(|error| self.unavailable(error))? {
                return Ok(life);
            }
            place = place.or_else(|| self.context.blockhash_waits.try_acquire().ok());
            let rest = until.saturating_duration_since(Instant::now());
            if place.is_none() || rest.is_zero() {
                break;
            }
            tokio::time::sleep(config.block_time.max(BLOCKHASH_PAUSE_MIN).min(rest)).await;
            newest = blocks.newest().unwrap_or(newest);
        }
        drop(place);
        if let Some(lag) = rpc.lag().await {
            return Err(self.unavailable(lag));
        }
        let message = "the transaction would fail: its blockhash is too old, or of another cluster";
        Err(Refusal::Brief(Rejection::new(reason::SIMULATION_FAILED, message)))
    }

    /// Checks that the blockhash is accepted for long enough from a slot on.
    fn check_life(&self, life: Life, newest: Newest, slot: u64) -> Look<()> {
        let height = newest.height_max_at(slot).unwrap_or(newest.height);
        let (left, min) = (life.last_height.saturating_sub(height), self.context.config.blockhash_blocks_min);
        if !life.is_exact || left >= min {
            return Ok(());
        }
        let message = format!(
            "the transaction's blockhash is accepted for {left} more blocks, needed are {min}: sign with a new one"
        );
        Err(Refusal::Lasting(Rejection::new(reason::BLOCKHASH_EXPIRING, message)))
    }

    /// The tokens that the payer may spend, when all its accounts are good
    /// and nobody has executed the transaction; the slot that was looked at.
    pub async fn available(&self, evaluated: &Evaluated) -> Look<(u64, u64)> {
        let transfer = &evaluated.transfer;
        let Context { wallets, .. } = self.context;
        // Whoever has our key makes the same signature.
        let signature = wallets.sign(&evaluated.fee_payer.to_string(), self.transaction.message());
        let Snapshot { slot, accounts: [destination, source, authority], is_executed } =
            self.accounts(transfer, signature).await?;
        if let Some(signature) = signature.filter(|_| is_executed)
            && self.is_executed(signature).await?
        {
            return Err(self.refusal(&TransactionError::AlreadyProcessed, reason::SIMULATION_FAILED));
        }
        self.check_destination(transfer, destination.as_ref())?;
        let [source, authority] = [&source, &authority].map(|account| account.as_ref().map(view));
        let checked = token_account::check_source(source, transfer, &self.requirements.pay_to, Call::Direct)
            .and_then(|available| token_account::check_authority(authority).map(|()| available));
        checked.map(|available| (available, slot)).map_err(|error| Refusal::Lasting(error.rejection("payer")))
    }

    /// Returns whether a transaction that one endpoint calls executed is, as two say.
    async fn is_executed(&self, signature: Signature) -> Look<bool> {
        let said = observe::is_executed(&self.context.rpc, signature).await;
        match said.map_err(|error| self.unavailable(error))? {
            Agreement::Agreed(executed) | Agreement::Alone(executed) => Ok(executed),
            Agreement::Disagreed(_) => {
                Err(self.unavailable("the endpoints do not agree on whether the transaction has been executed"))
            }
        }
    }

    async fn accounts(&self, transfer: &TransferChecked, signature: Option<Signature>) -> Look<Snapshot> {
        let Context { accounts, rpc, .. } = self.context;
        let parties = [transfer.destination, transfer.source, transfer.authority];
        let read = accounts.read(rpc, parties, signature).await;
        read.map_err(|error| self.unavailable(error))
    }

    fn check_destination(&self, transfer: &TransferChecked, account: Option<&Account>) -> Look<()> {
        let checked = token_account::check_destination(account.map(view), transfer, &self.requirements.pay_to);
        let refused = |error| match error {
            AccountError::Missing => {
                let message = format!(
                    "the payee has no token account {} for {}: it must exist before the first payment",
                    transfer.destination, transfer.mint
                );
                Rejection::new(reason::DESTINATION_MISSING, message)
            }
            error => error.rejection("payee"),
        };
        checked.map(drop).map_err(|error| Refusal::Lasting(refused(error)))
    }

    /// Returns the reason why nodes would not even try the transaction: they answer so when they
    /// cannot read its lookup tables.
    async fn unanswered(&self, error: CallError) -> Refusal {
        let lookups = self.transaction.lookups();
        if error.blames_request()
            && !lookups.is_empty()
            && let Ok(tables) = lookup::fetch(self.context, lookups).await
            && let Err(rejection) = lookup::resolve(lookups, &tables)
        {
            return Refusal::Brief(rejection);
        }
        self.unavailable(error)
    }

    /// Returns the reason why the transaction would fail.
    fn refusal(&self, error: &TransactionError, code: chains_core::Code) -> Refusal {
        let failed = |said: String| Rejection::new(code, format!("Simulation failed: {said}"));
        match failure::fault(error) {
            Fault::Passing => self.unavailable(error),
            // Another node knows it: this one is behind, or it has expired this moment.
            Fault::Blockhash => self.unavailable("the node that simulates does not know the blockhash"),
            Fault::Tables => {
                let message = format!("the transaction would fail: {error}");
                Refusal::Brief(Rejection::new(reason::ALT_RESOLUTION_FAILED, message))
            }
            Fault::Payment if *error == TransactionError::AlreadyProcessed => {
                Refusal::Lasting(failed("the transaction has been executed already".to_owned()))
            }
            Fault::Payment => Refusal::Lasting(failed(failure::explain(error, self.transaction))),
        }
    }

    fn credit(&self, transfer: &TransferChecked) -> Credit {
        Credit {
            mint: transfer.mint.to_string(),
            destination: transfer.destination.to_string(),
            pay_to: self.requirements.pay_to.to_string(),
            authority: transfer.authority.to_string(),
            amount: Amount::from(self.requirements.amount),
        }
    }

    pub fn funds(&self, transfer: &TransferChecked, available: u64) -> Funds {
        let account = format!("{}/{}", self.context.config.network, transfer.source);
        Funds { account, available: Amount::from(available) }
    }

    fn payment(&self, evaluated: &Evaluated, life: Life, proof: Proof) -> VerifiedPayment {
        let transfer = &evaluated.transfer;
        let body = PlanBody {
            transaction: BASE64_STANDARD.encode(self.transaction.wire()),
            terms: Terms { unit_limit: evaluated.budget.unit_limit, unit_price: evaluated.budget.unit_price },
            fee: evaluated.fee,
            known_height: life.known_height,
            last_valid_block_height: life.last_height,
            proof,
            effect: self.credit(transfer),
        };
        VerifiedPayment {
            payer: transfer.authority.to_string(),
            amount: Amount::from(self.requirements.amount),
            plan: body.plan(evaluated.fee_payer.to_string()),
            nothing_to_send: false,
            funds: None,
            payer_code: None,
        }
    }

    fn unavailable(&self, detail: impl std::fmt::Display) -> Refusal {
        Refusal::Unavailable(self.context.rpc.unavailable(detail))
    }
}

fn view(account: &Account) -> AccountView<'_> {
    AccountView { owner: &account.owner, data: &account.data }
}
