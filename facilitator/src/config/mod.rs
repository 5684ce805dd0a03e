//! The configuration: three layers, every mistake at once.
//!
//! * [`load`]: `config.default.toml` below the file below the environment.
//! * [`sections`]: the tables, read into types that cannot be wrong.

pub mod load;
pub mod sections;

use std::sync::Arc;

use chains_core::{
    chain::Chain,
    clock::Clock,
    config::{Report, Section},
    family::Family,
};

pub use load::{Environment, load};
pub use sections::{Admin, Auth, Server, Store};

/// A configuration without mistakes.
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[admin]`.
    pub admin: Admin,
    /// `[auth]`.
    pub auth: Auth,
    /// `[store]`.
    pub store: Store,
    /// `[networks."…"]`.
    pub chains: Vec<Arc<dyn Chain>>,
}

/// Reads the merged table. The report has every mistake, and the values in force.
pub fn read(table: toml::Table, report: &Report, families: &[&dyn Family], clock: &Arc<dyn Clock>) -> Option<Config> {
    let mut root = Section::new("", table, report.clone());
    let server = sections::server(root.section("server"));
    let admin = sections::admin(root.section("admin"));
    let auth = sections::auth(root.section("auth"), server.as_ref());
    let store = sections::store(root.section("store"));
    if root.has("redis") {
        root.section("redis").forget();
        root.problem("redis", "is set", "remove it: this version runs as one instance and does not use Redis yet");
    }
    let chains = networks(root.section("networks"), report, families, clock);
    drop(root);
    let config = Config { server: server?, admin: admin?, auth: auth?, store: store?, chains: chains? };
    report.problems().is_empty().then_some(config)
}

fn networks(
    mut section: Section,
    report: &Report,
    families: &[&dyn Family],
    clock: &Arc<dyn Clock>,
) -> Option<Vec<Arc<dyn Chain>>> {
    let tables = section.tables();
    if tables.is_empty() {
        report.problem("networks", "has no network", "write a table such as `[networks.\"eip155:84532\"]`");
    }
    let mut chains = Vec::new();
    let mut complete = true;
    for (name, table) in tables {
        let family = |n: &chains_core::Network| families.iter().find(|f| f.namespace() == n.namespace());
        let chain = match name.parse() {
            Ok(network) => {
                if let Some(family) = family(&network) {
                    family.configure(network, table, Arc::clone(clock))
                } else {
                    let known: Vec<_> = families.iter().map(|f| f.namespace()).collect();
                    table.problem("", "is of no known family", format!("use one of: {}", known.join(", ")));
                    table.forget();
                    None
                }
            }
            Err(error) => {
                table.problem("", "is no network", error.to_string());
                table.forget();
                None
            }
        };
        match chain {
            Some(chain) => chains.push(chain),
            None => complete = false,
        }
    }
    complete.then_some(chains)
}
