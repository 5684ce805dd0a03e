//! API keys: bearer tokens of which only the hash is known, and what each may do.

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{error::Failure, headers};

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

impl std::str::FromStr for Scope {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "verify" => Ok(Self::Verify),
            "settle" => Ok(Self::Settle),
            "status" => Ok(Self::Status),
            _ => Err("a scope is one of verify, settle, status"),
        }
    }
}

/// One API key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name, the tenant of what it settles.
    pub name: String,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    /// The rights of its holder.
    pub scopes: Vec<Scope>,
    /// The only payees it may settle for; empty allows all. The case of hex digits is ignored.
    pub pay_to: Vec<String>,
}

/// Every key; none at all means that everybody may ask.
#[derive(Clone, Debug)]
pub enum Keys {
    /// No keys are asked for.
    Open,
    /// One of these is needed.
    Required(Vec<Key>),
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
        let key = Key { name: "shop".into(), sha256, scopes: vec![Scope::Verify], pay_to: vec!["0xAB".into()] };
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
