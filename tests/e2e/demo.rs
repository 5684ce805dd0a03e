//! The first five minutes work: on both families, with an effect on the chain, and without a trace on the machine.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use e2e::{
    anvil::{Anvil, GAS_WALLET, USDC},
    eventually,
    service::{Home, binary},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

async fn demonstrated(arguments: &[&str]) {
    let output = Command::new(binary()).arg("demo").args(arguments).output().await.expect("the binary starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{printed}\n{said}");
    assert!(printed.contains("payee's balance 0 → 10000") && printed.contains("sunny"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_shown_on_a_local_evm_chain() {
    demonstrated(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_shown_on_a_local_solana_validator() {
    demonstrated(&["--solana"]).await;
}

/// The service waits for its token and for its gas money: one command brings both, and the payment that it prints settles.
#[tokio::test(flavor = "multi_thread")]
async fn a_local_chain_is_seeded_beside_the_service_and_the_payment_that_is_printed_settles() {
    let chain = Anvil::start().await;
    chain.node.call("anvil_setCode", json!([USDC, "0x"])).await;
    chain.node.call("anvil_setBalance", json!([GAS_WALLET, "0x0"])).await;
    let home = Home::on(&chain);
    let service = home.spawn();
    let seeded = Command::new(binary())
        .args(["seed", "--json", "--wait", "50s", "--rpc", &chain.node.url, "--facilitator", &home.url, "--config"])
        .arg(home.config_file())
        .output()
        .await
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&seeded.stderr).into_owned();
    assert!(seeded.status.success(), "{said}\n{}", home.log());
    let printed: Value = serde_json::from_slice(&seeded.stdout).expect("JSON");
    let payment = &printed["payments"][0];
    assert_eq!(payment["url"], format!("{}/settle", home.url));
    let payee = payment["body"]["paymentRequirements"]["payTo"].as_str().expect("a payee");
    assert!(service.post("/settle", &payment["body"]).await.is_good(), "{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, payee).await, 10_000);
    home.assert_audit();
}

/// A place where a demonstration finds a wrapper in the place of anvil, and where its traces are seen.
struct Stage {
    folder: TempDir,
}

impl Stage {
    /// A stage where `anvil` is this script.
    fn with_anvil(script: &str) -> Self {
        let stage = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir(stage.bin()).expect("made");
        fs::create_dir(stage.temporary()).expect("made");
        let wrapper = stage.bin().join("anvil");
        fs::write(&wrapper, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("executable");
        stage
    }

    fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    fn demo(&self, arguments: &[&str]) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut command = Command::new(binary());
        command.arg("demo").args(arguments).env("TMPDIR", self.temporary());
        command.env("PATH", format!("{}:{}", self.bin().display(), path.display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Fails the test unless every process with this stage in its environment ends, and no file is left.
    async fn assert_no_trace(&self) {
        eventually("no process of the demonstration is left", || async {
            processes_with(self.folder.path()).is_empty().then_some(())
        })
        .await;
        let left: Vec<_> = fs::read_dir(self.temporary()).expect("a folder").flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// The processes whose environment names a folder.
fn processes_with(folder: &Path) -> Vec<PathBuf> {
    let mark = folder.display().to_string();
    let all = fs::read_dir("/proc").expect("Linux").flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&mark)
    };
    all.filter(named).collect()
}

/// As npm's wrapper does: the node is a child of what was started.
fn wrapper() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let real = std::env::split_paths(&path).map(|folder| folder.join("anvil")).find(|path| path.exists());
    format!("{} \"$@\"\nexit $?", real.expect("anvil is on PATH").display())
}

async fn wait_for(child: &mut Child, words: &str) {
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    while let Some(line) = lines.next_line().await.expect("readable") {
        if line.contains(words) {
            // The rest is read too: a full pipe would keep the demonstration waiting.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return;
        }
    }
    panic!("the demonstration ended before it said {words:?}");
}

fn tell(child: &Child, signal: &str) {
    let id = child.id().expect("it runs").to_string();
    let told = std::process::Command::new("kill").args([&format!("-{signal}"), &id]).status().expect("`kill` runs");
    assert!(told.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_behind_a_demonstration_through_a_wrapper() {
    let stage = Stage::with_anvil(&wrapper());
    let output = stage.demo(&[]).output().await.expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stage.assert_no_trace().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_behind_a_demonstration_that_is_interrupted() {
    for (arguments, words, signal, code) in [
        (&["--keep"][..], "Ctrl-C ends it", "INT", 0),
        (&["--keep"], "Ctrl-C ends it", "TERM", 0),
        (&[], "starting a local chain", "INT", 130),
        (&[], "starting the facilitator", "TERM", 143),
    ] {
        let stage = Stage::with_anvil(&wrapper());
        let mut child = stage.demo(arguments).spawn().expect("the binary starts");
        wait_for(&mut child, words).await;
        tell(&child, signal);
        let status = child.wait().await.expect("it ends");
        assert_eq!(status.code(), Some(code), "{words} {signal}");
        stage.assert_no_trace().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_behind_a_demonstration_that_fails() {
    let stage = Stage::with_anvil("sleep 1000 &\nexit 3");
    let output = stage.demo(&[]).output().await.expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("the local chain ended at once"), "{said}");
    stage.assert_no_trace().await;
}
