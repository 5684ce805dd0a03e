//! One endpoint: JSON-RPC over HTTP with connections kept alive.

use std::{
    fmt,
    fmt::Write,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use chains_core::Network;
use chains_rpc::{Endpoint as _, Fault, Limits, Meter, Outcome, Standing, Transport};
use futures::future::join_all;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    error::{CallError, NodeError, is_rate_limit},
    method::Call,
};

/// Connections kept open while nothing is asked.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// The largest answer that is read: a block's or receipts' list of a busy
/// chain fits several times.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Requests that are made at the same time where batches are refused.
const REQUESTS_MAX: usize = 8;

/// Blocks in one `eth_getLogs`, at most: what most providers allow.
pub const LOG_BLOCKS_MAX: u64 = 500;

/// The label of a request with calls of several methods.
const MIXED: &str = "mixed";

/// One answer of a batch.
pub type Answer = Result<Box<RawValue>, NodeError>;

/// One endpoint of a network.
pub struct Endpoint {
    transport: Transport,
    meter: Meter,
    standing: Standing,
    /// Calls in one HTTP request, at most, where it takes fewer than are sent.
    batch_max: AtomicUsize,
    /// Blocks in one `eth_getLogs`, at most.
    log_blocks_max: AtomicU64,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.host()).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint that answers each request within `timeout`.
    ///
    /// # Errors
    /// The fault of the URL or the TLS set-up, for people, without the URL.
    pub fn new(network: &Network, url: &str, timeout: Duration) -> Result<Self, String> {
        let (idle_connections_max, answer_bytes_max) = (IDLE_CONNECTIONS_MAX, ANSWER_BYTES_MAX);
        let transport = Transport::new(url, Limits { timeout, idle_connections_max, answer_bytes_max })?;
        let meter = Meter::new(network, transport.host());
        let batch_max = AtomicUsize::new(usize::MAX);
        let log_blocks_max = AtomicU64::new(LOG_BLOCKS_MAX);
        Ok(Self { transport, meter, standing: Standing::default(), batch_max, log_blocks_max })
    }

    /// Makes calls in as few HTTP requests as it takes them in; one answer for
    /// each, in order. Several requests are made at the same time.
    ///
    /// # Errors
    /// A request as a whole has no answer.
    pub async fn batch(&self, calls: &[Call]) -> Result<Vec<Answer>, CallError> {
        let size = self.batch_max.load(Ordering::Relaxed).max(1);
        let parts: Vec<&[Call]> = calls.chunks(size).collect();
        let mut answers = Vec::with_capacity(calls.len());
        for together in parts.chunks(REQUESTS_MAX) {
            for part in join_all(together.iter().map(|part| self.in_order(part))).await {
                answers.extend(part?);
            }
        }
        Ok(answers)
    }

    /// The same, one request after the other. An endpoint that refuses batches is asked in smaller
    /// ones, down to single calls, and that is remembered.
    ///
    /// # Errors
    /// A request as a whole has no answer.
    pub async fn in_order(&self, calls: &[Call]) -> Result<Vec<Answer>, CallError> {
        let mut answers = Vec::with_capacity(calls.len());
        while answers.len() < calls.len() {
            let rest = calls.get(answers.len()..).unwrap_or_default();
            let size = self.batch_max.load(Ordering::Relaxed).min(rest.len()).max(1);
            answers.extend(self.part(rest.get(..size).unwrap_or(rest)).await?);
        }
        Ok(answers)
    }

    /// As many of these calls, from the first on, as it takes in one request.
    async fn part(&self, calls: &[Call]) -> Result<Vec<Answer>, CallError> {
        let mut size = calls.len();
        loop {
            let error = match self.request(calls.get(..size).unwrap_or(calls)).await {
                Ok(answers) => {
                    if size < calls.len() {
                        self.batch_max.fetch_min(size, Ordering::Relaxed);
                        tracing::warn!(node = self.host(), size, "an endpoint takes no larger batches of calls");
                    }
                    return Ok(answers);
                }
                Err(error) => error,
            };
            if size == 1 || !may_refuse_batch(&error) {
                return Err(error);
            }
            size = size.div_ceil(2);
        }
    }

    async fn request(&self, calls: &[Call]) -> Result<Vec<Answer>, CallError> {
        for run in calls.chunk_by(|a, b| a.method == b.method) {
            self.meter.call(run.first().map_or(MIXED, |call| call.method.name()), run.len());
        }
        let uniform = calls.windows(2).all(|pair| pair[0].method == pair[1].method);
        let asked = self.meter.request(calls.first().filter(|_| uniform).map_or(MIXED, |call| call.method.name()));
        let answered = match self.transport.post(body(calls)).await {
            Ok(bytes) => read(&bytes, calls.len()),
            Err(fault) => Err(Unread::Fault(fault)),
        };
        asked.end(outcome(&answered));
        answered.map_err(|unread| match unread {
            Unread::Fault(fault) => self.fault(fault),
            Unread::Node(error) => CallError::Node { host: self.host().to_owned(), error },
        })
    }

    /// Calls in one HTTP request, at most; `None` where none are refused.
    pub fn batch_max(&self) -> Option<usize> {
        let size = self.batch_max.load(Ordering::Relaxed);
        (size < usize::MAX).then_some(size)
    }

    /// Blocks in one `eth_getLogs`, at most.
    pub fn log_blocks_max(&self) -> u64 {
        self.log_blocks_max.load(Ordering::Relaxed)
    }

    /// Remembers that it answers `eth_getLogs` for no more blocks.
    pub fn limit_log_blocks(&self, blocks: u64) {
        self.log_blocks_max.fetch_min(blocks.max(1), Ordering::Relaxed);
    }

    /// An error with this endpoint's name.
    pub fn fault(&self, fault: Fault) -> CallError {
        CallError::Transport { host: self.host().to_owned(), fault }
    }
}

