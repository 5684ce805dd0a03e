//! The nodes of one network.
//!
//! Reads go to the first healthy endpoint, to the next when it fails or is
//! slow; the first answer counts. Sends go to all. Endpoints that have not
//! shown the right chain id are left out of both.

pub mod endpoint;
pub mod error;
pub mod method;
pub mod send_answers;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use chains_core::{
    Network,
    chain::{Broadcast, ChainUnavailable},
};
use futures::{
    FutureExt, StreamExt,
    future::{Either, join_all, select},
    stream::FuturesUnordered,
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use self::{
    endpoint::{Answer, Endpoint, Standing},
    error::{CallError, Fault, NodeError},
    method::{Call, quantity},
};

/// How long an endpoint that failed is asked last.
const PENALTY: Duration = Duration::from_secs(5);

/// How long a send that one endpoint has accepted waits for the others.
const STRAGGLERS_WAIT: Duration = Duration::from_millis(250);

/// Calls in one HTTP request, at most: a common limit of providers is 100.
const BATCH_MAX: usize = 64;

/// The endpoints of one network.
#[derive(Debug)]
pub struct Rpc {
    network: Network,
    endpoints: Vec<Endpoint>,
    /// For each endpoint, the millisecond (since `born`) until which it is asked last.
    avoided: Vec<AtomicU64>,
    born: Instant,
    hedge_after: Duration,
}

/// What the endpoints say of their chain id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainIds {
    /// Those that serve another chain: host, chain id.
    pub foreign: Vec<(String, String)>,
    /// Those that did not answer.
    pub silent: Vec<CallError>,
    /// How many serve this chain.
    pub proven: usize,
}

impl Rpc {
    /// The endpoints, in order of preference; never empty. A read that has no
    /// answer after `hedge_after` is asked of the next one too.
    pub fn new(network: Network, endpoints: Vec<Endpoint>, hedge_after: Duration) -> Self {
        let avoided = endpoints.iter().map(|_| AtomicU64::new(0)).collect();
        Self { network, endpoints, avoided, born: Instant::now(), hedge_after }
    }

    /// The endpoints.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// That this network could not be asked.
    pub fn unavailable(&self, detail: impl std::fmt::Display) -> ChainUnavailable {
        ChainUnavailable { network: self.network.clone(), detail: detail.to_string() }
    }

    /// Asks every endpoint for its chain id and remembers what it says.
    pub async fn prove(&self, chain_id: u64) -> ChainIds {
        let calls = &[Call::chain_id()];
        let answers = join_all(self.endpoints.iter().map(|e| async move { (e, one::<String>(e, calls).await) })).await;
        let mut found = ChainIds { foreign: vec![], silent: vec![], proven: 0 };
        for (endpoint, answer) in answers {
            match answer {
                Ok(text) if quantity(&text).is_some_and(|id| id == alloy::primitives::U256::from(chain_id)) => {
                    endpoint.set_standing(Standing::Proven);
                    found.proven += 1;
                }
                Ok(text) => {
                    endpoint.set_standing(Standing::Foreign);
                    let shown = quantity(&text).map_or_else(|| "no number".to_owned(), |id| id.to_string());
                    found.foreign.push((endpoint.host().to_owned(), shown));
                }
                Err(error) => found.silent.push(error),
            }
        }
        found
    }

    /// Makes one call.
    ///
    /// # Errors
    /// No endpoint gave an answer of the type, or a contract reverted.
    pub async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, CallError> {
        let calls = [call];
        self.first(self.order(0), |endpoint| one(endpoint, &calls)).await
    }

