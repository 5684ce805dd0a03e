//! `config check`, `config print` and `config init`.

mod check;
mod init;
mod print;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{ConfigFile, EXIT_CONFIG};
use crate::config::Environment;

/// Checks, shows or begins a configuration.
#[derive(Debug, Args)]
pub(super) struct ConfigCommand {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Tells every mistake at once, each with its key, its line and the fix.
    #[command(after_help = "\
Examples:
  facilitator config check
  facilitator config check --config /etc/facilitator.toml --json

Exit codes: 0 no mistakes, 64 mistakes.")]
    Check {
        /// One JSON object instead of lines for people.
        #[arg(long)]
        json: bool,
    },
    /// Shows every value in force, as TOML, with where it came from; secrets as `***`,
    /// nodes by their hosts and keys by their addresses.
    #[command(after_help = "\
Examples:
  facilitator config print
  facilitator config print --json

Exit codes: 0 printed, 64 mistakes in the configuration: what could be read is printed.")]
    Print {
        /// One JSON object instead of TOML.
        #[arg(long)]
        json: bool,
    },
    /// Writes a configuration to begin with: a few networks, commented.
    #[command(after_help = "\
Examples:
  facilitator config init
  facilitator config init --network base --network solana-devnet --output facilitator.toml

Exit codes: 0 written, 1 not written (the file is there already), 64 an unknown network.")]
    Init {
        /// A network, by its identifier or its name, such as eip155:8453 or base; may be given for each.
        #[arg(long, value_name = "NETWORK", default_value = "base-sepolia")]
        network: Vec<String>,
        /// The file to write; never one that is there already. Else it is printed.
        #[arg(long, short, value_name = "FILE")]
        output: Option<std::path::PathBuf>,
    },
}

impl ConfigCommand {
    pub(super) fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        match self.what {
            What::Check { json } => check::run(&self.config, environment, json),
            What::Print { json } => print::run(&self.config, environment, json),
            What::Init { network, output } => init::run(&network, output.as_deref()),
        }
    }
}

/// The exit code of a configuration with mistakes, or without.
fn exit_code(has_mistakes: bool) -> ExitCode {
    if has_mistakes { ExitCode::from(EXIT_CONFIG) } else { ExitCode::SUCCESS }
}
