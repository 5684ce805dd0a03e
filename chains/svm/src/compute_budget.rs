//! The units that a transaction may use, and the lamports that it may cost us.
//!
//! The payer fixes both, we pay: so both are capped.

use std::ops::RangeInclusive;

/// The most units that the runtime grants to a transaction, whatever it asks for.
pub const UNIT_LIMIT_MAX: u32 = 1_400_000;
/// The units that the runtime grants to each instruction, when the transaction does not ask.
pub const UNITS_PER_INSTRUCTION: u32 = 200_000;
/// The lamports that each signature costs.
pub const LAMPORTS_PER_SIGNATURE: u64 = 5_000;
const MICRO_LAMPORTS_PER_LAMPORT: u128 = 1_000_000;

/// One instruction to the `ComputeBudget` program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The most compute units that the transaction may use.
    UnitLimit(u32),
    /// The millionths of a lamport that it offers for each unit of its limit.
    UnitPrice(u64),
    /// The bytes of memory for its programs.
    HeapFrame(u32),
}

/// The sizes of memory that the runtime grants: whole KiB, from 32 to 256.
const HEAP_FRAMES: RangeInclusive<u32> = 32 * 1024..=256 * 1024;

impl Setting {
    /// `RequestHeapFrame` (1, u32), `SetComputeUnitLimit` (2, u32) or `SetComputeUnitPrice` (3, u64), to the
    /// byte and as the runtime takes it; `None` for everything else. `SetLoadedAccountsDataSizeLimit` (4) is
    /// none: whoever makes one of the accounts longer would make the transaction fail at our cost.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (kind, value) = data.split_first()?;
        let small = || value.try_into().ok().map(u32::from_le_bytes);
        match kind {
            1 => small().filter(|size| HEAP_FRAMES.contains(size) && size % 1024 == 0).map(Self::HeapFrame),
            2 => small().map(Self::UnitLimit),
            3 => value.try_into().ok().map(u64::from_le_bytes).map(Self::UnitPrice),
            _ => None,
        }
    }
}

/// The settings of one transaction, wherever they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The most compute units.
    pub unit_limit: Option<u32>,
    /// Millionths of a lamport for each of them.
    pub unit_price: Option<u64>,
    heap_frame: Option<u32>,
}

impl Settings {
    /// Takes a setting; false for the second one of a kind, for which the runtime refuses the transaction.
    pub fn take(&mut self, setting: Setting) -> bool {
        match setting {
            Setting::UnitLimit(units) => self.unit_limit.replace(units).is_none(),
            Setting::UnitPrice(price) => self.unit_price.replace(price).is_none(),
            Setting::HeapFrame(bytes) => self.heap_frame.replace(bytes).is_none(),
        }
    }
}

/// The units and the price that a transaction sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComputeBudget {
    /// The most compute units.
    pub unit_limit: u32,
    /// Millionths of a lamport for each unit of the limit, used or not.
    pub unit_price: u64,
}

impl ComputeBudget {
    /// The budget of a transaction without `ComputeBudget` instructions.
    pub fn implied(instructions: usize) -> Self {
        let instructions = u32::try_from(instructions).unwrap_or(u32::MAX);
        let unit_limit = instructions.saturating_mul(UNITS_PER_INSTRUCTION).min(UNIT_LIMIT_MAX);
        Self { unit_limit, unit_price: 0 }
    }

    /// The lamports that the fee payer pays: fixed by the transaction, whether
    /// it succeeds or fails.
    pub fn fee(self, signatures: usize) -> u64 {
        let micro = u128::from(self.unit_limit.min(UNIT_LIMIT_MAX)) * u128::from(self.unit_price);
        let priority = u64::try_from(micro.div_ceil(MICRO_LAMPORTS_PER_LAMPORT)).unwrap_or(u64::MAX);
        let signatures = u64::try_from(signatures).unwrap_or(u64::MAX);
        signatures.saturating_mul(LAMPORTS_PER_SIGNATURE).saturating_add(priority)
    }
}

/// The lamports that a payment of so many atomic units may offer above what is always accepted.
pub fn share_of(amount: u64, decimals: u8, lamports_per_token: u64) -> u64 {
    let whole = 10_u128.checked_pow(u32::from(decimals)).unwrap_or(u128::MAX);
    let share = u128::from(amount) * u128::from(lamports_per_token) / whole;
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// The most that a payment may use and cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Compute units. All payments of one fee payer share the 12 million
    /// that a block grants to one account.
    pub units_max: u32,
    /// Millionths of a lamport for each compute unit.
    pub unit_price_max: u64,
    /// Lamports in total: signatures and priority.
    pub fee_max: u64,
}

impl Default for Limits {
    /// A transfer needs 5 to 80 thousand units. The price is the official
    /// SDK's; the total, 0.0002 SOL, still admits its clients' 20,000 units at
    /// that price.
    fn default() -> Self {
        Self { units_max: 400_000, unit_price_max: 5_000_000, fee_max: 200_000 }
    }
}

