//! New blocks, told by a node itself: one subscription to `newHeads`.
//!
//! An accelerator and nothing more: a notification is a reason to ask, never a
//! block, and what is not told here is found by asking.

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use chains_core::Network;
use chains_rpc::host;
use futures::{SinkExt as _, StreamExt as _};
use reqwest::Url;
use serde::{Deserialize, de::IgnoredAny};
use tokio::{
    net::TcpStream,
    sync::{Mutex, Notify},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{
    read::number,
    send_notice::{SendNotice, SendNotices},
};

/// The time that the node may take to connect, and to accept the subscription.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(10);

/// A connection on which nothing comes for this long is taken for dead: nodes
/// send a head with each block, and a ping now and then.
const SILENCE_MAX: Duration = Duration::from_mins(2);

/// The pause before connecting again: doubled each time it fails.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The longest message that is taken: a header has less than a kilobyte.
const MESSAGE_MAX: usize = 64 * 1024;

const SUBSCRIBE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Listening = Pin<Box<dyn Future<Output = Infallible> + Send>>;

/// The heads that a node has told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The height that it told last; 0 before the first.
    height: AtomicU64,
    /// The height that was found last.
    found: AtomicU64,
    more: Notify,
    /// True while blocks are told before they are found.
    live: AtomicBool,
    /// True when the last height was told by the answer to a send.
    by_send: AtomicBool,
}

/// The subscription of one network.
pub(super) struct Heads {
    told: Arc<Told>,
    sends: Arc<SendNotices>,
    /// Runs while somebody waits; kept when that wait is given up.
    listening: Mutex<Listening>,
}

impl Heads {
    /// A subscription at a node's WebSocket; `None`: there is none.
    pub fn new(network: &Network, websocket: Option<Url>) -> Self {
        let told = Arc::new(Told::default());
        let listening: Listening = match websocket {
            Some(url) => Box::pin(listen(network.clone(), url, Arc::clone(&told))),
            None => Box::pin(pending()),
        };
        Self { told, sends: Arc::default(), listening: Mutex::new(listening) }
    }

    /// The right to a send that is to be answered with its block, after this
    /// newest one; `None` where a subscription tells of blocks, and as
    /// [`SendNotices::begin`] says.
    pub fn send_notice(&self, newest: u64) -> Option<SendNotice> {
        if self.is_live() { None } else { self.sends.begin(&self.told, newest) }
    }

    /// Returns whether the next block will be told, as far as is known.
    pub fn is_live(&self) -> bool {
        self.told.live.load(Relaxed)
    }

    /// Returns whether a block of this height has been told.
    pub fn has_told(&self, height: u64) -> bool {
        self.told.height.load(Relaxed) >= height
    }

    /// Waits until a block of this height is told, and returns true; or until
    /// this moment, and returns false.
    pub async fn told(&self, height: u64, until: Instant) -> bool {
        let reached = async {
            loop {
                let more = self.told.more.notified();
                if self.has_told(height) {
                    return true;
                }
                more.await;
            }
        };
        tokio::select! {
            biased;
            never = self.listen() => match never {},
            told = reached => told,
            () = sleep_until(until) => false,
        }
    }

    /// Sleeps until this moment, and listens meanwhile.
    pub async fn sleep_until(&self, until: Instant) {
        tokio::select! {
            biased;
            never = self.listen() => match never {},
            () = sleep_until(until) => {}
        }
    }

    /// Notes the height of a block that was found. One that had not been told
    /// shows that asking is faster, until one is told before it is found.
    pub fn found(&self, height: u64) {
        self.told.found.store(height, Relaxed);
        if !self.has_told(height) {
            self.told.live.store(false, Relaxed);
        }
    }

    /// Forgets that a block was told which is not there. Sends that tell of
    /// blocks before they are made are of no use.
    pub fn forget(&self) {
        if self.told.by_send.load(Relaxed) {
            self.sends.turn_off();
        }
        self.told.height.store(0, Relaxed);
        self.told.live.store(false, Relaxed);
    }

