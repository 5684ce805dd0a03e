//! The endpoints of one network.
//!
//! Reads go to the first healthy endpoint, to the next when it fails or is
//! slow; the first answer counts. Sends go to all. Endpoints that have not
//! shown that they serve this very chain are left out of both. Those that lag
//! behind the others, and those that fail, are read from last.

#[cfg(test)]
mod tests;

use std::{
    fmt::{self, Display},
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use chains_core::{
    Network,
    chain::{ChainUnavailable, NodeLook, SILENCE_MAX},
    metric::{BROADCASTS, RPC_CONTRADICTIONS, RPC_HEDGES},
    transaction::BroadcastResult,
};
use futures::{
    FutureExt, StreamExt,
    future::{Either, join_all, select},
    stream::FuturesUnordered,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::{CallError, NodeError};

/// The time for which an endpoint that failed is asked last; doubled with each
/// failure in a row.
const PENALTY: Duration = Duration::from_secs(5);
const PENALTY_DOUBLINGS_MAX: u32 = 4;

/// Blocks by which an endpoint may be behind the others.
const LAG_MAX: u64 = 3;

/// Looks in a row that find an endpoint behind before it is asked last: one
/// alone may fall between two blocks.
const LAGS_MIN: u32 = 2;

/// The longest wait for the others after enough answers.
pub(crate) const STRAGGLERS_WAIT: Duration = Duration::from_millis(250);

/// One endpoint.
pub trait Endpoint {
    /// Its host and port: all that is ever shown of it.
    fn host(&self) -> &str;

    /// Its proof of the chain that it serves.
    fn standing(&self) -> &Standing;
}

impl<E: Endpoint> Endpoint for std::sync::Arc<E> {
    fn host(&self) -> &str {
        E::host(self)
    }

    fn standing(&self) -> &Standing {
        E::standing(self)
    }
}

/// An endpoint's proof of the chain that it serves; none at first.
#[derive(Default)]
pub struct Standing(AtomicU8);

impl Standing {
    const PROVEN: u8 = 1;
    const FOREIGN: u8 = 2;

    /// Returns whether it serves this chain.
    pub fn is_proven(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::PROVEN
    }

    /// Notes that it serves this chain.
    pub fn prove(&self) {
        self.0.store(Self::PROVEN, Ordering::Relaxed);
    }

    /// Notes that it serves another chain.
    pub fn disprove(&self) {
        self.0.store(Self::FOREIGN, Ordering::Relaxed);
    }

    /// Returns whether it serves another chain.
    pub fn is_foreign(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::FOREIGN
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.load(Ordering::Relaxed) {
            Self::PROVEN => "proven",
            Self::FOREIGN => "foreign",
            _ => "unproven",
        })
    }
}

/// The chains that the endpoints claim to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof<N> {
    /// Those that serve another one: host, and what they said.
    pub foreign: Vec<(String, String)>,
    /// Those that did not answer.
    pub silent: Vec<CallError<N>>,
    /// The number of those that serve this one.
    pub proven: usize,
}

/// The endpoints of one network, in order of preference.
#[derive(Debug)]
pub struct Pool<E> {
    network: Network,
    endpoints: Vec<E>,
    /// For each endpoint, the millisecond (since `born`) until which it is asked last.
    avoided: Vec<AtomicU64>,
    /// For each endpoint, the failures in a row.
    failures: Vec<AtomicU32>,
    /// For each endpoint, the looks in a row that found it behind the others.
    behind: Vec<AtomicU32>,
    /// For each endpoint, the millisecond (since `born`, and 1 more) from which
    /// on it has given no answer; 0 while it answers.
    silent_since: Vec<AtomicU64>,
    born: Instant,
    hedge_after: Duration,
}

impl<E: Endpoint> Pool<E> {
    /// The endpoints, in order of preference; never empty. A read that has no
    /// answer after `hedge_after` is asked of the next one too.
    pub fn new(network: Network, endpoints: Vec<E>, hedge_after: Duration) -> Self {
        let times = || endpoints.iter().map(|_| AtomicU64::new(0)).collect();
        let counts = || endpoints.iter().map(|_| AtomicU32::new(0)).collect();
        let (avoided, silent_since, failures, behind) = (times(), times(), counts(), counts());
        Self { network, endpoints, avoided, failures, behind, silent_since, born: Instant::now(), hedge_after }
    }

