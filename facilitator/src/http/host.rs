//! Whose name a request was sent to.
//!
//! A page in somebody's browser can make its own name point to this machine
//! (DNS rebinding); the `Host` header then gives it away.

use std::net::SocketAddr;

use axum::{extract::Request, http::header};

/// The names that a listener answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// On loopback, only names of this machine and those that are configured; on
    /// other addresses names are the proxy's business, unless some are configured.
    pub fn of(listen: SocketAddr, mut configured: Vec<String>) -> Self {
        if listen.ip().is_loopback() {
            configured.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
            configured.push(listen.ip().to_string());
        }
        Self(configured)
    }

    /// Whether the request was sent to one of them.
    pub fn include(&self, request: &Request) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let Some(host) = named else { return false };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        self.0.iter().any(|ours| ours.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str) -> Request {
        Request::builder().header("host", host).body(axum::body::Body::empty()).expect("a request")
    }

    #[test]
    fn a_rebound_name_is_not_ours() {
        let hosts = Hosts::of("127.0.0.1:8402".parse().expect("an address"), vec!["facilitator.internal".into()]);
        for (host, expected) in [
            ("127.0.0.1:8402", true),
            ("LOCALHOST", true),
            ("[::1]:8402", true),
            ("[::1]", true),
            ("facilitator.internal", true),
            ("evil.example:8402", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(hosts.include(&named(host)), expected, "{host}");
        }
        let public = Hosts::of("0.0.0.0:8402".parse().expect("an address"), vec![]);
        assert!(public.include(&named("any.example")));
    }
}
