//! The one grammar of hex texts (`0x`, exact length, any letter case), and
//! the members of a payload.

use alloy::primitives::{Address, B256, U256};
use chains_core::{Amount, Rejection, reason::INVALID_PAYLOAD};
use serde_json::{Map, Value};

/// Pairs of hex digits, without a prefix.
pub(crate) fn hex(digits: &str) -> Option<Vec<u8>> {
    // The library takes a `0x` here as well, which would be a second spelling.
    if digits.starts_with("0x") { None } else { alloy::hex::decode(digits).ok() }
}

fn exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 2 * N)?;
    let mut bytes = [0; N];
    (!digits.starts_with("0x")).then_some(())?;
    alloy::hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

/// `0x` and 40 hex digits, whatever their letter case says as a checksum.
pub(crate) fn address(text: &str) -> Option<Address> {
    exact(text).map(Address::new)
}

/// The fault of a text that is not an address, for people.
pub(crate) fn address_fault(text: &str) -> String {
    const DIGITS: usize = 40;
    let Some(digits) = text.strip_prefix("0x") else { return format!("is {text:?}, which does not begin with 0x") };
    match digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        Some(other) => format!("is {text:?}, where {other:?} is not a hex digit"),
        None => format!("is {text:?}, which has {} hex digits; {DIGITS} are needed", digits.len()),
    }
}

/// `0x` and 64 hex digits.
pub(crate) fn word(text: &str) -> Option<B256> {
    exact(text).map(B256::new)
}

/// An object of a payload, and its path for messages.
pub(crate) struct Fields<'a> {
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The members of `map`, which stands at `path`; that of the payload itself is empty.
    pub fn new(path: &str, map: &'a Map<String, Value>) -> Self {
        Self { path: path.to_owned(), map }
    }

    fn bad(&self, key: &str, expected: impl std::fmt::Display) -> Rejection {
        let dot = if self.path.is_empty() { "" } else { "." };
        Rejection::new(INVALID_PAYLOAD, format!("`{}{dot}{key}` {expected}", self.path))
    }

    /// An object.
    pub fn object(&self, key: &str) -> Result<Self, Rejection> {
        let Some(Value::Object(map)) = self.map.get(key) else { return Err(self.bad(key, "must be an object")) };
        let dot = if self.path.is_empty() { "" } else { "." };
        Ok(Self { path: format!("{}{dot}{key}", self.path), map })
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<&'a str, Rejection> {
        self.map.get(key).and_then(Value::as_str).ok_or_else(|| self.bad(key, "must be a string"))
    }

    /// An address.
    pub fn address(&self, key: &str) -> Result<Address, Rejection> {
        address(self.text(key)?).ok_or_else(|| self.bad(key, "must be 0x and 40 hex digits"))
    }

    /// 32 bytes.
    pub fn word(&self, key: &str) -> Result<B256, Rejection> {
        word(self.text(key)?).ok_or_else(|| self.bad(key, "must be 0x and 64 hex digits"))
    }

    /// A decimal number.
    pub fn number(&self, key: &str) -> Result<U256, Rejection> {
        let amount = self.text(key)?.parse::<Amount>();
        amount.map(Amount::to_u256).map_err(|error| self.bad(key, format_args!("is not a number: {error}")))
    }

    /// A number, decimal or `0x` and 1 to 64 hex digits: how nonces of Permit2 are written.
    pub fn number_or_hex(&self, key: &str) -> Result<U256, Rejection> {
        let Some(digits) = self.text(key)?.strip_prefix("0x") else { return self.number(key) };
        let good = (1..=64).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = if good { U256::from_str_radix(digits, 16).ok() } else { None };
        number.ok_or_else(|| self.bad(key, "must be a decimal number, or 0x and up to 64 hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_words_have_one_length_and_any_case() {
        let good = format!("0x{}", "aB".repeat(20));
        assert_eq!(address(&good), Some(Address::repeat_byte(0xab)));
        assert_eq!(word(&format!("0x{}", "01".repeat(32))), Some(B256::repeat_byte(1)));
        let bare = "ab".repeat(20);
        for bad in [
            "",
            "0x",
            &bare,
            &format!("0X{bare}"),
            &format!("0x{}", "ab".repeat(19)),
            &format!("0x{bare}ab"),
            &format!("0x{bare} "),
            &format!("0x0x{}", "ab".repeat(19)),
            &format!("0x{}zz", "ab".repeat(19)),
            &format!("0x{}", "é".repeat(20)),
        ] {
            assert_eq!(address(bad), None, "{bad:?}");
        }
        for bytes in [31, 33] {
            assert_eq!(word(&format!("0x{}", "01".repeat(bytes))), None);
        }
    }

    #[test]
    fn members_say_where_they_stand_and_what_they_must_be() {
        let Value::Object(map) = serde_json::json!({
            "outer": { "n": "10", "h": "0xfF", "z": "010", "x": "0x", "long": format!("0x{}", "1".repeat(65)), "i": 1 },
        }) else {
            panic!("an object");
        };
        let outer = Fields::new("", &map).object("outer").expect("an object");
        assert_eq!((outer.number("n"), outer.number_or_hex("n")), (Ok(U256::from(10)), Ok(U256::from(10))));
        assert_eq!(outer.number_or_hex("h"), Ok(U256::from(255)));
        for key in ["z", "x", "long", "i", "absent"] {
            let rejection = outer.number_or_hex(key).expect_err(key);
            assert_eq!(rejection.code, INVALID_PAYLOAD);
            assert!(rejection.message.starts_with(&format!("`outer.{key}` ")), "{}", rejection.message);
        }
        assert!(outer.number("h").is_err() && outer.address("n").is_err() && outer.word("n").is_err());
        assert!(outer.object("n").is_err());
    }
}
