//! `/supported` and `/ready`: what can be paid with here, now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use chains_core::{
    Network,
    chain::Chain,
    protocol::{Supported, supported},
};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Payments, identifier};
use crate::{
    logging::reminders::Reminders,
    metrics,
    store::StoreError,
    submitter::{Submitter, status::Condition},
};

/// The readiness of the service, part by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// True when the store and every network are ready; Redis need not be.
    pub ready: bool,
    /// One line for the store, for each network, and for Redis where it is configured.
    pub lines: Vec<ReadinessLine>,
}

/// One part of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessLine {
    /// `store`, a network, `redis`, or `paused`.
    pub subject: String,
    /// True when it is ready.
    pub ready: bool,
    /// `ok`, what an operator should know all the same, or what is wrong.
    pub detail: String,
    /// The same for anybody: nodes by their place in `rpc`, not by their hosts.
    pub told: String,
}

/// The kinds of payment that can be told now.
#[derive(Clone, Debug)]
pub enum SupportedNow {
    /// Nothing yet: a network is still being opened, for the first time.
    Opening,
    /// Nothing: no gas wallet of any network can pay at present.
    Nothing,
    /// Those of every network.
    All(Arc<Supported>),
    /// Those of some networks: another has not opened for so long that it is not
    /// waited for, or none of its gas wallets can pay. This changes when it opens,
    /// or is filled up.
    Some(Arc<Supported>),
}

impl Payments {
    /// The kinds of payment that are settled here. Servers ask once and keep
    /// the list for their lifetime: so it is not told while a network that has
    /// never opened is tried for less than [`Waits::supported`](super::Waits::supported), and a network
    /// that has opened stays on it while it is closed for a moment; one without
    /// gas money does not, and the rest is told as what it is for now. A network
    /// that does not come up for longer is left out, so that it keeps nobody from
    /// the others.
    /// Of several gas wallets each answer announces the next, so that payments
    /// that are bound to a wallet spread over them.
    pub fn supported(&self) -> SupportedNow {
        let opened: Vec<_> = self.networks.values().filter(|submitter| self.probe.has_opened(submitter)).collect();
        let whole = opened.len() == self.networks.len();
        if !whole && (opened.is_empty() || self.probe.started.elapsed() < self.waits.supported) {
            return SupportedNow::Opening;
        }
        let (list, all_can_pay) = self.list(&opened);
        if list.kinds.is_empty() {
            return SupportedNow::Nothing;
        }
        let list = Arc::new(list);
        if whole && all_can_pay { SupportedNow::All(list) } else { SupportedNow::Some(list) }
    }

    /// The kinds of these networks, and whether a gas wallet of each can pay.
    fn list(&self, opened: &[&Arc<Submitter>]) -> (Supported, bool) {
        let turn = self.supported_turn.fetch_add(1, Ordering::Relaxed);
        let mut kinds = Vec::new();
        let mut extensions = BTreeSet::from([identifier::NAME]);
        let mut signers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut all_can_pay = true;
        for submitter in opened {
            let chain = submitter.chain();
            let closed = submitter.condition() != Condition::Open;
            let first = chain.gas_wallets().first().map(String::as_str).filter(|_| closed);
            let Some(gas_wallet) = submitter.announced(turn).or(first) else {
                all_can_pay = false;
                continue;
            };
            extensions.extend(chain.extensions());
            kinds.extend(supported::kinds(chain.network(), chain.legacy_name(), &chain.offers(gas_wallet)));
            let family = signers.entry(format!("{}:*", chain.network().namespace())).or_default();
            for wallet in chain.gas_wallets() {
                if !family.contains(wallet) {
                    family.push(wallet.clone());
                }
            }
        }
        (Supported { kinds, extensions: extensions.into_iter().map(str::to_owned).collect(), signers }, all_can_pay)
    }

    /// The chains that are configured.
    pub fn chains(&self) -> impl Iterator<Item = &Arc<dyn Chain>> {
        self.networks.values().map(|submitter| submitter.chain())
    }

