//! The task that connects, probes and checks: requests never do.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    RedisClient,
    breaker::Breaker,
    link::{self, LinkError, Proven},
};
use crate::{logging::reminders::Reminders, metrics};

/// The time between two checks of a Redis that is used: a dead one is noticed also where nobody
/// settles, and so is one whose settings have changed.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// The time between the two probes of one turn: the first may only find out that its connection is dead.
const PROBE_AGAIN: Duration = Duration::from_millis(100);

impl RedisClient {
    /// Keeps the connection until `stop`.
    pub(super) async fn keep(self, stop: CancellationToken) {
        let mut reminders = Reminders::default();
        while stop.run_until_cancelled(self.turn(&mut reminders)).await.is_some() {}
    }

    /// Waits until there is something to find out, and finds it out.
    async fn turn(&self, reminders: &mut Reminders<()>) {
        let breaker = self.0.state.lock().breaker;
        match breaker {
            Breaker::Open { pause } => sleep(pause).await,
            Breaker::Closed { .. } => {
                if timeout(CHECK_EVERY, self.0.opened.notified()).await.is_ok() {
                    return;
                }
            }
        }
        let mut found = self.probe().await;
        if found.is_err() {
            sleep(PROBE_AGAIN).await;
            found = self.probe().await;
        }
        self.conclude(found.err().map(|error| error.to_string()), reminders);
    }

    /// Probes the connection that there is; one that fails is given up.
    async fn probe(&self) -> Result<(), LinkError> {
        let known = self.0.state.lock().link.clone();
        let found = link::prove(known, &self.0.options, &self.0.instance).await;
        let mut state = self.0.state.lock();
        match found {
            Ok(Proven { link, instances }) => {
                (state.link, state.instances) = (Some(link), instances);
                metrics::instances(instances);
                Ok(())
            }
            Err(error) => {
                state.link = None;
                Err(error)
            }
        }
    }

    /// Puts what the probes have found into force, and tells what is new about it.
    fn conclude(&self, trouble: Option<String>, reminders: &mut Reminders<()>) {
        let was_used = {
            let mut state = self.0.state.lock();
            let was_used = state.breaker.is_closed();
            state.breaker = state.breaker.after_probe(trouble.is_none());
            state.trouble.clone_from(&trouble);
            was_used
        };
        metrics::redis_breaker(trouble.is_some());
        let again = reminders.heed(trouble.iter().map(|_| ((), ())).collect(), Instant::now());
        match trouble {
            None if !was_used => tracing::info!("Redis answers: it is used from now on"),
            None => {}
            Some(error) if was_used => {
                tracing::warn!(error, "Redis is not used until it answers again; payments go on without it");
            }
            Some(error) => {
                for ((), lasted) in again {
                    tracing::warn!(error, lasted_s = lasted.as_secs(), "Redis is still not used");
                }
            }
        }
    }
}
