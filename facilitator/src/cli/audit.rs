//! `audit`: the store against the chain.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use chains_core::chain::{Chain, SILENCE_MAX};
use clap::Args;

use super::{ConfigFile, parse_time};
use crate::{
    archive::file::Reader,
    audit::Auditor,
    config::Environment,
    store::{
        Store,
        archive::Archive,
        connect::{Access, connect},
    },
};

/// Archived settlements that are read at a time.
const PAGE: usize = 256;

/// Compares the store with the chain; exit code 1 if they differ, 2 if the
/// nodes' history is too short to say.
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(flatten)]
    config: ConfigFile,
    /// Only settlements claimed since then, such as 2026-11-21T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Compares the settlements of this archive too; may be given for each.
    #[arg(long, value_name = "FILE")]
    archive: Vec<PathBuf>,
}

impl Audit {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let config = self.config.load(environment)?;
        let from = self.from.as_deref().map(parse_time).transpose()?;
        let store = connect(&config.store.url, Access::Read).await?;
        let archives = store.archives().await?;
        let mut names = BTreeSet::new();
        for file in &self.archive {
            names.insert(Reader::open(file, &archives)?.id());
        }
        let (mut differences, mut forgotten) = (0, 0);
        for chain in &config.chains {
            chain.prove().await?;
            wait_for_witnesses(&**chain).await;
            let mut auditor = Auditor::new(Arc::clone(chain), from);
            auditor.compare_store(&*store).await?;
            for file in &self.archive {
                compare_archive(&mut auditor, &*store, file, &archives).await?;
            }
            let audit = auditor.finish(&*store).await?;
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
        for archive in archives.iter().filter(|archive| archive.settlements > 0 && !names.contains(&archive.id)) {
            let Archive { settlements, path, .. } = archive;
            println!("{settlements} archived settlements are not compared: add --archive {path}");
        }
        println!("{differences} differences");
        Ok(match (differences, forgotten) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        })
    }
}

/// Waits, where some endpoints do not answer, until the others decide without them: before, one alone would be no proof.
async fn wait_for_witnesses(chain: &dyn Chain) {
    let (good, bad): (Vec<_>, Vec<_>) = chain.look_at_nodes().await.into_iter().partition(|look| look.height.is_ok());
    if good.is_empty() || bad.is_empty() {
        return;
    }
    let (network, hosts) = (chain.network(), bad.into_iter().map(|look| look.node).collect::<Vec<_>>().join(", "));
    let seconds = SILENCE_MAX.as_secs();
    eprintln!("{network}: {hosts} does not answer; in {seconds} s the other endpoints are asked without it");
    tokio::time::sleep(SILENCE_MAX).await;
}

async fn compare_archive(
    auditor: &mut Auditor,
    store: &dyn Store,
    file: &Path,
    archives: &[Archive],
) -> anyhow::Result<()> {
    let mut reader = Reader::open(file, archives)?;
    loop {
        let page: Result<Vec<_>, _> = reader.by_ref().take(PAGE).collect();
        let page = page?;
        if page.is_empty() {
            return Ok(());
        }
        auditor.compare_archived(store, page).await?;
    }
}
