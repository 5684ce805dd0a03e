//! The task that opens a network: takes up what the store holds, proves the
//! network, learns the nonces, and starts everything else. Verdicts are not
//! waited for: unknown transactions are investigated beside the traffic.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chains_core::{
    chain::{ChainUnavailable, ProofError},
    observation::Depth,
};
use tokio::sync::mpsc;

use super::{
    context::Context,
    decide::{NextNonce, next_nonce},
    dispatch::Dispatcher,
    finality,
    mail::{MAILBOX_MAX, Mail, Mailers},
    proof,
    recovery::{self, ByWallet, Recovered},
    status::{Condition, WalletStatus},
    tracker::{self, BLOCKS_MAX, Listener},
    unresolved,
    worker::{Inlets, Start, Worker},
};
use crate::{
    lifecycle::Lifecycle,
    store::{Fence, StoreError},
};

/// The shortest and the longest wait between tries to open a network.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// The reason why opening did not work this time.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Chain(#[from] ChainUnavailable),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The state of a wallet that its worker starts from.
struct Opening {
    status: Arc<WalletStatus>,
    fence: Fence,
    next: NextNonce,
}

/// The ways to the workers of a network.
pub(super) struct Ways {
    /// The mailboxes, by wallet.
    pub mailboxes: HashMap<String, mpsc::Receiver<Mail>>,
    /// The ways into them.
    pub mailers: Mailers,
    /// The choice between those that take payments.
    pub dispatcher: Arc<Dispatcher>,
}

/// Opens a network, and starts everything that follows it.
pub(super) async fn run(context: Arc<Context>, ways: Ways, lifecycle: Lifecycle) {
    let Ways { mut mailboxes, mut mailers, dispatcher } = ways;
    let stop = lifecycle.stop.clone();
    let Some((mut recovered, openings)) = stop.run_until_cancelled(open(&context)).await else { return };
    let mut listeners = Vec::with_capacity(openings.len());
    for Opening { status, fence, next } in openings {
        let wallet = status.wallet.clone();
        let mail = mailboxes.remove(&wallet).unwrap_or_else(|| {
            let (mailer, mail) = mpsc::channel(MAILBOX_MAX);
            mailers.insert(wallet.clone(), mailer);
            mail
        });
        let (blocks_in, blocks) = mpsc::channel(BLOCKS_MAX);
        listeners.push(Listener::new(blocks_in));
        let next_nonce = start_nonce(&context, &status, next);
        let Recovered { tracked, waiting } = recovered.remove(&wallet).unwrap_or_default();
        let start = Start { status, fence, next_nonce, tracked, waiting };
        let worker = Worker::new(Arc::clone(&context), Arc::clone(&dispatcher), start);
        lifecycle
            .supervise(format!("worker of gas wallet {wallet}"), worker.run(Inlets { mail, blocks }, stop.clone()));
    }
    context.status.set_condition(Condition::Open);
    tracing::info!(network = %context.network(), "open");
    let network = context.network().clone();
    let start = |name: &str, task| lifecycle.supervise(format!("{name} of {network}"), task);
    start("block tracker", futures::FutureExt::boxed(tracker::run(Arc::clone(&context), listeners, stop.clone())));
    start("proof", futures::FutureExt::boxed(proof::run(Arc::clone(&context), stop.clone())));
    start(
        "unresolved",
        futures::FutureExt::boxed(unresolved::run(Arc::clone(&context), mailers.clone(), stop.clone())),
    );
    start("finality check", futures::FutureExt::boxed(finality::run(context, mailers, stop)));
}

/// Tries until it works.
async fn open(context: &Context) -> (ByWallet, Vec<Opening>) {
    let mut retry = RETRY.0;
    let mut recovered = None;
    loop {
        match attempt(context, &mut recovered).await {
            Ok(openings) => return (recovered.unwrap_or_default(), openings),
            Err(trouble) => {
                let why = trouble.to_string();
                if context.status.set_condition(Condition::Closed(why.clone())) {
                    tracing::error!(network = %context.network(), error = why, "the network is not open yet");
                }
                tokio::time::sleep(retry).await;
                retry = retry.saturating_mul(2).min(RETRY.1);
            }
        }
    }
}

async fn attempt(context: &Context, recovered: &mut Option<ByWallet>) -> Result<Vec<Opening>, Trouble> {
    let by_wallet = match recovered {
        Some(by_wallet) => by_wallet,
        None => recovered.insert(recovery::take_up(context).await?),
    };
    retire(context, by_wallet);
    context.chain.prove().await?;
    tracker::catch_up(context).await?;
    let mut openings = vec![];
    for status in context.status.wallets() {
        openings.push(opening(context, status).await?);
    }
    Ok(openings)
}

/// Adds the wallets that have open transactions and are no longer configured.
fn retire(context: &Context, by_wallet: &ByWallet) {
    let known: Vec<_> = context.status.wallets().iter().map(|status| status.wallet.clone()).collect();
    for wallet in by_wallet.keys().filter(|wallet| !known.contains(wallet)) {
        tracing::error!(
            network = %context.network(), wallet,
            "the store holds open settlements of a gas wallet that is no longer configured: they are followed, and \
             none of them is replaced. Configure it again until its settlements are final"
        );
        context.status.add_wallet(WalletStatus::new(wallet, true));
    }
}

async fn opening(context: &Context, status: Arc<WalletStatus>) -> Result<Opening, Trouble> {
    let wallet = &status.wallet;
    let stored = context.store.highest_nonce(context.network(), wallet).await?;
    if status.retired {
        let fence = context.ownership.acquire(context.network(), wallet).await?;
        return Ok(Opening { fence, next: next_nonce(stored.map(|stored| stored + 1), stored), status });
    }
    let stored = if mistake!(NonceOfTheChain) { None } else { stored };
    let chain = context.chain.nonce(wallet, Depth::Latest).await?;
    let fence = context.ownership.acquire(context.network(), wallet).await?;
    Ok(Opening { fence, next: next_nonce(chain, stored), status })
}

/// The nonce that a worker starts with; opens the wallet, or says why it stays closed.
fn start_nonce(context: &Context, status: &WalletStatus, next: NextNonce) -> Option<u64> {
    let (nonce, closed) = match next {
        NextNonce::None => (None, None),
        NextNonce::From(next) => (Some(next), None),
        NextNonce::Foreign { chain, .. } if context.accept_foreign_nonces => (Some(chain), None),
        NextNonce::Foreign { chain, stored } => (Some(chain), Some(foreign(chain, stored))),
    };
    if let Some(because) = &closed {
        tracing::error!(network = %context.network(), wallet = status.wallet, error = because, "the gas wallet stays closed");
    }
    status.update(|state| state.closed = closed);
    nonce
}

fn foreign(chain: u64, stored: u64) -> String {
    format!(
        "the chain has used its nonces up to {}, the store knows only up to {stored}: either the key is in use \
         elsewhere, or the store was restored from an old copy. Run `facilitator audit`, then start once with \
         `serve --accept-foreign-nonces`",
        chain - 1
    )
}
