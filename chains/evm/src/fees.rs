//! What a transaction offers for its gas, and what it needs. Pure.

use chains_core::chain::{Fees, QuoteError};

/// Gas of a transaction before any code runs.
const BASE_GAS: u64 = 21_000;

/// What the next transaction offers: twice the base fee, which survives six
/// full blocks in a row, and the tip; never above the ceiling.
///
/// # Errors
/// Even the next block would cost more than the ceiling.
pub fn quote(base_fee: u128, tip: u128, ceiling: u128) -> Result<Fees, QuoteError> {
    let asked = base_fee.saturating_add(tip);
    if asked > ceiling {
        return Err(QuoteError::AboveCeiling { asked, ceiling });
    }
    Ok(Fees { per_gas_max: base_fee.saturating_add(asked).min(ceiling), tip_per_gas: tip })
}

/// The gas that a call costs besides what its code uses: EIP-2028 calldata
/// prices on top of the base, at least EIP-7623's floor.
pub fn call_gas(code_gas: u64, data: &[u8]) -> u64 {
    let zeros = data.iter().map(|byte| u64::from(*byte == 0)).sum::<u64>();
    let others = u64::try_from(data.len()).unwrap_or(u64::MAX).saturating_sub(zeros);
    let tokens = zeros.saturating_add(others.saturating_mul(4));
    let usual = code_gas.saturating_add(tokens.saturating_mul(4));
    BASE_GAS.saturating_add(usual.max(tokens.saturating_mul(10)))
}

/// The gas limit for a payer whose signature a contract checks: what the
/// simulation needed and 30 % more, at most `cap`. `None` when it needs more
/// than `cap`.
pub fn wallet_gas_limit(needed: u64, cap: u64) -> Option<u64> {
    (needed <= cap).then(|| needed.saturating_add(needed.saturating_mul(3) / 10).min(cap))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_twice_the_base_fee_up_to_the_ceiling() {
        let offer = |per_gas_max, tip_per_gas| Ok(Fees { per_gas_max, tip_per_gas });
        let cases = [
            ((100, 5, 1000), offer(205, 5)),
            ((0, 5, 1000), offer(5, 5)),
            ((600, 5, 1000), offer(1000, 5)),
            ((995, 5, 1000), offer(1000, 5)),
            ((996, 5, 1000), Err(QuoteError::AboveCeiling { asked: 1001, ceiling: 1000 })),
            ((u128::MAX, 5, 1000), Err(QuoteError::AboveCeiling { asked: u128::MAX, ceiling: 1000 })),
        ];
        for ((base, tip, ceiling), expected) in cases {
            assert_eq!(quote(base, tip, ceiling), expected, "{base} {tip} {ceiling}");
        }
    }

    #[test]
    fn calldata_is_paid_for() {
        assert_eq!(call_gas(50_000, &[]), 71_000);
        assert_eq!(call_gas(50_000, &[0, 1, 2]), 71_000 + 4 + 32);
        assert_eq!(call_gas(0, &[1; 100]), 21_000 + 4_000, "EIP-7623");
    }

    #[test]
    fn wallets_get_a_margin_and_never_more_than_the_cap() {
        let cases =
            [((100_000, 250_000), Some(130_000)), ((200_000, 250_000), Some(250_000)), ((250_001, 250_000), None)];
        for ((needed, cap), expected) in cases {
            assert_eq!(wallet_gas_limit(needed, cap), expected);
        }
    }
}