impl chains_rpc::Endpoint for Endpoint {
    fn host(&self) -> &str {
        self.transport.host()
    }

    fn standing(&self) -> &Standing {
        &self.standing
    }
}

/// The outcome of a request, for its metric. An error about one call is an answer; one for a whole batch is none.
fn outcome(answered: &Result<Vec<Answer>, Unread>) -> Outcome {
    match answered {
        Ok(answers) => match answers.as_slice() {
            [Err(error)] => Outcome::of_node(error.code, &error.message),
            _ => Outcome::Ok,
        },
        Err(Unread::Fault(fault)) => Outcome::of(*fault),
        Err(Unread::Node(error)) => match Outcome::of_node(error.code, &error.message) {
            Outcome::Ok => Outcome::Error,
            other => other,
        },
    }
}

/// Returns whether a failure of a whole batch may be about its size. A timeout, a
/// broken connection, missing credentials and a rate limit are not; some gateways
/// forbid (403) whatever is no single call.
fn may_refuse_batch(error: &CallError) -> bool {
    match error {
        // "Too many requests in batch" is about the batch.
        CallError::Node { error: said, .. } => said.message.to_lowercase().contains("batch") || !is_rate_limit(error),
        CallError::Transport { fault, .. } => match fault {
            Fault::Status(status) => !matches!(status, 401 | 402 | 429 | 502 | 503 | 504),
            Fault::TooLarge | Fault::Unreadable => true,
            Fault::Connect | Fault::Timeout | Fault::Broken => false,
        },
        CallError::NoEndpoint | CallError::OneWitness { .. } => false,
    }
}

/// The request: one object for one call, an array for more.
fn body(calls: &[Call]) -> String {
    let mut body = String::with_capacity(calls.iter().map(|call| call.params.len() + 96).sum());
    let single = calls.len() == 1;
    body.push_str(if single { "" } else { "[" });
    for (id, call) in calls.iter().enumerate() {
        body.push_str(if id == 0 { "" } else { "," });
        let _ = write!(body, "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{}\",\"params\":", call.method.name());
        body.push_str(&call.params);
        body.push('}');
    }
    body.push_str(if single { "" } else { "]" });
    body
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(default)]
    id: Option<usize>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<ResponseError<'a>>,
}

