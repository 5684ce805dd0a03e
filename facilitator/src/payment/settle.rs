//! `/settle`: puts a payment on chain, once.
//!
//! A request goes through five steps: is the payment known already (then it
//! joins, or is a duplicate) → is it good → claim it → hand it to the submitter
//! → wait. Where another instance has the gas wallet, it is handed over to that
//! one. Nothing is claimed before every check has passed; the settlement
//! goes on when the request has left. The replay guard is told before the store
//! is asked, when the claim was not made, and when the success was given away.

mod hand_over;
mod known;
mod mark;
mod under_way;
mod wait;

use std::sync::{Arc, OnceLock};

use chains_core::{
    Payment, Rejection,
    protocol::Request,
    scheme::{Authorization, Occasion, Verdict, VerifiedPayment},
    transaction::Plan,
};
use serde_json::Map;
use tokio::time::{Instant, timeout_at};

use self::mark::Mark;
use super::{Asked, Payments, Pending, SettleOutcome, Unavailable, identifier};
use crate::{
    in_flight::{Claim, Dropped, Waiter},
    limits::Share,
    settlement::{Caller, Facts, NotNow, Settled, SettlementId, State},
    store::{ApplyError, Change, StoreError},
    submitter::{Busy, Job, Submitter},
};

/// Times that a request looks for its payment. It looks again after a claim beside
/// it came to nothing, in the store from then on where the store has the payment; the
/// deadline bounds them all.
const TRIES_MAX: usize = 16;

/// The payment of a settle request, read.
struct Opened<'p> {
    /// Without its payload and other members that only the authorization needs.
    payment: Payment,
    submitter: &'p Arc<Submitter>,
    authorization: Box<dyn Authorization>,
    caller: Caller,
}

/// One settle request, read.
struct Call<'a> {
    payment: &'a Payment,
    authorization: &'a dyn Authorization,
    caller: &'a Caller,
    /// Names the request in the log, and the settlement that it begins.
    request_id: &'a str,
    submitter: &'a Arc<Submitter>,
    deadline: Instant,
    /// The payer, once a verdict or a settlement has told: the payload only claims one.
    payer: OnceLock<String>,
    /// The settlement with its transaction, once another owner goes on with it.
    under_way: OnceLock<(SettlementId, String)>,
    /// Set once the payment was handed over to another instance: it is not again.
    handed_over: OnceLock<()>,
    /// Set once its gas wallet went to another instance while it waited for it.
    moved: OnceLock<()>,
    /// Set once the store is known to have the payment: it tells what became of it.
    in_store: OnceLock<()>,
}

impl<'a> Call<'a> {
    fn new(opened: &'a Opened<'_>, request_id: &'a str, deadline: Instant) -> Self {
        Self {
            payment: &opened.payment,
            authorization: &*opened.authorization,
            caller: &opened.caller,
            request_id,
            submitter: opened.submitter,
            deadline,
            payer: OnceLock::new(),
            under_way: OnceLock::new(),
            handed_over: OnceLock::new(),
            moved: OnceLock::new(),
            in_store: OnceLock::new(),
        }
    }

    /// Notes the payer that a verdict or a settlement tells.
    fn pays(&self, payer: &str) {
        self.payer.get_or_init(|| payer.to_owned());
    }

    /// Notes that another owner of the gas wallet goes on with the settlement.
    fn is_under_way(&self, id: SettlementId, transaction: &str) {
        self.under_way.get_or_init(|| (id, transaction.to_owned()));
    }

    /// Notes that the payment is handed over, or may be: from here on somebody may begin it.
    fn is_handed_over(&self, id: SettlementId) {
        self.handed_over.get_or_init(|| ());
        self.is_under_way(id, "");
    }

    /// Notes that the store has the payment: claims of it in this process come to nothing.
    fn looks_into_store(&self) {
        self.in_store.get_or_init(|| ());
    }

    /// Returns true once the store is known to have the payment.
    fn is_in_store(&self) -> bool {
        self.in_store.get().is_some()
    }

