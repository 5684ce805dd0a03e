//! `config print`: every value in force, and where it came from.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use chains_core::config::{Effective, Report, Source};
use serde_json::{Value, json};

use super::{super::mistakes, exit_code};
use crate::{
    cli::{ConfigFile, VERSION},
    config::{self, Environment},
};

/// Shows what is in force, as far as it could be read.
pub(super) fn run(file: &ConfigFile, environment: &Environment, json: bool) -> anyhow::Result<ExitCode> {
    let read = file.read(environment);
    let report = read.as_ref().map_or_else(|report| report, |config| &config.report);
    let path = config::file(file.config.as_deref(), environment);
    if json {
        println!("{}", serde_json::to_string_pretty(&describe(path.as_deref(), report))?);
    } else {
        print!("{}", toml(report)?);
    }
    if read.is_err() {
        eprint!("{}", mistakes::text(path.as_deref(), report));
    }
    Ok(exit_code(read.is_err()))
}

/// The values as TOML, a table for each section in the order of reading.
fn toml(report: &Report) -> Result<String, std::fmt::Error> {
    let effective = report.effective();
    let mut tables: Vec<(&str, Vec<(&str, &Effective)>)> = Vec::new();
    for value in &effective {
        let (table, key) = split(&value.key);
        match tables.iter_mut().find(|(known, _)| *known == table) {
            Some((_, values)) => values.push((key, value)),
            None => tables.push((table, vec![(key, value)])),
        }
    }
    let mut text = String::new();
    for (i, (table, values)) in tables.iter().enumerate() {
        writeln!(text, "{}{}", if i == 0 { "" } else { "\n" }, header(table))?;
        for (key, value) in values {
            writeln!(text, "{key} = {}  # {}", value.value, origin(value, report))?;
        }
    }
    Ok(text)
}

/// The table of a key, and its name there. Dots in quotes belong to a name.
fn split(path: &str) -> (&str, &str) {
    let mut quoted = false;
    let dots = path.char_indices().filter(|(_, c)| {
        quoted ^= *c == '"';
        *c == '.' && !quoted
    });
    let last = dots.last().map(|(at, _)| at);
    last.and_then(|at| Some((path.get(..at)?, path.get(at + 1..)?))).unwrap_or(("", path))
}

/// The head of a table: of an entry of a list, in two brackets; of what is in one, without its number.
fn header(path: &str) -> String {
    let is_entry = path.ends_with(']');
    let mut name = String::new();
    let (mut quoted, mut numbered) = (false, false);
    for c in path.chars() {
        quoted ^= c == '"';
        numbered |= c == '[' && !quoted;
        if !numbered {
            name.push(c);
        }
        numbered &= c != ']';
    }
    if is_entry { format!("[[{name}]]") } else { format!("[{name}]") }
}

/// The source of a value, for people.
fn origin(value: &Effective, report: &Report) -> String {
    let source = match &value.source {
        Source::Default => "default".to_owned(),
        Source::Network => "known network".to_owned(),
        Source::Derived => "follows from other keys".to_owned(),
        Source::File => report.line_of(&value.key).map_or("file".to_owned(), |line| format!("file, line {line}")),
        Source::Environment(name) => format!("${name}"),
    };
    let shown = match (value.secret, value.shown_as) {
        (false, _) => String::new(),
        (true, "") => "; not shown".to_owned(),
        (true, what) => match count(&value.value) {
            Some(entries) => format!("; only {what} are shown, {entries} in all"),
            None => format!("; only its {what} is shown"),
        },
    };
    source + &shown
}

/// The number of a list's entries; `None` for another value.
fn count(value: &str) -> Option<usize> {
    let list = format!("v = {value}").parse::<toml::Table>().ok();
    list.and_then(|table| table.get("v").and_then(toml::Value::as_array).map(Vec::len))
}

fn describe(file: Option<&Path>, report: &Report) -> Value {
    let values = report.effective().into_iter().map(|value| {
        let read = format!("v = {}", value.value).parse::<toml::Table>().ok();
        let shown = read.and_then(|mut table| table.remove("v")).map(serde_json::to_value).and_then(Result::ok);
        let (source, variable) = match &value.source {
            Source::Default => ("default", None),
            Source::Network => ("network", None),
            Source::Derived => ("derived", None),
            Source::File => ("file", None),
            Source::Environment(name) => ("environment", Some(name.clone())),
        };
        json!({
            "key": value.key,
            "value": shown,
            "source": source,
            "variable": variable,
            "line": report.line_of(&value.key),
            "secret": value.secret,
            "shownAs": value.shown_as,
        })
    });
    json!({
        "version": VERSION,
        "file": file,
        "values": values.collect::<Vec<_>>(),
        "mistakes": mistakes::json(report),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_table_and_a_key() {
        for (path, table, key, head) in [
            ("server.listen", "server", "listen", "[server]"),
            ("networks.\"eip155:1\".rpc", "networks.\"eip155:1\"", "rpc", "[networks.\"eip155:1\"]"),
            ("auth.keys[0].name", "auth.keys[0]", "name", "[[auth.keys]]"),
            ("networks.\"a.b\".x", "networks.\"a.b\"", "x", "[networks.\"a.b\"]"),
            (
                "networks.\"eip155:1\".assets[0].eip712.name",
                "networks.\"eip155:1\".assets[0].eip712",
                "name",
                "[networks.\"eip155:1\".assets.eip712]",
            ),
        ] {
            assert_eq!((split(path), header(table).as_str()), ((table, key), head), "{path}");
        }
    }
}