/// The part of a payment that is above its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Too many compute units.
    #[error("{asked} compute units: at most {allowed} are allowed")]
    Units {
        /// The units that the transaction asks for.
        asked: u32,
        /// The limit.
        allowed: u32,
    },
    /// Too high a price for one.
    #[error("{asked} micro-lamports for a compute unit: at most {allowed} are allowed")]
    UnitPrice {
        /// The price that the transaction offers.
        asked: u64,
        /// The limit.
        allowed: u64,
    },
    /// Too high a fee in total.
    #[error("the fee would be {asked} lamports: at most {allowed} are allowed")]
    Fee {
        /// The lamports that the transaction costs.
        asked: u64,
        /// The limit.
        allowed: u64,
    },
}

impl Limits {
    /// The lamports that a transaction costs us, when that is allowed.
    ///
    /// # Errors
    /// The first limit that it exceeds.
    pub fn check(self, budget: ComputeBudget, signatures: usize) -> Result<u64, Excess> {
        let ComputeBudget { unit_limit, unit_price } = budget;
        if unit_limit > self.units_max {
            return Err(Excess::Units { asked: unit_limit, allowed: self.units_max });
        }
        if unit_price > self.unit_price_max {
            return Err(Excess::UnitPrice { asked: unit_price, allowed: self.unit_price_max });
        }
        let fee = budget.fee(signatures);
        if fee > self.fee_max {
            return Err(Excess::Fee { asked: fee, allowed: self.fee_max });
        }
        Ok(fee)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_settings_are_read() {
        let cases: [(&[u8], Option<Setting>); 14] = [
            (&[2, 0x20, 0x4e, 0, 0], Some(Setting::UnitLimit(20_000))),
            (&[3, 1, 0, 0, 0, 0, 0, 0, 0], Some(Setting::UnitPrice(1))),
            (&[], None),
            (&[2], None),
            (&[2, 0, 0, 0], None),
            (&[2, 0, 0, 0, 0, 0], None),
            (&[3, 1, 0, 0, 0, 0, 0, 0], None),
            (&[1, 0, 0, 1, 0], Some(Setting::HeapFrame(65_536))),
            (&[1, 0, 0, 4, 0], Some(Setting::HeapFrame(262_144))),
            (&[1, 0, 4, 4, 0], None),
            (&[1, 0, 0x7c, 0, 0], None),
            (&[1, 1, 0, 1, 0], None),
            (&[4, 0, 0, 1, 0], None),
            (&[0, 0, 0, 1, 0, 0, 0, 0, 0], None),
        ];
        for (data, expected) in cases {
            assert_eq!(Setting::parse(data), expected, "{data:?}");
        }
    }

    #[test]
    fn each_kind_of_setting_is_taken_once_in_any_order() {
        let mut settings = Settings::default();
        let all = [Setting::UnitPrice(1), Setting::UnitLimit(3), Setting::HeapFrame(4)];
        assert!(all.into_iter().all(|setting| settings.take(setting)));
        assert_eq!((settings.unit_limit, settings.unit_price), (Some(3), Some(1)));
        assert!(!all.into_iter().any(|setting| settings.take(setting)));
    }

    #[test]
    fn fees_are_rounded_up_and_never_overflow() {
        let fee = |unit_limit, unit_price, signatures| ComputeBudget { unit_limit, unit_price }.fee(signatures);
        assert_eq!(fee(20_000, 0, 2), 10_000);
        assert_eq!(fee(20_000, 1, 2), 10_001, "a fiftieth of a lamport is one lamport");
        assert_eq!(fee(20_000, 50, 1), 5_001);
        assert_eq!(fee(20_000, 51, 1), 5_002);
        assert_eq!(fee(400_000, 5_000_000, 2), 2_010_000);
        assert_eq!(fee(u32::MAX, 5_000_000, 2), 7_010_000, "the runtime grants no more than 1.4 million");
        assert_eq!(fee(u32::MAX, u64::MAX, usize::MAX), u64::MAX);
    }

    #[test]
    fn a_share_follows_the_amount_and_never_overflows() {
        let cases = [
            (1_000_000, 6, 60_000, 60_000),
            (1_000, 6, 60_000, 60),
            (16, 6, 60_000, 0),
            (u64::MAX, 0, u64::MAX, u64::MAX),
            (1, 255, 60_000, 0),
        ];
        for (amount, decimals, per_token, share) in cases {
            assert_eq!(share_of(amount, decimals, per_token), share, "{amount} {decimals}");
        }
    }

    #[test]
    fn without_asking_each_instruction_gets_its_share() {
        assert_eq!(ComputeBudget::implied(1), ComputeBudget { unit_limit: 200_000, unit_price: 0 });
        assert_eq!(ComputeBudget::implied(2).unit_limit, 400_000);
        assert_eq!(ComputeBudget::implied(8).unit_limit, UNIT_LIMIT_MAX);
        assert_eq!(ComputeBudget::implied(usize::MAX).unit_limit, UNIT_LIMIT_MAX);
    }

    #[test]
    fn the_official_clients_fit_into_the_default_limits_at_the_highest_price() {
        let limits = Limits::default();
        let dearest = ComputeBudget { unit_limit: 20_000, unit_price: limits.unit_price_max };
        assert!(dearest.fee(2) <= limits.fee_max);
    }
}
