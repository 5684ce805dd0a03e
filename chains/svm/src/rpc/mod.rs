//! The nodes of one network: [`chains_rpc`] with Solana's methods.

pub mod client;
pub mod endpoint;
pub mod error;
mod send_answers;

use std::{future::Future, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chains_core::{
    Network,
    chain::{ChainUnavailable, NodeLook},
    transaction::BroadcastResult,
};
use chains_rpc::{Agreement, Endpoint as _, Pool, Proof};
use futures::{FutureExt, future::join_all, stream, stream::StreamExt};
use serde_json::{Value, json};
use solana_client::{rpc_config::RpcSendTransactionConfig, rpc_request::RpcRequest};
use solana_commitment_config::CommitmentConfig;
use solana_transaction_status_client_types::UiTransactionEncoding;

pub(crate) use self::client::ToldAccount;
pub use self::client::{ClientResult, HEIGHT_METHOD, RpcClient};
use self::{
    endpoint::Endpoint,
    error::{CallError, NodeError},
};
use crate::networks;

/// Transactions on their way to the endpoints at a time.
const SENDS_MAX: usize = 64;

/// The answers of the endpoints about their genesis hash.
pub type GenesisHashes = Proof<NodeError>;

/// The endpoints of one network.
#[derive(Debug)]
pub struct Rpc {
    pool: Pool<Endpoint>,
    any_genesis: bool,
}

impl Rpc {
    /// The endpoints, in order of preference; never empty. A read that has no
    /// answer after `hedge_after` is asked of the next one too. `any_genesis`:
    /// a local validator that poses as another cluster.
    pub fn new(network: Network, endpoints: Vec<Endpoint>, hedge_after: Duration, any_genesis: bool) -> Self {
        Self { pool: Pool::new(network, endpoints, hedge_after), any_genesis }
    }

    /// The endpoints.
    pub fn endpoints(&self) -> &[Endpoint] {
        self.pool.endpoints()
    }

    /// Returns whether endpoints of every cluster are taken for this one.
    pub const fn any_genesis(&self) -> bool {
        self.any_genesis
    }

    /// That this network could not be asked.
    pub fn unavailable(&self, detail: impl std::fmt::Display) -> ChainUnavailable {
        self.pool.unavailable(detail)
    }

    /// Asks every endpoint for its genesis hash and remembers what it says.
    pub async fn prove(&self) -> GenesisHashes {
        let reference = self.pool.network().reference();
        let judge = |hash: String| {
            let ours = self.any_genesis || networks::is_reference(reference, &hash);
            if ours { Ok(()) } else { Err(hash) }
        };
        self.pool.prove(|endpoint| answer(endpoint, RpcClient::get_genesis_hash), judge).await
    }

    /// Asks every endpoint for its newest confirmed slot, each by itself.
    pub async fn look_at_nodes(&self) -> Vec<NodeLook> {
        let slot = async |endpoint: &Endpoint| {
            let slot = endpoint.client().get_slot_with_commitment(CommitmentConfig::confirmed()).await;
            slot.map_err(|failure| endpoint.named(failure))
        };
        self.pool.look(slot).await
    }

    /// Reads: the first answer of an endpoint counts.
    ///
    /// # Errors
    /// No endpoint gave an answer of the type.
    pub async fn read<'a, T, A>(&'a self, ask: impl Fn(&'a RpcClient) -> A) -> Result<T, CallError>
    where
        A: Future<Output = ClientResult<T>>,
    {
        self.pool.first(0, |endpoint| answer(endpoint, &ask)).await
    }

    /// Reads as [`read`](Self::read) does, beginning with the endpoint of this
    /// place; the host that answered, and its answer.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub async fn read_named<'a, T, A>(
        &'a self,
        place: usize,
        ask: impl Fn(&'a RpcClient) -> A,
    ) -> Result<(&'a str, T), CallError>
    where
        A: Future<Output = ClientResult<T>>,
    {
        let named =
            |endpoint: &'a Endpoint| answer(endpoint, &ask).map(|answer| answer.map(|value| (endpoint.host(), value)));
        self.pool.first(place, named).await
    }

    /// Asks an endpoint last for a while.
    pub fn distrust(&self, host: &str) {
        self.pool.distrust(host);
    }

    /// Reads from another endpoint than the first, where there is one.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub async fn read_elsewhere<'a, T, A>(&'a self, ask: impl Fn(&'a RpcClient) -> A) -> Result<T, CallError>
    where
        A: Future<Output = ClientResult<T>>,
    {
        self.pool.first(1, |endpoint| answer(endpoint, &ask)).await
    }

    /// Says that the nodes are behind the cluster, where one says so of itself and none that it is not. Their
    /// answers change nothing about the order in which they are asked.
    pub async fn lag(&self) -> Option<CallError> {
        let ask = |endpoint| answer(endpoint, |client| client.send::<String>(RpcRequest::GetHealth, Value::Null));
        let said = join_all(self.pool.usable().map(ask)).await;
        if said.iter().any(Result::is_ok) {
            return None;
        }
        let is_behind =
            |error: &CallError| matches!(error, CallError::Node { error, .. } if error.message.contains("behind"));
        said.into_iter().filter_map(Result::err).find(is_behind)
    }

    /// Asks endpoints for a number; see [`Pool::second_highest`].
    ///
    /// # Errors
    /// No endpoint gave an answer of the type.
    pub async fn second_highest<'a, T, A>(&'a self, ask: impl Fn(&'a RpcClient) -> A) -> Result<T, CallError>
    where
        T: Ord,
        A: Future<Output = ClientResult<T>>,
    {
        self.pool.second_highest(|endpoint| answer(endpoint, &ask)).await
    }

    /// Asks endpoints for a number that stands for good; see [`Pool::second_highest_of_two`].
    ///
    /// # Errors
    /// No endpoint gave an answer of the type, or one alone while others should.
    pub async fn second_highest_of_two<'a, T, A>(&'a self, ask: impl Fn(&'a RpcClient) -> A) -> Result<T, CallError>
    where
        T: Ord,
        A: Future<Output = ClientResult<T>>,
    {
        self.pool.second_highest_of_two(|endpoint| answer(endpoint, &ask)).await
    }

    /// Asks endpoints one question about `count` things until two agree about
    /// each; see [`Pool::agree_each`].
    ///
    /// # Errors
    /// No endpoint gave an answer of the type.
    pub async fn agree_each<'a, T, A>(
        &'a self,
        count: usize,
        ask: impl Fn(&'a RpcClient) -> A,
    ) -> Result<Vec<Agreement<T>>, CallError>
    where
        T: Clone + PartialEq,
        A: Future<Output = ClientResult<Vec<Option<T>>>>,
    {
        self.pool.agree_each(count, |endpoint| answer(endpoint, &ask), T::clone, |one, _| one).await
    }

    /// Sends transactions to all endpoints; one folded answer each, in order.
    pub async fn send(&self, transactions: &[&[u8]]) -> Vec<BroadcastResult> {
        let sends = transactions.iter().map(|raw| self.send_one(raw));
        // Boxed: the compiler cannot see through the borrowed closures otherwise.
        let sends = stream::iter(sends.map(FutureExt::boxed).collect::<Vec<_>>()).buffered(SENDS_MAX);
        sends.flat_map(stream::iter).collect().await
    }

    async fn send_one(&self, raw: &[u8]) -> Vec<BroadcastResult> {
        let encoded = BASE64_STANDARD.encode(raw);
        self.pool.send(1, |endpoint| send_to(endpoint, &encoded).map(|answer| vec![answer])).await
    }
}

/// One question to one endpoint.
fn answer<'a, T, A>(
    endpoint: &'a Endpoint,
    ask: impl Fn(&'a RpcClient) -> A,
) -> impl Future<Output = Result<T, CallError>>
where
    A: Future<Output = ClientResult<T>>,
{
    ask(endpoint.client()).map(|answer| answer.map_err(|failure| endpoint.named(failure)))
}

/// Sends without preflight, which would only repeat what is known, and without the
/// node's own repeats, since ours go on until the transaction lands or expires.
async fn send_to(endpoint: &Endpoint, encoded: &str) -> BroadcastResult {
    let config = RpcSendTransactionConfig {
        skip_preflight: true,
        encoding: Some(UiTransactionEncoding::Base64),
        max_retries: Some(0),
        ..RpcSendTransactionConfig::default()
    };
    let sent = endpoint.client().send::<String>(RpcRequest::SendTransaction, json!([encoded, config])).await;
    send_answers::classify(sent.map_err(|failure| endpoint.named(failure)))
}

#[cfg(test)]
mod tests {
    use chains_rpc::Fault;
    use serde_json::json;
    use solana_commitment_config::CommitmentConfig;

    use super::*;
    use crate::fake_node::{self, FakeNode, Say};

    fn answering(height: u64) -> FakeNode {
        FakeNode::new(move |_, _| Say::Result(json!(height)))
    }

    fn failing() -> FakeNode {
        FakeNode::new(|_, _| Say::Fault(Fault::Connect))
    }

    fn hanging() -> FakeNode {
        FakeNode::new(|_, _| Say::Hang)
    }

    async fn height(rpc: &Rpc) -> Result<u64, CallError> {
        rpc.read(|client| client.get_slot_with_commitment(CommitmentConfig::finalized())).await
    }

    #[tokio::test]
    async fn reads_go_on_where_one_fails_or_hangs() {
        for bad in [failing(), hanging()] {
            let good = answering(7);
            let rpc = fake_node::rpc(&[&bad, &good]);
            assert_eq!(height(&rpc).await, Ok(7));
            assert_eq!(height(&rpc).await, Ok(7));
            assert_eq!((bad.calls(), good.calls()), (1, 2), "the one that failed is asked last for a while");
        }
        let fault = CallError::Transport { host: "node0".into(), fault: Fault::Connect };
        assert_eq!(height(&fake_node::rpc(&[&failing()])).await, Err(fault));
        assert_eq!(height(&fake_node::rpc(&[])).await, Err(CallError::NoEndpoint));
    }

    #[tokio::test]
    async fn a_node_that_finds_fault_with_the_request_is_asked_first_again() {
        let picky = FakeNode::new(|_, _| Say::Error(-32602, "invalid transaction"));
        let good = answering(7);
        let rpc = fake_node::rpc(&[&picky, &good]);
        for _ in 0..2 {
            assert_eq!(height(&rpc).await, Ok(7));
        }
        assert_eq!((picky.calls(), good.calls()), (2, 2), "no stranger's transaction changes the order");
    }

    #[tokio::test]
    async fn a_send_goes_to_all_and_waits_for_none_that_hangs_once_one_has_it() {
        let accepting = || FakeNode::new(|_, _| Say::Result(json!("signature")));
        let refusing = FakeNode::new(|_, _| Say::Error(-32003, "Transaction signature verification failure"));
        let (first, second, stuck) = (accepting(), accepting(), hanging());
        let rpc = fake_node::rpc(&[&stuck, &first, &second, &refusing]);
        let sent = rpc.send(&[b"one", b"two"]).await;
        assert_eq!(sent, [BroadcastResult::Accepted, BroadcastResult::Accepted]);
        for node in [&first, &second, &stuck, &refusing] {
            assert_eq!(node.calls_of("sendTransaction"), 2);
        }
        assert!(matches!(fake_node::rpc(&[&refusing]).send(&[b"x"]).await[0], BroadcastResult::Rejected(_)));
        assert!(matches!(fake_node::rpc(&[&refusing, &failing()]).send(&[b"x"]).await[0], BroadcastResult::Unknown(_)));
    }

    #[tokio::test]
    async fn an_endpoint_of_another_cluster_is_left_out() {
        let genesis = |hash: &'static str| FakeNode::new(move |_, _| Say::Result(json!(hash)));
        let devnet = genesis("EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG");
        let mainnet = genesis("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d");
        let rpc = fake_node::rpc(&[&mainnet, &devnet, &failing()]);
        let found = rpc.prove().await;
        assert_eq!((found.proven, found.foreign.len(), found.silent.len()), (1, 1, 1));
        assert_eq!(found.foreign[0].0, "node0");
        assert_eq!(mainnet.calls(), 1);
    }
}
