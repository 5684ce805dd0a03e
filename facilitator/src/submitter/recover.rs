//! What happens before a network opens: nothing is taken before everything
//! that the store holds is known to be on its way or at its end.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chains_core::clock::Millis;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Condition, Submitter,
    decide::{NextSequence, next_sequence},
    lane::{Inbox, Lane, Signer},
    recheck,
    sender::Sender,
    slot::Slot,
    watcher::{self, INBOX_MAX, Watcher},
};
use crate::{
    settlement::{
        record::{Failure, Timeline},
        replay_guard::Ticket,
    },
    store::StoreError,
};

/// Transactions that may wait for a lane's sender.
const OUTGOING_MAX: usize = 1024;

/// Wait between tries to open a network.
const OPEN_RETRY: Duration = Duration::from_secs(1);

/// Why opening did not work this time.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Open(#[from] chains_core::chain::OpenError),
    #[error(transparent)]
    Chain(#[from] chains_core::chain::ChainUnavailable),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("some stored transactions could not be looked up yet")]
    Doubt,
}

/// The task that opens a network and then follows it.
pub(super) async fn run(submitter: Arc<Submitter>, inboxes: Vec<Inbox>, tasks: TaskTracker, stop: CancellationToken) {
    let (to_watcher, inbox) = mpsc::channel(INBOX_MAX);
    let mut senders = HashMap::new();
    for lane in &submitter.lanes {
        let (outgoing_in, outgoing) = mpsc::channel(OUTGOING_MAX);
        senders.insert(lane.wallet().to_owned(), outgoing_in);
        let sender = Sender { submitter: Arc::clone(&submitter), lane: Arc::clone(lane), watcher: to_watcher.clone() };
        tasks.spawn(sender.run(outgoing, stop.clone()));
    }
    let mut watcher = Watcher::new(Arc::clone(&submitter), senders.clone());
    let Some(starts) = stop.run_until_cancelled(recover(&submitter, &mut watcher)).await else { return };
    for ((lane, inbox), start) in submitter.lanes.iter().zip(inboxes).zip(starts) {
        let next = match start {
            NextSequence::None => None,
            NextSequence::From(next) => Some(next),
            NextSequence::Foreign { chain, .. } if submitter.deps.accept_foreign_sequences => Some(chain),
            NextSequence::Foreign { chain, stored } => {
                refuse_foreign(lane, chain, stored);
                continue;
            }
        };
        let signer = Signer {
            submitter: Arc::clone(&submitter),
            lane: Arc::clone(lane),
            next,
            outgoing: senders[lane.wallet()].clone(),
            watcher: to_watcher.clone(),
        };
        tasks.spawn(signer.run(inbox, stop.clone()));
        lane.open();
    }
    submitter.set_condition(Condition::Open);
    tracing::info!(network = %submitter.network(), "open");
    tasks.spawn(recheck::run(Arc::clone(&submitter), stop.clone()));
    watcher.run(inbox, stop).await;
    watcher::close_lanes(&submitter.lanes, "the service is stopping");
}

fn refuse_foreign(lane: &Lane, chain: u64, stored: u64) {
    let because = format!(
        "the chain has used its sequence up to {}, the store knows only up to {stored}: either the key is in use \
         elsewhere, or the store was restored from an old copy. Run `facilitator audit`, then start once with \
         `serve --accept-foreign-sequences`",
        chain - 1
    );
    tracing::error!(wallet = lane.wallet(), because, "the gas wallet's lane stays closed");
    lane.close(&because);
}

/// Tries until it works: opens the chain, takes up what the store holds,
/// learns what became of it, and sends the rest again.
async fn recover(submitter: &Arc<Submitter>, watcher: &mut Watcher) -> Vec<NextSequence> {
    let mut loaded = false;
    loop {
        match attempt(submitter, watcher, &mut loaded).await {
            Ok(starts) => return starts,
            Err(trouble) => {
                let why = trouble.to_string();
                if submitter.condition() != Condition::Opening(why.clone()) {
                    tracing::error!(network = %submitter.network(), why, "the network is not open yet");
                }
                submitter.set_condition(Condition::Opening(why));
                tokio::time::sleep(OPEN_RETRY).await;
            }
        }
    }
}

async fn attempt(
    submitter: &Arc<Submitter>,
    watcher: &mut Watcher,
    loaded: &mut bool,
) -> Result<Vec<NextSequence>, Trouble> {
    let deps = &submitter.deps;
    if !*loaded {
        for timeline in deps.store.live(submitter.network()).await? {
            resume(submitter, watcher, timeline);
        }
        watcher.remember_settled().await?;
        remember_failures(submitter).await?;
        *loaded = true;
    }
    deps.chain.open().await?;
    watcher.catch_up().await?;
    if watcher.is_in_doubt() {
        return Err(Trouble::Doubt);
    }
    let mut starts = Vec::with_capacity(submitter.lanes.len());
    for lane in &submitter.lanes {
        let chain = deps.chain.sequence(lane.wallet()).await?;
        let stored = deps.store.sequence_max(submitter.network(), lane.wallet()).await?;
        starts.push(next_sequence(chain.map(|sequence| sequence.latest), stored));
    }
    watcher::read_balances(submitter).await;
    watcher.send_all();
    Ok(starts)
}

/// Who failed before the restart is still barred.
async fn remember_failures(submitter: &Submitter) -> Result<(), StoreError> {
    let (deps, network) = (&submitter.deps, submitter.network());
    let window = u64::try_from(deps.failures.patience().window.as_millis()).unwrap_or(u64::MAX);
    let since = Millis(deps.clock.now().0.saturating_sub(window));
    for Failure { payer, at } in deps.store.failures(network, since).await? {
        deps.failures.record(network, &payer, at);
    }
    Ok(())
}

fn resume(submitter: &Arc<Submitter>, watcher: &mut Watcher, timeline: Timeline) {
    let Timeline { record, attempts } = timeline;
    let attempts: Vec<_> = attempts.into_iter().filter(|attempt| attempt.live).map(|a| a.signed).collect();
    let Some(newest) = attempts.last() else {
        tracing::error!(settlement = %record.id, "a stored settlement has no attempt; run `facilitator audit`");
        return;
    };
    let wallet = &newest.gas_wallet;
    let Some(lane) = submitter.lanes.iter().find(|lane| lane.wallet() == wallet) else {
        tracing::error!(
            settlement = %record.id, wallet,
            "a stored settlement was signed by a gas wallet that is no longer configured: it is not followed; \
             configure the wallet again until its settlements are final"
        );
        return;
    };
    let ticket = Ticket {
        id: record.id,
        identity: record.identity,
        fingerprint: record.fingerprint,
        caller: record.caller,
        payer: record.payer,
        amount: record.amount,
        exclusive: submitter.deps.chain.exclusive(&record.plan),
        funds: None,
    };
    let flight = submitter.deps.guard.resume(ticket, &record.transaction);
    watcher.track(Slot {
        flight,
        lane: Arc::clone(lane),
        attempts,
        plan: record.plan,
        claimed_at: record.claimed_at,
        sent_at: 0,
        looked_at: 0,
        final_at: None,
        doubtful: true,
        send_again: true,
        _permit: None,
    });
}
