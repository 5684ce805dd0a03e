//! The instances of a run, each with ways of its own to the database, to Redis and to its node.

use std::{
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    clock::WallClock,
    history::Absence,
    link::{Link, Target},
    recorder::Recorder,
};
use crate::{
    proxy::Proxy,
    service::{Home, Service},
};

/// Looks at an instance are this far apart.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process that has ended by itself starts again so much later.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// Milliseconds for which a process that ends by itself may take nothing new, and answers what is in flight.
const LEAVES_FOR: u64 = 20_000;

/// The longest that an instance may take to say that it lives.
const HEALTH_MAX: Duration = Duration::from_millis(500);

/// The programs that an instance uses.
pub struct Surroundings {
    /// The socket of PostgreSQL.
    pub database: Target,
    /// The socket of Redis.
    pub redis: Target,
    /// Its proxy before the node.
    pub node: Proxy,
    /// The same before the second network's, where there is one.
    pub solana: Option<Proxy>,
}

/// The ways of an instance to what it uses.
pub struct Ways {
    /// The way to the database.
    pub database: Arc<Link>,
    /// The way to Redis.
    pub redis: Arc<Link>,
    /// The way to the node.
    pub node: Arc<Link>,
    /// The proxy at the end of it.
    pub proxy: Proxy,
    /// The proxy before the second network's node.
    pub solana: Option<Proxy>,
    _folder: TempDir,
}

/// A process and the intention for it.
enum Process {
    /// It is to run; whenever it ends it starts again.
    Runs(Service),
    /// It was told to stop, and starts again when it has.
    Leaves(Service),
    /// It stands still.
    Frozen(Service),
    /// It is to be gone.
    Gone,
}

/// An instance.
pub struct Instance {
    number: usize,
    /// Its place.
    pub home: Home,
    /// Its ways.
    pub ways: Ways,
    /// Its wall clock.
    pub clock: WallClock,
    recorder: Recorder,
    state: Mutex<State>,
}

struct State {
    process: Process,
    /// The time since which it may answer nobody.
    absent: Option<u64>,
    /// The exit codes of processes that nobody had ended.
    exits: Vec<i32>,
}

impl Ways {
    /// Opens them, and has a home use them.
    ///
    /// # Panics
    /// If the disk is full.
    pub async fn open(to: Surroundings, home: Home) -> (Self, Home) {
        // The path of a socket has a hundred letters at most.
        let folder = tempfile::Builder::new().prefix("nem").tempdir_in("/tmp").expect("a folder");
        let database = Link::from_socket(&folder.path().join(".s.PGSQL.5432"), to.database);
        let socket = folder.path().join("redis.sock");
        let redis = Link::from_socket(&socket, to.redis);
        let address = to.node.url.trim_start_matches("http://").parse().expect("an address");
        let (node, port) = Link::from_port(Target::Port(address)).await;
        let home = home
            .section("store", "url", format!("postgres:///postgres?host={}&user=postgres", folder.path().display()))
            .section("redis", "url", format!("unix://{}", socket.display()))
            .rpc(&[&format!("http://{port}")]);
        (Self { database, redis, node, proxy: to.node, solana: to.solana, _folder: folder }, home)
    }
}

