//! One endpoint: a client over [`Transport`], which never retries.

use std::{fmt, time::Duration};

use chains_core::Network;
use chains_rpc::{Limits, Meter, Standing, Transport};

use super::{
    client::{RpcClient, Wire},
    error::{CallError, Failure},
};

/// Connections kept open while nothing is asked.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// The largest answer that is read: 256 statuses, or a transaction with its
/// logs, fit many times.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One endpoint of a network.
pub struct Endpoint {
    client: RpcClient,
    host: String,
    standing: Standing,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint that answers each request within `timeout`.
    ///
    /// # Errors
    /// The URL or the TLS set-up is wrong: a sentence for people, without the URL.
    pub fn new(network: &Network, url: &str, timeout: Duration) -> Result<Self, String> {
        let (idle_connections_max, answer_bytes_max) = (IDLE_CONNECTIONS_MAX, ANSWER_BYTES_MAX);
        let transport = Transport::new(url, Limits { timeout, idle_connections_max, answer_bytes_max })?;
        let host = transport.host().to_owned();
        let meter = Meter::new(network, &host);
        Ok(Self::over(transport, Some(meter), host))
    }

    /// An endpoint over any transport.
    pub(crate) fn over(wire: impl Wire + 'static, meter: Option<Meter>, host: String) -> Self {
        Self { client: RpcClient::new(wire, meter), host, standing: Standing::default() }
    }

    /// The methods of a node.
    pub const fn client(&self) -> &RpcClient {
        &self.client
    }

    /// Adds this endpoint's name to the reason why it gave no answer.
    pub fn named(&self, failure: Failure) -> CallError {
        let host = self.host.clone();
        match failure {
            Failure::Fault(fault) => CallError::Transport { host, fault },
            Failure::Node(error) => CallError::Node { host, error },
        }
    }
}

impl chains_rpc::Endpoint for Endpoint {
    fn host(&self) -> &str {
        &self.host
    }

    fn standing(&self) -> &Standing {
        &self.standing
    }
}
