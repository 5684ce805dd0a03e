//! The payments that share a transaction.

use std::time::Duration;

/// The time for which payments are gathered that are to share a transaction:
/// short beside any block time, and long enough for a handful at a hundred a second.
pub const GATHER_MAX: Duration = Duration::from_millis(20);

/// The part of a wallet's places, one in so many, that is not spent on single
/// payments: what comes before the next block shares them.
const SHARED_PART: usize = 4;

/// The places of a gas wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Those that are free.
    pub free: usize,
    /// All of them.
    pub all: usize,
}

/// The way in which payments that wait are begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Each in a transaction of its own.
    Alone,
    /// Not yet: others that come within this time may share a place with them.
    Gather(Duration),
    /// Together, in as few transactions as go.
    Together,
}

/// Decides how payments are begun of which so many wait, the first of them for
/// so long. As long as places are free each has its own, and is held up by nobody.
pub fn begin(places: Places, waiting: usize, waited: Duration) -> Begin {
    if waiting <= places.free.saturating_sub(places.all / SHARED_PART) {
        return Begin::Alone;
    }
    match GATHER_MAX.checked_sub(waited) {
        Some(rest) if !rest.is_zero() => Begin::Gather(rest),
        Some(_) | None => Begin::Together,
    }
}

/// Divides payments over free places, in order, and names them by their place
/// in that order. `room`: of each, how many one transaction may carry with it,
/// itself counted; 1 goes alone. Those for which there is no place are left out.
pub fn groups(room: &[usize], free: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = vec![];
    // The group that others may join, and how many it takes.
    let mut open: Option<(usize, usize)> = None;
    for (place, room) in room.iter().copied().enumerate() {
        if room > 1
            && let Some((index, limit)) = open
            && groups[index].len() < limit.min(room)
        {
            groups[index].push(place);
            open = Some((index, limit.min(room)));
        } else if groups.len() < free {
            groups.push(vec![place]);
            if room > 1 {
                open = Some((groups.len() - 1, room));
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, room of each payment, free places, the payments in each.
    type Case = (&'static str, &'static [usize], usize, &'static [&'static [usize]]);

    #[test]
    fn payments_go_alone_while_places_are_free_and_together_once_they_are_nearly_used_up() {
        let ms = Duration::from_millis;
        let of_16 = |free| Places { free, all: 16 };
        let cases = [
            ("one payment, nothing in flight", of_16(16), 1, ms(0), Begin::Alone),
            ("as many as are free but a quarter", of_16(16), 12, ms(0), Begin::Alone),
            ("more than that are gathered", of_16(16), 13, ms(0), Begin::Gather(ms(20))),
            ("for no longer than that", of_16(16), 13, ms(15), Begin::Gather(ms(5))),
            ("and go together", of_16(16), 13, ms(20), Begin::Together),
            ("the last places are shared", of_16(4), 1, ms(1), Begin::Gather(ms(19))),
            ("by whoever has come", of_16(4), 1, ms(21), Begin::Together),
            ("what has waited for a block waits no longer", of_16(16), 300, ms(900), Begin::Together),
            ("one place, one payment", Places { free: 1, all: 1 }, 1, ms(0), Begin::Alone),
            ("one place, two payments", Places { free: 1, all: 1 }, 2, ms(99), Begin::Together),
        ];
        for (name, places, waiting, waited, expected) in cases {
            assert_eq!(begin(places, waiting, waited), expected, "{name}");
        }
    }

    #[test]
    fn payments_share_as_few_places_as_go_and_never_more_than_are_free() {
        let cases: [Case; 10] = [
            ("nothing waits", &[], 3, &[]),
            ("no place is free", &[25, 25], 0, &[]),
            ("all fit into one", &[25, 25, 25], 3, &[&[0, 1, 2]]),
            ("one is not shared with anybody", &[25], 3, &[&[0]]),
            ("full ones are followed by another", &[2, 2, 2, 2, 2], 3, &[&[0, 1], &[2, 3], &[4]]),
            ("what has no place waits", &[2, 2, 2, 2, 2], 2, &[&[0, 1], &[2, 3]]),
            ("some go alone", &[25, 1, 25, 1], 3, &[&[0, 2], &[1], &[3]]),
            ("and wait where no place is left", &[25, 1, 25, 1], 2, &[&[0, 2], &[1]]),
            ("the dearest sets the limit", &[25, 25, 2, 25], 2, &[&[0, 1], &[2, 3]]),
            ("whatever comes after it", &[25, 3, 25, 25], 2, &[&[0, 1, 2], &[3]]),
        ];
        for (name, room, free, expected) in cases {
            assert_eq!(groups(room, free), expected, "{name}");
        }
    }
}