    /// The network.
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// All of them.
    pub fn endpoints(&self) -> &[E] {
        &self.endpoints
    }

    /// Those that serve this chain.
    pub fn usable(&self) -> impl Iterator<Item = &E> {
        self.endpoints.iter().filter(|endpoint| endpoint.standing().is_proven())
    }

    /// That this network could not be asked.
    pub fn unavailable(&self, detail: impl Display) -> ChainUnavailable {
        ChainUnavailable { network: self.network.clone(), detail: detail.to_string() }
    }

    /// Asks every endpoint which chain it serves, and remembers what it says.
    /// `judge` says how another chain's name is shown.
    pub async fn prove<'a, T, N, A>(
        &'a self,
        ask: impl Fn(&'a E) -> A,
        judge: impl Fn(T) -> Result<(), String>,
    ) -> Proof<N>
    where
        N: NodeError,
        A: Future<Output = Result<T, CallError<N>>>,
    {
        let answers = join_all(self.endpoints.iter().map(|endpoint| ask(endpoint).map(move |said| (endpoint, said))));
        let mut found = Proof { foreign: vec![], silent: vec![], proven: 0 };
        for (index, (endpoint, answer)) in answers.await.into_iter().enumerate() {
            match answer.map(&judge) {
                Ok(Ok(())) => {
                    self.heard(index);
                    endpoint.standing().prove();
                    found.proven += 1;
                }
                Ok(Err(shown)) => {
                    endpoint.standing().disprove();
                    found.foreign.push((endpoint.host().to_owned(), shown));
                }
                Err(error) => {
                    self.note(index, &error);
                    found.silent.push(error);
                }
            }
        }
        found
    }

    /// Asks every endpoint for the height of its newest block, each by itself. One
    /// that has not shown that it serves this chain has none. Those that are
    /// found behind the others again are read from last, until they are not.
    pub async fn look<'a, N, A>(&'a self, ask: impl Fn(&'a E) -> A) -> Vec<NodeLook>
    where
        N: NodeError,
        A: Future<Output = Result<u64, CallError<N>>>,
    {
        let began = Instant::now();
        let look = |endpoint: &'a E| {
            let (node, answer) = (endpoint.host().to_owned(), ask(endpoint));
            answer.map(move |height| {
                let took = began.elapsed();
                let height = match height {
                    Ok(_) if !endpoint.standing().is_proven() => {
                        Err("it has not shown that it serves this chain".to_owned())
                    }
                    Ok(height) => Ok(height),
                    Err(error) => Err(error.to_string()),
                };
                (NodeLook { node, height }, took)
            })
        };
        let (looks, took): (Vec<NodeLook>, Vec<Duration>) =
            join_all(self.endpoints.iter().map(look)).await.into_iter().unzip();
        self.note_lags(&looks, &took);
        looks
    }

    /// Compares with the best height that was told soon: a later one has blocks
    /// that were not there for the others. Of three and more the best is left
    /// out, as one alone may invent it.
    fn note_lags(&self, looks: &[NodeLook], took: &[Duration]) {
        let is_soon = |(_, took): &(&NodeLook, &Duration)| **took < self.hedge_after;
        let soon = looks.iter().zip(took).filter(is_soon);
        let mut heights: Vec<u64> = soon.filter_map(|(look, _)| look.height.as_ref().ok().copied()).collect();
        heights.sort_unstable_by(|one, other| other.cmp(one));
        let Some(reference) = heights.get(usize::from(heights.len() > 2)) else { return };
        for (look, behind) in looks.iter().zip(&self.behind) {
            let lags = look.height.as_ref().is_ok_and(|height| reference.saturating_sub(*height) > LAG_MAX);
            behind.store(if lags { behind.load(Ordering::Relaxed).saturating_add(1) } else { 0 }, Ordering::Relaxed);
        }
    }

