//! The nodes of one network.
//!
//! Reads go to the first healthy endpoint, to the next when it fails or is
//! slow; the first answer counts. Sends go to all. Endpoints that have not
//! shown the right genesis hash are left out of both.

pub mod endpoint;
pub mod error;
mod send_answers;

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chains_core::{
    Network,
    chain::{Broadcast, ChainUnavailable},
};
use futures::{
    FutureExt, StreamExt,
    future::{Either, join_all, select},
    stream::{self, FuturesUnordered},
};
use serde_json::json;
use solana_client::{
    client_error::Result as ClientResult, nonblocking::rpc_client::RpcClient, rpc_config::RpcSendTransactionConfig,
    rpc_request::RpcRequest,
};
use solana_transaction_status_client_types::UiTransactionEncoding;
use tokio::time::{Instant, sleep, sleep_until};

use self::{
    endpoint::{Endpoint, Standing},
    error::CallError,
};
use crate::networks;

/// How long an endpoint that failed is asked last.
const PENALTY: Duration = Duration::from_secs(5);

/// How long a send that one endpoint has accepted waits for the others.
const STRAGGLERS_WAIT: Duration = Duration::from_millis(250);

/// Transactions on their way to the endpoints at a time.
const SENDS_MAX: usize = 64;

/// The endpoints of one network.
#[derive(Debug)]
pub struct Rpc {
    network: Network,
    endpoints: Vec<Endpoint>,
    /// For each endpoint, the millisecond (since `born`) until which it is asked last.
    avoided: Vec<AtomicU64>,
    born: Instant,
    hedge_after: Duration,
    any_genesis: bool,
}

/// What the endpoints say of their genesis hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisHashes {
    /// Those that serve another cluster: host, genesis hash.
    pub foreign: Vec<(String, String)>,
    /// Those that did not answer.
    pub silent: Vec<CallError>,
    /// How many serve this cluster.
    pub proven: usize,
}

impl Rpc {
    /// The endpoints, in order of preference; never empty. A read that has no
    /// answer after `hedge_after` is asked of the next one too. `any_genesis`:
    /// a local validator that poses as another cluster.
    pub fn new(network: Network, endpoints: Vec<Endpoint>, hedge_after: Duration, any_genesis: bool) -> Self {
        let avoided = endpoints.iter().map(|_| AtomicU64::new(0)).collect();
        Self { network, endpoints, avoided, born: Instant::now(), hedge_after, any_genesis }
    }

    /// The endpoints.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Whether endpoints of every cluster are taken for this one.
    pub const fn any_genesis(&self) -> bool {
        self.any_genesis
    }

    /// That this network could not be asked.
    pub fn unavailable(&self, detail: impl std::fmt::Display) -> ChainUnavailable {
        ChainUnavailable { network: self.network.clone(), detail: detail.to_string() }
    }

    /// Asks every endpoint for its genesis hash and remembers what it says.
    pub async fn prove(&self) -> GenesisHashes {
        let answers = join_all(self.endpoints.iter().map(|endpoint| async move {
            let hash = endpoint.client().get_genesis_hash().await;
            (endpoint, hash.map(|hash| hash.to_string()).map_err(|error| endpoint.read(&error)))
        }));
        let mut found = GenesisHashes { foreign: vec![], silent: vec![], proven: 0 };
        for (endpoint, answer) in answers.await {
            match answer {
                Ok(hash) if self.any_genesis || networks::is_reference(self.network.reference(), &hash) => {
                    endpoint.set_standing(Standing::Proven);
                    found.proven += 1;
                }
                Ok(hash) => {
                    endpoint.set_standing(Standing::Foreign);
                    found.foreign.push((endpoint.host().to_owned(), hash));
                }
                Err(error) => found.silent.push(error),
            }
        }
        found
    }

