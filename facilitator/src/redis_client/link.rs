//! A connection to Redis, and what its servers say of themselves.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo,
    RedisError, RedisResult, TlsCertificates, TlsMode, Value,
    aio::MultiplexedConnection,
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    from_redis_value,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};
use tokio::time::timeout;

use super::{
    BUDGET, PREFIX,
    address::{Node, Options, Topology},
};

/// Time for one step of making a connection.
const CONNECT_MAX: Duration = Duration::from_millis(500);

/// Time for an answer where no request waits: to sign in, and to what a server says of itself.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// Time for a new connection with all its steps, of several servers too.
const OPEN_MAX: Duration = Duration::from_secs(2);

/// The life of the key that a proof writes.
const PROOF_LIFE_MS: u64 = 1_000;

/// The time after which an instance that was not heard of counts no more: three checks of the keeper.
const HEARD_S: u64 = 30;

/// Notes this instance by the clock of Redis, and counts those that were heard of.
const CENSUS: &str = "local now = tonumber(redis.call('TIME')[1]) \
     redis.call('ZADD', KEYS[1], now, ARGV[1]) \
     redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - ARGV[2]) \
     redis.call('EXPIRE', KEYS[1], ARGV[2]) \
     return redis.call('ZCARD', KEYS[1])";

/// The first version in which `SET` takes `NX` and `GET` together.
const VERSION_MIN: u32 = 7;

/// The policy under which Redis throws nothing away.
const POLICY: &str = "noeviction";

/// The reason why a Redis is not used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It does not answer.
    #[error("it did not answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// It throws keys away to make room.
    #[error(
        "its maxmemory-policy is `{0}`: marks and rates would vanish when its memory is full. Set `maxmemory-policy \
         noeviction` in its configuration (CONFIG SET maxmemory-policy noeviction does so at once), or, if it cannot \
         be changed, redis.accept_eviction = true"
    )]
    Evicts(String),
    /// It is too old.
    #[error("it is version {0}, and `SET … NX GET` needs Redis 7.0 or Valkey: upgrade it, or remove [redis]")]
    Old(String),
    /// It, or the way to it, has another trouble.
    #[error("{0}")]
    Redis(#[from] RedisError),
}

impl LinkError {
    /// Returns true when it answers, and stays unfit until somebody changes it.
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Evicts(_) | Self::Old(_))
    }
}

/// A connection that many share: cheap to clone.
#[derive(Clone)]
pub(super) enum Link {
    /// To one server.
    Server(MultiplexedConnection),
    /// To a cluster.
    Cluster(ClusterConnection),
}

impl Link {
    /// Sends a command and waits for its answer.
    pub(super) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Server(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

/// A connection that does what requests need.
pub(super) struct Proven {
    /// The connection.
    pub(super) link: Link,
    /// The instances that share this Redis, this one among them.
    pub(super) instances: u32,
}

/// Asks Redis for what requests ask it for, within their budget, on this connection or, without
/// one, on a new one; and asks it about itself.
///
/// # Errors
/// It cannot be used.
pub(super) async fn prove(known: Option<Link>, options: &Options, instance: &str) -> Result<Proven, LinkError> {
    let ready = async {
        let mut link = match known {
            Some(link) => link,
            // Boxed: the library's futures are large, and deep.
            None => Box::pin(open(options)).await?,
        };
        let info = link.send(&redis::cmd("INFO")).await?;
        for server in texts(&info) {
            judge(&server, options.accept_eviction)?;
        }
        Ok::<_, LinkError>(link)
    };
    let mut link = timeout(OPEN_MAX, ready).await.map_err(|_| LinkError::Late(OPEN_MAX))??;
    let mut command = redis::cmd("SET");
    command.arg(format!("{PREFIX}probe:{instance}")).arg("").arg("NX").arg("GET").arg("PX").arg(PROOF_LIFE_MS);
    timeout(BUDGET, link.send(&command)).await.map_err(|_| LinkError::Late(BUDGET))??;
    let mut census = redis::cmd("EVAL");
    census.arg(CENSUS).arg(1).arg(format!("{PREFIX}instances")).arg(instance).arg(HEARD_S);
    let counted = timeout(BUDGET, link.send(&census)).await.map_err(|_| LinkError::Late(BUDGET))??;
    let instances = from_redis_value::<u32>(counted).map_err(RedisError::from)?;
    Ok(Proven { link, instances: instances.max(1) })
}

async fn open(options: &Options) -> RedisResult<Link> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_MAX)).set_response_timeout(Some(ANSWER_MAX));
    let server = match &options.topology {
        Topology::Cluster(nodes) => return cluster(nodes, options).await,
        Topology::Sentinel { sentinels, primary } => {
            let addresses = sentinels.iter().map(|node| address(node, options.tls));
            let builder = SentinelClientBuilder::new(addresses, primary, SentinelServerType::Master)?;
            with_sentinel(builder, options).build()?.get_async_connection_with_config(&config).await?
        }
        Topology::Server(node) => {
            let info = info(address(node, options.tls), options)?;
            let client =
                if options.tls { Client::build_with_tls(info, certificates(options)) } else { Client::open(info) };
            client?.get_multiplexed_async_connection_with_config(&config).await?
        }
        Topology::Socket(path) => {
            let info = info(ConnectionAddr::Unix(path.clone()), options)?;
            Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?
        }
    };
    Ok(Link::Server(server))
}

