//! The command line. The only place where `anyhow` is welcome: what goes wrong
//! here is read by a person.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "commands talk to people")]

mod archive;
mod audit;
mod batch_contract;
mod config_command;
mod demo;
mod doctor;
mod keygen;
mod migrate;
mod serve;
mod settlement;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use chains_core::{
    clock::{Clock, Millis, SystemClock},
    config::Report,
};
use clap::{Args, Parser, Subcommand};

use crate::{
    config::{self, Config, Environment},
    families::FAMILIES,
};

/// Verifies x402 payments and settles each of them exactly once.
#[derive(Debug, Parser)]
#[command(name = "facilitator", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The place of the configuration.
#[derive(Clone, Debug, Args)]
struct ConfigFile {
    /// The configuration; else `$FACILITATOR_CONFIG`, else `./facilitator.toml`.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the service.
    Serve(serve::Serve),
    /// Settles a payment on a local chain and shows each step.
    Demo(demo::Demo),
    /// Says what is wrong, what it means and how to fix it.
    Doctor(doctor::Doctor),
    /// Judges or shows the configuration.
    Config(config_command::ConfigCommand),
    /// Makes a new gas wallet.
    Keygen(keygen::Keygen),
    /// Brings the store's schema up to date.
    Migrate(migrate::Migrate),
    /// Shows everything that is stored of a settlement.
    Settlement(settlement::Settlement),
    /// Compares the store with the chain; exit code 1 if they differ.
    Audit(audit::Audit),
    /// Moves old settlements that are over for good into a file.
    Archive(archive::Archive),
    /// Deploys or looks for the contract by which settlements share a transaction.
    BatchContract(batch_contract::BatchContract),
}

/// Exit code for a configuration that cannot be used (sysexits `EX_USAGE`).
const EXIT_CONFIG: u8 = 64;

/// The configuration has mistakes; each has been printed.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used")]
struct BadConfig;

/// Runs what the arguments say.
pub async fn run(environment: Environment) -> ExitCode {
    let cli = Cli::parse();
    // Whatever a command writes, the store above all, is for this user only.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let ran = match cli.command {
        Command::Serve(command) => command.run(&environment).await,
        Command::Demo(command) => command.run(&environment).await,
        Command::Doctor(command) => command.run(&environment).await,
        Command::Config(command) => command.run(&environment),
        Command::Keygen(command) => command.run(&environment),
        Command::Migrate(command) => command.run(&environment).await,
        Command::Settlement(command) => command.run(&environment).await,
        Command::Audit(command) => command.run(&environment).await,
        Command::Archive(command) => command.run(&environment).await,
        Command::BatchContract(command) => command.run(&environment).await,
    };
    match ran {
        Ok(code) => code,
        Err(error) if error.is::<BadConfig>() => ExitCode::from(EXIT_CONFIG),
        Err(error) => {
            eprintln!("error: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and those of its causes that its text does not name already.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

impl ConfigFile {
    /// The configuration, or the report with every mistake.
    fn read(&self, environment: &Environment) -> Result<Config, Report> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        config::load(self.config.as_deref(), environment, FAMILIES, &clock)
    }

    /// The configuration, or every mistake printed.
    fn load(&self, environment: &Environment) -> anyhow::Result<Config> {
        self.read(environment).map_err(|report| bad(&report))
    }

    /// `[store]` alone, for commands that need no keys and no networks.
    fn load_store(&self, environment: &Environment) -> anyhow::Result<config::Store> {
        config::load_store(self.config.as_deref(), environment).map_err(|report| bad(&report))
    }
}

/// Prints every mistake.
fn bad(report: &Report) -> anyhow::Error {
    let problems = report.problems();
    for problem in &problems {
        eprintln!("error: `{}` {}\n  fix: {}", problem.key, problem.seen, problem.fix);
    }
    let count = problems.len();
    eprintln!("{count} {} in the configuration", if count == 1 { "mistake" } else { "mistakes" });
    BadConfig.into()
}

/// The first millisecond of the year 10000, from which on times have no such form.
const TIMES_END: u64 = 253_402_300_800_000;

/// A point in time, for people.
fn time(at: Millis) -> String {
    if at.0 >= TIMES_END {
        return format!("{} ms", at.0);
    }
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(at.0)).to_string()
}

/// A point in time, from a person.
fn parse_time(text: &str) -> anyhow::Result<Millis> {
    let time = humantime::parse_rfc3339_weak(text).context("write a time such as 2026-11-21T00:00:00Z")?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).context("the time is before 1970")?;
    Ok(Millis(u64::try_from(since.as_millis())?))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = || std::io::Error::other("disk full");
        let inside = anyhow::Error::new(cause()).context("cannot write: disk full");
        assert_eq!(with_causes(&inside), "cannot write: disk full");
        let beside = anyhow::Error::new(cause()).context("cannot write");
        assert_eq!(with_causes(&beside), "cannot write: disk full");
    }

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(time(Millis(1_795_200_000_123)), "2026-11-20T18:40:00.123Z");
        assert_eq!(time(Millis(u64::MAX)), format!("{} ms", u64::MAX));
    }
}