    /// Makes one call, beginning with another endpoint each `turn`.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn call_at<T: DeserializeOwned>(&self, call: Call, turn: usize) -> Result<T, CallError> {
        let calls = [call];
        self.first(self.order(turn), |endpoint| one(endpoint, &calls)).await
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
        let order = self.order(turn);
        let parts = calls.chunks(BATCH_MAX).map(|part| {
            self.first(order.clone(), move |endpoint| async move {
                let answers = endpoint.batch(part).await?;
                answers.into_iter().map(|answer| typed(endpoint, answer)).collect::<Result<Vec<T>, _>>()
            })
        });
        let mut results = Vec::with_capacity(calls.len());
        for part in join_all(parts).await {
            results.extend(part?);
        }
        Ok(results)
    }

    /// Makes one call at every usable endpoint at once.
    pub async fn everywhere<T: DeserializeOwned>(&self, call: Call) -> Vec<Result<T, CallError>> {
        let calls = [call];
        join_all(self.usable().map(|(_, endpoint)| one(endpoint, &calls))).await
    }

    /// Sends transactions to all endpoints, in order; one folded answer each.
    pub async fn send(&self, transactions: &[&[u8]]) -> Vec<Broadcast> {
        let calls: Vec<Call> = transactions.iter().map(|raw| Call::send(raw)).collect();
        let mut waiting: FuturesUnordered<_> = self.usable().map(|(_, endpoint)| send_to(endpoint, &calls)).collect();
        let mut answers: Vec<Vec<Broadcast>> = vec![];
        // Once all are accepted somewhere the rest is a courtesy.
        let mut deadline = None;
        loop {
            let next = match deadline {
                None => waiting.next().await,
                Some(at) => match select(waiting.next(), std::pin::pin!(tokio::time::sleep_until(at))).await {
                    Either::Left((next, _)) => next,
                    Either::Right(_) => None,
                },
            };
            let Some(answer) = next else { break };
            answers.push(answer);
            let accepted = |i| answers.iter().any(|a| a.get(i) == Some(&Broadcast::Accepted));
            if deadline.is_none() && (0..calls.len()).all(accepted) {
                deadline = Some(Instant::now() + STRAGGLERS_WAIT);
            }
        }
        (0..calls.len()).map(|i| self.fold(answers.iter().filter_map(|a| a.get(i)).cloned().collect())).collect()
    }

    fn fold(&self, answers: Vec<Broadcast>) -> Broadcast {
        let refused = answers.iter().any(|a| matches!(a, Broadcast::Refused(_)));
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
    fn order(&self, turn: usize) -> Vec<usize> {
        let now = self.now();
        let avoided = |i: &usize| self.avoided.get(*i).is_some_and(|until| until.load(Ordering::Relaxed) > now);
        let mut order: Vec<usize> = self.usable().map(|(i, _)| i).collect();
        if !order.is_empty() {
            let turn = turn % order.len();
            order.rotate_left(turn);
        }
        order.sort_by_key(avoided);
        order
    }

    fn avoid(&self, index: usize) {
        if let Some(until) = self.avoided.get(index) {
            let penalty = u64::try_from(PENALTY.as_millis()).unwrap_or(u64::MAX);
            until.store(self.now().saturating_add(penalty), Ordering::Relaxed);
        }
    }

    /// The first answer. A contract's revert is one: every node would say it.
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
                Some((_, Err(CallError::Node { host, error }))) if error.is_revert() => {
                    return Err(CallError::Node { host, error });
                }
                Some((index, Err(error))) => {
                    self.avoid(index);
                    failure = error;
                    asked.extend(rest.next().map(tagged));
                }
            }
        }
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

fn typed<T: DeserializeOwned>(endpoint: &Endpoint, answer: Answer) -> Result<T, CallError> {
    match answer {
        Ok(raw) => serde_json::from_str(raw.get()).map_err(|_| endpoint.fault(Fault::Unreadable)),
        Err(error) => Err(CallError::Node { host: endpoint.host().to_owned(), error }),
    }
}

async fn send_to(endpoint: &Endpoint, calls: &[Call]) -> Vec<Broadcast> {
    let mut read = Vec::with_capacity(calls.len());
    for part in calls.chunks(BATCH_MAX) {
        match endpoint.batch(part).await {
            Ok(answers) => read.extend(answers.into_iter().map(|answer| sent(endpoint, answer))),
            // Nothing is known of any of them, even when the node gave one error for all.
            Err(error) if part.len() > 1 => read.extend(part.iter().map(|_| Broadcast::Unknown(error.to_string()))),
            Err(error) => read.push(send_answers::read(Err(&error))),
        }
    }
    read
}

fn sent(endpoint: &Endpoint, answer: Answer) -> Broadcast {
    let error = match answer {
        // A node that says nothing has not said that it took it.
        Ok(raw) if raw.get() == "null" => endpoint.fault(Fault::Unreadable),
        Ok(_) => return Broadcast::Accepted,
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
        assert_eq!(rpc.send(&[b"a", b"b"]).await, [Broadcast::Accepted, Broadcast::Accepted]);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!((hangs.requests(), refuses.requests(), took_it.requests()), (1, 1, 1), "one batch to each");
        let only = fake_node::rpc(&[&refuses]).send(&[b"a"]).await;
        assert!(matches!(only[0], Broadcast::Refused(_)));
        let silent = fake_node::rpc(&[&hangs]).send(&[b"a"]).await;
        assert!(matches!(silent[0], Broadcast::Unknown(_)), "a timeout is not a refusal");
        let nothing = node(Say::Result(Value::Null)).await;
        assert!(matches!(fake_node::rpc(&[&nothing]).send(&[b"a"]).await[0], Broadcast::Unknown(_)));
    }

    #[tokio::test]
    async fn many_calls_share_requests() {
        let good = node(height("0x7")).await;
        let calls = vec![Call::block_number(); 130];
        let answers: Vec<String> = fake_node::rpc(&[&good]).all(&calls).await.expect("answers");
        assert_eq!((answers.len(), good.requests()), (130, 3));
    }
}
