//! `doctor`: what was seen, what it means, how to fix it.

use std::process::ExitCode;

use chains_core::chain::{Finding, Severity};
use clap::Args;

use super::{ConfigFile, EXIT_CONFIG};
use crate::{
    config::{Config, Environment},
    store::sqlite::open::{Inspection, inspect},
};

/// Says what is wrong, what it means and how to fix it.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    config: ConfigFile,
    /// For machines.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let (config, report) = self.config.read(environment)?;
        let mut findings: Vec<_> = report.problems().into_iter().map(of_problem).collect();
        if let Some(config) = &config {
            findings.push(fine("configuration", "no mistakes", "the service would start with it"));
            findings.push(of_store(config).await);
            for chain in &config.chains {
                findings.extend(chain.check().await);
            }
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&findings)?);
        } else {
            findings.iter().for_each(print);
        }
        let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok);
        Ok(match worst {
            Severity::Ok => ExitCode::SUCCESS,
            Severity::Warning => ExitCode::from(1),
            Severity::Error => ExitCode::from(2),
        })
    }
}

fn of_problem(problem: chains_core::config::Problem) -> Finding {
    Finding {
        severity: Severity::Error,
        subject: problem.key,
        seen: problem.seen,
        meaning: format!("the service refuses to start (exit code {EXIT_CONFIG})"),
        fix: problem.fix,
    }
}

fn fine(subject: &str, seen: impl Into<String>, meaning: &str) -> Finding {
    Finding {
        severity: Severity::Ok,
        subject: subject.to_owned(),
        seen: seen.into(),
        meaning: meaning.to_owned(),
        fix: String::new(),
    }
}

async fn of_store(config: &Config) -> Finding {
    let fix = "run `facilitator migrate`, or set store.auto_migrate = true";
    match inspect(&config.store.path).await {
        Ok(Inspection { version: None, .. }) => fine("store", "no database yet", "the first start makes it"),
        Ok(Inspection { version: Some(version), needed, holder }) => {
            let holder = holder.map_or_else(String::new, |holder| format!(", in use by {holder}"));
            let seen = format!("schema version {version} of {needed}{holder}");
            let current = version == needed || (version < needed && config.store.auto_migrate);
            let mut finding = fine("store", seen, "the service can use it");
            if !current {
                finding.severity = Severity::Error;
                "the service refuses to start".clone_into(&mut finding.meaning);
                fix.clone_into(&mut finding.fix);
            }
            finding
        }
        Err(error) => Finding {
            severity: Severity::Error,
            subject: "store".to_owned(),
            seen: error.to_string(),
            meaning: "the service refuses to start".to_owned(),
            fix: "see the text above".to_owned(),
        },
    }
}

fn print(finding: &Finding) {
    let mark = match finding.severity {
        Severity::Ok => "ok     ",
        Severity::Warning => "warning",
        Severity::Error => "error  ",
    };
    println!("{mark} {}: {}\n        {}", finding.subject, finding.seen, finding.meaning);
    if !finding.fix.is_empty() {
        println!("        fix: {}", finding.fix);
    }
}
