//! The rule by which Redis is left alone.
//!
//! Commands of requests open the breaker, and only the keeper's probes close it:
//! no request pays for finding out.

use std::time::Duration;

/// Failures in a row after which no command is sent. One or two happen to a Redis that is well.
const FAILURES_MAX: u32 = 5;

/// The pause before the first probes, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

/// The end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// It was not answered in time, or with an error.
    Failed,
    /// Its connection is of no more use: no other command needs to find that out.
    Broken,
}

/// Says whether commands are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// They are; so many failed in a row.
    Closed {
        /// Failures since the last answer.
        failures: u32,
    },
    /// None is. The keeper probes after this pause.
    Open {
        /// The pause, which doubles with each failure.
        pause: Duration,
    },
}

impl Breaker {
    /// Commands are sent, and none has failed.
    pub const CLOSED: Self = Self::Closed { failures: 0 };

    /// None is sent, and none was probed yet.
    pub const OPEN: Self = Self::Open { pause: PAUSE.0 };

    /// Returns true when commands are sent.
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// The breaker after the command of a request. One that was sent before the breaker
    /// opened and ends after it changes nothing.
    #[must_use]
    pub const fn after_command(self, outcome: Outcome) -> Self {
        match (self, outcome) {
            (Self::Open { .. }, _) => self,
            (Self::Closed { .. }, Outcome::Answered) => Self::CLOSED,
            (Self::Closed { failures }, Outcome::Failed) if failures + 1 < FAILURES_MAX => {
                Self::Closed { failures: failures + 1 }
            }
            (Self::Closed { .. }, Outcome::Failed | Outcome::Broken) => Self::OPEN,
        }
    }

    /// The breaker after the keeper's probes.
    #[must_use]
    pub fn after_probe(self, is_good: bool) -> Self {
        match self {
            _ if is_good => Self::CLOSED,
            Self::Closed { .. } => Self::OPEN,
            Self::Open { pause } => Self::Open { pause: pause.saturating_mul(2).min(PAUSE.1) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn open(millis: u64) -> Breaker {
        Breaker::Open { pause: Duration::from_millis(millis) }
    }

    #[test]
    fn five_failures_in_a_row_or_a_broken_connection_open_it_and_only_a_probe_closes_it() {
        use Outcome::{Answered, Broken, Failed};
        let cases: [(&[Outcome], Breaker); 8] = [
            (&[], Breaker::CLOSED),
            (&[Failed], Breaker::Closed { failures: 1 }),
            (&[Failed; 4], Breaker::Closed { failures: 4 }),
            (&[Failed, Failed, Failed, Failed, Answered, Failed], Breaker::Closed { failures: 1 }),
            (&[Failed; 5], open(500)),
            (&[Broken], open(500)),
            (&[Broken, Answered], open(500)),
            (&[Failed, Failed, Failed, Failed, Failed, Failed, Answered], open(500)),
        ];
        for (outcomes, expected) in cases {
            let found = outcomes.iter().fold(Breaker::CLOSED, |breaker, outcome| breaker.after_command(*outcome));
            assert_eq!(found, expected, "{outcomes:?}");
        }
    }

    #[test]
    fn probes_come_at_growing_intervals_of_at_most_four_seconds() {
        let mut breaker = Breaker::CLOSED;
        for pause in [500, 1_000, 2_000, 4_000, 4_000] {
            breaker = breaker.after_probe(false);
            assert_eq!(breaker, open(pause));
        }
        assert_eq!(breaker.after_probe(true), Breaker::CLOSED);
        assert_eq!(Breaker::OPEN.after_probe(true).after_probe(false), open(500), "it begins anew");
    }
}
