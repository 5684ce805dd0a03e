//! The name that a request was sent to.
//!
//! A page in somebody's browser can make its own name point to this machine
//! (DNS rebinding); the `Host` header then gives it away.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::Request,
    http::{header, uri::Authority},
};

/// The names that a listener answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// On loopback, only names of this machine and those that are configured; on
    /// other addresses names are the proxy's business, unless some are configured.
    pub fn of(listen: SocketAddr, configured: &[String]) -> Self {
        let mut names: Vec<_> = configured.iter().map(|name| without_dot(name).to_owned()).collect();
        if listen.ip().is_loopback() {
            names.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
            names.push(match listen.ip() {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            });
        }
        Self(names)
    }

    /// Returns true for a request that was sent to one of them.
    pub fn include(&self, request: &Request) -> bool {
        if self.0.is_empty() {
            return true;
        }
        // A target with a name in it stands above the header (RFC 9112, 3.2.2).
        let named = request.uri().authority().map(Authority::as_str);
        let named = named.or_else(|| request.headers().get(header::HOST).and_then(|host| host.to_str().ok()));
        let Some(host) = named else { return false };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        self.0.iter().any(|ours| is_same(ours, without_dot(name)))
    }
}

/// Names have no case, and an address is the same in every spelling.
fn is_same(ours: &str, name: &str) -> bool {
    let same_address = || address(ours).is_some_and(|ours| address(name) == Some(ours));
    ours.eq_ignore_ascii_case(name) || same_address()
}

/// The address that a host is, IPv6 in brackets.
fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let v6 = bare.and_then(|bare| bare.parse().ok()).map(IpAddr::V6);
    v6.or_else(|| host.parse().ok().map(IpAddr::V4)).map(|address| address.to_canonical())
}

/// A name with the root's dot at its end is the same name.
fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Returns true for a request whose head names two hosts: a proxy before us
/// may have gone by the other one (RFC 9112, 3.2).
pub fn is_ambiguous(request: &Request) -> bool {
    request.headers().get_all(header::HOST).iter().nth(1).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str) -> Request {
        Request::builder().header("host", host).body(axum::body::Body::empty()).expect("a request")
    }

    #[test]
    fn a_rebound_name_is_not_ours() {
        let hosts = Hosts::of("127.0.0.1:8402".parse().expect("an address"), &["facilitator.internal".into()]);
        for (host, expected) in [
            ("127.0.0.1:8402", true),
            ("LOCALHOST", true),
            ("[::1]:8402", true),
            ("[::1]", true),
            ("[0:0:0:0:0:0:0:1]:8402", true),
            ("[::ffff:127.0.0.1]", true),
            ("[::2]", false),
            ("[127.0.0.1]", false),
            ("facilitator.internal", true),
            ("facilitator.internal.:8402", true),
            ("Facilitator.Internal.", true),
            ("localhost.", true),
            ("evil.example.", false),
            (".", false),
            ("evil.example:8402", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(hosts.include(&named(host)), expected, "{host}");
        }
        let rebound = Request::builder().uri("http://evil.example/verify").header("host", "127.0.0.1");
        assert!(!hosts.include(&rebound.body(axum::body::Body::empty()).expect("a request")), "the target counts");
        let v6 = Hosts::of("[::1]:8402".parse().expect("an address"), &[]);
        assert!(v6.include(&named("[::1]:8402")));
        let public = Hosts::of("0.0.0.0:8402".parse().expect("an address"), &[]);
        assert!(public.include(&named("any.example")));
    }
}
