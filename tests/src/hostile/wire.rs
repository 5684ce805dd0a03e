//! HTTP byte by byte, from any address of this machine.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// The longest that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer as it came.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// The status; 0 when none came.
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    /// The body; null when it is no JSON.
    pub body: Value,
}

impl Raw {
    /// Returns the code; empty when there is none.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }
}

/// Returns an address of this machine, 127.0.0.`last`.
pub const fn from(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// Connects from an address of this machine.
///
/// # Errors
/// The system's.
///
/// # Panics
/// If the URL is not one of a local service.
pub async fn connect(url: &str, from: Ipv4Addr) -> std::io::Result<TcpStream> {
    let to: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    socket.connect(to).await
}

/// Reads one answer.
pub async fn answer(stream: &mut TcpStream) -> Raw {
    tokio::time::timeout(PATIENCE, read_answer(stream)).await.ok().flatten().unwrap_or_default()
}

async fn read_answer(stream: &mut TcpStream) -> Option<Raw> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                let status = head.split(' ').nth(1)?.parse().ok()?;
                return Some(Raw { status, body: serde_json::from_str(body).unwrap_or(Value::Null), head });
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

/// Sends bytes on a connection of its own and reads one answer.
///
/// # Panics
/// If there is no connection.
pub async fn say(url: &str, bytes: impl AsRef<[u8]>) -> Raw {
    say_from(url, from(1), bytes.as_ref()).await.expect("connected")
}

/// Sends bytes on a connection of its own from an address, and reads one answer.
///
/// # Errors
/// There is no connection.
pub async fn say_from(url: &str, from: Ipv4Addr, bytes: &[u8]) -> std::io::Result<Raw> {
    let mut stream = connect(url, from).await?;
    // A service that has refused already may have stopped reading.
    drop(stream.write_all(bytes).await);
    Ok(answer(&mut stream).await)
}

/// Returns a request: first line, fields, body.
pub fn request(first: &str, fields: &[&str], body: &str) -> String {
    let length = body.len();
    format!("{first} HTTP/1.1\r\n{}\r\ncontent-length: {length}\r\n\r\n{body}", fields.join("\r\n"))
}
