//! The configuration: `config.default.toml`, the file over it, the environment
//! over both; read once, with every mistake reported at once.
//!
//! | module | what it holds |
//! |---|---|
//! | [`Environment`] | the process environment as a value: nobody else reads it |
//! | `layers` | which value is in force, and where it came from |
//! | `redis`, `instance`, `secret_file` | what `[redis]` and `[instance]` mean; passwords in files |
//! | [`shared_wallets`] | gas wallets that networks share and should not |
//! | [`sections`] | what `[server]`, `[admin]`, `[auth]`, `[paused]`, `[payers]`, `[store]` mean |

mod environment;
mod instance;
mod layers;
mod redis;
mod secret_file;
pub mod sections;
pub mod shared_wallets;
#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
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
    environment::{Environment, KEYSTORE_PASSWORD},
    instance::Instance,
    layers::DEFAULTS,
    sections::{Admin, Auth, Payers, Server, Store},
};
use crate::{payment::paused::Paused, redis_client::address::Options};

/// The variable that names the configuration file.
pub(crate) const FILE_VARIABLE: &str = "FACILITATOR_CONFIG";

/// The configuration file that is read when none is named.
const FILE_DEFAULT: &str = "facilitator.toml";

/// The mistake of naming a network that no family serves.
const STRANGER: &str = "belongs to a family of chains that this build does not serve";

/// The configuration in force. Has no `Debug`: it holds keys.
pub struct Config {
    /// The file it was read from, if any.
    pub file: Option<PathBuf>,
    /// `[server]`.
    pub server: Server,
    /// `[admin]`.
    pub admin: Admin,
    /// `[auth]`.
    pub auth: Auth,
    /// `[paused]`.
    pub paused: Paused,
    /// `[payers]`.
    pub payers: Payers,
    /// `[store]`.
    pub store: Store,
    /// `[instance]`.
    pub instance: Instance,
    /// `[redis]`, where it is given.
    pub redis: Option<Options>,
    /// `[networks."…"]`, by identifier. Never empty.
    pub chains: Vec<Arc<dyn Chain>>,
    /// Every value in force.
    pub report: Report,
    /// Warnings about variables that look like the service's and that nothing reads.
    pub unread: Vec<String>,
}

/// Reads the configuration: the file named by the command line, else by
/// `$FACILITATOR_CONFIG`, else `./facilitator.toml` if it is there.
///
/// # Errors
/// The report, with at least one problem.
pub fn load(
    path: Option<&Path>,
    environment: &Environment,
    families: &[&dyn Family],
    clock: &Arc<dyn Clock>,
) -> Result<Config, Report> {
    let (file, text) = text(path, environment)?;
    let config = read_with(&text, file.is_some(), environment, families, clock)?;
    Ok(Config { file, ..config })
}

/// The file that is read: the one that is named, else the default one where it is there.
pub fn file(path: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let named = path.map(Path::to_owned).or_else(|| environment.get(FILE_VARIABLE).map(PathBuf::from));
    named.or_else(|| Path::new(FILE_DEFAULT).exists().then(|| FILE_DEFAULT.into()))
}

/// Reads `[store]` alone: what is wrong elsewhere, such as a key that is not in
/// this environment, keeps nobody from looking into the store.
///
/// # Errors
/// The report, with at least one problem.
pub fn load_store(path: Option<&Path>, environment: &Environment) -> Result<Store, Report> {
    load_section("store", path, environment, sections::store)
}

/// Reads `[auth]` alone, likewise: keys may change while the service runs.
///
/// # Errors
/// The report, with at least one problem.
pub fn load_auth(path: &Path, environment: &Environment) -> Result<Auth, Report> {
    load_section("auth", Some(path), environment, |section| sections::auth(section, None))
}

/// Reads `[paused]` alone, likewise, for a service of these networks.
///
/// # Errors
/// The report, with at least one problem.
pub fn load_paused(path: &Path, environment: &Environment, networks: &[Network]) -> Result<Paused, Report> {
    load_section("paused", Some(path), environment, |section| sections::paused(section, networks))
}

/// Reads the address of the public listener alone, likewise.
///
/// # Errors
/// The report, with at least one problem.
pub fn load_listen(path: Option<&Path>, environment: &Environment) -> Result<SocketAddr, Report> {
    load_section("server", path, environment, |section| sections::server(section).0)
}

