//! Payments and steps that wait for a place.

use std::collections::HashMap;

use tokio::time::Instant;

use super::super::job::Work;

/// Settlements that share a commit at most: enough that the disk is not what
/// limits, few enough that a commit stays short.
const GROUP_MAX: usize = 100;

/// Blocks for which a verification counts: the one it was made in, and the next.
const VERIFIED_BLOCKS: u64 = 1;

/// Work that waits. Steps of stored settlements come first: somebody has paid
/// for them already. Then payers take turns, so that nobody who sends many
/// payments holds up those who send one; in each round whoever's time ends
/// first comes first.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Vec<Work>,
    deferred: Vec<(Instant, Work)>,
    /// Work that is being verified again: each holds a place.
    rechecking: usize,
}

/// A piece of work as the order sees it.
#[derive(Clone, Copy, Debug)]
struct Ticket<'a> {
    stored: bool,
    payer: &'a str,
    deadline: Instant,
}

impl<'a> Ticket<'a> {
    fn of(work: &'a Work) -> Self {
        Self { stored: work.stored, payer: &work.entry.facts.payer, deadline: work.deadline }
    }
}

/// The order of work by its places: stored first, then round by round the one
/// of each payer that ends first.
fn turns(tickets: &[Ticket<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tickets.len()).collect();
    order.sort_by_key(|place| tickets[*place].deadline);
    let mut rounds: HashMap<&str, usize> = HashMap::new();
    let mut keyed: Vec<_> = order
        .into_iter()
        .map(|place| {
            let Ticket { stored, payer, deadline } = tickets[place];
            let round = rounds.entry(payer).or_default();
            *round += 1;
            ((!stored, if stored { 0 } else { *round }, deadline), place)
        })
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, place)| place).collect()
}

impl Queue {
    /// Adds work.
    pub fn push(&mut self, work: Work) {
        self.waiting.push(work);
    }

    /// Adds work that has found no place.
    pub fn extend(&mut self, works: Vec<Work>) {
        self.waiting.extend(works);
    }

    /// Adds work that is not to be taken before a time.
    pub fn defer(&mut self, work: Work, until: Instant) {
        self.deferred.push((until, work));
    }

    /// Brings back what was deferred until now.
    pub fn wake(&mut self, now: Instant) {
        let (due, later): (Vec<_>, Vec<_>) = self.deferred.drain(..).partition(|(until, _)| *until <= now);
        self.deferred = later;
        self.waiting.extend(due.into_iter().map(|(_, work)| work));
    }

    /// The number that waits, is deferred, or is being verified again.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.deferred.len() + self.rechecking
    }

    /// The work that can be taken now.
    pub fn iter(&self) -> impl Iterator<Item = &Work> {
        self.waiting.iter()
    }

    /// Returns true when nothing can be taken now.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes so many at most, those whose turn it is; the first part may be
    /// signed at this height, the second has to be verified again.
    pub fn take(&mut self, count: usize, block: u64) -> (Vec<Work>, Vec<Work>) {
        let count = count.saturating_sub(self.rechecking).min(GROUP_MAX).min(self.waiting.len());
        if count == 0 {
            return (vec![], vec![]);
        }
        let taken = self.take_first(count);
        let counts = |work: &Work| work.verified_block.is_some_and(|verified| block <= verified + VERIFIED_BLOCKS);
        let (fresh, stale): (Vec<_>, Vec<_>) = taken.into_iter().partition(counts);
        self.rechecking += stale.len();
        (fresh, stale)
    }

    fn take_first(&mut self, count: usize) -> Vec<Work> {
        let tickets: Vec<_> = self.waiting.iter().map(Ticket::of).collect();
        let order = turns(&tickets);
        let mut waiting: Vec<_> = std::mem::take(&mut self.waiting).into_iter().map(Some).collect();
        let taken = order.iter().take(count).filter_map(|place| waiting[*place].take()).collect();
        self.waiting = waiting.into_iter().flatten().collect();
        taken
    }

    /// Takes out the payments that another gas wallet may send as well.
    pub fn take_movable(&mut self) -> Vec<Work> {
        if self.waiting.iter().any(Work::may_move) {
            return self.waiting.extract_if(.., |work| work.may_move()).collect();
        }
        vec![]
    }

    /// Takes out the payments whose callers have left.
    pub fn take_unwanted(&mut self) -> Vec<Work> {
        self.waiting.extract_if(.., |work| !work.stored && !work.entry.is_wanted()).collect()
    }

    /// Notes that so many were verified again.
    pub fn rechecked(&mut self, count: usize) {
        self.rechecking = self.rechecking.saturating_sub(count);
    }

    /// Takes everything out that waits. Called at the end.
    pub fn drain(&mut self) -> Vec<Work> {
        let deferred = self.deferred.drain(..).map(|(_, work)| work);
        self.waiting.drain(..).chain(deferred).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn payers_take_turns_and_in_each_round_the_one_that_ends_first_comes_first() {
        let now = Instant::now();
        let payment = |payer, seconds| Ticket { stored: false, payer, deadline: now + Duration::from_secs(seconds) };
        let step = |payer, seconds| Ticket { stored: true, ..payment(payer, seconds) };
        let cases: [(&str, Vec<Ticket<'_>>, &[usize]); 6] = [
            ("nothing waits", vec![], &[]),
            ("the earliest deadline", vec![payment("a", 3), payment("b", 1), payment("c", 2)], &[1, 2, 0]),
            ("of equals the first", vec![payment("a", 1), payment("b", 1)], &[0, 1]),
            (
                "who sends many waits for who sends one",
                vec![payment("a", 1), payment("a", 2), payment("a", 3), payment("b", 9)],
                &[0, 3, 1, 2],
            ),
            (
                "round by round",
                vec![payment("a", 4), payment("b", 2), payment("a", 1), payment("b", 3), payment("a", 5)],
                &[2, 1, 3, 0, 4],
            ),
            ("what is stored goes before all", vec![payment("a", 1), step("b", 9), step("b", 8)], &[2, 1, 0]),
        ];
        for (name, tickets, expected) in cases {
            assert_eq!(turns(&tickets), expected, "{name}");
        }
    }
}
