//! Reading configuration so that every mistake is reported at once.
//!
//! A [`Section`] is one TOML table. Values are taken out of it by key; what is
//! wrong goes to the shared [`Report`] and reading goes on; what is left when
//! the section is dropped is an unknown key, and a mistake too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use toml::{Table, Value};

use crate::{Amount, Secret};

/// The beginning of environment variables that set a key.
pub const OVERRIDE_PREFIX: &str = "FACILITATOR__";

/// Texts that are shorter hide nothing and would be found everywhere.
const HIDDEN_MIN: usize = 4;

/// Returns true for an environment variable that sets a key, false for one that a text reads.
fn is_override(name: &str) -> bool {
    name.starts_with(OVERRIDE_PREFIX) || name == "RUST_LOG"
}

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `config.default.toml`, or a preset of a known network.
    Default,
    /// The configuration file.
    File,
    /// The environment variable of that name, by override or by `${NAME}`.
    Environment(String),
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key with its path, for example `networks."eip155:84532".rpc`.
    pub key: String,
    /// The observation, and its meaning.
    pub seen: String,
    /// The value to write instead.
    pub fix: String,
}

/// One value as it is in force; secrets as `***`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The key with its path.
    pub key: String,
    /// The value, as TOML.
    pub value: String,
    /// The source.
    pub source: Source,
}

/// The findings of reading a configuration; shared by all its sections.
#[derive(Clone, Debug, Default)]
pub struct Report {
    found: Arc<Mutex<Found>>,
    sources: Arc<BTreeMap<String, Source>>,
    hidden: Arc<Vec<Secret>>,
}

#[derive(Debug, Default)]
struct Found {
    problems: Vec<Problem>,
    settled: BTreeSet<String>,
    effective: Vec<Effective>,
}

impl Report {
    /// A report that knows where each key came from. Keys without an entry
    /// count as [`Source::Default`].
    pub fn new(sources: BTreeMap<String, Source>) -> Self {
        Self { sources: Arc::new(sources), ..Self::default() }
    }

    /// The same report, which shows none of these texts: values of `${NAME}`,
    /// which may be secrets wherever they were written to.
    #[must_use]
    pub fn hiding(self, mut texts: Vec<String>) -> Self {
        texts.retain(|text| text.len() >= HIDDEN_MIN);
        // A text that holds another one goes first.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self { hidden: Arc::new(texts.into_iter().map(Secret::new).collect()), ..self }
    }

    fn hide(&self, text: String) -> String {
        self.hidden.iter().fold(text, |text, hidden| {
            let hidden = hidden.expose();
            text.replace(hidden, "***").replace(&hidden.escape_debug().to_string(), "***")
        })
    }

    /// Adds a mistake.
    pub fn problem(&self, key: impl Into<String>, seen: impl Into<String>, fix: impl Into<String>) {
        let (seen, fix) = (self.hide(seen.into()), self.hide(fix.into()));
        let problem = Problem { key: key.into(), seen, fix };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if !found.settled.contains(&problem.key) {
            found.problems.push(problem);
        }
    }

    /// Adds a mistake that explains every other about the same key: those are
    /// about a value that the operator never wrote.
    pub fn problem_only(&self, problem: Problem) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.settled.insert(problem.key.clone());
        found.problems.push(problem);
    }

    /// The mistakes so far.
    pub fn problems(&self) -> Vec<Problem> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).problems.clone()
    }

    /// The values in force, in reading order.
    pub fn effective(&self) -> Vec<Effective> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).effective.clone()
    }

    /// The environment variables that stand above the file, each with its key.
    pub fn overrides(&self) -> Vec<String> {
        let set = self.effective().into_iter().filter_map(|effective| match effective.source {
            Source::Environment(name) if is_override(&name) => Some(format!("{name} sets {}", effective.key)),
            Source::Default | Source::File | Source::Environment(_) => None,
        });
        set.collect()
    }

    fn record(&self, key: &str, value: String) {
        let effective = Effective { key: key.to_owned(), value: self.hide(value), source: self.source(key) };
        self.found.lock().unwrap_or_else(PoisonError::into_inner).effective.push(effective);
    }

    /// The source of a value; a list's entries have their own, `rpc[0]`.
    pub fn source(&self, key: &str) -> Source {
        self.sources.get(key).cloned().unwrap_or(Source::Default)
    }
}

