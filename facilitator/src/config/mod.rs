//! The configuration: `config.default.toml`, the file over it, the environment
//! over both; read once, with every mistake reported at once.
//!
//! | module | what it holds |
//! |---|---|
//! | [`Environment`] | the process environment as a value: nobody else reads it |
//! | `layers` | which value is in force, and where it came from |
//! | [`sections`] | what `[server]`, `[admin]`, `[auth]`, `[store]` mean |

mod environment;
mod layers;
pub mod sections;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use chains_core::{
    Network,
    chain::Chain,
    clock::Clock,
    config::{Report, Section, join},
    family::Family,
};
use toml::{Table, Value};

pub use self::{
    environment::Environment,
    layers::DEFAULTS,
    sections::{Admin, LogFormat, Server, Store},
};
use crate::http::auth::Keys;

/// The variable that names the configuration file.
const FILE_VARIABLE: &str = "FACILITATOR_CONFIG";

/// The configuration file that is read when none is named.
const FILE_DEFAULT: &str = "facilitator.toml";

/// The configuration in force. Has no `Debug`: it holds keys.
pub struct Config {
    /// The file it was read from, if any.
    pub file: Option<PathBuf>,
    /// The public listener.
    pub server: Server,
    /// The admin listener.
    pub admin: Admin,
    /// Who may use the service.
    pub keys: Keys,
    /// What must survive.
    pub store: Store,
    /// The networks, by their identifiers. Never empty.
    pub networks: Vec<Arc<dyn Chain>>,
    /// Every value in force, for `config print`.
    pub report: Report,
}

/// Reads the configuration: the file named by the command line, else by
/// `$FACILITATOR_CONFIG`, else `./facilitator.toml` if it is there.
///
/// # Errors
/// A report with at least one problem.
pub fn load(
    path: Option<&Path>,
    environment: &Environment,
    families: &[&dyn Family],
    clock: &Arc<dyn Clock>,
) -> Result<Config, Report> {
    let named = path.map(Path::to_owned).or_else(|| environment.get(FILE_VARIABLE).map(PathBuf::from));
    let file = named.or_else(|| Path::new(FILE_DEFAULT).exists().then(|| FILE_DEFAULT.into()));
    let text = match &file {
        None => String::new(),
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            let report = Report::default();
            report.problem(
                file.display().to_string(),
                format!("cannot be read: {error}"),
                "name a readable file with --config or $FACILITATOR_CONFIG",
            );
            report
        })?,
    };
    read(file, &text, environment, families, clock)
}

/// Reads the configuration from a file's text.
fn read(
    file: Option<PathBuf>,
    text: &str,
    environment: &Environment,
    families: &[&dyn Family],
    clock: &Arc<dyn Clock>,
) -> Result<Config, Report> {
    let mut layers = layers::stack(text, environment);
    let strangers = strange_defaults(&layers.table, families);
    layers::underlay(&mut layers.table, &mut layers.sources);
    let report = Report::new(layers.sources);
    for problem in &layers.problems {
        report.problem(&problem.key, &problem.seen, &problem.fix);
    }
    for key in strangers {
        report.problem(key, "is of no family of this build", fix_namespace(families));
    }
    let mut root = Section::new("", layers.table, report.clone());
    let server = sections::server(root.section("server"));
    let admin = sections::admin(root.section("admin"));
    let keys = sections::auth(root.section("auth"), server.as_ref().map(|server| server.listen));
    let store = sections::store(root.section("store"));
    sections::redis(&mut root);
    let networks = networks(root.section("networks"), families, clock);
    drop(root);
    match (server, admin, keys, store, report.problems().is_empty()) {
        (Some(server), Some(admin), Some(keys), Some(store), true) => {
            Ok(Config { file, server, admin, keys, store, networks, report })
        }
        _ => Err(without_echoes(&report)),
    }
}

/// A value that could not be had is a mistake once, not once more for what was
/// read in its place.
fn without_echoes(report: &Report) -> Report {
    let (once, mut seen) = (Report::default(), BTreeSet::new());
    for problem in report.problems() {
        if seen.insert(problem.key.clone()) {
            once.problem(problem.key, problem.seen, problem.fix);
        }
    }
    once
}

fn networks(mut section: Section, families: &[&dyn Family], clock: &Arc<dyn Clock>) -> Vec<Arc<dyn Chain>> {
    let tables = section.tables();
    if tables.is_empty() {
        let fix = "add a table such as [networks.\"eip155:84532\"] with `rpc` and `gas_wallets`";
        section.problem("", "names no network", fix);
    }
    let mut chains = Vec::with_capacity(tables.len());
    for (key, table) in tables {
        let Ok(network) = key.parse::<Network>() else {
            table.problem("", "is no network", chains_core::network::NetworkError.to_string());
            table.ignore();
            continue;
        };
        if let Some(family) = families.iter().find(|family| family.namespace() == network.namespace()) {
            chains.extend(family.configure(network, table, Arc::clone(clock)));
        } else {
            table.problem("", "is of no family of this build", fix_namespace(families));
            table.ignore();
        }
    }
    chains
}

fn fix_namespace(families: &[&dyn Family]) -> String {
    let known: Vec<_> = families.iter().map(|family| format!("`{}:…`", family.namespace())).collect();
    format!("this build serves {}", if known.is_empty() { "no network at all".to_owned() } else { known.join(", ") })
}

/// `[defaults.…]` that no network can ever take up.
fn strange_defaults(table: &Table, families: &[&dyn Family]) -> Vec<String> {
    let of_ours = |key: &str| families.iter().any(|family| family.namespace() == key);
    let documented: Table = DEFAULTS.parse().unwrap_or_default();
    let is_documented = |key: &str| documented.get("defaults").is_some_and(|defaults| defaults.get(key).is_some());
    match table.get("defaults") {
        Some(Value::Table(defaults)) => defaults
            .keys()
            .filter(|key| !of_ours(key) && !is_documented(key))
            .map(|key| join("defaults", key))
            .collect(),
        _ => Vec::new(),
    }
}
