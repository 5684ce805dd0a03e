//! The calls of a group that are refused, found before anything is written.

use std::collections::{HashMap, HashSet};

use chains_core::{Identity, Network};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::{group::Call, row, write::ROWS_MAX};
use crate::{
    settlement::{Caller, Facts, Key, SettlementId, Transaction},
    store::Change,
};

/// The reason why a call is not stored.
#[derive(Debug)]
pub(super) enum Refusal {
    /// These payments or keys are taken, or these settlements have ended.
    Claimed(Vec<SettlementId>),
    /// A transaction's epoch is not that of its wallet.
    EpochOver,
    /// The call contradicts what is stored.
    Contradiction(&'static str),
}

/// A name that is unique in the store.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Name {
    Payment(Identity),
    Key(Caller),
}

/// The parts of the store that decide whether a group's calls are written.
#[derive(Default)]
pub(super) struct Known {
    taken: HashSet<Name>,
    epochs: HashMap<(String, String), u64>,
    ended: HashSet<SettlementId>,
    /// The networks of the settlements that the group's transactions carry.
    pub networks: HashMap<SettlementId, Network>,
}

impl Known {
    /// Looks up everything that the calls depend on.
    pub async fn look_up(connection: &mut SqliteConnection, calls: &[Call<'_>]) -> Result<Self, sqlx::Error> {
        let mut known = Self::default();
        let changes = || calls.iter().flat_map(|call| call.changes);
        let claims: Vec<_> = changes().filter_map(claim).collect();
        for rows in claims.chunks(ROWS_MAX) {
            known.look_up_identities(connection, rows).await?;
            known.look_up_keys(connection, rows).await?;
        }
        known.networks.extend(claims.iter().map(|facts| (facts.id, facts.network.clone())));
        let carried: HashSet<_> = changes().filter_map(carry).flat_map(|t| &t.items).map(|(id, _)| *id).collect();
        let stored: Vec<_> = carried.into_iter().filter(|id| !known.networks.contains_key(id)).collect();
        for ids in stored.chunks(ROWS_MAX) {
            known.look_up_settlements(connection, ids).await?;
        }
        if changes().any(|change| matches!(change, Change::Carry(_) | Change::UseNonce { .. })) {
            known.look_up_epochs(connection).await?;
        }
        Ok(known)
    }

    async fn look_up_identities(
        &mut self,
        connection: &mut SqliteConnection,
        claims: &[&Facts],
    ) -> Result<(), sqlx::Error> {
        for row in identities(claims).build().fetch_all(connection).await? {
            if let Ok(bytes) = row.try_get::<&[u8], _>(0)?.try_into() {
                self.taken.insert(Name::Payment(Identity::from_bytes(bytes)));
            }
        }
        Ok(())
    }

    async fn look_up_keys(&mut self, connection: &mut SqliteConnection, claims: &[&Facts]) -> Result<(), sqlx::Error> {
        let keyed: Vec<_> = claims.iter().filter(|facts| facts.caller.key.is_some()).collect();
        if keyed.is_empty() {
            return Ok(());
        }
        // A join, as the database would read the whole index for pairs in a list.
        let mut query = QueryBuilder::<Sqlite>::new("WITH asked (tenant, idempotency_key) AS (");
        query.push_values(keyed, |mut tuple, facts| {
            tuple.push_bind(facts.caller.tenant.as_str()).push_bind(facts.caller.key.as_ref().map(Key::stored));
        });
        query.push(
            ") SELECT s.tenant, s.idempotency_key FROM asked CROSS JOIN settlement s ON s.tenant = asked.tenant \
             AND s.idempotency_key = asked.idempotency_key WHERE s.idempotency_key IS NOT NULL",
        );
        for row in query.build().fetch_all(connection).await? {
            let key = row.try_get::<Option<_>, _>(1)?.map(Key::from_stored);
            self.taken.insert(Name::Key(Caller { tenant: row.try_get(0)?, key }));
        }
        Ok(())
    }

    async fn look_up_settlements(
        &mut self,
        connection: &mut SqliteConnection,
        ids: &[SettlementId],
    ) -> Result<(), sqlx::Error> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT id, network, state IN ('settled', 'failed') FROM settlement WHERE id IN (",
        );
        row::push_ids(&mut query, ids.iter().map(|id| id.0));
        query.push(")");
        for row in query.build().fetch_all(connection).await? {
            let (Some(id), Ok(network)) = (row::uuid(row.try_get(0)?), row.try_get::<&str, _>(1)?.parse()) else {
                continue;
            };
            self.networks.insert(SettlementId(id), network);
            if row.try_get(2)? {
                self.ended.insert(SettlementId(id));
            }
        }
        Ok(())
    }

