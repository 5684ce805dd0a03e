//! Callers hold a bounded amount, and the bound harms nobody inside theirs.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use e2e::{
    anvil::Anvil,
    eventually,
    hostile::wire::{Raw, answer, connect, from, request, say},
    payer::Draft,
    service::{Home, Service, binary},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};

/// Asks on a connection of its own from 127.0.0.`last` for a payment to be verified.
async fn verified(url: &str, last: u8) -> bool {
    let body = Draft::default().v2().to_string();
    let ask = request("POST /verify", &["host: 127.0.0.1", "content-type: application/json"], &body);
    let Ok(mut stream) = connect(url, from(last)).await else { return false };
    if stream.write_all(ask.as_bytes()).await.is_err() {
        return false;
    }
    answer(&mut stream).await.body["isValid"] == true
}

async fn all_verified(url: &str, last: u8, count: usize) -> usize {
    let mut good = 0;
    for _ in 0..count {
        good += usize::from(verified(url, last).await);
    }
    good
}

async fn health(stream: &mut TcpStream) -> Raw {
    let ask = request("GET /health", &["host: 127.0.0.1"], "");
    if stream.write_all(ask.as_bytes()).await.is_err() {
        return Raw::default();
    }
    answer(stream).await
}

/// J7, A03.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_give_way_to_newcomers_and_those_who_worked_keep_theirs() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("connections_max", 20).server("connections_per_ip_max", 20);
    let service = home.serve().await;
    let mut kept = connect(&service.url, from(3)).await.expect("connected");
    let body = Draft::default().v2().to_string();
    let ask = request("POST /verify", &["host: 127.0.0.1", "content-type: application/json"], &body);
    kept.write_all(ask.as_bytes()).await.expect("sent");
    assert_eq!(answer(&mut kept).await.body["isValid"], true);
    let mut strangers = Vec::new();
    for n in 0..60 {
        let mut stranger = connect(&service.url, from(10 + n % 30)).await.expect("connected");
        if n % 2 == 0 {
            health(&mut stranger).await;
        }
        strangers.push(stranger);
    }
    assert_eq!(all_verified(&service.url, 4, 20).await, 20, "newcomers are served");
    kept.write_all(ask.as_bytes()).await.expect("sent");
    assert_eq!(answer(&mut kept).await.body["isValid"], true, "who has shown work is not dropped for who has not");
    assert!(home.metric("http_connections_dropped_total").await >= 40.0);
}

/// J3.
#[tokio::test(flavor = "multi_thread")]
async fn callers_that_never_read_their_answers_lose_their_places() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("connections_max", 50).server("connections_per_ip_max", 10);
    let service = home.serve().await;
    let ask = request("GET /openapi.json", &["host: 127.0.0.1"], "").repeat(300);
    let mut deaf = Vec::new();
    for n in 0..50_u8 {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("set");
        socket.bind(format!("127.0.0.{}:0", 10 + n / 10).parse().expect("an address")).expect("bound");
        let to = service.url.trim_start_matches("http://").parse().expect("an address");
        let mut stream = socket.connect(to).await.expect("connected");
        drop(tokio::time::timeout(Duration::from_millis(200), stream.write_all(ask.as_bytes())).await);
        deaf.push(stream);
    }
    assert_eq!(all_verified(&service.url, 3, 20).await, 20);
    let told = Instant::now();
    let stopped = tokio::task::spawn_blocking(move || service.stop()).await.expect("no panic");
    assert_eq!(stopped, Some(0));
    assert!(told.elapsed() < Duration::from_secs(8), "nobody who does not read delays the end: {:?}", told.elapsed());
    drop(deaf);
}

/// J6, A02.
#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded_and_counted() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let before = service.memory_kib().1;
    let field = format!("x-{}: {}\r\n", "a", "b".repeat(1000));
    let mut open = Vec::new();
    for n in 0..200 {
        let mut stream = connect(&service.url, from(10 + n % 100)).await.expect("connected");
        let head = format!("POST /settle HTTP/1.1\r\nhost: 127.0.0.1\r\n{}", field.repeat(400));
        drop(stream.write_all(head.as_bytes()).await);
        open.push(stream);
    }
    eventually("they are refused", || async {
        (home.metric("http_connections_dropped_total").await >= 200.0).then_some(())
    })
    .await;
    let grown = service.memory_kib().0.saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB for heads of 80 MiB");
    assert!(verified(&service.url, 3).await);
}

/// J2: bytes in flight are bounded over all, and a payment is always read.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_hold_no_more_than_they_may() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("body_timeout", "20s");
    let service = home.serve().await;
    let before = service.memory_kib().1;
    let head =
        "POST /settle HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 262144\r\n\r\n";
    let part = [head.as_bytes(), &vec![b' '; 250_000]].concat();
    let mut open = Vec::new();
    for n in 0..200 {
        let mut stream = connect(&service.url, from(10 + n % 100)).await.expect("connected");
        drop(tokio::time::timeout(Duration::from_secs(2), stream.write_all(&part)).await);
        open.push(stream);
    }
    assert_eq!(all_verified(&service.url, 3, 10).await, 10);
    let grown = service.memory_kib().0.saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for bodies of 50 MiB");
    let answers = open.iter_mut().map(|stream| tokio::time::timeout(Duration::from_secs(2), answer(stream)));
    let answers: Vec<Raw> = futures::future::join_all(answers).await.into_iter().flatten().collect();
    let refused: Vec<_> = answers.iter().filter(|raw| raw.status == 503 && raw.code() == "too_busy").collect();
    assert!(refused.len() > 100, "of 50 MiB some 16 are held: {} are refused", refused.len());
    assert!(refused.iter().all(|raw| raw.head.contains("retry-after: ")));
}