/// The path of a key in the table at `path`; `path` itself for the empty key.
/// Keys that TOML would quote are quoted.
pub fn join(path: &str, key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let key = if key.bytes().all(bare) { key.to_owned() } else { format!("{key:?}") };
    match (path.is_empty(), key.is_empty()) {
        (true, _) => key,
        (false, true) => path.to_owned(),
        (false, false) => format!("{path}.{key}"),
    }
}

/// One table of the configuration. Its `Debug` shows the path only: nothing in
/// the table is known to be no secret before it is read.
pub struct Section {
    path: String,
    table: Table,
    report: Report,
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Section").field(&self.path).finish()
    }
}

impl Section {
    /// A section at a path, for example `networks."eip155:84532"`; empty for the root.
    pub fn new(path: impl Into<String>, table: Table, report: Report) -> Self {
        Self { path: path.into(), table, report }
    }

    /// The full path of a key in here; of the section itself for the empty key.
    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Adds a mistake about a key in here; the empty key is the section itself.
    pub fn problem(&self, key: &str, seen: impl Into<String>, fix: impl Into<String>) {
        self.problem_with(self.path_of(key), seen.into(), fix.into());
    }

    /// Adds a mistake about one entry of a list in here.
    pub fn problem_at(&self, key: &str, index: usize, seen: impl Into<String>, fix: impl Into<String>) {
        self.problem_with(format!("{}[{index}]", self.path_of(key)), seen.into(), fix.into());
    }

    /// Adds a problem; one about a value of the environment names the variable.
    fn problem_with(&self, path: String, seen: String, fix: String) {
        let seen = match self.report.source(&path) {
            Source::Environment(name) => format!("{seen} (from the environment variable {name})"),
            Source::Default | Source::File => seen,
        };
        self.report.problem(path, seen, fix);
    }

    /// Returns true when the key is there and not yet taken.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A text that is not yet taken, to decide as what to take it.
    pub fn peek(&self, key: &str) -> Option<&str> {
        self.table.get(key).and_then(Value::as_str)
    }

    /// Takes a value that may be absent.
    pub fn optional<T: FromToml>(&mut self, key: &str) -> Option<T> {
        let value = self.table.remove(key)?;
        let shown = value.to_string();
        match T::from_toml(value) {
            Ok(read) => {
                let shown = if T::SECRET { "***".to_owned() } else { shown };
                self.report.record(&self.path_of(key), shown);
                Some(read)
            }
            Err(expected) => {
                let seen = if T::SECRET { "is not of the right form".to_owned() } else { format!("is {shown}") };
                self.problem(key, seen, format!("write {expected}"));
                None
            }
        }
    }

    /// Takes a value that must be there.
    pub fn required<T: FromToml>(&mut self, key: &str) -> Option<T> {
        if !self.has(key) {
            self.problem(key, "is missing", format!("write {}", T::EXPECTED));
        }
        self.optional(key)
    }

