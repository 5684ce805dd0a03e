//! The task that keeps the leases of an instance.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chains_core::Network;
use tokio::time::{Instant, MissedTickBehavior};

use super::{
    decide::{self, Act, GIVE_UP_EVERY, LOOK_EVERY, RENEW_EVERY, Standing},
    desk::{DUTY, Shared, Wallet},
    seen::Seen,
};
use crate::{
    lifecycle::Lifecycle,
    metrics,
    store::{Fence, Instance, StoreError},
    submitter::ownership::Holding,
};

/// The part of a turn that renews the leases.
enum Renewal {
    /// They are renewed.
    Made,
    /// It was not time for it.
    NotDue,
}

/// The state of the task.
pub struct Keeper {
    shared: Arc<Shared>,
    lifecycle: Lifecycle,
    seen: Seen,
    beat: u64,
    /// The moment at which the last renewal began, good or not.
    renewed: Option<Instant>,
    /// The moment at which a wallet was last given up, and the time until the next may be.
    gave_up: Option<Instant>,
    give_up_every: Duration,
    /// The last error: told once.
    trouble: Option<String>,
}

impl Keeper {
    pub fn new(shared: Arc<Shared>, lifecycle: Lifecycle) -> Self {
        Self {
            shared,
            lifecycle,
            seen: Seen::default(),
            beat: 0,
            renewed: None,
            gave_up: None,
            give_up_every: GIVE_UP_EVERY.0,
            trouble: None,
        }
    }

