//! The payments that instances hand over to each other, in memory.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use chains_core::{Identity, Network};

use super::{MemoryStore, tables::Tables};
use crate::{
    settlement::{Facts, SettlementId},
    store::{HandOvers, HandedOver, StoreError, Waiting},
};

/// A payment that is handed over.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub payment: HandedOver,
    /// The time until which its caller waits.
    pub until: Instant,
    /// The owner of gas wallets that has it in its queue.
    pub taken_by: Option<String>,
}

impl Tables {
    /// A payment that is handed over and waited for.
    pub fn handed_over(&self, identity: &Identity) -> Option<&Offer> {
        let mut offers = self.handed_over.values().filter(|offer| offer.until > Instant::now());
        offers.find(|offer| offer.payment.facts.identity == *identity)
    }

    fn owns(&self, network: &Network, wallet: Option<&str>, owner: &str) -> bool {
        self.owners.iter().any(|((of, name), there)| {
            of == network && there.id == owner && !name.is_empty() && wallet.is_none_or(|wallet| wallet == name)
        })
    }

    fn may_take(&self, offer: &Offer, network: &Network, owner: &str) -> bool {
        let wallet = offer.payment.plan.gas_wallet.as_deref();
        let is_free = offer.taken_by.as_ref().is_none_or(|taker| !self.owns(network, None, taker));
        offer.payment.facts.network == *network
            && offer.until > Instant::now()
            && wallet.is_none_or(|wallet| self.owns(network, Some(wallet), owner))
            && is_free
    }

    fn takeable(&self, network: &Network, owner: &str) -> Vec<SettlementId> {
        let offers = self.handed_over.iter().filter(|(_, offer)| self.may_take(offer, network, owner));
        offers.map(|(id, _)| *id).collect()
    }
}

#[async_trait]
impl HandOvers for MemoryStore {
    async fn hand_over(&self, payment: HandedOver, instance: &str) -> Result<bool, StoreError> {
        self.write_or_fail(|tables| {
            let identity = payment.facts.identity;
            let is_known = tables.handed_over(&identity).is_some() || tables.by_identity(&identity).is_some();
            if !tables.instances.contains_key(instance) || is_known {
                return false;
            }
            tables.handed_over.retain(|_, offer| offer.payment.facts.identity != identity);
            let until = Instant::now() + payment.wait;
            tables.handed_over.insert(payment.facts.id, Offer { payment, until, taken_by: None });
            true
        })
    }

    async fn take_handed_over(
        &self,
        network: &Network,
        owner: &str,
        limit: u32,
    ) -> Result<Vec<HandedOver>, StoreError> {
        self.write_or_fail(|tables| {
            let now = Instant::now();
            tables.handed_over.retain(|_, offer| offer.until > now);
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let mut taken = vec![];
            for id in tables.takeable(network, owner).into_iter().take(limit) {
                if let Some(offer) = tables.handed_over.get_mut(&id) {
                    offer.taken_by = Some(owner.to_owned());
                    taken.push(HandedOver { wait: offer.until.duration_since(now), ..offer.payment.clone() });
                }
            }
            taken
        })
    }

    async fn may_take_handed_over(&self, network: &Network, owner: &str) -> Result<bool, StoreError> {
        self.read(|tables| !tables.takeable(network, owner).is_empty())
    }

    async fn let_go(&self, id: Option<SettlementId>, owner: &str) -> Result<(), StoreError> {
        self.write_or_fail(|tables| {
            let his = tables.handed_over.iter_mut().filter(|(_, offer)| offer.taken_by.as_deref() == Some(owner));
            for (_, offer) in his.filter(|(there, _)| id.is_none_or(|id| id == **there)) {
                offer.taken_by = None;
            }
        })
    }

    async fn withdraw(&self, id: SettlementId, _: &str) -> Result<bool, StoreError> {
        self.write_or_fail(|tables| tables.handed_over.remove(&id).is_some())
    }

    async fn handed_over(&self, identity: &Identity) -> Result<Option<Arc<Facts>>, StoreError> {
        self.read(|tables| tables.handed_over(identity).map(|offer| Arc::clone(&offer.payment.facts)))
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        self.read(|tables| {
            let mut waiting: Vec<Waiting> = vec![];
            for (id, offer) in tables.handed_over.iter().filter(|(_, offer)| offer.until > Instant::now()) {
                let (network, gas_wallet) =
                    (offer.payment.facts.network.clone(), offer.payment.plan.gas_wallet.clone());
                match waiting.iter_mut().find(|one| one.network == network && one.gas_wallet == gas_wallet) {
                    Some(there) => there.count += 1,
                    None => waiting.push(Waiting { network, gas_wallet, count: 1, oldest: *id }),
                }
            }
            waiting
        })
    }
}