    /// Reads: the first answer of an endpoint counts.
    ///
    /// # Errors
    /// No endpoint gave an answer of the type.
    pub async fn read<'a, T, A>(&'a self, ask: impl Fn(&'a RpcClient) -> A) -> Result<T, CallError>
    where
        A: Future<Output = ClientResult<T>>,
    {
        self.first(self.order(), |endpoint| {
            ask(endpoint.client()).map(|answer| answer.map_err(|error| endpoint.read(&error)))
        })
        .await
    }

    /// Reads from another endpoint than the first, where there is one.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub async fn read_elsewhere<'a, T, A>(&'a self, ask: impl Fn(&'a RpcClient) -> A) -> Result<T, CallError>
    where
        A: Future<Output = ClientResult<T>>,
    {
        let mut order = self.order();
        if !order.is_empty() {
            order.rotate_left(1);
        }
        self.first(order, |endpoint| ask(endpoint.client()).map(|answer| answer.map_err(|error| endpoint.read(&error))))
            .await
    }

    /// Reads from every usable endpoint at once.
    pub async fn everywhere<'a, T, A>(&'a self, ask: impl Fn(&'a RpcClient) -> A) -> Vec<Result<T, CallError>>
    where
        A: Future<Output = ClientResult<T>>,
    {
        let asked = self
            .usable()
            .map(|(_, endpoint)| ask(endpoint.client()).map(|answer| answer.map_err(|error| endpoint.read(&error))));
        join_all(asked).await
    }

    /// Sends transactions to all endpoints; one folded answer each, in order.
    pub async fn send(&self, transactions: &[&[u8]]) -> Vec<Broadcast> {
        let sends = transactions.iter().map(|raw| self.send_one(raw));
        // Boxed: the compiler cannot see through the borrowed closures otherwise.
        stream::iter(sends.map(FutureExt::boxed).collect::<Vec<_>>()).buffered(SENDS_MAX).collect().await
    }

    async fn send_one(&self, raw: &[u8]) -> Broadcast {
        let encoded = BASE64_STANDARD.encode(raw);
        let mut waiting: FuturesUnordered<_> = self.usable().map(|(_, endpoint)| send_to(endpoint, &encoded)).collect();
        let mut answers = vec![];
        // Once it is accepted somewhere the rest is a courtesy.
        let mut deadline = None;
        loop {
            let next = match deadline {
                None => waiting.next().await,
                Some(at) => match select(waiting.next(), std::pin::pin!(sleep_until(at))).await {
                    Either::Left((next, _)) => next,
                    Either::Right(_) => None,
                },
            };
            let Some(answer) = next else { return self.fold(answers) };
            if answer == Broadcast::Accepted {
                deadline.get_or_insert_with(|| Instant::now() + STRAGGLERS_WAIT);
            }
            answers.push(answer);
        }
    }

    fn fold(&self, answers: Vec<Broadcast>) -> Broadcast {
        let refused = answers.iter().any(|answer| matches!(answer, Broadcast::Refused(_)));
        let folded = send_answers::fold(answers);
        if refused && !matches!(folded, Broadcast::Refused(_)) {
            metrics::counter!("rpc_contradictions_total", "network" => self.network.to_string()).increment(1);
        }
        folded
    }

    fn usable(&self) -> impl Iterator<Item = (usize, &Endpoint)> {
        self.endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.standing() == Standing::Proven)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The usable endpoints: healthy ones first, then by configuration.
    fn order(&self) -> Vec<usize> {
        let now = self.now();
        let avoided = |i: &usize| self.avoided.get(*i).is_some_and(|until| until.load(Ordering::Relaxed) > now);
        let mut order: Vec<usize> = self.usable().map(|(i, _)| i).collect();
        order.sort_by_key(avoided);
        order
    }

    fn avoid(&self, index: usize) {
        if let Some(until) = self.avoided.get(index) {
            let penalty = u64::try_from(PENALTY.as_millis()).unwrap_or(u64::MAX);
            until.store(self.now().saturating_add(penalty), Ordering::Relaxed);
        }
    }

    /// The first answer.
    async fn first<'a, T, F, A>(&'a self, order: Vec<usize>, ask: F) -> Result<T, CallError>
    where
        F: Fn(&'a Endpoint) -> A,
        A: Future<Output = Result<T, CallError>>,
    {
        let first = order.first().copied();
        let mut rest = order.into_iter().filter_map(|i| Some((i, self.endpoints.get(i)?)));
        let tagged = |(i, endpoint)| ask(endpoint).map(move |result| (i, result));
        let mut asked = FuturesUnordered::new();
        asked.extend(rest.next().map(tagged));
        let mut failure = CallError::NoEndpoint;
        let mut slow = None;
        loop {
            let next = match select(asked.next(), std::pin::pin!(sleep(self.hedge_after))).await {
                Either::Left((next, _)) => next,
                Either::Right(((), _)) => {
                    // Slow: ask another one too, and wait for whoever is first.
                    slow = first;
                    asked.extend(rest.next().map(tagged));
                    asked.next().await
                }
            };
            match next {
                None => return Err(failure),
                Some((index, Ok(value))) => {
                    if let Some(slow) = slow.filter(|slow| *slow != index) {
                        self.avoid(slow);
                    }
                    return Ok(value);
                }
                Some((index, Err(error))) => {
                    if !error.blames_request() {
                        self.avoid(index);
                    }
                    failure = error;
                    asked.extend(rest.next().map(tagged));
                }
            }
        }
    }
}

/// Without preflight, which would only repeat what is known; and without the
/// node's own repeats, since ours go on until the transaction lands or expires.
async fn send_to(endpoint: &Endpoint, encoded: &str) -> Broadcast {
    let config = RpcSendTransactionConfig {
        skip_preflight: true,
        encoding: Some(UiTransactionEncoding::Base64),
        max_retries: Some(0),
        ..RpcSendTransactionConfig::default()
    };
    let sent = endpoint.client().send::<String>(RpcRequest::SendTransaction, json!([encoded, config])).await;
    send_answers::classify(sent.map_err(|error| endpoint.read(&error)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use solana_commitment_config::CommitmentConfig;

    use super::*;
    use crate::{
        fake_node::{self, FakeNode, Say},
        rpc::error::Fault,
    };

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
        rpc.read(|client| client.get_block_height_with_commitment(CommitmentConfig::finalized())).await
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
        assert_eq!(sent, [Broadcast::Accepted, Broadcast::Accepted]);
        for node in [&first, &second, &stuck, &refusing] {
            assert_eq!(node.calls_of("sendTransaction"), 2);
        }
        assert!(matches!(fake_node::rpc(&[&refusing]).send(&[b"x"]).await[0], Broadcast::Refused(_)));
        assert!(matches!(fake_node::rpc(&[&refusing, &failing()]).send(&[b"x"]).await[0], Broadcast::Unknown(_)));
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
        assert_eq!(rpc.everywhere(RpcClient::get_genesis_hash).await.len(), 2, "the silent one stays");
        assert_eq!(mainnet.calls(), 1);
    }
}
