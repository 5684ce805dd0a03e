//! API keys: bearer tokens of which only the hash is known, and what each may do. They may change while
//! the service runs.

use std::{collections::BTreeSet, sync::Arc};

use axum::http::HeaderMap;
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{error::Failure, headers};
use crate::{
    limits::rates::{Admitted, Allowance, Gate, Over, Rate},
    metrics,
};

/// A right of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `POST /verify`.
    Verify,
    /// `POST /settle`.
    Settle,
    /// `GET /settlements…`.
    Status,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Verify, Self::Settle, Self::Status];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Settle => "settle",
            Self::Status => "status",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|scope| scope.word() == word);
        found.ok_or("a scope is one of verify, settle, status")
    }
}

/// One API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name, the tenant of what it settles.
    pub name: String,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    /// The rights of its holder.
    pub scopes: Vec<Scope>,
    /// The only payees it may settle for; empty allows all. The case of hex digits is ignored.
    pub pay_to: Vec<String>,
    /// The requests that it may make in a time, by scope; none without an entry.
    pub rates: Vec<(Scope, Rate)>,
    /// The requests that it may have under way.
    pub in_flight_max: Option<u32>,
}

/// Every key; none at all means that everybody may ask.
#[derive(Clone, Debug)]
pub enum Keys {
    /// No keys are asked for.
    Open,
    /// One of these is needed.
    Required(Vec<Key>),
}

/// The keys in force.
#[derive(Debug)]
pub struct KeyRing(RwLock<Arc<Keys>>);

/// The change of the keys in force: the names of tokens that were added and removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Names of tokens that are known now, and were not.
    pub added: Vec<String>,
    /// Names of tokens that were known, and are not any more.
    pub removed: Vec<String>,
}

/// The keys cannot be replaced: one set asks for keys, and the other does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeChanged;

impl KeyRing {
    /// These keys.
    pub fn new(keys: Keys) -> Self {
        keys.begin_metrics();
        Self(RwLock::new(Arc::new(keys)))
    }

    /// The keys in force now.
    pub fn current(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read())
    }

    /// Puts other keys in force for every request from now on; `None` when they are the same.
    ///
    /// # Errors
    /// One set asks for keys, and the other does not.
    pub fn replace(&self, keys: Keys) -> Result<Option<Change>, ModeChanged> {
        let change = match (&*self.current(), &keys) {
            (Keys::Open, Keys::Open) => return Ok(None),
            (Keys::Required(old), Keys::Required(new)) if old == new => return Ok(None),
            (Keys::Required(old), Keys::Required(new)) => Change { added: names(new, old), removed: names(old, new) },
            (Keys::Open, Keys::Required(_)) | (Keys::Required(_), Keys::Open) => return Err(ModeChanged),
        };
        keys.begin_metrics();
        *self.0.write() = Arc::new(keys);
        Ok(Some(change))
    }
}

/// The names of the tokens that are in one list and not in the other.
fn names(of: &[Key], without: &[Key]) -> Vec<String> {
    let known: BTreeSet<_> = without.iter().map(|key| key.sha256).collect();
    of.iter().filter(|key| !known.contains(&key.sha256)).map(|key| key.name.clone()).collect()
}

/// The caller of a request.
#[derive(Clone, Debug)]
pub enum Principal<'a> {
    /// Anybody, in open mode.
    Anybody,
    /// The holder of this key.
    Key(&'a Key),
}

