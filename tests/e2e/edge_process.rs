//! The process beside its callers: its log, its signals, its files and its environment.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use e2e::{
    anvil::Anvil,
    eventually,
    payer::Draft,
    service::{Home, Stored, binary, text_of},
};
use serde_json::Value;

/// A service with another standard error.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Started {
    fn signal(&self, name: &str) {
        let told = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status().expect("`kill` runs");
        assert!(told.success());
    }

    async fn exit_within(&mut self, time: Duration) -> Option<i32> {
        let told = Instant::now();
        let code = eventually("it ends", || {
            let code = self.0.try_wait().expect("a child").map(|status| status.code().unwrap_or(-1));
            async move { code }
        })
        .await;
        (told.elapsed() < time).then_some(code)
    }
}

fn start(home: &Home, log: &str, stderr: impl Into<Stdio>) -> Started {
    let child = home.command(&["serve"]).env("RUST_LOG", log).stdin(Stdio::null()).stderr(stderr).spawn();
    Started(child.expect("the binary starts"))
}

async fn ready(home: &Home) {
    eventually("it is ready", || async {
        let answer = reqwest::get(format!("{}/ready", home.url)).await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
}

/// Asks for payments to be settled and verified; the number of good answers.
async fn pays(home: &Home) -> usize {
    let client = e2e::http_client();
    let mut good = 0;
    for path in ["settle", "verify", "verify", "settle"] {
        let ask = client.post(format!("{}/{path}", home.url)).json(&Draft::default().v2());
        let answer: Value = ask.send().await.expect("an answer").json().await.expect("JSON");
        good += usize::from(answer["success"] == true || answer["isValid"] == true);
    }
    good
}

/// J5.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_closed_blocked_or_on_a_full_disk_stops_nothing() {
    let chain = Anvil::start().await;
    for kind in ["closed", "blocked", "full disk"] {
        let home = Home::on(&chain);
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let full = File::options().write(true).open("/dev/full").expect("a full disk");
        // What Linux keeps of a pipe that nobody reads: the next byte has to wait.
        writer.write_all(&vec![0; 65_536]).expect("it fits");
        let stderr: Stdio = if kind == "full disk" { full.into() } else { writer.into() };
        let mut unread = Some(reader);
        if kind == "closed" {
            drop(unread.take());
        }
        let mut service = start(&home, "debug", stderr);
        ready(&home).await;
        assert_eq!(pays(&home).await, 4, "{kind}");
        if kind != "blocked" {
            eventually("what is lost is counted", || async {
                (home.metric("log_lines_dropped_total").await > 0.0).then_some(())
            })
            .await;
        }
        let health = reqwest::get(format!("{}/health", home.url)).await.expect("an answer");
        assert_eq!(health.status(), 200, "{kind}");
        service.signal("TERM");
        assert_eq!(service.exit_within(Duration::from_secs(8)).await, Some(0), "{kind}");
        drop(unread);
    }
}

/// Lines that were logged before the end are written, however soon the end comes.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_lines_are_written() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let mut service = start(&home, "info", Stdio::piped());
    ready(&home).await;
    service.signal("TERM");
    let mut text = String::new();
    service.0.stderr.take().expect("a pipe").read_to_string(&mut text).expect("text");
    assert_eq!(service.exit_within(Duration::from_secs(8)).await, Some(0));
    assert!(text.contains("the service runs") && text.contains("stopped"), "{text}");
}

/// J10.
#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_drains_unless_it_is_ignored() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let mut service = start(&home, "info", Stdio::null());
    ready(&home).await;
    service.signal("HUP");
    assert_eq!(service.exit_within(Duration::from_secs(8)).await, Some(0), "as with SIGTERM");
    let script = "trap '' HUP; exec \"$0\" serve --config \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(binary()).arg(home.config_file());
    let mut service = Started(command.current_dir(home.path()).stderr(Stdio::null()).spawn().expect("started"));
    ready(&home).await;
    service.signal("HUP");
    assert_eq!(pays(&home).await, 4, "started by nohup it goes on");
    service.signal("TERM");
    assert_eq!(service.exit_within(Duration::from_secs(8)).await, Some(0));
}

/// J10, I06: whatever the umask.
#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_for_this_user_only() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Sqlite);
    let database = home.database();
    fs::write(&database, "").expect("written");
    fs::set_permissions(&database, fs::Permissions::from_mode(0o644)).expect("an old store");
    let service = home.serve().await;
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good());
    let mut seen = 0;
    for file in fs::read_dir(home.path()).expect("a folder") {
        let file = file.expect("a file");
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("facilitator.db") {
            seen += 1;
            let mode = file.metadata().expect("a file").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
        }
    }
    assert!(seen >= 3, "the database, its log and its lock");
}

/// I06.
#[tokio::test(flavor = "multi_thread")]
async fn no_core_dump_can_hold_the_keys() {
    let chain = Anvil::start().await;
    let service = Home::on(&chain).serve().await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", service.id())).expect("a process");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

/// J10.
#[tokio::test(flavor = "multi_thread")]
async fn variables_that_are_left_over_are_named_and_their_values_are_not_shown() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("log", "${CANARY_LOG}");
    let check = |variables: &[(&str, &str)]| {
        let output = home.command(&["config", "check"]).envs(variables.iter().copied()).output().expect("it runs");
        (output.status.code(), text_of(&output))
    };
    let left_over = [
        ("CANARY_LOG", "info"),
        ("FACILITATOR__AUTH__ALLOW_OPEN", "true"),
        ("FACILITATOR__SERVER__BODY_MAX_BYTES", "20000"),
        ("FACILITATOR_TYPO", "1"),
    ];
    let (code, text) = check(&left_over);
    assert_eq!(code, Some(0), "{text}");
    for expected in ["FACILITATOR__AUTH__ALLOW_OPEN sets auth.allow_open", "server.body_max_bytes", "FACILITATOR_TYPO"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let (code, text) = check(&[("CANARY_LOG", "canary=secret=1")]);
    assert!(code == Some(64) && text.contains("server.log") && text.contains("CANARY_LOG"), "{text}");
    assert!(!text.contains("canary=secret"), "{text}");
}
