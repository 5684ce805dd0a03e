//! A request and its answer over HTTP, with connections kept alive.

use std::{fmt, time::Duration};

use reqwest::{Client, Url, header::CONTENT_TYPE, redirect::Policy};

use crate::{error::Fault, tls::install_ring};

/// The time for which an idle connection is kept.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// The limits of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for an answer.
    pub timeout: Duration,
    /// Connections kept open while nothing is asked.
    pub idle_connections_max: usize,
    /// Bytes of an answer.
    pub answer_bytes_max: usize,
}

/// The way to one endpoint.
pub struct Transport {
    client: Client,
    url: Url,
    host: String,
    answer_bytes_max: usize,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Transport {
    /// The way to an http or https URL. Redirects and proxies are not followed.
    ///
    /// # Errors
    /// The fault of the URL or the TLS set-up, for people, without the URL.
    pub fn new(url: &str, limits: Limits) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("is not an http or https URL".to_owned());
        }
        let host = host(&url).ok_or("names no host")?;
        install_ring();
        let client = Client::builder()
            .timeout(limits.timeout)
            .connect_timeout(limits.timeout)
            .pool_max_idle_per_host(limits.idle_connections_max)
            .pool_idle_timeout(IDLE_MAX)
            .tcp_nodelay(true)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| "cannot be used: TLS cannot be set up".to_owned())?;
        Ok(Self { client, url, host, answer_bytes_max: limits.answer_bytes_max })
    }

    /// Its host and port: all that is ever shown of it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Posts JSON; the answer's bytes.
    ///
    /// # Errors
    /// There was none, or more than is ever read.
    pub async fn post(&self, body: String) -> Result<Vec<u8>, Fault> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let mut response = request.send().await.map_err(|error| fault_of(&error))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| fault_of(&error))? {
            if bytes.len() + chunk.len() > self.answer_bytes_max {
                return Err(Fault::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        // Some nodes send their error objects with a status of 4xx.
        let is_answer = status.is_success() || matches!(bytes.first(), Some(b'{' | b'['));
        if !is_answer || status.as_u16() == 429 || status.is_server_error() {
            return Err(Fault::Status(status.as_u16()));
        }
        Ok(bytes)
    }
}

/// Host and port of a URL, without what may be secret in it.
#[must_use]
pub fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn fault_of(error: &reqwest::Error) -> Fault {
    if error.is_timeout() {
        Fault::Timeout
    } else if error.is_connect() {
        Fault::Connect
    } else {
        Fault::Broken
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const LIMITS: Limits =
        Limits { timeout: Duration::from_millis(500), idle_connections_max: 1, answer_bytes_max: 64 };

    #[test]
    fn urls_are_checked_and_never_shown() {
        for bad in ["", "ws://x", "file:///etc/passwd", "canary"] {
            assert!(!Transport::new(bad, LIMITS).expect_err(bad).contains("canary"));
        }
        let url = "https://user:canary@node.example:8443/v2/canary?key=canary";
        let transport = Transport::new(url, LIMITS).expect("a URL");
        assert_eq!(transport.host(), "node.example:8443");
        assert!(!format!("{transport:?}").contains("canary"));
    }

    /// Posts to a server that answers with this text, or hangs.
    async fn post(answer: Option<&'static str>) -> Result<Vec<u8>, Fault> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        #[expect(clippy::disallowed_methods, reason = "a server of a test ends with the test's runtime")]
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            drop(stream.read(&mut [0; 4096]).await);
            let Some(answer) = answer else { return std::future::pending().await };
            drop(stream.write_all(answer.as_bytes()).await);
        });
        let posted = Transport::new(&url, LIMITS).expect("a URL").post("{}".to_owned()).await;
        serving.abort();
        posted
    }

    #[tokio::test]
    async fn only_whole_answers_of_a_sane_size_are_answers() {
        let body = "a".repeat(65);
        let long: &str = Box::leak(format!("HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n{body}").into_boxed_str());
        let cases = [
            (Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]"), Ok(b"[]".to_vec())),
            (Some("HTTP/1.1 400 Bad\r\ncontent-length: 2\r\n\r\n{}"), Ok(b"{}".to_vec())),
            (Some("HTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\n<>"), Err(Fault::Status(404))),
            (Some("HTTP/1.1 429 No\r\ncontent-length: 2\r\n\r\n{}"), Err(Fault::Status(429))),
            (Some("HTTP/1.1 302 No\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n"), Err(Fault::Status(302))),
            (Some("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), Err(Fault::Broken)),
            (Some(long), Err(Fault::TooLarge)),
            (None, Err(Fault::Timeout)),
        ];
        for (answer, expected) in cases {
            assert_eq!(post(answer).await, expected, "{answer:?}");
        }
        let nobody = Transport::new("http://127.0.0.1:1", LIMITS).expect("a URL");
        assert_eq!(nobody.post(String::new()).await, Err(Fault::Connect));
    }
}
