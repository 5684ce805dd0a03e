//! `serve`: the service.

use std::process::ExitCode;

use chains_core::clock::{Clock as _, SystemClock};
use clap::Args;

use super::ConfigFile;
use crate::{
    app,
    config::{Config, Environment},
    lifecycle::Lifecycle,
    logging, machine, metrics,
};

/// Runs the service.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  facilitator serve
  facilitator serve --config /etc/facilitator.toml

Exit codes: 0 stopped because it was told to, 1 could not start or go on, 64 mistakes in the configuration.")]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
    /// Goes on although a gas wallet has sent transactions that the store does
    /// not know. Only after `audit`, and once.
    #[arg(long)]
    accept_foreign_nonces: bool,
}

impl Serve {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let config = self.config.load(environment)?;
        let log = logging::to_stderr(&config.server.log, config.server.log_json)?;
        machine::check_clock(SystemClock.now())?;
        no_core_dumps();
        if let Some(file) = config.store.location.file() {
            machine::keep_private(file);
        }
        say_what_the_environment_sets(&config);
        let served = serve(config, environment, self.accept_foreign_nonces).await;
        log.flush();
        served?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn serve(config: Config, environment: &Environment, accept_foreign_nonces: bool) -> anyhow::Result<()> {
    let metrics = metrics::exposition::install()?;
    let running = app::start(config, environment, metrics, accept_foreign_nonces, Lifecycle::default()).await?;
    running.until_told().await?;
    Ok(())
}

/// A core dump holds the keys (I06).
fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core dumps cannot be turned off: one would hold the gas wallets' keys");
    }
}

/// A variable that is left over from another time changes what the service does.
fn say_what_the_environment_sets(config: &Config) {
    let overrides = config.report.overrides();
    if !overrides.is_empty() {
        tracing::info!(variables = overrides.join(", "), "environment variables stand above the configuration file");
    }
    for warning in &config.unread {
        tracing::warn!("{warning}");
    }
}
