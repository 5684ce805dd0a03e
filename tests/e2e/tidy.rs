//! The architecture, read from the sources: a wrong arrow, a circle, a large file or a citation of nothing fails here.

mod arrows;
mod circles;
mod source;
mod words;

use std::collections::BTreeSet;

use source::{Source, files, module_of};

/// The folders with our Rust code.
const CODE: [&str; 3] = ["chains", "facilitator", "tests"];

/// The most lines of a file.
const LINES_MAX: usize = 500;

fn code() -> Vec<Source> {
    CODE.into_iter().flat_map(|folder| files(folder, &[".rs"])).collect()
}

/// Returns the modules of tests, each with the folder of its crate.
fn test_modules(sources: &[Source]) -> BTreeSet<(String, Vec<String>)> {
    let of = |source: &Source| {
        let modules = source::test_modules(source).unwrap_or_else(|error| panic!("{}: {error}", source.file));
        let folder = crate_folder(&source.file).to_owned();
        modules.into_iter().map(move |module| (folder.clone(), module)).collect::<Vec<_>>()
    };
    sources.iter().flat_map(of).collect()
}

fn crate_folder(file: &str) -> &str {
    file.split_once("/src/").map_or("tests", |(folder, _)| folder)
}

fn is_test_module(source: &Source, modules: &BTreeSet<(String, Vec<String>)>) -> bool {
    let (folder, module) = (crate_folder(&source.file).to_owned(), module_of(&source.file));
    (1..=module.len()).any(|length| modules.contains(&(folder.clone(), module[..length].to_vec())))
}

