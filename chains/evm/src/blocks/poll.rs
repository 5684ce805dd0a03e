//! The moment to ask for the next block. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::PAUSE_MAX;

/// The pause between two questions around the moment at which a block is expected.
const POLL_CLOSE: Duration = Duration::from_millis(10);

/// The longest pause, at first, when a block is late and somebody waits.
pub(super) const POLL_LATE_MAX: Duration = Duration::from_millis(250);

/// Questions while a block may come at any moment, at most.
const SEARCH_STEPS: u32 = 25;

/// The way in which a block was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// It was not there so long before.
    Live(Duration),
    /// It was there at the first look, which was at the moment that was
    /// predicted for it, or at no particular one.
    Before { predicted: bool },
    /// As the newest, with others left out.
    Jumped,
}

impl Came {
    /// The time within which the block came before it was found, as far as that
    /// is known: one that was predicted too late came within the last quarter of
    /// the usual time.
    pub fn within(self, interval: Duration) -> Option<Duration> {
        match self {
            Self::Live(within) => Some(within),
            Self::Before { predicted: true } => Some(interval / 4),
            Self::Before { predicted: false } | Self::Jumped => None,
        }
    }
}

/// Pure: the usual time between blocks, after one more. `took` is known
/// between two that were seen to come; `late` counts the predictions in a row
/// that were too late.
pub(super) fn learn(
    interval: Duration,
    took: Option<Duration>,
    came: Came,
    late: u32,
    block_time: Duration,
) -> Duration {
    match (came, took) {
        (Came::Live(_), Some(took)) => (interval * 3 + took.min(block_time * 4)) / 4,
        // Also with a quarter of the time to spare.
        (Came::Before { predicted: true }, _) if late > 1 => (interval * 3 / 4).max(POLL_CLOSE),
        (Came::Live(_), None) | (Came::Before { .. } | Came::Jumped, _) => interval,
    }
}

/// The word of a node that tells of new blocks by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// No node tells.
    None,
    /// A node will tell of the block.
    Awaited,
    /// A node has told of the block.
    Given,
}

/// The next question for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The moment.
    pub next: Instant,
    /// The block is not expected yet.
    pub early: bool,
    /// The block is so late that the endpoint itself is in doubt.
    pub overdue: bool,
}

/// The moment from which a block is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// The moment at which the block before was found, and the time within
    /// which it came before that.
    Came(Instant, Duration),
    /// The moment at which the block before was found; it came before, at an unknown time.
    Found(Instant),
}

/// Pure: `since` is what is known of the block before; `interval` the usual
/// time between two.
pub(super) fn plan(since: Since, interval: Duration, notice: Notice, now: Instant) -> Plan {
    let (arrived, within) = match since {
        Since::Came(arrived, within) => (arrived, within),
        Since::Found(found) => {
            let by = now.saturating_duration_since(found).saturating_sub(interval);
            return Plan { next: now + late(interval, by), early: false, overdue: by > interval * 2 };
        }
    };
    let expected = arrived + interval;
    // A twentieth on both sides: arrivals jitter with the network.
    let slack = (interval / 20).max(POLL_CLOSE);
    let overdue = now > expected + interval * 2;
    let soon = match notice {
        Notice::None => expected - (within + slack).min(interval),
        Notice::Awaited => expected + interval / 4,
        Notice::Given => return Plan { next: now + POLL_CLOSE, early: false, overdue },
    };
    let next = if now < soon {
        soon
    } else if now <= expected + slack {
        now + (within / SEARCH_STEPS).max(POLL_CLOSE)
    } else {
        now + late(interval, now - expected)
    };
    Plan { next, early: now < soon, overdue }
}

