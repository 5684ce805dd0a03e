//! The fees that transactions offer. Pure.

use alloy::primitives::U256;
use chains_core::{
    Amount,
    chain::{QuoteError, SignError},
    transaction::Fee,
};
use serde::{Deserialize, Serialize};

/// The terms of an EIP-1559 transaction, as stored with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The most gas that it may use.
    pub gas_limit: u64,
    /// The most that a unit of gas may cost, in wei.
    pub max_fee_per_gas: u128,
    /// Of it, what goes to the block's producer.
    pub max_priority_fee_per_gas: u128,
}

impl Terms {
    /// The fee with these terms, for a transaction that also moves `value` wei.
    pub fn fee(&self, value: U256) -> Fee {
        let gas = U256::from(self.gas_limit).saturating_mul(U256::from(self.max_fee_per_gas));
        // Only maps with keys that are no strings fail, and there are none.
        let terms = serde_json::to_string(self).unwrap_or_default();
        Fee { amount_max: Amount::from(gas.saturating_add(value)), terms }
    }

    /// The terms of a fee.
    ///
    /// # Errors
    /// They are not those of an EVM transaction.
    pub fn read(fee: &Fee) -> Result<Self, SignError> {
        serde_json::from_str(&fee.terms).map_err(|error| SignError::Plan(format!("its fee: {error}")))
    }

    /// The expected price of a unit of gas at this base fee.
    pub fn price(&self, base_fee: u128) -> u128 {
        base_fee.saturating_add(self.max_priority_fee_per_gas).min(self.max_fee_per_gas)
    }
}

/// Times the price of a new transaction that a replacement offers at most: what
/// pools ask for above that is not worth it, and falls behind the market by itself.
const FRESH_MAX: u128 = 5;

/// The prices of the block to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Market {
    /// The base fee, in wei.
    pub base_fee: u128,
    /// The tip that the block's producer, or the nodes on the way there, ask for, in wei.
    pub tip: u128,
    /// The least `max_fee_per_gas` that nodes take, in wei.
    pub fee_floor: u128,
    /// The most that a unit of gas may cost, in wei.
    pub ceiling: u128,
}

impl Market {
    /// The terms of a new transaction: twice the base fee, which survives six
    /// full blocks in a row, and the tip; never above the ceiling.
    ///
    /// # Errors
    /// Even the next block would cost more than the ceiling.
    pub fn quote(&self, gas_limit: u64) -> Result<Terms, QuoteError> {
        let Self { base_fee, tip, ceiling, .. } = *self;
        let asked = self.asked();
        if asked > ceiling {
            return Err(QuoteError::AboveCeiling { asked, ceiling });
        }
        let max_fee_per_gas = base_fee.saturating_add(asked).min(ceiling);
        Ok(Terms { gas_limit, max_fee_per_gas, max_priority_fee_per_gas: tip })
    }

    /// The least that a transaction must offer to get into the next block.
    fn asked(&self) -> u128 {
        self.base_fee.saturating_add(self.tip).max(self.fee_floor)
    }

    /// Returns true when the next block may take a transaction with these terms.
    pub fn takes(&self, terms: &Terms) -> bool {
        terms.max_fee_per_gas >= self.asked() && terms.max_priority_fee_per_gas >= self.tip
    }

    /// The terms of a transaction that takes the place of earlier attempts: both
    /// prices an eighth above the highest of any of them, where geth, reth and
    /// Nethermind ask for a tenth above those of the one in their pool; at least
    /// as much as a new one offers; at most the ceiling, and five times as much
    /// as a new one.
    ///
    /// # Errors
    /// The place costs more than that.
    pub fn replace(&self, gas_limit: u64, attempts: &[Terms]) -> Result<Terms, QuoteError> {
        let fresh = self.quote(gas_limit)?;
        let dearest = |price: fn(&Terms) -> u128| attempts.iter().map(price).max().map_or(0, raised);
        let max_fee_per_gas = fresh.max_fee_per_gas.max(dearest(|terms| terms.max_fee_per_gas));
        let max_priority_fee_per_gas = fresh.max_priority_fee_per_gas.max(dearest(|t| t.max_priority_fee_per_gas));
        let max_fee_per_gas = max_fee_per_gas.max(max_priority_fee_per_gas);
        if max_fee_per_gas > self.ceiling {
            return Err(QuoteError::AboveCeiling { asked: max_fee_per_gas, ceiling: self.ceiling });
        }
        let raises = [
            (max_fee_per_gas, fresh.max_fee_per_gas),
            // A tip of next to nothing may be raised often.
            (max_priority_fee_per_gas, fresh.max_priority_fee_per_gas.max(fresh.max_fee_per_gas / 16)),
        ];
        for (asked, fresh) in raises {
            let limit = fresh.saturating_mul(FRESH_MAX);
            if asked > limit {
                return Err(QuoteError::FarAboveMarket { asked, limit });
            }
        }
        Ok(Terms { gas_limit, max_fee_per_gas, max_priority_fee_per_gas })
    }
}

