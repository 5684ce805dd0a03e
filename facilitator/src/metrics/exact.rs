//! Counters of money: exact to the last atomic unit. The recorder counts in whole
//! numbers only, so these are kept and written here.

use std::{collections::BTreeMap, fmt::Write as _};

use chains_core::Amount;
use parking_lot::Mutex;

/// The metric.
pub const GAS_SPENT: &str = "facilitator_gas_spent_coins_total";

/// Its description.
const GAS_SPENT_HELP: &str = "Gas that a wallet has paid for, from receipts, in whole coins, by what it was for";

/// Network, wallet, purpose.
type Labels = (String, String, &'static str);

/// The sums, in atomic units, with the decimals of the coin.
static SPENT: Mutex<BTreeMap<Labels, (Amount, u8)>> = Mutex::new(BTreeMap::new());

/// Adds to a sum; the first time it makes it.
pub fn add(network: &str, wallet: &str, purpose: &'static str, amount: Amount, decimals: u8) {
    let mut spent = SPENT.lock();
    let labels = (network.to_owned(), wallet.to_owned(), purpose);
    let (sum, _) = spent.entry(labels).or_insert((Amount::ZERO, decimals));
    *sum = sum.checked_add(amount).unwrap_or(Amount::MAX);
}

/// Writes the sums in the text format of Prometheus.
pub fn render(text: &mut String) {
    let spent = SPENT.lock();
    if spent.is_empty() {
        return;
    }
    // Writing to a string never fails.
    let _ = writeln!(text, "# HELP {GAS_SPENT} {GAS_SPENT_HELP}\n# TYPE {GAS_SPENT} counter");
    for ((network, wallet, purpose), (sum, decimals)) in spent.iter() {
        let coins = sum.in_units(*decimals);
        let _ =
            writeln!(text, "{GAS_SPENT}{{network=\"{network}\",wallet=\"{wallet}\",purpose=\"{purpose}\"}} {coins}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_gas_lose_nothing() {
        for amount in ["80998369512736", "1"] {
            add("eip155:7", "0xw", "settle", amount.parse().expect("an amount"), 18);
        }
        let mut text = String::new();
        render(&mut text);
        let line = "facilitator_gas_spent_coins_total{network=\"eip155:7\",wallet=\"0xw\",purpose=\"settle\"} \
                    0.000080998369512737\n";
        assert!(text.contains(line), "{text}");
    }
}
