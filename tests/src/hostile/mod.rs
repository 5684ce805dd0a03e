//! Honest callers beside strangers that try to take the service away from them.
//!
//! Honest callers arrive at a fixed rate, whether or not answers come; strangers
//! send nine times as many requests, of every kind, from many addresses, and
//! hold connections in every way that one can be held.

pub mod kinds;
pub mod wire;

use std::{
    fs,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinSet,
    time::{interval, timeout},
};

use self::{
    kinds::{Kind, Manner, Stock},
    wire::{connect, from, request, say_from},
};
use crate::payer::Draft;

/// The addresses of strangers: 127.0.1.1 to 127.0.1.200.
const STRANGERS: usize = 200;

/// Every so many honest requests one is to settle.
const SETTLE_EVERY: usize = 10;

/// The patience of an honest caller.
const PATIENCE: Duration = Duration::from_secs(30);

/// The size and duration of a load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Honest requests a second.
    pub honest_per_second: u32,
    /// Requests of strangers a second.
    pub hostile_per_second: u32,
    /// Connections that strangers hold.
    pub held: usize,
    /// For how long.
    pub time: Duration,
}

/// The observations of honest callers.
#[derive(Debug)]
pub struct Honest {
    /// Requests.
    pub asked: u64,
    /// Those that were answered valid or success.
    pub good: u64,
    /// Those that were settled.
    pub settled: u64,
    /// The durations of verifies, in microseconds.
    pub verify: Histogram<u64>,
    /// The durations of settles, in microseconds.
    pub settle: Histogram<u64>,
    /// The slowest verifies: when each was asked for, since the beginning, and how long it took.
    pub slowest: Vec<(Duration, Duration)>,
    /// The first answer that was not good.
    pub first_bad: Option<String>,
}

/// Slowest verifies that are kept.
const SLOWEST: usize = 12;

impl Honest {
    fn new() -> Self {
        let histogram = || Histogram::new_with_max(120_000_000, 3).expect("a histogram");
        Self {
            asked: 0,
            good: 0,
            settled: 0,
            verify: histogram(),
            settle: histogram(),
            slowest: vec![],
            first_bad: None,
        }
    }

    fn record(&mut self, settles: bool, (at, took): (Duration, Duration), answer: &wire::Raw) {
        self.asked += 1;
        let good = answer.body["isValid"] == true || answer.body["success"] == true;
        self.good += u64::from(good);
        self.settled += u64::from(good && settles);
        if !good && self.first_bad.is_none() {
            self.first_bad = Some(format!("{answer:?}"));
        }
        if !settles {
            self.slowest.push((at, took));
            self.slowest.sort_unstable_by_key(|(_, took)| std::cmp::Reverse(*took));
            self.slowest.truncate(SLOWEST);
        }
        let histogram = if settles { &mut self.settle } else { &mut self.verify };
        histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Returns the share of good answers, in thousandths.
    pub fn good_permille(&self) -> u64 {
        self.good * 1000 / self.asked.max(1)
    }
}

/// Lets honest callers ask, each on a connection of its own.
pub async fn honest(url: &str, load: Load) -> Honest {
    let seen = Arc::new(Mutex::new(Honest::new()));
    let (mut ticks, mut tasks) = (interval(Duration::from_secs(1) / load.honest_per_second), JoinSet::new());
    let (begun, mut number) = (Instant::now(), 0_usize);
    while begun.elapsed() < load.time {
        ticks.tick().await;
        number += 1;
        let settles = number.is_multiple_of(SETTLE_EVERY);
        let path = if settles { "POST /settle" } else { "POST /verify" };
        let fields = ["host: 127.0.0.1", "content-type: application/json", "connection: close"];
        let bytes = request(path, &fields, &Draft::default().v2().to_string());
        let (seen, url) = (Arc::clone(&seen), url.to_owned());
        tasks.spawn(async move {
            let asked = Instant::now();
            let answer = timeout(PATIENCE, say_from(&url, from(1), bytes.as_bytes())).await;
            let answer = answer.ok().and_then(Result::ok).unwrap_or_default();
            seen.lock().unwrap_or_else(PoisonError::into_inner).record(
                settles,
                (asked - begun, asked.elapsed()),
                &answer,
            );
        });
    }
    while tasks.join_next().await.is_some() {}
    std::mem::replace(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner), Honest::new())
}

