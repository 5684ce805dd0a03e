//! Verdicts that are remembered for a moment: good ones, so that a settle that
//! follows its verify need not ask the chain again; bad ones, so that repeating
//! them costs no request.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::Hash,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Entries that are remembered, at most.
const ENTRIES_MAX: usize = 16_384;

/// Values by key, each for the same time.
pub struct TtlCache<K, V> {
    kept: Mutex<Kept<K, V>>,
    age_max: Duration,
}

struct Kept<K, V> {
    by_key: HashMap<K, (Instant, V)>,
    in_order: VecDeque<(Instant, K)>,
}

impl<K, V> fmt::Debug for TtlCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TtlCache").finish_non_exhaustive()
    }
}

impl<K: Copy + Eq + Hash, V: Clone> TtlCache<K, V> {
    /// Remembers for a time.
    #[must_use]
    pub fn new(age_max: Duration) -> Self {
        Self { kept: Mutex::new(Kept { by_key: HashMap::new(), in_order: VecDeque::new() }), age_max }
    }

    /// Remembers a value from `now` on.
    pub fn keep(&self, key: K, value: V, now: Instant) {
        let mut kept = self.kept.lock();
        while let Some((at, old)) = kept.in_order.front().copied() {
            let full = kept.in_order.len() >= ENTRIES_MAX;
            if !full && now.duration_since(at) < self.age_max {
                break;
            }
            kept.in_order.pop_front();
            // Kept anew since: then the newer entry stays.
            if kept.by_key.get(&old).is_some_and(|(seen, _)| *seen == at) {
                kept.by_key.remove(&old);
            }
        }
        kept.in_order.push_back((now, key));
        kept.by_key.insert(key, (now, value));
    }

    /// The value, while it is not too old.
    pub fn get(&self, key: &K, now: Instant) -> Option<V> {
        let kept = self.kept.lock();
        let (at, value) = kept.by_key.get(key)?;
        (now.duration_since(*at) < self.age_max).then(|| value.clone())
    }

    /// The value, once.
    pub fn take(&self, key: &K, now: Instant) -> Option<V> {
        let (at, value) = self.kept.lock().by_key.remove(key)?;
        (now.duration_since(at) < self.age_max).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_forgotten_in_time() {
        let cache = TtlCache::new(Duration::from_secs(2));
        let now = Instant::now();
        cache.keep(1, "a", now);
        assert_eq!(cache.get(&2, now), None);
        assert_eq!(cache.get(&1, now + Duration::from_millis(1999)), Some("a"));
        assert_eq!(cache.get(&1, now + Duration::from_secs(2)), None);
        assert_eq!((cache.take(&1, now), cache.take(&1, now)), (Some("a"), None));
    }

    #[test]
    fn memory_is_bounded() {
        let cache = TtlCache::new(Duration::from_secs(2));
        let now = Instant::now();
        for n in 0..40_000_u32 {
            cache.keep(n, (), now);
        }
        assert_eq!(cache.kept.lock().by_key.len(), ENTRIES_MAX);
        cache.keep(7, (), now + Duration::from_secs(3));
        assert_eq!(cache.kept.lock().by_key.len(), 1);
    }
}