    /// The networks that are configured, for people.
    pub fn networks(&self) -> Vec<String> {
        self.networks.keys().map(ToString::to_string).collect()
    }

    /// Returns the newest look at every part. Asking costs nothing: parts are
    /// looked at by [`Payments::keep_looking`], however many ask. Who asks
    /// after a long time waits for the next look, for a moment at most.
    pub async fn readiness(&self) -> Arc<Readiness> {
        if self.probe.ask() {
            let looked = self.probe.looked.notified();
            self.probe.wanted.notify_one();
            drop(tokio::time::timeout(LOOK_EVERY, looked).await);
        }
        let seen = self.probe.seen.read().clone();
        match seen {
            Some(seen) => seen,
            None => self.look().await,
        }
    }

    /// Writes the gauges of every part. Called before metrics are read.
    pub fn measure(&self) {
        for submitter in self.networks.values() {
            submitter.measure();
        }
        let seen = self.probe.seen.read().clone();
        for line in seen.iter().flat_map(|seen| &seen.lines) {
            metrics::ready(&line.subject, line.ready);
        }
    }

    /// Looks at every part until `stop`: often while somebody asks or something
    /// is not well, else once in a while.
    pub async fn keep_looking(&self, stop: CancellationToken) {
        let look = async {
            loop {
                let seen = self.look().await;
                self.probe.looked.notify_waiters();
                let whole = seen.ready && self.probe.opened.read().len() == self.networks.len();
                let pause = if whole && !self.probe.is_asked() { LOOK_IDLY } else { LOOK_EVERY };
                drop(tokio::time::timeout(pause, self.probe.wanted.notified()).await);
            }
        };
        let _: Option<()> = stop.run_until_cancelled(look).await;
    }

    /// Logs once that a network is left out of `/supported`, and once that it is not any more.
    fn tell_left_out(&self, submitter: &Submitter) {
        let network = submitter.chain().network();
        if self.probe.has_opened(submitter) {
            if self.probe.left_out.write().remove(network) {
                tracing::info!(%network, "the network has opened: /supported lists it from now on");
            }
        } else if self.probe.started.elapsed() >= self.waits.supported
            && self.probe.left_out.write().insert(network.clone())
        {
            let (seconds, error) = (self.waits.supported.as_secs(), submitter.readiness().err().unwrap_or_default());
            tracing::error!(
                %network, seconds, error,
                "the network has not opened since the start: /supported lists the others without it until it does"
            );
        }
    }

    async fn look(&self) -> Arc<Readiness> {
        let line = |subject: String, state: Result<String, String>| {
            let (ready, Ok(detail) | Err(detail)) = (state.is_ok(), state);
            ReadinessLine { subject, ready, told: detail.clone(), detail }
        };
        let store = self.store.check().await.map(|()| "ok".to_owned()).map_err(|error| {
            self.probe.say(&error);
            "the store does not answer".to_owned()
        });
        if store.is_ok() {
            self.probe.store_answers();
        }
        let networks = self.networks.iter().map(|(network, s)| {
            self.tell_left_out(s);
            let line = line(network.to_string(), s.readiness());
            ReadinessLine { told: without_hosts(&line.detail, &s.chain().metric_labels().nodes), ..line }
        });
        let networks: Vec<_> = networks.collect();
        let ready = store.is_ok() && networks.iter().all(|line| line.ready);
        let mut lines = vec![line("store".to_owned(), store)];
        lines.extend(networks);
        lines.extend(self.guard.standing().map(|state| line_of_redis(state.err())));
        let paused = self.pause.now();
        // The names of keys are nobody else's business.
        let told = "some payments are paused by the operator".to_owned();
        lines.extend((!paused.is_nothing()).then(|| ReadinessLine {
            subject: "paused".to_owned(),
            ready: true,
            detail: paused.to_string(),
            told,
        }));
        let seen = Arc::new(Readiness { ready, lines });
        *self.probe.seen.write() = Some(Arc::clone(&seen));
        seen
    }
}

