//! Answers that two endpoints give alike.
//!
//! One endpoint's word ends nothing that costs money. Each endpoint is asked
//! the whole question by itself, so that its answers fit each other, and only
//! the conclusions are compared.

use std::future::Future;

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    error::{CallError, NodeError},
    pool::{Endpoint, Pool, STRAGGLERS_WAIT},
};

/// Endpoints that must say the same.
const WITNESSES: usize = 2;

/// The outcome of one question to the endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement<T> {
    /// Two say the same.
    Agreed(T),
    /// There is but one to ask, as only one is configured or every other has
    /// been silent for [`SILENCE_MAX`](chains_core::chain::SILENCE_MAX).
    Alone(T),
    /// No two say the same: each with its host. Empty when one alone answers,
    /// and others that should answer do not.
    Disagreed(Vec<(String, T)>),
}

impl<E: Endpoint> Pool<E> {
    /// Asks endpoints until two give the same answer, the healthiest first.
    /// `key` says what of an answer has to be the same.
    ///
    /// # Errors
    /// Nobody answered.
    pub async fn agree<'a, T, K, N, F, A>(&'a self, ask: F, key: impl Fn(&T) -> K) -> Result<Agreement<T>, CallError<N>>
    where
        K: PartialEq,
        N: NodeError,
        F: Fn(&'a E) -> A,
        A: Future<Output = Result<T, CallError<N>>>,
    {
        let order = self.order(0);
        let same = |answers: &[(usize, T)]| {
            let Some(((_, last), others)) = answers.split_last() else { return false };
            others.iter().any(|(_, other)| key(other) == key(last))
        };
        let mut answers = self.gather(&order, ask, same).await?;
        if same(&answers) {
            return answers.pop().map(|(_, answer)| Agreement::Agreed(answer)).ok_or(CallError::NoEndpoint);
        }
        self.conclude(answers).ok_or(CallError::NoEndpoint)
    }

    /// Asks endpoints one question about `count` things, until two give the
    /// same answer about each; the healthiest first. An endpoint may have no
    /// answer (`None`) about some of them. `key` says what of an answer has to
    /// be the same; `join` makes one answer of the two.
    ///
    /// # Errors
    /// Nobody answered.
    pub async fn agree_each<'a, T, K, N, F, A>(
        &'a self,
        count: usize,
        ask: F,
        key: impl Fn(&T) -> K,
        join: impl Fn(T, T) -> T,
    ) -> Result<Vec<Agreement<T>>, CallError<N>>
    where
        T: Clone,
        K: PartialEq,
        N: NodeError,
        F: Fn(&'a E) -> A,
        A: Future<Output = Result<Vec<Option<T>>, CallError<N>>>,
    {
        let order = self.order(0);
        let same = |answers: &[Answers<T>]| (0..count).all(|thing| same_of_two(answers, thing, &key).is_some());
        let answers = self.gather(&order, ask, same).await?;
        let about = |thing| {
            let agreed = same_of_two(&answers, thing, &key).map(|(one, other)| join(one.clone(), other.clone()));
            let agreed = agreed.map(Agreement::Agreed);
            let apart = || self.conclude(answers_about(&answers, thing));
            agreed.or_else(apart).unwrap_or_else(|| Agreement::Disagreed(vec![]))
        };
        Ok((0..count).map(about).collect())
    }

    /// Asks endpoints in this order, two at first, until their answers are
    /// enough or nobody is left. One that is slow is waited for while another
    /// is asked too; one that has been silent for long is hardly waited for.
    ///
    /// # Errors
    /// Nobody answered.
    async fn gather<'a, T, N, F, A>(
        &'a self,
        order: &[usize],
        ask: F,
        enough: impl Fn(&[(usize, T)]) -> bool,
    ) -> Result<Vec<(usize, T)>, CallError<N>>
    where
        N: NodeError,
        F: Fn(&'a E) -> A,
        A: Future<Output = Result<T, CallError<N>>>,
    {
        let known: Vec<(usize, &'a E)> = self.named(order);
        let mut rest = known.into_iter().peekable();
        let tagged = |(index, endpoint)| ask(endpoint).map(move |answer| (index, answer));
        let mut asked: FuturesUnordered<_> = rest.by_ref().take(WITNESSES).map(&tagged).collect();
        let (mut answers, mut failure) = (vec![], CallError::NoEndpoint);
        loop {
            let alone = self.is_alone(&answers);
            let patience = match (alone, rest.peek().is_some()) {
                (true, _) => Some(STRAGGLERS_WAIT),
                (false, true) => Some(self.hedge_after()),
                (false, false) => None,
            };
            let answer = match patience {
                Some(patience) => timeout(patience, asked.next()).await,
                None => Ok(asked.next().await),
            };
            match answer {
                Ok(None) => break,
                Ok(Some((index, Ok(answer)))) => {
                    self.heard(index);
                    answers.push((index, answer));
                    if enough(&answers) {
                        break;
                    }
                }
                Ok(Some((index, Err(error)))) => {
                    self.failed(index, &error);
                    failure = error;
                }
                Err(_) if alone => break,
                // Slow: another one is asked too.
                Err(_) => {
                    self.hedged();
                    asked.extend(rest.next().map(&tagged));
                }
            }
            if asked.is_empty() {
                asked.extend(rest.next().map(&tagged));
            }
        }
        if answers.is_empty() { Err(failure) } else { Ok(answers) }
    }

    fn named(&self, order: &[usize]) -> Vec<(usize, &E)> {
        order.iter().filter_map(|index| Some((*index, self.endpoints().get(*index)?))).collect()
    }

    /// Returns whether the one that has answered is the only one that is heard of.
    fn is_alone<T>(&self, answers: &[(usize, T)]) -> bool {
        let [(only, _)] = answers else { return false };
        self.expected().all(|index| index == *only)
    }

    /// Notes how an endpoint failed, and asks it last for a while.
    fn failed<N: NodeError>(&self, index: usize, error: &CallError<N>) {
        self.note(index, error);
        if !error.blames_request() {
            self.avoid(index);
        }
    }

    /// The conclusion from answers of which no two are the same; `None` when
    /// there is none at all.
    fn conclude<T>(&self, mut answers: Vec<(usize, T)>) -> Option<Agreement<T>> {
        if self.is_alone(&answers) {
            return answers.pop().map(|(_, answer)| Agreement::Alone(answer));
        }
        let host = |index: usize| self.endpoints().get(index).map_or_else(String::new, |e| e.host().to_owned());
        (!answers.is_empty())
            .then(|| Agreement::Disagreed(answers.into_iter().map(|(index, answer)| (host(index), answer)).collect()))
    }

    /// Asks every usable endpoint for a number, and returns the largest that
    /// two of them reach: what one alone claims, too high or too low, decides
    /// nothing. With two endpoints that is the lower of their answers. Where one
    /// alone answers, its number is as good as any: for what is looked at again.
    ///
    /// # Errors
    /// Nobody answered.
    pub async fn second_highest<'a, T, N, F, A>(&'a self, ask: F) -> Result<T, CallError<N>>
    where
        T: Ord,
        N: NodeError,
        F: Fn(&'a E) -> A,
        A: Future<Output = Result<T, CallError<N>>>,
    {
        self.numbers(ask).await.map(|(number, _)| number)
    }

    /// The same for what stands for good: one endpoint's number counts only
    /// where there is but that one to ask.
    ///
    /// # Errors
    /// Nobody answered, or one alone while others should.
    pub async fn second_highest_of_two<'a, T, N, F, A>(&'a self, ask: F) -> Result<T, CallError<N>>
    where
        T: Ord,
        N: NodeError,
        F: Fn(&'a E) -> A,
        A: Future<Output = Result<T, CallError<N>>>,
    {
        match self.numbers(ask).await? {
            (number, None) => Ok(number),
            (number, Some(only)) if self.is_alone(&[(only, ())]) => Ok(number),
            (_, Some(only)) => {
                let host = self.endpoints().get(only).map_or_else(String::new, |endpoint| endpoint.host().to_owned());
                Err(CallError::OneWitness { host })
            }
        }
    }

    /// The largest number that two reach; where one alone answers, its number, and which one it is.
    async fn numbers<'a, T, N, F, A>(&'a self, ask: F) -> Result<(T, Option<usize>), CallError<N>>
    where
        T: Ord,
        N: NodeError,
        F: Fn(&'a E) -> A,
        A: Future<Output = Result<T, CallError<N>>>,
    {
        let order = self.order(0);
        let mut asked: FuturesUnordered<_> = self
            .named(&order)
            .into_iter()
            .map(|(index, endpoint)| ask(endpoint).map(move |answer| (index, answer)))
            .collect();
        let (mut numbers, mut failure) = (vec![], CallError::NoEndpoint);
        let mut waited_for: Vec<usize> = self.expected().filter(|index| order.contains(index)).collect();
        let mut deadline = None;
        while let Some((index, answer)) = next(&mut asked, deadline).await {
            match answer {
                Ok(number) => {
                    self.heard(index);
                    numbers.push((number, index));
                }
                Err(error) => {
                    self.failed(index, &error);
                    failure = error;
                }
            }
            waited_for.retain(|other| *other != index);
            let enough = waited_for.is_empty() && !numbers.is_empty();
            deadline = deadline.or_else(|| enough.then(|| Instant::now() + STRAGGLERS_WAIT));
        }
        numbers.sort_unstable();
        let (highest, only) = numbers.pop().ok_or(failure)?;
        Ok(numbers.pop().map_or((highest, Some(only)), |(number, _)| (number, None)))
    }
}

/// One endpoint's answers about several things.
type Answers<T> = (usize, Vec<Option<T>>);

/// The answers of each endpoint about one thing.
fn answers_about<T: Clone>(answers: &[Answers<T>], thing: usize) -> Vec<(usize, T)> {
    answers.iter().filter_map(|(index, answer)| Some((*index, answer.get(thing)?.clone()?))).collect()
}

/// The answers about one thing that two endpoints give alike.
fn same_of_two<'a, T, K: PartialEq>(
    answers: &'a [Answers<T>],
    thing: usize,
    key: &impl Fn(&T) -> K,
) -> Option<(&'a T, &'a T)> {
    let said = || answers.iter().filter_map(|(_, answer)| answer.get(thing)?.as_ref());
    said().enumerate().find_map(|(at, one)| {
        let other = said().skip(at + 1).find(|other| key(other) == key(one))?;
        Some((one, other))
    })
}

