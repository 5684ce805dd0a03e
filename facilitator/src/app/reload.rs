//! API keys and pauses are read again when the configuration file changes: a token is added, replaced or
//! withdrawn, and payments are paused, without a restart.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use chains_core::{Network, config::Report};

use crate::{
    config::{self, Environment},
    http::auth::{KeyRing, ModeChanged},
    payment::paused::Pause,
};

/// The time between two looks at the file. It is read only where its mark is another.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The file's place on its disk, its length, and the time of its last change in nanoseconds: another text has another
/// one, also where the name leads to another file.
type Mark = (u64, u64, u64, i64, i64);

fn mark(path: &Path) -> Option<Mark> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

/// The parts of a running service that its configuration file may change.
pub(super) struct Changeable {
    /// The API keys.
    pub ring: Arc<KeyRing>,
    /// The payments that are not taken.
    pub pause: Arc<Pause>,
    /// The networks that it serves.
    pub networks: Vec<Network>,
}

/// Follows a configuration file.
pub(super) struct FollowedFile {
    path: PathBuf,
    environment: Environment,
    service: Changeable,
    /// The text that is in force, or that was found wrong.
    judged: String,
    /// The text that the last look found, if it was another one.
    seen: Option<String>,
    /// The mark of the file whose text is in force, or was found wrong.
    mark: Option<Mark>,
}

impl FollowedFile {
    /// Follows this file, whose text is in force.
    pub(super) fn new(path: PathBuf, environment: Environment, service: Changeable) -> Self {
        let mark = mark(&path);
        let judged = std::fs::read_to_string(&path).unwrap_or_default();
        Self { path, environment, service, judged, seen: None, mark }
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
        let Some(mark) = mark(&self.path).filter(|mark| Some(*mark) != self.mark) else { return };
        let Ok(text) = tokio::fs::read_to_string(&self.path).await else { return };
        if text == self.judged {
            (self.seen, self.mark) = (None, Some(mark));
        } else if self.seen.as_ref() == Some(&text) {
            // Two looks found the same: nobody is writing it.
            self.read_again();
            (self.judged, self.seen, self.mark) = (text, None, Some(mark));
        } else {
            self.seen = Some(text);
        }
    }

    fn read_again(&self) {
        let (keys, pause) = (self.read_keys_again(), self.read_pause_again());
        if !keys && !pause {
            let file = self.path.display();
            tracing::warn!(
                %file,
                "the configuration file has changed, and neither its API keys nor what is paused has: the rest of it is read at \
                 the next start"
            );
        }
    }

    /// Returns true when something was said about the keys.
    fn read_keys_again(&self) -> bool {
        let file = self.path.display();
        let auth = match config::load_auth(&self.path, &self.environment) {
            Ok(auth) => auth,
            Err(report) => {
                let error = shown(&report);
                tracing::error!(%file, error, "the API keys cannot be read again: those in force stay until the file is correct");
                return true;
            }
        };
        match self.service.ring.replace(auth.keys) {
            Ok(Some(change)) => {
                let (added, removed) = (change.added.join(" "), change.removed.join(" "));
                tracing::info!(%file, added, removed, "the API keys were read again: these tokens were added and removed");
                true
            }
            Ok(None) => false,
            Err(ModeChanged) => {
                tracing::error!(
                    %file,
                    "auth.mode has changed: the API keys in force stay until the service is started again"
                );
                true
            }
        }
    }

    /// Returns true when something was said about the pause.
    fn read_pause_again(&self) -> bool {
        let file = self.path.display();
        match config::load_paused(&self.path, &self.environment, &self.service.networks) {
            Ok(paused) => {
                let words = paused.to_string();
                let changes = self.service.pause.replace(paused);
                if changes {
                    tracing::warn!(%file, paused = words, "payments are paused as the configuration file says");
                }
                changes
            }
            Err(report) => {
                let error = shown(&report);
                tracing::error!(%file, error, "the pause cannot be read again: the one in force stays until the file is correct");
                true
            }
        }
    }
}

/// The problems of a report in one line.
fn shown(report: &Report) -> String {
    let problems = report.problems();
    problems.iter().map(|problem| format!("{} {}", problem.key, problem.seen)).collect::<Vec<_>>().join("; ")
}