async fn cluster(nodes: &[Node], options: &Options) -> RedisResult<Link> {
    let infos = nodes.iter().map(|node| info(address(node, options.tls), options)).collect::<RedisResult<Vec<_>>>()?;
    // A command that a node does not take is sent once more, to the node that it names.
    let mut builder =
        ClusterClientBuilder::new(infos).connection_timeout(CONNECT_MAX).response_timeout(ANSWER_MAX).retries(1);
    if let Some(user) = &options.user {
        builder = builder.username(user);
    }
    if let Some(password) = &options.password {
        builder = builder.password(password.expose());
    }
    if options.tls {
        builder = builder.tls(TlsMode::Secure).certs(certificates(options));
    }
    Ok(Link::Cluster(builder.build()?.get_async_connection().await?))
}

fn with_sentinel(mut builder: SentinelClientBuilder, options: &Options) -> SentinelClientBuilder {
    builder = builder.set_client_to_redis_db(options.database);
    if let Some(user) = &options.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = &options.password {
        builder = builder.set_client_to_redis_password(password.expose());
    }
    if let Some(password) = &options.sentinel_password {
        builder = builder.set_client_to_sentinel_password(password.expose());
    }
    if options.tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates(options))
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(certificates(options));
    }
    builder
}

fn address(node: &Node, tls: bool) -> ConnectionAddr {
    let (host, port) = (node.host.clone(), node.port);
    if tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

fn info(address: ConnectionAddr, options: &Options) -> RedisResult<ConnectionInfo> {
    // The name of the library is told by a command that no other permission is needed for.
    let mut settings = RedisConnectionInfo::default().set_db(options.database).set_skip_set_lib_name();
    if let Some(user) = &options.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = &options.password {
        settings = settings.set_password(password.expose());
    }
    Ok(address.into_connection_info()?.set_redis_settings(settings))
}

fn certificates(options: &Options) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: options.authorities.clone() }
}

/// The texts in an answer: one of a server, one of each node of a cluster.
fn texts(answer: &Value) -> Vec<String> {
    match answer {
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Value::VerbatimString { text, .. } => vec![text.clone()],
        Value::Map(entries) => entries.iter().flat_map(|(_, node)| texts(node)).collect(),
        _ => vec![],
    }
}

/// Judges what a server says of itself.
fn judge(info: &str, accept_eviction: bool) -> Result<(), LinkError> {
    let field = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    };
    if let Some(version) = field("redis_version")
        && version.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major < VERSION_MIN)
    {
        return Err(LinkError::Old(version.to_owned()));
    }
    match field("maxmemory_policy") {
        Some(policy) if policy != POLICY && !accept_eviction => Err(LinkError::Evicts(policy.to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_throws_keys_away_or_is_too_old_is_not_used() {
        let info = |version: &str, policy: &str| {
            format!("# Server\r\nredis_version:{version}\r\n\r\n# Memory\r\nmaxmemory_policy:{policy}\r\n")
        };
        let cases = [
            (info("7.0.15", "noeviction"), false, ""),
            (info("8.2.0", "noeviction"), false, ""),
            (info("7.2.4", "allkeys-lru"), false, "maxmemory-policy noeviction"),
            (info("7.2.4", "volatile-ttl"), false, "`volatile-ttl`"),
            (info("7.2.4", "allkeys-lru"), true, ""),
            (info("6.2.14", "noeviction"), true, "Redis 7.0 or Valkey"),
            // A service that tells nothing of the kind.
            (String::new(), false, ""),
        ];
        for (info, accept_eviction, expected) in cases {
            match judge(&info, accept_eviction) {
                Ok(()) => assert_eq!(expected, "", "{info}"),
                Err(error) => {
                    assert!(error.is_configuration() && !expected.is_empty(), "{info}: {error}");
                    assert!(error.to_string().contains(expected), "{info}: {error}");
                }
            }
        }
    }

    #[test]
    fn every_node_of_a_cluster_is_judged() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let nodes = Value::Map(vec![(text("a:1"), text("x:1")), (text("b:1"), text("x:2"))]);
        assert_eq!(texts(&nodes), ["x:1", "x:2"]);
        assert_eq!(texts(&text("x:3")), ["x:3"]);
        assert!(texts(&Value::Nil).is_empty());
    }
}
