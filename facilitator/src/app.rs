//! The composition root: puts the parts together, runs them, ends them.

use std::{net::SocketAddr, sync::Arc};

use chains_core::clock::{Clock, SystemClock};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::{
    config::Config,
    http::{
        self, Api, Options,
        admin::Admin,
        host::Hosts,
        server::{Limits, serve},
    },
    lifecycle::Lifecycle,
    payment::{Payments, Waits},
    settlement::{failures::Failures, replay_guard::ReplayGuard},
    store::{
        Store,
        sqlite::{
            SqliteStore,
            open::{Migrations, OpenError},
        },
    },
    submitter::{Deps, Submitter},
};

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// An address is taken or not ours.
    #[error("cannot listen on {address}: {source}. Stop what listens there, or change {key}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The configuration key.
        key: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Signals.
    #[error("cannot listen for signals: {0}")]
    Signals(#[from] std::io::Error),
}

/// A service that is running.
pub struct Running {
    /// Where resource servers ask.
    pub address: SocketAddr,
    lifecycle: Lifecycle,
    payments: Arc<Payments>,
    store: Arc<dyn Store>,
}

/// Starts the service. It settles what is stored, then takes payments.
///
/// # Errors
/// The store cannot be opened, or an address cannot be listened on.
pub async fn start(
    config: Config,
    metrics: PrometheusHandle,
    accept_foreign_sequences: bool,
    lifecycle: Lifecycle,
) -> Result<Running, StartError> {
    let migrations = if config.store.auto_migrate { Migrations::Apply } else { Migrations::Require };
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&config.store.path, migrations).await?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let guard = Arc::new(ReplayGuard::default());
    let failures = Arc::new(Failures::new(config.payers.patience));
    let public = listen(config.server.listen, "server.listen").await?;
    let admin = listen(config.admin.listen, "admin.listen").await?;
    let submitters = config.chains.into_iter().map(|chain| {
        let (store, guard, clock) = (Arc::clone(&store), Arc::clone(&guard), Arc::clone(&clock));
        let deps = Deps { chain, store, guard, failures: Arc::clone(&failures), clock, accept_foreign_sequences };
        Submitter::start(deps, &lifecycle.tasks, &lifecycle.stop)
    });
    let submitters: Vec<_> = submitters.collect();
    let server = config.server;
    let waits = Waits { settle: server.settle_wait, verified_hold: config.payers.verified_hold };
    let payments = Arc::new(Payments::new(submitters, Arc::clone(&store), guard, failures, clock, waits));
    let limits = Limits {
        header_wait: server.header_wait,
        connections_max: server.connections_max,
        connections_per_ip_max: server.connections_per_ip_max,
    };
    let options = Options { body_max: server.body_max, body_wait: server.body_wait, hosts: server.hosts };
    let api = Api { payments: Arc::clone(&payments), keys: Arc::new(config.auth.keys), options: Arc::new(options) };
    let address = public.local_addr()?;
    lifecycle.tasks.spawn(http::admin::upkeep(metrics.clone(), lifecycle.stop.clone()));
    let admin_hosts = Hosts::of(config.admin.listen, vec![]);
    let admin_router =
        http::admin::router(Admin { metrics, hosts: admin_hosts, token_sha256: config.admin.token_sha256 });
    for (listener, router) in [(public, http::router(api)), (admin, admin_router)] {
        let serving = serve(listener, router, limits, lifecycle.drain.clone(), lifecycle.stop.clone());
        lifecycle.listeners.spawn(serving);
    }
    tracing::info!(%address, "listening");
    Ok(Running { address, lifecycle, payments, store })
}

async fn listen(address: SocketAddr, key: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, key, source })
}

impl Running {
    /// The use cases.
    pub const fn payments(&self) -> &Arc<Payments> {
        &self.payments
    }

    /// Runs until it is told to stop and what was in flight is answered.
    ///
    /// # Errors
    /// Signals cannot be listened for.
    pub async fn until_told(self) -> Result<(), StartError> {
        self.lifecycle.listen()?;
        self.lifecycle.drain.cancelled().await;
        self.end().await;
        Ok(())
    }

    /// Stops: answers what is in flight, then ends every task and the store.
    pub async fn end(self) {
        self.lifecycle.answer().await;
        self.lifecycle.end().await;
        self.store.close().await;
        tracing::info!("stopped");
    }
}
