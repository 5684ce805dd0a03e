//! Three layers: the embedded defaults, the file, the environment.

use std::{collections::BTreeMap, path::Path};

use chains_core::config::{Report, Source};
use toml::{Table, Value};

/// The defaults, which are also their documentation.
pub const DEFAULTS: &str = include_str!("../../config.default.toml");

/// Variables of this form override a key: `FACILITATOR__SERVER__LISTEN`.
const PREFIX: &str = "FACILITATOR__";

/// The environment, as an argument.
pub type Environment = BTreeMap<String, String>;

/// The configuration cannot even be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No file there.
    #[error("cannot read {path}: {source}. Write one, or name another with --config")]
    File {
        /// The path.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// No TOML.
    #[error("{path} is not TOML: {detail}")]
    Toml {
        /// The path.
        path: String,
        /// Where and why.
        detail: String,
    },
}

/// Reads and merges the layers. Mistakes in values are in the report.
///
/// # Errors
/// The file is not there, or is no TOML.
pub fn load(path: &Path, environment: &Environment) -> Result<(Table, Report), LoadError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::File { path: shown.clone(), source })?;
    merge(&text, environment).map_err(|detail| LoadError::Toml { path: shown, detail })
}

/// Merges a file's text between the defaults and the environment.
///
/// # Errors
/// What is wrong with the TOML, without its text: it may hold keys.
pub fn merge(file: &str, environment: &Environment) -> Result<(Table, Report), String> {
    let mut merged: Table = DEFAULTS.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let mut file: Table = file.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let mut sources = BTreeMap::new();
    let mut missing = Vec::new();
    expand(&mut Value::Table(std::mem::take(&mut file)), "", environment, &mut sources, &mut missing).map_or_else(
        || (),
        |value| {
            if let Value::Table(table) = value {
                lay_over(&mut merged, table);
            }
        },
    );
    override_from(environment, &mut merged, &mut sources);
    let defaults = merged.remove("defaults");
    if let (Some(Value::Table(defaults)), Some(Value::Table(networks))) = (defaults, merged.get_mut("networks")) {
        under_networks(&defaults, networks);
    }
    let report = Report::new(sources);
    for (key, name) in missing {
        let fix = format!("set {name}, or write the value itself where that is allowed");
        report.problem(key, format!("needs the environment variable {name}, which is not set"), fix);
    }
    Ok((merged, report))
}

/// Replaces `${NAME}` everywhere and notes where each value came from.
fn expand(
    value: &mut Value,
    path: &str,
    environment: &Environment,
    sources: &mut BTreeMap<String, Source>,
    missing: &mut Vec<(String, String)>,
) -> Option<Value> {
    match value {
        Value::Table(table) => {
            for (key, inner) in table.iter_mut() {
                expand(inner, &join(path, key), environment, sources, missing);
            }
        }
        Value::Array(items) => {
            sources.insert(path.to_owned(), Source::File);
            for (i, inner) in items.iter_mut().enumerate() {
                expand(inner, &format!("{path}[{i}]"), environment, sources, missing);
            }
        }
        Value::String(text) => {
            let (expanded, used) = substitute(text, environment, |name| missing.push((path.to_owned(), name)));
            *text = expanded;
            sources.insert(path.to_owned(), used.map_or(Source::File, Source::Environment));
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            sources.insert(path.to_owned(), Source::File);
        }
    }
    path.is_empty().then(|| value.clone())
}

/// The text with its variables, and the last one that was used.
fn substitute(text: &str, environment: &Environment, mut miss: impl FnMut(String)) -> (String, Option<String>) {
    let (mut out, mut rest, mut used) = (String::new(), text, None);
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, tail)) = after.split_once('}') else { break };
        out.push_str(before);
        match environment.get(name) {
            Some(value) => out.push_str(value),
            None => miss(name.to_owned()),
        }
        used = Some(name.to_owned());
        rest = tail;
    }
    out.push_str(rest);
    (out, used)
}

fn join(path: &str, key: &str) -> String {
    let bare = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn lay_over(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// `FACILITATOR__SECTION__KEY`, for keys that the layers below know.
fn override_from(environment: &Environment, merged: &mut Table, sources: &mut BTreeMap<String, Source>) {
    for (name, text) in environment {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let Some((section, key)) = path.split_once("__") else { continue };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        let table = merged.entry(&section).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(table) = table else { continue };
        // Numbers and booleans are written as such; everything else is a text.
        let value = match table.get(&key) {
            Some(Value::Integer(_) | Value::Boolean(_) | Value::Array(_)) => {
                format!("v = {text}").parse::<Table>().ok().and_then(|mut parsed| parsed.remove("v"))
            }
            Some(Value::String(_) | Value::Float(_) | Value::Datetime(_) | Value::Table(_)) | None => None,
        };
        table.insert(key.clone(), value.unwrap_or_else(|| Value::String(text.clone())));
        sources.insert(format!("{section}.{key}"), Source::Environment(name.clone()));
    }
}

/// Puts a family's defaults under each of its networks.
fn under_networks(defaults: &Table, networks: &mut Table) {
    for (name, network) in networks.iter_mut() {
        let family = name.split(':').next().unwrap_or_default();
        let (Some(Value::Table(defaults)), Value::Table(network)) = (defaults.get(family), network) else { continue };
        for (key, value) in defaults {
            network.entry(key).or_insert_with(|| value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_environment_beats_the_file_and_the_file_beats_the_defaults() {
        let file = "[server]\nsettle_wait = \"9s\"\nlisten = \"127.0.0.1:1\"\n";
        let environment =
            env(&[("FACILITATOR__SERVER__LISTEN", "127.0.0.1:2"), ("FACILITATOR__AUTH__ALLOW_OPEN", "true")]);
        let (table, _) = merge(file, &environment).expect("TOML");
        assert_eq!(table["server"]["listen"].as_str(), Some("127.0.0.1:2"));
        assert_eq!(table["server"]["settle_wait"].as_str(), Some("9s"));
        assert_eq!(table["server"]["header_timeout"].as_str(), Some("5s"));
        assert_eq!(table["auth"]["allow_open"].as_bool(), Some(true));
    }

    #[test]
    fn a_missing_variable_is_named_and_a_family_s_defaults_are_merged() {
        let file = "[networks.\"eip155:1\"]\ngas_wallets = [\"${NO_SUCH}\", \"${KEY}\"]\nin_flight_max = 3\n";
        let (table, report) = merge(file, &env(&[("KEY", "k")])).expect("TOML");
        let network = &table["networks"]["eip155:1"];
        assert_eq!(network["in_flight_max"].as_integer(), Some(3));
        assert_eq!(network["gas_limit_eoa"].as_integer(), Some(120_000));
        assert_eq!(network["gas_wallets"][1].as_str(), Some("k"));
        let problems = report.problems();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "networks.\"eip155:1\".gas_wallets[0]");
        assert!(problems[0].seen.contains("NO_SUCH"));
    }
}
