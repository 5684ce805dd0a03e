//! Settlements whose proof is withheld: outside the workers, asked about with
//! growing intervals, until there is proof or the operator ends them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chains_core::{
    chain::ChainUnavailable,
    observation::{Inclusion, Item},
    transaction::Plan,
};
use futures::{StreamExt, stream};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    decide::{self, AfterDeath, ItemVerdict, Verdict},
    dispatch::Dispatcher,
    effects::Batch,
    investigation::Inquiry,
    job::Work,
    mail::Mail,
    recovery,
    view::{self, View},
};
use crate::{
    settlement::{Attempt, Failed, SettlementId, Step, StepNumber, TransactionId, record::Followed},
    store::{Change, StoreError},
};

/// The time between two queries for unresolved settlements.
const INTERVAL: Duration = Duration::from_secs(1);

/// The same while there is none: one of this process is told of, one of another
/// instance is seen so late.
const INTERVAL_IDLE: Duration = Duration::from_secs(5);

/// Settlements of one page.
const PAGE: u32 = 256;

/// Settlements that are followed at a time; the oldest first.
const FOLLOWED_MAX: usize = 4_096;

/// Questions at a time.
const QUESTIONS_MAX: usize = 4;

/// Questions of one round.
const ROUND_MAX: usize = 32;

/// The task that asks for the proofs of a network.
pub(super) async fn run(context: Arc<Context>, dispatcher: Arc<Dispatcher>, stop: CancellationToken) {
    stop.run_until_cancelled(repeat(&context, &dispatcher)).await;
}

