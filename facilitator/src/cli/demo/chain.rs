//! The demonstration's chain and folder; both vanish with it.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use chains_evm::local::LocalChain;
use serde_json::json;

/// Looks for an answer, and the pause between two. npm may have to fetch anvil first.
const LOOKS: u32 = 1200;
const PAUSE: Duration = Duration::from_millis(100);

/// A running anvil.
pub(super) struct Anvil {
    process: Child,
    pub(super) url: String,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Anvil {
    /// Starts `anvil` from PATH, or else through npm.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let arguments = ["--chain-id", "84532", "--block-time", "1", "--slots-in-an-epoch", "1", "--silent", "--port"];
        let mut anvil = Command::new("anvil");
        anvil.args(arguments).arg(&port);
        let mut npx = Command::new("npx");
        npx.args(["--yes", "@foundry-rs/anvil@1.7.1"]).args(arguments).arg(&port);
        let quiet =
            |command: &mut Command| command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = quiet(&mut anvil)
            .or_else(|_| quiet(&mut npx))
            .context("neither `anvil` nor `npx` is on PATH: install Foundry, or Node.js 20 or newer, and try again")?;
        let mut anvil = Self { process, url: format!("http://127.0.0.1:{port}") };
        let chain = LocalChain::at(&anvil.url)?;
        for _ in 0..LOOKS {
            if chain.call("eth_chainId", json!([])).await.is_ok() {
                return Ok(anvil);
            }
            if let Some(status) = anvil.process.try_wait()? {
                bail!("anvil ended at once ({status}); try `npx --yes @foundry-rs/anvil@1.7.1` by hand");
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("anvil does not answer at {}", anvil.url)
    }
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
