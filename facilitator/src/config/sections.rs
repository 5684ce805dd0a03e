//! The tables of the service itself.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use chains_core::config::Section;

use crate::http::auth::{Key, Keys, Scope};

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where resource servers ask.
    pub listen: SocketAddr,
    /// How long a settle waits for the chain.
    pub settle_wait: Duration,
    /// The largest body, in bytes.
    pub body_max: usize,
    /// Time for a head to arrive.
    pub header_wait: Duration,
    /// Time for a body to arrive.
    pub body_wait: Duration,
    /// Connections at a time.
    pub connections_max: usize,
    /// Connections of one address at a time.
    pub connections_per_ip_max: usize,
    /// `Host` names that are answered; empty answers all.
    pub hosts: Vec<String>,
    /// What is logged.
    pub log: String,
    /// Whether it is logged as JSON.
    pub log_json: bool,
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where the metrics are.
    pub listen: SocketAddr,
    /// SHA-256 of the token that is asked for.
    pub token_sha256: Option<[u8; 32]>,
}

/// `[auth]`.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Who may ask.
    pub keys: Keys,
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct Store {
    /// The database file.
    pub path: PathBuf,
    /// Bring the schema up to date at start.
    pub auto_migrate: bool,
}

pub(super) fn server(mut section: Section) -> Option<Server> {
    let listen = section.required::<SocketAddr>("listen");
    let settle_wait = positive(&mut section, "settle_wait");
    let body_max = count(&mut section, "body_max_bytes");
    let header_wait = positive(&mut section, "header_timeout");
    let body_wait = positive(&mut section, "body_timeout");
    let connections_max = count(&mut section, "connections_max");
    let connections_per_ip_max = count(&mut section, "connections_per_ip_max");
    let hosts = section.required::<Vec<String>>("hosts");
    let log = section.required::<String>("log");
    let format = section.required::<String>("log_format");
    if let Some(format) = format.as_deref().filter(|format| !matches!(*format, "text" | "json")) {
        section.problem("log_format", format!("is {format:?}"), "write \"text\" or \"json\"");
    }
    let listen = listen?;
    Some(Server {
        listen,
        settle_wait: settle_wait?,
        body_max: body_max?,
        header_wait: header_wait?,
        body_wait: body_wait?,
        connections_max: connections_max?,
        connections_per_ip_max: connections_per_ip_max?,
        hosts: hosts_of(listen, hosts?),
        log: log?,
        log_json: format? == "json",
    })
}

/// On loopback, only names of this machine and those that are configured; on
/// other addresses names are the proxy's business, unless some are configured.
fn hosts_of(listen: SocketAddr, mut configured: Vec<String>) -> Vec<String> {
    if listen.ip().is_loopback() {
        configured.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
        configured.push(listen.ip().to_string());
    }
    configured
}

pub(super) fn admin(mut section: Section) -> Option<Admin> {
    let listen = section.required::<SocketAddr>("listen");
    let token = section.optional::<String>("token_sha256");
    let token_sha256 = token.as_ref().map(|text| sha256(&section, "token_sha256", text));
    if listen.is_some_and(|listen| !listen.ip().is_loopback()) && token.is_none() {
        section.problem("token_sha256", "is missing although listen is not loopback", "write the SHA-256 of a token");
    }
    Some(Admin { listen: listen?, token_sha256: token_sha256.flatten() })
}

pub(super) fn auth(mut section: Section, server: Option<&Server>) -> Option<Auth> {
    let mode = section.required::<String>("mode");
    let allow_open = section.required::<bool>("allow_open");
    let keys = section.sections("keys").unwrap_or_default().into_iter().map(key).collect::<Vec<_>>();
    match mode.as_deref() {
        Some("open") => {
            let exposed = server.is_some_and(|server| !server.listen.ip().is_loopback());
            if exposed && allow_open == Some(false) {
                let fix = "write auth.mode = \"api_key\" with keys, or auth.allow_open = true";
                section.problem("mode", "is \"open\" although server.listen is not loopback", fix);
            }
            if !keys.is_empty() {
                section.problem("keys", "are set although mode is \"open\"", "write mode = \"api_key\"");
            }
            Some(Auth { keys: Keys::Open })
        }
        Some("api_key") => {
            if keys.is_empty() {
                section.problem("keys", "are missing", "write a table `[[auth.keys]]` for each key");
            }
            Some(Auth { keys: Keys::Required(keys.into_iter().collect::<Option<_>>()?) })
        }
        Some(other) => {
            section.problem("mode", format!("is {other:?}"), "write \"open\" or \"api_key\"");
            None
        }
        None => None,
    }
}

