//! `serve`: the service.

use std::process::ExitCode;

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::ConfigFile;
use crate::{app, config::Environment, http::admin::install_metrics, lifecycle::Lifecycle};

/// Runs the service.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
    /// Go on although a gas wallet has sent transactions that the store does
    /// not know. Only after `audit`, and once.
    #[arg(long)]
    accept_foreign_sequences: bool,
}

impl Serve {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let config = self.config.load(environment)?;
        no_core_dumps();
        log_to_stderr(&config.server.log, config.server.log_json)?;
        let metrics = install_metrics()?;
        let running = app::start(config, metrics, self.accept_foreign_sequences, Lifecycle::default()).await?;
        running.until_told().await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A core dump holds the keys (I06).
fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        eprintln!("warning: core dumps cannot be turned off: {error}. One would hold the gas wallets' keys");
    }
}

fn log_to_stderr(filter: &str, json: bool) -> anyhow::Result<()> {
    let filter: EnvFilter = filter.parse()?;
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        logger.json().init();
    } else {
        logger.with_ansi(false).init();
    }
    Ok(())
}
