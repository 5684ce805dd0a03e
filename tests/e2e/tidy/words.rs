//! The documents and threats that comments cite are in the repository.

use std::{collections::BTreeSet, fs, path::Path};

use super::source::{Source, files, root};

/// The catalogue of threats, whose ids comments cite.
const THREATS: &str = "facilitator/docs/threats.md";

/// Returns the comments of a file, each with its line.
fn comments(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let mark = match Path::new(&source.file).extension().and_then(|ending| ending.to_str()) {
        Some("rs" | "sol" | "mjs") => "//",
        Some("sql") => "--",
        _ => "#",
    };
    let lines = source.text.lines().enumerate();
    lines.filter_map(move |(line, text)| Some((line + 1, text.trim_start().strip_prefix(mark)?)))
}

/// Splits a comment into words of letters, digits and the marks of paths.
fn words(comment: &str) -> impl Iterator<Item = &str> {
    let is_mark = |letter: char| !(letter.is_ascii_alphanumeric() || "_-./".contains(letter));
    comment.split(is_mark).map(|word| word.trim_matches(['.', '-', '/']))
}

/// Returns each comment that cites a document that is not there, as `file:line: document`.
pub(super) fn missing_documents(source: &Source, documents: &BTreeSet<String>) -> Vec<String> {
    let is_missing = |word: &&str| {
        let is_document = word.strip_suffix(".md").is_some_and(|name| !name.is_empty());
        let ending = format!("/{}", word.trim_start_matches("./").trim_start_matches("../"));
        is_document && !is_address(word) && !documents.iter().any(|document| format!("/{document}").ends_with(&ending))
    };
    let cited = comments(source).flat_map(|(line, comment)| words(comment).map(move |word| (line, word)));
    cited.filter(|(_, word)| is_missing(word)).map(|(line, word)| format!("{}:{line}: {word}", source.file)).collect()
}

/// Words that make a doc comment a riddle where it should name the thing.
const RIDDLES: [&str; 7] = ["What", "Whether", "Who", "How", "Which", "When", "Where"];

/// Returns each line of a doc comment that opens with such a word, as `file:line: word`.
pub(super) fn riddles(source: &Source) -> Vec<String> {
    let is_doc = |comment: &&str| comment.starts_with('/') || comment.starts_with('!');
    let opening = |comment: &str| {
        comment[1..].split_whitespace().next().map(|word| word.trim_end_matches(['.', ',', ':']).to_owned())
    };
    let opened = comments(source)
        .filter(|(_, comment)| is_doc(comment))
        .filter_map(|(line, comment)| Some((line, opening(comment)?)));
    opened
        .filter(|(_, word)| RIDDLES.contains(&word.as_str()))
        .map(|(line, word)| format!("{}:{line}: {word}", source.file))
        .collect()
}

/// The endings of files that documents cite.
const CITED: [&str; 6] = [".rs", ".md", ".sql", ".toml", ".yaml", ".yml"];

/// Returns each file that a document names by a path and that is not there, as `file:line: path`.
/// `a/{b,c}.rs` names two; a path may begin at any folder of the repository.
pub(super) fn missing_files(document: &Source, there: &BTreeSet<String>) -> Vec<String> {
    let is_mark = |letter: char| !(letter.is_ascii_alphanumeric() || "_-./{},:".contains(letter));
    let lines = document.text.lines().enumerate();
    let words = lines.flat_map(|(line, text)| {
        text.split(is_mark).map(move |word| (line + 1, word.trim_end_matches(['.', ',', ':', '-'])))
    });
    let is_path = |word: &str| {
        let stem = word.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or("");
        // `NAME.rs` stands for a file of the reader's, `specs/` is the protocol's repository, `./` the reader's folder.
        let is_placeholder = !stem.chars().any(char::is_lowercase) && stem != "README";
        let is_ours = !is_placeholder && !word.starts_with("specs/");
        word.contains('/')
            && !word.contains("//")
            && !word.starts_with('.')
            && is_ours
            && !is_address(word)
            && CITED.iter().any(|ending| word.ends_with(ending))
    };
    let cited = words
        .filter(|(_, word)| is_path(word))
        .flat_map(|(line, word)| alternatives(word).into_iter().map(move |path| (line, path)));
    let is_missing = |path: &str| {
        let ending = format!("/{}", path.trim_start_matches("../").trim_start_matches("./").trim_start_matches('/'));
        !there.iter().any(|file| format!("/{file}").ends_with(&ending))
    };
    cited.filter(|(_, path)| is_missing(path)).map(|(line, path)| format!("{}:{line}: {path}", document.file)).collect()
}

