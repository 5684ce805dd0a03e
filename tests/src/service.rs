//! The built `facilitator` binary on a free port, with a configuration and a
//! store of its own.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use chains_core::chain::Chain;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    anvil::{Anvil, GAS_WALLET_KEY, NETWORK, free_port},
    eventually,
};

/// A place with a configuration and a store, where the service runs and runs again.
pub struct Home {
    folder: TempDir,
    /// The address of the public listener.
    pub url: String,
    /// The address of the admin listener.
    pub admin_url: String,
    client: reqwest::Client,
}

/// A running service; killed when dropped.
pub struct Service {
    process: Child,
    /// Where to reach it.
    pub url: String,
    client: reqwest::Client,
}

/// What a process holds, as Linux counts it.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// Threads.
    pub threads: u64,
    /// Open files and sockets.
    pub descriptors: u64,
    /// Resident memory in KiB.
    pub resident_kib: u64,
}

/// An HTTP answer: status and JSON body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body; null when it is no JSON.
    pub body: Value,
}

/// The built binary beside the test's own.
///
/// # Panics
/// When it is not built; `tests/run` builds it.
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let profile = own.ancestors().find(|folder| folder.join("deps").is_dir()).expect("a target folder");
    let path = profile.join("facilitator");
    assert!(path.exists(), "{} is not built: cargo build --workspace --bins", path.display());
    path
}

impl Home {
    /// A home for a service on this chain; `rpc` replaces the chain's own address.
    pub fn new(anvil: &Anvil) -> Self {
        Self::with(&anvil.node.url, "", "")
    }

    /// A home with additions to `[server]` and to the network's table.
    pub fn with(rpc: &str, server: &str, network: &str) -> Self {
        let table = format!(
            "[networks.\"{NETWORK}\"]\nrpc = [\"{rpc}\"]\ngas_wallets = [\"{GAS_WALLET_KEY}\"]\n\
             block_time = \"1s\"\n{network}\n"
        );
        Self::serving(server, &table)
    }

    /// A home with additions to `[server]`, for these networks' tables.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn serving(server: &str, networks: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (port, admin_port) = (free_port(), free_port());
        let database = folder.path().join("facilitator.db");
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\n{server}\n\
             [admin]\nlisten = \"127.0.0.1:{admin_port}\"\n\
             [store]\nurl = \"sqlite://{}\"\n\
             {networks}\n",
            database.display()
        );
        let mut file = fs::File::create(folder.path().join("facilitator.toml")).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        Self {
            folder,
            url: format!("http://127.0.0.1:{port}"),
            admin_url: format!("http://127.0.0.1:{admin_port}"),
            client: reqwest::Client::new(),
        }
    }

    /// The same home with other gas wallets.
    ///
    /// # Panics
    /// When the disk is full.
    #[must_use]
    pub fn with_gas_wallets(self, keys: &[&str]) -> Self {
        let file = self.path().join("facilitator.toml");
        let text = fs::read_to_string(&file).expect("a configuration");
        let text = text.replace(&format!("gas_wallets = [\"{GAS_WALLET_KEY}\"]"), &format!("gas_wallets = {keys:?}"));
        fs::write(file, text).expect("written");
        self
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A command of the binary, with this configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--config").arg(self.path().join("facilitator.toml")).current_dir(self.path());
        command
    }

    /// Runs a command of the binary to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// Starts the service and waits until it takes payments.
    pub async fn serve(&self) -> Service {
        let service = self.spawn();
        eventually("the service is ready", || async {
            let answer = self.client.get(format!("{}/ready", self.url)).send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        service
    }

    /// Starts the service and does not wait.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(&self) -> Service {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path().join("log")).expect("a log");
        let process = self
            .command(&["serve"])
            .env("RUST_LOG", std::env::var("FACILITATOR_TEST_LOG").unwrap_or_else(|_| "info".into()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        Service { process, url: self.url.clone(), client: self.client.clone() }
    }

    /// Everything that the service has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// A number from `/metrics`: the sum over all labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let Ok(answer) = self.client.get(format!("{}/metrics", self.admin_url)).send().await else { return 0.0 };
        let text = answer.text().await.unwrap_or_default();
        let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).fold(0.0, add)
    }

    /// The audit's exit code and what it printed.
    pub fn audit(&self) -> (i32, String) {
        let output = self.run(&["audit"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }
}

#[expect(clippy::float_arithmetic, reason = "Prometheus counts in floats; no money is in them")]
fn add(a: f64, b: f64) -> f64 {
    a + b
}

impl Service {
    /// Posts a body.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_post(path, body, None).await.expect("the service answers")
    }

    /// Posts a body, perhaps with an `Idempotency-Key`; `None` when no answer comes.
    pub async fn try_post(&self, path: &str, body: &Value, key: Option<&str>) -> Option<Answer> {
        let mut request = self.client.post(format!("{}{path}", self.url)).json(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
    }

    /// Asks for a path.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.expect("the service answers")
    }

    /// Asks for a path; `None` when no answer comes.
    pub async fn try_get(&self, path: &str) -> Option<Answer> {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// When the process cannot be killed.
    pub fn kill(mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }

    /// Asks it to stop, as a service manager does, and waits for its end.
    ///
    /// # Panics
    /// When the process cannot be told.
    pub fn stop(mut self) -> Option<i32> {
        let told = Command::new("kill").arg(self.process.id().to_string()).status().expect("`kill` runs");
        assert!(told.success());
        self.process.wait().expect("gone").code()
    }

    /// Its peak and present resident memory in KiB, as Linux counts it.
    pub fn memory_kib(&self) -> (u64, u64) {
        (self.status("VmHWM:"), self.status("VmRSS:"))
    }

    /// What it holds at present.
    pub fn footprint(&self) -> Footprint {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.process.id())).map_or(0, Iterator::count);
        Footprint {
            threads: self.status("Threads:"),
            descriptors: u64::try_from(descriptors).unwrap_or(u64::MAX),
            resident_kib: self.status("VmRSS:"),
        }
    }

    /// A number of `/proc/…/status`; 0 when there is none.
    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let field = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
        field.unwrap_or(0)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Answer {
    /// A text of the body; empty when it is not there.
    pub fn text(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or("")
    }

    /// Whether the body says `success: true` or `isValid: true`.
    pub fn is_good(&self) -> bool {
        self.body["success"] == true || self.body["isValid"] == true
    }
}

/// A chain of the EVM family as the service would configure it, without the service.
pub fn network_section(rpc: &str, clock: &std::sync::Arc<dyn chains_core::clock::Clock>) -> std::sync::Arc<dyn Chain> {
    let table = format!(
        "[networks.\"{NETWORK}\"]\nrpc = [\"{rpc}\"]\ngas_wallets = [\"{GAS_WALLET_KEY}\"]\nblock_time = \"1s\"\n"
    );
    chain_of(&table, clock)
}

/// A chain as the service would configure it from a network's table, without the service.
///
/// # Panics
/// When the configuration is wrong.
pub fn chain_of(table: &str, clock: &std::sync::Arc<dyn chains_core::clock::Clock>) -> std::sync::Arc<dyn Chain> {
    let text = format!("[store]\nurl = \"sqlite://unused.db\"\n{table}");
    let environment = facilitator::config::Environment::new();
    let config = facilitator::config::read(&text, &environment, facilitator::families::FAMILIES, clock);
    let mut chains = config.unwrap_or_else(|report| panic!("{:?}", report.problems())).chains;
    chains.remove(0)
}
