//! Strict JSON: what two readers could understand differently is refused.
//!
//! `serde_json` does the grammar and the UTF-8; this adds what it lets pass: a
//! key that stands twice (a reader before us may have taken the other one), a
//! NUL character (databases and C programs cut there), deep nesting, and more
//! values than any payment has. Members that nobody reads are checked in the
//! same way and not kept.

use std::{borrow::Cow, cell::Cell, collections::HashSet, fmt};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// The deepest nesting of a body. Payloads need six levels; the JSON schemas
/// that servers echo in `extensions` need some twenty more.
pub const DEPTH_MAX: usize = 64;

/// The most values of a body, at all places. Payments have some 40; the
/// schemas that servers echo have hundreds.
pub const VALUES_MAX: usize = 2048;

/// The most bytes of text that are kept of a body. Signed transactions and
/// signatures are below 10 KiB.
pub const TEXT_MAX: usize = 64 * 1024;

/// The most bytes of white space in a body, at all places. The most values,
/// each on a line of its own and indented, need less; to skip more would cost
/// what a payment costs.
pub const BLANKS_MAX: usize = 64 * 1024;

/// The members of an object, or of all that is in it, that are kept.
#[derive(Clone, Copy, Debug)]
pub enum Keep {
    /// The value as it stands.
    All,
    /// Nothing of it: it is null.
    Nothing,
    /// Of an object, these members, each by its own rule.
    Members(&'static [(&'static str, Self)]),
    /// Of an object, all members, by one rule, but for the one that is named.
    Each {
        /// The member that is left out.
        but: &'static str,
        /// The rule for the others.
        keep: &'static Self,
    },
}

impl Keep {
    /// Returns the rule for a member.
    fn member(self, key: &str) -> Self {
        match self {
            Self::All => Self::All,
            Self::Nothing => Self::Nothing,
            Self::Members(members) => {
                members.iter().find(|(name, _)| *name == key).map_or(Self::Nothing, |(_, keep)| *keep)
            }
            Self::Each { but, .. } if but == key => Self::Nothing,
            Self::Each { keep, .. } => *keep,
        }
    }

    /// Returns the rule for the items of an array: one where an object is due is not read.
    const fn item(self) -> Self {
        match self {
            Self::All => Self::All,
            Self::Nothing | Self::Members(_) | Self::Each { .. } => Self::Nothing,
        }
    }

    const fn is_nothing(self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// A body that is not acceptable as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, not UTF-8, nested too deeply, or not an object.
    #[error("the body is not a JSON object: {0}")]
    Syntax(String),
    /// A key stands twice in one object, or a text holds a NUL character.
    #[error("the body is ambiguous: {0}")]
    Ambiguous(String),
    /// More values than a payment has, or longer ones.
    #[error(
        "the body holds more than {VALUES_MAX} values, or more than {TEXT_MAX} bytes of text where payments are read"
    )]
    Complex,
    /// More white space than a payment needs.
    #[error("the body holds more than {BLANKS_MAX} bytes of white space: send it without what pads it")]
    Blank,
}

/// Reads a body that must be one JSON object, and keeps what a rule says.
///
/// # Errors
/// Says what is wrong and where, by line and column.
pub fn object(body: &[u8], keep: Keep) -> Result<Map<String, Value>, JsonError> {
    if body.len() > BLANKS_MAX && body.iter().filter(|byte| byte.is_ascii_whitespace()).count() > BLANKS_MAX {
        return Err(JsonError::Blank);
    }
    let found =
        Found { ambiguous: Cell::new(false), complex: Cell::new(false), values: Cell::new(0), text: Cell::new(0) };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let seed = Strict { depth: DEPTH_MAX, found: &found, keep };
    let value = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        let text = error.to_string();
        match (found.complex.get(), found.ambiguous.get()) {
            (true, _) => JsonError::Complex,
            (false, true) => JsonError::Ambiguous(text),
            (false, false) => JsonError::Syntax(text),
        }
    })?;
    match value {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JsonError::Syntax("expected an object".to_owned()))
        }
    }
}

/// The findings in the whole body so far.
struct Found {
    ambiguous: Cell<bool>,
    complex: Cell<bool>,
    values: Cell<usize>,
    text: Cell<usize>,
}

impl Found {
    fn complex<E: serde::de::Error>(&self) -> E {
        self.complex.set(true);
        E::custom("too complex")
    }

    fn value<E: serde::de::Error>(&self) -> Result<(), E> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > VALUES_MAX { Err(self.complex()) } else { Ok(()) }
    }
}