    async fn listen(&self) -> Infallible {
        self.listening.lock().await.as_mut().await
    }
}

impl Told {
    fn tell(&self, height: u64) {
        self.by_send.store(false, Relaxed);
        self.height.store(height, Relaxed);
        self.live.store(height > self.found.load(Relaxed), Relaxed);
        self.more.notify_waiters();
    }

    /// The same by the answer to a send, which does not mean that the next one
    /// will be told as well.
    pub fn tell_by_send(&self, height: u64) {
        if height > self.found.load(Relaxed) {
            self.by_send.store(true, Relaxed);
            self.height.store(height, Relaxed);
            self.more.notify_waiters();
        }
    }
}

/// Subscribes, tells, and begins again when the connection ends.
async fn listen(network: Network, url: Url, told: Arc<Told>) -> Infallible {
    let node = host(&url).unwrap_or_default();
    let (mut pause, mut failures) = (RETRY_MIN, 0_u32);
    loop {
        let began = Instant::now();
        let ended = match subscribe(&url).await {
            Ok(mut socket) => {
                tracing::info!(%network, node, "a node tells of new blocks by WebSocket");
                failures = 0;
                tell(&mut socket, &told).await
            }
            Err(what) => what,
        };
        told.live.store(false, Relaxed);
        if failures == 0 {
            tracing::warn!(%network, node, error = ended, "no node tells of new blocks: they are asked for");
        }
        failures = failures.saturating_add(1);
        // A node that closes each connection at once is no better than one that takes none.
        pause = if began.elapsed() > RETRY_MAX { RETRY_MIN } else { (pause * 2).min(RETRY_MAX) };
        sleep(pause).await;
    }
}

/// A message of the node: the answer to the subscription, or a head.
#[derive(Debug, Deserialize)]
struct Said {
    result: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
    params: Option<Params>,
}

#[derive(Debug, Deserialize)]
struct Params {
    result: Head,
}

#[derive(Debug, Deserialize)]
struct Head {
    number: String,
}

/// One subscription. The errors of the client hold the URL, hence only what
/// was tried is told.
async fn subscribe(url: &Url) -> Result<Socket, &'static str> {
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
    let connecting = timeout(SUBSCRIBE_MAX, connect_async_with_config(url.as_str(), Some(config), true)).await;
    let (mut socket, _) = connecting.ok().and_then(Result::ok).ok_or("the WebSocket cannot be opened")?;
    let accepted = async {
        socket.send(Message::text(SUBSCRIBE)).await.map_err(|_| "the subscription cannot be sent")?;
        match said(&mut socket).await {
            Ok(Said { result: Some(_), error: None, .. }) => Ok(()),
            Ok(_) | Err(_) => Err("the subscription is refused"),
        }
    };
    timeout(SUBSCRIBE_MAX, accepted).await.unwrap_or(Err("the subscription is not answered"))?;
    Ok(socket)
}

/// Tells of heads until the connection ends; returns the way in which it ended.
async fn tell(socket: &mut Socket, told: &Told) -> &'static str {
    loop {
        match timeout(SILENCE_MAX, said(socket)).await {
            Ok(Ok(Said { params: Some(params), .. })) => {
                if let Some(height) = number(&params.result.number) {
                    told.tell(height);
                }
            }
            Ok(Ok(_)) => {}
            Ok(Err(what)) => return what,
            Err(_) => return "nothing comes any more",
        }
    }
}

/// The next message that is one of JSON-RPC.
async fn said(socket: &mut Socket) -> Result<Said, &'static str> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text).map_err(|_| "a message is not readable");
            }
            Some(Ok(Message::Close(_))) | None => return Err("the connection was closed"),
            Some(Ok(_)) => {}
            Some(Err(_)) => return Err("the connection broke"),
        }
    }
}

/// Tries the subscription, for the doctor.
///
/// # Errors
/// The step that did not work.
pub(crate) async fn probe(url: &Url) -> Result<(), &'static str> {
    subscribe(url).await.map(drop)
}