#[derive(Deserialize)]
struct ResponseError<'a> {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl ResponseError<'_> {
    fn node_error(&self) -> NodeError {
        let text = self.data.and_then(|data| serde_json::from_str::<String>(data.get()).ok());
        let data = text.and_then(|text| crate::parse::hex(text.strip_prefix("0x")?));
        NodeError::new(self.code, &self.message, data)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Unread {
    Fault(Fault),
    Node(NodeError),
}

fn read(bytes: &[u8], calls: usize) -> Result<Vec<Answer>, Unread> {
    let unreadable = Unread::Fault(Fault::Unreadable);
    let text = str::from_utf8(bytes).map_err(|_| Unread::Fault(Fault::Unreadable))?;
    if text.trim_start().starts_with('{') {
        let response: Response<'_> = serde_json::from_str(text).map_err(|_| unreadable)?;
        return match (calls, answer(&response)) {
            (1, answer) => Ok(vec![answer]),
            // One error for a whole batch.
            (_, Err(error)) => Err(Unread::Node(error)),
            (_, Ok(_)) => Err(Unread::Fault(Fault::Unreadable)),
        };
    }
    let responses: Vec<Response<'_>> = serde_json::from_str(text).map_err(|_| Unread::Fault(Fault::Unreadable))?;
    let mut answers: Vec<Option<Answer>> = (0..calls).map(|_| None).collect();
    for response in &responses {
        let place = response.id.and_then(|id| answers.get_mut(id)).ok_or(Unread::Fault(Fault::Unreadable))?;
        *place = Some(answer(response));
    }
    answers.into_iter().collect::<Option<_>>().ok_or(unreadable)
}

fn answer(response: &Response<'_>) -> Answer {
    match (&response.error, response.result) {
        (Some(error), _) => Err(error.node_error()),
        (None, Some(result)) => Ok(result.to_owned()),
        (None, None) => Ok(RawValue::NULL.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_single_or_batched_json_rpc() {
        let one = r#"{"jsonrpc":"2.0","id":0,"method":"eth_chainId","params":[]}"#;
        assert_eq!(body(&[Call::chain_id()]), one);
        let two = format!(r#"[{one},{{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}}]"#);
        assert_eq!(body(&[Call::chain_id(), Call::block_number()]), two);
    }

    #[test]
    fn answers_are_put_in_order_and_never_made_up() {
        let texts = |text: &str, calls| {
            read(text.as_bytes(), calls)
                .map(|answers| answers.into_iter().map(|a| a.map(|raw| raw.get().to_owned())).collect::<Vec<_>>())
        };
        let error = NodeError::new(-32000, "nonce too low", None);
        assert_eq!(texts(r#"{"id":0,"result":"0x1"}"#, 1), Ok(vec![Ok("\"0x1\"".into())]));
        assert_eq!(texts(r#"{"id":0,"result":null}"#, 1), Ok(vec![Ok("null".into())]));
        assert_eq!(
            texts(r#"[{"id":1,"error":{"code":-32000,"message":"nonce too low"}},{"id":0,"result":1}]"#, 2),
            Ok(vec![Ok("1".into()), Err(error.clone())])
        );
        let whole = r#"{"id":null,"error":{"code":-32000,"message":"nonce too low"}}"#;
        assert_eq!(texts(whole, 2), Err(Unread::Node(error)));
        for bad in ["", "<html>", "[]", r#"[{"id":0,"result":1}]"#, r#"[{"id":7,"result":1},{"id":0,"result":1}]"#] {
            assert_eq!(texts(bad, 2), Err(Unread::Fault(Fault::Unreadable)), "{bad}");
        }
    }

    #[test]
    fn a_refused_batch_is_told_from_a_limit_on_questions() {
        let node = |message| CallError::Node { host: "h".into(), error: NodeError::new(-32000, message, None) };
        let status = |status| CallError::Transport { host: "h".into(), fault: Fault::Status(status) };
        let cases = [
            (node("batch requests are not supported"), true),
            (node("too many requests in batch (max 3)"), true),
            (node("batch rate limit: upgrade your plan"), true),
            (node("this operation is not allowed, separate your calls"), true),
            (node("rate limit exceeded"), false),
            (node("Too Many Requests"), false),
            (node("50/second request limit reached - reduce calls per second"), false),
            (status(400), true),
            (status(403), true),
            (status(413), true),
            (status(500), true),
            (status(401), false),
            (status(429), false),
            (status(503), false),
        ];
        for (error, expected) in cases {
            assert_eq!(may_refuse_batch(&error), expected, "{error}");
        }
    }

    #[test]
    fn revert_data_is_kept() {
        let answers = read(br#"{"id":0,"error":{"code":3,"message":"execution reverted","data":"0x0102"}}"#, 1);
        let error = answers.expect("one answer").remove(0).expect_err("an error");
        assert_eq!((error.is_revert(), error.data), (true, Some(vec![1, 2])));
    }
}
