//! The gas that transactions need. Pure.

/// Gas of a transaction before any code runs, and of a plain transfer of the
/// chain's coin.
pub const BASE_GAS: u64 = 21_000;

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
