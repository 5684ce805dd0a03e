//! `instances`: who shares the database, and who has which gas wallet.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use serde_json::{Value, json};

use super::{ConfigFile, time};
use crate::{
    config::Environment,
    store::{
        Instance, Lease, Store, StoreError, Waiting,
        connect::{Access, connect},
    },
    submitter::lease::{DUTY, decide::RENEW_EVERY},
};

/// The time between the two looks: each instance that lives has shown it meanwhile.
const LOOK: Duration = RENEW_EVERY.saturating_add(Duration::from_millis(1_500));

/// Shows the instances that share the database, which gas wallet each has, and the payments
/// that one has handed over to another. It looks twice, four seconds apart, to see who lives.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  facilitator instances
  facilitator instances --json

Exit codes: 0 each owner of a gas wallet lives, 1 one stands still or no instance lives, 64 wrong arguments or \
configuration.")]
pub(super) struct Instances {
    #[command(flatten)]
    config: ConfigFile,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// The database at one moment.
struct Look {
    instances: Vec<Instance>,
    leases: Vec<Lease>,
    waiting: Vec<Waiting>,
}

impl Look {
    async fn at(store: &dyn Store) -> Result<Self, StoreError> {
        let (instances, leases, waiting) = (store.instances().await?, store.leases().await?, store.waiting().await?);
        Ok(Self { instances, leases, waiting })
    }

    /// Returns true when this instance has shown since an earlier look that it lives.
    fn lives(&self, before: &Self, id: &str) -> bool {
        let beat = |look: &Self| look.instances.iter().find(|one| one.id == id).map(|one| one.beat);
        beat(self).is_some() && beat(self) != beat(before)
    }
}

/// A lease as it is shown: its owner's name, and whether the owner lives.
struct Shown<'a> {
    lease: &'a Lease,
    lives: bool,
}

impl Instances {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let location = self.config.load_store(environment)?.location;
        let store = connect(&location, Access::Read).await?;
        if location.file().is_some() {
            let said = "a SQLite file is used by one process, which has every gas wallet";
            if self.json {
                println!("{}", json!({"instances": [], "wallets": [], "handedOver": []}));
            } else {
                println!("{said}");
            }
            return Ok(ExitCode::SUCCESS);
        }
        let before = Look::at(&*store).await?;
        tokio::time::sleep(LOOK).await;
        let now = Look::at(&*store).await?;
        store.close().await;
        let shown = |lease| Shown { lease, lives: now.lives(&before, &lease.owner) };
        let leases: Vec<_> = now.leases.iter().map(shown).collect();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&describe(&now, &before, &leases))?);
        } else {
            print(&now, &before, &leases);
        }
        // A free one may be of a wallet that is configured no longer.
        let good = leases.iter().all(|shown| shown.lives || shown.lease.owner.is_empty());
        let somebody = now.instances.iter().any(|one| now.lives(&before, &one.id));
        Ok(if good && somebody { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn describe(now: &Look, before: &Look, leases: &[Shown<'_>]) -> Value {
    let instance = |one: &Instance| {
        json!({
            "id": one.id,
            "name": one.name,
            "version": one.version,
            "lives": now.lives(before, &one.id),
            "networks": one.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "beat": one.beat,
            "startedAt": time(one.started_at),
            "renewedAt": time(one.renewed_at),
        })
    };
    let wallet = |Shown { lease, lives }: &Shown<'_>| {
        json!({
            "network": lease.network.to_string(),
            "wallet": (lease.gas_wallet != DUTY).then_some(&lease.gas_wallet),
            "owner": (!lease.owner.is_empty()).then_some(&lease.owner),
            "ownerName": (!lease.owner.is_empty()).then_some(&lease.owner_name),
            "lives": lives,
            "epoch": lease.epoch,
            "beat": lease.beat,
            "renewedAt": time(lease.renewed_at),
        })
    };
    let waiting = |Waiting { network, gas_wallet, count, oldest }: &Waiting| json!({"network": network.to_string(), "wallet": gas_wallet, "count": count, "oldest": oldest});
    json!({
        "handedOver": now.waiting.iter().map(waiting).collect::<Vec<_>>(),
        "instances": now.instances.iter().map(instance).collect::<Vec<_>>(),
        "wallets": leases.iter().map(wallet).collect::<Vec<_>>(),
    })
}

fn print(now: &Look, before: &Look, leases: &[Shown<'_>]) {
    let mut rows = vec![["instance", "state", "release", "wallets", "last beat (its clock)"].map(str::to_owned)];
    rows.extend(now.instances.iter().map(|one| {
        let wallets = leases.iter().filter(|shown| shown.lease.owner == one.id && shown.lease.gas_wallet != DUTY);
        let state = if now.lives(before, &one.id) { "lives" } else { "stands still" };
        [&one.name, state, &one.version, &wallets.count().to_string(), &time(one.renewed_at)].map(ToOwned::to_owned)
    }));
    print_rows(&rows);
    println!();
    let mut rows = vec![["network", "gas wallet", "owner", "state", "epoch", "beat"].map(str::to_owned)];
    rows.extend(leases.iter().map(|Shown { lease, lives }| {
        let wallet = if lease.gas_wallet == DUTY { "(finality check)" } else { &lease.gas_wallet };
        let state = match (lease.owner.is_empty(), lives) {
            (true, _) => "free",
            (false, true) => "held",
            (false, false) => "its owner stands still",
        };
        let (epoch, beat) = (lease.epoch.to_string(), lease.beat.to_string());
        [lease.network.as_str(), wallet, &lease.owner_name, state, &epoch, &beat].map(ToOwned::to_owned)
    }));
    print_rows(&rows);
    for Waiting { network, gas_wallet, count, oldest } in &now.waiting {
        let wallet = gas_wallet.as_deref().unwrap_or("any gas wallet");
        println!("\n{network}: {count} payments are handed over and wait for {wallet}, the oldest {oldest}");
    }
}

/// Prints rows with their columns under each other.
fn print_rows<const N: usize>(rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..N).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
