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

/// Gas that the code of a transfer uses at least before it finds that the
/// authorization is over or used: proxy, pause, two blacklists, a slot. USDC
/// used 15,800 in a local EVM.
const FAILING_CODE_GAS: u64 = 10_000;

/// Returns true when a transfer of nothing at `cancel_price` costs less than a
/// call with this data that fails, at `fail_price`; both use `gas_extra` on top.
pub fn cancel_pays(data: &[u8], gas_extra: u64, cancel_price: u128, fail_price: u128) -> bool {
    let cost = |gas: u64, price: u128| u128::from(gas.saturating_add(gas_extra)).saturating_mul(price);
    cost(BASE_GAS, cancel_price) < cost(call_gas(FAILING_CODE_GAS, data), fail_price)
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
    fn a_cancellation_pays_unless_it_costs_more_than_the_failure() {
        let data = [1; 260];
        let cases = [
            ("the tip is an eighth more", 0, 1125, 1000, true),
            ("twice the price", 0, 2000, 1000, false),
            ("data is gas, the base fee is nearly all", 600_000, 1011, 1000, true),
            ("data is gas, the tip is nearly all", 600_000, 1125, 1000, false),
        ];
        for (name, gas_extra, cancel_price, fail_price, expected) in cases {
            assert_eq!(cancel_pays(&data, gas_extra, cancel_price, fail_price), expected, "{name}");
        }
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
