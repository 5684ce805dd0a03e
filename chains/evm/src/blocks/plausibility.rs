//! Blocks that are no news but a fault: of an endpoint, or of this machine's
//! clock. Pure.

use std::time::Duration;

use super::read::Header;

/// Blocks by which the height may jump however little time has passed.
const JUMP_MIN: u64 = 256;

/// The factor by which a chain may be faster than usual.
const PACE_MAX: u32 = 4;

/// A base fee that changes by more than this factor from one look to the next
/// is asked for again.
const BASE_FEE_FACTOR: u128 = 2;

/// Seconds by which a chain that keeps making blocks may be behind this
/// machine's clock.
const BEHIND_MAX_SECONDS: u64 = 300;

/// Blocks in a row that must be behind before that is called a fault.
pub(super) const BEHIND_BLOCKS: u32 = 3;

/// The reason why a block that one endpoint shows is not believed before another one
/// shows it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// No block has been seen before.
    First,
    /// Its time is after now, further than clocks differ.
    Future,
    /// It is older than the block before it.
    Backwards,
    /// The height jumped by more than the time that passed allows.
    Height,
    /// The base fee jumped.
    BaseFee,
    /// Most other endpoints show another block in its place.
    Unshared,
}

/// The state when a block arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    /// The newest block so far.
    pub newest: Option<&'a Header>,
    /// The time since it was seen.
    pub elapsed: Duration,
    /// The machine's clock, in seconds.
    pub now: u64,
    /// Seconds that clocks may differ by.
    pub skew_max: u64,
    /// The usual time between blocks.
    pub block_time: Duration,
}

/// Returns why a block needs a second endpoint that shows it, if it does.
pub(super) fn doubt(block: &Header, known: Known<'_>) -> Option<Doubt> {
    let Some(newest) = known.newest else { return Some(Doubt::First) };
    if is_ahead(block, known.now, known.skew_max) {
        return Some(Doubt::Future);
    }
    if block.number > newest.number && block.timestamp < newest.timestamp {
        return Some(Doubt::Backwards);
    }
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let pace = millis(known.elapsed * PACE_MAX) / millis(known.block_time).max(1);
    if block.number.abs_diff(newest.number) > pace.saturating_add(JUMP_MIN) {
        return Some(Doubt::Height);
    }
    let (low, high) = (block.base_fee.min(newest.base_fee), block.base_fee.max(newest.base_fee));
    (high > low.saturating_mul(BASE_FEE_FACTOR)).then_some(Doubt::BaseFee)
}

/// Returns whether a block's time is after now, further than clocks differ.
pub(super) const fn is_ahead(block: &Header, now: u64, skew_max: u64) -> bool {
    block.timestamp > now.saturating_add(skew_max)
}

/// Returns whether a new block's time is far before now.
pub(super) const fn is_behind(block: &Header, now: u64) -> bool {
    block.timestamp.saturating_add(BEHIND_MAX_SECONDS) < now
}

/// The sentence about a clock that cannot be right; `None` while it can.
/// `behind`: new blocks in a row that were far behind.
pub(super) fn clock_trouble(block: &Header, now: u64, skew_max: u64, behind: u32) -> Option<String> {
    let (number, time) = (block.number, block.timestamp);
    if is_ahead(block, now, skew_max) {
        let by = time.saturating_sub(now);
        return Some(format!(
            "block {number} has a time {by} s ahead of this machine's clock: one of both is wrong, and nobody can \
             say which payments are valid. Check NTP on this machine; if the chain's time is right as it is, raise \
             `clock_skew_max`"
        ));
    }
    if behind >= BEHIND_BLOCKS && is_behind(block, now) {
        let by = now.saturating_sub(time);
        return Some(format!(
            "new blocks keep arriving, and the newest, {number}, has a time {by} s behind this machine's clock: one \
             of both is wrong, and nobody can say which payments are valid. Check NTP on this machine, and the \
             endpoints"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn block(number: u64, timestamp: u64, base_fee: u128) -> Header {
        Header { number, hash: "h".into(), parent_hash: "p".into(), timestamp, base_fee }
    }

    #[test]
    fn only_what_the_clock_allows_is_taken_from_one_endpoint() {
        let newest = block(1000, NOW - 2, 100);
        let cases = [
            ("the next", block(1001, NOW, 112), 2, None),
            ("within the skew", block(1001, NOW + 15, 100), 2, None),
            ("of 2106", block(1001, 4_294_967_295, 100), 2, Some(Doubt::Future)),
            ("older than its parent", block(1001, NOW - 3, 100), 2, Some(Doubt::Backwards)),
            ("a burst", block(1250, NOW, 100), 2, None),
            ("a million ahead", block(1_001_000, NOW, 100), 2, Some(Doubt::Height)),
            ("a long way back", block(700, NOW, 100), 2, Some(Doubt::Height)),
            ("after an hour", block(2800, NOW, 100), 3600, None),
            ("faster than ever", block(9000, NOW, 100), 3600, Some(Doubt::Height)),
            ("a base fee that doubles", block(1001, NOW, 200), 2, None),
            ("and more", block(1001, NOW, 201), 2, Some(Doubt::BaseFee)),
            ("or vanishes", block(1001, NOW, 0), 2, Some(Doubt::BaseFee)),
        ];
        for (what, new, seconds, expected) in cases {
            let known = Known {
                newest: Some(&newest),
                elapsed: Duration::from_secs(seconds),
                now: NOW,
                skew_max: 15,
                block_time: Duration::from_secs(2),
            };
            assert_eq!(doubt(&new, known), expected, "{what}");
        }
    }

    #[test]
    fn a_clock_that_cannot_be_right_is_told_and_a_chain_that_stands_still_is_not() {
        let cases = [
            (NOW + 15, 0, None),
            (NOW + 16, 0, Some("16 s ahead")),
            (NOW - 301, 2, None),
            (NOW - 301, 3, Some("301 s behind")),
            (NOW - 300, 9, None),
        ];
        for (timestamp, behind, expected) in cases {
            let said = clock_trouble(&block(5, timestamp, 0), NOW, 15, behind);
            assert_eq!(said.is_some(), expected.is_some(), "{timestamp}");
            assert!(said.unwrap_or_default().contains(expected.unwrap_or_default()), "{timestamp}");
        }
    }
}
