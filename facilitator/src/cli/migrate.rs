//! `migrate`: brings the store's schema up to date.

use std::process::ExitCode;

use clap::Args;

use super::ConfigFile;
use crate::{config::Environment, store::sqlite::open::migrate_file};

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
        let store = self.config.load_store(environment)?;
        let (before, after) = migrate_file(&store.path).await?;
        let path = store.path.display();
        if before == after {
            println!("{path}: schema version {after} already; nothing was done");
        } else {
            println!("{path}: schema version {before} → {after}");
        }
        Ok(ExitCode::SUCCESS)
    }
}
