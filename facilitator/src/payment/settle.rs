//! `/settle`: put this payment on chain, once.
//!
//! A request goes through five steps: is the payment known already (then it
//! joins, or is a duplicate) → is it good → claim it → hand it to the submitter
//! → wait. Nothing is claimed before every check has passed; the settlement
//! goes on whether or not the request still waits.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
    time::Duration,
};

use chains_core::{
    Payment,
    chain::Chain,
    protocol::Request,
    scheme::{Authorization, Purpose, Verdict, VerifiedPayment},
};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{Payments, SettleOutcome, answer::Settling, identifier};
use crate::{
    settlement::{
        SettlementId,
        record::{Caller, Outcome, Record},
        replay_guard::{Claim, Dropped, Flight, Join, Progress, Ticket, Waiter},
    },
    store::{BeginError, StoreError},
    submitter::{Busy, Job, Submitter},
};

/// Times that a request starts over because the settlement it met was given
/// back. Each needs another request to fail in between, so a few are plenty.
const TRIES_MAX: usize = 4;

/// How long a request that is being given the success waits for its commit
/// before it looks again whether it still is.
const GIFT_WAIT: Duration = Duration::from_millis(100);

/// One settle request, read.
struct Asked<'a> {
    payment: &'a Payment,
    authorization: &'a dyn Authorization,
    caller: &'a Caller,
    submitter: &'a Arc<Submitter>,
    say: &'a Settling,
    deadline: Instant,
}

impl Asked<'_> {
    fn chain(&self) -> &dyn Chain {
        &**self.submitter.chain()
    }
}

/// A payment that was found good and is now ours to settle.
struct Taken {
    waiter: Waiter,
    verified: VerifiedPayment,
    /// The head's height before the chain was asked.
    claimed_at: u64,
}

/// A step either answers the request (`Break`) or lets it go on.
type Step<T> = ControlFlow<SettleOutcome, T>;

impl Payments {
    /// Settles a payment, or says what became of it.
    pub async fn settle(&self, request: Request, caller: Caller) -> SettleOutcome {
        let deadline = Instant::now() + self.waits.settle;
        let mut say = Settling::of(&request);
        let payment = match request.payment {
            Ok(payment) => payment,
            Err(rejection) => return say.rejected(rejection),
        };
        let (submitter, authorization) = match self.read(&payment) {
            Ok(read) => read,
            Err(rejection) => return say.rejected(rejection),
        };
        authorization.payer().clone_into(&mut say.payer);
        let caller = match identifier::of(&payment) {
            Ok(identifier) => Caller { key: caller.key.or(identifier), ..caller },
            Err(rejection) => return say.rejected(rejection),
        };
        let authorization = &*authorization;
        let asked = Asked { payment: &payment, authorization, caller: &caller, submitter, say: &say, deadline };
        for _ in 0..TRIES_MAX {
            match self.attempt(&asked).await {
                Ok(Break(answer)) => return answer,
                Ok(Continue(())) => {}
                Err(error) => {
                    tracing::error!(%error, "a payment could not be settled: the store failed");
                    return say.unavailable("the store does not answer");
                }
            }
        }
        say.unavailable("too many requests for this payment at once")
    }

    /// One try; `Continue` starts over.
    async fn attempt(&self, asked: &Asked<'_>) -> Result<Step<()>, StoreError> {
        match self.known(asked).await? {
            Break(answer) => return Ok(Break(answer)),
            Continue(Some(flight)) => return Ok(self.meet(asked, &flight).await),
            Continue(None) => {}
        }
        if !asked.submitter.takes_payments() {
            return Ok(Break(asked.say.unavailable("this network takes no payments now")));
        }
        if let Err(rejection) = self.check_barred(asked.chain().network(), asked.authorization.payer()) {
            return Ok(Break(asked.say.rejected(rejection)));
        }
        let Taken { waiter, verified, claimed_at } = match self.claim(asked).await {
            Continue(claimed) => claimed,
            Break(step) => return Ok(step),
        };
        if verified.nothing_to_send {
            return self.settle_nothing(asked, waiter, verified, claimed_at).await;
        }
        if let Err(busy) = asked.submitter.submit(self.job(asked, &waiter, verified, claimed_at)) {
            self.guard.give_back(waiter.flight(), Dropped::Unavailable);
            let message = match busy {
                Busy::NoGasWallet => "no gas wallet of this network can pay now",
                Busy::QueueFull => "too many settlements are waiting",
            };
            return Ok(Break(asked.say.unavailable(message)));
        }
        Ok(wait_as_owner(asked, waiter).await)
    }

