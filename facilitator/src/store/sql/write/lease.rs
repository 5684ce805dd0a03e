//! The leases of gas wallets, and the instances that share them.

use chains_core::Network;

use super::StoreError;
use crate::store::{
    Instance, Kept, Lease,
    sql::{
        database::{Row, Session},
        row::{Reader, int},
        statement::Statement,
    },
};

/// A change of leases, or of instances.
#[derive(Debug)]
pub(in crate::store::sql) enum LeaseCall {
    Take { seen: Lease, by: Instance },
    Renew { of: Instance },
    Release { network: String, gas_wallet: String, owner: String },
    Forget { id: String },
}

/// Makes a change; returns the leases that it changed.
pub(super) async fn change(session: &mut Session<'_>, call: &LeaseCall) -> Result<Vec<Kept>, StoreError> {
    match call {
        LeaseCall::Take { seen, by } => take(session, seen, by).await,
        LeaseCall::Renew { of } => {
            announce(session, of).await?;
            renew(session, of).await
        }
        LeaseCall::Release { network, gas_wallet, owner } => {
            let sql = "UPDATE wallet_owner SET owner = '' WHERE network = $1 AND gas_wallet = $2 AND owner = $3 \
                 RETURNING network, gas_wallet, epoch";
            let values = [network.as_str().into(), gas_wallet.as_str().into(), owner.as_str().into()];
            kept(&session.all(Statement::of(session.dialect(), sql, values)).await?)
        }
        LeaseCall::Forget { id } => {
            let sql = "DELETE FROM instance WHERE id = $1";
            session.run(Statement::of(session.dialect(), sql, [id.as_str().into()])).await?;
            Ok(vec![])
        }
    }
}

async fn take(session: &mut Session<'_>, seen: &Lease, by: &Instance) -> Result<Vec<Kept>, StoreError> {
    let sql = "INSERT INTO wallet_owner (network, gas_wallet, owner, owner_name, epoch, beat, taken_at, renewed_at) \
         VALUES ($1, $2, $3, $4, 1, 0, $5, $5) ON CONFLICT (network, gas_wallet) DO UPDATE SET \
         owner = excluded.owner, owner_name = excluded.owner_name, epoch = wallet_owner.epoch + 1, beat = 0, \
         taken_at = excluded.taken_at, renewed_at = excluded.renewed_at \
         WHERE wallet_owner.epoch = $6 AND wallet_owner.beat = $7 RETURNING network, gas_wallet, epoch";
    let values = [
        seen.network.as_str().into(),
        seen.gas_wallet.as_str().into(),
        by.id.as_str().into(),
        by.name.as_str().into(),
        int(by.renewed_at.0).into(),
        int(seen.epoch).into(),
        int(seen.beat).into(),
    ];
    kept(&session.all(Statement::of(session.dialect(), sql, values)).await?)
}

async fn announce(session: &mut Session<'_>, of: &Instance) -> Result<(), StoreError> {
    let sql = "INSERT INTO instance (id, name, version, networks, beat, started_at, renewed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET networks = excluded.networks, \
         beat = excluded.beat, renewed_at = excluded.renewed_at";
    let networks: Vec<_> = of.networks.iter().map(Network::as_str).collect();
    let values = [
        of.id.as_str().into(),
        of.name.as_str().into(),
        of.version.as_str().into(),
        networks.join(" ").into(),
        int(of.beat).into(),
        int(of.started_at.0).into(),
        int(of.renewed_at.0).into(),
    ];
    session.run(Statement::of(session.dialect(), sql, values)).await.map(|_| ())
}

async fn renew(session: &mut Session<'_>, of: &Instance) -> Result<Vec<Kept>, StoreError> {
    let sql = "UPDATE wallet_owner SET beat = beat + 1, renewed_at = $1 WHERE owner = $2 \
         RETURNING network, gas_wallet, epoch";
    let values = [int(of.renewed_at.0).into(), of.id.as_str().into()];
    kept(&session.all(Statement::of(session.dialect(), sql, values)).await?)
}

fn kept(rows: &[Row]) -> Result<Vec<Kept>, StoreError> {
    let rows = rows.iter().map(|row| {
        let reader = Reader::new(row, "wallet_owner", "gas_wallet");
        Ok(Kept {
            network: reader.parsed("network")?,
            gas_wallet: reader.text("gas_wallet")?,
            epoch: reader.number("epoch")?,
        })
    });
    rows.collect()
}
