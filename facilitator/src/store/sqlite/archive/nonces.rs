//! The places that archived transactions took, as ranges.

use std::{collections::BTreeMap, ops::RangeInclusive};

use sqlx::SqliteConnection;

use crate::store::{
    StoreError,
    sqlite::row::{Reader, int},
};

/// A place in the nonce sequence of a gas wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub network: String,
    pub gas_wallet: String,
    pub nonce: u64,
}

/// Adds places to those that are kept.
pub(super) async fn keep(connection: &mut SqliteConnection, places: Vec<Place>) -> Result<(), StoreError> {
    let mut wallets: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    for Place { network, gas_wallet, nonce } in places {
        wallets.entry((network, gas_wallet)).or_default().push(nonce);
    }
    for ((network, gas_wallet), nonces) in wallets {
        let stored = ranges(connection, (&network, &gas_wallet), &nonces).await?;
        let merged = merge(stored.iter().cloned().chain(nonces.into_iter().map(|nonce| nonce..=nonce)));
        for range in stored.iter().filter(|range| !merged.contains(range)) {
            let delete = "DELETE FROM archived_nonces WHERE network = ? AND gas_wallet = ? AND first = ?";
            let delete = sqlx::query(delete).bind(&network).bind(&gas_wallet).bind(int(*range.start()));
            delete.execute(&mut *connection).await?;
        }
        for range in merged.iter().filter(|range| !stored.contains(range)) {
            let insert = "INSERT INTO archived_nonces (network, gas_wallet, first, last) VALUES (?, ?, ?, ?)";
            let insert = sqlx::query(insert).bind(&network).bind(&gas_wallet);
            insert.bind(int(*range.start())).bind(int(*range.end())).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// The ranges of a wallet that hold some of these places, or are next to them.
async fn ranges(
    connection: &mut SqliteConnection,
    (network, gas_wallet): (&str, &str),
    nonces: &[u64],
) -> Result<Vec<RangeInclusive<u64>>, StoreError> {
    let lowest = nonces.iter().min().copied().unwrap_or_default();
    let highest = nonces.iter().max().copied().unwrap_or_default().saturating_add(1);
    let query = "SELECT r.gas_wallet, r.first, r.last FROM archived_nonces r WHERE r.network = ?1 \
         AND r.gas_wallet = ?2 AND r.first <= ?4 AND r.first >= coalesce((SELECT p.first FROM archived_nonces p \
         WHERE p.network = ?1 AND p.gas_wallet = ?2 AND p.first <= ?3 ORDER BY p.first DESC LIMIT 1), 0) \
         ORDER BY r.first";
    let query = sqlx::query(query).bind(network).bind(gas_wallet).bind(int(lowest)).bind(int(highest));
    let rows = query.fetch_all(connection).await?;
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
