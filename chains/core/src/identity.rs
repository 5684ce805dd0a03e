//! The identity of payments and the fingerprint of requests.

use std::fmt;

use sha2::{Digest, Sha256};

/// The one name of a payment: a hash over the signed content that the chain
/// itself lets happen only once. EIP-3009: chain, token, payer, nonce.
///
/// Never over wire bytes: the same payment sent as v1 and as v2, with other
/// letter case or another signature encoding, has the same identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity([u8; 32]);

/// A hash over everything that decides the answer to a settle request: the
/// requirements, the payload and its signature, as parsed, without the wire
/// version. Only a request with the same fingerprint may join a settlement
/// that another request began.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

fn hash(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in std::iter::once(&domain.as_bytes()).chain(parts) {
        // Lengths first, so that no two lists of parts are the same bytes.
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

macro_rules! digest {
    ($name:ident) => {
        impl $name {
            /// Hashes the parts, with a word that keeps uses apart.
            #[must_use]
            pub fn of(domain: &str, parts: &[&[u8]]) -> Self {
                Self(hash(domain, parts))
            }

            /// The value as stored.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// A value read back from the store.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

digest!(Identity);
digest!(Fingerprint);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        assert_ne!(Identity::of("x", &[b"ab", b"c"]), Identity::of("x", &[b"a", b"bc"]));
        assert_ne!(Identity::of("x", &[b"a"]), Identity::of("y", &[b"a"]));
        assert_ne!(Identity::of("x", &[]), Identity::of("x", &[b""]));
    }
}
