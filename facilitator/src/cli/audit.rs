//! `audit`: the store against the chain.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use chains_core::{
    chain::{Chain, SILENCE_MAX},
    clock::{Clock as _, Millis, SystemClock},
};
use clap::Args;
use serde_json::json;

use super::{ConfigFile, EXIT_CONFIG, VERSION, parse_time};
use crate::{
    archive::file::Reader,
    audit::{Audit as Outcome, Auditor},
    config::{Config, Environment},
    store::{
        Store,
        archive::Archive,
        connect::{Access, connect},
    },
};

/// Archived settlements that are read at a time.
const PAGE: usize = 256;

/// Exit code for a comparison that could not be made, in part or at all.
const EXIT_UNKNOWN: u8 = 2;

/// Compares the store with the chain.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  facilitator audit
  facilitator audit --from 24h
  facilitator audit --from 2026-11-01 --archive /archive/2026.jsonl --json

Exit codes: 0 they agree, 1 they differ, 2 the nodes could not say, or their history is too short, 64 wrong
arguments or configuration.")]
pub(super) struct Audit {
    #[command(flatten)]
    config: ConfigFile,
    /// Only settlements claimed since then: a date, a time or how long ago, such as
    /// 2026-11-21, 2026-11-21T06:30:00Z or 24h.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Compares the settlements of this archive too; may be given for each.
    #[arg(long, value_name = "FILE")]
    archive: Vec<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// The comparison of one network.
struct Compared {
    network: String,
    audit: Outcome,
}

impl Audit {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let from = self.from.as_deref().map(|from| parse_time(from, SystemClock.now()));
        let from = match from.transpose() {
            Ok(from) => from,
            Err(error) => {
                eprintln!("error: --from: {error}");
                return Ok(ExitCode::from(EXIT_CONFIG));
            }
        };
        let config = self.config.load(environment)?;
        match self.compare(&config, from).await {
            Ok(code) => Ok(code),
            Err(error) => {
                eprintln!("error: {}", super::with_causes(&error));
                Ok(ExitCode::from(EXIT_UNKNOWN))
            }
        }
    }

    async fn compare(&self, config: &Config, from: Option<Millis>) -> anyhow::Result<ExitCode> {
        let store = connect(&config.store.location, Access::Read).await?;
        let archives = store.archives().await?;
        let mut names = BTreeSet::new();
        for file in &self.archive {
            names.insert(Reader::open(file, &archives)?.id());
        }
        let mut compared = vec![];
        for chain in &config.chains {
            chain.prove().await?;
            wait_for_witnesses(&**chain).await;
            let mut auditor = Auditor::new(Arc::clone(chain), from);
            auditor.compare_store(&*store).await?;
            for file in &self.archive {
                compare_archive(&mut auditor, &*store, file, &archives).await?;
            }
            let audit = auditor.finish(&*store).await?;
            compared.push(Compared { network: chain.network().to_string(), audit });
        }
        let left: Vec<_> =
            archives.iter().filter(|archive| archive.settlements > 0 && !names.contains(&archive.id)).collect();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&describe(&compared, &left))?);
        } else {
            print(&compared, &left);
        }
        let count = |of: fn(&Outcome) -> usize| compared.iter().map(|compared| of(&compared.audit)).sum::<usize>();
        Ok(match (count(|audit| audit.differences.len()), count(|audit| audit.forgotten.len())) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(EXIT_UNKNOWN),
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

fn print(compared: &[Compared], left: &[&Archive]) {
    for Compared { network, audit } in compared {
        let (count, under_way) = (audit.settlements, audit.under_way);
        println!("{network}: {count} settlements compared, {under_way} of them under way");
        if audit.moved > 0 {
            println!(
                "  {} of them were moved to another transaction of ours by a reorg; its name is stored once its block is final",
                audit.moved
            );
        }
        for id in &audit.unresolved {
            println!("  settlement {id} is unresolved: its proof is withheld");
        }
        for difference in &audit.differences {
            println!("  {difference}");
        }
        if let Some(first) = audit.forgotten.last() {
            println!("  {} of them cannot be compared, such as {}: {}", audit.forgotten.len(), first.id, first.why);
        }
    }
    for Archive { settlements, path, .. } in left {
        println!("{settlements} archived settlements are not compared: add --archive {path}");
    }
    println!("{} differences", compared.iter().map(|compared| compared.audit.differences.len()).sum::<usize>());
}

fn describe(compared: &[Compared], left: &[&Archive]) -> serde_json::Value {
    let networks = compared.iter().map(|Compared { network, audit }| {
        json!({
            "network": network,
            "settlements": audit.settlements,
            "underWay": audit.under_way,
            "moved": audit.moved,
            "unresolved": audit.unresolved.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "differences": audit.differences.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "notCompared": audit.forgotten.iter().map(|f| json!({"id": f.id.to_string(), "why": f.why})).collect::<Vec<_>>(),
        })
    });
    let left = left.iter().map(|archive| json!({"path": archive.path, "settlements": archive.settlements}));
    json!({
        "version": VERSION,
        "networks": networks.collect::<Vec<_>>(),
        "archivesNotCompared": left.collect::<Vec<_>>(),
    })
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
