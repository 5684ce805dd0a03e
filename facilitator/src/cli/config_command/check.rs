//! `config check`: every mistake at once.

use std::{path::Path, process::ExitCode};

use chains_core::{config::Report, diagnostic::Finding};
use serde_json::json;

use super::{super::mistakes, exit_code};
use crate::{
    cli::{ConfigFile, VERSION, doctor},
    config::{self, Config, Environment},
};

/// Tells the mistakes, and what is none and may not be meant.
pub(super) fn run(file: &ConfigFile, environment: &Environment, json: bool) -> anyhow::Result<ExitCode> {
    let read = file.read(environment);
    let path = config::file(file.config.as_deref(), environment);
    if json {
        println!("{}", serde_json::to_string_pretty(&describe(path.as_deref(), environment, &read))?);
    } else {
        match &read {
            Ok(config) => print(config),
            Err(report) => print!("{}", mistakes::text(path.as_deref(), report)),
        }
        for warning in warnings(path.as_deref(), environment, &read) {
            println!("warning: {warning}");
        }
    }
    Ok(exit_code(read.is_err()))
}

fn networks(config: &Config) -> Vec<String> {
    config.chains.iter().map(|chain| chain.network().to_string()).collect()
}

/// Warnings about what is no mistake, and may not be meant.
fn warnings(path: Option<&Path>, environment: &Environment, read: &Result<Config, Report>) -> Vec<String> {
    match read {
        Ok(config) => {
            let told = |finding: Finding| format!("{} {}. Fix: {}", finding.subject, finding.seen, finding.fix);
            config.unread.iter().cloned().chain(doctor::of_file(config).map(told)).collect()
        }
        // A variable that nothing reads may be the key that is missing.
        Err(report) => {
            let text = path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
            environment.unread(&text, &report.effective())
        }
    }
}

fn print(config: &Config) {
    let file =
        config.file.as_ref().map_or_else(|| "the environment (there is no file)".into(), |f| f.to_string_lossy());
    println!("no mistakes in {file}; networks: {}", networks(config).join(", "));
    for set in config.report.overrides() {
        println!("environment: {set}");
    }
}

fn describe(path: Option<&Path>, environment: &Environment, read: &Result<Config, Report>) -> serde_json::Value {
    let warnings = warnings(path, environment, read);
    let (mistakes, networks, environment) = match read {
        Ok(config) => (vec![], networks(config), config.report.overrides()),
        Err(report) => (mistakes::json(report), vec![], report.overrides()),
    };
    json!({
        "version": VERSION,
        "file": path,
        "ok": read.is_ok(),
        "mistakes": mistakes,
        "networks": networks,
        "environment": environment,
        "warnings": warnings,
    })
}