impl Instance {
    /// Starts an instance, and keeps it running.
    pub fn start(number: usize, home: Home, ways: Ways, recorder: &Recorder) -> Arc<Self> {
        let clock = WallClock::in_folder(home.path());
        let process = Process::Runs(spawn(&home, &clock));
        let state = Mutex::new(State { process, absent: Some(recorder.now()), exits: vec![] });
        let instance = Arc::new(Self { number, home, ways, clock, recorder: recorder.clone(), state });
        let kept = Arc::downgrade(&instance);
        tokio::spawn(async move {
            while let Some(instance) = kept.upgrade() {
                instance.look().await;
                drop(instance);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        instance
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it again where it has ended, and notes that it answers again.
    async fn look(&self) {
        if self.has_ended() {
            tokio::time::sleep(RESTART_AFTER).await;
            self.state().process = Process::Runs(spawn(&self.home, &self.clock));
        }
        let is_awaited = {
            let state = self.state();
            state.absent.is_some() && matches!(state.process, Process::Runs(_))
        };
        if is_awaited && self.answers().await {
            let mut state = self.state();
            if let (Some(from), Process::Runs(_)) = (state.absent, &state.process) {
                state.absent = None;
                self.recorder.absence(Absence { instance: self.number, from, to: self.recorder.now() });
            }
        }
    }

    /// True when a process is to run that has ended.
    fn has_ended(&self) -> bool {
        let mut state = self.state();
        let (code, by_itself) = match &mut state.process {
            Process::Runs(service) => (service.exit_code(), true),
            Process::Leaves(service) => (service.exit_code(), false),
            Process::Frozen(_) | Process::Gone => (None, false),
        };
        let Some(code) = code else { return false };
        if by_itself || code != 0 {
            state.exits.push(code);
        }
        let now = self.recorder.now();
        state.absent.get_or_insert(now.saturating_sub(LEAVES_FOR));
        true
    }

    /// Returns true when it says that it lives.
    pub async fn answers(&self) -> bool {
        let asked = reqwest::get(format!("{}/health", self.home.url));
        tokio::time::timeout(HEALTH_MAX, asked).await.is_ok_and(|answer| answer.is_ok())
    }

    /// Changes the process, unless an earlier change is under way.
    fn change(&self, to: impl FnOnce(Service) -> Process) {
        let mut state = self.state();
        match std::mem::replace(&mut state.process, Process::Gone) {
            Process::Runs(mut service) => {
                // One that has ended by itself starts again.
                let has_ended = service.exit_code().is_some();
                let now = self.recorder.now();
                state.absent.get_or_insert(now);
                state.process = if has_ended { Process::Runs(service) } else { to(service) };
            }
            other => state.process = other,
        }
    }

    /// `kill -9`; it stays away until [`revive`](Self::revive).
    pub fn kill(&self) {
        self.change(|service| {
            service.kill();
            Process::Gone
        });
    }

    /// Starts it again.
    pub fn revive(&self) {
        let mut state = self.state();
        if matches!(state.process, Process::Gone) {
            state.process = Process::Runs(spawn(&self.home, &self.clock));
        }
    }

    /// Tells it to stop; it starts again when it has.
    pub fn terminate(&self) {
        self.change(|service| {
            service.terminate();
            Process::Leaves(service)
        });
    }

    /// Stops it where it is.
    pub fn freeze(&self) {
        self.change(|service| {
            signal(&service, "-STOP");
            Process::Frozen(service)
        });
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        let mut state = self.state();
        match std::mem::replace(&mut state.process, Process::Gone) {
            Process::Frozen(service) => {
                signal(&service, "-CONT");
                state.process = Process::Runs(service);
            }
            other => state.process = other,
        }
    }

    /// Returns true when it runs and answers.
    pub fn is_back(&self) -> bool {
        let state = self.state();
        state.absent.is_none() && matches!(state.process, Process::Runs(_))
    }

    /// The exit codes of processes that nobody had ended, or that ended badly.
    pub fn exits(&self) -> Vec<i32> {
        self.state().exits.clone()
    }

    /// Notes an absence that is not over yet, at the end of a run.
    pub fn close(&self) {
        if let Some(from) = self.state().absent {
            self.recorder.absence(Absence { instance: self.number, from, to: self.recorder.now() });
        }
    }
}

fn spawn(home: &Home, clock: &WallClock) -> Service {
    let mut command = home.command(&["serve"]);
    clock.rule(&mut command);
    home.spawn_command(command)
}

fn signal(service: &Service, signal: &str) {
    drop(Command::new("kill").args([signal, &service.id().to_string()]).status());
}
