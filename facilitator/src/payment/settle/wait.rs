//! Requests that wait for a settlement under way.

use std::{sync::Arc, time::Duration};

use chains_core::clock::Millis;
use tokio::time::{Instant, timeout_at};

use super::{Call, Next};
use crate::{
    in_flight::{Dropped, Entry, Join, Progress, Waiter},
    limits::{OverBudget, Scope},
    payment::{Pending, SettleOutcome, Unavailable},
    settlement::{NotNow, State},
};

/// The time for which a request that is being given the success waits for its commit
/// before it looks again whether it still is.
const GIFT_WAIT: Duration = Duration::from_millis(100);

/// Meets a settlement that another request began.
pub(super) async fn meet(call: &Call<'_>, entry: &Arc<Entry>) -> Next<()> {
    call.pays(&entry.facts.payer);
    match entry.join(&call.authorization.fingerprint(), call.caller) {
        Join::Owner(waiter) => as_owner(call, waiter).await,
        Join::Observer => match timeout_at(call.deadline, end_of(entry)).await.ok() {
            // The store knows to whom the success was given, and gives it away where it was to nobody.
            Some(Progress::Ended(_)) => Next::Again,
            end => answer(call, entry, end),
        },
        Join::Duplicate => for_transaction(call, entry).await,
        Join::KeyReused => Next::Answer(SettleOutcome::KeyReused),
    }
}

/// Waits as the one request that may be given the success.
pub(super) async fn as_owner(call: &Call<'_>, waiter: Waiter) -> Next<()> {
    let entry = Arc::clone(waiter.entry());
    let (mut waiter, mut until) = (waiter, call.deadline);
    let end = loop {
        match timeout_at(until, end_of(&entry)).await {
            // Only what was given in the commit of the end is this request's.
            Ok(Progress::Ended(state)) if matches!(*state, State::Settled(_)) && !waiter.is_given() => {
                return Next::Again;
            }
            Ok(end) => break Some(end),
            // The success is being given to this request this very moment: its
            // commit is under way, or fails and the gift is taken back.
            Err(_) => match waiter.leave() {
                Some(given) => (waiter, until) = (given, Instant::now() + GIFT_WAIT),
                None => break None,
            },
        }
    };
    answer(call, &entry, end)
}

/// Waits as a stranger to the settlement: only for the transaction's name.
async fn for_transaction(call: &Call<'_>, entry: &Arc<Entry>) -> Next<()> {
    let (id, mut progress) = (entry.facts.id, entry.watch());
    let named = progress.wait_for(|p| !matches!(p, Progress::Claimed | Progress::Signing(_)));
    let named = timeout_at(call.deadline, named).await.ok().and_then(Result::ok).map(|p| p.clone());
    match named {
        Some(Progress::Stored { hash, .. }) => {
            Next::Answer(SettleOutcome::Duplicate { id, transaction: hash.to_string() })
        }
        Some(Progress::Ended(state)) => match &*state {
            State::Settled(settled) => {
                Next::Answer(SettleOutcome::Duplicate { id, transaction: settled.hash().to_owned() })
            }
            State::Failed(failed) => Next::Answer(SettleOutcome::Failed { id, failed: failed.clone() }),
            State::Open | State::Unresolved { .. } => Next::Again,
        },
        Some(Progress::Dropped(why)) => {
            if matches!(why, Dropped::KnownToStore | Dropped::LeftToStore(_)) {
                call.looks_into_store();
            }
            Next::Again
        }
        Some(Progress::Claimed | Progress::Signing(_)) | None => Next::unavailable(NotNow::AnotherRequest),
    }
}

/// The settlement's end, whenever it comes.
async fn end_of(entry: &Entry) -> Progress {
    let mut progress = entry.watch();
    match progress.wait_for(|p| matches!(p, Progress::Ended(_) | Progress::Dropped(_))).await {
        Ok(end) => end.clone(),
        // The entry itself holds the sender and outlives this borrow.
        Err(_) => unreachable!("an entry does not vanish while it is watched"),
    }
}

fn answer(call: &Call<'_>, entry: &Entry, end: Option<Progress>) -> Next<()> {
    let id = entry.facts.id;
    let in_time = end.is_some();
    let pending = |hash: &str, why| SettleOutcome::Pending { id, transaction: hash.to_owned(), why };
    Next::Answer(match end.unwrap_or_else(|| entry.progress()) {
        // It ended just after this request had left its place: the success is
        // nobody's yet, and the store gives it away once.
        Progress::Ended(_) if !in_time => return Next::Again,
        Progress::Ended(state) => match &*state {
            State::Settled(settled) => {
                SettleOutcome::Settled { id, transaction: settled.hash().to_owned(), amount: entry.facts.amount }
            }
            State::Failed(failed) => SettleOutcome::Failed { id, failed: failed.clone() },
            // The store knows its transaction.
            State::Unresolved { .. } | State::Open => return Next::Again,
        },
        Progress::Stored { hash, accepted: true } => pending(&hash, Pending::Sent),
        Progress::Stored { hash, accepted: false } | Progress::Signing(hash) => pending(&hash, Pending::NotAccepted),
        Progress::Dropped(Dropped::LeftToStore(hash)) => {
            call.is_under_way(id, &hash);
            call.looks_into_store();
            return Next::Again;
        }
        Progress::Dropped(Dropped::Unavailable(NotNow::GasWalletTaken)) if call.moves_on() => return Next::Again,
        Progress::Dropped(Dropped::Unavailable(why)) => return Next::unavailable(why),
        Progress::Dropped(Dropped::Rejected(rejection)) => SettleOutcome::Rejected(rejection),
        Progress::Dropped(Dropped::OverBudget(over)) => {
            SettleOutcome::Unavailable(over_budget(&over, entry.facts.created_at))
        }
        // Begun elsewhere meanwhile: the store has it.
        Progress::Dropped(Dropped::KnownToStore) => {
            call.looks_into_store();
            return Next::Again;
        }
        // Dropped for want of a waiter, or refused beside others: look again.
        Progress::Dropped(Dropped::Unwanted | Dropped::Refused) => return Next::Again,
        // Still in the queue: the worker sees that nobody waits.
        Progress::Claimed => return Next::unavailable(NotNow::QueueTooLong),
    })
}

/// The answer while failures have used a budget up.
pub(super) fn over_budget(over: &OverBudget, now: Millis) -> Unavailable {
    let why = match over.scope {
        Scope::Network => NotNow::NetworkBudget,
        Scope::Key => NotNow::KeyBudget,
        Scope::Code => NotNow::CodeBudget,
        Scope::Strangers => NotNow::StrangersBudget,
    };
    let wait = Duration::from_millis(over.until.0.saturating_sub(now.0));
    Unavailable { why, retry_after: wait.clamp(Duration::from_secs(1), Duration::from_mins(10)) }
}
