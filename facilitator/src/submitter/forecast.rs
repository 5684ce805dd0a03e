//! The time for which a gas wallet's money lasts at the rate at which it is spent.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use chains_core::Amount;

/// The times over which the rate is taken; the one that says less counts.
const WINDOWS: [Duration; 2] = [Duration::from_hours(1), Duration::from_hours(24)];

/// A rate is taken over no less than this, however short the service has run:
/// the first transaction is no rate.
const WINDOW_MIN: Duration = Duration::from_mins(10);

const MINUTE: u64 = 60;

/// The spending of one gas wallet since the service runs, minute by minute.
#[derive(Debug)]
pub(super) struct Spending {
    began: Instant,
    minutes: VecDeque<(u64, Amount)>,
}

impl Spending {
    /// Nothing spent yet.
    pub fn since(now: Instant) -> Self {
        Self { began: now, minutes: VecDeque::new() }
    }

    fn minute(&self, now: Instant) -> u64 {
        now.duration_since(self.began).as_secs() / MINUTE
    }

    /// Notes a fee that the chain took.
    pub fn note(&mut self, fee: Amount, now: Instant) {
        let minute = self.minute(now);
        match self.minutes.back_mut() {
            Some((last, sum)) if *last == minute => *sum = sum.checked_add(fee).unwrap_or(Amount::MAX),
            _ => self.minutes.push_back((minute, fee)),
        }
        let kept = WINDOWS[1].as_secs() / MINUTE;
        while self.minutes.front().is_some_and(|(first, _)| first.saturating_add(kept) < minute) {
            self.minutes.pop_front();
        }
    }

    /// Seconds for which `available` lasts; `None` while nothing is spent.
    pub fn runway(&self, available: Amount, now: Instant) -> Option<u64> {
        WINDOWS.iter().filter_map(|window| self.runway_by(available, *window, now)).min()
    }

    fn runway_by(&self, available: Amount, window: Duration, now: Instant) -> Option<u64> {
        let from = self.minute(now).saturating_sub(window.as_secs() / MINUTE);
        let within = self.minutes.iter().filter(|(minute, _)| *minute >= from);
        let spent = within.fold(Amount::ZERO, |sum, (_, fee)| sum.checked_add(*fee).unwrap_or(Amount::MAX));
        if spent.is_zero() {
            return None;
        }
        let span = now.duration_since(self.began).clamp(WINDOW_MIN, window).as_secs();
        let seconds = available.to_u256().saturating_mul(Amount::from(span).to_u256()) / spent.to_u256();
        Some(u64::try_from(seconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coins(count: u64) -> Amount {
        Amount::from(count)
    }

    #[test]
    fn money_lasts_as_long_as_the_rate_of_the_hour_or_of_the_day_says_whichever_is_shorter() {
        let start = Instant::now();
        let after = |minutes: u64| start + Duration::from_mins(minutes);
        let mut spending = Spending::since(start);
        assert_eq!(spending.runway(coins(1_000), after(0)), None, "nothing is spent");
        spending.note(coins(10), after(0));
        assert_eq!(spending.runway(coins(1_000), after(0)), Some(60_000), "ten in ten minutes, at least");
        spending.note(coins(10), after(60));
        assert_eq!(spending.runway(coins(1_000), after(60)), Some(180_000), "twenty in an hour");
        assert_eq!(spending.runway(Amount::ZERO, after(60)), Some(0));
        let quiet = after(600);
        assert_eq!(spending.runway(coins(1_000), quiet), Some(1_800_000), "twenty in ten hours, none in the last");
        spending.note(coins(100), quiet);
        assert_eq!(spending.runway(coins(1_000), quiet), Some(36_000), "a hundred in the last hour");
        assert_eq!(spending.runway(coins(1_000), after(600 + 1_441)), None, "what is older than a day is forgotten");
    }

    #[test]
    fn a_day_of_minutes_is_all_that_is_kept() {
        let start = Instant::now();
        let mut spending = Spending::since(start);
        for minute in 0..5_000 {
            spending.note(coins(1), start + Duration::from_mins(minute));
        }
        assert!(spending.minutes.len() <= 1_441, "{}", spending.minutes.len());
    }
}
