//! A rate, and the decision about one request (GCRA: a bucket that is one time).

use std::{fmt, str::FromStr, time::Duration};

/// The most requests that a rate may name: more than an instance answers.
const COUNT_MAX: u32 = 1_000_000;

/// Requests in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    unit: Unit,
    burst: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
}

/// A rate as a time: microseconds between two requests, and how far they may run ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spacing {
    /// Microseconds that each request takes.
    pub interval: u64,
    /// Microseconds that may be taken in advance.
    pub ahead: u64,
}

impl Unit {
    const ALL: [(&str, Self); 3] = [("s", Self::Second), ("m", Self::Minute), ("h", Self::Hour)];

    const fn micros(self) -> u64 {
        match self {
            Self::Second => 1_000_000,
            Self::Minute => 60_000_000,
            Self::Hour => 3_600_000_000,
        }
    }
}

impl Rate {
    /// The form of a rate, for people.
    pub const EXPECTED: &str = "requests in a time, such as \"20/s\", \"1000/h\" or \"200/s burst 400\"";

    /// The part of the rate that one of so many instances keeps when it is alone with it.
    pub fn spacing(self, instances: u32) -> Spacing {
        let instances = instances.max(1);
        let interval = (self.unit.micros() / u64::from(self.count)).saturating_mul(u64::from(instances)).max(1);
        let burst = (self.burst / instances).max(1);
        Spacing { interval, ahead: interval.saturating_mul(u64::from(burst - 1)) }
    }
}

/// Decides about a request at `now`, given the time up to which earlier ones have taken theirs, both in
/// microseconds: the time up to which it is taken then, or the wait until the next may come.
///
/// # Errors
/// The rate is used up.
pub fn decide(taken: u64, now: u64, spacing: Spacing) -> Result<u64, Duration> {
    let begin = taken.max(now);
    match (begin - now).checked_sub(spacing.ahead) {
        Some(wait) if wait > 0 => Err(Duration::from_micros(wait)),
        _ => Ok(begin.saturating_add(spacing.interval)),
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse().ok().filter(|number| (1..=COUNT_MAX).contains(number));
        let (rate, burst) = text.split_once(" burst ").map_or((text, None), |(rate, burst)| (rate, Some(burst)));
        let (count, unit) = rate.split_once('/').ok_or(Self::EXPECTED)?;
        let count = number(count).ok_or(Self::EXPECTED)?;
        let unit = Unit::ALL.iter().find(|(word, _)| *word == unit).map(|(_, unit)| *unit).ok_or(Self::EXPECTED)?;
        let burst = burst.map_or(Some(count), number).ok_or(Self::EXPECTED)?;
        Ok(Self { count, unit, burst })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Unit::ALL.iter().find(|(_, unit)| *unit == self.unit).map_or("", |(word, _)| word);
        write!(f, "{}/{unit} burst {}", self.count, self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap_or_else(|expected| panic!("{text}: {expected}"))
    }

    #[test]
    fn a_rate_is_read_and_shown_and_nonsense_is_refused() {
        for (text, shown) in [
            ("20/s", "20/s burst 20"),
            ("1000/h", "1000/h burst 1000"),
            ("6/m burst 1", "6/m burst 1"),
            ("200/s burst 400", "200/s burst 400"),
        ] {
            assert_eq!(rate(text).to_string(), shown);
            assert_eq!(rate(&rate(text).to_string()), rate(text));
        }
        let bad = [
            "",
            "20",
            "20/d",
            "0/s",
            "-1/s",
            "1.5/s",
            "20/s burst",
            "20/s burst 0",
            "20/s  burst 1",
            "1000001/s",
            "/s",
        ];
        for text in bad {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    /// The requests of a second that are let through, where one comes every millisecond.
    fn passed(spacing: Spacing, seconds: u64) -> usize {
        let mut taken = 0;
        let times = (0..seconds * 1_000).map(|millis| 1_000_000_000 + millis * 1_000);
        times.filter(|now| decide(taken, *now, spacing).map(|next| taken = next).is_ok()).count()
    }

    #[test]
    fn no_more_pass_than_the_burst_and_the_rate_and_no_fewer() {
        for (text, instances, expected) in [
            ("20/s", 1, 20 + 10 * 20 - 1),
            ("20/s burst 1", 1, 10 * 20),
            ("100/s burst 300", 1, 300 + 10 * 100 - 1),
            ("6/m burst 2", 1, 2),
            ("20/s", 2, 10 + 10 * 10 - 1),
            ("3/s", 8, 1 + 3),
        ] {
            let found = passed(rate(text).spacing(instances), 10);
            assert!(found.abs_diff(expected) <= 1, "{text} of {instances}: {found}, not {expected}");
        }
    }

    #[test]
    fn who_waits_as_long_as_it_is_told_is_let_through() {
        let spacing = rate("2/s burst 1").spacing(1);
        let taken = decide(0, 1_000_000, spacing).expect("the first");
        let wait = decide(taken, 1_100_000, spacing).expect_err("too early");
        assert_eq!(wait, Duration::from_millis(400));
        assert!(decide(taken, 1_500_000, spacing).is_ok());
    }
}