    /// Verifies the payment, and claims it. When the payer's payments that are
    /// under way leave too little for it, it waits until one of them has ended,
    /// and asks the chain again: whether it was too much is the chain's to say.
    async fn claim(&self, asked: &Asked<'_>) -> ControlFlow<Step<()>, Taken> {
        let unavailable = |message| Break(Break(asked.say.unavailable(message)));
        loop {
            let claimed_at = asked.submitter.head();
            let verified = match asked.authorization.verify(Purpose::Settle).await {
                Verdict::Valid(verified) => verified,
                Verdict::Invalid(rejection) => return Break(Break(asked.say.rejected(rejection))),
                Verdict::Unavailable(error) => {
                    tracing::warn!(%error, "a payment could not be verified");
                    return unavailable("the chain could not be asked");
                }
            };
            match self.guard.claim(ticket(asked, &verified)) {
                Claim::New(waiter) => return Continue(Taken { waiter, verified, claimed_at }),
                Claim::UnderWay(flight) => return Break(self.meet(asked, &flight).await),
                Claim::KeyReused => return Break(Break(asked.say.key_reused())),
                Claim::Taken => {
                    return unavailable("another payment of this payer that needs sponsoring is under way");
                }
                Claim::Overdrawn(released) => {
                    if timeout_at(asked.deadline, released).await.is_err() {
                        return unavailable("other payments of this payer are under way and use up what it has");
                    }
                }
            }
        }
    }

    /// Ends a claimed payment that asks for nothing: stored as settled, so that
    /// the authorization pays nothing else through this service.
    async fn settle_nothing(
        &self,
        asked: &Asked<'_>,
        waiter: Waiter,
        verified: VerifiedPayment,
        claimed_at: u64,
    ) -> Result<Step<()>, StoreError> {
        let flight = Arc::clone(waiter.flight());
        let job = self.job(asked, &waiter, verified, claimed_at);
        let row = job.row(asked.submitter.chain().network(), None);
        let (store, guard, kept) = (Arc::clone(&self.store), Arc::clone(&self.guard), Arc::clone(&flight));
        // A task of its own: the claim must end even if the request goes away.
        let begun = tokio::spawn(async move {
            let begun = store.begin(vec![row]).await;
            match &begun {
                Ok(()) => guard.finish(&kept, Outcome::NothingToSend),
                Err(BeginError::Claimed(_)) => guard.give_back(&kept, Dropped::KnownToStore),
                Err(BeginError::Store(_)) => guard.give_back(&kept, Dropped::Unavailable),
            }
            begun
        });
        match begun.await {
            Ok(Ok(())) => Ok(Break(asked.say.success(flight.ticket.id, String::new(), flight.ticket.amount))),
            Ok(Err(BeginError::Claimed(_))) => Ok(Continue(())),
            Ok(Err(BeginError::Store(error))) => Err(error),
            // It panicked: nothing is known, so nothing is promised.
            Err(_) => Ok(Break(asked.say.unavailable("the store does not answer"))),
        }
    }

    fn job(&self, asked: &Asked<'_>, waiter: &Waiter, verified: VerifiedPayment, claimed_at: u64) -> Job {
        Job {
            flight: Arc::clone(waiter.flight()),
            scheme: asked.payment.scheme.clone(),
            pay_to: asked.payment.pay_to.clone(),
            asset: asked.payment.asset.clone(),
            nonce: asked.authorization.nonce().to_owned(),
            plan: verified.plan,
            claimed_at,
            created_at: self.clock.now(),
        }
    }

    /// Looks whether the payment, or the caller's key, is known. The guard
    /// first: a flight leaves it only after its outcome is stored, so what the
    /// guard does not have, the store has, or nobody has.
    async fn known(&self, asked: &Asked<'_>) -> Result<Step<Option<Arc<Flight>>>, StoreError> {
        let identity = asked.authorization.identity();
        if let Some(flight) = self.guard.find(&identity) {
            return Ok(Continue(Some(flight)));
        }
        if asked.caller.key.is_some()
            && let Some(record) = self.store.by_key(asked.caller).await?
            && record.fingerprint != asked.authorization.fingerprint()
        {
            return Ok(Break(asked.say.key_reused()));
        }
        let Some(record) = self.store.by_identity(&identity).await? else { return Ok(Continue(None)) };
        if record.outcome.is_some() {
            return Ok(Break(self.stored(asked, record).await?));
        }
        // Begun between the two looks: now the guard has it, or it has ended
        // meanwhile and the store says how, or its network is not open yet.
        if let Some(flight) = self.guard.find(&identity) {
            return Ok(Continue(Some(flight)));
        }
        let record = self.store.by_identity(&identity).await?.unwrap_or(record);
        Ok(Break(self.stored(asked, record).await?))
    }

    /// Answers from a stored settlement that is not under way here.
    async fn stored(&self, asked: &Asked<'_>, record: Record) -> Result<SettleOutcome, StoreError> {
        let say = asked.say;
        let same_request = record.fingerprint == asked.authorization.fingerprint();
        let same_caller = same_request && record.caller.is_again(asked.caller);
        Ok(match &record.outcome {
            None if same_request => say.pending(record.id, &record.transaction),
            None => say.duplicate(record.id, &record.transaction),
            Some(outcome @ Outcome::Failed { .. }) => say.failed(record.id, outcome, asked.chain()),
            Some(Outcome::NothingToSend) if same_caller => say.success(record.id, String::new(), record.amount),
            Some(Outcome::NothingToSend) => say.duplicate(record.id, ""),
            Some(Outcome::Settled { transaction, .. }) => {
                let free = same_request && record.delivered_at.is_none();
                if same_caller || (free && self.store.deliver(record.id, self.clock.now()).await?) {
                    say.success(record.id, transaction.clone(), record.amount)
                } else {
                    say.duplicate(record.id, transaction)
                }
            }
        })
    }

