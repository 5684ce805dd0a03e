//! The composition root: puts the parts together, runs them, ends them.

mod reload;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use chains_core::clock::{Clock, SystemClock};
use tokio::net::{TcpListener, TcpSocket};

use self::reload::{Changeable, FollowedFile};

use crate::{
    config::{
        Config, Environment,
        shared_wallets::{SharedWallet, shared_wallets},
    },
    http::{
        self, Api, Options,
        admin::Admin,
        auth::KeyRing,
        host::Hosts,
        server::{
            Limits,
            files::{self, Files},
            serve,
        },
    },
    in_flight::Registry,
    lifecycle::{Death, Lifecycle},
    limits::{local::LocalLimits, rates::Gate},
    machine,
    metrics::{self, exposition::Exposition},
    payment::{Payments, Waits},
    redis_client::{LinkError, RedisClient, address},
    replay_guard::{Alone, ReplayGuard, redis::RedisGuard},
    store::{
        Store,
        connect::{Access, ConnectError, Location, connect},
        schema::Migrations,
    },
    submitter::{
        Context, PutOff, Submitter,
        lease::{LeaseOwnership, Me},
        ownership::{Ownership, StoreLockOwnership},
        status::NetworkStatus,
    },
};

/// The reason why the service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] ConnectError),
    /// Redis answers, and must not be used as it is configured.
    #[error("`redis.url` names a Redis that must not be used: {0}")]
    Redis(#[source] LinkError),
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
    /// A task that the service cannot do without.
    #[error("{0} panicked: this is a bug. Everything that was begun is stored and goes on at the next start")]
    TaskDied(String),
    /// The process must not go on beside another one.
    #[error("{0}")]
    Refused(String),
}

/// Time for the store to write what is still to be written.
const STORE_CLOSE_MAX: Duration = Duration::from_secs(10);

/// A service that is running.
pub struct Running {
    /// The address that resource servers ask.
    pub address: SocketAddr,
    lifecycle: Lifecycle,
    drain_delay: Duration,
    payments: Arc<Payments>,
    store: Arc<dyn Store>,
}

/// Starts the service. It settles what is stored, then takes payments.
///
/// # Errors
/// The store cannot be opened, or an address cannot be listened on.
pub async fn start(
    config: Config,
    environment: &Environment,
    metrics: Exposition,
    accept_foreign_nonces: bool,
    lifecycle: Lifecycle,
) -> Result<Running, StartError> {
    let redis = redis(config.redis, &lifecycle).await?;
    let guard = replay_guard(redis.clone(), &lifecycle);
    let migrations = if config.store.auto_migrate { Migrations::Apply } else { Migrations::Require };
    let store = connect(&config.store.location, Access::Share(migrations)).await?;
    let (file, location) = (config.file.clone(), config.store.location.clone());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    for shared in shared_wallets(&config.chains) {
        let (wallet, meaning, fix) = (&shared.address, SharedWallet::MEANING, SharedWallet::FIX);
        tracing::warn!(wallet, "a gas wallet is that of several networks: {shared}; {meaning}. {fix}");
    }
    let budgets = config.chains.iter().map(|chain| (chain.network().clone(), chain.parameters().loss_budget));
    let registry = Arc::new(Registry::new(Arc::new(LocalLimits::new(config.payers.limit, budgets))));
    let me = Me::new(config.instance.name.as_deref(), &machine::name(), clock.now());
    let ownership = ownership(&location, &store, me, &clock, &lifecycle);
    let public = listen(config.server.listen, "server.listen")?;
    let admin = listen(config.admin.listen, "admin.listen")?;
    let submitters = config.chains.into_iter().map(|chain| {
        let context = Context {
            chain,
            store: Arc::clone(&store),
            registry: Arc::clone(&registry),
            clock: Arc::clone(&clock),
            ownership: Arc::clone(&ownership),
            status: NetworkStatus::default(),
            put_off: PutOff::default(),
            accept_foreign_nonces,
        };
        Arc::new(Submitter::start(Arc::new(context), &lifecycle))
    });
    let submitters: Vec<_> = submitters.collect();
    let server = config.server;
    let waits = Waits {
        settle: server.settle_wait,
        verified_hold: config.payers.verified_hold,
        supported: server.supported_wait,
    };
    let tasks = lifecycle.tasks.clone();
    let payments = Payments::new(submitters, Arc::clone(&store), (registry, guard), clock, waits, tasks);
    payments.pause().replace(config.paused);
    let payments = Arc::new(payments);
    http::begin_metrics(&payments, redis.is_none());
    let files = Files::share(files::raise(), server.places.all, payments.networks().len());
    let draining = lifecycle.leaving.clone();
    let options = Options { body_max: server.body_max, body_wait: server.body_wait, hosts: server.hosts, draining };
    let keys = Arc::new(KeyRing::new(config.auth.keys));
    if let Some(path) = file.clone() {
        let (ring, pause) = (Arc::clone(&keys), Arc::clone(payments.pause()));
        let networks = payments.chains().map(|chain| chain.network().clone()).collect();
        let following = FollowedFile::new(path, environment.clone(), Changeable { ring, pause, networks });
        lifecycle.tasks.spawn(following.follow(lifecycle.stop.clone()));
    }
    let (gate, options) = (Arc::new(Gate::new(redis, move || ownership.instances())), Arc::new(options));
    let api = Api { payments: Arc::clone(&payments), keys, gate, options };
    let address = public.local_addr()?;
    lifecycle.tasks.spawn(http::admin::upkeep(metrics.clone(), lifecycle.stop.clone()));
    let admin_hosts = Hosts::of(config.admin.listen, &[]);
    let admin_address = admin.local_addr()?;
    let admin_router = http::admin::router(Admin {
        metrics,
        payments: Arc::clone(&payments),
        hosts: admin_hosts,
        token_sha256: config.admin.token_sha256,
        draining: lifecycle.leaving.clone(),
    });
    let listeners = [
        ("public", public, http::router(api), files.public(server.places)),
        ("admin", admin, admin_router, files.admin()),
    ];
    let proxies = Arc::new(server.proxies);
    for (name, listener, router, places) in listeners {
        let limits = Limits { listener: name, places, waits: server.waits, proxies: Arc::clone(&proxies) };
        let serving = serve(listener, router, limits, lifecycle.drain.clone(), lifecycle.stop.clone());
        lifecycle.listeners.spawn(serving);
    }
    let (looking, waiting) = (Arc::clone(&payments), Arc::clone(&payments));
    let stop = || lifecycle.stop.clone();
    let (ends, parts) = (stop(), stop());
    lifecycle.tasks.spawn(async move { waiting.keep_waiting(ends).await });
    lifecycle.tasks.spawn(async move { looking.keep_looking(parts).await });
    files.say(server.places);
    say_what_runs(&payments, file.as_deref(), &location, [address, admin_address]);
    Ok(Running { address, lifecycle, drain_delay: server.drain_delay, payments, store })
}

