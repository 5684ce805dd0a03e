//! The built `facilitator` binary on a free port, with a configuration and a
//! store of its own.

pub mod config;
mod home;

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command},
    sync::Arc,
};

use chains_core::{chain::Chain, clock::Clock};
use serde_json::Value;

use crate::eventually;

use self::config::{Config, LocalNetwork};
pub use self::home::{Home, STORE_VARIABLE, Stored, text_of};

/// A running service; killed when dropped.
pub struct Service {
    process: Child,
    /// The address to reach it at.
    pub url: String,
    client: reqwest::Client,
}

/// The holdings of a process, as Linux counts them.
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

/// The variable that names another binary to test, for example that of an earlier version.
pub const BINARY_VARIABLE: &str = "E2E_BINARY";

/// Returns the built binary beside the test's own, or the one that the environment names.
///
/// # Panics
/// If it is not built; `tests/run` builds it.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os(BINARY_VARIABLE) {
        return path.into();
    }
    let own = std::env::current_exe().expect("a path");
    let profile = own.ancestors().find(|folder| folder.join("deps").is_dir()).expect("a target folder");
    let path = profile.join("facilitator");
    assert!(path.exists(), "{} is not built: cargo build --workspace --bins", path.display());
    path
}

impl Service {
    /// Posts a body.
    ///
    /// # Panics
    /// If no answer comes.
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
    /// If no answer comes.
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

    /// Settles a payment: asks again as long as the answer is pending or the service cannot say.
    pub async fn decided(&self, body: &Value) -> Answer {
        self.decided_for(body, None).await
    }

    /// The same with an `Idempotency-Key`.
    pub async fn decided_for(&self, body: &Value, key: Option<&str>) -> Answer {
        eventually("the payment is decided", || async {
            let answer = self.try_post("/settle", body, key).await?;
            (answer.status == 200 && answer.text("errorReason") != "settlement_pending").then_some(answer)
        })
        .await
    }

    /// Returns a settlement as `GET /settlements/{id}` shows it.
    pub async fn settlement(&self, id: &str) -> Answer {
        self.get(&format!("/settlements/{id}")).await
    }

    /// Waits until a settlement has this state, and returns it.
    pub async fn settlement_in(&self, id: &str, state: &str) -> Answer {
        eventually(&format!("settlement {id} is {state}"), || async {
            let found = self.try_get(&format!("/settlements/{id}")).await?;
            (found.text("state") == state).then_some(found)
        })
        .await
    }

    /// Waits until `/ready` says one of these words; returns its answer.
    pub async fn ready_says(&self, words: &[&str]) -> Answer {
        eventually(&format!("/ready says one of {words:?}"), || async {
            let ready = self.try_get("/ready").await?;
            let text = ready.body.to_string().to_lowercase();
            words.iter().any(|word| text.contains(word)).then_some(ready)
        })
        .await
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Tells it to stop, as a service manager does, and does not wait.
    ///
    /// # Panics
    /// If the process cannot be told.
    pub fn terminate(&self) {
        let told = Command::new("kill").arg(self.process.id().to_string()).status().expect("`kill` runs");
        assert!(told.success());
    }

    /// Returns the exit code once the process has ended.
    ///
    /// # Panics
    /// If the process cannot be asked about.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.process.try_wait().expect("a child").map(|status| status.code().unwrap_or(-1))
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// If the process cannot be killed.
    pub fn kill(mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }

    /// Asks it to stop, as a service manager does, and waits for its end.
    ///
    /// # Panics
    /// If the process cannot be told.
    pub fn stop(mut self) -> Option<i32> {
        self.terminate();
        self.process.wait().expect("gone").code()
    }

    /// Its peak and present resident memory in KiB, as Linux counts it.
    pub fn memory_kib(&self) -> (u64, u64) {
        (self.status("VmHWM:"), self.status("VmRSS:"))
    }

    /// Returns its holdings at present.
    pub fn footprint(&self) -> Footprint {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.process.id())).map_or(0, Iterator::count);
        Footprint {
            threads: self.status("Threads:"),
            descriptors: u64::try_from(descriptors).unwrap_or(u64::MAX),
            resident_kib: self.status("VmRSS:"),
        }
    }

    /// The times that its threads, those that are still there, have gone to sleep: each is a wake-up.
    pub fn wake_ups(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id()));
        let statuses = tasks.into_iter().flatten().flatten().map(|task| task.path().join("status"));
        statuses
            .filter_map(|path| fs::read_to_string(path).ok())
            .map(|status| number(&status, "voluntary_ctxt_switches:"))
            .sum()
    }

    /// A number of `/proc/…/status`; 0 when there is none.
    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        number(&status, name)
    }
}

/// The number behind a name, one to a line; 0 when there is none.
fn number(status: &str, name: &str) -> u64 {
    let field = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    field.unwrap_or(0)
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

    /// Returns the settlement's id of a settle answer; empty when it is not there.
    pub fn settlement_id(&self) -> &str {
        self.body["extra"]["settlementId"].as_str().unwrap_or("")
    }

    /// Returns true when the body says `success: true` or `isValid: true`.
    pub fn is_good(&self) -> bool {
        self.body["success"] == true || self.body["isValid"] == true
    }
}

/// Returns a chain as the service would configure it, without the service; the node replaces the chain's own.
///
/// # Panics
/// If the configuration is wrong.
pub fn chain_of(network: &impl LocalNetwork, node: &str, clock: &Arc<dyn Clock>) -> Arc<dyn Chain> {
    let mut config = Config::of(network);
    config.set("store", "url", "sqlite://unused.db");
    config.set_network("rpc", vec![node]);
    let environment = facilitator::config::Environment::new();
    let config = facilitator::config::read(&config.to_string(), &environment, facilitator::families::FAMILIES, clock);
    let mut chains = config.unwrap_or_else(|report| panic!("{:?}", report.problems())).chains;
    chains.remove(0)
}
