//! The time, as an argument.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// A point in time: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// Whole seconds since the epoch, as chains count.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// The source of the time; tests bring their own.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Millis;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that stands still until it is moved. For tests.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub const fn at(now: Millis) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// Moves the clock on.
    pub fn advance(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }

    /// Sets the clock back, as a correction of a machine's clock does.
    pub fn set_back(&self, millis: u64) {
        let back = |now: u64| Some(now.saturating_sub(millis));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, back);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }
}
