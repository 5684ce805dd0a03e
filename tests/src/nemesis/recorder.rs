//! The pen of a run's history.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::history::{Absence, History, Request, Sent};

/// Notes what happens while it happens. Clones write the same history.
#[derive(Clone)]
pub struct Recorder {
    began: Instant,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Default)]
struct Noted {
    history: History,
    /// Hashes that reached a node.
    sent: HashSet<String>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { began: Instant::now(), noted: Arc::default() }
    }
}

impl Recorder {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the run began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes a request that is over.
    pub fn request(&self, request: Request) {
        self.noted().history.requests.push(request);
    }

    /// Notes that an instance is back, or gone for good.
    pub fn absence(&self, absence: Absence) {
        self.noted().history.absences.push(absence);
    }

    /// Returns true for a hash that no node has got yet.
    pub fn is_new(&self, hash: &str) -> bool {
        self.noted().sent.insert(hash.to_owned())
    }

    /// Notes a send that [`is_new`](Self::is_new).
    pub fn sent(&self, sent: Sent) {
        self.noted().history.sends.push(sent);
    }

    /// Returns everything so far.
    pub fn history(&self) -> History {
        self.noted().history.clone()
    }
}
