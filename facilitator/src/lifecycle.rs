//! The end of the process: the first signal drains, the second stops at once, a
//! task that panics stops it with its reason, and every end has a time limit.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Time for requests in flight to be answered once the process is told to stop.
pub const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Time for the tasks to end once requests in flight are answered.
pub const STOP_MAX: Duration = Duration::from_secs(5);

/// The reason of an end that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// The task of this name panicked.
    Panicked(String),
    /// The process must not go on, and why.
    Refused(String),
}

/// Everything that ends with the process.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// Every task of the service but the listeners.
    pub tasks: TaskTracker,
    /// The listeners with their connections: they end first.
    pub listeners: TaskTracker,
    /// Cancelled first: the service is ready for nothing new, and says so, but takes what comes.
    pub leaving: CancellationToken,
    /// Cancelled next: no new requests, but those in flight are answered.
    pub drain: CancellationToken,
    /// Cancelled last: every task ends.
    pub stop: CancellationToken,
    died: Arc<Mutex<Option<Death>>>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        let drain = CancellationToken::new();
        Self {
            tasks: TaskTracker::new(),
            listeners: TaskTracker::new(),
            // What drains is leaving, too.
            leaving: drain.child_token(),
            drain,
            stop: CancellationToken::new(),
            died: Arc::default(),
        }
    }
}

impl Lifecycle {
    /// Runs a task that the service cannot do without. Should it panic, the
    /// process stops, with the task's name as its reason: what the store holds
    /// goes on at the next start.
    pub fn supervise(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let (name, lifecycle) = (name.into(), self.clone());
        self.tasks.spawn(async move {
            // Nothing of the task is used again after a panic.
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(task = name, "a task of the service panicked: this is a bug; the service stops");
                crate::metrics::panicked();
                lifecycle.end_because(Death::Panicked(name));
            }
        });
    }

    /// Ends the process, which must not go on.
    pub fn refuse(&self, why: String) {
        self.end_because(Death::Refused(why));
    }

    fn end_because(&self, death: Death) {
        self.died.lock().get_or_insert(death);
        self.drain.cancel();
    }

    /// The reason for which the process ends; `None` for an end that was asked for.
    pub fn died(&self) -> Option<Death> {
        self.died.lock().clone()
    }

    /// Waits for SIGTERM, SIGINT or SIGHUP (a terminal that is closed), is leaving for `delay`, so that
    /// load balancers notice, and begins to drain; a second one, or the end of [`DRAIN_MAX`], stops. A
    /// process that was started to ignore SIGHUP, as by `nohup`, goes on
    /// ignoring it. The configuration is read at the start only.
    ///
    /// # Errors
    /// The signals cannot be listened for.
    pub fn listen(&self, delay: Duration) -> std::io::Result<()> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        let lifecycle = self.clone();
        // Not tracked: it would keep the tracker from ever being empty.
        #[expect(clippy::disallowed_methods, reason = "it waits for signals as long as the process lives")]
        tokio::spawn(async move {
            let mut told = async || {
                let hung_up = async {
                    match &mut hangup {
                        Some(hangup) => hangup.recv().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => (), _ = hung_up => () }
            };
            told().await;
            lifecycle.leaving.cancel();
            if delay.is_zero() {
                lifecycle.drain.cancel();
            }
            tracing::info!("told to stop: requests in flight are answered first");
            let is_told_again = tokio::select! {
                () = told() => true,
                () = tokio::time::sleep(delay) => false,
            };
            lifecycle.drain.cancel();
            if is_told_again {
                tracing::warn!("told to stop again: stopping at once");
                lifecycle.stop.cancel();
                return;
            }
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

    /// Ends every task and waits for them, but no longer than [`STOP_MAX`]:
    /// everything that they have begun is in the store.
    pub async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_MAX, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "some tasks did not end in time; they end with the process");
        }
    }
}

/// Returns true when the process was started with SIGHUP ignored: bit 0 of
/// `SigIgn` in Linux's `/proc/self/status` is signal 1.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_ends_the_service_with_its_name() {
        let lifecycle = Lifecycle::default();
        lifecycle.supervise("good", async {});
        lifecycle.supervise("bad", async { panic!("on purpose") });
        lifecycle.drain.cancelled().await;
        assert_eq!(lifecycle.died(), Some(Death::Panicked("bad".into())));
        lifecycle.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_holds_up_nothing() {
        let lifecycle = Lifecycle::default();
        lifecycle.supervise("stuck", std::future::pending());
        lifecycle.end().await;
        assert!(lifecycle.stop.is_cancelled());
    }
}