    /// Meets a settlement that another request began.
    async fn meet(&self, asked: &Asked<'_>, flight: &Arc<Flight>) -> Step<()> {
        match flight.join(&asked.authorization.fingerprint(), asked.caller) {
            Join::Owner(waiter) => wait_as_owner(asked, waiter).await,
            Join::Shared => wait_for_end(asked, flight).await,
            Join::Duplicate => wait_for_transaction(asked, flight).await,
            Join::KeyReused => Break(asked.say.key_reused()),
        }
    }
}

fn ticket(asked: &Asked<'_>, verified: &VerifiedPayment) -> Ticket {
    Ticket {
        id: SettlementId(Uuid::now_v7()),
        identity: asked.authorization.identity(),
        fingerprint: asked.authorization.fingerprint(),
        caller: asked.caller.clone(),
        payer: asked.authorization.payer().to_owned(),
        amount: verified.amount,
        exclusive: asked.submitter.chain().exclusive(&verified.plan),
        funds: verified.funds.clone(),
    }
}

/// Waits as the one request that may be given the success.
async fn wait_as_owner(asked: &Asked<'_>, waiter: Waiter) -> Step<()> {
    let flight = Arc::clone(waiter.flight());
    let (mut waiter, mut until) = (waiter, asked.deadline);
    let end = loop {
        match timeout_at(until, end_of(&flight)).await {
            Ok(end) => break Some(end),
            // The success is being given to this request this very moment: its
            // commit is under way, or fails and the gift is taken back.
            Err(_) => match waiter.leave() {
                Some(given) => (waiter, until) = (given, Instant::now() + GIFT_WAIT),
                None => break None,
            },
        }
    };
    answer_to_end(asked, &flight, end)
}

/// Waits as the same caller again: gets what the owner gets.
async fn wait_for_end(asked: &Asked<'_>, flight: &Arc<Flight>) -> Step<()> {
    let end = timeout_at(asked.deadline, end_of(flight)).await.ok();
    answer_to_end(asked, flight, end)
}

/// Waits as a stranger to the settlement: only for the transaction's name.
async fn wait_for_transaction(asked: &Asked<'_>, flight: &Arc<Flight>) -> Step<()> {
    let (id, mut progress) = (flight.ticket.id, flight.watch());
    let known = progress.wait_for(|p| !matches!(p, Progress::Claimed | Progress::Signing(_)));
    let known = timeout_at(asked.deadline, known).await.ok().and_then(Result::ok).map(|p| p.clone());
    match known {
        Some(Progress::Sent(transaction)) => Break(asked.say.duplicate(id, &transaction)),
        Some(Progress::Done(outcome)) => Break(asked.say.failed(id, &outcome, asked.chain())),
        Some(Progress::Dropped(_)) => Continue(()),
        Some(Progress::Claimed | Progress::Signing(_)) | None => {
            Break(asked.say.unavailable("this payment is being settled for another request"))
        }
    }
}

/// The flight's end, whenever it comes.
async fn end_of(flight: &Flight) -> Progress {
    let mut progress = flight.watch();
    match progress.wait_for(|p| matches!(p, Progress::Done(_) | Progress::Dropped(_))).await {
        Ok(end) => end.clone(),
        // The flight itself holds the sender and outlives this borrow.
        Err(_) => unreachable!("a flight does not vanish while it is watched"),
    }
}

fn answer_to_end(asked: &Asked<'_>, flight: &Flight, end: Option<Progress>) -> Step<()> {
    let (say, ticket) = (asked.say, &flight.ticket);
    let in_time = end.is_some();
    let now = end.unwrap_or_else(|| flight.watch().borrow().clone());
    Break(match now {
        // It ended just after this request had left its place: the success is
        // nobody's yet, and the store gives it away once.
        Progress::Done(_) if !in_time => return Continue(()),
        Progress::Done(outcome) => match &*outcome {
            Outcome::Settled { transaction, .. } => say.success(ticket.id, transaction.clone(), ticket.amount),
            Outcome::NothingToSend => say.success(ticket.id, String::new(), ticket.amount),
            Outcome::Failed { .. } => say.failed(ticket.id, &outcome, asked.chain()),
        },
        Progress::Sent(transaction) | Progress::Signing(transaction) => say.pending(ticket.id, &transaction),
        Progress::Dropped(Dropped::Unavailable) => say.unavailable("the network cannot take this payment now"),
        // Begun elsewhere meanwhile, or dropped for want of a waiter: look again.
        Progress::Dropped(Dropped::KnownToStore | Dropped::Unwanted) => return Continue(()),
        // Still in the queue: whoever takes it out sees that nobody waits.
        Progress::Claimed => say.unavailable("the queue was too long; nothing was sent"),
    })
}