    /// Reads: the first answer counts. Each `turn` begins with another endpoint.
    ///
    /// # Errors
    /// No endpoint gave an answer, or one gave an error that is one.
    pub async fn first<'a, T, N, F, A>(&'a self, turn: usize, ask: F) -> Result<T, CallError<N>>
    where
        N: NodeError,
        F: Fn(&'a E) -> A,
        A: Future<Output = Result<T, CallError<N>>>,
    {
        let order = self.order(turn);
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
                    let next = rest.next();
                    if next.is_some() {
                        self.hedged();
                    }
                    asked.extend(next.map(tagged));
                    asked.next().await
                }
            };
            match next {
                None => return Err(failure),
                Some((index, Ok(value))) => {
                    self.heard(index);
                    if let Some(slow) = slow.filter(|slow| *slow != index) {
                        self.avoid(slow);
                    }
                    return Ok(value);
                }
                Some((_, Err(CallError::Node { host, error }))) if error.is_answer() => {
                    return Err(CallError::Node { host, error });
                }
                Some((index, Err(error))) => {
                    if !error.blames_request() {
                        self.avoid(index);
                    }
                    self.note(index, &error);
                    failure = error;
                    asked.extend(rest.next().map(tagged));
                }
            }
        }
    }

    /// Sends `count` transactions to all endpoints, whose answers are in order;
    /// one folded answer each. Does not wait long for the rest once each
    /// transaction is accepted somewhere.
    pub async fn send<'a, A>(&'a self, count: usize, send: impl Fn(&'a E) -> A) -> Vec<BroadcastResult>
    where
        A: Future<Output = Vec<BroadcastResult>>,
    {
        let named = |endpoint: &'a E| send(endpoint).map(|answer| (endpoint.host(), answer));
        let mut waiting: FuturesUnordered<_> = self.usable().map(named).collect();
        let mut answers: Vec<Vec<BroadcastResult>> = vec![];
        let mut deadline = None;
        loop {
            let next = match deadline {
                None => waiting.next().await,
                Some(at) => match select(waiting.next(), std::pin::pin!(sleep_until(at))).await {
                    Either::Left((next, _)) => next,
                    Either::Right(_) => None,
                },
            };
            let Some((host, answer)) = next else { break };
            self.count_broadcasts(host, &answer);
            answers.push(answer);
            let accepted = |i| answers.iter().any(|a| a.get(i) == Some(&BroadcastResult::Accepted));
            if deadline.is_none() && (0..count).all(accepted) {
                deadline = Some(Instant::now() + STRAGGLERS_WAIT);
            }
        }
        (0..count).map(|i| self.fold(answers.iter().filter_map(|a| a.get(i)).cloned().collect())).collect()
    }

    fn fold(&self, answers: Vec<BroadcastResult>) -> BroadcastResult {
        let refused = answers.iter().any(|answer| matches!(answer, BroadcastResult::Rejected(_)));
        let folded = BroadcastResult::fold(answers);
        if refused && !matches!(folded, BroadcastResult::Rejected(_)) {
            metrics::counter!(RPC_CONTRADICTIONS, "network" => self.network.to_string()).increment(1);
        }
        folded
    }

    fn count_broadcasts(&self, node: &str, answers: &[BroadcastResult]) {
        for answer in answers {
            let (network, node, answer) = (self.network.to_string(), node.to_owned(), broadcast_answer(answer));
            metrics::counter!(BROADCASTS, "network" => network, "node" => node, "answer" => answer).increment(1);
        }
    }

    /// Counts a read that another endpoint is asked too, because one is slow.
    pub(crate) fn hedged(&self) {
        metrics::counter!(RPC_HEDGES, "network" => self.network.to_string()).increment(1);
    }

    /// The time after which another endpoint is asked too.
    pub(crate) const fn hedge_after(&self) -> Duration {
        self.hedge_after
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes that an endpoint answered.
    pub(crate) fn heard(&self, index: usize) {
        if let Some(since) = self.silent_since.get(index) {
            since.store(0, Ordering::Relaxed);
        }
        if let Some(failures) = self.failures.get(index) {
            failures.store(0, Ordering::Relaxed);
        }
    }

    /// Notes how an endpoint failed. One that answers every call with an error, as
    /// where its key has expired, is as good as silent; what a contract says, or
    /// what is wrong with the request, is an answer.
    pub(crate) fn note<N: NodeError>(&self, index: usize, error: &CallError<N>) {
        if matches!(error, CallError::Node { error, .. } if error.is_answer() || error.blames_request()) {
            return self.heard(index);
        }
        if let Some(since) = self.silent_since.get(index) {
            let now = self.now().saturating_add(1);
            // Only the first of a row of failures counts.
            let _ = since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The endpoints that should answer: all but those of another chain and those
    /// that have been silent for long. One that was down at the start, and has not
    /// shown its chain yet, is among them.
    pub(crate) fn expected(&self) -> impl Iterator<Item = usize> {
        let is_expected =
            |(index, endpoint): &(usize, &E)| !endpoint.standing().is_foreign() && !self.is_silent(*index);
        self.endpoints.iter().enumerate().filter(is_expected).map(|(index, _)| index)
    }

    /// Returns whether an endpoint has given no answer for [`SILENCE_MAX`].
    fn is_silent(&self, index: usize) -> bool {
        let silence_max = u64::try_from(SILENCE_MAX.as_millis()).unwrap_or(u64::MAX);
        let since = self.silent_since.get(index).map_or(0, |since| since.load(Ordering::Relaxed));
        since != 0 && self.now().saturating_add(1).saturating_sub(since) >= silence_max
    }

    /// Moves an endpoint to the end of the order for a while, because of what it said.
    pub fn distrust(&self, host: &str) {
        if let Some(index) = self.endpoints.iter().position(|endpoint| endpoint.host() == host) {
            self.avoid(index);
        }
    }

    /// The usable endpoints: healthy ones first, then those that lag, then those
    /// that failed; of each, by configuration.
    pub(crate) fn order(&self, turn: usize) -> Vec<usize> {
        let now = self.now();
        let avoided = |i: &usize| self.avoided.get(*i).is_some_and(|until| until.load(Ordering::Relaxed) > now);
        let lags = |i: &usize| self.behind.get(*i).is_some_and(|behind| behind.load(Ordering::Relaxed) >= LAGS_MIN);
        let usable = self.endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.standing().is_proven());
        let mut order: Vec<usize> = usable.map(|(i, _)| i).collect();
        if !order.is_empty() {
            let turn = turn % order.len();
            order.rotate_left(turn);
        }
        order.sort_by_key(|i| (avoided(i), lags(i)));
        order
    }

    /// Asks an endpoint last for a while, and for longer while it goes on failing.
    pub(crate) fn avoid(&self, index: usize) {
        if let (Some(until), Some(failures)) = (self.avoided.get(index), self.failures.get(index)) {
            let before = failures.fetch_add(1, Ordering::Relaxed);
            let penalty = PENALTY * 2_u32.pow(before.min(PENALTY_DOUBLINGS_MAX));
            let penalty = u64::try_from(penalty.as_millis()).unwrap_or(u64::MAX);
            until.store(self.now().saturating_add(penalty), Ordering::Relaxed);
        }
    }
}

/// The label for one endpoint's answer to a send, one of [`BROADCAST_ANSWERS`](chains_core::metric::BROADCAST_ANSWERS).
const fn broadcast_answer(answer: &BroadcastResult) -> &'static str {
    match answer {
        BroadcastResult::Accepted => "accepted",
        // Most often the transaction itself is in a block already.
        BroadcastResult::NonceTooLow => "known",
        BroadcastResult::Underpriced(_) => "underpriced",
        BroadcastResult::Unknown(_) | BroadcastResult::NonceGap => "unknown",
        BroadcastResult::NonceTaken
        | BroadcastResult::InsufficientFunds
        | BroadcastResult::PoolFull
        | BroadcastResult::Rejected(_) => "refused",
    }
}
