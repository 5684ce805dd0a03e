//! The use cases: verify, settle, supported. No HTTP, no SQL.

mod elsewhere;
mod identifier;
pub mod outcome;
pub mod paused;
mod settle;
mod supported;
mod verify;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use chains_core::{
    Network, Payment, Rejection,
    chain::Chain,
    clock::Clock,
    protocol::{LegacyNames, Request, names_of},
    reason,
    scheme::{Authorization, Scheme, VerifiedPayment},
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use elsewhere::Elsewhere;
pub use outcome::{Asked, Pending, Route, SettleOutcome, Told, Unavailable, VerifyOutcome};
use paused::Pause;
use supported::Probe;
pub use supported::{Readiness, ReadinessLine, SupportedNow};

use crate::{in_flight::Registry, metrics::zero::OTHER, replay_guard::ReplayGuard, store::Store, submitter::Submitter};

/// Everything that a request can ask of the service.
pub struct Payments {
    networks: BTreeMap<Network, Arc<Submitter>>,
    names: LegacyNames,
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
    guard: Arc<dyn ReplayGuard>,
    clock: Arc<dyn Clock>,
    waits: Waits,
    tasks: TaskTracker,
    pause: Arc<Pause>,
    elsewhere: Arc<Elsewhere>,
    supported_turn: AtomicUsize,
    probe: Probe,
}

/// The waiting times of the use cases.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// The time for which a settle request waits for the chain before it is told
    /// `settlement_pending`.
    pub settle: Duration,
    /// The time for which a verified payment holds its part of its payer's balance;
    /// zero: not at all.
    pub verified_hold: Duration,
    /// The time for which `/supported` waits for a network that has never
    /// opened, from the start on.
    pub supported: Duration,
}

impl Payments {
    /// Puts the use cases over the submitters.
    pub fn new(
        submitters: Vec<Arc<Submitter>>,
        store: Arc<dyn Store>,
        (registry, guard): (Arc<Registry>, Arc<dyn ReplayGuard>),
        clock: Arc<dyn Clock>,
        waits: Waits,
        tasks: TaskTracker,
    ) -> Self {
        let mut names = LegacyNames::new();
        for chain in submitters.iter().map(|submitter| submitter.chain()) {
            let network = chain.network();
            // What is configured stands above what is only known.
            names.extend(chain.legacy_name().map(|name| (name.to_owned(), network.clone())));
            for name in names_of(network, None) {
                names.entry(name).or_insert_with(|| network.clone());
            }
        }
        let networks = submitters.into_iter().map(|s| (s.chain().network().clone(), s)).collect();
        let (supported_turn, probe) = (AtomicUsize::new(0), Probe::default());
        let (pause, elsewhere) = (Arc::default(), Arc::default());
        Self { networks, names, store, registry, guard, clock, waits, tasks, pause, elsewhere, supported_turn, probe }
    }

    /// Looks for the ends of settlements that requests wait for and that another
    /// instance follows, until `stop`.
    pub async fn keep_waiting(&self, stop: CancellationToken) {
        self.elsewhere.keep_looking(&*self.store, stop).await;
    }

    /// The pause in force, to be replaced while the service runs.
    pub const fn pause(&self) -> &Arc<Pause> {
        &self.pause
    }

    /// Spellings of the configured networks, for [`chains_core::protocol::parse`].
    pub const fn names(&self) -> &LegacyNames {
        &self.names
    }

    /// The store, for the status routes.
    pub const fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The submitter of a payment's network, and its scheme there, by exact name.
    fn route(&self, payment: &Payment) -> Result<(&Arc<Submitter>, &Arc<dyn Scheme>), Rejection> {
        let submitter = self.networks.get(&payment.network).ok_or_else(|| {
            Rejection::new(reason::INVALID_NETWORK, format!("network {} is not served here", payment.network))
        })?;
        let scheme = submitter.chain().schemes().iter().find(|s| s.name() == payment.scheme);
        let scheme = scheme.ok_or_else(|| {
            let known: Vec<_> = submitter.chain().schemes().iter().map(|s| s.name()).collect();
            let message = format!("on {} only these schemes are served: {}", payment.network, known.join(", "));
            Rejection::new(reason::UNSUPPORTED_SCHEME, message)
        })?;
        Ok((submitter, scheme))
    }

    /// The answer's frame to a request, as far as it is known before the payload is read.
    fn asked(&self, request: &Request) -> Asked {
        let known = request.payment.as_ref().ok().and_then(|payment| Some((payment, self.chain(&payment.network)?)));
        let route = known.map(|(payment, chain)| {
            let scheme = chain.schemes().iter().map(|scheme| scheme.name()).find(|name| *name == payment.scheme);
            Route { network: payment.network.to_string(), scheme: scheme.unwrap_or(OTHER).to_owned() }
        });
        let (version, network, route) = (request.version, request.network.clone(), route.unwrap_or_default());
        Asked { version, network, payer: String::new(), route }
    }

    /// The network of this identifier, if it is served here.
    pub fn chain(&self, network: &Network) -> Option<&Arc<dyn Chain>> {
        self.networks.get(network).map(|submitter| submitter.chain())
    }

    /// Refuses payers whose payments have failed on chain too often, at the gas
    /// wallet's cost. The payer is only claimed here; to be barred takes
    /// payments that were verified.
    async fn check_barred(&self, network: &Network, payer: &str) -> Result<(), Rejection> {
        let now = self.clock.now();
        let Some(barred) = self.registry.limits().barred(network, payer, now).await else { return Ok(()) };
        let message = format!(
            "{} payments of this payer failed on chain: none is taken for another {} s",
            barred.failures,
            barred.until.0.saturating_sub(now.0).div_ceil(1000)
        );
        Err(Rejection::new(reason::PAYER_FAILED_TOO_OFTEN, message))
    }

    /// The same where only the verdict tells who pays: the payload names who has signed.
    async fn check_verified(
        &self,
        authorization: &dyn Authorization,
        verified: &VerifiedPayment,
        network: &Network,
    ) -> Result<(), Rejection> {
        if verified.payer == authorization.payer() {
            return Ok(());
        }
        self.check_barred(network, &verified.payer).await
    }

    /// Finds the way and reads the payload.
    fn read(&self, payment: &Payment) -> Result<(&Arc<Submitter>, Box<dyn Authorization>), Rejection> {
        let (submitter, scheme) = self.route(payment)?;
        Ok((submitter, scheme.read(payment)?))
    }
}
