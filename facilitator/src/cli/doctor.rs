//! `doctor`: what was seen, what it means, how to fix it.

mod instances;
mod offline;
mod redis;
mod runway;

use std::{process::ExitCode, sync::Arc};

use chains_core::{
    chain::Chain,
    clock::{Clock, SystemClock},
    diagnostic::{Finding, Severity},
};
use clap::Args;
use futures::future::join_all;
use serde_json::json;

pub(super) use self::offline::of_file;
use super::{ConfigFile, VERSION};
use crate::{
    config::{Config, Environment},
    store::{
        Store,
        connect::{Access, connect},
    },
};

/// Tells what is wrong with the configuration, the store, the nodes and the wallets, what
/// it means and how to fix it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  facilitator doctor
  facilitator doctor --json | jq '.findings[] | select(.severity != \"ok\")'

Exit codes: 0 all is well, 1 it works but will hurt, 2 it does not work.")]
pub(super) struct Doctor {
    #[command(flatten)]
    config: ConfigFile,
    /// Tells also what is well, a line for each.
    #[arg(long, short)]
    verbose: bool,
    /// One JSON object: version, findings.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let findings = match self.config.read(environment) {
            Ok(config) => examine(&config).await,
            Err(report) => {
                let mut findings: Vec<_> = report.problems().into_iter().map(offline::of_problem).collect();
                // The store does not depend on what is wrong elsewhere.
                if let Ok(store) = self.config.load_store(environment) {
                    findings.push(offline::of_store(&store).await);
                }
                findings
            }
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&json!({"version": VERSION, "findings": findings}))?);
        } else {
            print(&findings, self.verbose);
        }
        let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok);
        Ok(match worst {
            Severity::Ok => ExitCode::SUCCESS,
            Severity::Warning => ExitCode::from(1),
            Severity::Error => ExitCode::from(2),
        })
    }
}

async fn examine(config: &Config) -> Vec<Finding> {
    let file = config.file.as_ref().map_or_else(|| "the environment".to_owned(), |file| file.display().to_string());
    let mut findings = vec![
        Finding::fine("configuration", file, "no mistakes: the service would start with it"),
        offline::of_store(&config.store).await,
    ];
    findings.extend(of_file(config));
    findings.extend(offline::of_listeners(config));
    findings.extend(offline::of_shared_wallets(config));
    if let Some(options) = &config.redis {
        findings.push(redis::check(options).await);
    }
    // A store that cannot be opened is told of above.
    let store = connect(&config.store.location, Access::Read).await.ok();
    let online = join_all(config.chains.iter().map(|chain| ask(chain, store.as_deref()))).await;
    findings.extend(online.into_iter().flatten());
    findings
}

/// Everything about one network.
async fn ask(chain: &Arc<dyn Chain>, store: Option<&dyn Store>) -> Vec<Finding> {
    let mut findings = chain.doctor().await;
    if let Some(store) = store {
        findings.extend(runway::check(&**chain, store, SystemClock.now()).await);
        findings.extend(instances::check(&**chain, store, SystemClock.now()).await);
    }
    findings.into_iter().map(|finding| finding.on(chain.network())).collect()
}

/// The findings for people: those that need somebody in full, the rest as one line.
fn print(findings: &[Finding], verbose: bool) {
    let (well, others): (Vec<_>, Vec<_>) = findings.iter().partition(|finding| finding.severity == Severity::Ok);
    for finding in &others {
        print_finding(finding);
    }
    if verbose {
        for finding in &well {
            let meaning = if finding.meaning.is_empty() { String::new() } else { format!(". {}", finding.meaning) };
            let fix = if finding.fix.is_empty() { String::new() } else { format!(". {}", finding.fix) };
            println!("ok      {}: {}{meaning}{fix}", place(finding), finding.seen);
        }
    } else if !well.is_empty() {
        println!("ok      {} checks found nothing wrong (--verbose tells them)", well.len());
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    println!("{}, {}", plural(count(Severity::Error), "error"), plural(count(Severity::Warning), "warning"));
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The network, the check and its subject.
fn place(finding: &Finding) -> String {
    let network = finding.network.as_ref().map_or_else(String::new, |network| format!("{network} "));
    format!("{network}{}: {}", finding.check, finding.subject)
}

fn print_finding(finding: &Finding) {
    let mark = if finding.severity == Severity::Error { "error  " } else { "warning" };
    println!("{mark} {}: {}", place(finding), finding.seen);
    println!("        meaning: {}", finding.meaning);
    println!("        fix: {}", finding.fix);
}
