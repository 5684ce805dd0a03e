//! One life of the service, which ends by a crash.

use std::{sync::Arc, time::Duration};

use chains_core::{clock::Clock as _, protocol::Request};
use tokio::{runtime::Runtime, task::JoinHandle};

use super::scene::Scene;
use crate::{
    in_flight::Registry,
    lifecycle::Lifecycle,
    limits::{local::LocalLimits, payer_failures::FailureLimit},
    payment::{Payments, SettleOutcome, Waits},
    replay_guard::Alone,
    settlement::{Caller, Key},
    store::{Store, memory::MemoryStore},
    submitter::{
        Context, PutOff, Submitter,
        lease::{LeaseOwnership, Me},
        ownership::{Ownership, StoreLockOwnership},
        status::NetworkStatus,
    },
};

/// The time for which a request waits.
const SETTLE_WAIT: Duration = Duration::from_millis(400);

/// The service over a scene.
pub(super) struct Process {
    runtime: Runtime,
    payments: Arc<Payments>,
    lifecycle: Lifecycle,
    /// The settlements under way.
    pub registry: Arc<Registry>,
}

impl Process {
    /// Starts it as the one owner of the disk: it takes up what that holds.
    pub fn start(scene: &Scene) -> Self {
        Self::owning(scene, |store, _| Arc::new(StoreLockOwnership::new(store)))
    }

    /// Starts it as one of several instances that share the disk.
    pub fn instance(scene: &Scene, name: &str) -> Self {
        Self::owning(scene, |store, lifecycle| {
            let me = Me::new(Some(name), name, scene.clock.now());
            Arc::new(LeaseOwnership::start(store, me, scene.clock.clone(), lifecycle))
        })
    }

    fn owning(scene: &Scene, ownership: impl FnOnce(Arc<dyn Store>, &Lifecycle) -> Arc<dyn Ownership>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.unwrap_or_else(|error| panic!("a runtime: {error}"));
        let _inside = runtime.enter();
        let lifecycle = Lifecycle::default();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::open(scene.disk.clone()));
        let limit = FailureLimit { failures_max: usize::MAX, window: Duration::from_hours(1) };
        let chain = scene.chain();
        let budgets = [(chain.network().clone(), chain.parameters().loss_budget)];
        let registry = Arc::new(Registry::new(Arc::new(LocalLimits::new(limit, budgets))));
        let context = Context {
            chain,
            store: Arc::clone(&store),
            registry: Arc::clone(&registry),
            clock: scene.clock.clone(),
            ownership: ownership(Arc::clone(&store), &lifecycle),
            status: NetworkStatus::default(),
            put_off: PutOff::default(),
            accept_foreign_nonces: true,
        };
        let submitter = Arc::new(Submitter::start(Arc::new(context), &lifecycle));
        let waits = Waits { settle: SETTLE_WAIT, verified_hold: Duration::ZERO, supported: Duration::ZERO };
        let tasks = lifecycle.tasks.clone();
        let payments = Arc::new(Payments::new(
            vec![submitter],
            store,
            (Arc::clone(&registry), Arc::new(Alone)),
            scene.clock.clone(),
            waits,
            tasks,
        ));
        let (waiting, stop) = (Arc::clone(&payments), lifecycle.stop.clone());
        lifecycle.supervise("ends elsewhere", async move { waiting.keep_waiting(stop).await });
        Self { runtime, payments, lifecycle, registry }
    }

    /// Asks for a payment to be settled.
    pub fn ask(&self, request: Request, key: Option<String>) -> JoinHandle<SettleOutcome> {
        let payments = Arc::clone(&self.payments);
        let caller = Caller { tenant: String::new(), key: key.map(Key::Server) };
        self.runtime.spawn(async move { payments.settle(request, caller, "request").await.1 })
    }

    /// Runs something to its end, among the tasks.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Lets the tasks make so many steps each, in no time.
    pub fn turn(&self, turns: u32) {
        self.runtime.block_on(async {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Lets time pass.
    pub fn wait(&self, scene: &Scene, millis: u64) {
        scene.clock.advance(millis);
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(millis)).await });
    }

    /// The answer to a request, if there is one.
    pub fn answer(&self, asked: JoinHandle<SettleOutcome>) -> SettleOutcome {
        self.runtime.block_on(asked).unwrap_or_else(|error| panic!("a request panicked: {error}"))
    }

    /// The task that panicked, if one did.
    pub fn died(&self) -> Option<String> {
        self.lifecycle.died().map(|death| format!("{death:?}"))
    }
}
