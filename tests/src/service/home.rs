//! A place with a configuration and a store, where the service runs and runs again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use toml::{Table, Value};

use super::{
    Service, binary,
    config::{Config, LocalNetwork},
};
use crate::{PATIENCE, anvil::free_port, postgres::Postgres};

/// The variable that has every test store in PostgreSQL, unless the test says where.
pub const STORE_VARIABLE: &str = "E2E_STORE";

/// The databases that a service can store in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A SQLite file.
    Sqlite,
    /// A PostgreSQL server of its own.
    Postgres,
}

impl Stored {
    /// Returns the one that the environment names, else SQLite.
    ///
    /// # Panics
    /// If the environment names another one.
    pub fn of_environment() -> Self {
        match std::env::var(STORE_VARIABLE).as_deref() {
            Err(_) | Ok("sqlite") => Self::Sqlite,
            Ok("postgres") => Self::Postgres,
            Ok(other) => panic!("{STORE_VARIABLE} is {other:?}: sqlite or postgres"),
        }
    }
}

/// A place with a configuration and a store, where the service runs and runs again.
///
/// ```no_run
/// # async fn example() {
/// use e2e::{anvil::Anvil, service::Home};
/// let chain = Anvil::start().await;
/// let home = Home::on(&chain).server("settle_wait", "3s").network("confirmations", 3);
/// let service = home.serve().await;
/// # }
/// ```
pub struct Home {
    folder: TempDir,
    postgres: Option<Arc<Postgres>>,
    config: Config,
    log_filter: String,
    /// The address of the public listener.
    pub url: String,
    /// The address of the admin listener.
    pub admin_url: String,
    client: reqwest::Client,
}

