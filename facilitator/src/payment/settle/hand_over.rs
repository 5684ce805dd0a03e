//! Payments that another instance is to begin: it has the gas wallet.
//!
//! Whoever waits here for one ends it as long as nobody has begun it: when the
//! deadline comes, and when the client hangs up. Nobody is told that nothing was
//! begun before the store has said so.

use std::{sync::Arc, time::Duration};

use chains_core::transaction::Plan;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::{Call, Next};
use crate::{
    in_flight::{Dropped, Entry, Registry, Waiter},
    metrics::{self, HandOver},
    payment::{Payments, Pending, SettleOutcome},
    settlement::NotNow,
    store::{HandedOver, Store, StoreError},
};

/// The time for which a request waits beyond its deadline for the store to say
/// whether its payment was begun.
const WITHDRAW_WAIT: Duration = Duration::from_secs(1);

/// Wait between tries of a store that failed.
const RETRY: Duration = Duration::from_millis(250);

/// A payment that is handed over, or may be. Dropping it, as happens when the client
/// hangs up, withdraws it.
struct Offer {
    waiter: Waiter,
    way: Way,
    is_over: bool,
}

/// The parts of the service that end a hand-over.
#[derive(Clone)]
struct Way {
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
    tasks: TaskTracker,
    instance: Arc<str>,
}

impl Offer {
    fn new(waiter: Waiter, way: Way) -> Self {
        metrics::handed_over(&waiter.entry().facts.network, 1.0);
        Self { waiter, way, is_over: false }
    }

    /// Notes that it is handed over no more; whoever waits here for it looks into the store.
    async fn end(mut self) {
        self.is_over = true;
        self.way.registry.give_back(self.waiter.entry(), Dropped::LeftToStore("".into())).await;
    }

    /// Ends it where nobody has begun it: nobody will any more. `None` where the store does
    /// not say in time.
    async fn withdraw(self, until: Instant) -> Option<()> {
        if !mistake!(WithdrawsNothing) {
            timeout_at(until, self.way.withdraw(self.waiter.entry())).await.ok().flatten()?;
        }
        self.end().await;
        Some(())
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        metrics::handed_over(&self.waiter.entry().facts.network, -1.0);
        if !self.is_over {
            let (way, entry) = (self.way.clone(), Arc::clone(self.waiter.entry()));
            self.way.tasks.spawn(async move {
                let _: Option<()> = way.withdraw(&entry).await;
                way.registry.give_back(&entry, Dropped::LeftToStore("".into())).await;
            });
        }
    }
}

impl Way {
    /// Tries until the store answers; `None` when it is closed.
    async fn withdraw(&self, entry: &Entry) -> Option<()> {
        loop {
            match self.store.withdraw(entry.facts.id, &self.instance).await {
                Ok(withdrawn) => {
                    if withdrawn {
                        metrics::hand_over(&entry.facts.network, HandOver::Withdrawn);
                    }
                    return Some(());
                }
                Err(StoreError::Closed) => return None,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }
}

impl Payments {
    /// Hands a claimed payment over, and waits until it has ended, for the request's time at most.
    pub(super) async fn hand_over(
        &self,
        call: &Call<'_>,
        waiter: Waiter,
        plan: Plan,
        instance: &str,
    ) -> Result<Next<()>, StoreError> {
        let facts = Arc::clone(&waiter.entry().facts);
        let (store, registry, tasks) = (Arc::clone(&self.store), Arc::clone(&self.registry), self.tasks.clone());
        let offer = Offer::new(waiter, Way { store, registry, tasks, instance: instance.into() });
        call.is_handed_over(facts.id);
        let wait = call.deadline.saturating_duration_since(Instant::now());
        match self.store.hand_over(HandedOver { facts: Arc::clone(&facts), plan, wait }, instance).await {
            Ok(true) => metrics::hand_over(&facts.network, HandOver::Made),
            Ok(false) => {
                offer.end().await;
                call.looks_into_store();
                return Ok(Next::Again);
            }
            Err(error) => {
                tracing::error!(request_id = call.request_id, %error, "a payment could not be handed over: the store failed");
                return self.withdraw(call, offer, NotNow::Store).await;
            }
        }
        if self.ends_elsewhere(facts.id, call.deadline).await? {
            offer.end().await;
            return Ok(Next::Again);
        }
        self.withdraw(call, offer, NotNow::QueueTooLong).await
    }

    /// Withdraws a payment, and answers: that nothing was begun, or what became of it.
    async fn withdraw(&self, call: &Call<'_>, offer: Offer, why: NotNow) -> Result<Next<()>, StoreError> {
        let (id, identity) = (offer.waiter.entry().facts.id, call.authorization.identity());
        let until = Instant::now().max(call.deadline) + WITHDRAW_WAIT;
        let pending = SettleOutcome::Pending { id, transaction: String::new(), why: Pending::NotAccepted };
        if offer.withdraw(until).await.is_none() {
            return Ok(Next::Answer(pending));
        }
        // Begun by whoever took it, or by another request that had a gas wallet.
        match self.store.by_identity(&identity).await? {
            Some(record) => Ok(Next::Answer(self.stored(call, record).await?)),
            None => Ok(Next::unavailable(why)),
        }
    }
}
