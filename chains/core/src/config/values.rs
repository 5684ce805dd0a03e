//! The types that a configuration value can be read into.

use std::{net::SocketAddr, time::Duration};

use toml::Value;

use crate::{Amount, Secret};

/// A type that a configuration value can be read into.
pub trait FromToml: Sized {
    /// The value to write, for people.
    const EXPECTED: &'static str;
    /// True when the value must never be shown.
    const SECRET: bool = false;

    /// Reads the value.
    ///
    /// # Errors
    /// The expectation, for people.
    fn from_toml(value: Value) -> Result<Self, String>;
}

impl FromToml for String {
    const EXPECTED: &'static str = "a string";
    fn from_toml(value: Value) -> Result<Self, String> {
        if let Value::String(text) = value { Ok(text) } else { Err(Self::EXPECTED.to_owned()) }
    }
}

impl FromToml for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_toml(value: Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| Self::EXPECTED.to_owned())
    }
}

impl FromToml for u64 {
    const EXPECTED: &'static str = "a whole number, 0 or more";
    fn from_toml(value: Value) -> Result<Self, String> {
        value.as_integer().and_then(|n| Self::try_from(n).ok()).ok_or_else(|| Self::EXPECTED.to_owned())
    }
}

impl FromToml for Duration {
    const EXPECTED: &'static str = "a duration such as \"20s\" or \"250ms\"";
    fn from_toml(value: Value) -> Result<Self, String> {
        value.as_str().and_then(|t| humantime::parse_duration(t).ok()).ok_or_else(|| Self::EXPECTED.to_owned())
    }
}

impl FromToml for Amount {
    const EXPECTED: &'static str = "an amount in atomic units as a string, such as \"1000\"";
    fn from_toml(value: Value) -> Result<Self, String> {
        value.as_str().and_then(|t| t.parse().ok()).ok_or_else(|| Self::EXPECTED.to_owned())
    }
}

impl FromToml for SocketAddr {
    const EXPECTED: &'static str = "an address with a port, such as \"127.0.0.1:8402\"";
    fn from_toml(value: Value) -> Result<Self, String> {
        value.as_str().and_then(|t| t.parse().ok()).ok_or_else(|| Self::EXPECTED.to_owned())
    }
}

impl FromToml for Secret {
    const EXPECTED: &'static str = "a string, best from the environment: \"${NAME}\"";
    const SECRET: bool = true;
    fn from_toml(value: Value) -> Result<Self, String> {
        String::from_toml(value).map(Self::new).map_err(|_| Self::EXPECTED.to_owned())
    }
}

impl<T: FromToml> FromToml for Vec<T> {
    const EXPECTED: &'static str = "a list";
    const SECRET: bool = T::SECRET;
    fn from_toml(value: Value) -> Result<Self, String> {
        match value {
            Value::Array(items) => {
                items.into_iter().map(T::from_toml).collect::<Result<_, _>>().map_err(|e| format!("a list, each {e}"))
            }
            _ => Err(format!("a list, each {}", T::EXPECTED)),
        }
    }
}

/// A type whose value can be shown as TOML.
pub trait ToToml {
    /// The value as a configuration would write it.
    fn to_toml(self) -> Value;
}

impl ToToml for bool {
    fn to_toml(self) -> Value {
        Value::Boolean(self)
    }
}

impl ToToml for u64 {
    fn to_toml(self) -> Value {
        // Beyond TOML's numbers there is no value that could be written.
        Value::Integer(i64::try_from(self).unwrap_or(i64::MAX))
    }
}

impl ToToml for &str {
    fn to_toml(self) -> Value {
        Value::String(self.to_owned())
    }
}

impl ToToml for Amount {
    fn to_toml(self) -> Value {
        Value::String(self.to_string())
    }
}

impl ToToml for Duration {
    fn to_toml(self) -> Value {
        Value::String(humantime::format_duration(self).to_string())
    }
}

impl ToToml for Vec<String> {
    fn to_toml(self) -> Value {
        Value::Array(self.into_iter().map(Value::String).collect())
    }
}
