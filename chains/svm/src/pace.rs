//! Decides which claims about the newest block are believed. Pure.
//!
//! Slots come at a known pace. A claim that jumps ahead of it, or falls far
//! behind what was seen, is an endpoint's fault until it has been confirmed.

use std::time::Duration;

use tokio::time::Instant;

/// Slots that an endpoint may be behind the newest one seen.
pub const LAG_MAX: u64 = 300;

/// Slots that a claim may be ahead of the pace.
const MARGIN: u64 = 64;

/// The factor by which slots may come faster than usual.
const HASTE: u128 = 2;

/// The times in a row that a claim out of pace has to be made.
const REPEATS: u32 = 3;

/// The newest confirmed block that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Newest {
    /// Its slot.
    pub slot: u64,
    /// The number of blocks of the chain: slots without a block do not count.
    pub height: u64,
}

impl Newest {
    /// The height that the chain has at a slot, at most: not every slot has a
    /// block. `None` for a slot that is too far ahead to be believed.
    pub fn height_max_at(&self, slot: u64) -> Option<u64> {
        let ahead = slot.saturating_sub(self.slot);
        (ahead <= MARGIN).then(|| self.height.saturating_add(ahead))
    }
}

/// The newest block that is believed in.
#[derive(Debug)]
pub struct Tip {
    block_time: Duration,
    seen: Option<(Newest, Instant)>,
    contested: Option<Contested>,
}

/// A claim that is not believed yet.
#[derive(Clone, Copy, Debug)]
struct Contested {
    claim: Newest,
    at: Instant,
    repeats: u32,
}

impl Tip {
    /// Nothing seen yet.
    pub const fn new(block_time: Duration) -> Self {
        Self { block_time, seen: None, contested: None }
    }

    /// The newest block that is believed in.
    pub fn newest(&self) -> Option<Newest> {
        self.seen.map(|(newest, _)| newest)
    }

    /// The time since the newest block was seen first.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.seen.map(|(_, at)| now.duration_since(at))
    }

    /// The claim that is not believed, when there is one.
    pub fn contested(&self) -> Option<Newest> {
        self.contested.map(|contested| contested.claim)
    }

    /// Takes one endpoint's claim, when the pace allows it; the newest block
    /// then. An endpoint that lags takes nothing back.
    pub fn take(&mut self, claim: Newest, now: Instant) -> Option<Newest> {
        let (newest, at) = self.seen?;
        if !self.fits(newest, at, claim, now) {
            return None;
        }
        self.contested = None;
        if claim.slot <= newest.slot {
            return Some(newest);
        }
        self.seen = Some((claim, now));
        Some(claim)
    }

    /// Takes the claim that all endpoints have been asked for; the newest
    /// block then. The first one is believed, and one that is out of pace
    /// when it is repeated.
    pub fn take_again(&mut self, claim: Newest, now: Instant) -> Newest {
        let Some((newest, _)) = self.seen else {
            self.seen = Some((claim, now));
            return claim;
        };
        if let Some(taken) = self.take(claim, now) {
            return taken;
        }
        let repeats = match self.contested {
            Some(before) if self.fits(before.claim, before.at, claim, now) => before.repeats.saturating_add(1),
            Some(_) | None => 1,
        };
        if repeats < REPEATS {
            if repeats == 1 {
                tracing::error!(
                    claimed = claim.slot,
                    known = newest.slot,
                    "the nodes claim a slot that the pace of slots does not allow; it is not believed yet"
                );
            }
            self.contested = Some(Contested { claim, at: now, repeats });
            return newest;
        }
        self.contested = None;
        self.seen = Some((claim, now));
        claim
    }

    /// Returns whether a claim can follow what was seen at a time.
    fn fits(&self, newest: Newest, at: Instant, claim: Newest, now: Instant) -> bool {
        let elapsed = now.duration_since(at).as_nanos();
        let slots = (elapsed * HASTE).checked_div(self.block_time.as_nanos()).unwrap_or_default();
        let ahead = u64::try_from(slots).unwrap_or(u64::MAX).saturating_add(MARGIN);
        let slot = claim.slot.saturating_add(LAG_MAX) >= newest.slot && claim.slot <= newest.slot.saturating_add(ahead);
        // A block takes a slot: heights never rise faster.
        let risen = claim.slot.saturating_sub(newest.slot);
        let height = claim.height.saturating_add(LAG_MAX) >= newest.height
            && claim.height <= newest.height.saturating_add(risen).saturating_add(LAG_MAX);
        slot && height
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(slot: u64) -> Newest {
        Newest { slot, height: slot / 2 }
    }

    /// Claims with the milliseconds at which they are made, and the slot that is believed in then.
    fn follow(claims: &[(u64, Newest, u64)]) {
        let (mut tip, start) = (Tip::new(Duration::from_millis(400)), Instant::now());
        for (millis, claim, believed) in claims {
            let now = start + Duration::from_millis(*millis);
            let newest = tip.take(*claim, now).unwrap_or_else(|| tip.take_again(*claim, now));
            assert_eq!(newest.slot, *believed, "{millis} {claim:?}");
        }
    }

    #[test]
    fn a_claim_within_the_pace_is_believed_and_a_lag_takes_nothing_back() {
        follow(&[
            (0, at(1000), 1000),
            (400, at(1001), 1001),
            (800, at(990), 1001),
            (1200, at(1003), 1003),
            // Ten minutes without an answer.
            (601_200, at(2503), 2503),
        ]);
    }

    #[test]
    fn one_claim_of_a_million_slots_changes_nothing() {
        follow(&[(0, at(1000), 1000), (400, at(1_001_000), 1000), (800, at(1002), 1002), (1200, at(1003), 1003)]);
        let tall = Newest { slot: 1001, height: 1_000_000 };
        follow(&[(0, at(1000), 1000), (400, tall, 1000), (800, at(1002), 1002)]);
    }

    #[test]
    fn a_jump_that_is_confirmed_again_and_again_is_believed_in_both_directions() {
        let far = 1_001_000;
        follow(&[(0, at(1000), 1000), (400, at(far), 1000), (800, at(far + 1), 1000), (1200, at(far + 2), far + 2)]);
        follow(&[(0, at(far), far), (400, at(1000), far), (800, at(1001), far), (1200, at(1002), 1002)]);
        follow(&[
            (0, at(1000), 1000),
            (400, at(far), 1000),
            (800, at(2 * far), 1000),
            (1200, at(3 * far), 1000),
            (1600, at(1004), 1004),
        ]);
    }
}
