//! The places that archived transactions took, as ranges.

use std::{collections::BTreeMap, ops::RangeInclusive};

use crate::store::{
    StoreError,
    sql::{
        database::Session,
        row::{Reader, int},
        statement::Statement,
    },
};

/// A place in the nonce sequence of a gas wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub network: String,
    pub gas_wallet: String,
    pub nonce: u64,
}

/// Adds places to those that are kept.
pub(super) async fn keep(session: &mut Session<'_>, places: Vec<Place>) -> Result<(), StoreError> {
    let mut wallets: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    for Place { network, gas_wallet, nonce } in places {
        wallets.entry((network, gas_wallet)).or_default().push(nonce);
    }
    for ((network, gas_wallet), nonces) in wallets {
        let stored = ranges(session, (&network, &gas_wallet), &nonces).await?;
        let merged = merge(stored.iter().cloned().chain(nonces.into_iter().map(|nonce| nonce..=nonce)));
        for range in stored.iter().filter(|range| !merged.contains(range)) {
            let delete = "DELETE FROM archived_nonces WHERE network = $1 AND gas_wallet = $2 AND first = $3";
            let values = [network.as_str().into(), gas_wallet.as_str().into(), int(*range.start()).into()];
            session.run(Statement::of(session.dialect(), delete, values)).await?;
        }
        for range in merged.iter().filter(|range| !stored.contains(range)) {
            let insert = "INSERT INTO archived_nonces (network, gas_wallet, first, last) VALUES ($1, $2, $3, $4)";
            let (first, last) = (int(*range.start()), int(*range.end()));
            let values = [network.as_str().into(), gas_wallet.as_str().into(), first.into(), last.into()];
            session.run(Statement::of(session.dialect(), insert, values)).await?;
        }
    }
    Ok(())
}

/// The ranges of a wallet that hold some of these places, or are next to them.
async fn ranges(
    session: &mut Session<'_>,
    (network, gas_wallet): (&str, &str),
    nonces: &[u64],
) -> Result<Vec<RangeInclusive<u64>>, StoreError> {
    let lowest = nonces.iter().min().copied().unwrap_or_default();
    let highest = nonces.iter().max().copied().unwrap_or_default().saturating_add(1);
    let query = "SELECT r.gas_wallet, r.first, r.last FROM archived_nonces r WHERE r.network = $1 \
         AND r.gas_wallet = $2 AND r.first <= $4 AND r.first >= coalesce((SELECT p.first FROM archived_nonces p \
         WHERE p.network = $1 AND p.gas_wallet = $2 AND p.first <= $3 ORDER BY p.first DESC LIMIT 1), 0) \
         ORDER BY r.first";
    let values = [network.into(), gas_wallet.into(), int(lowest).into(), int(highest).into()];
    let rows = session.all(Statement::of(session.dialect(), query, values)).await?;
    let range = |row| {
        let read = Reader::new(row, "archived_nonces", "gas_wallet");
        Ok(read.number("first")?..=read.number("last")?)
    };
    rows.iter().map(range).collect()
}

/// The same numbers in as few ranges as possible.
fn merge(ranges: impl Iterator<Item = RangeInclusive<u64>>) -> Vec<RangeInclusive<u64>> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_range_in_any_order() {
        type Ranges<'a> = &'a [(u64, u64)];
        let cases: [(Ranges<'_>, Ranges<'_>); 6] = [
            (&[], &[]),
            (&[(3, 3)], &[(3, 3)]),
            (&[(5, 5), (3, 3), (4, 4)], &[(3, 5)]),
            (&[(0, 2), (4, 4)], &[(0, 2), (4, 4)]),
            (&[(0, 2), (4, 4), (3, 3)], &[(0, 4)]),
            (&[(0, 9), (2, 3), (u64::MAX, u64::MAX)], &[(0, 9), (u64::MAX, u64::MAX)]),
        ];
        for (ranges, expected) in cases {
            let merged = merge(ranges.iter().map(|(first, last)| *first..=*last));
            let expected: Vec<_> = expected.iter().map(|(first, last)| *first..=*last).collect();
            assert_eq!(merged, expected, "{ranges:?}");
        }
    }
}
