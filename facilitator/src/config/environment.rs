//! The process environment, as a value. Read here and nowhere else.

use std::collections::BTreeMap;

use chains_core::config::{Effective, OVERRIDE_PREFIX, Source, join};
use toml::{Table, Value};

use super::layers::{Sources, record};

/// The variables with one underscore that are read.
const READ: [&str; 2] = [super::FILE_VARIABLE, KEYSTORE_PASSWORD];

/// The variable that holds the password of a keystore that `keygen` writes.
pub const KEYSTORE_PASSWORD: &str = "FACILITATOR_KEYSTORE_PASSWORD";

/// Environment variables by name. Its `Debug` shows no values: among them are keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Environment {
    /// Nothing at all, for configurations that stand for themselves.
    pub fn new() -> Self {
        Self::default()
    }

    /// The environment of this process, without variables that are not Unicode.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(text).collect()
    }

    /// A variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Warnings about variables that look like ours and that nothing reads, given
    /// the text of the configuration file and the keys in force.
    pub fn unread(&self, file: &str, keys: &[Effective]) -> Vec<String> {
        let ours = |name: &&str| name.starts_with("FACILITATOR_") && !name.starts_with(OVERRIDE_PREFIX);
        let known = |name: &str| READ.contains(&name) || file.contains(&format!("${{{name}}}"));
        let names = self.0.keys().map(String::as_str).filter(ours).filter(|name| !known(name));
        names.map(|name| format!("nothing reads {name}; {}", meant(name, keys))).collect()
    }

    /// The values of all variables that `${NAME}` in a text reads.
    pub(super) fn values_in(&self, text: &str) -> Vec<String> {
        let names = text.split("${").skip(1).filter_map(|after| after.split_once('}')).map(|(name, _)| name);
        names.filter_map(|name| self.get(name)).map(str::to_owned).collect()
    }

    /// Puts the variables that set keys over `table`.
    pub(super) fn override_keys(&self, table: &mut Table, sources: &mut Sources) {
        if let Some(log) = self.get("RUST_LOG").filter(|log| !log.is_empty()) {
            set(table, "", &["SERVER", "LOG"], log, &Source::Environment("RUST_LOG".to_owned()), sources);
        }
        for (name, value) in &self.0 {
            if let Some(path) = name.strip_prefix(OVERRIDE_PREFIX) {
                let segments: Vec<_> = path.split("__").collect();
                set(table, "", &segments, value, &Source::Environment(name.clone()), sources);
            }
        }
    }
}

/// The variable that was meant, or the form of those that set a key.
fn meant(name: &str, keys: &[Effective]) -> String {
    let plain = |text: &str| text.split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_");
    let variables = keys.iter().map(|effective| variable(&effective.key));
    let same = variables.into_iter().find(|variable| plain(variable) == plain(name));
    same.map_or_else(
        || "a variable that sets a key is FACILITATOR__SECTION__KEY, with two underscores each".to_owned(),
        |variable| format!("did you mean {variable}?"),
    )
}

/// The variable that sets the key at a path.
fn variable(path: &str) -> String {
    let parts = path.split('"').enumerate().map(|(i, part)| {
        // What stands in quotes is one key.
        if i % 2 == 1 { spelling(part) } else { part.split('.').map(spelling).collect::<Vec<_>>().join("__") }
    });
    format!("{OVERRIDE_PREFIX}{}", parts.collect::<String>())
}

/// Sets the key that `segments` name, making tables on the way.
fn set(table: &mut Table, path: &str, segments: &[&str], text: &str, source: &Source, sources: &mut Sources) {
    let Some((segment, rest)) = segments.split_first() else { return };
    let known = table.keys().find(|key| spelling(key) == *segment).cloned();
    let key = known.unwrap_or_else(|| guess(path, segment));
    let path_here = join(path, &key);
    if rest.is_empty() {
        let value = read(text, table.get(&key));
        record(sources, &path_here, &value, source);
        table.insert(key, value);
        return;
    }
    let inner = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
    if !inner.is_table() {
        *inner = Value::Table(Table::new());
    }
    if let Value::Table(inner) = inner {
        set(inner, &path_here, rest, text, source, sources);
    }
}

/// A key as a variable writes it.
fn spelling(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// A key that no layer below has. A network's colon cannot be written in a
/// variable's name, so that its first underscore stands for it.
fn guess(path: &str, segment: &str) -> String {
    let key = segment.to_ascii_lowercase();
    if path == "networks" { key.replacen('_', ":", 1) } else { key }
}

/// A variable's text as the kind of value that the key had below; without
/// one, as the kind that it looks like.
fn read(text: &str, below: Option<&Value>) -> Value {
    let string = || Value::String(text.to_owned());
    let toml = || format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
    match below {
        Some(Value::String(_)) => string(),
        Some(Value::Array(_)) => toml().filter(Value::is_array).unwrap_or_else(|| list(text)),
        Some(_) => toml().unwrap_or_else(string),
        None => {
            let plain = text == "true" || text == "false" || text.starts_with(['[', '{']);
            let number = !text.is_empty() && text.len() < 19 && text.bytes().all(|b| b.is_ascii_digit());
            let list_key = text.contains(',');
            match toml().filter(|_| plain || number) {
                Some(value) => value,
                None if list_key => list(text),
                None => string(),
            }
        }
    }
}

fn list(text: &str) -> Value {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
}
