//! The endpoints of one network: [`chains_rpc`] with Ethereum's JSON-RPC.

pub mod endpoint;
pub mod error;
pub mod method;
pub mod send_answers;
pub(crate) mod sync_send;

use std::{sync::Arc, time::Duration};

use alloy::primitives::U256;
use chains_core::{
    Network,
    chain::{ChainUnavailable, NodeLook},
    transaction::BroadcastResult,
};
use chains_rpc::{Agreement, Endpoint as _, Fault, Pool, Proof};
use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use self::{
    endpoint::{Answer, Endpoint},
    error::{CallError, NodeError},
    method::{Call, quantity},
};

/// Calls in one HTTP request, at most: a common limit of providers is 100.
const BATCH_MAX: usize = 64;

/// The chain ids that the endpoints claim.
pub type ChainIds = Proof<NodeError>;

/// The endpoints of one network, or one of them alone.
#[derive(Clone, Debug)]
pub struct Rpc {
    pool: Arc<Pool<Arc<Endpoint>>>,
    /// The only endpoint that is asked; `None`: whichever is well.
    pinned: Option<Arc<Endpoint>>,
}

impl Rpc {
    /// The endpoints, in order of preference; never empty. A read that has no
    /// answer after `hedge_after` is asked of the next one too.
    pub fn new(network: Network, endpoints: Vec<Endpoint>, hedge_after: Duration) -> Self {
        let endpoints = endpoints.into_iter().map(Arc::new).collect();
        Self { pool: Arc::new(Pool::new(network, endpoints, hedge_after)), pinned: None }
    }