impl Principal<'_> {
    /// The tenant that settlements belong to.
    pub fn tenant(&self) -> &str {
        match self {
            Self::Anybody => "",
            Self::Key(key) => &key.name,
        }
    }

    /// The tenant whose settlements may be seen; `None` sees all.
    pub fn sees(&self) -> Option<String> {
        match self {
            Self::Anybody => None,
            Self::Key(key) => Some(key.name.clone()),
        }
    }

    /// Lets a request through that its caller's limits allow. Called before anything of it is read.
    ///
    /// # Errors
    /// The caller is over one of its limits.
    pub async fn admit(&self, gate: &Gate, scope: Scope) -> Result<Admitted, Failure> {
        let Self::Key(key) = self else { return Ok(Admitted::default()) };
        let rate = key.rates.iter().find(|(limited, _)| *limited == scope).map(|(_, rate)| *rate);
        let allowance = Allowance { rate, in_flight_max: key.in_flight_max };
        gate.admit(&key.name, scope.word(), allowance).await.map_err(|over| {
            metrics::over_limit(&key.name, scope.word(), over.word());
            tracing::debug!(key = key.name, route = scope.word(), limit = over.word(), "a caller is over its limit");
            match over {
                Over::Rate(wait) => Failure::RateLimited(wait),
                Over::InFlight => Failure::InFlight,
            }
        })
    }

    /// Returns true when settlements for this payee may be asked for.
    pub fn may_pay(&self, pay_to: &str) -> bool {
        match self {
            Self::Anybody => true,
            Self::Key(key) => key.pay_to.is_empty() || key.pay_to.iter().any(|one| is_same_payee(one, pay_to)),
        }
    }
}

/// Hex means the same in any case; in base58 another case is another address.
fn is_same_payee(one: &str, other: &str) -> bool {
    let hex = |text: &str| text.starts_with("0x");
    if hex(one) && hex(other) { one.eq_ignore_ascii_case(other) } else { one == other }
}

impl Keys {
    fn begin_metrics(&self) {
        let Self::Required(keys) = self else { return };
        for key in keys {
            metrics::begin_limits(&key.name, &Scope::ALL.map(Scope::word));
        }
    }

    /// Returns who asks, if that is allowed.
    ///
    /// # Errors
    /// No known key, or one without the scope.
    pub fn check(&self, head: &HeaderMap, scope: Scope) -> Result<Principal<'_>, Failure> {
        let Self::Required(keys) = self else { return Ok(Principal::Anybody) };
        let token = headers::bearer(head).ok_or(Failure::Unauthorized)?;
        let hash = Sha256::digest(token.as_bytes());
        // Every key is compared in full: how long it takes says nothing.
        let mut found = None;
        for key in keys {
            if bool::from(key.sha256.ct_eq(&hash)) {
                found = Some(key);
            }
        }
        let key = found.ok_or(Failure::Unauthorized)?;
        if key.scopes.contains(&scope) { Ok(Principal::Key(key)) } else { Err(Failure::Forbidden) }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    #[test]
    fn only_a_known_token_with_the_scope_may_ask() {
        let sha256 = Sha256::digest(b"token").into();
        let key = Key {
            name: "shop".into(),
            sha256,
            scopes: vec![Scope::Verify],
            pay_to: vec!["0xAB".into()],
            rates: vec![],
            in_flight_max: None,
        };
        let keys = Keys::Required(vec![key]);
        let ask = |value: Option<&str>, scope| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::AUTHORIZATION, value.parse().expect("a header"));
            }
            keys.check(&headers, scope).map(|principal| (principal.tenant().to_owned(), principal.may_pay("0xab")))
        };
        assert_eq!(ask(Some("Bearer token"), Scope::Verify), Ok(("shop".into(), true)));
        assert_eq!(ask(Some("Bearer token"), Scope::Settle), Err(Failure::Forbidden));
        assert_eq!(ask(Some("bearer  token"), Scope::Verify), Ok(("shop".into(), true)));
        for wrong in [None, Some("Bearer"), Some("Bearer "), Some("Bearer other"), Some("Basic token"), Some("token")] {
            assert_eq!(ask(wrong, Scope::Verify), Err(Failure::Unauthorized), "{wrong:?}");
        }
    }

    #[test]
    fn payees_are_compared_as_their_chain_writes_them() {
        for (one, other, same) in [
            ("0xAb", "0xaB", true),
            ("0xAb", "0xAc", false),
            ("So11111111111111111111111111111111111111112", "So11111111111111111111111111111111111111112", true),
            ("So11111111111111111111111111111111111111112", "so11111111111111111111111111111111111111112", false),
        ] {
            assert_eq!(is_same_payee(one, other), same, "{one} {other}");
        }
    }
}