/// Strangers at work, until they are called off.
pub struct Strangers {
    tasks: JoinSet<()>,
    asked: Arc<AtomicUsize>,
}

impl Strangers {
    /// Sets them loose.
    pub fn start(url: &str, load: Load, kinds: &'static [Kind], stock: &Arc<Stock>) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let of_a_kind = (kinds, Arc::clone(stock));
        tasks.spawn(ask_at_a_rate(url.to_owned(), load.hostile_per_second, of_a_kind, Arc::clone(&asked)));
        for n in 0..load.held {
            tasks.spawn(hold(url.to_owned(), n));
        }
        Self { tasks, asked }
    }

    /// Calls them off; the number of their requests.
    pub async fn stop(mut self) -> usize {
        self.tasks.shutdown().await;
        self.asked.load(Ordering::Relaxed)
    }
}

fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, u8::try_from(n % STRANGERS + 1).unwrap_or(1))
}

type OfAKind = (&'static [Kind], Arc<Stock>);

async fn ask_at_a_rate(url: String, rate: u32, (kinds, stock): OfAKind, asked: Arc<AtomicUsize>) {
    let (mut ticks, mut tasks) = (interval(Duration::from_secs(1) / rate.max(1)), JoinSet::new());
    loop {
        ticks.tick().await;
        while tasks.try_join_next().is_some() {}
        let n = asked.fetch_add(1, Ordering::Relaxed);
        let (url, stock) = (url.clone(), Arc::clone(&stock));
        tasks.spawn(async move { ask(&url, &kinds[n % kinds.len()], &stock, n).await });
    }
}

/// Sends one request of a kind.
pub async fn ask(url: &str, kind: &Kind, stock: &Stock, n: usize) {
    let bytes = (kind.bytes)(stock, n);
    let wait = match kind.manner {
        Manner::Reads => PATIENCE,
        Manner::Leaves(after) => after,
    };
    // What becomes of it is the service's business.
    drop(timeout(wait, say_from(url, address(n), &bytes)).await);
}

/// Holds a connection in one of five ways, and a new one when it is taken away.
async fn hold(url: String, n: usize) {
    let slow_head = "POST /settle HTTP/1.1\r\nhost: 127.0.0.1\r\n".to_owned();
    let slow_body = format!("{slow_head}content-type: application/json\r\ncontent-length: 200000\r\n\r\n{{");
    let deaf = request("GET /openapi.json", &["host: 127.0.0.1"], "").repeat(50);
    let idle = request("GET /health", &["host: 127.0.0.1"], "");
    let ways = [String::new(), slow_head, slow_body, deaf, idle];
    let first = &ways[n % ways.len()];
    loop {
        let Ok(mut stream) = connect(&url, address(n)).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        drop(stream.write_all(first.as_bytes()).await);
        drip(&mut stream, n % ways.len() == 1 || n % ways.len() == 2).await;
        // The pace of somebody who means it, and not the machine's.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Keeps a connection for as long as the service lets it, perhaps with a byte each second.
async fn drip(stream: &mut TcpStream, bytes: bool) {
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let gone = if bytes { stream.write_all(b" ").await.is_err() } else { is_closed(stream) };
        if gone {
            return;
        }
    }
}

/// Returns true when the other side has closed; nothing is read of what it sent.
fn is_closed(stream: &TcpStream) -> bool {
    let mut byte = [0; 1];
    let seen = futures::FutureExt::now_or_never(stream.peek(&mut byte));
    matches!(seen, Some(Ok(0) | Err(_)))
}

/// Returns the processor time of a process so far, all its threads together.
pub fn cpu(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