impl Home {
    /// Returns a home for a service on this chain.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn on(chain: &impl LocalNetwork) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (listen, admin_listen) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let mut config = Config::of(chain);
        config.set("server", "listen", listen.as_str());
        config.set("admin", "listen", admin_listen.as_str());
        let (url, admin_url) = (format!("http://{listen}"), format!("http://{admin_listen}"));
        let log_filter = std::env::var("FACILITATOR_TEST_LOG").unwrap_or_else(|_| "info".into());
        let client = crate::http_client();
        let home = Self { folder, postgres: None, config, log_filter, url, admin_url, client };
        home.stored_in(Stored::of_environment())
    }

    /// Stores in another database, which is empty.
    #[must_use]
    pub fn stored_in(self, stored: Stored) -> Self {
        match stored {
            Stored::Postgres => self.stored_on(Postgres::start()),
            Stored::Sqlite => {
                let url = format!("sqlite://{}", self.database().display());
                Self { postgres: None, ..self }.stored_at(&url)
            }
        }
    }

    /// Stores on this server.
    #[must_use]
    pub fn stored_on(self, server: Postgres) -> Self {
        let url = server.url("postgres");
        self.stored_on_by(server, &url)
    }

    /// Stores on this server, which is reached by this URL.
    #[must_use]
    pub fn stored_on_by(self, server: Postgres, url: &str) -> Self {
        // A process that starts again has its gas wallets again at once.
        Self { postgres: Some(Arc::new(server)), ..self }.stored_at(url).section("instance", "name", "one")
    }

    fn stored_at(self, url: &str) -> Self {
        self.section("store", "url", url).section("store", "auto_migrate", true)
    }

    /// Returns the home of another instance on the same chain and database, with a name of its own.
    ///
    /// # Panics
    /// If this one stores in a file.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (listen, admin_listen) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let postgres = Some(Arc::clone(self.postgres.as_ref().expect("stored in PostgreSQL")));
        let (mut config, log_filter) = (self.config.clone(), self.log_filter.clone());
        config.set("server", "listen", listen.as_str());
        config.set("admin", "listen", admin_listen.as_str());
        let (url, admin_url) = (format!("http://{listen}"), format!("http://{admin_listen}"));
        let client = crate::http_client();
        let home = Self { folder, postgres, config, log_filter, url, admin_url, client };
        home.section("instance", "name", name)
    }

    /// Returns the server that this home's service stores in.
    ///
    /// # Panics
    /// If it stores in a file.
    pub fn postgres(&self) -> &Postgres {
        self.postgres.as_ref().expect("stored in PostgreSQL")
    }

    /// Returns the same, to be kept beside the home.
    ///
    /// # Panics
    /// If it stores in a file.
    pub fn shared_postgres(&self) -> Arc<Postgres> {
        Arc::clone(self.postgres.as_ref().expect("stored in PostgreSQL"))
    }

    /// Puts these nodes in the place of the chain's own.
    #[must_use]
    pub fn rpc(self, urls: &[&str]) -> Self {
        self.network("rpc", urls.to_vec())
    }

    /// Sets the keys of the gas wallets.
    #[must_use]
    pub fn wallets(self, keys: &[&str]) -> Self {
        self.network("gas_wallets", keys.to_vec())
    }

    /// Sets a key of `[server]`.
    #[must_use]
    pub fn server(self, key: &str, value: impl Into<Value>) -> Self {
        self.section("server", key, value)
    }

    /// Sets a key of the network's table.
    #[must_use]
    pub fn network(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.config.set_network(key, value);
        self.written()
    }

    /// Sets a key of a section.
    #[must_use]
    pub fn section(mut self, section: &str, key: &str, value: impl Into<Value>) -> Self {
        self.config.set(section, key, value);
        self.written()
    }

    /// Adds another network.
    #[must_use]
    pub fn more(mut self, identifier: &str, network: Table) -> Self {
        self.config.add_network(identifier, network);
        self.written()
    }

    /// Adds an asset; the first one replaces the known network's list.
    #[must_use]
    pub fn asset(mut self, asset: Table) -> Self {
        self.config.add_asset(asset);
        self.written()
    }

    /// Logs these lines at least, one JSON object each.
    #[must_use]
    pub fn logs_json(mut self, filter: &str) -> Self {
        filter.clone_into(&mut self.log_filter);
        self.server("log_format", "json")
    }

    fn written(self) -> Self {
        fs::write(self.config_file(), self.config.to_string()).expect("written");
        self
    }

    /// Returns the path of the configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.path().join("facilitator.toml")
    }

    /// Returns the path of the database, where it is a file.
    pub fn database(&self) -> PathBuf {
        self.path().join("facilitator.db")
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a command of the binary, with this configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--config").arg(self.config_file()).current_dir(self.path());
        command
    }

    /// Runs a command of the binary to its end, while the test's own proxies go on.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Output {
        tokio::task::block_in_place(|| self.command(arguments).output()).expect("the binary runs")
    }

    /// Starts the service and waits until it takes payments.
    ///
    /// # Panics
    /// If the process ends, or takes none within a minute.
    pub async fn serve(&self) -> Service {
        let began = Instant::now();
        let mut service = self.spawn();
        loop {
            let ready = service.try_get("/ready").await;
            if ready.as_ref().is_some_and(|ready| ready.status == 200) {
                return service;
            }
            let ended = service.exit_code();
            let late = began.elapsed() > PATIENCE;
            assert!(ended.is_none() && !late, "not ready, exit code {ended:?}: {ready:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts the service and does not wait.
    pub fn spawn(&self) -> Service {
        self.spawn_with(&[])
    }

    /// Starts the service with more arguments and does not wait.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn_with(&self, more: &[&str]) -> Service {
        let mut command = self.command(&["serve"]);
        command.args(more);
        self.spawn_command(command)
    }

    /// Starts the service by a command that becomes it, and does not wait.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn_command(&self, mut command: Command) -> Service {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path().join("log")).expect("a log");
        let process = command
            .env("RUST_LOG", &self.log_filter)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        Service { process, url: self.url.clone(), client: self.client.clone() }
    }

    /// Returns everything that the service has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Returns what `/metrics` answers.
    ///
    /// # Panics
    /// If the admin listener does not answer.
    pub async fn metrics(&self) -> String {
        self.try_metrics().await.expect("an answer")
    }

    /// The same; `None` when the admin listener does not answer.
    pub async fn try_metrics(&self) -> Option<String> {
        let answer = self.client.get(format!("{}/metrics", self.admin_url)).send().await.ok()?;
        let media_type = answer.headers().get("content-type")?;
        (media_type == "text/plain; version=0.0.4; charset=utf-8").then_some(())?;
        answer.text().await.ok()
    }

    /// Returns a number from `/metrics`, by its name without `facilitator_`: the sum over all labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let Ok(answer) = self.client.get(format!("{}/metrics", self.admin_url)).send().await else { return 0.0 };
        let text = answer.text().await.unwrap_or_default();
        let named = |line: &&str| {
            let full = line.split(['{', ' ']).next().unwrap_or("");
            full.strip_prefix("facilitator_").unwrap_or(full) == name
        };
        let lines = text.lines().filter(named);
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).fold(0.0, add)
    }

    /// Puts the batch contract of the configured gas wallets on chain, by the command for it.
    ///
    /// # Panics
    /// If the command fails.
    #[must_use]
    pub fn with_batch_contract(self) -> Self {
        let output = self.run(&["batch-contract", "deploy"]);
        assert!(output.status.success(), "{}", text_of(&output));
        self
    }

    /// Waits until so many payments wait for a place.
    pub async fn queued(&self, count: u32) {
        let series = format!("state=\"queued\"}} {count}");
        crate::eventually(&format!("{count} payments wait"), || async {
            let metrics = self.try_metrics().await?;
            metrics
                .lines()
                .any(|line| line.starts_with("facilitator_settlements_in_flight") && line.ends_with(&series))
                .then_some(())
        })
        .await;
    }

    /// Returns the audit's exit code and what it printed.
    pub fn audit(&self) -> (i32, String) {
        let output = self.run(&["audit"]);
        (output.status.code().unwrap_or(-1), text_of(&output))
    }

    /// Fails the test unless the audit finds the store and the chain to agree.
    ///
    /// # Panics
    /// With what the audit printed and the log.
    pub fn assert_audit(&self) {
        let (code, text) = self.audit();
        assert_eq!(code, 0, "{text}\n{}", self.log());
    }
}

/// Returns what a command printed, on both channels.
pub fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[expect(clippy::float_arithmetic, reason = "Prometheus counts in floats; no money is in them")]
fn add(a: f64, b: f64) -> f64 {
    a + b
}