    /// Keeps the leases until the service stops; then says good-bye.
    pub async fn run(mut self) {
        let (stop, drain) = (self.lifecycle.stop.clone(), self.lifecycle.drain.clone());
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let leaving = drain.is_cancelled();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = drain.cancelled(), if !leaving => self.renewed = None,
                () = self.shared.asked.notified() => {}
                _ = ticks.tick() => {}
            }
            let turn = stop.run_until_cancelled(self.turn()).await;
            if let Some(Err(error @ StoreError::OtherHistory)) = &turn {
                // Nothing that it knows is to be relied on; whoever keeps it running starts it again.
                self.lifecycle.refuse(error.to_string());
            }
            match turn {
                Some(Ok(Renewal::Made)) => self.tell(None),
                Some(Err(error)) => self.tell(Some(&error)),
                Some(Ok(Renewal::NotDue)) | None => {}
            }
        }
        if let Err(error) = self.shared.store.forget_instance(&self.shared.me.id).await {
            tracing::debug!(%error, "the others find out by themselves that this instance is gone");
        }
    }

    /// Says that leases cannot be kept, and when they are renewed again: once each.
    fn tell(&mut self, trouble: Option<&StoreError>) {
        let trouble = trouble.map(ToString::to_string);
        match (&self.trouble, &trouble) {
            (None, Some(error)) => {
                tracing::error!(
                    error,
                    "the gas wallets' leases cannot be renewed; without a renewal nothing new is begun"
                );
            }
            (Some(_), None) => tracing::info!("the gas wallets' leases are renewed again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        self.trouble = trouble;
    }

    async fn turn(&mut self) -> Result<Renewal, StoreError> {
        let is_due = self.renewed.is_none_or(|renewed| renewed.elapsed() >= RENEW_EVERY);
        if is_due {
            self.renew().await?;
        }
        self.look().await?;
        if let Some(other) = self.seen.namesake(&self.shared.me, Instant::now()) {
            let why = format!(
                "another instance runs under the name {:?} (instance.name): each needs a name of its own. This one is \
                 the younger, and ends",
                other.name
            );
            // From here on it leaves, and gives everything up.
            self.lifecycle.refuse(why);
        }
        for (network, wallets) in self.by_network() {
            self.act(&network, &wallets).await?;
        }
        self.tell_whereabouts();
        Ok(if is_due { Renewal::Made } else { Renewal::NotDue })
    }

    /// This instance as it tells the others of itself.
    fn instance(&self) -> Instance {
        let me = &self.shared.me;
        let leaving = self.lifecycle.drain.is_cancelled();
        let desks = self.shared.desks.lock();
        let open = desks.iter().filter(|(_, desk)| !leaving && (desk.is_wanted() || desk.holding.is_some()));
        let networks: BTreeSet<&Network> = open.map(|((network, _), _)| network).collect();
        Instance {
            id: me.id.clone(),
            name: me.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            networks: networks.into_iter().cloned().collect(),
            beat: self.beat,
            started_at: me.started_at,
            renewed_at: self.shared.clock.now(),
        }
    }

    /// Renews every lease; one that is missing afterwards is another's, and one
    /// that nobody here holds is given back.
    async fn renew(&mut self) -> Result<(), StoreError> {
        let began = Instant::now();
        self.renewed = Some(began);
        self.beat += 1;
        let kept = self.shared.store.renew_leases(&self.instance()).await?;
        self.shared.renewed.note(began);
        let kept: BTreeSet<Wallet> = kept.into_iter().map(|kept| (kept.network, kept.gas_wallet)).collect();
        let held = self.held();
        for (wallet, holding) in &held {
            if !kept.contains(wallet) && !holding.over().is_cancelled() {
                let ((network, wallet), epoch) = (wallet, holding.fence().epoch);
                tracing::error!(%network, wallet, epoch, "another instance has this gas wallet: it took this one for gone");
                metrics::lease_lost(network);
                holding.over().cancel();
            }
        }
        for (network, gas_wallet) in kept.iter().filter(|wallet| !held.contains_key(wallet)) {
            self.shared.store.release_lease(network, gas_wallet, &self.shared.me.id).await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let (leases, instances) = (self.shared.store.leases().await?, self.shared.store.instances().await?);
        let now = Instant::now();
        self.seen.note(leases, instances, now);
        let others = u32::try_from(self.seen.others(&self.shared.me, now).count()).unwrap_or(u32::MAX);
        self.shared.others.store(others, Ordering::Relaxed);
        for id in self.seen.forgotten(&self.shared.me, now) {
            self.shared.store.forget_instance(&id).await?;
        }
        Ok(())
    }

    fn held(&self) -> BTreeMap<Wallet, Holding> {
        let desks = self.shared.desks.lock();
        desks.iter().filter_map(|(wallet, desk)| Some((wallet.clone(), desk.holding.clone()?))).collect()
    }

    /// The wallets that were ever asked for, each with whether it is waited for.
    fn by_network(&self) -> BTreeMap<Network, Vec<(Wallet, bool)>> {
        let mut by_network: BTreeMap<Network, Vec<(Wallet, bool)>> = BTreeMap::new();
        for (wallet, desk) in self.shared.desks.lock().iter() {
            by_network.entry(wallet.0.clone()).or_default().push((wallet.clone(), desk.is_wanted()));
        }
        by_network
    }

    async fn act(&mut self, network: &Network, wallets: &[(Wallet, bool)]) -> Result<(), StoreError> {
        let (me, now) = (&self.shared.me, Instant::now());
        let leases: Vec<_> =
            wallets.iter().map(|(wallet, wanted)| self.seen.judged(wallet, *wanted, me, now)).collect();
        let standing = Standing {
            fewest_elsewhere: self.seen.fewest_elsewhere(network, me, now),
            is_leaving: self.lifecycle.drain.is_cancelled(),
            may_give_up: self.gave_up.is_none_or(|gave_up| gave_up.elapsed() >= self.give_up_every),
        };
        for ((wallet, _), act) in wallets.iter().zip(decide::decide(&leases, standing)) {
            match act {
                None => {}
                Some(Act::Take { out_of_turn }) => self.take(wallet, out_of_turn).await?,
                Some(Act::GiveUp) => self.give_up(wallet, standing.is_leaving),
            }
        }
        Ok(())
    }

    async fn take(&mut self, wallet: &Wallet, out_of_turn: bool) -> Result<(), StoreError> {
        let (seen, me) = (self.seen.lease(wallet), self.instance());
        let Some(epoch) = self.shared.store.take_lease(&seen, &me).await? else { return Ok(()) };
        if out_of_turn {
            // Whoever has fewer does not take what is given up.
            self.give_up_every = self.give_up_every.saturating_mul(2).min(GIVE_UP_EVERY.1);
        }
        let (network, gas_wallet) = wallet.clone();
        tracing::info!(%network, wallet = gas_wallet, epoch, before = seen.owner_name, "taken: this instance has the gas wallet");
        metrics::lease_taken(&network);
        let fence = Fence { network, gas_wallet, owner: me.id, epoch };
        let holding = Holding::new(fence, Some(self.shared.renewed.clone()));
        let mut desks = self.shared.desks.lock();
        let desk = desks.entry(wallet.clone()).or_default();
        desk.elsewhere = None;
        // Where nobody waits any more, the next renewal gives it back.
        if desk.asks.take().is_some_and(|asks| asks.send(holding.clone()).is_ok()) {
            desk.holding = Some(holding);
        }
        Ok(())
    }

    /// Has the worker end; whoever waits for that gives the wallet back.
    fn give_up(&mut self, (network, gas_wallet): &Wallet, is_leaving: bool) {
        let mut desks = self.shared.desks.lock();
        let Some(desk) = desks.get_mut(&(network.clone(), gas_wallet.clone())) else { return };
        let holding = desk.holding.clone().filter(|holding| !holding.over().is_cancelled());
        let Some(holding) = holding else { return };
        if gas_wallet != DUTY && !is_leaving {
            tracing::info!(%network, wallet = gas_wallet, "given up: another instance has fewer gas wallets");
            self.gave_up = Some(Instant::now());
        }
        // Known before the worker hears of it: what waits for the wallet is handed over.
        desk.elsewhere = is_leaving.then(|| self.seen.heir(network, &self.shared.me, Instant::now())).flatten();
        holding.over().cancel();
    }

    fn tell_whereabouts(&self) {
        let (me, now, is_leaving) = (&self.shared.me, Instant::now(), self.lifecycle.drain.is_cancelled());
        for (wallet, desk) in self.shared.desks.lock().iter_mut() {
            let is_here = desk.holding.as_ref().is_some_and(|holding| !is_leaving || !holding.over().is_cancelled());
            let owner = || self.seen.owner_elsewhere(wallet, me, now);
            let heir = || is_leaving.then(|| self.seen.heir(&wallet.0, me, now)).flatten();
            desk.elsewhere = if is_here { None } else { owner().or_else(heir) };
        }
    }
}
