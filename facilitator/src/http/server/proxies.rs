//! Proxies before this service, and the callers behind them.
//!
//! Whoever sends a request can write any header. Only a proxy that the operator
//! trusts is believed, and only the one header that this proxy sets: the
//! rightmost address in it that is not a trusted proxy's is the caller's.
//!
//! Sources: RFC 7239 (`Forwarded`), RFC 9110 5.3 and 5.6 (lists and quoted
//! strings); `X-Forwarded-For` and `X-Real-IP` as nginx and HAProxy write them.

use std::{fmt, net::IpAddr, str::FromStr};

use axum::http::{HeaderMap, HeaderName};

use crate::http::headers::{split, unquoted};

/// The header that a proxy writes its callers into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`: a list of addresses.
    XForwardedFor,
    /// `Forwarded`: a list of elements with the parameter `for`.
    Forwarded,
    /// `X-Real-IP`: one address.
    XRealIp,
}

impl ForwardedBy {
    /// Each with its name in the configuration, which is the header's.
    pub const ALL: [(&str, Self); 3] =
        [("x-forwarded-for", Self::XForwardedFor), ("forwarded", Self::Forwarded), ("x-real-ip", Self::XRealIp)];

    const fn header(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => HeaderName::from_static("forwarded"),
            Self::XRealIp => HeaderName::from_static("x-real-ip"),
        }
    }
}

/// A range of addresses, such as `10.0.0.0/8`; an address alone is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    first: IpAddr,
    bits: u32,
}

/// The text is not a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARange;

impl fmt::Display for NotARange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write an address, or a range such as \"10.0.0.0/8\" or \"fd00::/8\"")
    }
}

impl FromStr for Range {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let first: IpAddr = address.parse().map_err(|_| NotARange)?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().map_err(|_| NotARange)?,
            Some(_) => return Err(NotARange),
        };
        (bits <= most).then_some(Self { first, bits }).ok_or(NotARange)
    }
}

impl Range {
    fn contains(self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                same(first.to_bits().into(), address.to_bits().into(), 32 - self.bits)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => same(first.to_bits(), address.to_bits(), 128 - self.bits),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Returns true for numbers that differ in their last bits only.
fn same(a: u128, b: u128, last: u32) -> bool {
    (a ^ b).checked_shr(last).unwrap_or(0) == 0
}

/// The proxies that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `None`: no proxy is.
    by: Option<ForwardedBy>,
    ranges: Vec<Range>,
}

impl Proxies {
    /// Proxies at these addresses, which write this header.
    pub const fn new(by: ForwardedBy, ranges: Vec<Range>) -> Self {
        Self { by: Some(by), ranges }
    }

    /// Returns true for the address of a proxy that is believed.
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.by.is_some() && self.ranges.iter().any(|range| range.contains(address))
    }

    /// Returns the address of the caller behind a proxy at this address; the proxy's
    /// own where it tells none.
    pub fn caller(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let Some(by) = self.by.filter(|_| self.trust(peer)) else { return peer };
        let mut caller = peer;
        for hop in hops(by, headers).into_iter().rev() {
            // What was before an unreadable hop, somebody else may have written.
            let Some(address) = hop else { return caller };
            caller = address;
            if !self.trust(address) {
                return address;
            }
        }
        caller
    }
}

/// The addresses in the header, from the first hop on; `None` for one that is hidden or unreadable.
fn hops(by: ForwardedBy, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let mut hops = vec![];
    for value in headers.get_all(by.header()) {
        // Several fields are one list (RFC 9110, 5.3).
        let Ok(value) = value.to_str() else {
            hops.push(None);
            continue;
        };
        match by {
            ForwardedBy::XForwardedFor => hops.extend(entries(value)),
            ForwardedBy::XRealIp => hops.push(address(value.trim())),
            ForwardedBy::Forwarded => hops.extend(elements(value)),
        }
    }
    hops
}

/// The entries of a list of addresses, without the empty ones that lists may have.
fn entries(value: &str) -> impl Iterator<Item = Option<IpAddr>> {
    value.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(address)
}

/// An address, perhaps with a port; an IPv6 address with one is in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = |text: &str| text.parse().ok().map(|address: IpAddr| address.to_canonical());
    if let Some(address) = bare(text) {
        return Some(address);
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    bare(host).filter(|_| is_port(port))
}

