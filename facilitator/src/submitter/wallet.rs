//! The life of a gas wallet in this process: waited for, taken up, worked with,
//! and given back; then waited for again.

use std::{sync::Arc, time::Duration};

use chains_core::observation::Depth;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    decide::{NextNonce, next_nonce},
    dispatch::Dispatcher,
    ownership::Holding,
    recovery,
    status::WalletStatus,
    tracker::Listeners,
    trouble::{RETRY, Trouble, keeps_closed},
    worker::{Inlets, Start, Worker},
};
use crate::{lifecycle::Lifecycle, store::StoreError};

/// The time between two looks at who else has a wallet.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The time between two looks for wallets that the store knows and the
/// configuration does not.
const RETIRED_EVERY: Duration = Duration::from_mins(1);

/// The reason why a wallet is not used while it is waited for.
const NOT_OPEN: &str = "not open yet";

/// The parts of a network that its wallets share.
#[derive(Clone)]
pub(super) struct Wallets {
    /// The network's context.
    pub context: Arc<Context>,
    /// The ways to the workers.
    pub dispatcher: Arc<Dispatcher>,
    /// The workers that are told of blocks.
    pub listeners: Listeners,
}

impl Wallets {
    /// Follows a wallet until the service stops.
    pub fn start(&self, status: Arc<WalletStatus>, lifecycle: &Lifecycle) {
        let life = Life { wallets: self.clone(), status };
        lifecycle.supervise(format!("worker of gas wallet {}", life.status.wallet), life.run(lifecycle.stop.clone()));
    }
}

/// Looks for wallets with settlements under way that are no longer configured, at
/// first and again and again: another instance may have had them until now.
pub(super) async fn look_for_retired(wallets: Wallets, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(RETIRED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while lifecycle.stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match retired(&wallets.context).await {
            Ok(retired) => {
                for wallet in retired {
                    add_retired(&wallets, &wallet, &lifecycle);
                }
            }
            Err(error) => {
                tracing::debug!(network = %wallets.context.network(), %error, "open settlements could not be listed");
            }
        }
    }
}

async fn retired(context: &Context) -> Result<Vec<String>, StoreError> {
    let known = context.status.wallets();
    let used = recovery::wallets_in_use(context).await?;
    Ok(used.into_iter().filter(|wallet| known.iter().all(|known| known.wallet != *wallet)).collect())
}

fn add_retired(wallets: &Wallets, wallet: &str, lifecycle: &Lifecycle) {
    tracing::error!(
        network = %wallets.context.network(), wallet,
        "the store holds open settlements of a gas wallet that is no longer configured: they are followed, and none of \
         them is replaced. Configure it again until its settlements are final"
    );
    let status = WalletStatus::new(wallet, true);
    wallets.context.status.add_wallet(Arc::clone(&status));
    wallets.dispatcher.add(Arc::clone(&status));
    wallets.start(status, lifecycle);
}

struct Life {
    wallets: Wallets,
    status: Arc<WalletStatus>,
}

impl Life {
    async fn run(self, stop: CancellationToken) {
        while let Some(holding) = stop.run_until_cancelled(self.wait_for_it()).await {
            self.hold(&holding, &stop).await;
            self.wallets.context.ownership.release(&holding).await;
            self.status.update(|state| state.closed = Some(NOT_OPEN.into()));
        }
    }

