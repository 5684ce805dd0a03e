//! The request that began a settlement.

/// The request that began a settlement, as far as it matters for asking again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The name of the API key; empty in open mode.
    pub tenant: String,
    /// The name that the request gave to its settlement, when it gave one.
    pub key: Option<Key>,
}

/// A request's own name for its settlement: of one tenant, one key names one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The `Idempotency-Key` header. The server chose it: who repeats it with
    /// the same payment is the same caller, and gets the same answer.
    Server(String),
    /// The `payment-identifier` extension. The payer chose it, so it proves
    /// nothing about who asks, and shares no success.
    Payer(String),
}

/// The request that was given a settlement's success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipient {
    /// The caller that began it, by its key: each of its requests shares the success.
    Caller,
    /// Any other request, or one without a key: nobody can prove to be it again.
    Other,
}

impl Recipient {
    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Other => "other",
        }
    }
}

impl std::str::FromStr for Recipient {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Caller, Self::Other].into_iter().find(|recipient| recipient.as_str() == word).ok_or(())
    }
}

impl Key {
    const PAYER: &str = "payment-identifier:";

    /// Returns true for a text that can be a key: 16 to 128 of `[A-Za-z0-9_-]`.
    pub fn is_sane(text: &str) -> bool {
        let sane = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        (16..=128).contains(&text.len()) && text.bytes().all(sane)
    }

    /// As the store keeps it. Unambiguous: no key contains a colon.
    pub fn stored(&self) -> String {
        match self {
            Self::Server(key) => key.clone(),
            Self::Payer(id) => format!("{}{id}", Self::PAYER),
        }
    }

    /// From the store's text.
    pub fn from_stored(text: String) -> Self {
        match text.strip_prefix(Self::PAYER) {
            Some(id) => Self::Payer(id.to_owned()),
            None => Self::Server(text),
        }
    }
}

impl Caller {
    /// Returns true when `other` is this caller again, so that both get the
    /// same answer.
    pub fn is_again(&self, other: &Self) -> bool {
        matches!(self.key, Some(Key::Server(_))) && self == other
    }
}
