//! The `info` of a sponsoring extension: how clients write what they fill in.

use alloy::primitives::{Address, U256};
use chains_core::{Amount, Code, Payment, Rejection};
use serde_json::{Map, Value};

use crate::parse;

/// A filled in extension, not read yet.
#[derive(Clone, Copy)]
pub(super) struct Info<'a> {
    key: &'static str,
    malformed: Code,
    members: &'a Map<String, Value>,
}

impl<'a> Info<'a> {
    /// The extension `key`; `None` when it is not there, or when any of
    /// `members` is not filled in: clients that know nothing of it echo what
    /// the server said. What is malformed later has the code `malformed`.
    pub fn of(payment: &'a Payment, key: &'static str, members: &[&str], malformed: Code) -> Option<Self> {
        let info = payment.extensions.get(key)?.get("info")?.as_object()?;
        let filled = |key: &&str| match info.get(*key) {
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Null | Value::Bool(false)) | None => false,
            Some(Value::Number(number)) => number.as_u64() != Some(0),
            Some(Value::Bool(true) | Value::Array(_) | Value::Object(_)) => true,
        };
        members.iter().all(filled).then_some(Self { key, malformed, members: info })
    }

    /// That a member has another shape.
    pub fn bad(&self, member: &str) -> Rejection {
        Rejection::new(self.malformed, format!("`{}.info.{member}` is malformed", self.key))
    }

    /// A text.
    pub fn text(&self, member: &str) -> Result<&'a str, Rejection> {
        self.members.get(member).and_then(Value::as_str).ok_or_else(|| self.bad(member))
    }

    /// An address.
    pub fn address(&self, member: &str) -> Result<Address, Rejection> {
        parse::address(self.text(member)?).ok_or_else(|| self.bad(member))
    }

    /// A number in decimal digits.
    pub fn number(&self, member: &str) -> Result<U256, Rejection> {
        self.text(member)?.parse::<Amount>().map(Amount::to_u256).map_err(|_| self.bad(member))
    }

    /// `0x` and pairs of hex digits.
    pub fn bytes(&self, member: &str) -> Result<Vec<u8>, Rejection> {
        self.text(member)?.strip_prefix("0x").and_then(parse::hex).ok_or_else(|| self.bad(member))
    }

    /// A version: `1`, `1.0`, `1.0.3`.
    pub fn version(&self, member: &str) -> Result<(), Rejection> {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if self.text(member)?.split('.').all(is_number) { Ok(()) } else { Err(self.bad(member)) }
    }
}
