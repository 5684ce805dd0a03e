//! The transactions of a gas wallet that other attempts take the place of.

use std::ops::Range;

use chains_core::{chain::QuoteError, observation::Effect};

use crate::settlement::AttemptKind;

/// The price that a waiting transaction offers, beside that of the next block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bid {
    /// The next block may take it.
    Enough,
    /// The next block asks for more.
    Low,
    /// No node takes it at its price, so no pool holds it.
    Refused,
}

/// A transaction that holds a nonce, as far as its price is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The kind of its newest attempt.
    pub newest: AttemptKind,
    /// Blocks since that attempt was stored.
    pub age: u64,
    /// The price of that attempt.
    pub bid: Bid,
    /// True when what it carries can no longer succeed.
    pub is_void: bool,
    /// True when a transfer of nothing in its place costs less than its failure.
    pub cancel_pays: bool,
}

/// The attempt to be made in the place of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// The same at a higher price.
    Bump,
    /// Nothing, to use the nonce up.
    Cancel,
}

impl Waiting {
    /// Returns true when it has waited long enough at too low a price. What no
    /// pool holds waits for nothing.
    const fn is_due(&self, bump_after: u64) -> bool {
        match self.bid {
            Bid::Enough => false,
            Bid::Low => self.age >= bump_after,
            Bid::Refused => self.age >= 1,
        }
    }

    /// Returns the attempt that takes its place once it is to have another.
    const fn next(&self) -> Replacement {
        // What was cancelled is void for ever; what is void cannot be signed again.
        if self.is_void || matches!(self.newest, AttemptKind::Cancel) { Replacement::Cancel } else { Replacement::Bump }
    }

    /// Returns true when it is worth a cancellation although its price may do.
    const fn is_better_cancelled(&self) -> bool {
        self.is_void && self.cancel_pays && !matches!(self.newest, AttemptKind::Cancel) && self.age >= 1
    }
}

/// Decides which of a wallet's transactions get another attempt now; they come
/// in the order of their nonces, and the answer names them by their place.
///
/// Once the oldest is due, every one whose price is too low gets another
/// attempt with it: the fee cap costs nothing until it is needed and the tip
/// is raised by an eighth, while one after the other would take a block each.
/// As long as the oldest is not due, those after it wait for it anyway.
pub fn replacements(waiting: &[Waiting], bump_after: u64) -> Vec<(usize, Replacement)> {
    let oldest_is_due = waiting.first().is_some_and(|oldest| oldest.is_due(bump_after));
    let replace = |(place, one): (usize, &Waiting)| {
        let is_low = match one.bid {
            Bid::Enough => false,
            Bid::Low => oldest_is_due,
            Bid::Refused => one.is_due(bump_after),
        };
        (is_low || one.is_better_cancelled()).then(|| (place, one.next()))
    };
    waiting.iter().enumerate().filter_map(replace).collect()
}

/// Returns true when it is time to ask whether the payer's authorization is
/// still unused: what waits long may have been overtaken. A block before a
/// bump, so that the answer is there when it is due, and as often again.
pub const fn asks_for_authorization(age: u64, bump_after: u64) -> bool {
    let interval = if bump_after > 1 { bump_after } else { 1 };
    age > 0 && age.saturating_add(1).is_multiple_of(interval)
}

/// Returns true when the fate of an authorization leaves nothing to do for a
/// transaction that waits with it, whose attempts have these hashes. What cannot be proven leaves everything; so
/// does a block that has the transaction itself, and that the chain may take back.
pub fn is_void(effect: &Effect, attempts: &[&str]) -> bool {
    match effect {
        Effect::Elsewhere { hash, .. } => !attempts.contains(&hash.as_str()),
        Effect::Missing { executable_until: None, .. } => true,
        Effect::Missing { executable_until: Some(_), .. }
        | Effect::Done
        | Effect::Continues(_)
        | Effect::Unclear(_) => false,
    }
}

/// Empty places in a nonce sequence that are filled at a time.
const FILLED_MAX: usize = 16;

