//! The calls of a group that are refused, found before anything is written.

use std::collections::{BTreeSet, HashMap, HashSet};

use chains_core::{Identity, Network};

use super::{
    database::Session,
    group::Call,
    joint::Rows,
    row::int,
    statement::{Dialect, Statement},
    write::ROWS_MAX,
};
use crate::{
    settlement::{Caller, Facts, Key, SettlementId, StepNumber, Transaction},
    store::{Change, Fence, StoreError},
};

/// The reason why a call is not stored.
#[derive(Debug)]
pub(super) enum Refusal {
    /// These payments or keys are taken, or these settlements have ended.
    Claimed(Vec<SettlementId>),
    /// The call's wallet, or that of a transaction, belongs to another owner or epoch.
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

/// The owner and the epoch of a wallet, by its network and its name.
type Owners<O> = HashMap<(String, String), (O, u64)>;

/// The parts of the store that decide whether a group's calls are written.
#[derive(Default)]
pub(super) struct Known {
    taken: HashSet<Name>,
    /// The owner of each wallet, and its epoch.
    owners: Owners<String>,
    ended: HashSet<SettlementId>,
    /// The payments that are handed over.
    handed_over: HashSet<SettlementId>,
    /// The networks of the settlements that the group's transactions carry.
    pub networks: HashMap<SettlementId, Network>,
}

impl Known {
    /// Takes for granted that nothing is in the way of these calls, and lets the
    /// commit fail in PostgreSQL if something is. `None` where something has to
    /// be looked up in any case, as in SQLite.
    pub async fn expect(session: &mut Session<'_>, calls: &[Call<'_>]) -> Result<Option<Self>, StoreError> {
        if session.dialect() == Dialect::Sqlite {
            return Ok(None);
        }
        let changes = || calls.iter().flat_map(|call| call.changes);
        let mut known = Self::default();
        known.networks.extend(changes().filter_map(claim).map(|facts| (facts.id, facts.network.clone())));
        known.handed_over.extend(changes().filter_map(received));
        let Some(owners) = expected_owners(calls, &known.networks) else { return Ok(None) };
        if !owners.is_empty() {
            session.expect(Rows::default(), owned(session.dialect(), &owners), owners.len()).await?;
        }
        let owners = owners.into_iter().map(|(wallet, (owner, epoch))| (wallet, (owner.unwrap_or_default(), epoch)));
        known.owners.extend(owners);
        Ok(Some(known))
    }

