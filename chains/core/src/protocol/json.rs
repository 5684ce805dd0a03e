//! Strict JSON: what two readers could understand differently is refused.
//!
//! `serde_json` does the grammar and the UTF-8; this adds what it lets pass: a
//! key that stands twice (a reader before us may have taken the other one), a
//! NUL character (databases and C programs cut there) and deep nesting.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting of a body. Payloads need six levels; the JSON schemas
/// that servers echo in `extensions` need some twenty more.
pub const DEPTH_MAX: usize = 64;

/// Why a body is not acceptable as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, not UTF-8, nested too deeply, or not an object.
    #[error("the body is no JSON object: {0}")]
    Syntax(String),
    /// A key stands twice in one object, or a text holds a NUL character.
    #[error("the body is ambiguous: {0}")]
    Ambiguous(String),
}

/// Reads a body that must be one JSON object.
///
/// # Errors
/// Says what is wrong and where, by line and column.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, JsonError> {
    let ambiguous = std::cell::Cell::new(false);
    let mut reader = serde_json::Deserializer::from_slice(body);
    let seed = Strict { depth: DEPTH_MAX, ambiguous: &ambiguous };
    let value = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        let text = error.to_string();
        if ambiguous.get() { JsonError::Ambiguous(text) } else { JsonError::Syntax(text) }
    })?;
    match value {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JsonError::Syntax("expected an object".to_owned()))
        }
    }
}

/// Builds a [`Value`] and refuses what is ambiguous on the way.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    ambiguous: &'a std::cell::Cell<bool>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(E::custom(format_args!("nested more than {DEPTH_MAX} levels deep"))),
        }
    }

    fn refuse<E: serde::de::Error>(self, why: impl fmt::Display) -> E {
        self.ambiguous.set(true);
        E::custom(why)
    }

    fn clean<E: serde::de::Error>(self, text: String) -> Result<String, E> {
        if text.contains('\0') { Err(self.refuse("a string holds a NUL character")) } else { Ok(text) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.clean(value.to_owned()).map(Value::String)
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.clean(value).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let key = self.clean(key)?;
            if map.contains_key(&key) {
                // The key is a stranger's text: it is named by its place, not echoed.
                return Err(self.refuse(A::Error::custom("a key stands twice in one object")));
            }
            let value = entries.next_value_seed(inner)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        for (body, ambiguous) in [
            (r#"{"a":1,"a":1}"#, true),
            (r#"{"a":{"b":[{"c":1,"c":2}]}}"#, true),
            (r#"{"a":1,"\u0061":2}"#, true),
            (r#"{"a":"x\u0000y"}"#, true),
            (r#"{"a\u0000":1}"#, true),
            ("", false),
            ("[]", false),
            ("null", false),
            (r#"{"a":1}{}"#, false),
            (r#"{"a":1,}"#, false),
            (r#"{"a":NaN}"#, false),
            (r#"{"a":1e999}"#, false),
            (r#"{"a":"\ud800"}"#, false),
            ("\u{feff}{}", false),
        ] {
            match object(body.as_bytes()) {
                Err(JsonError::Ambiguous(_)) => assert!(ambiguous, "{body}"),
                Err(JsonError::Syntax(_)) => assert!(!ambiguous, "{body}"),
                Ok(value) => panic!("{body} was read as {value:?}"),
            }
        }
        assert!(matches!(object(b"{\"a\":\"\xff\"}"), Err(JsonError::Syntax(_))));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(object(nested(DEPTH_MAX - 1).as_bytes()).is_ok());
        assert!(object(nested(DEPTH_MAX).as_bytes()).is_err());
        assert!(object(nested(100_000).as_bytes()).is_err());
    }

    #[test]
    fn good_json_is_read_as_it_stands() {
        let body = r#"{"x402Version":2,"a":[null,true,-1,1.5,"ü"],"b":{}}"#;
        let expected: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(Value::Object(object(body.as_bytes()).expect("strict")), expected);
    }
}
