//! Load: callers that each wait for their answer, or arrivals that do not wait.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

/// The measurements of a run.
pub(crate) struct Run {
    /// Answers.
    pub done: u64,
    /// Answers that said valid or success.
    pub good: u64,
    /// The first answer that did not.
    pub first_bad: Option<String>,
    /// Latencies in microseconds.
    pub latency: Histogram<u64>,
}

impl Run {
    /// Nothing yet.
    pub fn new() -> Self {
        let latency = Histogram::new_with_max(120_000_000, 3).expect("a histogram");
        Self { done: 0, good: 0, first_bad: None, latency }
    }

    /// One more answer.
    pub fn record(&mut self, took: Duration, answer: &str) {
        self.done += 1;
        let good = answer.contains("\"isValid\":true") || answer.contains("\"success\":true");
        if good {
            self.good += 1;
        } else if self.first_bad.is_none() {
            self.first_bad = Some(answer.to_owned());
        }
        self.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds what another run has measured.
    pub fn merge(&mut self, other: Self) {
        self.done += other.done;
        self.good += other.good;
        self.first_bad = self.first_bad.take().or(other.first_bad);
        self.latency.add(other.latency).expect("the same bounds");
    }
}

/// One kept-alive connection.
struct Caller {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
    path: &'static str,
}

impl Caller {
    async fn connect(url: &str, path: &'static str) -> Self {
        let host = url.trim_start_matches("http://").to_owned();
        let stream = TcpStream::connect(&host).await.expect("connected");
        stream.set_nodelay(true).expect("a socket");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        Self { sender, host, path }
    }

    async fn post(&mut self, body: String) -> String {
        let request = Request::post(self.path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        self.sender.ready().await.expect("the connection is open");
        let answer = self.sender.send_request(request).await.expect("answered");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        String::from_utf8_lossy(&body).into_owned()
    }
}

/// `callers` callers, each with its next request when it has its answer.
pub(crate) async fn closed_loop<F>(url: &str, path: &'static str, callers: usize, time: Duration, body: F) -> Run
where
    F: Fn(usize) -> String + Send + Sync + 'static,
{
    let (body, number) = (Arc::new(body), Arc::new(AtomicUsize::new(0)));
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let mut caller = Caller::connect(url, path).await;
        let (body, number) = (Arc::clone(&body), Arc::clone(&number));
        tasks.spawn(async move {
            let mut run = Run::new();
            while Instant::now() < end {
                let text = body(number.fetch_add(1, Ordering::Relaxed));
                let asked = Instant::now();
                let answer = caller.post(text).await;
                run.record(asked.elapsed(), &answer);
            }
            run
        });
    }
    merged(tasks).await
}

/// So many requests by `callers` callers of these instances, each with its next request when it has its answer.
pub(crate) async fn counted<F>(urls: &[&str], path: &'static str, callers: usize, count: usize, body: F) -> Run
where
    F: Fn(usize) -> String + Send + Sync + 'static,
{
    let (body, number) = (Arc::new(body), Arc::new(AtomicUsize::new(0)));
    let mut connected = Vec::with_capacity(callers);
    for url in urls.iter().cycle().take(callers) {
        connected.push(Caller::connect(url, path).await);
    }
    let mut tasks = JoinSet::new();
    for mut caller in connected {
        let (body, number) = (Arc::clone(&body), Arc::clone(&number));
        tasks.spawn(async move {
            let mut run = Run::new();
            loop {
                let next = number.fetch_add(1, Ordering::Relaxed);
                if next >= count {
                    return run;
                }
                let asked = Instant::now();
                let answer = caller.post(body(next)).await;
                run.record(asked.elapsed(), &answer);
            }
        });
    }
    merged(tasks).await
}

/// Returns the measurements of all callers together.
pub(crate) async fn merged(mut tasks: JoinSet<Run>) -> Run {
    let mut run = Run::new();
    while let Some(part) = tasks.join_next().await {
        run.merge(part.expect("no panic"));
    }
    run
}

/// `rate` requests a second, spread evenly, whether or not answers come.
pub(crate) async fn open_loop<F>(url: &str, path: &'static str, rate: u32, time: Duration, body: F) -> Run
where
    F: Fn(usize) -> String,
{
    let run = Arc::new(Mutex::new(Run::new()));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let end = Instant::now() + time;
    let idle: Arc<Mutex<Vec<Caller>>> = Arc::default();
    let mut tasks = JoinSet::new();
    let mut number = 0;
    while Instant::now() < end {
        ticks.tick().await;
        number += 1;
        let text = body(number);
        let free = idle.lock().expect("no panic").pop();
        let mut caller = match free {
            Some(caller) => caller,
            None => Caller::connect(url, path).await,
        };
        let (run, idle) = (Arc::clone(&run), Arc::clone(&idle));
        tasks.spawn(async move {
            let asked = Instant::now();
            let answer = caller.post(text).await;
            run.lock().expect("no panic").record(asked.elapsed(), &answer);
            idle.lock().expect("no panic").push(caller);
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
    std::mem::replace(&mut *run.lock().expect("no panic"), Run::new())
}
