//! The arrows of the architecture, read from the sources: a wrong one fails here.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

/// Every Rust file below a folder, with its text without tests and comments.
fn sources(below: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                walk(&entry, found);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                found.push(entry);
            }
        }
    }
    let (root, mut found) = (root(), Vec::new());
    walk(&root.join(below), &mut found);
    assert!(!found.is_empty(), "{below} has no sources");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("readable");
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let name = path.strip_prefix(&root).expect("below the root").display().to_string();
        (name, lines.collect::<Vec<_>>().join("\n"))
    };
    found.into_iter().map(read).collect()
}

fn refuse(below: &str, words: &[&str], why: &str, except: &[&str]) {
    for (file, code) in sources(below) {
        if except.iter().any(|prefix| file.starts_with(prefix)) {
            continue;
        }
        for word in words {
            assert!(!code.contains(word), "{file} mentions `{word}`: {why}");
        }
    }
}

#[test]
fn the_core_knows_no_family_no_store_and_no_http() {
    let words = ["alloy", "solana", "sqlx", "axum", "tokio", "reqwest", "StatusCode"];
    refuse("chains/core/src", &words, "the core is words and the seam", &[]);
}

#[test]
fn families_know_the_core_and_the_nodes_and_nothing_else_of_ours() {
    for family in ["evm", "fake", "nodes", "svm"] {
        let others = ["facilitator::", "e2e::", "chains_fake", "chains_svm", "chains_evm", "sqlx", "axum", "env::var"];
        let own = format!("chains_{family}");
        let words: Vec<_> = others.into_iter().filter(|word| *word != own).collect();
        refuse(
            &format!("chains/{family}/src"),
            &words,
            "chains/<family> → chains/nodes → chains/core are the only arrows",
            &[],
        );
    }
}

#[test]
fn wire_versions_stop_at_the_wire() {
    for below in [
        "chains/evm/src",
        "chains/svm/src",
        "facilitator/src/submitter",
        "facilitator/src/settlement",
        "facilitator/src/store",
    ] {
        refuse(
            below,
            &["protocol::v1", "protocol::v2", "x402Version", "maxAmountRequired"],
            "only protocol/ knows versions",
            &[],
        );
    }
}

#[test]
fn modules_of_the_service_import_only_downwards() {
    let rules: [(&str, &[&str]); 6] = [
        ("settlement", &["crate::"]),
        ("store", &["crate::payment", "crate::submitter", "crate::http", "crate::app", "crate::cli", "crate::config"]),
        ("submitter", &["crate::payment", "crate::http", "crate::app", "crate::cli", "crate::config", "sqlx", "axum"]),
        ("payment", &["crate::http", "crate::app", "crate::cli", "crate::config", "sqlx", "axum", "StatusCode"]),
        ("http", &["crate::app", "crate::cli", "crate::submitter", "sqlx", "chains_evm", "chains_svm"]),
        ("config", &["crate::http::status", "crate::submitter", "crate::payment", "sqlx", "axum"]),
    ];
    for (module, words) in rules {
        refuse(&format!("facilitator/src/{module}"), words, "the arrow points the other way", &[]);
    }
}

#[test]
fn only_the_places_made_for_it_touch_environment_clock_and_families() {
    let src = "facilitator/src";
    refuse(
        src,
        &["env::var"],
        "only config/ reads the environment",
        &["facilitator/src/config", "facilitator/src/main.rs"],
    );
    refuse(src, &["SystemTime::now"], "time comes in as a Clock", &[]);
    let families = ["facilitator/src/families.rs", "facilitator/src/cli"];
    refuse(src, &["chains_evm", "chains_svm"], "families.rs is the list of families", &families);
    refuse(src, &["StatusCode"], "status codes are http's", &["facilitator/src/http", "facilitator/src/cli/demo"]);
}

#[test]
fn files_stay_small() {
    for below in [
        "chains/core/src",
        "chains/evm/src",
        "chains/fake/src",
        "chains/svm/src",
        "facilitator/src",
        "tests/src",
        "tests/e2e",
    ] {
        for (file, _) in sources(below) {
            let lines = fs::read_to_string(root().join(&file)).expect("readable").lines().count();
            assert!(lines <= 700, "{file} has {lines} lines: split it by noun");
        }
    }
}
