//! The use cases: verify, settle, supported. No HTTP, no SQL.

mod answer;
mod identifier;
pub mod outcome;
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
    clock::Clock,
    protocol::LegacyNames,
    reason,
    scheme::{Authorization, Scheme},
};

pub use outcome::{SettleOutcome, Unavailable, VerifyOutcome};
pub use supported::{Readiness, ReadinessLine};

use crate::{
    settlement::{failures::Failures, replay_guard::ReplayGuard},
    store::Store,
    submitter::Submitter,
};

/// Everything that a request can ask of the service.
pub struct Payments {
    networks: BTreeMap<Network, Arc<Submitter>>,
    names: LegacyNames,
    store: Arc<dyn Store>,
    guard: Arc<ReplayGuard>,
    failures: Arc<Failures>,
    clock: Arc<dyn Clock>,
    waits: Waits,
    supported_turn: AtomicUsize,
}

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// How long a settle request waits for the chain before it is told
    /// `settlement_pending`.
    pub settle: Duration,
    /// How long a verified payment holds its part of what its payer has;
    /// zero: not at all.
    pub verified_hold: Duration,
}

impl Payments {
    /// Puts the use cases over the submitters.
    pub fn new(
        submitters: Vec<Arc<Submitter>>,
        store: Arc<dyn Store>,
        guard: Arc<ReplayGuard>,
        failures: Arc<Failures>,
        clock: Arc<dyn Clock>,
        waits: Waits,
    ) -> Self {
        let name =
            |s: &Arc<Submitter>| s.chain().legacy_name().map(|name| (name.to_owned(), s.chain().network().clone()));
        let names = submitters.iter().filter_map(name).collect();
        let networks = submitters.into_iter().map(|s| (s.chain().network().clone(), s)).collect();
        Self { networks, names, store, guard, failures, clock, waits, supported_turn: AtomicUsize::new(0) }
    }

    /// v1 names of the configured networks, for [`chains_core::protocol::parse`].
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

    /// Whether payments of this payer have failed on chain too often of late,
    /// at our cost. Who the payer is is only claimed here; to be barred takes
    /// payments that were verified.
    fn check_barred(&self, network: &Network, payer: &str) -> Result<(), Rejection> {
        let now = self.clock.now();
        let Some(until) = self.failures.barred_until(network, payer, now) else { return Ok(()) };
        let message = format!(
            "{} payments of this payer failed on chain of late: none is taken for another {} s",
            self.failures.patience().failures_max,
            until.0.saturating_sub(now.0).div_ceil(1000)
        );
        Err(Rejection::new(reason::PAYER_FAILED_TOO_OFTEN, message))
    }

    /// Finds the way and reads the payload.
    fn read(&self, payment: &Payment) -> Result<(&Arc<Submitter>, Box<dyn Authorization>), Rejection> {
        let (submitter, scheme) = self.route(payment)?;
        Ok((submitter, scheme.read(payment)?))
    }
}
