//! How the process ends: first signal drains, second signal stops at once.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Time for requests in flight to be answered once the process is told to stop.
pub const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Everything that ends with the process.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    /// Every task of the service but the listeners.
    pub tasks: TaskTracker,
    /// The listeners with their connections: they end first.
    pub listeners: TaskTracker,
    /// Cancelled first: no new requests, but those in flight are answered.
    pub drain: CancellationToken,
    /// Cancelled last: every task ends.
    pub stop: CancellationToken,
}

impl Lifecycle {
    /// Waits for SIGTERM or SIGINT and begins to drain; a second one, or the
    /// end of [`DRAIN_MAX`], stops.
    ///
    /// # Errors
    /// The signals cannot be listened for.
    pub fn listen(&self) -> std::io::Result<()> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let lifecycle = self.clone();
        // Not tracked: it would keep the tracker from ever being empty.
        tokio::spawn(async move {
            let mut told = async || {
                tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
            };
            told().await;
            tracing::info!("told to stop: requests in flight are answered first");
            lifecycle.drain.cancel();
            tokio::select! {
                () = told() => tracing::warn!("told to stop again: stopping at once"),
                () = tokio::time::sleep(DRAIN_MAX) => tracing::warn!("requests in flight took too long"),
                () = lifecycle.stop.cancelled() => (),
            }
            lifecycle.stop.cancel();
        });
        Ok(())
    }

    /// Takes no new request and waits until those in flight are answered. A
    /// settlement that is then still under way is in the store, and goes on
    /// at the next start.
    pub async fn answer(&self) {
        self.drain.cancel();
        self.listeners.close();
        let answered = tokio::time::timeout(DRAIN_MAX, self.listeners.wait());
        let _: Option<_> = self.stop.run_until_cancelled(answered).await;
    }

    /// Ends every task and waits for them.
    pub async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
