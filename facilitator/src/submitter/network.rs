//! The task that opens a network: proves it, sees its newest block, and starts
//! everything else of it. It takes payments once each of its gas wallets is open
//! here or another instance's. Verdicts are not waited for: unknown transactions
//! are investigated beside the traffic.

use std::sync::Arc;

use futures::{FutureExt as _, future::join_all};

use super::{
    context::Context,
    dispatch::Dispatcher,
    finality, handed_over, losses, proof,
    status::{Condition, WalletStatus},
    tracker::{self, Listeners},
    trouble::{RETRY, Trouble, keeps_closed},
    unresolved,
    wallet::{self, Wallets},
};
use crate::lifecycle::Lifecycle;

/// Opens a network, and starts everything that follows it.
pub(super) async fn run(context: Arc<Context>, dispatcher: Arc<Dispatcher>, lifecycle: Lifecycle) {
    let stop = lifecycle.stop.clone();
    if stop.run_until_cancelled(prove(&context)).await.is_none() {
        return;
    }
    let network = context.network().clone();
    let start = |name: &str, task| lifecycle.supervise(format!("{name} of {network}"), task);
    let listeners = Listeners::default();
    start("block tracker", tracker::run(Arc::clone(&context), listeners.clone(), stop.clone()).boxed());
    let wallets = Wallets { context: Arc::clone(&context), dispatcher: Arc::clone(&dispatcher), listeners };
    for status in context.status.wallets() {
        wallets.start(status, &lifecycle);
    }
    if stop.run_until_cancelled(placed(&context.status.wallets())).await.is_none() {
        return;
    }
    context.status.set_condition(Condition::Open);
    tracing::info!(%network, "open");
    start("proof", proof::run(Arc::clone(&context), stop.clone()).boxed());
    let retired = wallet::look_for_retired(wallets, lifecycle.clone());
    start("gas wallets that are no longer configured", retired.boxed());
    let unresolved = unresolved::run(Arc::clone(&context), Arc::clone(&dispatcher), stop.clone());
    start("unresolved", unresolved.boxed());
    start("losses elsewhere", losses::run(Arc::clone(&context), stop.clone()).boxed());
    let handed_over = handed_over::run(Arc::clone(&context), Arc::clone(&dispatcher), stop.clone());
    start("handed-over payments", handed_over.boxed());
    start("finality check", finality::run(context, dispatcher, stop).boxed());
}

async fn placed(wallets: &[Arc<WalletStatus>]) {
    join_all(wallets.iter().map(|status| status.placed())).await;
}

/// Tries until it works.
async fn prove(context: &Context) {
    let mut retry = RETRY.0;
    let mut remembered = false;
    while let Err(trouble) = attempt(context, &mut remembered).await {
        keeps_closed(context, &trouble);
        tokio::time::sleep(retry).await;
        retry = retry.saturating_mul(2).min(RETRY.1);
    }
}

async fn attempt(context: &Context, remembered: &mut bool) -> Result<(), Trouble> {
    if !*remembered {
        losses::remember(context).await?;
        *remembered = true;
    }
    context.chain.prove().await?;
    Ok(tracker::catch_up(context).await?)
}
