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

    /// These prices, raised so that nodes let the transaction take the place
    /// of one with the terms `last`: both an eighth higher at least, where
    /// geth, reth and Nethermind ask for a tenth. At most `ceiling`.
    ///
    /// # Errors
    /// The place costs more than the ceiling.
    pub fn replacing(self, last: &Self, ceiling: u128) -> Result<Self, QuoteError> {
        let raised = |price: u128| price.saturating_add(price / 8).saturating_add(1);
        let max_fee_per_gas = self.max_fee_per_gas.max(raised(last.max_fee_per_gas));
        let max_priority_fee_per_gas = self.max_priority_fee_per_gas.max(raised(last.max_priority_fee_per_gas));
        let asked = max_fee_per_gas.max(max_priority_fee_per_gas);
        if asked > ceiling {
            return Err(QuoteError::AboveCeiling { asked, ceiling });
        }
        Ok(Self { max_fee_per_gas: asked, max_priority_fee_per_gas, ..self })
    }
}

/// The terms of the next transaction: twice the base fee, which survives six
/// full blocks in a row, and the tip; never above the ceiling.
///
/// # Errors
/// Even the next block would cost more than the ceiling.
pub fn quote(base_fee: u128, tip: u128, ceiling: u128, gas_limit: u64) -> Result<Terms, QuoteError> {
    let asked = base_fee.saturating_add(tip);
    if asked > ceiling {
        return Err(QuoteError::AboveCeiling { asked, ceiling });
    }
    let max_fee_per_gas = base_fee.saturating_add(asked).min(ceiling);
    Ok(Terms { gas_limit, max_fee_per_gas, max_priority_fee_per_gas: tip })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn terms(max_fee_per_gas: u128, max_priority_fee_per_gas: u128) -> Terms {
        Terms { gas_limit: 21_000, max_fee_per_gas, max_priority_fee_per_gas }
    }

    #[test]
    fn offers_twice_the_base_fee_up_to_the_ceiling() {
        let cases = [
            ((100, 5, 1000), Ok(terms(205, 5))),
            ((0, 5, 1000), Ok(terms(5, 5))),
            ((600, 5, 1000), Ok(terms(1000, 5))),
            ((995, 5, 1000), Ok(terms(1000, 5))),
            ((996, 5, 1000), Err(QuoteError::AboveCeiling { asked: 1001, ceiling: 1000 })),
            ((u128::MAX, 5, 1000), Err(QuoteError::AboveCeiling { asked: u128::MAX, ceiling: 1000 })),
        ];
        for ((base, tip, ceiling), expected) in cases {
            assert_eq!(quote(base, tip, ceiling, 21_000), expected, "{base} {tip} {ceiling}");
        }
    }

    #[test]
    fn a_replacement_offers_more_of_both_and_never_more_than_the_ceiling() {
        let above = |asked| Err(QuoteError::AboveCeiling { asked, ceiling: 1000 });
        let cases = [
            (terms(205, 5), terms(200, 5), Ok(terms(226, 6))),
            (terms(900, 50), terms(200, 5), Ok(terms(900, 50))),
            (terms(205, 5), terms(888, 5), Ok(terms(1000, 6))),
            (terms(205, 5), terms(889, 5), above(1001)),
            (terms(5, 5), terms(8, 8), Ok(terms(10, 10))),
        ];
        for (fresh, last, expected) in cases {
            assert_eq!(fresh.replacing(&last, 1000), expected, "{fresh:?} {last:?}");
        }
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
