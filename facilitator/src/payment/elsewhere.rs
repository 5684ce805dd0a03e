//! Settlements that another instance follows: whoever waits for one here is told
//! when the store has its end.
//!
//! One look into the store covers everybody who waits. It is made when the store
//! says that something has ended, and at the latest after a while: a notice may
//! get lost.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    settlement::SettlementId,
    store::{Store, next_notice},
};

/// The time between two looks while the store gives notice, and while it does not.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(250));

/// The shortest time between two looks, however many notices come.
const LOOK_MIN: Duration = Duration::from_millis(10);

/// Everybody who waits for a settlement that is not followed here.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    waiting: Mutex<HashMap<SettlementId, Weak<Notify>>>,
    /// Somebody waits.
    wanted: Notify,
}

impl Elsewhere {
    /// Waits for the end of a settlement. Asked before the store is asked once
    /// more whether it is open: an end in between is noticed.
    pub fn end_of(&self, id: SettlementId) -> Arc<Notify> {
        let mut waiting = self.waiting.lock();
        let ended = waiting.get(&id).and_then(Weak::upgrade).unwrap_or_else(|| {
            let fresh = Arc::new(Notify::new());
            waiting.insert(id, Arc::downgrade(&fresh));
            fresh
        });
        self.wanted.notify_one();
        ended
    }

    /// Looks into the store for as long as somebody waits.
    pub async fn keep_looking(&self, store: &dyn Store, stop: CancellationToken) {
        stop.run_until_cancelled(self.look_again_and_again(store)).await;
    }

    async fn look_again_and_again(&self, store: &dyn Store) {
        let mut notices = store.notices().ended;
        loop {
            let ids = self.wanted_ids();
            if ids.is_empty() {
                self.wanted.notified().await;
                continue;
            }
            let began = Instant::now();
            // Heard before the look: what ends after it is noticed again.
            let gives_notice = notices.borrow_and_update().gives_notice;
            match store.open_of(&ids).await {
                Ok(open) => self.tell(ids.iter().filter(|id| !open.contains(id))),
                Err(error) => tracing::debug!(%error, "it cannot be seen whether a settlement has ended"),
            }
            let most = if gives_notice { LOOK_EVERY.0 } else { LOOK_EVERY.1 };
            tokio::select! {
                _ = timeout(most, next_notice(&mut notices)) => {}
                () = self.wanted.notified() => {}
            }
            tokio::time::sleep_until(began + LOOK_MIN).await;
        }
    }

    fn wanted_ids(&self) -> Vec<SettlementId> {
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, ended| ended.strong_count() > 0);
        waiting.keys().copied().collect()
    }

    fn tell<'a>(&self, ended: impl Iterator<Item = &'a SettlementId>) {
        let mut waiting = self.waiting.lock();
        for id in ended {
            if let Some(ended) = waiting.remove(id).and_then(|ended| ended.upgrade()) {
                ended.notify_waiters();
            }
        }
    }
}
