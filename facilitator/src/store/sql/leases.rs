//! The leases of gas wallets, in tables.

use async_trait::async_trait;
use chains_core::Network;

use super::{SqlStore, row::Reader, statement::Statement, write::LeaseCall, writer::Request};
use crate::store::{Instance, Kept, Lease, Leases, StoreError};

impl SqlStore {
    async fn change_leases(&self, call: LeaseCall) -> Result<Vec<Kept>, StoreError> {
        self.ask(|answer| Request::Lease { call, answer }).await
    }
}

#[async_trait]
impl Leases for SqlStore {
    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        let sql = "SELECT o.network, o.gas_wallet, o.owner, o.owner_name, o.epoch, o.beat, o.renewed_at \
             FROM wallet_owner o ORDER BY o.network, o.gas_wallet";
        let rows = self.readers.all(Statement::new(self.readers.dialect(), sql)).await?;
        let lease = |row| {
            let row = Reader::new(row, "wallet_owner", "gas_wallet");
            Ok(Lease {
                network: row.parsed("network")?,
                gas_wallet: row.text("gas_wallet")?,
                owner: row.text("owner")?,
                owner_name: row.text("owner_name")?,
                epoch: row.number("epoch")?,
                beat: row.number("beat")?,
                renewed_at: row.time("renewed_at")?,
            })
        };
        rows.iter().map(lease).collect()
    }

    async fn instances(&self) -> Result<Vec<Instance>, StoreError> {
        let sql = "SELECT n.id, n.name, n.version, n.networks, n.beat, n.started_at, n.renewed_at FROM instance n \
             ORDER BY n.started_at, n.id";
        let rows = self.readers.all(Statement::new(self.readers.dialect(), sql)).await?;
        let instance = |row| {
            let row = Reader::new(row, "instance", "id");
            let networks = row.text("networks")?;
            let networks =
                networks.split_whitespace().map(|network| network.parse().map_err(|_| row.wrong("networks")));
            Ok(Instance {
                id: row.text("id")?,
                name: row.text("name")?,
                version: row.text("version")?,
                networks: networks.collect::<Result<_, _>>()?,
                beat: row.number("beat")?,
                started_at: row.time("started_at")?,
                renewed_at: row.time("renewed_at")?,
            })
        };
        rows.iter().map(instance).collect()
    }

    async fn take_lease(&self, seen: &Lease, by: &Instance) -> Result<Option<u64>, StoreError> {
        let taken = self.change_leases(LeaseCall::Take { seen: seen.clone(), by: by.clone() }).await?;
        Ok(taken.first().map(|kept| kept.epoch))
    }

    async fn renew_leases(&self, of: &Instance) -> Result<Vec<Kept>, StoreError> {
        self.change_leases(LeaseCall::Renew { of: of.clone() }).await
    }

    async fn release_lease(&self, network: &Network, gas_wallet: &str, owner: &str) -> Result<bool, StoreError> {
        let (network, gas_wallet) = (network.as_str().to_owned(), gas_wallet.to_owned());
        let call = LeaseCall::Release { network, gas_wallet, owner: owner.to_owned() };
        Ok(!self.change_leases(call).await?.is_empty())
    }

    async fn forget_instance(&self, id: &str) -> Result<(), StoreError> {
        self.change_leases(LeaseCall::Forget { id: id.to_owned() }).await.map(|_| ())
    }
}
