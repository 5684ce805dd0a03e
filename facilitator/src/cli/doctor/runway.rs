//! The time for which the money of the gas wallets lasts, by what the store says
//! was spent lately.

use std::{collections::BTreeMap, time::Duration};

use chains_core::{
    Amount,
    chain::Chain,
    clock::Millis,
    diagnostic::{Finding, Severity},
};

use crate::{
    settlement::{Record, Timeline},
    store::{Query, Store, StoreError},
};

/// The time back from now that counts.
const WINDOW: Duration = Duration::from_hours(24);

/// A rate is taken over no less than this: the first transaction is no rate.
const WINDOW_MIN: Duration = Duration::from_mins(10);

/// Settlements that are looked at; the newest are enough for a rate.
const SETTLEMENTS_MAX: u32 = 100;

/// A wallet that lasts for less needs somebody today.
const LASTS_MIN: Duration = Duration::from_hours(24);

/// The spending of one gas wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spent {
    fees: Amount,
    since: Millis,
}

/// Warns of each wallet that will be empty soon.
pub(super) async fn check(chain: &dyn Chain, store: &dyn Store, now: Millis) -> Vec<Finding> {
    let Ok(spent) = spending(chain, store, now).await else { return vec![] };
    let mut findings = vec![];
    for wallet in chain.gas_wallets() {
        let Some(spent) = spent.get(wallet) else { continue };
        let Ok(balance) = chain.balance(wallet).await else { continue };
        let lasts = lasts(balance, *spent, now);
        findings.extend(lasts.filter(|lasts| *lasts < LASTS_MIN).map(|lasts| finding(chain, wallet, balance, lasts)));
    }
    findings
}

fn finding(chain: &dyn Chain, wallet: &str, balance: Amount, lasts: Duration) -> Finding {
    let parameters = chain.parameters();
    let coins = format!("{} {}", balance.in_units(parameters.coin_decimals), parameters.coin);
    let (hours, minutes) = (lasts.as_secs() / 3600, lasts.as_secs() % 3600 / 60);
    let seen = format!("has {coins}, which lasts {hours} h {minutes} min at the rate of the last settlements");
    let meaning = "Then it takes no settlements";
    Finding::new(Severity::Warning, "wallet_runway", wallet, seen, meaning, format!("Send more to {wallet}"))
}

async fn spending(chain: &dyn Chain, store: &dyn Store, now: Millis) -> Result<BTreeMap<String, Spent>, StoreError> {
    let from = Millis(now.0.saturating_sub(millis(WINDOW)));
    let query =
        Query { network: Some(chain.network().clone()), from: Some(from), limit: SETTLEMENTS_MAX, ..Query::default() };
    let mut spent = BTreeMap::new();
    for id in store.find(&query).await?.iter().map(Record::id) {
        if let Some(timeline) = store.timeline(id).await? {
            add(&mut spent, &timeline);
        }
    }
    Ok(spent)
}

fn add(spent: &mut BTreeMap<String, Spent>, timeline: &Timeline) {
    for (transaction, _) in &timeline.transactions {
        let paid =
            transaction.attempts.iter().filter_map(|attempt| Some((attempt.created_at, attempt.inclusion.as_ref()?)));
        for (at, inclusion) in paid {
            let sum = spent.entry(transaction.gas_wallet.clone()).or_insert(Spent { fees: Amount::ZERO, since: at });
            sum.fees = sum.fees.checked_add(inclusion.fee_paid).unwrap_or(Amount::MAX);
            sum.since = sum.since.min(at);
        }
    }
}

/// The time for which a balance lasts; `None` where nothing is spent.
fn lasts(balance: Amount, spent: Spent, now: Millis) -> Option<Duration> {
    if spent.fees.is_zero() {
        return None;
    }
    let span = now.0.saturating_sub(spent.since.0).clamp(millis(WINDOW_MIN), millis(WINDOW));
    let left = balance.to_u256().saturating_mul(Amount::from(span).to_u256()) / spent.fees.to_u256();
    Some(Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_lasts_as_long_as_the_last_settlements_say() {
        let hour = 3_600_000;
        let cases = [
            ("an hour's spending, twice", 20_u64, 10_u64, 0, hour, Some(2 * hour)),
            ("a first transaction counts as ten minutes'", 20, 10, hour - 1, hour, Some(20 * 60_000)),
            ("no more than a day counts", 10, 10, 0, 48 * hour, Some(24 * hour)),
            ("nothing is spent", 20, 0, 0, hour, None),
            ("nothing is left", 0, 10, 0, hour, Some(0)),
        ];
        for (name, balance, fees, since, now, expected) in cases {
            let spent = Spent { fees: Amount::from(fees), since: Millis(since) };
            let lasts = lasts(Amount::from(balance), spent, Millis(now));
            assert_eq!(lasts, expected.map(Duration::from_millis), "{name}");
        }
    }
}
