//! `archive`: settlements that are over for good leave the store for a file.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use chains_core::clock::{Clock as _, Millis, SystemClock};
use clap::{ArgGroup, Args};
use serde_json::json;

use super::{ConfigFile, parse_time, time};
use crate::{
    archive::{Moved, archive},
    config::Environment,
    store::{
        archive::Bounds,
        connect::{Access, connect},
    },
};

/// Moves old settlements that are over for good into a file of JSON Lines; also
/// beside the running service. Their identities stay: a payment in the archive
/// is refused for ever.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("bound").required(true).args(["before", "older_than"])), after_help = "\
Examples:
  facilitator archive --older-than 400d --to /archive/2026.jsonl
  facilitator archive --before 2026-01-01 --to /archive/2025.jsonl --json

Exit codes: 0 moved, 1 not moved, 64 wrong arguments or configuration.")]
pub(super) struct Archive {
    #[command(flatten)]
    config: ConfigFile,
    /// Settlements that were final before this time, such as 2026-11-21 or 2026-11-21T06:30:00Z.
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// Settlements that have been final for this long, such as 400d.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// The file: made if it is not there, else added to.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// For machines.
    #[arg(long)]
    json: bool,
}

impl Archive {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let now = SystemClock.now();
        let before = self.bound(now)?;
        let location = self.config.load_store(environment)?.location;
        // Beside a running service too: this access takes no lock.
        let store = connect(&location, Access::Operate).await?;
        let moved = archive(&*store, &self.to, Bounds::before(before, now), now).await?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&describe(&moved))?);
        } else {
            print(&moved, before);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn bound(&self, now: Millis) -> anyhow::Result<Millis> {
        let before = match (&self.before, self.older_than) {
            (Some(text), _) => parse_time(text, now)?,
            (None, Some(age)) => Millis(now.0.saturating_sub(u64::try_from(age.as_millis())?)),
            (None, None) => None.context("name --before or --older-than")?,
        };
        anyhow::ensure!(before <= now, "--before names a time to come: nothing was final before it for sure");
        Ok(before)
    }
}

fn describe(moved: &Moved) -> serde_json::Value {
    let archive = &moved.archive;
    json!({
        "archived": moved.settlements,
        "staying": moved.staying,
        "archive": {
            "id": archive.id,
            "path": archive.path,
            "bytes": archive.length,
            "settlements": archive.settlements,
        },
    })
}

fn print(moved: &Moved, before: Millis) {
    let Moved { settlements, staying, archive } = moved;
    println!("{settlements} settlements moved to {}", archive.path);
    println!("it has {} settlements now, in {} bytes", archive.settlements, archive.length);
    if *staying > 0 {
        println!(
            "{staying} that were claimed before {} stay: they are not final since then, are failed for less than 30 \
             days, or their success was given to nobody yet",
            time(before)
        );
    }
}
