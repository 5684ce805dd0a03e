//! Money as a checked integer of atomic units.

use std::{fmt, str::FromStr};

use ruint::aliases::U256;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount of a token in its atomic units, at most 2^256 - 1.
///
/// On the wire it is a decimal string with one grammar,
/// `0|[1-9][0-9]{0,77}`: no sign, no leading zero, no `0x`, no white space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(U256);

/// The reason why a text is not an [`Amount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not `0|[1-9][0-9]{0,77}`.
    #[error("an amount is a decimal string of atomic units without sign, leading zeros or spaces")]
    Grammar,
    /// More than 2^256 - 1.
    #[error("the amount is larger than 2^256 - 1")]
    TooLarge,
}

impl Amount {
    /// No money.
    pub const ZERO: Self = Self(U256::ZERO);

    /// The largest amount.
    pub const MAX: Self = Self(U256::MAX);

    /// The amount as the integer that chain libraries use.
    pub const fn to_u256(self) -> U256 {
        self.0
    }

    /// Returns true for no money at all.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The amount in whole coins or tokens, exactly: so many of its digits stand behind the point.
    pub fn in_units(self, decimals: u8) -> String {
        let digits = self.to_string();
        let places = usize::from(decimals);
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, part) = digits.split_at(digits.len() - places);
        let part = part.trim_end_matches('0');
        if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
    }

    /// The sum, or `None` above 2^256 - 1.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The part of it that falls to one of `count` that pay alike, by its place
    /// among them; the first pays what cannot be divided as well.
    #[must_use]
    pub fn share(self, place: usize, count: usize) -> Self {
        let count = U256::from(count.max(1));
        let rest = if place == 0 { self.0 % count } else { U256::ZERO };
        Self(self.0 / count + rest)
    }

    /// The difference, or `None` below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl From<U256> for Amount {
    fn from(value: U256) -> Self {
        Self(value)
    }
}

impl From<u64> for Amount {
    fn from(value: u64) -> Self {
        Self(U256::from(value))
    }
}

impl From<u128> for Amount {
    fn from(value: u128) -> Self {
        Self(U256::from(value))
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let digits = text.as_bytes();
        let shape_ok = match digits {
            [b'0'] => true,
            [] | [b'0', ..] => false,
            _ => digits.len() <= 78 && digits.iter().all(u8::is_ascii_digit),
        };
        if !shape_ok {
            return Err(AmountError::Grammar);
        }
        U256::from_str_radix(text, 10).map(Self).map_err(|_| AmountError::TooLarge)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_exactly_one_spelling() {
        let max = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        let over = "115792089237316195423570985008687907853269984665640564039457584007913129639936";
        for good in ["0", "1", "10000", max] {
            assert_eq!(good.parse::<Amount>().expect(good).to_string(), good);
        }
        for bad in ["", " 1", "1 ", "+1", "-1", "01", "00", "0x1", "1e3", "1.0", "1_0", "１", "null"] {
            assert_eq!(bad.parse::<Amount>(), Err(AmountError::Grammar), "{bad:?}");
        }
        assert_eq!(over.parse::<Amount>(), Err(AmountError::TooLarge));
        assert_eq!("9".repeat(79).parse::<Amount>(), Err(AmountError::Grammar));
    }

    #[test]
    fn sums_and_differences_never_wrap() {
        let max = Amount(U256::MAX);
        assert_eq!(max.checked_add(Amount::from(1_u64)), None);
        assert_eq!(Amount::ZERO.checked_sub(Amount::from(1_u64)), None);
        assert_eq!(Amount::from(2_u64).checked_sub(Amount::from(2_u64)), Some(Amount::ZERO));
    }

    #[test]
    fn atomic_units_become_whole_coins_exactly() {
        let cases = [
            ("0", 18, "0"),
            ("1", 18, "0.000000000000000001"),
            ("80998369512736", 18, "0.000080998369512736"),
            ("1000000000000000000", 18, "1"),
            ("12500000000", 9, "12.5"),
            ("7", 0, "7"),
        ];
        for (amount, decimals, expected) in cases {
            assert_eq!(amount.parse::<Amount>().expect("an amount").in_units(decimals), expected);
        }
    }

    #[test]
    fn shares_add_up_and_the_first_pays_what_cannot_be_divided() {
        for (amount, count, expected) in [(600_u64, 1, vec![600]), (600, 3, vec![200; 3]), (11, 4, vec![5, 2, 2, 2])] {
            let shares: Vec<_> = (0..count).map(|place| Amount::from(amount).share(place, count)).collect();
            assert_eq!(shares, expected.into_iter().map(|share: u64| Amount::from(share)).collect::<Vec<_>>());
        }
        assert_eq!(Amount::MAX.share(0, 0), Amount::MAX, "of nobody");
    }
}