    /// The id of this instance, where the payment, or any, may be handed over to another.
    fn hands_over(&self, plan: Option<&Plan>) -> Option<&str> {
        self.submitter.hands_over(plan).filter(|_| self.handed_over.get().is_none())
    }

    /// Returns true, once, where another instance may begin a payment whose gas wallet was taken from here.
    fn moves_on(&self) -> bool {
        self.hands_over(None).is_some() && self.moved.set(()).is_ok()
    }

    /// The answer where no better one is to be had: nothing was begun, unless
    /// something is known to be under way.
    fn give_up(&self, why: NotNow) -> SettleOutcome {
        match self.under_way.get() {
            Some((id, transaction)) => {
                SettleOutcome::Pending { id: *id, transaction: transaction.clone(), why: Pending::NotAccepted }
            }
            None => SettleOutcome::Unavailable(Unavailable::now(why)),
        }
    }
}

/// The result of one step of a settle request.
enum Next<T> {
    /// The request goes on.
    Go(T),
    /// It starts over: the settlement it met was given back.
    Again,
    /// It is answered.
    Answer(SettleOutcome),
}

/// A payment that was found good and is now this request's to settle.
struct Claimed {
    waiter: Waiter,
    verified: VerifiedPayment,
}

impl<T> Next<T> {
    fn unavailable(why: NotNow) -> Self {
        Self::Answer(SettleOutcome::Unavailable(Unavailable::now(why)))
    }
}

/// Says that the store failed while a payment was claimed.
fn cannot_claim<T>(call: &Call<'_>, error: &StoreError) -> Next<T> {
    tracing::error!(request_id = call.request_id, %error, "a payment could not be claimed: the store failed");
    Next::Answer(call.give_up(NotNow::Store))
}

impl Payments {
    /// Settles a payment, or says what became of it. Its time counts from the call on.
    pub fn settle(
        &self,
        request: Request,
        caller: Caller,
        request_id: &str,
    ) -> impl Future<Output = (Asked, SettleOutcome)> {
        let deadline = Instant::now() + self.waits.settle;
        let mut asked = self.asked(&request);
        // Read before the future is made, which is as large as everything that it is given.
        let opened = request.payment.and_then(|payment| self.open(payment, caller)).map(Box::new);
        async move {
            let opened = match opened {
                Ok(opened) => opened,
                Err(rejection) => return (asked, SettleOutcome::Rejected(rejection)),
            };
            let authorization = &*opened.authorization;
            authorization.payer().clone_into(&mut asked.payer);
            let call = Call::new(&opened, request_id, deadline);
            let outcome = self.tries(&call).await;
            if let Some(payer) = call.payer.into_inner() {
                asked.payer = payer;
            }
            if let SettleOutcome::Settled { id, transaction, .. } = &outcome {
                self.guard.deliver(&authorization.identity(), *id, transaction);
            }
            (asked, outcome)
        }
    }