    /// Looks up everything that the calls depend on. The owners of wallets
    /// come first, and stay who they are until the commit.
    pub async fn look_up(session: &mut Session<'_>, calls: &[Call<'_>]) -> Result<Self, StoreError> {
        let mut known = Self::default();
        let changes = || calls.iter().flat_map(|call| call.changes);
        let fences = calls.iter().filter_map(|call| call.fence);
        let wallets: BTreeSet<_> =
            changes().filter_map(wallet).chain(fences.map(|fence| fence.gas_wallet.as_str())).collect();
        if !wallets.is_empty() {
            known.look_up_owners(session, &wallets).await?;
        }
        let received: Vec<_> = changes().filter_map(received).collect();
        for ids in received.chunks(ROWS_MAX) {
            known.look_up_handed_over(session, ids).await?;
        }
        let claims: Vec<_> = changes().filter_map(claim).collect();
        for rows in claims.chunks(ROWS_MAX) {
            known.look_up_identities(session, rows).await?;
            known.look_up_keys(session, rows).await?;
        }
        known.networks.extend(claims.iter().map(|facts| (facts.id, facts.network.clone())));
        let carried: HashSet<_> = changes().filter_map(carry).flat_map(|t| &t.items).map(|(id, _)| *id).collect();
        let stored: Vec<_> = carried.into_iter().filter(|id| !known.networks.contains_key(id)).collect();
        for ids in stored.chunks(ROWS_MAX) {
            known.look_up_settlements(session, ids).await?;
        }
        Ok(known)
    }

    async fn look_up_identities(&mut self, session: &mut Session<'_>, claims: &[&Facts]) -> Result<(), StoreError> {
        for row in session.all(identities(session.dialect(), claims)).await? {
            if let Ok(bytes) = row.get::<&[u8], _>(0)?.try_into() {
                self.taken.insert(Name::Payment(Identity::from_bytes(bytes)));
            }
        }
        Ok(())
    }

    async fn look_up_keys(&mut self, session: &mut Session<'_>, claims: &[&Facts]) -> Result<(), StoreError> {
        let keyed: Vec<_> = claims.iter().filter(|facts| facts.caller.key.is_some()).collect();
        if keyed.is_empty() {
            return Ok(());
        }
        // A join, as the database would read the whole index for pairs in a list.
        let mut query = Statement::new(session.dialect(), "WITH ");
        let keys = keyed
            .iter()
            .map(|facts| [facts.caller.tenant.as_str().into(), facts.caller.key.as_ref().map(Key::stored).into()]);
        query.table("asked", ["tenant", "idempotency_key"], keys);
        query.push(" SELECT s.tenant, s.idempotency_key FROM asked ").push(session.dialect().join());
        query.push(
            " settlement s ON s.tenant = asked.tenant AND s.idempotency_key = asked.idempotency_key \
             WHERE s.idempotency_key IS NOT NULL",
        );
        for row in session.all(query).await? {
            let key = row.get::<Option<_>, _>(1)?.map(Key::from_stored);
            self.taken.insert(Name::Key(Caller { tenant: row.get(0)?, key }));
        }
        Ok(())
    }

    async fn look_up_settlements(&mut self, session: &mut Session<'_>, ids: &[SettlementId]) -> Result<(), StoreError> {
        let mut query = Statement::new(
            session.dialect(),
            "SELECT s.id, s.network, s.state IN ('settled', 'failed') FROM settlement s WHERE s.id",
        );
        query.is_one_of(ids.iter().map(|id| id.0)).push(" ORDER BY s.id").push(session.dialect().lock_rows());
        for row in session.all(query).await? {
            let Ok(network) = row.get::<&str, _>(1)?.parse() else { continue };
            let id = SettlementId(row.get(0)?);
            self.networks.insert(id, network);
            if row.get(2)? {
                self.ended.insert(id);
            }
        }
        Ok(())
    }

    async fn look_up_handed_over(&mut self, session: &mut Session<'_>, ids: &[SettlementId]) -> Result<(), StoreError> {
        let mut query = Statement::new(session.dialect(), "SELECT h.id FROM handed_over h WHERE h.id");
        query.is_one_of(ids.iter().map(|id| id.0)).push(" ORDER BY h.id").push(session.dialect().lock_rows());
        for row in session.all(query).await? {
            self.handed_over.insert(SettlementId(row.get(0)?));
        }
        Ok(())
    }

    async fn look_up_owners(&mut self, session: &mut Session<'_>, wallets: &BTreeSet<&str>) -> Result<(), StoreError> {
        // A name may be a wallet's on several networks: a few rows more.
        let mut query = Statement::new(session.dialect(), "WITH ");
        query.table("asked", ["gas_wallet"], wallets.iter().map(|wallet| [(*wallet).into()]));
        query.push(
            " SELECT o.network, o.gas_wallet, o.owner, o.epoch FROM wallet_owner o \
             WHERE o.gas_wallet IN (SELECT asked.gas_wallet FROM asked)",
        );
        query.push(" ORDER BY o.network, o.gas_wallet").push(session.dialect().share_rows());
        for row in session.all(query).await? {
            if let Ok(epoch) = u64::try_from(row.get::<i64, _>(3)?) {
                self.owners.insert((row.get(0)?, row.get(1)?), (row.get(2)?, epoch));
            }
        }
        Ok(())
    }

    /// Returns for each call why it is refused, if it is. Of calls for one
    /// payment the first has it.
    pub fn admit(&mut self, calls: &[Call<'_>]) -> Vec<Option<Refusal>> {
        calls.iter().map(|call| self.admit_one(call)).collect()
    }

    fn admit_one(&mut self, call: &Call<'_>) -> Option<Refusal> {
        if call.fence.is_some_and(|fence| !self.holds(fence)) {
            return Some(Refusal::EpochOver);
        }
        let (mut own, mut conflicts, mut ended) = (HashSet::new(), Vec::new(), Vec::new());
        for change in call.changes {
            match change {
                Change::Receive { id } if !self.handed_over.contains(id) => conflicts.push(*id),
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
        for id in call.changes.iter().filter_map(received) {
            self.handed_over.remove(&id);
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
        self.owners.get(&wallet).is_some_and(|(_, epoch)| *epoch == transaction.epoch)
    }

    /// Returns true when the wallet of a fence is its owner's, under its epoch.
    fn holds(&self, fence: &Fence) -> bool {
        let wallet = (fence.network.as_str().to_owned(), fence.gas_wallet.clone());
        self.owners.get(&wallet).is_some_and(|(owner, epoch)| *owner == fence.owner && *epoch == fence.epoch)
    }
}

/// The owners under whom calls are made, as far as their calls name them. `None`
/// where two calls differ, or the network of a transaction is not known.
fn expected_owners(calls: &[Call<'_>], networks: &HashMap<SettlementId, Network>) -> Option<Owners<Option<String>>> {
    let mut owners = Owners::<Option<String>>::new();
    for fence in calls.iter().filter_map(|call| call.fence) {
        let wallet = (fence.network.as_str().to_owned(), fence.gas_wallet.clone());
        let owner = (Some(fence.owner.clone()), fence.epoch);
        if owners.entry(wallet).or_insert_with(|| owner.clone()) != &owner {
            return None;
        }
    }
    for change in calls.iter().flat_map(|call| call.changes) {
        let (network, transaction) = match change {
            Change::Carry(transaction) => (of_all(&transaction.items, networks)?, transaction),
            Change::UseNonce { network, transaction } => (network, transaction),
            _ => continue,
        };
        let wallet = (network.as_str().to_owned(), transaction.gas_wallet.clone());
        if owners.entry(wallet).or_insert((None, transaction.epoch)).1 != transaction.epoch {
            return None;
        }
    }
    Some(owners)
}

/// The network of the first of these settlements, if that of each is known.
fn of_all<'a>(
    items: &[(SettlementId, StepNumber)],
    networks: &'a HashMap<SettlementId, Network>,
) -> Option<&'a Network> {
    let mut networks = items.iter().map(|(id, _)| networks.get(id));
    networks.try_fold(None, |first, network| Some(first.or(Some(network?)))).flatten()
}

/// The statement that finds those of the owners who are still the owners, and
/// keeps them so until the commit.
fn owned(dialect: Dialect, owners: &Owners<Option<String>>) -> Statement<'_> {
    let mut query = Statement::new(dialect, "WITH ");
    let rows = owners.iter().map(|((network, gas_wallet), (owner, epoch))| {
        [network.as_str().into(), gas_wallet.as_str().into(), owner.as_deref().into(), int(*epoch).into()]
    });
    query.table("asked", ["network", "gas_wallet", "owner", "epoch"], rows);
    query.push(
        " SELECT 1 FROM asked JOIN wallet_owner o ON o.network = asked.network AND o.gas_wallet = asked.gas_wallet \
         AND o.owner = coalesce(asked.owner, o.owner) AND o.epoch = asked.epoch ORDER BY o.network, o.gas_wallet",
    );
    query.push(dialect.share_rows());
    query
}

/// The statement that finds those of the payments that are claimed already,
/// archived ones too.
pub(in crate::store) fn identities<'a>(dialect: Dialect, claims: &[&'a Facts]) -> Statement<'a> {
    let join = dialect.join();
    let mut query = Statement::new(dialect, "WITH ");
    query.table("asked", ["identity"], claims.iter().map(|facts| [facts.identity.as_bytes().as_slice().into()]));
    query.push(&format!(
        " SELECT s.identity FROM asked {join} settlement s ON s.identity = asked.identity UNION ALL \
         SELECT a.identity FROM asked {join} archived_settlement a ON a.identity = asked.identity"
    ));
    query
}

fn claim(change: &Change) -> Option<&Facts> {
    if let Change::Claim { facts, .. } = change { Some(facts) } else { None }
}

fn received(change: &Change) -> Option<SettlementId> {
    if let Change::Receive { id } = change { Some(*id) } else { None }
}

fn carry(change: &Change) -> Option<&Transaction> {
    if let Change::Carry(transaction) = change { Some(transaction) } else { None }
}

/// The gas wallet whose nonce a change takes.
fn wallet(change: &Change) -> Option<&str> {
    match change {
        Change::Carry(transaction) | Change::UseNonce { transaction, .. } => Some(&transaction.gas_wallet),
        _ => None,
    }
}

fn names(facts: &Facts) -> Vec<Name> {
    let mut names = vec![Name::Payment(facts.identity)];
    if facts.caller.key.is_some() {
        names.push(Name::Key(facts.caller.clone()));
    }
    names
}