    /// Waits until the wallet is here, and says meanwhile where else it is.
    async fn wait_for_it(&self) -> Holding {
        let (context, wallet) = (&self.wallets.context, &self.status.wallet);
        let mut retry = RETRY.0;
        self.status.set_elsewhere(context.ownership.owner_elsewhere(context.network(), wallet));
        loop {
            let mut acquiring = context.ownership.acquire(context.network(), wallet);
            let acquired = loop {
                tokio::select! {
                    biased;
                    acquired = &mut acquiring => break acquired,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
                self.status.set_elsewhere(context.ownership.owner_elsewhere(context.network(), wallet));
            };
            match acquired {
                Ok(holding) => return holding,
                Err(error) => self.say(&error.into()),
            }
            tokio::time::sleep(retry).await;
            retry = retry.saturating_mul(2).min(RETRY.1);
        }
    }

    /// Works with the wallet until it is to be left, or the service stops.
    async fn hold(&self, holding: &Holding, stop: &CancellationToken) {
        let ends = async {
            tokio::select! { () = stop.cancelled() => {}, () = holding.over().cancelled() => {} }
        };
        let start = tokio::select! {
            biased;
            () = ends => return,
            next = self.next_nonce_in_time() => self.start(holding, next).await,
        };
        let Some(start) = start else { return };
        let Wallets { context, dispatcher, listeners } = &self.wallets;
        let worker = Worker::new(Arc::clone(context), Arc::clone(dispatcher), start);
        let blocks = listeners.add();
        let mail = dispatcher.attach(&self.status.wallet, holding);
        worker.run(Inlets { mail, blocks }, stop.clone()).await;
        dispatcher.detach(&self.status.wallet);
    }

    /// Tries until it works.
    async fn next_nonce_in_time(&self) -> NextNonce {
        let mut retry = RETRY.0;
        loop {
            match self.next_nonce().await {
                Ok(next) => return next,
                Err(trouble) => self.say(&trouble),
            }
            tokio::time::sleep(retry).await;
            retry = retry.saturating_mul(2).min(RETRY.1);
        }
    }

    /// Takes up what the store holds of the wallet, as nobody else can write more of
    /// it. Runs to its end: whoever is known to the registry afterwards has a worker.
    async fn start(&self, holding: &Holding, next: NextNonce) -> Option<Start> {
        let (context, wallet) = (&self.wallets.context, &self.status.wallet);
        let recovered = loop {
            match recovery::take_up(context, wallet).await {
                Ok(recovered) => break recovered,
                Err(StoreError::Closed) => return None,
                Err(error) => self.say(&error.into()),
            }
            if holding.over().is_cancelled() {
                return None;
            }
            tokio::time::sleep(RETRY.0).await;
        };
        let (next_nonce, closed) = match next {
            NextNonce::None => (None, None),
            NextNonce::From(next) => (Some(next), None),
            NextNonce::Foreign { chain, .. } if context.accept_foreign_nonces => (Some(chain), None),
            NextNonce::Foreign { chain, stored } => (Some(chain), Some(foreign(chain, stored))),
        };
        if let Some(because) = &closed {
            tracing::error!(network = %context.network(), wallet, error = because, "the gas wallet stays closed");
        }
        self.status.set_here(closed);
        Some(Start { status: Arc::clone(&self.status), holding: holding.clone(), next_nonce, recovered })
    }

    async fn next_nonce(&self) -> Result<NextNonce, Trouble> {
        let (context, wallet) = (&self.wallets.context, &self.status.wallet);
        let stored = context.store.highest_nonce(context.network(), wallet).await?;
        if self.status.retired {
            return Ok(next_nonce(stored.map(|stored| stored + 1), stored));
        }
        let stored = if mistake!(NonceOfTheChain) { None } else { stored };
        Ok(next_nonce(context.chain.nonce(wallet, Depth::Latest).await?, stored))
    }

    /// Says why the wallet is not open: as the network's trouble until that is open.
    fn say(&self, trouble: &Trouble) {
        let context = &self.wallets.context;
        if !context.status.is_open() {
            return keeps_closed(context, trouble);
        }
        let (network, wallet, why) = (context.network(), &self.status.wallet, trouble.to_string());
        let before = self.status.update(|state| state.closed.replace(why.clone()));
        if before.as_ref() != Some(&why) {
            tracing::error!(%network, wallet, error = why, "the gas wallet is not open yet");
        }
    }
}

fn foreign(chain: u64, stored: u64) -> String {
    format!(
        "the chain has used its nonces up to {}, the store knows only up to {stored}: either the key is in use \
         elsewhere, or the store was restored from an old copy. Run `facilitator audit`, then start once with \
         `serve --accept-foreign-nonces`",
        chain - 1
    )
}
