//! One endpoint: JSON-RPC over HTTP with connections kept alive.

use std::{fmt, fmt::Write, time::Duration};

use chains_core::Network;
use chains_nodes::{Endpoint as _, Fault, Limits, Standing, Transport};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    error::{CallError, NodeError},
    method::Call,
};

/// Connections kept open while nothing is asked.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// The largest answer that is read: a block's or receipts' list of a busy
/// chain fits several times.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One answer of a batch.
pub type Answer = Result<Box<RawValue>, NodeError>;

/// One endpoint of a network.
pub struct Endpoint {
    transport: Transport,
    network: Network,
    standing: Standing,
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
    /// What is wrong with the URL or the TLS set-up, for people, without the URL.
    pub fn new(network: Network, url: &str, timeout: Duration) -> Result<Self, String> {
        let (idle_connections_max, answer_bytes_max) = (IDLE_CONNECTIONS_MAX, ANSWER_BYTES_MAX);
        let transport = Transport::new(url, Limits { timeout, idle_connections_max, answer_bytes_max })?;
        Ok(Self { transport, network, standing: Standing::default() })
    }

    /// Makes calls in one HTTP request; one answer for each, in order.
    ///
    /// # Errors
    /// The request as a whole has no answer.
    pub async fn batch(&self, calls: &[Call]) -> Result<Vec<Answer>, CallError> {
        self.count(calls);
        let bytes = self.transport.post(body(calls)).await.map_err(|fault| self.fault(fault))?;
        read(&bytes, calls.len()).map_err(|fault| match fault {
            Unread::Fault(fault) => self.fault(fault),
            Unread::Node(error) => CallError::Node { host: self.host().to_owned(), error },
        })
    }

    /// An error with this endpoint's name.
    pub fn fault(&self, fault: Fault) -> CallError {
        CallError::Transport { host: self.host().to_owned(), fault }
    }

    fn count(&self, calls: &[Call]) {
        let uniform = calls.windows(2).all(|pair| pair[0].method == pair[1].method);
        let method = calls.first().filter(|_| uniform).map_or("mixed", |call| call.method.name());
        let network = self.network.to_string();
        metrics::counter!("rpc_requests_total", "network" => network.clone(), "method" => method).increment(1);
        for run in calls.chunk_by(|a, b| a.method == b.method) {
            let count = u64::try_from(run.len()).unwrap_or(u64::MAX);
            let method = run.first().map_or("mixed", |call| call.method.name());
            metrics::counter!("rpc_calls_total", "network" => network.clone(), "method" => method).increment(count);
        }
    }
}

impl chains_nodes::Endpoint for Endpoint {
    fn host(&self) -> &str {
        self.transport.host()
    }

    fn standing(&self) -> &Standing {
        &self.standing
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
    fn revert_data_is_kept() {
        let answers = read(br#"{"id":0,"error":{"code":3,"message":"execution reverted","data":"0x0102"}}"#, 1);
        let error = answers.expect("one answer").remove(0).expect_err("an error");
        assert_eq!((error.is_revert(), error.data), (true, Some(vec![1, 2])));
    }
}
