//! Keepers of several instances on one store, in a time of their own.

use std::{
    collections::BTreeSet,
    sync::atomic::AtomicU32,
    time::{Duration, Instant as Wall},
};

use chains_core::clock::{Millis, SystemClock};
use tokio::{task::JoinSet, time::Instant};

use super::{desk::Shared, keeper::Keeper, *};
use crate::{
    lifecycle::Death,
    store::{
        Instance, Leases as _,
        memory::{Disk, MemoryStore},
    },
    submitter::lease::decide::{BEGIN_MAX, LEASE},
};

fn network() -> Network {
    "eip155:84532".parse().expect("CAIP-2")
}

/// An instance: its keeper, and for each wallet somebody who takes it whenever it
/// is to be had.
struct Running {
    ownership: LeaseOwnership,
    lifecycle: Lifecycle,
    store: Arc<MemoryStore>,
    /// The wallets that are here.
    here: Arc<Mutex<BTreeMap<String, Holding>>>,
    tasks: JoinSet<()>,
}

impl Running {
    fn named(disk: &Disk, name: Option<&str>, wallets: usize, started_at: u64) -> Self {
        let (store, lifecycle) = (Arc::new(MemoryStore::open(disk.clone())), Lifecycle::default());
        let me = Me::new(name, "machine", Millis(started_at));
        let (renewed, asked) = (Renewed::now(), Notify::new());
        let (clock, desks) = (Arc::new(SystemClock), Mutex::default());
        let kept: Arc<dyn Store> = store.clone();
        let others = AtomicU32::new(0);
        let shared = Arc::new(Shared { store: kept, me, clock, renewed, desks, asked, others });
        let ownership = LeaseOwnership(Arc::clone(&shared));
        let (here, mut tasks) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), JoinSet::new());
        tasks.spawn(Keeper::new(shared, lifecycle.clone()).run());
        for wallet in 0..wallets {
            let (ownership, here, wallet) = (ownership.clone(), Arc::clone(&here), format!("w{wallet}"));
            tasks.spawn(async move {
                while let Ok(holding) = ownership.acquire(&network(), &wallet).await {
                    here.lock().insert(wallet.clone(), holding.clone());
                    holding.over().cancelled().await;
                    here.lock().remove(&wallet);
                    ownership.release(&holding).await;
                }
            });
        }
        Self { ownership, lifecycle, store, here, tasks }
    }

    fn start(disk: &Disk, wallets: usize) -> Self {
        Self::named(disk, None, wallets, 0)
    }

    fn count(&self) -> usize {
        self.here.lock().len()
    }

    /// The beat of its first lease.
    async fn beat(&self) -> u64 {
        self.store.leases().await.expect("read")[0].beat
    }

    fn id(&self) -> String {
        self.ownership.0.me.id.clone()
    }

    /// Ends it as `kill -9` does.
    async fn kill(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Waits until it is so; returns how long that took.
async fn until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let (began, wall) = (Instant::now(), Wall::now());
    while !is_so() {
        assert!(began.elapsed() < Duration::from_mins(5) && wall.elapsed() < Duration::from_mins(1), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn who_joins_gets_its_share_and_no_wallet_is_two_instances_at_once() {
    let disk = Disk::default();
    let first = Running::start(&disk, 4);
    until("alone, it has all", || first.count() == 4).await;
    let second = Running::start(&disk, 4);
    let apart = || {
        let (here, there): (BTreeSet<_>, BTreeSet<_>) =
            (first.here.lock().keys().cloned().collect(), second.here.lock().keys().cloned().collect());
        assert!(here.is_disjoint(&there), "{here:?} {there:?}");
        (here.len(), there.len())
    };
    until("each has half", || apart() == (2, 2)).await;
    for _ in 0..120 {
        pass(1).await;
        assert_eq!(apart(), (2, 2), "nothing changes hands any more");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_instance_had_is_taken_over_within_eleven_seconds_and_not_before_ten() {
    let disk = Disk::default();
    let first = Running::start(&disk, 2);
    until("it has both", || first.count() == 2).await;
    let second = Running::start(&disk, 2);
    until("each has one", || (first.count(), second.count()) == (1, 1)).await;
    first.kill().await;
    let took = until("the other has both", || second.count() == 2).await;
    // The last beat may be as old as the time between two.
    assert!(took + decide::RENEW_EVERY >= LEASE && took <= LEASE + decide::LOOK_EVERY * 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_cannot_renew_begins_nothing_before_anybody_may_take_over() {
    let disk = Disk::default();
    let alone = Running::start(&disk, 1);
    until("it has it", || alone.count() == 1).await;
    let holding = alone.here.lock()["w0"].clone();
    pass(60).await;
    assert!(holding.may_begin(), "renewed again and again");
    alone.store.close().await;
    let took = until("it begins nothing", || !holding.may_begin()).await;
    assert!(took <= BEGIN_MAX && took + decide::RENEW_EVERY * 2 > BEGIN_MAX, "{took:?}");
    assert!(!holding.over().is_cancelled(), "what is under way is followed");
}

/// The log of a test's thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn says(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock()).contains(words)
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn leases_are_said_to_be_renewed_again_only_once_they_are() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let (failed, renewed) = ("leases cannot be renewed", "leases are renewed again");
    let alone = Running::start(&Disk::default(), 1);
    until("it has it", || alone.count() == 1).await;
    alone.store.close().await;
    until("a renewal fails", || log.says(failed)).await;
    alone.store.reopen();
    let beat = alone.beat().await;
    // The next looks are before the next renewal.
    while alone.beat().await == beat {
        assert!(!log.says(renewed), "before a renewal");
        pass(1).await;
    }
    until("it says so", || log.says(renewed)).await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_learns_that_its_wallet_was_stolen_and_takes_it_back_when_the_thief_is_gone() {
    let disk = Disk::default();
    let alone = Running::start(&disk, 1);
    until("it has it", || alone.count() == 1).await;
    let holding = alone.here.lock()["w0"].clone();
    let seen = alone.store.leases().await.expect("read").remove(0);
    let thief = Instance {
        id: "thief".into(),
        name: "thief".into(),
        version: String::new(),
        networks: vec![],
        beat: 0,
        started_at: Millis(0),
        renewed_at: Millis(0),
    };
    let epoch = alone.store.take_lease(&seen, &thief).await.expect("asked").expect("taken");
    until("it knows", || holding.over().is_cancelled()).await;
    assert_eq!(alone.store.leases().await.expect("read")[0].owner, "thief", "it takes nothing from a living one");
    until("it says who has it", || {
        alone.ownership.owner_elsewhere(&network(), "w0").is_some_and(|owner| owner == "thief")
    })
    .await;
    until("it has it again", || alone.count() == 1).await;
    assert!(alone.here.lock()["w0"].fence().epoch > epoch);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_stop_hands_over_at_once_if_somebody_is_there() {
    let disk = Disk::default();
    let first = Running::start(&disk, 2);
    until("it has both", || first.count() == 2).await;
    first.lifecycle.drain.cancel();
    pass(5).await;
    assert_eq!(first.count(), 2, "nobody is there: it goes on until it ends");
    first.kill().await;

    let (second, third) = (Running::start(&disk, 2), Running::start(&disk, 2));
    until("each has one", || (second.count(), third.count()) == (1, 1)).await;
    second.lifecycle.drain.cancel();
    let took = until("the other has both", || third.count() == 2).await;
    assert!(took <= Duration::from_secs(2), "{took:?}");
    pass(30).await;
    assert_eq!(second.count(), 0, "it takes none any more");
}

#[tokio::test(start_paused = true)]
async fn a_named_instance_takes_its_own_back_at_once_and_of_two_of_one_name_the_younger_ends() {
    let disk = Disk::default();
    let before = Running::named(&disk, Some("one"), 2, 1);
    until("it has both", || before.count() == 2).await;
    before.kill().await;
    let after = Running::named(&disk, Some("one"), 2, 2);
    let took = until("it has its own again", || after.count() == 2).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");

    let younger = Running::named(&disk, Some("one"), 2, 3);
    until("the younger ends", || younger.lifecycle.died().is_some()).await;
    assert_eq!(after.lifecycle.died(), None);
    let Some(Death::Refused(why)) = younger.lifecycle.died() else { panic!("for another reason") };
    assert!(why.contains("\"one\"") && why.contains("instance.name"), "{why}");
    until("the older has them", || after.count() == 2 && younger.count() == 0).await;
    assert_ne!(after.id(), younger.id());
}
