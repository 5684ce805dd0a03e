//! `audit`: the store against the chain.

use std::{process::ExitCode, time::SystemTime};

use anyhow::Context as _;
use chains_core::clock::Millis;
use clap::Args;

use super::ConfigFile;
use crate::{
    audit::audit,
    config::Environment,
    store::connect::{Access, connect},
};

/// Compares the store with the chain; exit code 1 if they differ, 2 if the
/// nodes' history is too short to say.
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(flatten)]
    config: ConfigFile,
    /// Only settlements claimed since then, such as 2026-11-21T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
}

impl Audit {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let config = self.config.load(environment)?;
        let from = self.from.as_deref().map(parse_time).transpose()?;
        let store = connect(&config.store.url, Access::Read).await?;
        let (mut differences, mut forgotten) = (0, 0);
        for chain in &config.chains {
            chain.prove().await?;
            let audit = audit(&*store, chain, from).await?;
            let (count, under_way) = (audit.settlements, audit.under_way);
            println!("{}: {count} settlements compared, {under_way} of them under way", chain.network());
            for id in &audit.unresolved {
                println!("  settlement {id} is unresolved: its proof is withheld");
            }
            for difference in &audit.differences {
                println!("  {difference}");
            }
            if let Some(first) = audit.forgotten.last() {
                println!("  {} of them cannot be compared, such as {}: {}", audit.forgotten.len(), first.id, first.why);
            }
            differences += audit.differences.len();
            forgotten += audit.forgotten.len();
        }
        println!("{differences} differences");
        Ok(match (differences, forgotten) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        })
    }
}

fn parse_time(text: &str) -> anyhow::Result<Millis> {
    let time = humantime::parse_rfc3339_weak(text).context("write a time such as 2026-11-21T00:00:00Z")?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).context("the time is before 1970")?;
    Ok(Millis(u64::try_from(since.as_millis())?))
}