/// Returns what `a/{b,c}.rs` stands for.
fn alternatives(word: &str) -> Vec<String> {
    let Some((before, rest)) = word.split_once('{') else { return vec![word.to_owned()] };
    let Some((inside, after)) = rest.split_once('}') else { return vec![word.to_owned()] };
    inside.split(',').flat_map(|one| alternatives(&format!("{before}{one}{after}"))).collect()
}

/// Returns true for a document elsewhere: its path begins with the name of a host.
fn is_address(word: &str) -> bool {
    word.split_once('/').is_some_and(|(host, _)| host.contains('.'))
}

/// Returns each comment that cites a threat that the catalogue does not have, as `file:line: id`.
pub(super) fn missing_threats(source: &Source, threats: &BTreeSet<String>) -> Vec<String> {
    let cited = comments(source).flat_map(|(line, comment)| words(comment).map(move |word| (line, word)));
    let missing = cited.filter(|(_, word)| is_threat(word) && !threats.contains(*word));
    missing.map(|(line, word)| format!("{}:{line}: {word}", source.file)).collect()
}

/// Returns true for a letter from A to K and two digits; section J counts from J1 to J10.
fn is_threat(word: &str) -> bool {
    let are_digits = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    match word.as_bytes() {
        [b'J', digits @ ..] => (1..=2).contains(&digits.len()) && are_digits(digits),
        [b'A'..=b'K', digits @ ..] => digits.len() == 2 && are_digits(digits),
        _ => false,
    }
}

/// Returns the documents of the repository.
pub(super) fn documents() -> BTreeSet<String> {
    files("", &[".md"]).into_iter().map(|source| source.file).collect()
}

/// Returns the catalogue: the cells of each row with an id.
pub(super) fn catalogue() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join(THREATS)).expect("the catalogue of threats");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).skip(1).collect::<Vec<_>>();
    text.lines().map(cells).filter(|cells| cells.first().is_some_and(|id| is_threat(id))).collect()
}

/// Returns the tests that a row of the catalogue names and no file has.
pub(super) fn missing_tests(row: &[String], code: &[Source]) -> Vec<String> {
    let named = row.get(2).into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let is_there = |name: &str| name.contains('.') || name.contains('/') || has_function(code, name);
    named.filter(|name| !is_there(name)).map(|name| format!("{THREATS}: {}: {name}", row[0])).collect()
}

fn has_function(code: &[Source], name: &str) -> bool {
    let start = format!("fn {name}(");
    code.iter().any(|source| source.text.contains(&start))
}

/// Names of log fields that stand for one of the usual names, with that name.
const FIELDS: [(&str, &str); 12] = [
    ("why", "error"),
    ("because", "error"),
    ("err", "error"),
    ("e", "error"),
    ("settlement", "settlement_id"),
    ("id", "settlement_id"),
    ("request", "request_id"),
    ("gas_wallet", "wallet"),
    ("host", "node"),
    ("endpoint", "node"),
    ("tx", "transaction"),
    ("hash", "transaction"),
];

/// Returns each log line that calls a field by another than its usual name, as `file:line: name, not name`.
pub(super) fn wrong_fields(source: &Source) -> Vec<String> {
    let macros = ["error", "warn", "info", "debug", "trace"].map(|level| format!("tracing::{level}!("));
    let starts = macros.iter().flat_map(|start| source.text.match_indices(start.as_str()));
    let wrong = starts.flat_map(|(at, start)| {
        let fields = source.text[at + start.len()..].split(['"', ';']).next().unwrap_or("");
        let line = source.text[..at].lines().count() + 1;
        let names =
            fields.split(',').map(|field| field.split('=').next().unwrap_or("").trim().trim_start_matches(['%', '?']));
        names.filter_map(move |name| Some((line, FIELDS.iter().find(|(wrong, _)| *wrong == name)?)))
    });
    wrong.map(|(line, (wrong, right))| format!("{}:{line}: {wrong}, not {right}", source.file)).collect()
}
