//! Our transactions that are confirmed, told by the node itself: one
//! subscription for each fee payer, whose key stands in all of them.
//!
//! An accelerator and nothing more: a notification is a reason to ask, never a
//! height, and what is not told here is found by asking.

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chains_rpc::host;
use futures::{
    future::ready,
    stream::{StreamExt, once, select_all},
};
use parking_lot::Mutex;
use reqwest::Url;
use solana_client::{
    nonblocking::pubsub_client::PubsubClient,
    rpc_config::{RpcTransactionLogsConfig, RpcTransactionLogsFilter},
};
use solana_commitment_config::CommitmentConfig;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

/// The time that the node may take to connect, and to accept a subscription.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(10);

/// The pause before connecting again: doubled each time it fails.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Signatures that may wait to be taken; beyond, asking finds them.
const WAITING_MAX: usize = 16_384;

/// The time for which others of the same block are waited for: a node tells them in a row.
const GATHER: Duration = Duration::from_millis(4);

/// The signatures that the node has told and nobody has taken.
#[derive(Debug, Default)]
struct Told {
    signatures: Mutex<HashSet<String>>,
    more: Notify,
    live: AtomicBool,
}

type Listening = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The subscriptions of one network.
pub struct Logs {
    told: Arc<Told>,
    /// Runs while somebody waits in [`next`](Self::next); kept when that wait is given up.
    listening: tokio::sync::Mutex<Listening>,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs").field("live", &self.is_live()).finish_non_exhaustive()
    }
}

impl Logs {
    /// Subscriptions for these fee payers at a node's WebSocket; `None`: there are none.
    pub fn new(websocket: Option<Url>, fee_payers: Vec<String>) -> Self {
        let told = Arc::new(Told::default());
        let listening: Listening = match websocket {
            Some(url) => Box::pin(listen(url, fee_payers, Arc::clone(&told))),
            None => Box::pin(std::future::pending()),
        };
        Self { told, listening: tokio::sync::Mutex::new(listening) }
    }

    /// Returns whether the node tells at the moment.
    pub fn is_live(&self) -> bool {
        self.told.live.load(Ordering::Relaxed)
    }

    /// Waits for transactions of ours that are confirmed, and takes their
    /// signatures. A wait that is given up half way loses none.
    pub async fn next(&self) -> HashSet<String> {
        let listen = async {
            let mut listening = self.listening.lock().await;
            listening.as_mut().await;
            // It never ends; were it to, asking goes on.
            std::future::pending::<()>().await;
        };
        let take = async {
            loop {
                let more = self.told.more.notified();
                if self.told.signatures.lock().is_empty() {
                    more.await;
                    sleep(GATHER).await;
                }
                let told = std::mem::take(&mut *self.told.signatures.lock());
                if !told.is_empty() {
                    return told;
                }
            }
        };
        tokio::select! {
            () = listen => unreachable!("it waits for ever"),
            told = take => told,
        }
    }

    /// Tells of a transaction as the node does.
    #[cfg(test)]
    pub(crate) fn tell(&self, signature: &str) {
        self.told.add(signature.to_owned());
    }
}

impl Told {
    fn add(&self, signature: String) {
        let mut signatures = self.signatures.lock();
        if signatures.len() < WAITING_MAX {
            signatures.insert(signature);
        }
        drop(signatures);
        self.more.notify_one();
    }
}

/// Subscribes, tells, and begins again when the connection ends.
async fn listen(url: Url, fee_payers: Vec<String>, told: Arc<Told>) {
    let host = host(&url).unwrap_or_default();
    let mut pause = RETRY_MIN;
    loop {
        match subscribe(&url, &fee_payers, &told).await {
            Ok(()) => pause = RETRY_MIN,
            Err(what) => {
                tracing::debug!(node = host, error = what, "no notifications; transactions are asked for");
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
        told.live.store(false, Ordering::Relaxed);
        sleep(pause).await;
    }
}

/// One connection, from its beginning to its end. The errors of the client
/// hold the URL, hence only what was tried is told.
async fn subscribe(url: &Url, fee_payers: &[String], told: &Told) -> Result<(), &'static str> {
    let connecting = timeout(SUBSCRIBE_MAX, PubsubClient::new(url.as_str())).await;
    let client = connecting.ok().and_then(Result::ok).ok_or("the WebSocket cannot be opened")?;
    let config = RpcTransactionLogsConfig { commitment: Some(CommitmentConfig::confirmed()) };
    let mut streams = Vec::with_capacity(fee_payers.len());
    for fee_payer in fee_payers {
        let filter = RpcTransactionLogsFilter::Mentions(vec![fee_payer.clone()]);
        let subscribing = timeout(SUBSCRIBE_MAX, client.logs_subscribe(filter, config.clone())).await;
        let (stream, _) = subscribing.ok().and_then(Result::ok).ok_or("the subscription is refused")?;
        // One that ends ends them all: then every one is made anew.
        streams.push(stream.map(Some).chain(once(ready(None))));
    }
    told.live.store(true, Ordering::Relaxed);
    let mut stream = select_all(streams);
    while let Some(Some(notification)) = stream.next().await {
        told.add(notification.value.signature);
    }
    Ok(())
}

/// Tries a subscription, for the doctor.
///
/// # Errors
/// The step that did not work.
pub(crate) async fn probe(url: &Url, fee_payer: &str) -> Result<(), &'static str> {
    let connecting = timeout(SUBSCRIBE_MAX, PubsubClient::new(url.as_str())).await;
    let client = connecting.ok().and_then(Result::ok).ok_or("the WebSocket cannot be opened")?;
    let filter = RpcTransactionLogsFilter::Mentions(vec![fee_payer.to_owned()]);
    let config = RpcTransactionLogsConfig { commitment: Some(CommitmentConfig::confirmed()) };
    let subscribing = timeout(SUBSCRIBE_MAX, client.logs_subscribe(filter, config)).await;
    subscribing.ok().and_then(Result::ok).map(drop).ok_or("the subscription is refused")
}
