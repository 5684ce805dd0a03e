//! API keys are read again when the configuration file changes: a token is added, replaced or withdrawn
//! without a restart.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Environment},
    http::auth::{KeyRing, ModeChanged},
};

/// The time between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Follows the keys in a configuration file.
pub(super) struct KeysFile {
    path: PathBuf,
    environment: Environment,
    ring: Arc<KeyRing>,
    /// The text that is in force, or that was found wrong.
    judged: String,
    /// The text that the last look found, if it was another one.
    seen: Option<String>,
}

impl KeysFile {
    /// Follows this file, whose text is in force.
    pub(super) fn new(path: PathBuf, environment: Environment, ring: Arc<KeyRing>) -> Self {
        let judged = std::fs::read_to_string(&path).unwrap_or_default();
        Self { path, environment, ring, judged, seen: None }
    }

    /// Looks at the file until `stop`.
    pub(super) async fn follow(mut self, stop: CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look().await;
        }
    }

    async fn look(&mut self) {
        // A file that is not there this moment is being replaced.
        let Ok(text) = tokio::fs::read_to_string(&self.path).await else { return };
        if text == self.judged {
            self.seen = None;
        } else if self.seen.as_ref() == Some(&text) {
            // Two looks found the same: nobody is writing it.
            self.read_again();
            (self.judged, self.seen) = (text, None);
        } else {
            self.seen = Some(text);
        }
    }

    fn read_again(&self) {
        let file = self.path.display();
        match config::load_auth(&self.path, &self.environment) {
            Ok(auth) => match self.ring.replace(auth.keys) {
                Ok(Some(change)) => {
                    let (added, removed) = (change.added.join(" "), change.removed.join(" "));
                    tracing::info!(%file, added, removed, "the API keys were read again: these tokens were added and removed");
                }
                Ok(None) => tracing::warn!(
                    %file,
                    "the configuration file has changed, and its API keys have not: the rest of it is read at the next start"
                ),
                Err(ModeChanged) => tracing::error!(
                    %file,
                    "auth.mode has changed: the API keys in force stay until the service is started again"
                ),
            },
            Err(report) => {
                let problems = report.problems();
                let shown = problems.iter().map(|problem| format!("{} {}", problem.key, problem.seen));
                let error = shown.collect::<Vec<_>>().join("; ");
                tracing::error!(%file, error, "the API keys cannot be read again: those in force stay until the file is correct");
            }
        }
    }
}
