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

use crate::{settlement::replay_guard::ReplayGuard, store::Store, submitter::Submitter};

/// Everything that a request can ask of the service.
pub struct Payments {
    networks: BTreeMap<Network, Arc<Submitter>>,
    names: LegacyNames,
    store: Arc<dyn Store>,
    guard: Arc<ReplayGuard>,
    clock: Arc<dyn Clock>,
    settle_wait: Duration,
    supported_turn: AtomicUsize,
}

impl Payments {
    /// Puts the use cases over the submitters. `settle_wait`: how long a
    /// settle request waits for the chain before it is told `settlement_pending`.
    pub fn new(
        submitters: Vec<Arc<Submitter>>,
        store: Arc<dyn Store>,
        guard: Arc<ReplayGuard>,
        clock: Arc<dyn Clock>,
        settle_wait: Duration,
    ) -> Self {
        let name =
            |s: &Arc<Submitter>| s.chain().legacy_name().map(|name| (name.to_owned(), s.chain().network().clone()));
        let names = submitters.iter().filter_map(name).collect();
        let networks = submitters.into_iter().map(|s| (s.chain().network().clone(), s)).collect();
        Self { networks, names, store, guard, clock, settle_wait, supported_turn: AtomicUsize::new(0) }
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

    /// Finds the way and reads the payload.
    fn read(&self, payment: &Payment) -> Result<(&Arc<Submitter>, Box<dyn Authorization>), Rejection> {
        let (submitter, scheme) = self.route(payment)?;
        Ok((submitter, scheme.read(payment)?))
    }
}
