//! A trouble is said when it begins, and again while it lasts, at growing
//! intervals: nobody has to have read the log at the right moment.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The time until something is said for the second time.
const FIRST: Duration = Duration::from_secs(10);

/// The longest time between two lines about the same thing.
const LONGEST: Duration = Duration::from_mins(10);

/// Something that is wrong, since a time.
#[derive(Debug)]
struct Reminder {
    since: Instant,
    pause: Duration,
    due: Instant,
}

/// Everything that is wrong now, by name.
#[derive(Debug)]
pub struct Reminders<K> {
    wrong: BTreeMap<K, Reminder>,
}

impl<K> Default for Reminders<K> {
    fn default() -> Self {
        Self { wrong: BTreeMap::new() }
    }
}

impl<K: Ord> Reminders<K> {
    /// Notes what is wrong now; what is not named is over. Returns what is to be
    /// said again, each with the time for which it has lasted.
    pub fn heed<W>(&mut self, wrong: Vec<(K, W)>, now: Instant) -> Vec<(W, Duration)>
    where
        K: Clone,
    {
        self.wrong.retain(|known, _| wrong.iter().any(|(key, _)| key == known));
        let mut again = vec![];
        for (key, what) in wrong {
            let known = self.wrong.entry(key).or_insert(Reminder { since: now, pause: FIRST, due: now + FIRST });
            if now >= known.due {
                known.pause = known.pause.saturating_mul(2).min(LONGEST);
                known.due = now + known.pause;
                again.push((what, now.duration_since(known.since)));
            }
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_said_again_at_growing_intervals_and_at_least_every_ten_minutes() {
        let start = Instant::now();
        let mut reminders = Reminders::default();
        let mut said = vec![];
        for second in 0..3_600 {
            let now = start + Duration::from_secs(second);
            for (what, lasted) in reminders.heed(vec![("a", "a is wrong")], now) {
                assert_eq!((what, lasted), ("a is wrong", Duration::from_secs(second)));
                said.push(second);
            }
        }
        assert_eq!(said, [10, 30, 70, 150, 310, 630, 1_230, 1_830, 2_430, 3_030]);
    }

    #[test]
    fn what_is_over_begins_anew_when_it_comes_back() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut reminders = Reminders::default();
        let both = || vec![("a", ()), ("b", ())];
        assert!(reminders.heed(both(), at(0)).is_empty());
        assert_eq!(reminders.heed(both(), at(10)).len(), 2);
        assert!(reminders.heed(vec![("b", ())], at(11)).is_empty());
        assert!(reminders.heed(both(), at(12)).is_empty());
        assert_eq!(reminders.heed(both(), at(22)), [((), Duration::from_secs(10))], "only `a`, which came back");
    }
}
