//! The command line. The only place where `anyhow` is welcome: what goes wrong
//! here is read by a person.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "commands talk to people")]

mod archive;
mod audit;
mod batch_contract;
mod completions;
mod config_command;
mod demo;
mod doctor;
mod health;
mod instances;
mod keygen;
mod manual;
mod migrate;
mod mistakes;
mod seed;
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
use clap::{Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};

use crate::{
    config::{self, Config, Environment},
    families::{self, FAMILIES},
};

/// The version, with the commit that it was built from where that is known.
pub(crate) const VERSION: &str = env!("FACILITATOR_VERSION");

/// Verifies x402 payments and settles each of them exactly once.
#[derive(Debug, Parser)]
#[command(name = "facilitator", version = VERSION, after_help = "\
Examples:
  facilitator demo
  facilitator config init --output facilitator.toml
  facilitator serve

Exit codes: 0 done, 1 not done, 64 wrong arguments or configuration; each command tells its own.")]
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
    Serve(serve::Serve),
    Demo(demo::Demo),
    Seed(seed::Seed),
    Doctor(doctor::Doctor),
    Config(config_command::ConfigCommand),
    Keygen(keygen::Keygen),
    Migrate(migrate::Migrate),
    Settlement(settlement::Settlement),
    Audit(audit::Audit),
    Archive(archive::Archive),
    Instances(instances::Instances),
    BatchContract(batch_contract::BatchContract),
    Health(health::Health),
    Completions(completions::Completions),
    Manual(manual::Manual),
}

/// Exit code for arguments or a configuration that cannot be used (sysexits `EX_USAGE`).
const EXIT_CONFIG: u8 = 64;

/// The configuration has mistakes; each has been printed.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used")]
struct BadConfig;

/// A reader that has had enough (`… | head -1`) ends a command, and is no bug to tell of.
fn hush_closed_pipes() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        if !(said.starts_with("failed printing to stdout") && said.contains("Broken pipe")) {
            tell(panic);
        }
    }));
}

/// Runs what the arguments say.
pub async fn run(environment: Environment) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // Whatever a command writes, the store above all, is for this user only.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    families::set_up_tls();
    hush_closed_pipes();
    let ran = match cli.command {
        Command::Serve(command) => command.run(&environment).await,
        Command::Demo(command) => command.run(&environment).await,
        Command::Seed(command) => command.run(&environment).await,
        Command::Doctor(command) => command.run(&environment).await,
        Command::Config(command) => command.run(&environment),
        Command::Keygen(command) => command.run(&environment),
        Command::Migrate(command) => command.run(&environment).await,
        Command::Settlement(command) => command.run(&environment).await,
        Command::Audit(command) => command.run(&environment).await,
        Command::Archive(command) => command.run(&environment).await,
        Command::Instances(command) => command.run(&environment).await,
        Command::BatchContract(command) => command.run(&environment).await,
        Command::Health(command) => command.run(&environment).await,
        Command::Completions(command) => Ok(command.run()),
        Command::Manual(command) => command.run(),
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

/// Help and the version, which were asked for, or what is wrong with the arguments.
fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to be told when the terminal is gone.
    error.print().ok();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::InvalidSubcommand {
        let command = Cli::command();
        let names: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        eprintln!("\nThe commands are {}.", names.join(", "));
    }
    ExitCode::from(EXIT_CONFIG)
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
        self.read(environment).map_err(|report| self.bad(environment, &report))
    }

    /// `[store]` alone, for commands that need no keys and no networks.
    fn load_store(&self, environment: &Environment) -> anyhow::Result<config::Store> {
        config::load_store(self.config.as_deref(), environment).map_err(|report| self.bad(environment, &report))
    }

    /// Prints every mistake.
    fn bad(&self, environment: &Environment, report: &Report) -> anyhow::Error {
        let file = config::file(self.config.as_deref(), environment);
        eprint!("{}", mistakes::text(file.as_deref(), report));
        BadConfig.into()
    }
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

/// A point in time, from a person: a date, a time, or a duration back from now.
fn parse_time(text: &str, now: Millis) -> anyhow::Result<Millis> {
    if let Ok(back) = humantime::parse_duration(text) {
        return Ok(Millis(now.0.saturating_sub(u64::try_from(back.as_millis())?)));
    }
    let is_date = text.len() == "2026-11-21".len();
    let whole = if is_date { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let time = humantime::parse_rfc3339_weak(&whole).with_context(|| {
        format!(
            "{text:?} is not a time: write a date such as 2026-11-21 (UTC), a time such as 2026-11-21T06:30:00Z, or \
                 how long ago, such as 24h"
        )
    })?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).context("the time is before 1970")?;
    Ok(Millis(u64::try_from(since.as_millis())?))
}

#[cfg(test)]
mod tests {
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
    fn times_are_read_as_people_write_them() {
        let now = Millis(1_795_200_000_000);
        for (text, expected) in [
            ("2026-11-20T18:40:00Z", Some(1_795_200_000_000)),
            ("2026-11-20 18:40:00", Some(1_795_200_000_000)),
            ("2026-11-20", Some(1_795_132_800_000)),
            ("24h", Some(1_795_113_600_000)),
            ("1h 30m", Some(1_795_194_600_000)),
            ("yesterday", None),
            ("2026-13-01", None),
            ("1969-01-01", None),
        ] {
            assert_eq!(parse_time(text, now).ok(), expected.map(Millis), "{text}");
        }
    }

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(time(Millis(1_795_200_000_123)), "2026-11-20T18:40:00.123Z");
        assert_eq!(time(Millis(u64::MAX)), format!("{} ms", u64::MAX));
    }
}