/// J2: more values than any payment has.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_many_values_is_refused_before_they_are_kept() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let mut body = Draft::default().v2();
    body["paymentPayload"]["extensions"] =
        serde_json::json!({"x": {"info": vec![serde_json::json!({"a": 1}); 31_000]}});
    for path in ["/verify", "/settle"] {
        let refused = service.post(path, &body).await;
        assert_eq!((refused.status, refused.text("code")), (400, "body_too_complex"), "{refused:?}");
    }
    let mut body = Draft::default().v2();
    body["paymentPayload"]["extensions"] =
        serde_json::json!({"bazaar": {"info": {}, "schema": vec![serde_json::json!({"a": 1}); 500]}});
    assert!(service.post("/verify", &body).await.is_good(), "schemas that servers echo are welcome");
}

/// J2: a good payment with more white space than any has.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_padding_is_refused_before_it_is_read() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let body = Draft::default().v2();
    let ask = async |body: String| {
        let head = ["host: 127.0.0.1", "content-type: application/json", "connection: close"];
        say(&service.url, request("POST /verify", &head, &body).as_bytes()).await
    };
    for padded in [format!("{body}{}", " ".repeat(240_000)), format!("{}{body}", "\n".repeat(70_000))] {
        let refused = ask(padded).await;
        assert_eq!((refused.status, refused.code()), (400, "body_too_complex"), "{refused:?}");
    }
    let indented = serde_json::to_string_pretty(&body).expect("JSON");
    assert_eq!(ask(indented).await.status, 200, "a body that people can read is welcome");
}

/// A service that was started below a limit of open files.
struct Limited(Child);

impl Drop for Limited {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn serve_below(home: &Home, files: u64) -> Limited {
    let log = File::create(home.path().join("log")).expect("a log");
    let script = format!("ulimit -n {files} && exec \"$0\" serve --config \"$1\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(binary()).arg(home.config_file());
    Limited(command.current_dir(home.path()).stdin(Stdio::null()).stderr(log).spawn().expect("started"))
}

/// J4.
#[tokio::test(flavor = "multi_thread")]
async fn with_few_files_it_says_what_it_holds_and_serves_while_somebody_takes_all() {
    for files in [256, 1024] {
        let chain = Anvil::start().await;
        let home = Home::on(&chain);
        let _service = serve_below(&home, files);
        eventually("it is ready", || async {
            let answer = reqwest::get(format!("{}/ready", home.url)).await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        let log = home.log();
        assert!(log.contains(&format!("files={files}")) && log.contains("server.connections_max"), "{log}");
        let mut idle = Vec::new();
        for _ in 0..files {
            idle.extend(connect(&home.url, from(2)).await);
        }
        assert_eq!(all_verified(&home.url, 3, 8).await, 8, "{files} files");
        assert_eq!(all_verified(&home.url, 2, 8).await, 8, "even from the same address");
        assert!(!home.log().contains("Too many open files"), "{}", home.log());
    }
}

/// J1: the request that starts a shared call may end before it.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_that_reset_their_connections_take_no_honest_answer_along() {
    use e2e::proxy::{Fault, Proxy, Times};

    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&proxy.url]);
    let service = home.serve().await;
    proxy.fail("eth_call", Fault::Delay(Duration::from_millis(150)), Times::Always);
    let url = service.url.clone();
    let strangers = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            ticks.tick().await;
            let url = url.clone();
            tokio::spawn(async move { tokio::time::timeout(Duration::from_millis(60), verified(&url, 9)).await });
        }
    });
    let honest = all_verified(&service.url, 3, 15).await;
    strangers.abort();
    assert_eq!(honest, 15);
}

/// H01 of the engine's list seen from outside: asking whether it is ready costs nobody anything.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_in_a_loop_asks_no_node_and_writes_nothing() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service: Service = home.serve().await;
    let (calls, commits) = (home.metric("rpc_requests_total").await, home.metric("store_commits_total").await);
    let asked = Instant::now();
    for _ in 0..2000 {
        assert_eq!(service.get("/ready").await.status, 200);
    }
    let seconds = f64::from(u32::try_from(asked.elapsed().as_secs()).expect("short") + 2);
    let more = home.metric("rpc_requests_total").await - calls;
    assert!(more < 20.0 * seconds, "{more} requests to the node in {seconds} s are the service's own");
    assert!((home.metric("store_commits_total").await - commits).abs() < f64::EPSILON, "nothing is written");
}
