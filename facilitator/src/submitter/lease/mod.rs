//! Ownership by leases: several instances on one database share its gas wallets.
//!
//! Each instance has one keeper, a task that renews the instance's leases, looks at
//! everybody's, and takes and gives up wallets by a pure rule ([`decide`]). Safety
//! does not hang on it: the store refuses whatever comes under an epoch that is over.
//!
//! | module | what it holds |
//! |---|---|
//! | [`decide`] | the rule, and the times |
//! | `desk` | what it shares with those who wait for wallets |
//! | `seen` | what stood still for how long |
//! | `keeper` | the task |

pub mod decide;
mod desk;
mod keeper;
mod seen;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use chains_core::{Network, clock::Clock};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

pub use self::desk::{DUTY, Me};
use self::{desk::Shared, keeper::Keeper};
use super::ownership::{Holding, Ownership, Renewed};
use crate::{
    lifecycle::Lifecycle,
    store::{Fence, Store, StoreError},
};

/// Ownership by leases. Clones are the same instance.
#[derive(Clone)]
pub struct LeaseOwnership(Arc<Shared>);

impl LeaseOwnership {
    /// Begins to keep leases, until the lifecycle stops. When it drains, everything
    /// is given up at once if another instance is there.
    pub fn start(store: Arc<dyn Store>, me: Me, clock: Arc<dyn Clock>, lifecycle: &Lifecycle) -> Self {
        let desks = Mutex::new(BTreeMap::new());
        let shared = Arc::new(Shared {
            store,
            me,
            clock,
            renewed: Renewed::now(),
            desks,
            asked: Notify::new(),
            others: AtomicU32::new(0),
        });
        let keeper = Keeper::new(Arc::clone(&shared), lifecycle.clone());
        lifecycle.supervise("keeper of the leases", keeper.run());
        Self(shared)
    }
}

#[async_trait]
impl Ownership for LeaseOwnership {
    async fn acquire(&self, network: &Network, gas_wallet: &str) -> Result<Holding, StoreError> {
        let (asks, asked) = oneshot::channel();
        self.0.desks.lock().entry((network.clone(), gas_wallet.to_owned())).or_default().asks = Some(asks);
        self.0.asked.notify_one();
        asked.await.map_err(|_| StoreError::Closed)
    }

    async fn renew(&self, holding: &Holding) -> Result<bool, StoreError> {
        let Fence { network, gas_wallet, owner, .. } = holding.fence();
        let epoch = self.0.store.raise_epoch(&network, &gas_wallet, &owner).await?;
        if let Some(epoch) = epoch {
            holding.raise(epoch);
        }
        Ok(epoch.is_some())
    }

    async fn release(&self, holding: &Holding) {
        let Fence { network, gas_wallet, owner, .. } = holding.fence();
        let released = self.0.store.release_lease(&network, &gas_wallet, &owner).await;
        // Not before: the keeper gives back what nobody holds.
        if let Some(desk) = self.0.desks.lock().get_mut(&(network.clone(), gas_wallet.clone())) {
            desk.holding = None;
        }
        match released {
            Ok(true) => tracing::info!(%network, wallet = gas_wallet, "given back: another instance may take it"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%network, wallet = gas_wallet, %error, "it could not be given back yet"),
        }
    }

    fn owner_elsewhere(&self, network: &Network, gas_wallet: &str) -> Option<String> {
        self.0.desks.lock().get(&(network.clone(), gas_wallet.to_owned()))?.elsewhere.clone()
    }

    fn instance(&self) -> Option<&str> {
        Some(&self.0.me.id)
    }

    fn instances(&self) -> u32 {
        self.0.others.load(Ordering::Relaxed).saturating_add(1)
    }
}