/// Nothing, or a port after its colon: up to five digits, or a name in its place (RFC 7239, 6).
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    match port.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        None => (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// The `for` of each element of `Forwarded`; `None` for an element without one that can be read.
fn elements(value: &str) -> Vec<Option<IpAddr>> {
    let elements = split(value, ',').into_iter().filter(|element| !element.trim().is_empty());
    let read = elements.map(|element| {
        let mut found = None;
        // Pairs may be left empty (RFC 7239, 4).
        for pair in split(element, ';').into_iter().filter(|pair| !pair.trim().is_empty()) {
            let (name, value) = pair.split_once('=')?;
            if name.trim().eq_ignore_ascii_case("for") {
                // Twice in one element has no meaning.
                if found.is_some() {
                    return None;
                }
                found = Some(unquoted(value.trim())?);
            }
        }
        address(&found?)
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(by: ForwardedBy) -> Proxies {
        let ranges = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"].map(|range| range.parse().expect(range));
        Proxies::new(by, ranges.to_vec())
    }

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let name = HeaderName::from_static(name);
        values.iter().map(|value| (name.clone(), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn ranges_are_addresses_with_the_bits_that_count() {
        for (range, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("::/0", "2001:db8::1", true),
            ("::/0", "1.2.3.4", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ] {
            let proxies = Proxies::new(ForwardedBy::XRealIp, vec![range.parse().expect(range)]);
            assert_eq!(proxies.trust(address.parse().expect(address)), inside, "{address} in {range}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "example.org", "10.0.0"] {
            assert_eq!(bad.parse::<Range>(), Err(NotARange), "{bad}");
        }
    }

    #[test]
    fn the_rightmost_address_that_is_not_a_proxy_s_is_the_caller() {
        let proxy = "10.0.0.1";
        let (list, real, forwarded) = ("x-forwarded-for", "x-real-ip", "forwarded");
        for (name, peer, values, expected) in [
            (list, proxy, &["198.51.100.1"][..], "198.51.100.1"),
            (list, proxy, &["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            (list, proxy, &["6.6.6.6, 198.51.100.1, 10.9.9.9, 192.0.2.7"], "198.51.100.1"),
            (list, proxy, &["6.6.6.6", "198.51.100.1 , 10.9.9.9"], "198.51.100.1"),
            (list, proxy, &["198.51.100.1:4711"], "198.51.100.1"),
            (list, proxy, &["[2001:db8::1]:4711"], "2001:db8::1"),
            (list, proxy, &["2001:db8::1"], "2001:db8::1"),
            (list, proxy, &["::ffff:198.51.100.1"], "198.51.100.1"),
            (list, proxy, &["198.51.100.1,,"], "198.51.100.1"),
            (list, proxy, &["198.51.100.1, unknown"], proxy),
            (list, proxy, &["198.51.100.1, unknown, 10.2.2.2"], "10.2.2.2"),
            (list, proxy, &["10.2.2.2"], "10.2.2.2"),
            (list, proxy, &[""], proxy),
            (list, proxy, &[], proxy),
            (list, "198.51.100.9", &["1.1.1.1"], "198.51.100.9"),
            (real, proxy, &["198.51.100.1"], "198.51.100.1"),
            (list, proxy, &["[2001:db8::1]"], "2001:db8::1"),
            (list, proxy, &["198.51.100.1:99999"], "198.51.100.1"),
            (list, proxy, &["198.51.100.1:123456"], proxy),
            (list, proxy, &["198.51.100.1:"], proxy),
            (list, proxy, &["[2001:db8::1]x"], proxy),
            (real, proxy, &["198.51.100.1:4711"], "198.51.100.1"),
            (real, proxy, &["198.51.100.1, 1.1.1.1"], proxy),
            (real, "fd00::1", &["2001:db8::1"], "2001:db8::1"),
            (forwarded, proxy, &["for=198.51.100.1"], "198.51.100.1"),
            (forwarded, proxy, &["for=6.6.6.6;proto=https, For=\"198.51.100.1:47\";by=10.1.1.1"], "198.51.100.1"),
            (forwarded, proxy, &["for=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
            (forwarded, proxy, &["for=6.6.6.6;ext=\"a,for=7.7.7.7;\\\"\", for=198.51.100.1"], "198.51.100.1"),
            (forwarded, proxy, &["for=198.51.100.1;"], "198.51.100.1"),
            (forwarded, proxy, &[";;for=198.51.100.1; ;proto=https;"], "198.51.100.1"),
            (forwarded, proxy, &["for=\"198.51.100.1:_gazonk.1\""], "198.51.100.1"),
            (forwarded, proxy, &["for=\"198.51.100.1:_\""], proxy),
            (forwarded, proxy, &["for=\"198.51.100\".1"], proxy),
            (forwarded, proxy, &["for=198.51.100.1, for=_hidden"], proxy),
            (forwarded, proxy, &["for=198.51.100.1;for=6.6.6.6"], proxy),
            (forwarded, proxy, &["for=\"198.51.100.1"], proxy),
            (forwarded, proxy, &["proto=https"], proxy),
        ] {
            let by = ForwardedBy::ALL.iter().find(|(known, _)| *known == name).map(|(_, by)| *by).expect(name);
            let caller = proxies(by).caller(peer.parse().expect(peer), &headers(name, values));
            assert_eq!(caller.to_string(), expected, "{name} {values:?} from {peer}");
        }
    }

    #[test]
    fn nobody_is_believed_unless_configured_and_only_the_named_header_is() {
        let peer: IpAddr = "10.0.0.1".parse().expect("an address");
        let forged = headers("x-forwarded-for", &["1.1.1.1"]);
        assert_eq!(Proxies::default().caller(peer, &forged), peer);
        assert_eq!(proxies(ForwardedBy::XRealIp).caller(peer, &forged), peer);
    }
}