    /// The endpoints.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        self.pool.endpoints()
    }

    /// The same network, asked at this endpoint alone, so that the answers fit
    /// each other.
    #[must_use]
    pub fn pinned(&self, endpoint: &Arc<Endpoint>) -> Self {
        Self { pool: Arc::clone(&self.pool), pinned: Some(Arc::clone(endpoint)) }
    }

    /// The host of the only endpoint that is asked; `None`: whichever is well.
    pub fn host(&self) -> Option<&str> {
        self.pinned.as_ref().map(chains_rpc::Endpoint::host)
    }

    /// Blocks in one `eth_getLogs`, at most.
    pub fn log_blocks_max(&self) -> u64 {
        self.pinned.as_ref().map_or(endpoint::LOG_BLOCKS_MAX, |endpoint| endpoint.log_blocks_max())
    }

    /// Remembers that the pinned endpoint answers `eth_getLogs` for no more blocks.
    pub fn limit_log_blocks(&self, blocks: u64) {
        if let Some(endpoint) = &self.pinned {
            endpoint.limit_log_blocks(blocks);
        }
    }

    /// Asks a question of several calls at endpoints until two give the same
    /// answer; see [`Pool::agree`].
    ///
    /// # Errors
    /// Nobody answered.
    pub async fn agree<T, K, F, A>(&self, ask: F, key: impl Fn(&T) -> K) -> Result<Agreement<T>, CallError>
    where
        K: PartialEq,
        F: Fn(Self) -> A,
        A: Future<Output = Result<T, CallError>>,
    {
        self.pool.agree(|endpoint| ask(self.pinned(endpoint)), key).await
    }

    /// Asks every endpoint for a number, and returns the largest that two of
    /// them reach; see [`Pool::second_highest`].
    ///
    /// # Errors
    /// Nobody answered.
    pub async fn second_highest<T, F, A>(&self, ask: F) -> Result<T, CallError>
    where
        T: Ord,
        F: Fn(Self) -> A,
        A: Future<Output = Result<T, CallError>>,
    {
        self.pool.second_highest(|endpoint| ask(self.pinned(endpoint))).await
    }

    /// Asks endpoints one question about `count` things until two agree about
    /// each; see [`Pool::agree_each`].
    ///
    /// # Errors
    /// Nobody answered.
    pub async fn agree_each<T, K, F, A>(
        &self,
        count: usize,
        ask: F,
        key: impl Fn(&T) -> K,
        join: impl Fn(T, T) -> T,
    ) -> Result<Vec<Agreement<T>>, CallError>
    where
        T: Clone,
        K: PartialEq,
        F: Fn(Self) -> A,
        A: Future<Output = Result<Vec<Option<T>>, CallError>>,
    {
        self.pool.agree_each(count, |endpoint| ask(self.pinned(endpoint)), key, join).await
    }

    /// Asks every endpoint for a number that stands for good; see
    /// [`Pool::second_highest_of_two`].
    ///
    /// # Errors
    /// Nobody answered, or one alone while others should.
    pub async fn second_highest_of_two<T, F, A>(&self, ask: F) -> Result<T, CallError>
    where
        T: Ord,
        F: Fn(Self) -> A,
        A: Future<Output = Result<T, CallError>>,
    {
        self.pool.second_highest_of_two(|endpoint| ask(self.pinned(endpoint))).await
    }

    /// Asks an endpoint last for a while, because of what it said.
    pub fn distrust(&self, host: &str) {
        self.pool.distrust(host);
    }

    /// That this network could not be asked.
    pub fn unavailable(&self, detail: impl std::fmt::Display) -> ChainUnavailable {
        self.pool.unavailable(detail)
    }

    /// Asks every endpoint for its chain id and remembers what it says.
    pub async fn prove(&self, chain_id: u64) -> ChainIds {
        let calls = [Call::chain_id()];
        let judge = |text: String| match quantity(&text) {
            Some(id) if id == U256::from(chain_id) => Ok(()),
            Some(other) => Err(other.to_string()),
            None => Err("no number".to_owned()),
        };
        self.pool.prove(|endpoint| one::<String>(endpoint, &calls), judge).await
    }

    /// Makes one call.
    ///
    /// # Errors
    /// No endpoint gave an answer of the type, or a contract reverted.
    pub async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, CallError> {
        self.call_at(call, 0).await
    }

    /// Makes one call, beginning with another endpoint each `turn`.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn call_at<T: DeserializeOwned>(&self, call: Call, turn: usize) -> Result<T, CallError> {
        let calls = [call];
        match &self.pinned {
            Some(endpoint) => one(endpoint, &calls).await,
            None => self.pool.first(turn, |endpoint| one(endpoint, &calls)).await,
        }
    }

    /// The same, with the host of the endpoint that answered.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn call_from<T: DeserializeOwned>(&self, call: Call, turn: usize) -> Result<(String, T), CallError> {
        let calls = [call];
        let ask = |endpoint: &Arc<Endpoint>| {
            let endpoint = Arc::clone(endpoint);
            let calls = &calls;
            async move { Ok((endpoint.host().to_owned(), one(&endpoint, calls).await?)) }
        };
        match &self.pinned {
            Some(endpoint) => ask(endpoint).await,
            None => self.pool.first(turn, ask).await,
        }
    }

    /// Makes calls in as few HTTP requests as go; an answer or a failure for
    /// each, in order.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn each<T: DeserializeOwned>(&self, calls: &[Call]) -> Result<Vec<Result<T, CallError>>, CallError> {
        let mut results = Vec::with_capacity(calls.len());
        for part in calls.chunks(BATCH_MAX) {
            let ask = |endpoint: &Arc<Endpoint>| {
                let endpoint = Arc::clone(endpoint);
                async move {
                    let answers = endpoint.batch(part).await?;
                    Ok(answers.into_iter().map(|answer| typed(&endpoint, answer)).collect::<Vec<_>>())
                }
            };
            results.extend(match &self.pinned {
                Some(endpoint) => ask(endpoint).await?,
                None => self.pool.first(0, ask).await?,
            });
        }
        Ok(results)
    }

    /// Makes calls of one result type, in as few HTTP requests as go; one
    /// answer for each, in order.
    ///
    /// # Errors
    /// Any of them has no answer of the type.
    pub async fn all<T: DeserializeOwned>(&self, calls: &[Call]) -> Result<Vec<T>, CallError> {
        self.all_at(calls, 0).await
    }

    /// The same, beginning with another endpoint each `turn`.
    ///
    /// # Errors
    /// As for [`all`](Self::all).
    pub async fn all_at<T: DeserializeOwned>(&self, calls: &[Call], turn: usize) -> Result<Vec<T>, CallError> {
        let parts = calls.chunks(BATCH_MAX).map(|part| async move {
            match &self.pinned {
                Some(endpoint) => many(endpoint, part).await,
                None => self.pool.first(turn, |endpoint| many(endpoint, part)).await,
            }
        });
        let mut results = Vec::with_capacity(calls.len());
        for part in join_all(parts).await {
            results.extend(part?);
        }
        Ok(results)
    }

    /// Asks every endpoint for the height of its newest block, each by itself.
    pub async fn look_at_nodes(&self) -> Vec<NodeLook> {
        let calls = [Call::block_number()];
        let height = async |endpoint: &Arc<Endpoint>| {
            let text: String = one(endpoint, &calls).await?;
            let height = quantity(&text).and_then(|height| u64::try_from(height).ok());
            height.ok_or_else(|| endpoint.fault(Fault::Unreadable))
        };
        self.pool.look(height).await
    }

    /// Makes one call at every usable endpoint at once.
    pub async fn everywhere<T: DeserializeOwned>(&self, call: Call) -> Vec<Result<T, CallError>> {
        let calls = [call];
        join_all(self.pool.usable().map(|endpoint| one(endpoint, &calls))).await
    }

    /// The same; the answers that come within this time.
    pub async fn everywhere_within<T: DeserializeOwned>(
        &self,
        call: Call,
        patience: Duration,
    ) -> Vec<Result<T, CallError>> {
        let calls = [call];
        let mut asked: FuturesUnordered<_> = self.pool.usable().map(|endpoint| one(endpoint, &calls)).collect();
        let (mut answers, deadline) = (vec![], Instant::now() + patience);
        while let Ok(Some(answer)) = timeout_at(deadline, asked.next()).await {
            answers.push(answer);
        }
        answers
    }

    /// Sends transactions to all endpoints, in order; one folded answer each.
    pub async fn send(&self, transactions: &[&[u8]]) -> Vec<BroadcastResult> {
        let calls: Vec<Call> = transactions.iter().map(|raw| Call::send(raw)).collect();
        self.pool.send(calls.len(), |endpoint| send_to(endpoint, &calls)).await
    }
}

