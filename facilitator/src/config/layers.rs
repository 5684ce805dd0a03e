//! The layers of the configuration as one table, and where each value came from:
//! `config.default.toml`, the file, the environment.

use std::collections::BTreeMap;

use chains_core::config::{Problem, Source, join};
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::Environment;

/// The documented defaults.
pub const DEFAULTS: &str = include_str!("../../config.default.toml");

/// The source of each value, by its path; a list has an entry for itself
/// and one for each of its places.
pub(super) type Sources = BTreeMap<String, Source>;

/// The line of each key in the file, by its path.
pub(super) type Lines = BTreeMap<String, usize>;

/// Everything in force, before it is checked.
pub(super) struct Layers {
    pub table: Table,
    pub sources: Sources,
    pub lines: Lines,
    pub problems: Vec<Problem>,
    /// True when the file is not TOML: nothing is known of what is in it.
    pub unreadable: bool,
}

/// Puts the layers over each other. `file` is the text of the configuration file.
pub(super) fn stack(file: &str, environment: &Environment) -> Layers {
    let (mut problems, mut sources) = (Vec::new(), Sources::new());
    let mut table = parse(DEFAULTS, &mut problems);
    let own = parse(file, &mut problems);
    let unreadable = !problems.is_empty();
    let lines = lines(file);
    merge(&mut table, own, "", &mut sources, &mut problems);
    environment.override_keys(&mut table, &mut sources);
    for (key, value) in &mut table {
        expand(value, key, environment, &mut sources, &mut problems);
    }
    for problem in &mut problems {
        problem.line = problem.line.or_else(|| lines.get(&problem.key).copied());
    }
    Layers { table, sources, lines, problems, unreadable }
}

/// The line of every key of a text; nothing of one that is not TOML.
fn lines(text: &str) -> Lines {
    let mut lines = Lines::new();
    if let Ok(table) = DeTable::parse(text) {
        let starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line_of = |at: usize| starts.partition_point(|start| *start < at) + 1;
        note_lines(table.get_ref(), "", &line_of, &mut lines);
    }
    lines
}

fn note_lines(table: &DeTable<'_>, path: &str, line_of: &impl Fn(usize) -> usize, lines: &mut Lines) {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        lines.insert(path.clone(), line_of(key.span().start));
        note_lines_in(value, &path, line_of, lines);
    }
}

fn note_lines_in(value: &Spanned<DeValue<'_>>, path: &str, line_of: &impl Fn(usize) -> usize, lines: &mut Lines) {
    if let Some(table) = value.get_ref().as_table() {
        note_lines(table, path, line_of, lines);
    }
    for (i, entry) in value.get_ref().as_array().into_iter().flat_map(|list| list.iter().enumerate()) {
        let path = format!("{path}[{i}]");
        lines.insert(path.clone(), line_of(entry.span().start));
        note_lines_in(entry, &path, line_of, lines);
    }
}

fn parse(text: &str, problems: &mut Vec<Problem>) -> Table {
    text.parse().unwrap_or_else(|error: toml::de::Error| {
        // Not the error's own text: it quotes the line, which may hold a key.
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.split('\n').count();
        problems.push(Problem {
            key: format!("line {line}"),
            line: Some(line),
            seen: format!("the file is not TOML: {}", error.message()),
            fix: "correct the line; the rest of the file is read only then".to_owned(),
        });
        Table::new()
    })
}

/// Puts the file over the defaults.
fn merge(below: &mut Table, above: Table, path: &str, sources: &mut Sources, problems: &mut Vec<Problem>) {
    for (key, value) in above {
        let path = join(path, &key);
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above, &path, sources, problems),
            // The defaults stay, so that this is one mistake and not one for each key in it.
            (Some(Value::Table(_)), _) => problems.push(Problem {
                line: None,
                seen: "is not a table".to_owned(),
                fix: format!("write a table, `[{path}]`"),
                key: path,
            }),
            (_, value) => {
                record(sources, &path, &value, &Source::File);
                below.insert(key, value);
            }
        }
    }
}

/// Notes where a value came from, and everything in it.
pub(super) fn record(sources: &mut Sources, path: &str, value: &Value, source: &Source) {
    sources.insert(path.to_owned(), source.clone());
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                record(sources, &join(path, key), value, source);
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter().enumerate() {
                record(sources, &format!("{path}[{i}]"), value, source);
            }
        }
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

/// Replaces `${NAME}` in every string that the environment did not itself give.
fn expand(
    value: &mut Value,
    path: &str,
    environment: &Environment,
    sources: &mut Sources,
    problems: &mut Vec<Problem>,
) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                expand(value, &join(path, key), environment, sources, problems);
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter_mut().enumerate() {
                expand(value, &format!("{path}[{i}]"), environment, sources, problems);
            }
        }
        Value::String(text) if !matches!(sources.get(path), Some(Source::Environment(_))) => {
            match substitute(text, environment) {
                Ok((_, None)) if !text.contains("$$") => {}
                Ok((replaced, name)) => {
                    if let Some(name) = name {
                        sources.insert(path.to_owned(), Source::Environment(name));
                    }
                    *text = replaced;
                }
                Err(Unset(name)) => problems.push(Problem {
                    key: path.to_owned(),
                    line: None,
                    seen: format!("reads the environment variable {name}, which is not set"),
                    fix: format!("set {name}, or write the value itself"),
                }),
            }
        }
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

/// A variable that is needed and not there.
struct Unset(String);

/// The text with its variables, and the first of them.
fn substitute(text: &str, environment: &Environment) -> Result<(String, Option<String>), Unset> {
    let (mut replaced, mut first, mut rest) = (String::with_capacity(text.len()), None, text);
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        let name = after.get(2..).and_then(|name| name.split_once('}')).filter(|(name, _)| is_name(name));
        if let Some(literal) = before.strip_suffix('$') {
            replaced.push_str(literal);
            replaced.push_str("${");
            rest = after.get(2..).unwrap_or_default();
        } else if let Some((name, after)) = name {
            replaced.push_str(before);
            replaced.push_str(environment.get(name).ok_or_else(|| Unset(name.to_owned()))?);
            first.get_or_insert_with(|| name.to_owned());
            rest = after;
        } else {
            replaced.push_str(before);
            replaced.push_str("${");
            rest = after.get(2..).unwrap_or_default();
        }
    }
    replaced.push_str(rest);
    Ok((replaced, first))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Puts `[defaults.<namespace>]` under every network of the namespace.
pub(super) fn underlay(table: &mut Table, sources: &mut Sources) {
    let Some(Value::Table(defaults)) = table.remove("defaults") else { return };
    let Some(Value::Table(networks)) = table.get_mut("networks") else { return };
    for (network, own) in networks {
        let (Some((namespace, _)), Value::Table(own)) = (network.split_once(':'), own) else { continue };
        let Some(Value::Table(defaults)) = defaults.get(namespace) else { continue };
        let (from, to) = (join("defaults", namespace), join("networks", network));
        for (key, value) in defaults {
            if !own.contains_key(key) {
                own.insert(key.clone(), value.clone());
                inherit(sources, &join(&from, key), &join(&to, key));
            }
        }
    }
}

fn inherit(sources: &mut Sources, from: &str, to: &str) {
    let inside = |rest: &&str| rest.is_empty() || rest.starts_with(['.', '[']);
    let below: Vec<_> = sources
        .iter()
        .filter_map(|(path, source)| Some((format!("{to}{}", path.strip_prefix(from).filter(inside)?), source.clone())))
        .collect();
    sources.extend(below);
}