fn load_section<T>(
    name: &str,
    path: Option<&Path>,
    environment: &Environment,
    read: impl FnOnce(Section) -> Option<T>,
) -> Result<T, Report> {
    let (_, text) = text(path, environment)?;
    let layers = layers::stack(&text, environment);
    let report = Report::new(layers.sources).at_lines(layers.lines).hiding(environment.values_in(&text));
    for problem in layers.problems {
        // One that is about no key is about the whole file.
        if problem.key.starts_with(name) || !problem.key.contains('.') {
            report.add(problem);
        }
    }
    if layers.unreadable {
        return Err(report);
    }
    let mut root = Section::new("", layers.table, report.clone());
    let value = read(root.section(name));
    root.forget();
    value.filter(|_| report.problems().is_empty()).ok_or(report)
}

/// The configuration file's path and text.
fn text(path: Option<&Path>, environment: &Environment) -> Result<(Option<PathBuf>, String), Report> {
    let Some(file) = file(path, environment) else { return Ok((None, String::new())) };
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok((Some(file), text)),
        Err(error) => {
            let report = Report::default();
            report.problem(
                file.display().to_string(),
                format!("cannot be read: {error}"),
                "name another with --config, or let `facilitator config init` write one",
            );
            Err(report)
        }
    }
}

/// Reads the configuration from a file's text.
///
/// # Errors
/// The report, with at least one problem.
pub fn read(
    file: &str,
    environment: &Environment,
    families: &[&dyn Family],
    clock: &Arc<dyn Clock>,
) -> Result<Config, Report> {
    read_with(file, true, environment, families, clock)
}

fn read_with(
    file: &str,
    has_file: bool,
    environment: &Environment,
    families: &[&dyn Family],
    clock: &Arc<dyn Clock>,
) -> Result<Config, Report> {
    let mut layers = layers::stack(file, environment);
    let strangers = strange_defaults(&layers.table, families);
    layers::underlay(&mut layers.table, &mut layers.sources);
    let report = Report::new(layers.sources).at_lines(layers.lines).hiding(environment.values_in(file));
    for problem in layers.problems {
        report.add(problem);
    }
    // Whatever follows from keys that could not be read is not the operator's mistake.
    if layers.unreadable {
        return Err(report);
    }
    for key in strangers {
        report.problem(key, STRANGER, fix_namespace(families));
    }
    let mut root = Section::new("", layers.table, report.clone());
    let (listen, server) = sections::server(root.section("server"));
    let admin = sections::admin(root.section("admin"));
    let auth = sections::auth(root.section("auth"), listen);
    let payers = sections::payers(root.section("payers"));
    let store = sections::store(root.section("store"));
    let instance = instance::read(root.section("instance"));
    let redis = redis::read(&mut root);
    let chains = networks(root.section("networks"), has_file, families, clock);
    let configured: Vec<Network> = chains.iter().map(|chain| chain.network().clone()).collect();
    let paused = sections::paused(root.section("paused"), &configured);
    drop(root);
    match (server, admin, auth, payers, store, instance, paused, report.problems().is_empty()) {
        (Some(server), Some(admin), Some(auth), Some(payers), Some(store), Some(instance), Some(paused), true) => {
            let unread = environment.unread(file, &report.effective());
            Ok(Config {
                file: None,
                server,
                admin,
                auth,
                paused,
                payers,
                store,
                instance,
                redis,
                chains,
                report,
                unread,
            })
        }
        _ => Err(report),
    }
}

fn networks(
    mut section: Section,
    has_file: bool,
    families: &[&dyn Family],
    clock: &Arc<dyn Clock>,
) -> Vec<Arc<dyn Chain>> {
    let tables = section.tables();
    if tables.is_empty() && !has_file {
        let seen = format!(
            "names no network, and there is no configuration file: --config is not given, ${FILE_VARIABLE} is not \
             set, and ./{FILE_DEFAULT} is not there"
        );
        section.problem("", seen, "let `facilitator config init` write a file, or name yours with --config");
    } else if tables.is_empty() {
        let fix = "add a table such as [networks.\"eip155:84532\"] with `rpc` and `gas_wallets`";
        section.problem("", "names no network", fix);
    }
    let mut chains = Vec::with_capacity(tables.len());
    for (key, table) in tables {
        let Ok(network) = key.parse::<Network>() else {
            table.problem("", "is not a network", chains_core::network::NetworkError.to_string());
            table.forget();
            continue;
        };
        if let Some(family) = families.iter().find(|family| family.namespace() == network.namespace()) {
            chains.extend(family.configure(network, table, Arc::clone(clock)));
        } else {
            table.problem("", STRANGER, fix_namespace(families));
            table.forget();
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