#[test]
fn every_arrow_of_every_file_points_downwards() {
    let sources = code();
    let modules = test_modules(&sources);
    let judge = |source: &Source| {
        arrows::judge(source, is_test_module(source, &modules))
            .unwrap_or_else(|error| panic!("{}: {error}", source.file))
    };
    let wrong: Vec<String> = sources.iter().flat_map(judge).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_dependency_of_every_crate_points_downwards() {
    let manifests = CODE.into_iter().flat_map(|folder| files(folder, &["Cargo.toml"]));
    let judge =
        |source: Source| arrows::judge_manifest(&source).unwrap_or_else(|error| panic!("{}: {error}", source.file));
    let wrong: Vec<String> = manifests.flat_map(judge).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (file, text) in [
        ("chains/evm/Cargo.toml", "[dependencies]\nchains-svm.workspace = true"),
        ("chains/core/Cargo.toml", "[dev-dependencies]\nchains-fake = { path = \"../fake\" }"),
        ("chains/rpc/Cargo.toml", "[build-dependencies]\nfacilitator.workspace = true"),
        ("facilitator/Cargo.toml", "[dev-dependencies]\ne2e.workspace = true"),
    ] {
        let source = Source { file: file.to_owned(), text: text.to_owned() };
        assert!(!arrows::judge_manifest(&source).expect("TOML").is_empty(), "{file}: {text}");
    }
}

#[test]
fn a_wrong_import_is_found_however_it_is_written() {
    let cases = [
        ("facilitator/src/store/mod.rs", "use crate::payment::Verify;"),
        ("facilitator/src/store/mod.rs", "use crate::{settlement::Facts, payment as other};"),
        ("facilitator/src/store/sqlite/read.rs", "use super::super::super::{http::{auth, error::{self, Failure}}};"),
        (
            "facilitator/src/submitter/worker/mod.rs",
            "#[cfg(test)] mod tests { use super::*; } use crate::payment::Settle;",
        ),
        (
            "facilitator/src/submitter/worker/mod.rs",
            "mod inner { mod deeper { use super::super::super::super::payment; } }",
        ),
        ("facilitator/src/submitter/mod.rs", "fn f() -> crate::payment::Settle { todo() }"),
        ("facilitator/src/submitter/mod.rs", "fn f() { tracing::info!(what = %crate::payment::name()); }"),
        ("facilitator/src/submitter/mod.rs", "#[cfg(any(test, feature = \"x\"))] use crate::http::Router;"),
        ("facilitator/src/payment/mod.rs", "pub(crate) use crate::http::Router;"),
        ("facilitator/src/payment/mod.rs", "use crate::config::*;"),
        ("facilitator/src/http/mod.rs", "use crate::app;"),
        ("facilitator/src/http/mod.rs", "use facilitator::cli::Cli;"),
        ("facilitator/src/settlement/mod.rs", "use crate::store::Store;"),
        ("facilitator/src/limits/mod.rs", "use crate::store::Store;"),
        ("facilitator/src/app.rs", "use crate::cli::Cli;"),
        ("facilitator/src/unheard_of.rs", "use crate::store::Store;"),
        ("facilitator/src/payment/mod.rs", "use sqlx::Row;"),
        ("facilitator/src/payment/mod.rs", "use axum::{Json, http::StatusCode};"),
        ("facilitator/src/payment/mod.rs", "use alloy_primitives::U256;"),
        ("facilitator/src/payment/mod.rs", "fn f() { let now = std::time::SystemTime::now(); }"),
        ("facilitator/src/payment/mod.rs", "use std::env; fn f() { env::var(\"HOME\"); }"),
        ("facilitator/src/payment/mod.rs", "use chains_evm::family;"),
        ("facilitator/src/store/mod.rs", "use chains_core::protocol::{v1::Request, json};"),
        ("facilitator/src/app.rs", "use chains_rpc::Pool;"),
        ("chains/evm/src/lib.rs", "use chains_svm::family as other;"),
        ("chains/svm/src/observe/mod.rs", "fn f() { chains_evm::family(); }"),
        ("chains/evm/src/lib.rs", "#[cfg(test)] mod tests { use facilitator::store; }"),
        ("chains/rpc/src/lib.rs", "use chains_evm;"),
        ("chains/core/src/lib.rs", "use chains_rpc::Pool;"),
        ("chains/fake/src/lib.rs", "extern crate e2e;"),
        ("facilitator/src/cli/demo.rs", "use e2e::anvil::Anvil;"),
    ];
    for (file, text) in cases {
        let source = Source { file: file.to_owned(), text: text.to_owned() };
        let wrong = arrows::judge(&source, false).expect("Rust");
        assert!(!wrong.is_empty(), "{file}: {text}");
    }
}

#[test]
fn a_right_import_is_left_alone() {
    let cases = [
        ("facilitator/src/cli/serve.rs", "use crate::{app, config, families, store};"),
        ("facilitator/src/config/mod.rs", "use crate::http::auth::Key;"),
        ("facilitator/src/http/mod.rs", "use crate::{payment::Verify, submitter, settlement}; use axum::Router;"),
        ("facilitator/src/payment/mod.rs", "use crate::{in_flight, submitter::Handle}; use super::*;"),
        ("facilitator/src/submitter/mod.rs", "#[cfg(test)] mod tests { use crate::payment::Settle; }"),
        ("facilitator/src/submitter/mod.rs", "#[cfg(all(test, unix))] use crate::payment::Settle;"),
        ("facilitator/src/store/mod.rs", "use crate::settlement::{self, Facts}; mod payment { fn f() { self::g(); } }"),
        ("facilitator/src/families.rs", "use chains_evm::family;"),
        ("chains/evm/src/rpc/mod.rs", "use chains_rpc::Pool; use chains_core::Amount; use crate::config;"),
        ("tests/src/anvil.rs", "use chains_evm::x; use facilitator::store; use sqlx::Row;"),
    ];
    for (file, text) in cases {
        let source = Source { file: file.to_owned(), text: text.to_owned() };
        let wrong = arrows::judge(&source, false).expect("Rust");
        assert!(wrong.is_empty(), "{text}: {wrong:?}");
    }
}

#[test]
fn the_files_of_the_submitter_name_each_other_in_no_circle() {
    let sources = files("facilitator/src/submitter", &[".rs"]);
    let modules = test_modules(&sources);
    let sources: Vec<Source> = sources.into_iter().filter(|source| !is_test_module(source, &modules)).collect();
    let circles = circles::circles(&sources).expect("Rust");
    assert!(circles.is_empty(), "{circles:?}");
}

#[test]
fn a_circle_is_found_and_a_name_that_is_passed_on_makes_none() {
    let file =
        |name: &str, text: &str| Source { file: format!("facilitator/src/submitter/{name}.rs"), text: text.to_owned() };
    let names = |circles: Vec<BTreeSet<String>>| circles.into_iter().map(|circle| circle.len()).collect::<Vec<_>>();
    let found = |sources: &[Source]| names(circles::circles(sources).expect("Rust"));
    let mutual = [
        file("a", "use super::b::B;"),
        file("b", "fn f() { crate::submitter::a::g(); }"),
        file("c", "use super::a::A;"),
    ];
    assert_eq!(found(&mutual), [2]);
    let through_root = [file("mod", "mod a; use a::A; pub struct Shared;"), file("a", "use super::Shared;")];
    assert_eq!(found(&through_root), [2]);
    let passed_on =
        [file("mod", "mod a; mod b; pub use self::{a::A, b::B};"), file("a", "use super::B;"), file("b", "")];
    assert!(found(&passed_on).is_empty());
    let of_tests = [file("a", "#[cfg(test)] mod tests { use crate::submitter::b::B; }"), file("b", "use super::a::A;")];
    assert!(found(&of_tests).is_empty());
}

#[test]
fn fields_of_the_log_have_one_name_everywhere() {
    let ours = |source: &Source| source.file.contains("/src/") && !source.file.starts_with("tests/");
    let wrong: Vec<String> = code().iter().filter(|source| ours(source)).flat_map(words::wrong_fields).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (text, count) in [
        ("tracing::warn!(network = %n, why, \"words\")", 1),
        ("tracing::error!(\n    settlement = %id, gas_wallet = w, host,\n    \"words\"\n)", 3),
        ("tracing::info!(%network, settlement_id = %id, error = why, \"hash, not a field\")", 0),
    ] {
        let source = Source { file: "facilitator/src/x.rs".to_owned(), text: text.to_owned() };
        assert_eq!(words::wrong_fields(&source).len(), count, "{text}");
    }
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let length = |source: &Source| source.text.lines().count();
    let long = code()
        .iter()
        .filter(|source| length(source) > LINES_MAX)
        .map(|source| format!("{} {}", source.file, length(source)))
        .collect::<Vec<_>>();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn comments_cite_documents_and_threats_that_are_there() {
    let documents = words::documents();
    let threats = words::catalogue().into_iter().map(|mut row| row.swap_remove(0)).collect();
    let endings = [".rs", ".sol", ".mjs", ".sql", ".toml", ".yml", ".yaml"];
    let roots = ["chains", "facilitator", "tests", "migrations"];
    let sources: Vec<Source> = roots.into_iter().flat_map(|folder| files(folder, &endings)).collect();
    let missing = sources.iter().flat_map(|source| {
        [words::missing_documents(source, &documents), words::missing_threats(source, &threats)].concat()
    });
    let missing: Vec<String> = missing.collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn doc_comments_name_the_thing_and_open_with_no_question_word() {
    let riddles: Vec<String> = code().iter().flat_map(words::riddles).collect();
    assert!(riddles.is_empty(), "{}", riddles.join("\n"));
    let found = |text: &str| words::riddles(&Source { file: "facilitator/src/x.rs".to_owned(), text: text.to_owned() });
    for text in [
        "/// When it was made.",
        "    /// Where.",
        "//! How it works.",
        "/// A title.\n///\n/// # Panics\n/// When it fails.",
        "/// Whether it is so\npub is_so: bool,",
        "///What it is.",
    ] {
        assert_eq!(found(text).len(), 1, "{text}");
    }
    for text in
        ["/// The time; when it was made.", "// When it was made, so was this.", "/// Whole.", "let a = \"/// When\";"]
    {
        assert!(found(text).is_empty(), "{text}");
    }
}

#[test]
fn documents_cite_files_that_are_there() {
    let mut there: BTreeSet<String> =
        files("", &[".rs", ".md", ".sql", ".toml", ".yaml", ".yml"]).into_iter().map(|source| source.file).collect();
    there.extend(words::documents());
    let documents = files("", &[".md"]);
    let missing: Vec<String> = documents.iter().flat_map(|document| words::missing_files(document, &there)).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    let there = BTreeSet::from(["facilitator/src/a.rs".to_owned(), "facilitator/docs/b.md".to_owned()]);
    let found = |text: &str| words::missing_files(&Source { file: "x.md".to_owned(), text: text.to_owned() }, &there);
    for text in ["see `src/c.rs`", "`src/{a,c}.rs`", "[c](docs/c.md)", "docs/c.md#part"] {
        assert_eq!(found(text).len(), 1, "{text}");
    }
    for text in [
        "`src/a.rs`:",
        "`src/{a,a}.rs`",
        "[b](docs/b.md#part)",
        "c.rs",
        "<https://example.org/c/d.md>",
        "example.org/c/d.md",
    ] {
        assert!(found(text).is_empty(), "{text}: {:?}", found(text));
    }
}

#[test]
fn the_catalogue_of_threats_names_tests_that_are_there_and_no_id_twice() {
    let (rows, code) = (words::catalogue(), code());
    let missing: Vec<String> = rows.iter().flat_map(|row| words::missing_tests(row, &code)).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    let ids: BTreeSet<&String> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!(ids.len(), rows.len(), "each id has one row");
    assert!(rows.len() > 80, "the catalogue is read");
}

#[test]
fn a_citation_of_nothing_is_found() {
    let documents = BTreeSet::from(["facilitator/docs/threats.md".to_owned()]);
    let threats = BTreeSet::from(["B06".to_owned()]);
    let source = |text: &str| Source { file: "facilitator/src/x.rs".to_owned(), text: text.to_owned() };
    for text in ["/// As architecture.md 4 says.", "    // see docs/other.md", "//! (B99), F00"] {
        let source = source(text);
        let missing =
            [words::missing_documents(&source, &documents), words::missing_threats(&source, &threats)].concat();
        assert!(!missing.is_empty(), "{text}");
    }
    for text in [
        "/// B06: docs/threats.md has it.",
        "let a = \"C99 other.md\";",
        "// `threats.md`, H2, A1234",
        "// https://example.org/specs/exact.md",
    ] {
        let source = source(text);
        let missing =
            [words::missing_documents(&source, &documents), words::missing_threats(&source, &threats)].concat();
        assert!(missing.is_empty(), "{text}: {missing:?}");
    }
}
