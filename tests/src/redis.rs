//! A real Redis on a Unix socket, which is paused, killed, filled and emptied on demand.

pub mod several;
pub mod tls;

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::eventually;

/// A Redis; it ends with the process of the test.
pub struct Redis {
    process: Option<Child>,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Redis {
    /// Starts one that keeps nothing on disk and may use 64 MiB.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with more settings, each as on its command line.
    ///
    /// # Panics
    /// If it does not start: `tests/run` installs it.
    pub async fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("redis.sock").display().to_string();
        let base = ["--port", "0", "--unixsocket", &socket, "--save", "", "--appendonly", "no", "--maxmemory", "64mb"];
        let arguments = base.iter().chain(settings).map(|argument| (*argument).to_owned()).collect();
        let mut redis = Self { process: None, folder, arguments };
        redis.restart().await;
        redis
    }

    /// Starts it again, empty and as it was first configured; it must not be running.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.process = Some(server(&self.folder, &arguments));
        eventually("Redis answers", || async { (self.ask(&["PING"]) == "PONG").then_some(()) }).await;
    }

    /// Returns the socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Returns the URL of the socket.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Runs a command, and returns the answer as `redis-cli` prints it.
    ///
    /// # Panics
    /// If `redis-cli` cannot be started.
    pub fn ask(&self, command: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-s").arg(self.socket()).args(command).output();
        String::from_utf8_lossy(&output.expect("Debian's package `redis-server` is installed").stdout).trim().to_owned()
    }

    /// Stops it without ending it: connections stay open, and nothing is answered.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("killed");
        process.wait().expect("gone");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("`kill` runs").success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// Starts a server in a folder. It dies with the thread that starts it: no test leaves one behind.
fn server(folder: &TempDir, arguments: &[&str]) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.path().join("log")).expect("a log");
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server"])
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null())
        .spawn()
        .expect("Debian's package `redis-server` is installed")
}