async fn repeat(context: &Context, dispatcher: &Dispatcher) {
    let mut inquiries: BTreeMap<SettlementId, Inquiry> = BTreeMap::new();
    loop {
        let mut none = false;
        match list(context).await {
            Ok(unresolved) => {
                none = unresolved.is_empty();
                inquiries.retain(|id, _| unresolved.iter().any(|followed| followed.facts.id == *id));
                let count = u64::try_from(unresolved.len()).unwrap_or(u64::MAX);
                context.status.set_unresolved(count);
                if !mistake!(ForgetsUnresolved) {
                    round(context, dispatcher, unresolved, &mut inquiries).await;
                }
            }
            Err(error) => {
                tracing::debug!(network = %context.network(), %error, "unresolved settlements could not be listed");
            }
        }
        if none {
            drop(tokio::time::timeout(INTERVAL_IDLE, context.status.became_unresolved.notified()).await);
        } else {
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

async fn list(context: &Context) -> Result<Vec<Followed>, StoreError> {
    let (mut all, mut after) = (vec![], None);
    while all.len() < FOLLOWED_MAX {
        let page = context.store.unresolved(context.network(), after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.facts.id);
        all.extend(page);
    }
    Ok(all)
}

/// Asks about those that are due. One that is under way again, in a worker, is
/// left to it.
async fn round(
    context: &Context,
    dispatcher: &Dispatcher,
    unresolved: Vec<Followed>,
    inquiries: &mut BTreeMap<SettlementId, Inquiry>,
) {
    let now = Instant::now();
    let mut due = vec![];
    for followed in unresolved {
        let inquiry = inquiries.entry(followed.facts.id).or_default();
        inquiry.want_once(now);
        let is_free = context.registry.find(&followed.facts.identity).is_none();
        if inquiry.is_due(now) && due.len() < ROUND_MAX && is_free && is_for_here(context, dispatcher, &followed) {
            inquiry.ask();
            due.push(followed);
        }
    }
    let questions = due.into_iter().map(|followed| async move {
        let found = ask(context, &followed).await.unwrap_or_else(|error| Found::Nothing(error.to_string()));
        (followed, found)
    });
    let mut answers = stream::iter(questions).buffer_unordered(QUESTIONS_MAX);
    while let Some((followed, found)) = answers.next().await {
        let (id, request_id) = (followed.facts.id, followed.facts.request_id.clone());
        if let Err(why) = heed(context, dispatcher, followed, found).await {
            tracing::debug!(request_id, settlement_id = %id, error = why, "there is no proof yet");
        }
        // Asked again unless it has ended: the list tells.
        inquiries.entry(id).or_default().put_off(Instant::now());
    }
}

/// Returns true for a settlement whose gas wallet is here, or nobody's any more.
fn is_for_here(context: &Context, dispatcher: &Dispatcher, followed: &Followed) -> bool {
    let Some(wallet) = recovery::wallet_of(context, followed) else { return true };
    dispatcher.fence(wallet).is_some() || context.status.wallets().iter().all(|known| known.wallet != wallet)
}

/// The findings about an unresolved settlement.
enum Found {
    /// The fate of the transaction that carries its step.
    Transaction(Verdict),
    /// The fate of its step, which no transaction carries; the transaction
    /// that did, where the store does not know yet that it is dead.
    Step(AfterDeath, Option<TransactionId>),
    /// Nothing; why.
    Nothing(String),
}

async fn ask(context: &Context, followed: &Followed) -> Result<Found, ChainUnavailable> {
    let Some(step) = followed.steps.last() else { return Ok(Found::Nothing("it has no step".into())) };
    let claimed_block = followed.facts.claimed_block;
    let mut dead = None;
    if let (Some(id), Some(view)) = (step.transaction(), View::of(followed)) {
        let observation = view::investigate(&*context.chain, &view).await?;
        match decide::after_observation(observation, &[claimed_block]) {
            Verdict::Replaced => dead = Some(id),
            verdict => return Ok(Found::Transaction(verdict)),
        }
    }
    let item = Item { plan: &step.plan, claimed_block };
    let effect = context.chain.trace_authorization(&item).await?;
    Ok(Found::Step(decide::after_death(effect, claimed_block), dead))
}

/// Ends a settlement where there is proof now, or lets it go on.
///
/// # Errors
/// There is none; why.
async fn heed(context: &Context, dispatcher: &Dispatcher, followed: Followed, found: Found) -> Result<(), String> {
    let facts = Arc::clone(&followed.facts);
    // The wallet may be another instance's meanwhile: then the store refuses this.
    let fence = recovery::wallet_of(context, &followed).and_then(|wallet| dispatcher.fence(wallet));
    let (mut batch, mut next) = (Batch::default(), None);
    match found {
        Found::Nothing(why) | Found::Transaction(Verdict::Unknown { why, .. }) => return Err(why),
        Found::Transaction(Verdict::Pending) => {
            send_again(dispatcher, &followed);
            return Err("no block has its transaction; its bytes are sent again".into());
        }
        Found::Transaction(Verdict::Confirming(_) | Verdict::Replaced) => {
            return Err("no confirmed block has its transaction".into());
        }
        Found::Transaction(Verdict::Expired(why)) => batch.fail(&facts, None, Failed::new(why, None, None), None),
        Found::Transaction(Verdict::Included(inclusion, mut items)) => {
            let verdict = items.pop().ok_or("nothing was observed")?;
            if let Some(transaction) = followed.steps.last().and_then(Step::transaction) {
                batch.change(Change::Include { transaction, inclusion: inclusion.clone() });
            }
            next = end(&followed, verdict, Some(&inclusion), &mut batch)?;
        }
        Found::Step(after, dead) => {
            if let Some(transaction) = dead {
                let why = "its nonce is used, and no block has any of its attempts".to_owned();
                batch.change(Change::Kill { transaction, why });
            }
            match after {
                AfterDeath::CarryAnew => next = followed.steps.last().map(|step| (step.number, step.plan.clone())),
                AfterDeath::Ended(verdict) => next = end(&followed, verdict, None, &mut batch)?,
            }
        }
    }
    // The way into the worker comes first: what is stored as open belongs to one.
    let place = match &next {
        Some((_, plan)) => Some(reserve(context, dispatcher, &followed, plan)?),
        None => None,
    };
    batch.commit(context, fence.as_ref()).await.map_err(|error| error.to_string())?;
    if let (Some(place), Some((number, plan))) = (place, next) {
        let hash = followed.transactions.last().map_or("", |transaction| &transaction.newest().hash);
        let entry = recovery::resume_entry(context, &facts, &plan, hash).await;
        drop(place.send(Mail::Step(Box::new(Work::stored(entry, number, plan)))));
    }
    Ok(())
}

/// Sends the bytes of a transaction again that the chain has lost; its steps are followed here. A full mailbox means
/// that the worker is busy: the next answer asks again.
fn send_again(dispatcher: &Dispatcher, followed: &Followed) {
    if let Some(transaction) = followed.transactions.last()
        && let Some(mailer) = dispatcher.mailer(&transaction.gas_wallet)
    {
        drop(mailer.try_send(Mail::Resend(Box::new(transaction.clone()), vec![])));
    }
}

/// Adds the end of a settlement, or returns the step with which it goes on.
fn end(
    followed: &Followed,
    verdict: ItemVerdict,
    inclusion: Option<&Inclusion>,
    batch: &mut Batch,
) -> Result<Option<(StepNumber, Plan)>, String> {
    let facts = &followed.facts;
    match verdict {
        ItemVerdict::Settled(settled) => batch.settle(facts, None, settled),
        ItemVerdict::Failed(failed) => {
            let carrier = |inclusion: &Inclusion| {
                let is_it = |attempt: &Attempt| attempt.signed.hash == inclusion.hash;
                followed.transactions.iter().find(|transaction| transaction.attempts.iter().any(is_it))
            };
            let lost = inclusion.and_then(|inclusion| Some(carrier(inclusion)?.share(inclusion.fee_paid, facts.id)));
            batch.fail(facts, None, failed, lost);
        }
        ItemVerdict::Unclear(why) => return Err(why),
        ItemVerdict::Next(plan) => {
            let done = followed.steps.last().map_or(0, |step| step.number);
            batch.change(Change::NextStep { id: facts.id, done, plan: plan.clone() });
            return Ok(Some((done + 1, plan)));
        }
    }
    Ok(None)
}

/// Takes a place in the mailbox of the worker that a step belongs to.
///
/// # Errors
/// There is none now; why.
fn reserve(
    context: &Context,
    dispatcher: &Dispatcher,
    followed: &Followed,
    plan: &Plan,
) -> Result<mpsc::OwnedPermit<Mail>, String> {
    let last = followed.transactions.last();
    let wallet = plan.gas_wallet.as_ref().or_else(|| last.map(|transaction| &transaction.gas_wallet));
    let wallet = wallet.or_else(|| context.chain.gas_wallets().first());
    let mailer = wallet.and_then(|wallet| dispatcher.mailer(wallet)).ok_or("its gas wallet has no worker")?;
    mailer.try_reserve_owned().map_err(|_| "the worker's mailbox is full".to_owned())
}