fn key(mut section: Section) -> Option<Key> {
    let name = section.required::<String>("name");
    let hash = section.required::<String>("sha256");
    let sha256 = hash.and_then(|text| sha256(&section, "sha256", &text));
    let mut scopes = Vec::new();
    for word in section.required::<Vec<String>>("scopes")? {
        match word.parse::<Scope>() {
            Ok(scope) => scopes.push(scope),
            Err(error) => section.problem("scopes", format!("names {word:?}"), error),
        }
    }
    let pay_to = section.optional::<Vec<String>>("pay_to").unwrap_or_default();
    Some(Key { name: name?, sha256: sha256?, scopes, pay_to })
}

pub(super) fn store(mut section: Section) -> Option<Store> {
    let url = section.required::<String>("url");
    let auto_migrate = section.required::<bool>("auto_migrate");
    let url = url?;
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
    if path.is_none_or(str::is_empty) {
        // The URL may hold a password: only its scheme is shown.
        let scheme = url.split(':').next().unwrap_or_default();
        let fix = "write \"sqlite://path\": this version has no other store yet";
        section.problem("url", format!("is of kind {scheme:?}"), fix);
    }
    Some(Store { path: PathBuf::from(path.filter(|path| !path.is_empty())?), auto_migrate: auto_migrate? })
}

fn sha256(section: &Section, key: &str, text: &str) -> Option<[u8; 32]> {
    let hash = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    if hash.is_none() {
        section.problem(key, "is no SHA-256", "write 64 hex digits: printf %s TOKEN | sha256sum");
    }
    hash
}

fn positive(section: &mut Section, key: &str) -> Option<Duration> {
    let value = section.required::<Duration>(key)?;
    if value.is_zero() {
        section.problem(key, "is no time", "write a duration such as \"5s\"");
    }
    (!value.is_zero()).then_some(value)
}

fn count(section: &mut Section, key: &str) -> Option<usize> {
    let value = section.required::<u64>(key)?;
    if value == 0 {
        section.problem(key, "is 0", "write 1 or more");
    }
    usize::try_from(value).ok().filter(|value| *value > 0)
}

#[cfg(test)]
mod tests {
    use crate::config::load::merge;

    fn problems(file: &str) -> Vec<String> {
        let (table, report) = merge(file, &crate::config::Environment::new()).expect("TOML");
        let clock: std::sync::Arc<dyn chains_core::clock::Clock> = std::sync::Arc::new(chains_core::clock::SystemClock);
        drop(crate::config::read(table, &report, &[&chains_fake::FakeFamily], &clock));
        report.problems().into_iter().map(|problem| problem.key).collect()
    }

    const NETWORK: &str = "[networks.\"fake:x\"]\ngas_wallets = [\"g\"]\nin_flight_max = 1\nblock_time = \"1s\"\n";

    #[test]
    fn the_defaults_with_one_network_are_a_configuration() {
        assert_eq!(problems(&NETWORK.replace("fake:x", "fake:x1")), Vec::<String>::new());
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let network = NETWORK.replace("fake:x", "fake:x1");
        let cases: [(&str, &[&str]); 8] = [
            ("[server]\nlisten = \"0.0.0.0:1\"\n", &["auth.mode"]),
            (
                "[server]\nlisten = \"nowhere\"\nsettle_wait = \"0s\"\nsurprise = 1\n",
                &["server.listen", "server.settle_wait", "server.surprise"],
            ),
            ("[admin]\nlisten = \"0.0.0.0:1\"\n", &["admin.token_sha256"]),
            ("[auth]\nmode = \"api_key\"\n", &["auth.keys"]),
            ("[auth]\nmode = \"maybe\"\n", &["auth.mode"]),
            ("[store]\nurl = \"postgres://u:secret@h/d\"\n", &["store.url"]),
            ("[redis]\nurl = \"redis://127.0.0.1\"\n", &["redis"]),
            ("[sevrer]\n", &["sevrer"]),
        ];
        for (text, expected) in cases {
            assert_eq!(problems(&format!("{text}{network}")), expected, "{text}");
        }
        assert_eq!(problems(""), ["networks"]);
        assert_eq!(problems("[networks.base]\nrpc = []\n"), ["networks.base"]);
    }
}
