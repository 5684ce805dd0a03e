//! The findings of reading a configuration: its mistakes, and the values in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use toml::{Table, Value};

use crate::Secret;

/// The beginning of environment variables that set a key.
pub const OVERRIDE_PREFIX: &str = "FACILITATOR__";

/// Texts that are shorter hide nothing and would be found everywhere.
const HIDDEN_MIN: usize = 4;

/// The value that is shown of a secret, as TOML.
const HIDDEN: &str = "\"***\"";

/// Returns true for an environment variable that sets a key, false for one that a text reads.
fn is_override(name: &str) -> bool {
    name.starts_with(OVERRIDE_PREFIX) || name == "RUST_LOG"
}

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `config.default.toml`.
    Default,
    /// The presets of a known network, or those of a custom one.
    Network,
    /// It follows from other keys.
    Derived,
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
    /// The line of the configuration file, where it is there.
    pub line: Option<usize>,
    /// The observation, and its meaning.
    pub seen: String,
    /// The value to write instead.
    pub fix: String,
}

/// One value as it is in force; secrets hidden, or shown by what is no secret of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The key with its path.
    pub key: String,
    /// The value, as TOML.
    pub value: String,
    /// The source.
    pub source: Source,
    /// True when the value itself is not shown.
    pub secret: bool,
    /// The kind of what is shown in the place of a secret; empty otherwise.
    pub shown_as: &'static str,
}

/// The findings of reading a configuration; shared by all its sections.
#[derive(Clone, Debug, Default)]
pub struct Report {
    found: Arc<Mutex<Found>>,
    sources: Arc<BTreeMap<String, Source>>,
    lines: Arc<BTreeMap<String, usize>>,
    hidden: Arc<Vec<Secret>>,
}

#[derive(Debug, Default)]
struct Found {
    problems: Vec<Problem>,
    keys: BTreeSet<String>,
    effective: Vec<Effective>,
}

impl Report {
    /// A report that knows where each key came from. Keys without an entry
    /// count as [`Source::Default`].
    pub fn new(sources: BTreeMap<String, Source>) -> Self {
        Self { sources: Arc::new(sources), ..Self::default() }
    }

    /// The same report, which knows the lines of the keys in the file.
    #[must_use]
    pub fn at_lines(self, lines: BTreeMap<String, usize>) -> Self {
        Self { lines: Arc::new(lines), ..self }
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

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hide(&self, text: String) -> String {
        self.hidden.iter().fold(text, |text, hidden| {
            let hidden = hidden.expose();
            text.replace(hidden, "***").replace(&hidden.escape_debug().to_string(), "***")
        })
    }

    /// Adds a mistake, unless there is one about the same key: the first
    /// explains those that follow.
    pub fn problem(&self, key: impl Into<String>, seen: impl Into<String>, fix: impl Into<String>) {
        let (key, seen, fix) = (key.into(), self.hide(seen.into()), self.hide(fix.into()));
        let line = self.line_of(&key);
        self.add(Problem { key, line, seen, fix });
    }

    /// The same for a mistake that is made already, and shows no value.
    pub fn add(&self, problem: Problem) {
        let mut found = self.found();
        if found.keys.insert(problem.key.clone()) {
            found.problems.push(problem);
        }
    }

    /// The line of a key in the file; that of the list for its entry. None for a
    /// value of the environment.
    pub fn line_of(&self, key: &str) -> Option<usize> {
        if let Source::Environment(name) = self.source(key)
            && is_override(&name)
        {
            return None;
        }
        let list = key.rsplit_once('[').filter(|_| key.ends_with(']')).map_or(key, |(list, _)| list);
        self.lines.get(key).or_else(|| self.lines.get(list)).copied()
    }

    /// The mistakes so far.
    pub fn problems(&self) -> Vec<Problem> {
        self.found().problems.clone()
    }

    /// The values in force, in reading order.
    pub fn effective(&self) -> Vec<Effective> {
        self.found().effective.clone()
    }

    /// The environment variables that stand above the file, each with its key.
    pub fn overrides(&self) -> Vec<String> {
        let set = self.effective().into_iter().filter_map(|effective| match effective.source {
            Source::Environment(name) if is_override(&name) => Some(format!("{name} sets {}", effective.key)),
            Source::Default | Source::Network | Source::Derived | Source::File | Source::Environment(_) => None,
        });
        set.collect()
    }

    /// Notes the value of a key that was read.
    pub(super) fn record(&self, key: &str, value: &Value, secret: bool) {
        let value = if secret { HIDDEN.to_owned() } else { self.show(value) };
        let effective = Effective { key: key.to_owned(), value, source: self.source(key), secret, shown_as: "" };
        self.found().effective.push(effective);
    }

    /// Notes the value that a key has although nobody wrote it; nothing for one that was read.
    pub(super) fn assume(&self, key: &str, value: &Value, source: Source) {
        let value = self.show(value);
        let mut found = self.found();
        if found.effective.iter().all(|known| known.key != key) {
            found.effective.push(Effective { key: key.to_owned(), value, source, secret: false, shown_as: "" });
        }
    }

    /// Returns true for a key that has a value.
    pub(super) fn is_in_force(&self, key: &str) -> bool {
        self.found().effective.iter().any(|known| known.key == key)
    }

    /// Shows this in the place of a secret.
    pub(super) fn describe(&self, key: &str, value: &Value, shown_as: &'static str) {
        let value = self.show(value);
        if let Some(known) = self.found().effective.iter_mut().find(|known| known.key == key) {
            known.value = value;
            known.shown_as = shown_as;
        }
    }

    /// A value as TOML. Where something hidden leaves no TOML behind, all of it is hidden.
    fn show(&self, value: &Value) -> String {
        let shown = self.hide(value.to_string());
        if format!("v = {shown}").parse::<Table>().is_ok() { shown } else { HIDDEN.to_owned() }
    }

    /// The source of a value; a list's entries have their own, `rpc[0]`.
    pub fn source(&self, key: &str) -> Source {
        self.sources.get(key).cloned().unwrap_or(Source::Default)
    }

    /// True when the operator wrote the key, in the file or in the environment.
    pub fn is_written(&self, key: &str) -> bool {
        self.sources.contains_key(key)
    }
}