    /// Finds the way of a payment, and reads its payload.
    fn open(&self, payment: Payment, caller: Caller) -> Result<Opened<'_>, Rejection> {
        let identifier = identifier::of(&payment)?;
        let (submitter, authorization) = self.read(&payment)?;
        let caller = Caller { key: caller.key.or(identifier), ..caller };
        // The authorization has read them: they would only take memory while the request waits.
        let (payload, extra, extensions) = (Map::new(), Map::new(), Map::new());
        let payment = Payment { payload, extra, extensions, ..payment };
        Ok(Opened { payment, submitter, authorization, caller })
    }

    async fn tries(&self, call: &Call<'_>) -> SettleOutcome {
        let mut mark = Mark::default();
        for _ in 0..TRIES_MAX {
            match self.attempt(call, &mut mark).await {
                Ok(Next::Answer(outcome)) => return outcome,
                Ok(Next::Go(()) | Next::Again) => {}
                Err(error) => {
                    tracing::error!(request_id = call.request_id, %error, "a payment could not be settled: the store failed");
                    return call.give_up(NotNow::Store);
                }
            }
        }
        call.give_up(NotNow::TooManyAtOnce)
    }

    async fn attempt(&self, call: &Call<'_>, mark: &mut Mark) -> Result<Next<()>, StoreError> {
        match self.known(call, mark).await? {
            Next::Answer(outcome) => return Ok(Next::Answer(outcome)),
            Next::Again => return Ok(Next::Again),
            Next::Go(Some(entry)) => return Ok(wait::meet(call, &entry).await),
            Next::Go(None) => {}
        }
        // One that was begun before the pause is answered above.
        if self.pause.covers(call.payment, &call.caller.tenant) {
            return Ok(Next::unavailable(NotNow::Paused));
        }
        if !call.submitter.takes_payments() {
            return Ok(Next::unavailable(NotNow::NetworkClosed));
        }
        if let Some(busy) = call.submitter.busy()
            && call.hands_over(None).is_none()
        {
            return Ok(Next::unavailable(not_now(busy)));
        }
        if let Err(rejection) = self.check_barred(&call.payment.network, call.authorization.payer()).await {
            return Ok(Next::Answer(SettleOutcome::Rejected(rejection)));
        }
        let Claimed { waiter, verified } = match Box::pin(self.claim(call)).await {
            Next::Go(claimed) => claimed,
            Next::Again => return Ok(Next::Again),
            Next::Answer(outcome) => return Ok(Next::Answer(outcome)),
        };
        mark.keep();
        if verified.nothing_to_send {
            return Box::pin(self.settle_nothing(call, waiter)).await;
        }
        let job = Job { entry: Arc::clone(waiter.entry()), plan: verified.plan, deadline: call.deadline };
        if let Err((busy, plan)) = call.submitter.submit(job) {
            if let Some(instance) = call.hands_over(Some(&plan)) {
                return Box::pin(self.hand_over(call, waiter, plan, instance)).await;
            }
            let why = not_now(busy);
            self.registry.give_back(waiter.entry(), Dropped::Unavailable(why)).await;
            return Ok(Next::unavailable(why));
        }
        Ok(wait::as_owner(call, waiter).await)
    }

    /// Verifies the payment, and claims it. When the payer's payments that are
    /// under way leave too little for it, it waits until one of them has ended,
    /// and asks the chain again: the chain decides what is too much.
    async fn claim(&self, call: &Call<'_>) -> Next<Claimed> {
        loop {
            let claimed_block = call.submitter.block_number();
            let verified = match call.authorization.verify(Occasion::Settle).await {
                Verdict::Valid(verified) => verified,
                Verdict::Invalid(rejection) => {
                    return match self.is_begun_elsewhere(call).await {
                        Ok(true) => Next::Again,
                        Ok(false) => Next::Answer(SettleOutcome::Rejected(rejection)),
                        Err(error) => cannot_claim(call, &error),
                    };
                }
                Verdict::Unavailable(error) => {
                    tracing::debug!(request_id = call.request_id, %error, "a payment could not be verified");
                    return Next::unavailable(NotNow::ChainUnavailable);
                }
            };
            call.pays(&verified.payer);
            if let Err(rejection) = self.check_verified(call.authorization, &verified, &call.payment.network).await {
                return Next::Answer(SettleOutcome::Rejected(rejection));
            }
            let facts = Arc::new(self.facts(call, &verified, claimed_block));
            let mut share = share(call, &facts, &verified);
            match self.beside_others(call, &mut share).await {
                Ok(Next::Go(())) => {}
                Ok(Next::Again) => continue,
                Ok(Next::Answer(outcome)) => return Next::Answer(outcome),
                Err(error) => return cannot_claim(call, &error),
            }
            match self.registry.claim(facts, share, self.clock.now()).await {
                Claim::New(waiter) => return Next::Go(Claimed { waiter, verified }),
                Claim::UnderWay(entry) => {
                    return match wait::meet(call, &entry).await {
                        Next::Answer(outcome) => Next::Answer(outcome),
                        Next::Again | Next::Go(()) => Next::Again,
                    };
                }
                Claim::KeyReused => return Next::Answer(SettleOutcome::KeyReused),
                Claim::Taken => {
                    return Next::unavailable(NotNow::PayerExclusive);
                }
                Claim::Busy => return Next::unavailable(NotNow::PayerBusy),
                Claim::OverBudget(over) => {
                    tracing::warn!(
                        request_id = call.request_id,
                        payer = verified.payer,
                        ?over,
                        "failed payments have used a budget up"
                    );
                    return Next::Answer(SettleOutcome::Unavailable(wait::over_budget(&over, self.clock.now())));
                }
                Claim::Wait(ended) => {
                    if timeout_at(call.deadline, ended).await.is_err() {
                        return Next::unavailable(NotNow::PayerBusy);
                    }
                }
            }
        }
    }

    /// Returns true for a payment that another instance has begun since it was looked for: that may be what is wrong
    /// with it.
    async fn is_begun_elsewhere(&self, call: &Call<'_>) -> Result<bool, StoreError> {
        Ok(call.submitter.may_have_others() && self.store.knows(&call.authorization.identity()).await?)
    }

    fn facts(&self, call: &Call<'_>, verified: &VerifiedPayment, claimed_block: u64) -> Facts {
        let Call { payment, authorization, caller, request_id, .. } = call;
        Facts {
            id: SettlementId::fresh(),
            identity: authorization.identity(),
            fingerprint: authorization.fingerprint(),
            caller: (*caller).clone(),
            request_id: (*request_id).to_owned(),
            network: payment.network.clone(),
            scheme: payment.scheme.clone(),
            payer: verified.payer.clone(),
            payer_code: verified.payer_code.clone(),
            pay_to: payment.pay_to.clone(),
            asset: payment.asset.clone(),
            amount: verified.amount,
            nonce: authorization.nonce().to_owned(),
            claimed_block,
            created_at: self.clock.now(),
        }
    }

    /// Ends a claimed payment that asks for nothing: stored as settled, so that
    /// the authorization pays nothing else through this service.
    async fn settle_nothing(&self, call: &Call<'_>, waiter: Waiter) -> Result<Next<()>, StoreError> {
        let entry = Arc::clone(waiter.entry());
        let facts = Arc::clone(&entry.facts);
        let (store, registry, at) = (Arc::clone(&self.store), Arc::clone(&self.registry), self.clock.now());
        // A task of its own: the claim must end even if the request goes away.
        let applied = self.tasks.spawn(async move {
            let change = Change::Claim { facts: Arc::clone(&entry.facts), plan: None };
            let applied = store.apply(vec![change], at).await;
            match &applied {
                Ok(_) => registry.end(&entry, State::Settled(Settled { proof: None })).await,
                Err(ApplyError::Claimed(_)) => registry.give_back(&entry, Dropped::KnownToStore).await,
                Err(ApplyError::EpochOver | ApplyError::Store(_)) => {
                    registry.give_back(&entry, Dropped::Unavailable(NotNow::Store)).await;
                }
            }
            applied
        });
        match applied.await {
            Ok(Ok(_)) => Ok(Next::Answer(SettleOutcome::Settled {
                id: facts.id,
                transaction: String::new(),
                amount: facts.amount,
            })),
            Ok(Err(ApplyError::Claimed(_))) => {
                call.looks_into_store();
                Ok(Next::Again)
            }
            Ok(Err(ApplyError::Store(error))) => Err(error),
            // It panicked, or no wallet is concerned: nothing is promised.
            Ok(Err(ApplyError::EpochOver)) | Err(_) => Ok(Next::unavailable(NotNow::Store)),
        }
    }
}

const fn not_now(busy: Busy) -> NotNow {
    match busy {
        Busy::NoGasWallet => NotNow::NoGasWallet,
        Busy::Elsewhere => NotNow::GasWalletTaken,
        Busy::QueueFull => NotNow::QueueFull,
    }
}

fn share(call: &Call<'_>, facts: &Facts, verified: &VerifiedPayment) -> Share {
    Share {
        identity: facts.identity,
        network: facts.network.clone(),
        tenant: facts.caller.tenant.clone(),
        payer: facts.payer.clone(),
        payer_code: facts.payer_code.clone(),
        exclusive: call.submitter.chain().exclusive(&verified.plan),
        funds: verified.funds.clone(),
        amount: verified.amount,
        at_risk: call.submitter.at_risk(&verified.plan),
    }
}
