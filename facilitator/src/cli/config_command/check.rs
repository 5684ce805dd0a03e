//! `config check`: every mistake at once.

use std::{path::Path, process::ExitCode};

use chains_core::config::Report;
use serde_json::json;

use super::{super::mistakes, exit_code};
use crate::{
    cli::{ConfigFile, VERSION, doctor},
    config::{self, Config, Environment},
};

/// Tells the mistakes; the warnings where there are none.
pub(super) fn run(file: &ConfigFile, environment: &Environment, json: bool) -> anyhow::Result<ExitCode> {
    let read = file.read(environment);
    let path = config::file(file.config.as_deref(), environment);
    if json {
        println!("{}", serde_json::to_string_pretty(&describe(path.as_deref(), &read))?);
    } else {
        match &read {
            Ok(config) => print(config),
            Err(report) => print!("{}", mistakes::text(path.as_deref(), report)),
        }
    }
    Ok(exit_code(read.is_err()))
}

fn networks(config: &Config) -> Vec<String> {
    config.chains.iter().map(|chain| chain.network().to_string()).collect()
}

/// Warnings about what is no mistake, and may not be meant.
fn warnings(config: &Config) -> Vec<String> {
    let open_file =
        doctor::of_file(config).map(|finding| format!("{} {}. Fix: {}", finding.subject, finding.seen, finding.fix));
    config.unread.iter().cloned().chain(open_file).collect()
}

fn print(config: &Config) {
    let file =
        config.file.as_ref().map_or_else(|| "the environment (there is no file)".into(), |f| f.to_string_lossy());
    println!("no mistakes in {file}; networks: {}", networks(config).join(", "));
    for set in config.report.overrides() {
        println!("environment: {set}");
    }
    for warning in warnings(config) {
        println!("warning: {warning}");
    }
}

fn describe(path: Option<&Path>, read: &Result<Config, Report>) -> serde_json::Value {
    let (mistakes, networks, environment, warnings) = match read {
        Ok(config) => (vec![], networks(config), config.report.overrides(), warnings(config)),
        Err(report) => (mistakes::json(report), vec![], report.overrides(), vec![]),
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
