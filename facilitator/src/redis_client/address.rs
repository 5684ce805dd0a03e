//! The URL of Redis, and everything else that a connection needs.

use std::{fmt, path::PathBuf};

use chains_core::Secret;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

/// The port of a server, and that of a Sentinel.
const PORTS: (u16, u16) = (6379, 26379);

/// Servers that a URL may name: more than any Sentinel set or list of a cluster's first nodes has.
const NODES_MAX: usize = 32;

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The servers that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One, behind a Unix socket.
    Socket(PathBuf),
    /// One, or a name that follows the primary.
    Server(Node),
    /// The primary that Sentinels name.
    Sentinel {
        /// The Sentinels.
        sentinels: Vec<Node>,
        /// The name of the primary.
        primary: String,
    },
    /// A cluster, of which these are some nodes.
    Cluster(Vec<Node>),
}

/// Everything that a connection needs. Its `Debug` shows no password.
#[derive(Clone, Debug)]
pub struct Options {
    /// The servers.
    pub topology: Topology,
    /// True for TLS.
    pub tls: bool,
    /// The ACL user; `None` for the default one.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The number of the database.
    pub database: i64,
    /// The password of the Sentinels themselves.
    pub sentinel_password: Option<Secret>,
    /// Certificates in PEM that a server's is checked against; `None` for those of the machine.
    pub authorities: Option<Vec<u8>>,
    /// True when a Redis may be used that throws keys away to make room.
    pub accept_eviction: bool,
}

/// The mistake in a URL. It shows nothing of it: a password may stand anywhere in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No scheme that is known.
    #[error("names no kind of Redis that is known")]
    Scheme,
    /// A parameter or a fragment.
    #[error("has parameters or a fragment that are not known")]
    Surplus,
    /// A host, a port, a user, a password or a database that cannot be read.
    #[error("is not of the form that its scheme needs")]
    Form,
    /// The name of the primary is missing.
    #[error("does not name the primary that the Sentinels watch")]
    Primary,
}

impl AddressError {
    /// The remedy.
    pub const fn fix(self) -> &'static str {
        match self {
            Self::Scheme => {
                "write redis://, rediss:// (TLS), unix:///, redis-sentinel://, rediss-sentinel://, redis-cluster:// or \
                 rediss-cluster://"
            }
            Self::Surplus => {
                "remove what follows `?` or `#`; only unix:/// takes db, user and pass. In a password write %3F and \
                 %23, or put it into `redis.password_file`"
            }
            Self::Form => {
                "write redis://user@host:6379/0, unix:///run/redis.sock, redis-sentinel://a:26379,b:26379/primary or \
                 redis-cluster://a:6379,b:6379; in a user or a password write %40 for @ and %2F for /"
            }
            Self::Primary => "write its name as the path: redis-sentinel://a:26379,b:26379/primary",
        }
    }
}

impl Options {
    /// Reads a URL; the rest is left out.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url.split_once("://").ok_or(AddressError::Scheme)?;
        let tls = scheme.starts_with("rediss");
        match scheme {
            "unix" => socket(rest),
            "redis" | "rediss" => server(rest, tls),
            "redis-sentinel" | "rediss-sentinel" => sentinel(rest, tls),
            "redis-cluster" | "rediss-cluster" => cluster(rest, tls),
            _ => Err(AddressError::Scheme),
        }
    }

    /// The servers, without a user or a password.
    pub fn shown(&self) -> String {
        let list = |nodes: &[Node]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let scheme = if self.tls { "rediss" } else { "redis" };
        match &self.topology {
            Topology::Socket(path) => format!("unix://{}", path.display()),
            Topology::Server(node) => format!("{scheme}://{node}/{}", self.database),
            Topology::Sentinel { sentinels, primary } => format!("{scheme}-sentinel://{}/{primary}", list(sentinels)),
            Topology::Cluster(nodes) => format!("{scheme}-cluster://{}", list(nodes)),
        }
    }

    fn of(topology: Topology, tls: bool, read: &ConnectionInfo) -> Self {
        let settings = read.redis_settings();
        Self {
            topology,
            tls,
            user: settings.username().map(str::to_owned),
            password: settings.password().map(|password| Secret::new(password.to_owned())),
            database: settings.db(),
            sentinel_password: None,
            authorities: None,
            accept_eviction: false,
        }
    }
}

fn socket(rest: &str) -> Result<Options, AddressError> {
    let (_, query) = rest.split_once('?').unwrap_or((rest, ""));
    let known = |pair: &str| pair.split_once('=').is_some_and(|(key, _)| ["db", "user", "pass"].contains(&key));
    if rest.contains('#') || query.split('&').any(|pair| !pair.is_empty() && !known(pair)) {
        return Err(AddressError::Surplus);
    }
    let read = format!("unix://{rest}").into_connection_info().map_err(|_| AddressError::Form)?;
    match read.addr() {
        ConnectionAddr::Unix(path) => Ok(Options::of(Topology::Socket(path.clone()), false, &read)),
        _ => Err(AddressError::Form),
    }
}

fn server(rest: &str, tls: bool) -> Result<Options, AddressError> {
    let (user, hosts, path) = parts(rest)?;
    let (node, read) = node(user, hosts, path, PORTS.0)?;
    Ok(Options::of(Topology::Server(node), tls, &read))
}

