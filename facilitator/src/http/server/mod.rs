//! Connections: how many, how long, and how they end.
//!
//! * [`places`]: who may hold how many, and who gives way.
//! * [`proxies`]: who is behind a proxy, where one is trusted.
//! * [`connection`]: one of them, and the time that its caller takes.
//! * [`files`]: how many the machine lets us have.

mod connection;
pub mod files;
pub mod places;
pub mod proxies;

use std::{sync::Arc, time::Duration};

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    places::{Place, Places, PlacesMax, Waits},
    proxies::Proxies,
};
use crate::metrics;

/// Wait after the system refused to accept, most likely for want of files.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// The time for which connections are still accepted, and idle ones kept, once the
/// service stops: a request that is on its way meanwhile is answered, with
/// `connection: close`, instead of being cut off.
pub const LINGER: Duration = Duration::from_millis(500);

/// Limits of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The listener's name in metrics, one of [`LISTENERS`].
    pub listener: &'static str,
    /// Connections at a time.
    pub places: PlacesMax,
    /// The time that callers have.
    pub waits: Waits,
    /// The proxies that are believed.
    pub proxies: Arc<Proxies>,
}

/// The listeners, as metrics name them.
pub const LISTENERS: [&str; 2] = ["public", "admin"];

/// The reasons for which connections are ended, as metrics name them.
pub const DROPS: [&str; 5] = ["place", "large_head", "malformed", "slow_head", "slow_reader"];

/// Counts a connection as open until it is dropped.
struct Open(&'static str);

impl Open {
    fn new(listener: &'static str) -> Self {
        metrics::connections(listener, true);
        Self(listener)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::connections(self.0, false);
    }
}

/// Accepts connections until `drain`, then waits for those in flight or `stop`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    drain: CancellationToken,
    stop: CancellationToken,
) {
    let places = Places::new(limits.places, limits.proxies);
    let connections = TaskTracker::new();
    let closed = async {
        drain.cancelled().await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::pin!(closed);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places, limits.listener) => accepted,
            () = &mut closed => break,
            () = stop.cancelled() => break,
        };
        let Some((stream, place)) = accepted else { continue };
        // Boxed: else each of those that wait for it has a place of its size.
        let connection = Box::pin(connection::drive(stream, router.clone(), place, limits.waits, drain.clone()));
        let stop = stop.clone();
        let open = Open::new(limits.listener);
        connections.spawn(async move {
            stop.run_until_cancelled(connection).await;
            drop(open);
        });
    }
    drop(listener);
    connections.close();
    stop.run_until_cancelled(connections.wait()).await;
}

/// Returns the next connection with its place. One without a place is closed
/// at once: waiting for a place would let slow callers keep everybody else out.
async fn accept(listener: &TcpListener, places: &Arc<Places>, name: &'static str) -> Option<(TcpStream, Place)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            let place = places.take(peer.ip());
            place.map(|place| (stream, place)).map_err(|full| metrics::connection_refused(name, full.word())).ok()
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted; one that only waits is dropped for it");
            places.evict_one();
            tokio::time::sleep(ACCEPT_RETRY).await;
            None
        }
    }
}