async fn redis(options: Option<address::Options>, lifecycle: &Lifecycle) -> Result<Option<RedisClient>, StartError> {
    let Some(options) = options else { return Ok(None) };
    RedisClient::start(options, lifecycle).await.map(Some).map_err(StartError::Redis)
}

/// A SQLite file is this process's with every gas wallet; a database on a server is
/// shared, and its gas wallets are leased.
fn ownership(
    location: &Location,
    store: &Arc<dyn Store>,
    me: Me,
    clock: &Arc<dyn Clock>,
    lifecycle: &Lifecycle,
) -> Arc<dyn Ownership> {
    match location {
        Location::Sqlite(_) => Arc::new(StoreLockOwnership::new(Arc::clone(store))),
        Location::Postgres(_) => Arc::new(LeaseOwnership::start(Arc::clone(store), me, Arc::clone(clock), lifecycle)),
    }
}

/// The guard between instances; alone without Redis.
fn replay_guard(redis: Option<RedisClient>, lifecycle: &Lifecycle) -> Arc<dyn ReplayGuard> {
    match redis {
        Some(client) => Arc::new(RedisGuard::new(client, lifecycle.tasks.clone())),
        None => Arc::new(Alone),
    }
}

/// One line with everything that tells this process from another.
fn say_what_runs(payments: &Payments, file: Option<&Path>, store: &Location, [public, admin]: [SocketAddr; 2]) {
    let wallets = payments.chains().flat_map(|chain| {
        let network = chain.network();
        chain.gas_wallets().iter().map(move |wallet| format!("{network}:{wallet}"))
    });
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        commit = metrics::COMMIT,
        configuration = %file.map_or("none: the defaults alone".into(), Path::to_string_lossy),
        networks = payments.networks().join(" "),
        wallets = wallets.collect::<Vec<_>>().join(" "),
        store = %store,
        %public,
        %admin,
        "the service runs"
    );
}

/// Connections that wait to be taken: as many as may be held, so that a burst of
/// them costs nobody the second after which a lost one is tried again. The
/// system may have a lower bound (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr, key: &'static str) -> Result<TcpListener, StartError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of an earlier process may still be ending.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| StartError::Listen { address, key, source })
}

impl Running {
    /// The use cases.
    pub const fn payments(&self) -> &Arc<Payments> {
        &self.payments
    }

    /// Runs until it is told to stop and the requests in flight are answered.
    ///
    /// # Errors
    /// Signals cannot be listened for, or a task of the service panicked.
    pub async fn until_told(self) -> Result<(), StartError> {
        self.lifecycle.listen(self.drain_delay)?;
        self.lifecycle.drain.cancelled().await;
        let lifecycle = self.lifecycle.clone();
        self.end().await;
        match lifecycle.died() {
            None => Ok(()),
            Some(Death::Panicked(task)) => Err(StartError::TaskDied(task)),
            Some(Death::Refused(why)) => Err(StartError::Refused(why)),
        }
    }

    /// Stops: answers the requests in flight, then ends every task and the
    /// store. Each of them has a time limit.
    pub async fn end(self) {
        self.lifecycle.answer().await;
        self.lifecycle.end().await;
        if tokio::time::timeout(STORE_CLOSE_MAX, self.store.close()).await.is_err() {
            tracing::warn!("the store did not close in time; the next start repairs its file");
        }
        tracing::info!("stopped");
    }
}