/// Builds a [`Value`] and refuses what is ambiguous on the way.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    found: &'a Found,
    keep: Keep,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(E::custom(format_args!("nested more than {DEPTH_MAX} levels deep"))),
        }
    }

    fn refuse<E: serde::de::Error>(self, why: impl fmt::Display) -> E {
        self.found.ambiguous.set(true);
        E::custom(why)
    }

    fn check<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if text.contains('\0') { Err(self.refuse("a string holds a NUL character")) } else { Ok(()) }
    }

    /// Keeps a text, in the bounds of the whole body.
    fn text<E: serde::de::Error>(self, text: Cow<'_, str>) -> Result<Value, E> {
        self.check(&text)?;
        if self.keep.is_nothing() {
            return Ok(Value::Null);
        }
        self.found.text.set(self.found.text.get() + text.len());
        if self.found.text.get() > TEXT_MAX { Err(self.found.complex()) } else { Ok(Value::String(text.into_owned())) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.found.value()?;
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
        self.text(Cow::Borrowed(value))
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.text(Cow::Owned(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = Self { keep: self.keep.item(), ..self.deeper()? };
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            if !inner.keep.is_nothing() {
                array.push(item);
            }
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let (mut map, mut dropped) = (Map::new(), HashSet::new());
        while let Some(Key(key)) = entries.next_key()? {
            self.check(&key)?;
            let keep = self.keep.member(&key);
            // The key is a stranger's text: it is named by its place, not echoed.
            let twice = || self.refuse(A::Error::custom("a key stands twice in one object"));
            if keep.is_nothing() {
                if map.contains_key(&*key) || !dropped.insert(key) {
                    return Err(twice());
                }
                entries.next_value_seed(Self { keep, ..inner })?;
            } else {
                if map.contains_key(&*key) {
                    return Err(twice());
                }
                let Value::String(key) = inner.text(key)? else { continue };
                map.insert(key, entries.next_value_seed(Self { keep, ..inner })?);
            }
        }
        Ok(Value::Object(map))
    }
}

/// A member's name, borrowed from the body where that is possible.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

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
            match object(body.as_bytes(), Keep::All) {
                Err(JsonError::Ambiguous(_)) => assert!(ambiguous, "{body}"),
                Err(JsonError::Syntax(_)) => assert!(!ambiguous, "{body}"),
                Err(JsonError::Complex | JsonError::Blank) => panic!("{body} is simple"),
                Ok(value) => panic!("{body} was read as {value:?}"),
            }
        }
        assert!(matches!(object(b"{\"a\":\"\xff\"}", Keep::All), Err(JsonError::Syntax(_))));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(object(nested(DEPTH_MAX - 1).as_bytes(), Keep::All).is_ok());
        assert!(object(nested(DEPTH_MAX).as_bytes(), Keep::All).is_err());
        assert!(object(nested(100_000).as_bytes(), Keep::All).is_err());
    }

    #[test]
    fn good_json_is_read_as_it_stands() {
        let body = r#"{"x402Version":2,"a":[null,true,-1,1.5,"ü"],"b":{}}"#;
        let expected: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(Value::Object(object(body.as_bytes(), Keep::All).expect("strict")), expected);
    }

    const PART: Keep = Keep::Members(&[
        ("a", Keep::All),
        ("b", Keep::Members(&[("c", Keep::All)])),
        ("e", Keep::Each { but: "big", keep: &Keep::Members(&[("info", Keep::All)]) }),
    ]);

    #[test]
    fn only_what_is_read_is_kept() {
        let body = r#"{"a":[{"x":1}],"b":{"c":2,"d":{}},"e":{"big":{"info":1},"f":{"info":[3],"schema":{}}},"z":"t"}"#;
        let kept = Value::Object(object(body.as_bytes(), PART).expect("strict"));
        let expected = r#"{"a":[{"x":1}],"b":{"c":2},"e":{"f":{"info":[3]}}}"#;
        assert_eq!(kept.to_string(), expected);
        let wrong = object(br#"{"b":[1,2],"e":"x"}"#, PART).expect("strict");
        assert_eq!(Value::Object(wrong).to_string(), r#"{"b":[],"e":"x"}"#, "what is no object stays none");
    }

    #[test]
    fn what_is_not_kept_is_judged_all_the_same() {
        for body in [
            r#"{"z":{"x":1,"x":2}}"#,
            r#"{"z":1,"z":2}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"z":[{"y":"\u0000"}]}"#,
            r#"{"b":{"d":1,"\u0064":2}}"#,
            r#"{"e":{"big":1,"big":2}}"#,
        ] {
            assert!(matches!(object(body.as_bytes(), PART), Err(JsonError::Ambiguous(_))), "{body}");
        }
    }

    #[test]
    fn values_and_text_are_bounded() {
        let objects = |count: usize| format!("{{\"z\":[{}]}}", vec!["{\"a\":1}"; count].join(","));
        assert!(object(objects(VALUES_MAX / 2 - 1).as_bytes(), PART).is_ok());
        assert_eq!(object(objects(VALUES_MAX / 2).as_bytes(), PART), Err(JsonError::Complex));
        assert_eq!(object(objects(31_000).as_bytes(), PART), Err(JsonError::Complex));
        let text = |key: &str, length: usize| format!("{{\"{key}\":\"{}\"}}", "x".repeat(length));
        assert!(object(text("a", TEXT_MAX - 1).as_bytes(), PART).is_ok());
        assert_eq!(object(text("a", TEXT_MAX).as_bytes(), PART), Err(JsonError::Complex));
        assert!(object(text("z", 200_000).as_bytes(), PART).is_ok(), "what is not kept may be long");
    }

    #[test]
    fn white_space_is_bounded_wherever_it_stands() {
        let padded = |before: usize, within: usize, after: usize| {
            let blank = |length: usize| " \n\r\t".repeat(length / 4);
            format!("{}{{{}}}{}", blank(before), blank(within), blank(after))
        };
        assert!(object(padded(BLANKS_MAX, 0, 0).as_bytes(), PART).is_ok());
        for (before, within, after) in [(BLANKS_MAX, 4, 0), (0, BLANKS_MAX, 4), (4, 0, BLANKS_MAX), (0, 0, 240_000)] {
            let body = padded(before, within, after);
            assert_eq!(object(body.as_bytes(), PART), Err(JsonError::Blank), "{before} {within} {after}");
        }
        let lines = format!("{{\"z\":[{}]}}", vec![format!("1,\n{}", " ".repeat(28)); VALUES_MAX - 3].concat() + "1");
        assert!(object(lines.as_bytes(), PART).is_ok(), "as many values as may be, each on a line, indented");
    }
}