/// The nonces of a gap that the store has never given away, lowest first:
/// nothing that is sent again can fill them. They come about when a block with
/// somebody else's transactions of this wallet is taken back.
pub fn unknown_nonces(gap: Range<u64>, stored: &[u64]) -> Vec<u64> {
    // The store reads the first of many: nothing is known of those beyond.
    let end = if stored.len() < FILLED_MAX { gap.end } else { stored.last().copied().unwrap_or(gap.end) };
    (gap.start..end).filter(|nonce| !stored.contains(nonce)).take(FILLED_MAX).collect()
}

/// The trouble with the price of a wallet's oldest transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PriceTrouble {
    /// Another attempt offers more once it has waited long enough.
    Behind,
    /// It may not offer more.
    AtLimit(QuoteError),
}

/// Decides what is wrong with the price of the oldest transaction, whose
/// replacement costs this. A price that is not known says nothing.
pub fn price_trouble(bid: Bid, replacement: Result<(), QuoteError>) -> Option<PriceTrouble> {
    match (bid, replacement) {
        (Bid::Enough, _) | (Bid::Low | Bid::Refused, Err(QuoteError::NoBlock | QuoteError::Sign(_))) => None,
        (Bid::Low | Bid::Refused, Ok(())) => Some(PriceTrouble::Behind),
        (
            Bid::Low | Bid::Refused,
            Err(error @ (QuoteError::AboveCeiling { .. } | QuoteError::FarAboveMarket { .. })),
        ) => Some(PriceTrouble::AtLimit(error)),
    }
}

#[cfg(test)]
mod tests {
    use chains_core::{Code, Rejection, observation::BlockRef, transaction::Plan};

    use super::*;

