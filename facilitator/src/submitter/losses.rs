//! The gas that failed payments have cost: before a restart, and at other instances,
//! whose payments of the same payers and API keys count here, too.

use std::{sync::Arc, time::Duration};

use chains_core::clock::Millis;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use crate::store::{StoreError, next_notice};

/// The time for which payments are remembered that payers have paid.
const PAID_MEMORY: Duration = Duration::from_hours(24);

/// The longest and the shortest time between two looks: at the latest after the first, and
/// after the second when something has ended.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));

/// The age of losses that are read again: clocks of instances may differ by so much.
const OVERLAP: Duration = Duration::from_mins(10);

/// Payers that failed before the restart are still known, and so is what they cost; those that paid are no strangers.
pub(super) async fn remember(context: &Context) -> Result<(), StoreError> {
    let (limits, network) = (context.registry.limits(), context.network());
    if limits.counts_strangers(network) {
        let since = before(context, PAID_MEMORY);
        limits.paid_before(network, &context.store.payers(network, since).await?).await;
    }
    read(context, limits.memory()).await
}

/// Reads what failed at other instances, until `stop`. One process alone knows its own.
pub(super) async fn run(context: Arc<Context>, stop: CancellationToken) {
    if context.ownership.instance().is_some() {
        stop.run_until_cancelled(repeat(&context)).await;
    }
}

async fn repeat(context: &Context) {
    let mut notices = context.store.notices().ended;
    loop {
        let began = Instant::now();
        notices.mark_unchanged();
        if let Err(error) = read(context, OVERLAP).await {
            tracing::debug!(network = %context.network(), %error, "failures at other instances could not be read");
        }
        let _: Result<(), _> = timeout(LOOK_EVERY.0, next_notice(&mut notices)).await;
        tokio::time::sleep_until(began + LOOK_EVERY.1).await;
    }
}

async fn read(context: &Context, age: Duration) -> Result<(), StoreError> {
    let (limits, network) = (context.registry.limits(), context.network());
    for loss in context.store.losses(network, before(context, age)).await? {
        limits.lost(network, &loss).await;
    }
    Ok(())
}

fn before(context: &Context, age: Duration) -> Millis {
    Millis(context.now().0.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
}
