//! Reading configuration so that every mistake is reported at once.
//!
//! A [`Section`] is one TOML table. Values are taken out of it by key; what is
//! wrong goes to the shared [`Report`] and reading goes on; what is left when
//! the section is dropped is an unknown key, and a mistake too.

mod report;
#[cfg(test)]
mod tests;
mod values;

use std::{collections::BTreeSet, fmt, str::FromStr};

use toml::{Table, Value};

pub use self::{
    report::{Effective, OVERRIDE_PREFIX, Problem, Report, Source},
    values::{FromToml, ToToml},
};
use crate::Secret;

/// The least likeness (Jaro and Winkler's) of a word to the one that was meant.
const LIKENESS_MIN: f64 = 0.85;

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
    /// The keys that a reader has asked for.
    asked: BTreeSet<String>,
    /// There is no table here, and a mistake says so: nothing in it is missing.
    is_mistaken: bool,
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Section").field(&self.path).finish()
    }
}

impl Section {
    /// A section at a path, for example `networks."eip155:84532"`; empty for the root.
    pub fn new(path: impl Into<String>, table: Table, report: Report) -> Self {
        Self { path: path.into(), table, report, asked: BTreeSet::new(), is_mistaken: false }
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
            Source::Default | Source::Network | Source::Derived | Source::File => seen,
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

    fn take(&mut self, key: &str) -> Option<Value> {
        self.asked.insert(key.to_owned());
        self.table.remove(key)
    }

    /// Notes the value that is in force for a key that nobody wrote; of one that
    /// was read, nothing. Keys of tables in here are written as paths.
    pub fn assume(&self, key: &str, value: impl ToToml, source: Source) {
        self.report.assume(&format!("{}.{key}", self.path), &value.to_toml(), source);
    }

    /// Returns true for a key, or a path of keys, whose value was read.
    pub fn is_read(&self, key: &str) -> bool {
        self.report.is_in_force(&format!("{}.{key}", self.path))
    }

    /// Shows this in the place of a secret that was read: what is no secret of it.
    pub fn describe(&self, key: &str, value: impl ToToml, shown_as: &'static str) {
        self.report.describe(&self.path_of(key), &value.to_toml(), shown_as);
    }

    /// Takes a value that may be absent.
    pub fn optional<T: FromToml>(&mut self, key: &str) -> Option<T> {
        let value = self.take(key)?;
        match T::from_toml(value.clone()) {
            Ok(read) => {
                self.report.record(&self.path_of(key), &value, T::SECRET);
                Some(read)
            }
            Err(expected) => {
                let seen = if T::SECRET { "is not of the right form".to_owned() } else { format!("is {value}") };
                self.problem(key, seen, format!("write {expected}"));
                None
            }
        }
    }

    /// Takes a value that must be there.
    pub fn required<T: FromToml>(&mut self, key: &str) -> Option<T> {
        if !self.has(key) && !self.is_mistaken {
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
        let (table, is_mistaken) = match self.take(key) {
            Some(Value::Table(table)) => (table, false),
            None => (Table::new(), false),
            Some(other) => {
                self.problem(key, format!("is {other}"), format!("write a table, `[{path}]`"));
                (Table::new(), true)
            }
        };
        Self { path, table, report: self.report.clone(), asked: BTreeSet::new(), is_mistaken }
    }

    /// Takes a list of tables, `[[key]]`; `None` when absent.
    pub fn sections(&mut self, key: &str) -> Option<Vec<Self>> {
        let path = self.path_of(key);
        match self.take(key)? {
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
            // A key that the file has as well is not the one that was meant.
            let candidates = self.asked.iter().filter(|asked| !self.report.is_written(&self.path_of(asked)));
            let fix = nearest(key, candidates.map(String::as_str)).map_or_else(
                || "remove it or correct its spelling".to_owned(),
                |meant| format!("did you mean `{meant}`? Correct its spelling, or remove it"),
            );
            self.problem(key, "is not a known key", fix);
        }
    }
}

/// The known word that was most likely meant; `None` when no known word is like it.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |known: &str| strsim::jaro_winkler(&word.to_ascii_lowercase(), &known.to_ascii_lowercase());
    let scored = known.into_iter().map(|known| (likeness(known), known)).filter(|(score, _)| *score >= LIKENESS_MIN);
    scored.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}
