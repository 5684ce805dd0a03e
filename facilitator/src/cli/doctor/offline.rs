//! The doctor's findings without a chain: configuration, store, listeners.

use chains_core::{
    config::{Problem, Report, Source},
    diagnostic::{Finding, Severity},
};

use crate::{
    cli::EXIT_CONFIG,
    config::{
        Config, Store,
        shared_wallets::{SharedWallet, shared_wallets},
    },
    http::auth::Keys,
    store::{
        connect::{Location, inspect},
        schema::Inspection,
    },
};

/// Entries of a list of keys that are looked at; more gas wallets than anybody has.
const LIST_MAX: usize = 64;

/// A mistake of the configuration.
pub(super) fn of_problem(problem: Problem) -> Finding {
    let meaning = format!("the service refuses to start (exit code {EXIT_CONFIG})");
    let seen = problem.line.map_or_else(|| problem.seen.clone(), |line| format!("{} (line {line})", problem.seen));
    Finding::new(Severity::Error, "configuration", problem.key, seen, meaning, problem.fix)
}

/// The store, as the service would find it.
pub(super) async fn of_store(store: &Store) -> Finding {
    const REFUSES: &str = "the service refuses to start";
    let path = store.location.to_string();
    let Inspection { version, needed, holder } = match inspect(&store.location).await {
        Ok(inspection) => inspection,
        Err(error) => {
            let fix = match store.location {
                Location::Sqlite(_) => "check that `store.url` names a SQLite file that this user can read and write",
                Location::Postgres(_) => "check the server, and `store.url`",
            };
            return Finding::new(Severity::Error, "store", path, error.to_string(), REFUSES, fix);
        }
    };
    let holder = holder.map_or_else(String::new, |holder| format!(", in use by {holder}"));
    let folder =
        store.location.file().and_then(std::path::Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    match version {
        None if folder.is_some_and(|folder| !folder.is_dir()) => {
            let fix = "make the directory, or correct `store.url`";
            Finding::new(Severity::Error, "store", path, "its directory does not exist", REFUSES, fix)
        }
        None => Finding::fine("store", path, "no database yet: the first start makes it"),
        Some(version) => {
            let (subject, seen) = (path, format!("schema version {version} of {needed}{holder}"));
            if version > needed {
                let fix = "run the newer release that wrote it, or restore the copy made before the upgrade";
                Finding::new(Severity::Error, "store", subject, seen, REFUSES, fix)
            } else if version < needed && !store.auto_migrate {
                let fix = "run `facilitator migrate`, or set store.auto_migrate = true";
                Finding::new(Severity::Error, "store", subject, seen, REFUSES, fix)
            } else {
                Finding::fine("store", subject, seen)
            }
        }
    }
}

/// A file with keys in it that others can read. Keystore files are their
/// family's affair, which refuses such ones.
pub(in crate::cli) fn of_file(config: &Config) -> Option<Finding> {
    let file = config.file.as_deref()?;
    let literal = literal_secrets(&config.report);
    if literal.is_empty() || !is_open_to_others(file) {
        return None;
    }
    let seen = format!("holds {} and can be read by others", literal.join(", "));
    let subject = file.display().to_string();
    let meaning = "every user of this machine can spend what these keys hold";
    let fix = format!("chmod 600 {}, or take the keys from the environment: \"${{NAME}}\"", file.display());
    Some(Finding::new(Severity::Warning, "key_file", subject, seen, meaning, fix))
}

/// Secrets that are written out in the file. Hashes are left out, since they are
/// useless to a thief, and so are nodes, whose addresses are taken as secrets for
/// the sake of the few that hold a key.
fn literal_secrets(report: &Report) -> Vec<String> {
    let harmless =
        |key: &str| matches!(key.rsplit_once('.').map_or(key, |(_, name)| name), "sha256" | "token_sha256" | "rpc");
    // The list itself is from the file even when each entry is from the environment.
    let entries = |key: &str| (0..LIST_MAX).map(|i| report.source(&format!("{key}[{i}]"))).collect::<Vec<_>>();
    let is_literal = |key: &str| {
        let entries = entries(key);
        let is_list = entries.iter().any(|source| *source != Source::Default);
        if is_list { entries.contains(&Source::File) } else { report.source(key) == Source::File }
    };
    let secrets = report.effective().into_iter().filter(|effective| effective.secret);
    secrets.map(|effective| effective.key).filter(|key| !harmless(key) && is_literal(key)).collect()
}

#[cfg(unix)]
fn is_open_to_others(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &std::path::Path) -> bool {
    false
}

/// Listeners that are open to others because the operator says so.
pub(super) fn of_listeners(config: &Config) -> Option<Finding> {
    let exposed = !config.server.listen.ip().is_loopback() && matches!(config.auth.keys, Keys::Open);
    exposed.then(|| {
        let seen = format!("auth.mode is \"open\" and server.listen is {}", config.server.listen);
        let meaning = "whoever reaches the listener spends the gas wallets' money";
        let fix = "nothing, if a proxy or a private network keeps others away; else write auth.mode = \"api_key\"";
        Finding::new(Severity::Warning, "auth_open", "auth.mode", seen, meaning, fix)
    })
}

/// Gas wallets that networks share and should not.
pub(super) fn of_shared_wallets(config: &Config) -> impl Iterator<Item = Finding> {
    shared_wallets(&config.chains).into_iter().map(|shared| {
        let seen = shared.to_string();
        Finding::new(
            Severity::Warning,
            "shared_gas_wallet",
            shared.address,
            seen,
            SharedWallet::MEANING,
            SharedWallet::FIX,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Environment, store::connect::migrate};

    #[tokio::test]
    async fn a_store_is_judged_as_the_service_would_find_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let store =
            |name: &str, auto_migrate| Store { location: Location::Sqlite(folder.path().join(name)), auto_migrate };
        std::fs::write(folder.path().join("text.db"), "no database at all, but long enough for a header")
            .expect("written");
        std::fs::write(folder.path().join("empty.db"), "").expect("written");
        migrate(&Location::Sqlite(folder.path().join("good.db"))).await.expect("migrated");
        let cases = [
            ("new.db", true, Severity::Ok, "no database yet", ""),
            ("good.db", false, Severity::Ok, "schema version 6 of 6", ""),
            ("empty.db", true, Severity::Ok, "schema version 0 of 6", ""),
            ("empty.db", false, Severity::Error, "schema version 0 of 6", "facilitator migrate"),
            ("no/x.db", true, Severity::Error, "does not exist", "make the directory"),
            ("text.db", true, Severity::Error, "not a database", "names a SQLite file"),
        ];
        for (name, auto_migrate, severity, seen, fix) in cases {
            let found = of_store(&store(name, auto_migrate)).await;
            assert_eq!(found.severity, severity, "{name}: {found:?}");
            assert!(found.seen.contains(seen) && found.fix.contains(fix), "{name}: {found:?}");
        }
    }

    #[test]
    fn keys_in_the_file_are_noticed_and_keys_in_the_environment_are_not() {
        let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        let cases = [
            ("gas_wallets = [\"${KEY}\"]\n", 0),
            (&format!("gas_wallets = [\"{key}\"]\n"), 1),
            (&format!("gas_wallets = [\"${{OTHER}}\", \"{key}\"]\n"), 1),
            ("gas_wallets = [\"${KEY}\"]\nkeystore_password = \"canary\"\n", 1),
        ];
        let other = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
        let environment: Environment = [("KEY", key), ("OTHER", other)].into_iter().collect();
        let clock: std::sync::Arc<dyn chains_core::clock::Clock> = std::sync::Arc::new(chains_core::clock::SystemClock);
        for (text, count) in cases {
            let text = format!("[networks.\"eip155:84532\"]\nrpc = [\"http://127.0.0.1:1/key\"]\n{text}");
            let config = crate::config::read(&text, &environment, crate::families::FAMILIES, &clock);
            let config = config.unwrap_or_else(|report| panic!("{:?}", report.problems()));
            assert_eq!(literal_secrets(&config.report).len(), count, "{text}");
        }
    }
}