/// A tenth of the usual time, and ever longer while the chain stands still.
fn late(interval: Duration, by: Duration) -> Duration {
    (interval / 10).clamp(POLL_CLOSE, POLL_LATE_MAX).max((by / 10).min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn asks_often_only_when_a_block_is_expected() {
        let born = Instant::now() + ms(60_000);
        // (milliseconds since the last block, next ask in milliseconds, early, overdue)
        let cases = [
            (0, 1900, true, false),
            (1000, 900, true, false),
            (1900, 10, false, false),
            (2100, 10, false, false),
            (2101, 200, false, false),
            (9000, 700, false, true),
            (900_000, 5000, false, true),
        ];
        for (since, next, early, overdue) in cases {
            let now = born + ms(since);
            let expected = Plan { next: now + ms(next), early, overdue };
            assert_eq!(plan(Since::Came(born, ms(0)), ms(2000), Notice::None, now), expected, "{since}");
        }
        let unknown = Plan { next: born + ms(200), early: false, overdue: false };
        let found = |now| plan(Since::Found(born), ms(2000), Notice::None, now);
        assert_eq!(found(born), unknown, "at once, and then as for a late one");
        let halted = born + ms(900_000);
        let rarely = Plan { next: halted + ms(5000), early: false, overdue: true };
        assert_eq!(found(halted), rarely, "a chain that stands still");
        let fast = plan(Since::Came(born, ms(0)), ms(10), Notice::None, born);
        assert_eq!(fast.next, born + POLL_CLOSE, "a chain faster than we ask");
    }

    #[test]
    fn a_block_that_will_be_told_is_asked_for_a_quarter_late_and_one_that_was_told_at_once() {
        let born = Instant::now() + ms(60_000);
        let cases = [
            (Notice::Awaited, 0, 2500, true, false),
            (Notice::Awaited, 2400, 100, true, false),
            (Notice::Awaited, 2600, 200, false, false),
            (Notice::Awaited, 6100, 410, false, true),
            (Notice::Given, 0, 10, false, false),
            (Notice::Given, 3000, 10, false, false),
            (Notice::Given, 6100, 10, false, true),
        ];
        for (notice, since, next, early, overdue) in cases {
            let now = born + ms(since);
            let expected = Plan { next: now + ms(next), early, overdue };
            assert_eq!(plan(Since::Came(born, ms(0)), ms(2000), notice, now), expected, "{notice:?} {since}");
        }
    }

    #[test]
    fn learns_the_time_between_blocks_from_those_seen_to_come() {
        let took = |took| Some(ms(took));
        let cases = [
            (Came::Live(ms(10)), took(1000), 0, 1750),
            (Came::Live(ms(10)), took(100_000), 0, 3500),
            (Came::Live(ms(10)), None, 0, 2000),
            (Came::Before { predicted: true }, took(1900), 1, 2000),
            (Came::Before { predicted: true }, took(1900), 2, 1500),
            (Came::Before { predicted: false }, took(5), 0, 2000),
            (Came::Jumped, None, 0, 2000),
        ];
        for (came, took, late, expected) in cases {
            assert_eq!(learn(ms(2000), took, came, late, ms(2000)), ms(expected), "{came:?} {took:?} {late}");
        }
    }

    /// A chain with a block at each multiple of this time, and questions that take no time.
    fn follow(block_time: Duration, first: Duration, blocks: u32) -> Vec<(Duration, u32)> {
        let born = Instant::now();
        let (mut found, mut came, mut interval, mut late) = (born + first, Came::Live(ms(100)), ms(1000), 0);
        let mut noticed = vec![];
        for number in 1..=blocks {
            let block = born + block_time * number;
            let since = came.within(interval).map_or(Since::Found(found), |within| Since::Came(found, within));
            let (mut now, mut before, mut asked) = (found, None, 0);
            loop {
                let plan = plan(since, interval, Notice::None, now);
                if before.is_some() || plan.early {
                    now = plan.next;
                }
                asked += 1;
                if now >= block {
                    let predicted = plan.early;
                    came = before.map_or(Came::Before { predicted }, |before| Came::Live(now - before));
                    break;
                }
                before = Some(now);
            }
            late = if matches!(came, Came::Before { predicted: true }) { late + 1 } else { 0 };
            let took = matches!(came, Came::Live(_)).then_some(now - found);
            interval = learn(interval, took, came, late, ms(1000));
            found = now;
            noticed.push((now - block, asked));
        }
        noticed
    }

    #[test]
    fn a_regular_block_is_noticed_within_moments_however_the_first_was_found() {
        for first in [0, 20, 55, 99, 300] {
            for block_time in [ms(1000), ms(990), ms(1010), ms(900)] {
                let noticed = follow(block_time, ms(first), 40);
                let later = &noticed[20..];
                let worst = later.iter().map(|(by, _)| *by).max().expect("blocks");
                let asked: u32 = later.iter().map(|(_, asked)| asked).sum();
                assert!(worst <= POLL_CLOSE * 2, "{first} {block_time:?}: {noticed:?}");
                assert!(asked <= 15 * 20, "{first} {block_time:?}: {noticed:?}");
            }
        }
    }
}
