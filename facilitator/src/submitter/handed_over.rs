//! Payments that other instances have verified and handed over: taken as long as a
//! gas wallet here can send one, begun like those of this instance, and given back
//! where they cannot be begun.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    dispatch::Dispatcher,
    job::{Job, Work},
};
use crate::{
    in_flight::{Dropped, Entry, registry::Received},
    metrics::{self, HandOver},
    settlement::NotNow,
    store::{HandedOver, StoreError, next_notice},
};

/// Payments that are taken at a time.
const TAKEN_MAX: u32 = 64;

/// The time between two looks while the store gives notice, and while it does not.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(250));

/// Takes what is handed over for this network, until `stop`. Where one process has
/// every gas wallet there is nothing to take.
pub(super) async fn run(context: Arc<Context>, dispatcher: Arc<Dispatcher>, stop: CancellationToken) {
    if let Some(owner) = context.ownership.instance() {
        stop.run_until_cancelled(repeat(&context, &dispatcher, owner)).await;
    }
}

async fn repeat(context: &Context, dispatcher: &Dispatcher, owner: &str) {
    let mut notices = context.store.notices().work;
    let mut in_doubt = false;
    loop {
        // Heard before the look: what is handed over after it is noticed again.
        let gives_notice = notices.borrow_and_update().gives_notice;
        let taken = look(context, dispatcher, owner, in_doubt).await;
        if let Err(error) = &taken {
            tracing::debug!(network = %context.network(), %error, "handed-over payments could not be taken");
        }
        in_doubt = taken.is_err();
        let most = if gives_notice { LOOK_EVERY.0 } else { LOOK_EVERY.1 };
        if timeout(most, next_notice(&mut notices)).await.is_err() {
            let_go_of_what_was_put_off(context, owner).await;
        }
    }
}

/// Leaves to others what could not be begun here a while ago.
async fn let_go_of_what_was_put_off(context: &Context, owner: &str) {
    for id in context.put_off.take() {
        if let Err(error) = context.store.let_go(Some(id), owner).await {
            tracing::debug!(settlement_id = %id, %error, "a payment could not be handed back; its time ends it");
        }
    }
}

/// Takes payments as long as there are some, and a gas wallet for them; ends them where no instance has one that
/// can pay. `in_doubt`:
/// what was taken before may be forgotten, as its answer was lost.
async fn look(context: &Context, dispatcher: &Dispatcher, owner: &str, in_doubt: bool) -> Result<(), StoreError> {
    if in_doubt {
        context.store.let_go(None, owner).await?;
    }
    loop {
        let is_exhausted = dispatcher.is_exhausted();
        let looks = is_exhausted || dispatcher.busy().is_none();
        if !looks || !context.store.may_take_handed_over(context.network(), owner).await? {
            return Ok(());
        }
        let taken = context.store.take_handed_over(context.network(), owner, TAKEN_MAX).await?;
        if taken.is_empty() {
            return Ok(());
        }
        for payment in taken {
            if is_exhausted {
                // Whoever waits for it had better hear so.
                context.store.withdraw(payment.facts.id, owner).await?;
                metrics::hand_over(context.network(), HandOver::HandedBack);
            } else {
                receive(context, dispatcher, payment).await;
            }
        }
    }
}

async fn receive(context: &Context, dispatcher: &Dispatcher, HandedOver { facts, plan, wait }: HandedOver) {
    let (id, deadline) = (facts.id, Instant::now() + wait);
    let share = context.share(&facts, &plan);
    match context.registry.receive(facts, share, deadline, context.now()).await {
        Received::New(entry) => {
            let work = Work::begin(Job { entry, plan, deadline }, context.now().seconds());
            match dispatcher.hand_over(Box::new(work)) {
                Ok(()) => metrics::hand_over(context.network(), HandOver::Received),
                Err((_, work)) => {
                    give_back(context, &work.entry, Dropped::Unavailable(NotNow::QueueFull)).await;
                }
            }
        }
        // In a queue here.
        Received::Here => {}
        Received::Refused => context.put_off.push(id),
    }
}

/// Gives a payment back that is not stored: to who waits for it here, or to the
/// instance that has handed it over.
pub(super) async fn give_back(context: &Context, entry: &Entry, why: Dropped) {
    if let Some(owner) = context.ownership.instance().filter(|_| entry.is_received()) {
        hand_back(context, entry, &why, owner).await;
    }
    context.registry.give_back(entry, why).await;
}

/// Hands a payment back. One that is not good any more is ended: whoever waits asks the
/// chain, and learns why. One that cannot be begun now stays for others, and for this
/// instance a while later.
async fn hand_back(context: &Context, entry: &Entry, why: &Dropped, owner: &str) {
    let id = entry.facts.id;
    metrics::hand_over(context.network(), HandOver::HandedBack);
    let told = match why {
        Dropped::Unavailable(NotNow::GasWalletTaken | NotNow::Stopping) => context.store.let_go(Some(id), owner).await,
        Dropped::Unavailable(_) => {
            context.put_off.push(id);
            Ok(())
        }
        Dropped::Unwanted
        | Dropped::KnownToStore
        | Dropped::LeftToStore(_)
        | Dropped::Rejected(_)
        | Dropped::Refused
        | Dropped::OverBudget(_) => context.store.withdraw(id, owner).await.map(|_| ()),
    };
    if let Err(error) = told {
        let request_id = &entry.facts.request_id;
        tracing::debug!(request_id, settlement_id = %id, %error, "a payment could not be handed back; its time ends it");
    }
}