    type Case = (&'static str, Vec<Waiting>, Vec<(usize, Replacement)>);

    const BUMP_AFTER: u64 = 4;

    const fn waiting(bid: Bid, age: u64) -> Waiting {
        Waiting { newest: AttemptKind::First, age, bid, is_void: false, cancel_pays: true }
    }

    const fn void(waiting: Waiting) -> Waiting {
        Waiting { is_void: true, ..waiting }
    }

    const fn cancelled(waiting: Waiting) -> Waiting {
        Waiting { newest: AttemptKind::Cancel, ..void(waiting) }
    }

    #[test]
    fn the_oldest_is_bumped_after_its_bound_and_all_that_offer_too_little_with_it() {
        use Bid::{Enough, Low, Refused};
        use Replacement::{Bump, Cancel};
        let costly = |waiting| Waiting { cancel_pays: false, ..void(waiting) };
        let bumped = Waiting { newest: AttemptKind::Bump, ..waiting(Low, 3) };
        let cases: Vec<Case> = vec![
            ("nothing waits", vec![], vec![]),
            ("its price will do", vec![waiting(Enough, 99)], vec![]),
            ("it has not waited long", vec![waiting(Low, 3)], vec![]),
            ("it has", vec![waiting(Low, 4)], vec![(0, Bump)]),
            ("its bump has not waited long", vec![bumped], vec![]),
            ("a younger one goes with it", vec![waiting(Low, 4), waiting(Low, 0)], vec![(0, Bump), (1, Bump)]),
            ("one that offers enough does not", vec![waiting(Low, 4), waiting(Enough, 4)], vec![(0, Bump)]),
            ("the oldest will be included first", vec![waiting(Enough, 9), waiting(Low, 9)], vec![]),
            ("the oldest has just been bumped", vec![waiting(Low, 0), waiting(Low, 9)], vec![]),
            ("no pool holds it", vec![waiting(Refused, 1)], vec![(0, Bump)]),
            ("wherever it stands", vec![waiting(Enough, 9), waiting(Refused, 1)], vec![(1, Bump)]),
            ("not twice in a block", vec![waiting(Refused, 0)], vec![]),
            ("void", vec![void(waiting(Enough, 1))], vec![(0, Cancel)]),
            ("void, just signed", vec![void(waiting(Enough, 0))], vec![]),
            ("void behind others", vec![waiting(Enough, 1), void(waiting(Low, 1))], vec![(1, Cancel)]),
            ("void, and its failure is cheaper", vec![costly(waiting(Enough, 9))], vec![]),
            ("void, cheaper to fail, and in the way", vec![costly(waiting(Low, 4))], vec![(0, Cancel)]),
            ("void and far too low", vec![void(waiting(Refused, 1))], vec![(0, Cancel)]),
            ("cancelled already", vec![cancelled(waiting(Enough, 99))], vec![]),
            ("a cancellation that offers too little", vec![cancelled(waiting(Low, 4))], vec![(0, Cancel)]),
            ("not before its bound", vec![cancelled(waiting(Low, 3))], vec![]),
        ];
        for (name, waiting, expected) in cases {
            assert_eq!(replacements(&waiting, BUMP_AFTER), expected, "{name}");
        }
    }

    #[test]
    fn an_authorization_is_asked_about_before_each_bump_could_be_due() {
        let asked = |bump_after| (0..=8).filter(|age| asks_for_authorization(*age, bump_after)).collect::<Vec<_>>();
        assert_eq!(asked(4), [3, 7]);
        assert_eq!(asked(2), [1, 3, 5, 7]);
        assert_eq!(asked(1), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(asked(u64::MAX), Vec::<u64>::new());
    }

    #[test]
    fn only_proof_makes_a_transaction_void() {
        let missing =
            |executable_until| Effect::Missing { why: Rejection::new(Code::new("why"), "because"), executable_until };
        let by =
            |hash: &str| Effect::Elsewhere { hash: hash.into(), block: BlockRef { number: 1, hash: "block".into() } };
        let cases = [
            (missing(None), true),
            (by("foreign"), true),
            (by("first"), false),
            (by("bump"), false),
            (missing(Some(9)), false),
            (Effect::Unclear("rpc".into()), false),
            (Effect::Done, false),
            (Effect::Continues(Plan::new("step")), false),
        ];
        for (effect, expected) in cases {
            assert_eq!(is_void(&effect, &["first", "bump"]), expected, "{effect:?}");
        }
    }

    #[test]
    fn a_wallet_is_at_its_limit_only_where_the_oldest_needs_more_than_it_may_offer() {
        let above = QuoteError::AboveCeiling { asked: 2, ceiling: 1 };
        let far = QuoteError::FarAboveMarket { asked: 2, limit: 1 };
        let at_limit = |error: &QuoteError| Some(PriceTrouble::AtLimit(error.clone()));
        let cases = [
            (Bid::Enough, Ok(()), None),
            (Bid::Enough, Err(above.clone()), None),
            (Bid::Low, Ok(()), Some(PriceTrouble::Behind)),
            (Bid::Refused, Ok(()), Some(PriceTrouble::Behind)),
            (Bid::Low, Err(above.clone()), at_limit(&above)),
            (Bid::Refused, Err(far.clone()), at_limit(&far)),
            (Bid::Low, Err(QuoteError::NoBlock), None),
        ];
        for (bid, replacement, expected) in cases {
            assert_eq!(price_trouble(bid, replacement.clone()), expected, "{bid:?} {replacement:?}");
        }
    }

    #[test]
    fn a_gap_is_filled_where_the_store_has_nothing_for_it() {
        let many: Vec<_> = (0..20).filter(|nonce| *nonce != 3).collect();
        let cases: [(Range<u64>, &[u64], &[u64]); 4] =
            [(4..7, &[4, 5, 6], &[]), (4..7, &[5], &[4, 6]), (0..99, &many, &[3]), (4..4, &[], &[])];
        for (gap, stored, expected) in cases {
            assert_eq!(unknown_nonces(gap.clone(), stored), expected, "{gap:?} {stored:?}");
        }
        assert_eq!(unknown_nonces(0..99, &[]), (0..16).collect::<Vec<_>>(), "so many at a time");
    }
}