    /// Takes a text and parses it.
    pub fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, key: &str) -> Option<T> {
        let text = self.required::<String>(key)?;
        text.parse().inspect_err(|error| self.problem(key, format!("is {text:?}"), format!("{error}"))).ok()
    }

    /// Takes a list of secrets, each with where it came from, so that a
    /// literal key can be refused where only the environment or a file will do.
    pub fn secrets(&mut self, key: &str) -> Vec<(Secret, Source)> {
        let sources: Vec<_> =
            (0..).map(|i| self.report.source(&format!("{}[{i}]", self.path_of(key)))).take(64).collect();
        self.optional::<Vec<Secret>>(key).unwrap_or_default().into_iter().zip(sources).collect()
    }

    /// Takes a table in here; an absent one is empty.
    #[must_use]
    pub fn section(&mut self, key: &str) -> Self {
        let path = self.path_of(key);
        let table = match self.table.remove(key) {
            Some(Value::Table(table)) => table,
            None => Table::new(),
            Some(other) => {
                self.problem(key, format!("is {other}"), format!("write a table, `[{path}]`"));
                Table::new()
            }
        };
        Self::new(path, table, self.report.clone())
    }

    /// Takes a list of tables, `[[key]]`; `None` when absent.
    pub fn sections(&mut self, key: &str) -> Option<Vec<Self>> {
        let path = self.path_of(key);
        match self.table.remove(key)? {
            Value::Array(items) if items.iter().all(Value::is_table) => {
                let tables = items.into_iter().enumerate().map(|(i, item)| {
                    let table = if let Value::Table(table) = item { table } else { Table::new() };
                    Self::new(format!("{path}[{i}]"), table, self.report.clone())
                });
                Some(tables.collect())
            }
            other => {
                self.problem(key, format!("is {other}"), format!("write a list of tables, `[[{path}]]`"));
                None
            }
        }
    }

    /// Leaves whatever is left unread, without calling it unknown: for a table
    /// whose reader is not known.
    pub fn forget(mut self) {
        self.table.clear();
    }

    /// Takes every table in here by its key, in order.
    pub fn tables(&mut self) -> Vec<(String, Self)> {
        let keys: Vec<String> = self.table.iter().filter(|(_, v)| v.is_table()).map(|(k, _)| k.clone()).collect();
        keys.into_iter().map(|key| (key.clone(), self.section(&key))).collect()
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        for key in self.table.keys() {
            self.problem(key, "is not a known key", "remove it or correct its spelling");
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str, report: &Report) -> Section {
        Section::new("", text.parse().expect("TOML"), report.clone())
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_their_keys() {
        let report = Report::default();
        let mut root = section("port = \"x\"\nwait = 3\nsurplus = 1\n[net.\"a:b\"]\nrpc = [1]\n", &report);
        assert_eq!(root.optional::<u64>("port"), None);
        assert_eq!(root.optional::<Duration>("wait"), None);
        assert_eq!(root.required::<String>("name"), None);
        let mut net = root.section("net");
        for (_, mut table) in net.tables() {
            assert_eq!(table.optional::<Vec<String>>("rpc"), None);
        }
        drop(net);
        drop(root);
        let keys: Vec<_> = report.problems().into_iter().map(|p| p.key).collect();
        assert_eq!(keys, ["port", "wait", "name", "net.\"a:b\".rpc", "surplus"]);
    }

    #[test]
    fn paths_are_written_as_in_the_file() {
        let cases = [
            ("", "server", "server"),
            ("networks", "eip155:1", "networks.\"eip155:1\""),
            ("networks.\"eip155:1\"", "rpc", "networks.\"eip155:1\".rpc"),
            ("networks.\"eip155:1\"", "", "networks.\"eip155:1\""),
        ];
        for (path, key, joined) in cases {
            assert_eq!(join(path, key), joined);
        }
    }

    #[test]
    fn a_mistake_from_the_environment_names_the_variable() {
        let sources = [("a".to_owned(), Source::Environment("FACILITATOR__A".into()))].into();
        let report = Report::new(sources);
        drop(section("a = 1", &report));
        let seen = report.problems().remove(0).seen;
        assert_eq!(seen, "is not a known key (from the environment variable FACILITATOR__A)");
    }

    #[test]
    fn what_a_variable_gave_is_shown_nowhere() {
        let report = Report::default().hiding(vec!["canary\"1".into(), "canary".into(), "abc".into()]);
        let mut root = section("port = \"canary\"\nname = 'x canary\"1 y'\nodd = \"abc\"\n", &report);
        assert_eq!(root.optional::<u64>("port"), None);
        root.problem("name", "is \"canary\\\"1\"", "not canary");
        assert!(root.optional::<String>("name").is_some() && root.optional::<String>("odd").is_some());
        let shown = format!("{:?}{:?}", report.problems(), report.effective());
        assert!(!shown.contains("canary") && shown.contains("abc"), "{shown}");
    }

    #[test]
    fn secrets_are_never_shown() {
        let report = Report::default();
        let mut root = section("keys = [\"canary\"]\nbad = [[\"canary\"]]\n", &report);
        assert!(!format!("{root:?}").contains("canary"));
        assert_eq!(root.secrets("keys").len(), 1);
        assert_eq!(root.secrets("bad").len(), 0);
        drop(root);
        assert_eq!(report.effective()[0].value, "***");
        assert!(!format!("{:?}", report.problems()).contains("canary"));
    }
}
