//! Chain identifiers, CAIP-2.

use std::{fmt, str::FromStr, sync::Arc};

/// A chain by its CAIP-2 identifier, such as `eip155:84532`.
///
/// Two networks are equal only if their texts are: `eip155:08453` is another
/// network than `eip155:8453`, and neither matches a wildcard.
/// Source: <https://chainagnostic.org/CAIPs/caip-2>.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(Arc<str>);

/// The text is not a CAIP-2 identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a network is written as CAIP-2, `namespace:reference`, for example `eip155:8453`")]
pub struct NetworkError;

impl Network {
    /// The family of the chain, for example `eip155`.
    pub fn namespace(&self) -> &str {
        self.0.split_once(':').map_or("", |(namespace, _)| namespace)
    }

    /// The chain within its family, for example `84532`.
    pub fn reference(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, reference)| reference)
    }

    /// The whole identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (namespace, reference) = text.split_once(':').ok_or(NetworkError)?;
        let lower = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let any = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_';
        let good = (3..=8).contains(&namespace.len())
            && namespace.as_bytes().iter().all(lower)
            && (1..=32).contains(&reference.len())
            && reference.as_bytes().iter().all(any);
        if good { Ok(Self(text.into())) } else { Err(NetworkError) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_caip2_is_a_network() {
        for good in ["eip155:8453", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "eip155:08453"] {
            assert_eq!(good.parse::<Network>().expect(good).as_str(), good);
        }
        for bad in ["", "base", "eip155", "eip155:", ":1", "EIP155:1", "eip155:+1", "eip155:1 ", "eip155:1:2", "e:1"] {
            assert_eq!(bad.parse::<Network>(), Err(NetworkError), "{bad:?}");
        }
    }
}
