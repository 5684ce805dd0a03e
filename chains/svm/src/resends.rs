//! Decides when bytes that were sent are sent again: the longer a transaction waits, the
//! less often, and all together no more than endpoints allow, so that what never lands
//! costs them little, however much of it there is.

use std::time::{Duration, Instant};

use chains_core::transaction::BroadcastResult;
use chains_rpc::TtlCache;
use parking_lot::Mutex;
use solana_sdk::signature::Signature;

/// The time for which a transaction can be sent at all: 150 blocks, and some.
const AGE_MAX: Duration = Duration::from_mins(3);

/// The first pause between two sends, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(400);
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// Sends with the same pause.
const SENDS_A_PAUSE: u32 = 4;

/// The time after which one more transaction may be sent again, and those that may be at once: each goes to
/// every endpoint, so it is what one endpoint gets. What was never sent is not held back.
const AGAIN_EVERY: Duration = Duration::from_millis(25);
const AGAIN_AT_ONCE: u32 = 40;

#[derive(Clone, Debug)]
struct Sent {
    count: u32,
    last: Instant,
    answer: BroadcastResult,
}

impl Sent {
    fn is_due(&self, now: Instant) -> bool {
        // An endpoint that has not taken it may take it now.
        let is_refused = self.answer != BroadcastResult::Accepted && self.count < SENDS_A_PAUSE;
        is_refused || now.duration_since(self.last) >= pause(self.count)
    }
}

/// The transactions that were sent.
#[derive(Debug)]
pub struct Resends {
    sent: TtlCache<Signature, Sent>,
    bucket: Mutex<Bucket>,
}

impl Default for Resends {
    fn default() -> Self {
        Self { sent: TtlCache::new(AGE_MAX), bucket: Mutex::default() }
    }
}

/// Holds what may be sent again: it is full at first, and fills as time goes by.
#[derive(Debug, Default)]
struct Bucket {
    /// The time at which it is full, unless more is taken.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one out; returns false when it is empty.
    fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + AGAIN_EVERY;
        let has_one = full_at.duration_since(now) <= AGAIN_EVERY * AGAIN_AT_ONCE;
        if has_one {
            self.full_at = Some(full_at);
        }
        has_one
    }
}

impl Resends {
    /// For each transaction its last answer, while it is too early to send it again, or too much is
    /// sent again already: then those come first that were sent first.
    pub fn too_early(&self, signatures: &[Signature], now: Instant) -> Vec<Option<BroadcastResult>> {
        let sent: Vec<_> = signatures.iter().map(|signature| self.sent.get(signature, now)).collect();
        let again = sent.iter().enumerate().filter_map(|(place, sent)| sent.as_ref().map(|sent| (sent.last, place)));
        let mut again: Vec<_> =
            again.filter(|(_, place)| sent[*place].as_ref().is_some_and(|s| s.is_due(now))).collect();
        again.sort_unstable();
        let mut held: Vec<_> = sent.into_iter().map(|sent| sent.map(|sent| sent.answer)).collect();
        let mut bucket = self.bucket.lock();
        for (_, place) in again {
            if bucket.take(now) {
                held[place] = None;
            }
        }
        held
    }

    /// Notes a send.
    pub fn note(&self, signature: Signature, answer: BroadcastResult, now: Instant) {
        let count = self.sent.get(&signature, now).map_or(1, |sent| sent.count.saturating_add(1));
        self.sent.keep(signature, Sent { count, last: now, answer }, now);
    }
}

fn pause(count: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << (count / SENDS_A_PAUSE).min(8)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate at which the bucket fills.
    const AGAIN_A_SECOND: u32 = 40;

    #[test]
    fn a_transaction_that_waits_is_sent_less_and_less_often() {
        let (resends, start) = (Resends::default(), Instant::now());
        let signature = Signature::from([7; 64]);
        let mut sends = 0;
        for tick in 0..600_u64 {
            let now = start + Duration::from_millis(100 * tick);
            if resends.too_early(&[signature], now) == [None] {
                sends += 1;
                resends.note(signature, BroadcastResult::Accepted, now);
            }
        }
        assert!((18..30).contains(&sends), "{sends} in a minute");
    }

    #[test]
    fn two_hundred_that_never_land_are_sent_again_in_turn_and_no_more_often_than_the_bucket_fills() {
        for answer in [BroadcastResult::Accepted, BroadcastResult::Unknown("timeout".into())] {
            let (resends, start) = (Resends::default(), Instant::now());
            let signatures: Vec<_> = (0..200).map(|n| Signature::from([n; 64])).collect();
            let mut sends = vec![0_u32; signatures.len()];
            for tick in 0..150_u64 {
                let now = start + Duration::from_millis(400 * tick);
                let mut again = 0;
                for (place, held) in resends.too_early(&signatures, now).into_iter().enumerate() {
                    if held.is_none() {
                        again += u32::from(sends[place] > 0);
                        sends[place] += 1;
                        resends.note(signatures[place], answer.clone(), now);
                    }
                }
                assert!(again <= AGAIN_AT_ONCE, "{again} at once");
            }
            let total: u32 = sends.iter().sum();
            assert!(total <= 200 + AGAIN_AT_ONCE + 60 * AGAIN_A_SECOND, "{total} in a minute");
            assert!(sends.iter().all(|count| *count >= 5), "{answer:?}: {sends:?}");
        }
    }

    #[test]
    fn one_that_nobody_has_taken_is_not_held_back() {
        let (resends, now) = (Resends::default(), Instant::now());
        let signature = Signature::from([7; 64]);
        assert_eq!(resends.too_early(&[signature], now), [None]);
        resends.note(signature, BroadcastResult::Unknown("timeout".into()), now);
        assert_eq!(resends.too_early(&[signature], now), [None]);
        resends.note(signature, BroadcastResult::Accepted, now);
        assert_eq!(resends.too_early(&[signature], now), [Some(BroadcastResult::Accepted)]);
    }
}