/// One call at one endpoint.
///
/// # Errors
/// It has no answer of the type.
pub async fn one<T: DeserializeOwned>(endpoint: &Endpoint, calls: &[Call; 1]) -> Result<T, CallError> {
    let answer = endpoint.batch(calls).await?.pop();
    typed(endpoint, answer.ok_or_else(|| endpoint.fault(Fault::Unreadable))?)
}

/// Calls of one result type at one endpoint.
async fn many<T: DeserializeOwned>(endpoint: &Endpoint, calls: &[Call]) -> Result<Vec<T>, CallError> {
    let answers = endpoint.batch(calls).await?;
    answers.into_iter().map(|answer| typed(endpoint, answer)).collect()
}

fn typed<T: DeserializeOwned>(endpoint: &Endpoint, answer: Answer) -> Result<T, CallError> {
    match answer {
        Ok(raw) => serde_json::from_str(raw.get()).map_err(|_| endpoint.fault(Fault::Unreadable)),
        Err(error) => Err(CallError::Node { host: endpoint.host().to_owned(), error }),
    }
}

async fn send_to(endpoint: &Endpoint, calls: &[Call]) -> Vec<BroadcastResult> {
    let mut read = Vec::with_capacity(calls.len());
    for part in calls.chunks(BATCH_MAX) {
        match endpoint.in_order(part).await {
            Ok(answers) => read.extend(answers.into_iter().map(|answer| sent(endpoint, answer))),
            // Nothing is known of any of them, even when the node gave one error for all.
            Err(error) if part.len() > 1 => {
                read.extend(part.iter().map(|_| BroadcastResult::Unknown(error.to_string())));
            }
            Err(error) => read.push(send_answers::read(Err(&error))),
        }
    }
    read
}