/// The next answer; `None` when none is left, or not until the deadline.
async fn next<F: Future>(asked: &mut FuturesUnordered<F>, deadline: Option<Instant>) -> Option<F::Output> {
    match deadline {
        None => asked.next().await,
        Some(at) => timeout_at(at, asked.next()).await.ok().flatten(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chains_core::chain::SILENCE_MAX;

    use super::*;
    use crate::{error::Fault, pool::Standing};

    /// Hangs for a minute, and then fails.
    const HANGS: u64 = u64::MAX;

    /// Has no answer about the first of two things.
    const NOT_THE_FIRST: u64 = 77;

    /// `None` fails.
    struct Node(Option<u64>, Standing, String);

    impl Endpoint for Node {
        fn host(&self) -> &str {
            &self.2
        }

        fn standing(&self) -> &Standing {
            &self.1
        }
    }

    /// A node's words about a request that is wrong.
    const BLAMES: &str = "invalid request";

    #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
    #[error("{0}")]
    struct No(&'static str);

    impl NodeError for No {
        fn is_answer(&self) -> bool {
            false
        }

        fn blames_request(&self) -> bool {
            self.0 == BLAMES
        }
    }

    async fn ask(node: &Node) -> Result<u64, CallError<No>> {
        if node.0 == Some(HANGS) {
            tokio::time::sleep(Duration::from_mins(1)).await;
        }
        node.0
            .filter(|answer| *answer != HANGS)
            .ok_or_else(|| CallError::Transport { host: node.2.clone(), fault: Fault::Connect })
    }

    fn pool(answers: &[Option<u64>]) -> Pool<Node> {
        let node = |(n, answer): (usize, &Option<u64>)| {
            let node = Node(*answer, Standing::default(), format!("node{n}"));
            node.1.prove();
            node
        };
        let nodes = answers.iter().enumerate().map(node).collect();
        Pool::new("eip155:1".parse().expect("a network"), nodes, Duration::from_millis(100))
    }

    fn disagreed(answers: &[(&str, u64)]) -> Agreement<u64> {
        Agreement::Disagreed(answers.iter().map(|(host, n)| ((*host).to_owned(), *n)).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_say_the_same_decide_and_one_alone_never_does() {
        let cases = [
            (vec![Some(7)], Ok(Agreement::Alone(7))),
            (vec![Some(7), Some(7)], Ok(Agreement::Agreed(7))),
            (vec![Some(8), Some(7), Some(7)], Ok(Agreement::Agreed(7))),
            (vec![Some(7), Some(8), Some(7)], Ok(Agreement::Agreed(7))),
            (vec![None, Some(7), Some(7)], Ok(Agreement::Agreed(7))),
            (vec![Some(7), Some(8)], Ok(disagreed(&[("node0", 7), ("node1", 8)]))),
            (vec![Some(7), None], Ok(disagreed(&[("node0", 7)]))),
            (vec![None, None], Err(CallError::Transport { host: "node1".into(), fault: Fault::Connect })),
        ];
        for (answers, expected) in cases {
            assert_eq!(pool(&answers).agree(ask, |n| *n).await, expected, "{answers:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_been_silent_for_long_is_no_witness() {
        let pool = pool(&[Some(7), None]);
        assert!(matches!(pool.agree(ask, |n| *n).await, Ok(Agreement::Disagreed(_))));
        tokio::time::advance(SILENCE_MAX).await;
        assert_eq!(pool.agree(ask, |n| *n).await, Ok(Agreement::Alone(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_answers_with_errors_alone_is_no_witness_after_a_while() {
        for (words, expected) in [("expired key", true), (BLAMES, false)] {
            let pool = pool(&[Some(7), Some(8)]);
            let ask = |node: &Node| {
                let (answer, host) = (node.0, node.2.clone());
                async move {
                    let error = || CallError::Node { host, error: No(words) };
                    answer.filter(|n| *n == 7).ok_or_else(error)
                }
            };
            assert!(matches!(pool.agree(ask, |n| *n).await, Ok(Agreement::Disagreed(_))));
            tokio::time::advance(SILENCE_MAX).await;
            let agreed = pool.agree(ask, |n| *n).await == Ok(Agreement::Alone(7));
            assert_eq!(agreed, expected, "{words}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_down_at_the_start_is_missed() {
        let node = |answer, n| Node(answer, Standing::default(), format!("node{n}"));
        let nodes = vec![node(Some(7), 0), node(None, 1)];
        let pool = Pool::new("eip155:1".parse().expect("a network"), nodes, Duration::from_millis(100));
        assert_eq!(pool.prove(ask, |_| Ok(())).await.proven, 1);
        assert_eq!(pool.agree(ask, |n| *n).await, Ok(disagreed(&[("node0", 7)])));
        assert_eq!(pool.second_highest(ask).await, Ok(7));
        let alone = CallError::OneWitness { host: "node0".to_owned() };
        assert_eq!(pool.second_highest_of_two(ask).await, Err(alone));
        tokio::time::advance(SILENCE_MAX).await;
        assert_eq!(pool.agree(ask, |n| *n).await, Ok(Agreement::Alone(7)));
        assert_eq!(pool.second_highest_of_two(ask).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_another_chain_is_not_missed() {
        let pool = pool(&[Some(7), None]);
        pool.endpoints()[1].1.disprove();
        assert_eq!(pool.agree(ask, |n| *n).await, Ok(Agreement::Alone(7)));
        assert_eq!(pool.second_highest_of_two(ask).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_for_ever_is_waited_for_only_at_first() {
        let pool = pool(&[Some(7), Some(HANGS)]);
        for expected in [Agreement::Disagreed(vec![("node0".to_owned(), 7)]), Agreement::Alone(7), Agreement::Alone(7)]
        {
            let began = tokio::time::Instant::now();
            let quick = expected == Agreement::Alone(7);
            assert_eq!(pool.agree(ask, |n| *n).await, Ok(expected));
            assert_eq!(began.elapsed() < Duration::from_secs(1), quick, "{:?}", began.elapsed());
            tokio::time::advance(SILENCE_MAX).await;
        }
        let began = tokio::time::Instant::now();
        assert_eq!(pool.second_highest(ask).await, Ok(7));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_number_that_one_alone_claims_decides_nothing() {
        let cases = [
            (vec![Some(7)], Ok(7)),
            (vec![Some(7), Some(9)], Ok(7)),
            (vec![Some(7), Some(1_000_000), Some(7)], Ok(7)),
            (vec![Some(0), Some(7), Some(8)], Ok(7)),
            (vec![None, Some(7)], Ok(7)),
            (vec![None], Err(CallError::Transport { host: "node0".into(), fault: Fault::Connect })),
        ];
        for (answers, expected) in cases {
            assert_eq!(pool(&answers).second_highest(ask).await, expected, "{answers:?}");
        }
    }

    /// Two things at a time: the answer, and whether it is even.
    async fn ask_two(node: &Node) -> Result<Vec<Option<u64>>, CallError<No>> {
        if node.0 == Some(u64::MAX) {
            return std::future::pending().await;
        }
        ask(node).await.map(|n| vec![Some(n).filter(|n| *n != NOT_THE_FIRST), Some(n % 2)])
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_say_the_same_decide_about_each_thing_by_itself() {
        let agreed = Agreement::Agreed;
        let hangs = Some(u64::MAX);
        let cases = [
            (vec![Some(7)], vec![Agreement::Alone(7), Agreement::Alone(1)]),
            (vec![Some(7), Some(7)], vec![agreed(7), agreed(1)]),
            (vec![Some(7), Some(9)], vec![disagreed(&[("node0", 7), ("node1", 9)]), agreed(1)]),
            (vec![Some(7), Some(9), Some(9)], vec![agreed(9), agreed(1)]),
            (vec![Some(7), None], vec![disagreed(&[("node0", 7)]), disagreed(&[("node0", 1)])]),
            (vec![Some(7), None, Some(7)], vec![agreed(7), agreed(1)]),
            (vec![Some(7), hangs, Some(7)], vec![agreed(7), agreed(1)]),
            (vec![Some(7), Some(NOT_THE_FIRST)], vec![disagreed(&[("node0", 7)]), agreed(1)]),
            (vec![Some(7), Some(NOT_THE_FIRST), Some(7)], vec![agreed(7), agreed(1)]),
        ];
        for (answers, expected) in cases {
            assert_eq!(pool(&answers).agree_each(2, ask_two, |n| *n, u64::min).await, Ok(expected), "{answers:?}");
        }
        let failed = pool(&[None]).agree_each(2, ask_two, |n| *n, u64::min).await;
        assert!(matches!(failed, Err(CallError::Transport { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_been_silent_for_long_is_not_waited_for() {
        let pool = pool(&[Some(7), Some(u64::MAX)]);
        pool.note(1, &CallError::<No>::NoEndpoint);
        tokio::time::advance(SILENCE_MAX).await;
        let agreed = vec![Agreement::Alone(7), Agreement::Alone(1)];
        assert_eq!(pool.agree_each(2, ask_two, |n| *n, u64::min).await, Ok(agreed));
    }
}
