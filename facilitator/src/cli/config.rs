//! `config check` and `config print`.

use std::process::ExitCode;

use chains_core::config::Source;
use clap::{Args, Subcommand};

use super::{BadConfig, ConfigFile, print_problems};
use crate::config::Environment;

/// Judges or shows the configuration.
#[derive(Debug, Args)]
pub(super) struct ConfigCommand {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every mistake at once, with the key's name and the fix.
    Check,
    /// The values in force and where each came from; secrets as `***`.
    Print,
}

impl ConfigCommand {
    pub(super) fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let (config, report) = self.config.read(environment)?;
        match self.what {
            What::Check => println!("{} mistakes", report.problems().len()),
            What::Print => {
                for value in report.effective() {
                    let source = match value.source {
                        Source::Default => "default".to_owned(),
                        Source::File => "file".to_owned(),
                        Source::Environment(name) => format!("${name}"),
                    };
                    println!("{} = {}  # {source}", value.key, value.value);
                }
            }
        }
        print_problems(&report);
        if config.is_some() { Ok(ExitCode::SUCCESS) } else { Err(BadConfig.into()) }
    }
}