    async fn look_up_epochs(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        // One row for each gas wallet that was ever configured.
        let query = sqlx::query_as("SELECT network, gas_wallet, epoch FROM wallet_owner");
        let rows: Vec<(String, String, i64)> = query.fetch_all(connection).await?;
        let epochs = rows
            .into_iter()
            .filter_map(|(network, wallet, epoch)| Some(((network, wallet), u64::try_from(epoch).ok()?)));
        self.epochs.extend(epochs);
        Ok(())
    }

    /// Returns for each call why it is refused, if it is. Of calls for one
    /// payment the first has it.
    pub fn admit(&mut self, calls: &[Call<'_>]) -> Vec<Option<Refusal>> {
        calls.iter().map(|call| self.admit_one(call.changes)).collect()
    }

    fn admit_one(&mut self, changes: &[Change]) -> Option<Refusal> {
        let (mut own, mut conflicts, mut ended) = (HashSet::new(), Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Claim { facts, .. } => {
                    let names = names(facts);
                    if names.iter().any(|name| self.taken.contains(name) || own.contains(name)) {
                        conflicts.push(facts.id);
                    }
                    own.extend(names);
                }
                Change::Carry(transaction) => match self.check_carry(transaction) {
                    Err(refusal) => return Some(refusal),
                    Ok(over) => conflicts.extend(over),
                },
                Change::UseNonce { network, transaction } if !self.is_owned(network, transaction) => {
                    return Some(Refusal::EpochOver);
                }
                Change::Settle { id, .. } | Change::Fail { id, .. } => ended.push(*id),
                _ => {}
            }
        }
        if !conflicts.is_empty() {
            conflicts.sort_unstable();
            conflicts.dedup();
            return Some(Refusal::Claimed(conflicts));
        }
        self.taken.extend(own);
        self.ended.extend(ended);
        None
    }

    /// Returns the settlements of a transaction that have ended.
    fn check_carry(&self, transaction: &Transaction) -> Result<Vec<SettlementId>, Refusal> {
        let ids = || transaction.items.iter().map(|(id, _)| *id);
        let Some(first) = ids().next() else {
            return Err(Refusal::Contradiction("a transaction that carries nothing is stored by its own change"));
        };
        let network = self.networks.get(&first);
        if network.is_none() || ids().any(|id| self.networks.get(&id) != network) {
            return Err(Refusal::Contradiction("a transaction carries settlements of one network that are stored"));
        }
        match network {
            Some(network) if self.is_owned(network, transaction) => {
                Ok(ids().filter(|id| self.ended.contains(id)).collect())
            }
            _ => Err(Refusal::EpochOver),
        }
    }

    fn is_owned(&self, network: &Network, transaction: &Transaction) -> bool {
        let wallet = (network.as_str().to_owned(), transaction.gas_wallet.clone());
        self.epochs.get(&wallet) == Some(&transaction.epoch)
    }
}

/// The statement that finds those of the payments that are claimed already,
/// archived ones too.
pub(super) fn identities(claims: &[&Facts]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new("WITH asked (identity) AS (");
    query.push_values(claims, |mut tuple, facts| {
        tuple.push_bind(facts.identity.as_bytes().to_vec());
    });
    query.push(
        ") SELECT s.identity FROM asked CROSS JOIN settlement s ON s.identity = asked.identity UNION ALL \
         SELECT a.identity FROM asked CROSS JOIN archived_settlement a ON a.identity = asked.identity",
    );
    query
}

fn claim(change: &Change) -> Option<&Facts> {
    if let Change::Claim { facts, .. } = change { Some(facts) } else { None }
}

fn carry(change: &Change) -> Option<&Transaction> {
    if let Change::Carry(transaction) = change { Some(transaction) } else { None }
}

fn names(facts: &Facts) -> Vec<Name> {
    let mut names = vec![Name::Payment(facts.identity)];
    if facts.caller.key.is_some() {
        names.push(Name::Key(facts.caller.clone()));
    }
    names
}