/// The line about Redis, which never makes the service unready.
fn line_of_redis(trouble: Option<String>) -> ReadinessLine {
    let (ready, told) = match trouble {
        None => (true, "ok"),
        Some(_) => (false, "not used at present: payments go on without it, and the store refuses repeated ones"),
    };
    let detail = trouble.map_or_else(|| told.to_owned(), |why| format!("{told} ({why})"));
    ReadinessLine { subject: "redis".to_owned(), ready, told: told.to_owned(), detail }
}

/// A text with the place of each node in `rpc` instead of its host: who serves
/// this service, and at which address, is nobody else's business.
fn without_hosts(text: &str, hosts: &[String]) -> String {
    let mut places: Vec<_> = hosts.iter().enumerate().filter(|(_, host)| !host.is_empty()).collect();
    // One host may be the beginning of another.
    places.sort_by_key(|(_, host)| std::cmp::Reverse(host.len()));
    places
        .into_iter()
        .fold(text.to_owned(), |text, (place, host)| text.replace(host.as_str(), &format!("rpc[{place}]")))
}

/// The time between two looks at the parts of the service.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The same while all is well and nobody asks: each look wakes the store.
const LOOK_IDLY: Duration = Duration::from_secs(10);

/// Somebody asks, for this long after each request.
const ASKS_FOR: Duration = Duration::from_secs(30);

/// The newest look at the parts of the service.
#[derive(Debug)]
pub(super) struct Probe {
    started: Instant,
    seen: RwLock<Option<Arc<Readiness>>>,
    /// The time of the newest request for the readiness; `None` before the first.
    asked: Mutex<Option<Instant>>,
    /// A look is wanted at once.
    wanted: Notify,
    /// A look was taken.
    looked: Notify,
    opened: RwLock<BTreeSet<Network>>,
    /// The networks that are left out of `/supported`: each was told once.
    left_out: RwLock<BTreeSet<Network>>,
    /// The time at which it is said again that the store does not answer; `None` while it does.
    silent_store: Mutex<Option<Reminders<()>>>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            seen: RwLock::default(),
            asked: Mutex::default(),
            wanted: Notify::new(),
            looked: Notify::new(),
            opened: RwLock::default(),
            left_out: RwLock::default(),
            silent_store: Mutex::default(),
        }
    }
}

impl Probe {
    /// Notes a request; returns true when looks were rare until now.
    fn ask(&self) -> bool {
        let before = self.asked.lock().replace(Instant::now());
        before.is_none_or(|at| at.elapsed() >= ASKS_FOR)
    }

    fn is_asked(&self) -> bool {
        self.asked.lock().is_some_and(|at| at.elapsed() < ASKS_FOR)
    }

    /// Says that the store does not answer: at once, and again at growing intervals.
    fn say(&self, error: &StoreError) {
        let mut silent = self.silent_store.lock();
        let news = silent.is_none();
        let again = silent.get_or_insert_default().heed(vec![((), ())], Instant::now());
        if news || !again.is_empty() {
            tracing::error!(%error, "the store does not answer");
        }
    }

    fn store_answers(&self) {
        *self.silent_store.lock() = None;
    }

    /// Returns true for a network that has opened since the start, if only once.
    fn has_opened(&self, submitter: &Submitter) -> bool {
        let network = submitter.chain().network();
        if self.opened.read().contains(network) {
            return true;
        }
        let open = submitter.condition() == Condition::Open;
        if open {
            self.opened.write().insert(network.clone());
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_told_by_their_place() {
        let hosts = ["node.example".to_owned(), "node.example:8545".to_owned()];
        let text = "node.example:8545: cannot connect; node.example: HTTP status 500";
        assert_eq!(without_hosts(text, &hosts), "rpc[1]: cannot connect; rpc[0]: HTTP status 500");
    }
}
