//! A real Prometheus that scrapes a service every second, and its tool.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, anvil::free_port, eventually};

/// A running Prometheus; killed when dropped.
pub struct Prometheus {
    process: Child,
    url: String,
    client: reqwest::Client,
    _folder: TempDir,
}

/// An alert that fires: its name, and the node that it is about, if any.
pub type Firing = (String, String);

impl Prometheus {
    /// Starts one that scrapes this admin listener under the job `facilitator`, and judges by these rules.
    ///
    /// # Panics
    /// If it does not start: `tests/run` installs it.
    pub async fn start(admin_url: &str, rules: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let target = admin_url.trim_start_matches("http://");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [rules.yml]\nscrape_configs:\n  \
             - job_name: facilitator\n    static_configs: [{{targets: [\"{target}\"]}}]\n"
        );
        for (name, text) in [("prometheus.yml", config.as_str()), ("rules.yml", rules)] {
            fs::write(folder.path().join(name), text).expect("written");
        }
        let address = format!("127.0.0.1:{}", free_port());
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's package `prometheus` is installed");
        let (url, client) = (format!("http://{address}"), crate::http_client());
        let prometheus = Self { process, url, client, _folder: folder };
        eventually("Prometheus has scraped the service", || async {
            let up = prometheus.ask("/api/v1/query?query=up").await?;
            (up["data"]["result"][0]["value"][1] == "1").then_some(())
        })
        .await;
        prometheus
    }

    /// Returns the alerts that fire now.
    pub async fn firing(&self) -> BTreeSet<Firing> {
        let alerts = self.ask("/api/v1/alerts").await.unwrap_or_default();
        let alerts = alerts["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let text = |alert: &Value, label: &str| alert["labels"][label].as_str().unwrap_or("").to_owned();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| (text(alert, "alertname"), text(alert, "node"))).collect()
    }

    /// Waits until exactly these alerts fire.
    ///
    /// # Panics
    /// If that does not happen.
    pub async fn fires(&self, what: &str, expected: &[(&str, &str)]) {
        self.fires_among(what, expected, &[]).await;
    }

    /// The same, where these others may fire too.
    ///
    /// # Panics
    /// As [`fires`](Self::fires).
    pub async fn fires_among(&self, what: &str, expected: &[(&str, &str)], others: &[&str]) {
        let expected: BTreeSet<Firing> =
            expected.iter().map(|(name, node)| ((*name).to_owned(), (*node).to_owned())).collect();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut firing = self.firing().await;
            firing.retain(|(name, _)| !others.contains(&name.as_str()));
            if firing == expected {
                return;
            }
            let in_time = tokio::time::Instant::now() < deadline;
            assert!(in_time, "{what}: {firing:?} instead of {expected:?}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    async fn ask(&self, path: &str) -> Option<Value> {
        self.client.get(format!("{}{path}", self.url)).send().await.ok()?.json().await.ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Runs Prometheus' own tool in a folder, with this input.
///
/// # Panics
/// If it cannot be started: `tests/run` installs it.
pub fn promtool(folder: &std::path::Path, arguments: &[&str], input: &str) -> Output {
    let mut tool = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Debian's package `prometheus` is installed");
    let mut to_tool = tool.stdin.take().expect("a pipe");
    to_tool.write_all(input.as_bytes()).expect("it reads");
    drop(to_tool);
    tool.wait_with_output().expect("it ends")
}