fn sentinel(rest: &str, tls: bool) -> Result<Options, AddressError> {
    let (user, hosts, path) = parts(rest)?;
    let (primary, database) = path.split_once('/').unwrap_or((path, ""));
    let (sentinels, read) = nodes(user, hosts, database, PORTS.1)?;
    if primary.is_empty() {
        return Err(AddressError::Primary);
    }
    Ok(Options::of(Topology::Sentinel { sentinels, primary: primary.to_owned() }, tls, &read))
}

fn cluster(rest: &str, tls: bool) -> Result<Options, AddressError> {
    let (user, hosts, path) = parts(rest)?;
    if !path.is_empty() {
        return Err(AddressError::Form);
    }
    let (nodes, read) = nodes(user, hosts, path, PORTS.0)?;
    Ok(Options::of(Topology::Cluster(nodes), tls, &read))
}

/// The user with its password, the hosts, and the path without its first slash.
fn parts(rest: &str) -> Result<(&str, &str, &str), AddressError> {
    if rest.contains(['?', '#']) {
        return Err(AddressError::Surplus);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    Ok((user, hosts, path))
}

fn nodes(user: &str, hosts: &str, path: &str, port: u16) -> Result<(Vec<Node>, ConnectionInfo), AddressError> {
    let read: Result<Vec<_>, _> =
        hosts.split(',').take(NODES_MAX + 1).map(|host| node(user, host, path, port)).collect();
    let (nodes, mut infos): (Vec<_>, Vec<_>) = read?.into_iter().unzip();
    let info = infos.pop().filter(|_| nodes.len() <= NODES_MAX).ok_or(AddressError::Form)?;
    Ok((nodes, info))
}

/// One host, as the library reads it. Its own default port is another one than a Sentinel's.
fn node(user: &str, host: &str, path: &str, port: u16) -> Result<(Node, ConnectionInfo), AddressError> {
    if host.contains(',') {
        return Err(AddressError::Form);
    }
    let at = if user.is_empty() { "" } else { "@" };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let port = if has_port { String::new() } else { format!(":{port}") };
    let url = format!("redis://{user}{at}{host}{port}/{path}");
    let read = url.into_connection_info().map_err(|_| AddressError::Form)?;
    match read.addr() {
        ConnectionAddr::Tcp(host, port) if !host.is_empty() => Ok((Node { host: host.clone(), port: *port }, read)),
        _ => Err(AddressError::Form),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_url_is_read_and_shown_without_its_password() {
        let cases = [
            ("redis://h", "redis://h:6379/0", None, None),
            ("redis://[::1]:7000/2", "redis://::1:7000/2", None, None),
            ("rediss://app:canary%40%2F@h:1", "rediss://h:1/0", Some("app"), Some("canary@/")),
            ("redis://:canary@h", "redis://h:6379/0", None, Some("canary")),
            ("unix:///run/redis.sock?user=app&pass=canary", "unix:///run/redis.sock", Some("app"), Some("canary")),
            ("redis-sentinel://a,b:1/main", "redis-sentinel://a:26379,b:1/main", None, None),
            ("rediss-sentinel://u:canary@a/main/3", "rediss-sentinel://a:26379/main", Some("u"), Some("canary")),
            ("redis-cluster://u:canary@a,[::1]:2", "redis-cluster://a:6379,::1:2", Some("u"), Some("canary")),
            ("rediss-cluster://a", "rediss-cluster://a:6379", None, None),
        ];
        for (url, shown, user, password) in cases {
            let options = Options::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(options.shown(), shown, "{url}");
            assert_eq!(options.user.as_deref(), user, "{url}");
            assert_eq!(options.password.as_ref().map(Secret::expose), password, "{url}");
            assert!(!format!("{options:?}").contains("canary"), "{url}");
            assert_eq!(options.tls, url.starts_with("rediss"), "{url}");
        }
        assert_eq!(Options::parse("rediss-sentinel://a/main/3").map(|options| options.database), Ok(3));
    }

    #[test]
    fn a_url_that_cannot_be_meant_is_refused_and_not_shown() {
        let many = format!("redis-cluster://{}", vec!["canary"; NODES_MAX + 1].join(","));
        let cases = [
            ("canary", AddressError::Scheme),
            ("http://canary", AddressError::Scheme),
            ("redis+tls://canary", AddressError::Scheme),
            ("redis://canary#insecure", AddressError::Surplus),
            ("rediss://canary#insecure", AddressError::Surplus),
            ("redis://canary?protocol=resp3", AddressError::Surplus),
            ("unix:///canary?password=x", AddressError::Surplus),
            ("redis://", AddressError::Form),
            ("redis://canary/x", AddressError::Form),
            ("redis://canary:99999", AddressError::Form),
            ("redis://a,canary", AddressError::Form),
            ("redis-cluster://canary/1", AddressError::Form),
            (&many, AddressError::Form),
            ("redis-sentinel://canary", AddressError::Primary),
            ("redis-sentinel://canary/", AddressError::Primary),
        ];
        for (url, expected) in cases {
            let error = Options::parse(url).map(|options| options.shown()).expect_err(url);
            assert_eq!(error, expected, "{url}");
            assert!(!format!("{error} {}", error.fix()).contains("canary"), "{url}");
        }
    }
}
