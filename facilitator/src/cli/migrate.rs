//! `migrate`: brings the store's schema up to date.

use std::process::ExitCode;

use clap::Args;

use super::ConfigFile;
use crate::{config::Environment, store::connect::migrate};

/// Brings the store's schema up to date.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  facilitator migrate

Exit codes: 0 the schema is up to date, 1 it could not be changed, 64 mistakes in the configuration.")]
pub(super) struct Migrate {
    #[command(flatten)]
    config: ConfigFile,
}

impl Migrate {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let location = self.config.load_store(environment)?.location;
        let (before, after) = migrate(&location).await?;
        if before == after {
            println!("{location}: schema version {after} already; nothing was done");
        } else {
            println!("{location}: schema version {before} → {after}");
        }
        Ok(ExitCode::SUCCESS)
    }
}