/// A price an eighth higher, and one unit more.
const fn raised(price: u128) -> u128 {
    price.saturating_add(price.div_ceil(8)).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn terms(max_fee_per_gas: u128, max_priority_fee_per_gas: u128) -> Terms {
        Terms { gas_limit: 21_000, max_fee_per_gas, max_priority_fee_per_gas }
    }

    const fn market(base_fee: u128, tip: u128, ceiling: u128) -> Market {
        Market { base_fee, tip, fee_floor: 0, ceiling }
    }

    #[test]
    fn offers_twice_the_base_fee_up_to_the_ceiling() {
        let floor = |fee_floor| Market { fee_floor, ..market(100, 5, 1000) };
        let above = |asked| Err(QuoteError::AboveCeiling { asked, ceiling: 1000 });
        let cases = [
            (market(100, 5, 1000), Ok(terms(205, 5))),
            (market(0, 5, 1000), Ok(terms(5, 5))),
            (market(600, 5, 1000), Ok(terms(1000, 5))),
            (market(995, 5, 1000), Ok(terms(1000, 5))),
            (market(996, 5, 1000), above(1001)),
            (market(u128::MAX, 5, 1000), above(u128::MAX)),
            (floor(300), Ok(terms(400, 5))),
            (floor(1001), above(1001)),
        ];
        for (market, expected) in cases {
            assert_eq!(market.quote(21_000), expected, "{market:?}");
        }
    }

    #[test]
    fn the_next_block_takes_what_covers_its_base_fee_and_the_tip() {
        let cases = [
            (market(100, 5, 1000), terms(105, 5), true),
            (market(101, 5, 1000), terms(105, 5), false),
            (market(100, 6, 1000), terms(205, 5), false),
            (Market { fee_floor: 206, ..market(100, 5, 1000) }, terms(205, 5), false),
        ];
        for (market, terms, expected) in cases {
            assert_eq!(market.takes(&terms), expected, "{market:?} {terms:?}");
        }
    }

    #[test]
    fn a_replacement_offers_more_of_both_than_any_attempt_within_ceiling_and_five_times_the_market() {
        let above = |asked| Err(QuoteError::AboveCeiling { asked, ceiling: 1000 });
        let far = |asked, limit| Err(QuoteError::FarAboveMarket { asked, limit });
        let usual = market(100, 5, 1000);
        let cases = [
            ("an eighth more of both", usual, vec![terms(200, 8)], Ok(terms(226, 10))),
            ("no less than a new one", market(400, 50, 1000), vec![terms(200, 8)], Ok(terms(850, 50))),
            ("the dearest of each", usual, vec![terms(200, 8), terms(240, 5)], Ok(terms(271, 10))),
            ("rounded up", usual, vec![terms(201, 9)], Ok(terms(228, 12))),
            ("at the ceiling", usual, vec![terms(888, 5)], Ok(terms(1000, 7))),
            ("above it", usual, vec![terms(889, 5)], above(1002)),
            ("the market is above it", market(996, 5, 1000), vec![terms(200, 8)], above(1001)),
            ("five times", market(20, 5, 1000), vec![terms(198, 5)], Ok(terms(224, 7))),
            ("more than five times", market(20, 5, 1000), vec![terms(200, 5)], far(226, 225)),
            ("far more", market(10, 5, 1000), vec![terms(200, 5)], far(226, 125)),
            ("a tip far more", usual, vec![terms(200, 60)], far(69, 60)),
            ("a tip above the fee", market(0, 5, 1000), vec![terms(20, 20)], Ok(terms(24, 24))),
        ];
        for (name, market, attempts, expected) in cases {
            assert_eq!(market.replace(21_000, &attempts), expected, "{name}");
        }
    }

    #[test]
    fn pools_that_ask_for_a_tenth_more_are_satisfied_whatever_was_offered() {
        for old in [0_u128, 1, 7, 8, 9, 10, 999, 1_000_000, 25_000_000_000, u128::MAX / 4] {
            let new = raised(old);
            assert!(new > old && (new - old) * 8 >= old, "{old} {new}");
        }
    }

    #[test]
    fn a_price_is_base_fee_and_tip_and_no_more_than_offered() {
        assert_eq!((terms(205, 5).price(100), terms(205, 5).price(203)), (105, 205));
    }

    #[test]
    fn stored_terms_are_read_back_by_every_later_version() {
        let fee = terms(u128::MAX, 1).fee(U256::from(7));
        let text = r#"{"gas_limit":21000,"max_fee_per_gas":340282366920938463463374607431768211455,"max_priority_fee_per_gas":1}"#;
        assert_eq!(fee.terms, text);
        assert_eq!(Terms::read(&fee), Ok(terms(u128::MAX, 1)));
        assert_eq!(terms(10, 1).fee(U256::from(7)).amount_max, Amount::from(210_007_u64));
        assert!(matches!(Terms::read(&Fee { terms: "{}".into(), ..fee }), Err(SignError::Plan(_))));
    }
}
