//! `config check` and `config print`.

use std::process::ExitCode;

use chains_core::config::{Report, Source};
use clap::{Args, Subcommand};

use super::{ConfigFile, bad};
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
    /// Every mistake at once, with the key's name and the fix; exit code 64 if there is one.
    Check,
    /// The values in force and where each came from; secrets as `***`.
    Print,
}

impl ConfigCommand {
    pub(super) fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let read = self.config.read(environment);
        match self.what {
            What::Check => {}
            What::Print => print(read.as_ref().map_or_else(|report| report, |config| &config.report)),
        }
        let config = read.map_err(|report| bad(&report))?;
        if let What::Check = self.what {
            let file = config.file.map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
            let networks: Vec<_> = config.chains.iter().map(|chain| chain.network().to_string()).collect();
            println!("no mistakes in {file}; networks: {}", networks.join(", "));
            for set in config.report.overrides() {
                println!("environment: {set}");
            }
            for name in environment.unread() {
                println!("warning: nothing reads {name}; write FACILITATOR__SECTION__KEY, with two underscores each");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(report: &Report) {
    for value in report.effective() {
        let source = match value.source {
            Source::Default => "default".to_owned(),
            Source::File => "file".to_owned(),
            Source::Environment(name) => format!("${name}"),
        };
        println!("{} = {}  # {source}", value.key, value.value);
    }
}
