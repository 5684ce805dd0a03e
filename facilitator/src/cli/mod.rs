//! The command line. The only place where `anyhow` is welcome: what goes wrong
//! here is read by a person.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "commands talk to people")]

mod audit;
mod config;
mod demo;
mod doctor;
mod keygen;
mod migrate;
mod serve;
mod settlement;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use chains_core::{clock::SystemClock, config::Report};
use clap::{Args, Parser, Subcommand};

use crate::{
    config::{Config, Environment},
    families::FAMILIES,
};

/// Verifies x402 payments and settles each of them exactly once.
#[derive(Debug, Parser)]
#[command(name = "facilitator", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration is.
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
    Config(config::ConfigCommand),
    /// Makes a new gas wallet.
    Keygen(keygen::Keygen),
    /// Brings the store's schema up to date.
    Migrate(migrate::Migrate),
    /// Shows everything that is stored of a settlement.
    Settlement(settlement::Settlement),
    /// Compares the store with the chain; exit code 1 if they differ.
    Audit(audit::Audit),
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
    let ran = match cli.command {
        Command::Serve(command) => command.run(&environment).await,
        Command::Demo(command) => command.run(&environment).await,
        Command::Doctor(command) => command.run(&environment).await,
        Command::Config(command) => command.run(&environment),
        Command::Keygen(command) => command.run(&environment),
        Command::Migrate(command) => command.run(&environment).await,
        Command::Settlement(command) => command.run(&environment).await,
        Command::Audit(command) => command.run(&environment).await,
    };
    match ran {
        Ok(code) => code,
        Err(error) if error.is::<BadConfig>() => ExitCode::from(EXIT_CONFIG),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl ConfigFile {
    fn path(&self, environment: &Environment) -> PathBuf {
        let named = || environment.get("FACILITATOR_CONFIG").map(PathBuf::from);
        self.config.clone().or_else(named).unwrap_or_else(|| PathBuf::from("facilitator.toml"))
    }

    /// The report and, without mistakes, the configuration.
    fn read(&self, environment: &Environment) -> anyhow::Result<(Option<Config>, Report)> {
        let (table, report) = crate::config::load(&self.path(environment), environment)?;
        let clock: Arc<dyn chains_core::clock::Clock> = Arc::new(SystemClock);
        let config = crate::config::read(table, &report, FAMILIES, &clock);
        Ok((config, report))
    }

    /// The configuration, or every mistake printed.
    fn load(&self, environment: &Environment) -> anyhow::Result<Config> {
        let (config, report) = self.read(environment)?;
        config.ok_or_else(|| {
            print_problems(&report);
            BadConfig.into()
        })
    }
}

fn print_problems(report: &Report) {
    for problem in report.problems() {
        eprintln!("error: `{}` {}\n  fix: {}", problem.key, problem.seen, problem.fix);
    }
}
