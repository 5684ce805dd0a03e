//! The leases of gas wallets, in memory.

use async_trait::async_trait;
use chains_core::Network;

use super::MemoryStore;
use crate::store::{Instance, Kept, Lease, Leases, StoreError, memory::tables::Owner};

#[async_trait]
impl Leases for MemoryStore {
    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.read(|tables| {
            let lease = |((network, gas_wallet), owner): (&(Network, String), &Owner)| Lease {
                network: network.clone(),
                gas_wallet: gas_wallet.clone(),
                owner: owner.id.clone(),
                owner_name: owner.name.clone(),
                epoch: owner.epoch,
                beat: owner.beat,
                renewed_at: owner.renewed_at,
            };
            tables.owners.iter().map(lease).collect()
        })
    }

    async fn instances(&self) -> Result<Vec<Instance>, StoreError> {
        let mut instances: Vec<Instance> = self.read(|tables| tables.instances.values().cloned().collect())?;
        instances.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
        Ok(instances)
    }

    async fn take_lease(&self, seen: &Lease, by: &Instance) -> Result<Option<u64>, StoreError> {
        self.write(|tables| {
            let wallet = (seen.network.clone(), seen.gas_wallet.clone());
            let there = tables.owners.get(&wallet).map_or((0, 0), |owner| (owner.epoch, owner.beat));
            if there != (seen.epoch, seen.beat) {
                return None;
            }
            let (id, name, epoch) = (by.id.clone(), by.name.clone(), seen.epoch + 1);
            tables.owners.insert(wallet, Owner { id, name, epoch, beat: 0, renewed_at: by.renewed_at });
            Some(epoch)
        })
    }

    async fn renew_leases(&self, of: &Instance) -> Result<Vec<Kept>, StoreError> {
        self.write(|tables| {
            tables.instances.insert(of.id.clone(), of.clone());
            let own = tables.owners.iter_mut().filter(|(_, owner)| owner.id == of.id);
            let renew = |((network, gas_wallet), owner): (&(Network, String), &mut Owner)| {
                (owner.beat, owner.renewed_at) = (owner.beat + 1, of.renewed_at);
                Kept { network: network.clone(), gas_wallet: gas_wallet.clone(), epoch: owner.epoch }
            };
            own.map(renew).collect()
        })
    }

    async fn release_lease(&self, network: &Network, gas_wallet: &str, owner: &str) -> Result<bool, StoreError> {
        self.write(|tables| match tables.owners.get_mut(&(network.clone(), gas_wallet.to_owned())) {
            Some(there) if there.id == owner => {
                there.id.clear();
                true
            }
            Some(_) | None => false,
        })
    }

    async fn forget_instance(&self, id: &str) -> Result<(), StoreError> {
        self.write(|tables| drop(tables.instances.remove(id)))
    }
}
