//! Connections: how many, how long, and how they end.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Wait after the system refused to accept, most likely for want of files.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for a request's head to arrive; also how long a connection may idle.
    pub header_wait: Duration,
    /// Connections at a time.
    pub connections_max: usize,
    /// Connections of one address at a time.
    pub connections_per_ip_max: usize,
}

/// Accepts connections until `drain`, then waits for those in flight or `stop`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    drain: CancellationToken,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let callers: Arc<Mutex<HashMap<IpAddr, usize>>> = Arc::default();
    let connections = TaskTracker::new();
    loop {
        let Some(accepted) = drain.run_until_cancelled(accept(&listener, &places)).await else { break };
        let Some((stream, peer, place)) = accepted else { continue };
        let Some(seat) = Seat::take(&callers, peer.ip(), limits.connections_per_ip_max) else {
            metrics::counter!("connections_refused_total").increment(1);
            continue;
        };
        let connection = drive(stream, router.clone(), limits.header_wait, drain.clone());
        let stop = stop.clone();
        connections.spawn(async move {
            stop.run_until_cancelled(connection).await;
            drop((seat, place));
        });
    }
    drop(listener);
    connections.close();
    stop.run_until_cancelled(connections.wait()).await;
}

/// The next connection. One for which there is no place is closed at once:
/// waiting for a place would let slow callers keep everybody else out.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            let place = Arc::clone(places).try_acquire_owned().ok();
            if place.is_none() {
                metrics::counter!("connections_refused_total").increment(1);
            }
            place.map(|place| (stream, peer, place))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_RETRY).await;
            None
        }
    }
}

async fn drive(stream: TcpStream, router: Router, header_wait: Duration, drain: CancellationToken) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(header_wait).max_headers(64);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    // How a connection ends is the caller's business; nothing depends on it.
    tokio::select! {
        _ = &mut connection => (),
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

/// One address's place among its connections; free again when dropped.
struct Seat {
    callers: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Seat {
    fn take(callers: &Arc<Mutex<HashMap<IpAddr, usize>>>, address: IpAddr, max: usize) -> Option<Self> {
        let mut taken = callers.lock();
        let count = taken.entry(address).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Self { callers: Arc::clone(callers), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.callers.lock();
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}