fn sent(endpoint: &Endpoint, answer: Answer) -> BroadcastResult {
    let error = match answer {
        // A node that says nothing has not said that it took it.
        Ok(raw) if raw.get() == "null" => endpoint.fault(Fault::Unreadable),
        Ok(_) => return BroadcastResult::Accepted,
        Err(error @ NodeError { .. }) => CallError::Node { host: endpoint.host().to_owned(), error },
    };
    send_answers::read(Err(&error))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_node::{self, FakeNode, Say};

    async fn node(say: Say) -> FakeNode {
        FakeNode::start(move |_, _| say.clone()).await
    }

    fn height(number: &str) -> Say {
        Say::Result(json!(number))
    }

    async fn ask(rpc: &Rpc) -> Result<String, CallError> {
        rpc.call(Call::block_number()).await
    }

    #[tokio::test]
    async fn reads_go_to_the_next_endpoint_when_one_fails_or_hangs() {
        let good = node(height("0x7")).await;
        for bad in [Say::Hang, Say::Error(-32005, "limit exceeded"), Say::Result(json!({ "not": "a string" }))] {
            let bad_node = node(bad.clone()).await;
            let rpc = fake_node::rpc(&[&bad_node, &good]);
            assert_eq!(ask(&rpc).await, Ok("0x7".to_owned()), "{bad:?}");
            let asked = bad_node.requests();
            assert_eq!(ask(&rpc).await, Ok("0x7".to_owned()), "{bad:?}");
            assert_eq!(bad_node.requests(), asked, "{bad:?}: asked last for a while");
        }
    }

    #[tokio::test]
    async fn a_contracts_revert_is_an_answer() {
        let (reverts, good) = (node(Say::Error(3, "execution reverted: no")).await, node(height("0x7")).await);
        let answer = ask(&fake_node::rpc(&[&reverts, &good])).await;
        assert!(matches!(answer, Err(CallError::Node { error, .. }) if error.is_revert()));
        assert_eq!(good.requests(), 0);
    }

    #[tokio::test]
    async fn an_endpoint_of_another_chain_is_left_out() {
        let (foreign, ours) = (node(height("0x1")).await, node(height("0x14a34")).await);
        let rpc = fake_node::rpc(&[&foreign, &ours]);
        let found = rpc.prove(84_532).await;
        assert_eq!((found.proven, found.foreign.len(), found.foreign[0].1.as_str()), (1, 1, "1"));
        assert_eq!(ask(&rpc).await, Ok("0x14a34".to_owned()));
        let only_foreign = fake_node::rpc(&[&foreign]);
        only_foreign.prove(84_532).await;
        assert_eq!(ask(&only_foreign).await, Err(CallError::NoEndpoint));
    }

    #[tokio::test]
    async fn a_send_goes_to_all_and_does_not_wait_for_those_that_hang() {
        let took_it = node(height("0xhash")).await;
        let hangs = node(Say::Hang).await;
        let refuses = node(Say::Error(-32000, "intrinsic gas too low")).await;
        let began = Instant::now();
        let rpc = fake_node::rpc(&[&hangs, &refuses, &took_it]);
        assert_eq!(rpc.send(&[b"a", b"b"]).await, [BroadcastResult::Accepted, BroadcastResult::Accepted]);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!((hangs.requests(), refuses.requests(), took_it.requests()), (1, 1, 1), "one batch to each");
        let only = fake_node::rpc(&[&refuses]).send(&[b"a"]).await;
        assert!(matches!(only[0], BroadcastResult::Rejected(_)));
        let silent = fake_node::rpc(&[&hangs]).send(&[b"a"]).await;
        assert!(matches!(silent[0], BroadcastResult::Unknown(_)), "a timeout is not a refusal");
        let nothing = node(Say::Result(Value::Null)).await;
        assert!(matches!(fake_node::rpc(&[&nothing]).send(&[b"a"]).await[0], BroadcastResult::Unknown(_)));
    }

    /// A node that takes so many calls in one request.
    async fn narrow(limit: usize, refusal: Say) -> FakeNode {
        FakeNode::batched(
            move |calls| if calls > limit { Some(refusal.clone()) } else { None },
            |method, _| Say::Result(json!(if method == "eth_chainId" { "0x14a34" } else { "0x7" })),
        )
        .await
    }

    #[tokio::test]
    async fn an_endpoint_that_takes_few_calls_at_a_time_gets_few_and_is_remembered_by_it() {
        for refusal in [
            Say::Error(-32600, "batch of 64 calls exceeds the limit of 3"),
            Say::Error(-32000, "batch requests are not supported"),
            Say::Error(-32700, "invalid json"),
        ] {
            for (limit, expected, first, later) in [(1, 1, 10, 7), (3, 2, 6, 4), (7, 7, 1, 1)] {
                let node = narrow(limit, refusal.clone()).await;
                let rpc = fake_node::rpc(&[&node]);
                let calls = vec![Call::block_number(); 7];
                for requests in [first, later] {
                    let before = node.requests();
                    let answers: Vec<String> = rpc.all(&calls).await.expect("answers");
                    assert_eq!(answers.len(), 7);
                    assert_eq!(node.requests() - before, requests, "{limit}");
                }
                let known = rpc.endpoints()[0].batch_max();
                assert_eq!(known, (limit < 7).then_some(expected), "{limit} {refusal:?}");
                let raw: [&[u8]; 3] = [b"a", b"b", b"c"];
                assert_eq!(rpc.send(&raw).await, vec![BroadcastResult::Accepted; 3]);
            }
        }
    }

    #[tokio::test]
    async fn a_node_that_is_busy_is_not_taken_for_one_that_refuses_batches() {
        let busy = narrow(0, Say::Error(-32005, "rate limit exceeded")).await;
        let rpc = fake_node::rpc(&[&busy]);
        assert!(rpc.all::<String>(&vec![Call::block_number(); 4]).await.is_err());
        assert_eq!((rpc.endpoints()[0].batch_max(), busy.requests()), (None, 1));
    }

    #[tokio::test]
    async fn many_calls_share_requests() {
        let good = node(height("0x7")).await;
        let calls = vec![Call::block_number(); 130];
        let answers: Vec<String> = fake_node::rpc(&[&good]).all(&calls).await.expect("answers");
        assert_eq!((answers.len(), good.requests()), (130, 3));
    }
}
