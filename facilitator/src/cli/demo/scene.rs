//! The demonstration's seam to a chain family, and the parts that its local
//! chains share: a process, ports, a folder. All vanish with it.

use std::{
    net::{TcpListener, UdpSocket},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use chains_core::Amount;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde_json::Value;

/// Looks for an answer, and the pause between two. npm may have to fetch anvil first.
const LOOKS: u32 = 1200;
const PAUSE: Duration = Duration::from_millis(100);

/// A local chain with a buyer who has tokens, and a payee.
pub(super) trait Scene {
    /// The network's table in the service's configuration.
    fn table(&self) -> String;

    /// Returns the shop's requirements, given the service's `/supported`.
    fn requirements(&self, supported: &Value) -> anyhow::Result<Value>;

    /// The buyer's payload for a price.
    async fn sign(&self, accepted: &Value) -> anyhow::Result<Value>;

    /// Returns the account that is paid.
    fn payee(&self) -> String;

    /// Returns the payee's balance, in atomic units.
    async fn payee_balance(&self) -> anyhow::Result<Amount>;
}

/// A node's process and all that it has started, ended when dropped: npm's
/// wrapper, for one, starts the node as a process of its own.
pub(super) struct Node {
    process: Child,
    pub(super) url: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        // The process leads a group; its number is not given away before it is waited for.
        if let Err(error) = kill_process_group(Pid::from_child(&self.process), Signal::KILL) {
            eprintln!("the local chain could not be ended: {error}");
        }
        drop(self.process.wait());
    }
}

impl Node {
    pub(super) const fn new(process: Child, url: String) -> Self {
        Self { process, url }
    }

    /// Waits until it is up.
    pub(super) async fn until(self, is_up: impl AsyncFn() -> bool) -> anyhow::Result<Self> {
        for _ in 0..LOOKS {
            if is_up().await {
                return Ok(self);
            }
            if has_ended(&self.process)? {
                bail!("the local chain ended at once; start it by hand to see why");
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("the local chain does not answer at {}", self.url)
    }
}

/// Returns true for a process that has ended, and leaves it to be waited for: until then
/// its number names its group.
fn has_ended(process: &Child) -> rustix::io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(process)), options)?.is_some())
}

/// Starts a process, in a group of its own, whose output nobody reads.
pub(super) fn quiet(command: &mut Command) -> std::io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn()
}

/// The first of so many free ports in a row.
pub(super) fn free_port(count: u16) -> anyhow::Result<u16> {
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
    let mut firsts = (0..100).map(|_| rand::random_range(20_000..30_000_u16));
    firsts.find(|first| (*first..first + count).all(is_free)).context("no ports are free")
}

/// Waits until the service takes payments.
pub(super) async fn ready(facilitator: &str) -> anyhow::Result<()> {
    for _ in 0..LOOKS {
        let answer = reqwest::get(format!("{facilitator}/ready")).await?;
        if answer.status().is_success() {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("the service does not become ready: see {facilitator}/ready")
}

/// A folder of its own.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("facilitator-demo-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
