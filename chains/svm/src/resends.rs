//! Decides when bytes that were sent are sent again: the longer a transaction waits, the
//! less often, so that what never lands costs the endpoints little.

use std::time::{Duration, Instant};

use chains_core::transaction::BroadcastResult;
use chains_rpc::TtlCache;
use solana_sdk::signature::Signature;

/// The time for which a transaction can be sent at all: 150 blocks, and some.
const AGE_MAX: Duration = Duration::from_mins(3);

/// The first pause between two sends, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(400);
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// Sends with the same pause.
const SENDS_A_PAUSE: u32 = 4;

#[derive(Clone, Debug)]
struct Sent {
    count: u32,
    last: Instant,
    answer: BroadcastResult,
}

/// The transactions that were sent.
#[derive(Debug)]
pub struct Resends {
    sent: TtlCache<Signature, Sent>,
}

impl Default for Resends {
    fn default() -> Self {
        Self { sent: TtlCache::new(AGE_MAX) }
    }
}

impl Resends {
    /// The last answer, while it is too early to send again.
    pub fn too_early(&self, signature: &Signature, now: Instant) -> Option<BroadcastResult> {
        let sent = self.sent.get(signature, now)?;
        let is_early = now.duration_since(sent.last) < pause(sent.count);
        // An endpoint that has not taken it may take it now.
        (is_early && sent.answer == BroadcastResult::Accepted).then_some(sent.answer)
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

    #[test]
    fn a_transaction_that_waits_is_sent_less_and_less_often() {
        let (resends, start) = (Resends::default(), Instant::now());
        let signature = Signature::from([7; 64]);
        let mut sends = 0;
        for tick in 0..600_u64 {
            let now = start + Duration::from_millis(100 * tick);
            if resends.too_early(&signature, now).is_none() {
                sends += 1;
                resends.note(signature, BroadcastResult::Accepted, now);
            }
        }
        assert!((18..30).contains(&sends), "{sends} in a minute");
    }

    #[test]
    fn one_that_nobody_has_taken_is_not_held_back() {
        let (resends, now) = (Resends::default(), Instant::now());
        let signature = Signature::from([7; 64]);
        assert_eq!(resends.too_early(&signature, now), None);
        resends.note(signature, BroadcastResult::Unknown("timeout".into()), now);
        assert_eq!(resends.too_early(&signature, now), None);
        resends.note(signature, BroadcastResult::Accepted, now);
        assert_eq!(resends.too_early(&signature, now), Some(BroadcastResult::Accepted));
    }
}
