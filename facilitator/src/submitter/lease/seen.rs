//! The leases and instances as they were seen, and for how long each has stood
//! still, on the own clock that never jumps.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{
    decide::{self, Held, LEASE},
    desk::{DUTY, Me, Wallet},
};
use crate::store::{Instance, Lease};

/// The time after which an instance that stands still is forgotten.
const FORGET: Duration = Duration::from_mins(10);

/// The newest look.
#[derive(Debug, Default)]
pub struct Seen {
    leases: Vec<(Lease, Instant)>,
    instances: Vec<(Instance, Standstill)>,
}

/// The time since which an instance stands still.
#[derive(Clone, Copy, Debug)]
struct Standstill {
    since: Instant,
    /// True once its beat was seen to change: one whose last beat was never seen
    /// may be gone for long.
    has_moved: bool,
}

impl Seen {
    /// Notes what was read now.
    pub fn note(&mut self, leases: Vec<Lease>, instances: Vec<Instance>, now: Instant) {
        let before: HashMap<Wallet, (u64, u64, bool, Instant)> = std::mem::take(&mut self.leases)
            .into_iter()
            .map(|(lease, since)| {
                let state = (lease.epoch, lease.beat, lease.owner.is_empty(), since);
                ((lease.network, lease.gas_wallet), state)
            })
            .collect();
        self.leases = leases
            .into_iter()
            .map(|lease| {
                let wallet = (lease.network.clone(), lease.gas_wallet.clone());
                let state = (lease.epoch, lease.beat, lease.owner.is_empty());
                let same = before.get(&wallet).filter(|(epoch, beat, free, _)| (*epoch, *beat, *free) == state);
                (lease, same.map_or(now, |(.., since)| *since))
            })
            .collect();
        let before: HashMap<String, (u64, Standstill)> = std::mem::take(&mut self.instances)
            .into_iter()
            .map(|(instance, still)| (instance.id, (instance.beat, still)))
            .collect();
        self.instances = instances
            .into_iter()
            .map(|instance| {
                let still = match before.get(&instance.id) {
                    Some((beat, still)) if *beat == instance.beat => *still,
                    Some(_) => Standstill { since: now, has_moved: true },
                    None => Standstill { since: now, has_moved: false },
                };
                (instance, still)
            })
            .collect();
    }

    /// The instances that are alive, other than this one.
    pub fn others(&self, me: &Me, now: Instant) -> impl Iterator<Item = &Instance> {
        let is_alive = move |still: &Standstill| still.has_moved && now.saturating_duration_since(still.since) < LEASE;
        let alive = self.instances.iter().filter(move |(_, still)| is_alive(still));
        alive.map(|(instance, _)| instance).filter(move |instance| instance.id != me.id)
    }

    /// The instances that have stood still for long.
    pub fn forgotten(&self, me: &Me, now: Instant) -> Vec<String> {
        let is_over = |still: &Standstill| now.saturating_duration_since(still.since) >= FORGET;
        let over = self.instances.iter().filter(|(instance, still)| instance.id != me.id && is_over(still));
        over.map(|(instance, _)| instance.id.clone()).collect()
    }

    /// The older instance of this one's name that is alive.
    pub fn namesake(&self, me: &Me, now: Instant) -> Option<&Instance> {
        let is_older = |other: &Instance| (other.started_at, other.id.as_str()) < (me.started_at, me.id.as_str());
        self.others(me, now).find(|other| me.is_named && other.name == me.name && is_older(other))
    }

    /// The lease of a wallet as it was seen last; one that never was taken has no epoch.
    pub fn lease(&self, (network, gas_wallet): &Wallet) -> Lease {
        let found = self.leases.iter().find(|(lease, _)| lease.network == *network && lease.gas_wallet == *gas_wallet);
        found.map_or_else(
            || Lease {
                network: network.clone(),
                gas_wallet: gas_wallet.clone(),
                owner: String::new(),
                owner_name: String::new(),
                epoch: 0,
                beat: 0,
                renewed_at: chains_core::clock::Millis(0),
            },
            |(lease, _)| lease.clone(),
        )
    }

    /// The holder of a wallet, as the rule sees it.
    pub fn held(&self, wallet: &Wallet, me: &Me, now: Instant) -> Held {
        let (network, gas_wallet) = wallet;
        let found = self.leases.iter().find(|(lease, _)| lease.network == *network && lease.gas_wallet == *gas_wallet);
        let Some((lease, since)) = found else { return Held::Nobody(Duration::ZERO) };
        let idle = now.saturating_duration_since(*since);
        if lease.owner == me.id {
            Held::Here
        } else if lease.owner.is_empty() {
            Held::Nobody(idle)
        } else if self.was_before(lease, me) {
            Held::Before
        } else {
            Held::Elsewhere(idle)
        }
    }

    /// Returns true when a lease's owner is an earlier process of this instance,
    /// and nothing says that it lives.
    fn was_before(&self, lease: &Lease, me: &Me) -> bool {
        let owner = self.instances.iter().find(|(instance, _)| instance.id == lease.owner);
        let may_be_gone = owner.is_none_or(|(owner, still)| !still.has_moved && owner.started_at <= me.started_at);
        me.is_named && lease.owner_name == me.name && may_be_gone
    }

    /// The name of a wallet's owner, while that is another instance which is alive.
    pub fn owner_elsewhere(&self, wallet: &Wallet, me: &Me, now: Instant) -> Option<String> {
        match self.held(wallet, me, now) {
            Held::Elsewhere(idle) if idle < LEASE => Some(self.lease(wallet).owner_name),
            Held::Here | Held::Nobody(_) | Held::Elsewhere(_) | Held::Before => None,
        }
    }

    /// The fewest wallets that another instance has which serves a network; `None`
    /// when none does.
    pub fn fewest_elsewhere(&self, network: &chains_core::Network, me: &Me, now: Instant) -> Option<usize> {
        let serving = self.others(me, now).filter(|other| other.networks.contains(network));
        let wallets = |owner: &Instance| {
            let own = self.leases.iter().filter(|(lease, _)| lease.network == *network && lease.gas_wallet != DUTY);
            own.filter(|(lease, _)| lease.owner == owner.id).count()
        };
        serving.map(wallets).min()
    }

    /// The name of another instance that is alive and serves a network: it takes what is given up.
    pub fn heir(&self, network: &chains_core::Network, me: &Me, now: Instant) -> Option<String> {
        let mut serving = self.others(me, now).filter(|other| other.networks.contains(network));
        serving.next().map(|other| other.name.clone())
    }

    /// The lease of a wallet as the rule sees it.
    pub fn judged(&self, wallet: &Wallet, wanted: bool, me: &Me, now: Instant) -> decide::Lease {
        decide::Lease { held: self.held(wallet, me, now), wanted, is_duty: wallet.1 == DUTY }
    }
}
