//! The mistakes of a configuration, for people and for machines.

use std::{fmt::Write as _, path::Path};

use chains_core::config::{Problem, Report};
use serde_json::{Value, json};

/// Every mistake with its place and its fix, and their number.
pub(super) fn text(file: Option<&Path>, report: &Report) -> String {
    let problems = report.problems();
    let mut text = String::new();
    for problem in &problems {
        write(&mut text, file, problem).ok();
    }
    let count = problems.len();
    writeln!(text, "{count} {} in the configuration", if count == 1 { "mistake" } else { "mistakes" }).ok();
    text
}

fn write(text: &mut String, file: Option<&Path>, problem: &Problem) -> std::fmt::Result {
    let Problem { key, line, seen, fix } = problem;
    writeln!(text, "error: `{key}` {seen}")?;
    if let (Some(file), Some(line)) = (file, line) {
        writeln!(text, "  --> {}:{line}", file.display())?;
    }
    writeln!(text, "  fix: {fix}")
}

/// The same as JSON.
pub(super) fn json(report: &Report) -> Vec<Value> {
    let problems = report.problems().into_iter();
    problems
        .map(|Problem { key, line, seen, fix }| json!({"key": key, "line": line, "seen": seen, "fix": fix}))
        .collect()
}
