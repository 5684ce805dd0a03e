//! The arrows: which crate may name which, which module of the service may name which, and who may name a library.

use super::source::{Named, Source, module_of, paths};

/// Crates that know one chain family each.
const FAMILIES: [&str; 3] = ["chains_evm", "chains_svm", "chains_fake"];

/// The modules of the service, from the outermost to the innermost, in layers: a module names those of lower layers.
/// `config` stands above the modules whose options it fills: those own their option types and know no configuration.
const LAYERS: [&[&str]; 13] = [
    &["cli"],
    &["app", "archive", "audit", "families"],
    &["config"],
    &["http", "webhooks"],
    &["payment"],
    &["submitter"],
    &["in_flight"],
    &["replay_guard", "limits", "store"],
    &["redis_client"],
    &["lifecycle"],
    &["metrics"],
    &["settlement"],
    // They name nothing of ours.
    &["logging", "machine"],
];

/// Libraries that belong to some places only: the crate, where it may be named, and why.
const LIBRARIES: [(&str, &[&str], &str); 5] = [
    ("sqlx", &["facilitator/src/store", "tests/"], "the store alone speaks SQL"),
    (
        "redis",
        &["facilitator/src/redis_client", "facilitator/src/replay_guard", "facilitator/src/limits", "tests/"],
        "what instances share speaks to Redis",
    ),
    (
        "axum",
        &["facilitator/src/http", "facilitator/src/cli/demo", "facilitator/src/webhooks", "tests/"],
        "http alone speaks HTTP",
    ),
    ("alloy", &["chains/evm", "facilitator/src/cli/demo", "tests/"], "chains/evm alone knows Ethereum"),
    ("reqwest", &["chains/", "facilitator/src/cli", "facilitator/src/webhooks", "tests/"], "families speak to nodes"),
];

/// Paths that belong to some places only.
const PATHS: [(&str, &[&str], &str); 5] = [
    (
        "env::var",
        &["facilitator/src/config", "facilitator/src/main.rs", "facilitator/build.rs", "tests/"],
        "config alone reads the environment",
    ),
    (
        "StatusCode::",
        &["facilitator/src/http", "facilitator/src/cli/demo", "facilitator/src/webhooks", "chains/", "tests/"],
        "status codes are http's",
    ),
    ("protocol::v1", &["chains/core/src/protocol", "facilitator/src/http", "tests/"], "versions stop at the wire"),
    ("protocol::v2", &["chains/core/src/protocol", "facilitator/src/http", "tests/"], "versions stop at the wire"),
    ("SystemTime::now", &["chains/core/src/clock.rs", "tests/"], "time comes in as a Clock"),
];

/// Returns every arrow of a file that points the wrong way, as `file:line: path: why`.
///
/// # Errors
/// The file is not Rust.
pub(super) fn judge(source: &Source, is_test_module: bool) -> Result<Vec<String>, syn::Error> {
    let wrong = |named: Named| {
        let in_test = named.in_test || is_test_module;
        let why = crate_arrow(&source.file, &named)
            .or_else(|| if in_test { None } else { module_arrow(&source.file, &named) })
            .or_else(|| if in_test { None } else { place(&source.file, &named) })?;
        Some(format!("{}:{}: {}: {why}", source.file, named.line, named.text()))
    };
    Ok(paths(source)?.into_iter().filter_map(wrong).collect())
}

/// Returns every dependency of a `Cargo.toml` that points the wrong way, as `file: crate: why`.
///
/// # Errors
/// The file is not TOML.
pub(super) fn judge_manifest(source: &Source) -> Result<Vec<String>, toml::de::Error> {
    let manifest: toml::Table = source.text.parse()?;
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = kinds.into_iter().filter_map(|kind| manifest.get(kind)?.as_table());
    let wrong = |name: &String| {
        let segments = vec![name.replace('-', "_")];
        // The service has families.rs for its dependencies on them.
        let file = if source.file.starts_with("facilitator/") { "facilitator/src/families.rs" } else { &source.file };
        let why = crate_arrow(file, &Named { segments, line: 0, in_test: false, is_reexport: false })?;
        Some(format!("{}: {name}: {why}", source.file))
    };
    Ok(tables.flat_map(toml::Table::keys).filter_map(wrong).collect())
}

/// Returns the crate that a file belongs to.
fn crate_of(file: &str) -> String {
    let mut parts = file.split('/');
    match (parts.next(), parts.next()) {
        (Some("chains"), Some(name)) => format!("chains_{name}"),
        (Some("facilitator"), _) => "facilitator".to_owned(),
        _ => "e2e".to_owned(),
    }
}

/// Returns the reason why a file may not name this crate.
fn crate_arrow(file: &str, named: &Named) -> Option<&'static str> {
    let (own, other) = (crate_of(file), named.segments[0].as_str());
    let is_ours = other == "facilitator" || other == "e2e" || other.starts_with("chains_");
    if own == "e2e" || own == other || !is_ours {
        return None;
    }
    let is_below = match (own.as_str(), other) {
        (_, "e2e") => return Some("nobody sees the tests"),
        ("chains_core", _) => return Some("the core is the words and the seam, and knows none of ours"),
        ("facilitator", "chains_core") => true,
        ("facilitator", family) if FAMILIES.contains(&family) => {
            return (!is_family_list(file)).then_some("families.rs and cli/ are the places that know families");
        }
        ("chains_rpc" | "chains_nodes", _) => other == "chains_core",
        (own, _) if FAMILIES.contains(&own) => ["chains_core", "chains_rpc", "chains_nodes"].contains(&other),
        _ => false,
    };
    (!is_below).then_some("facilitator → chains/<family> → chains/rpc → chains/core are the only arrows")
}

fn is_family_list(file: &str) -> bool {
    // The simulation runs on the family that is there for tests.
    ["facilitator/src/families.rs", "facilitator/src/cli", "facilitator/src/simulation"]
        .iter()
        .any(|place| file.starts_with(place))
}

/// Returns the reason why a module of the service may not name this module of the service.
fn module_arrow(file: &str, named: &Named) -> Option<&'static str> {
    let [first, other, ..] = named.segments.as_slice() else { return None };
    if crate_of(file) != "facilitator" || first != "crate" && first != "facilitator" {
        return None;
    }
    let module = module_of(file);
    // lib.rs and main.rs stand above all.
    let own = module.first()?;
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    if own == other || other == "*" {
        return None;
    }
    match (layer(own), layer(other)) {
        (Some(own), Some(other)) if own < other => None,
        (Some(_), Some(_)) => Some("a module names modules of lower layers only"),
        (None, _) => Some("this file's module has no layer: give it one in tests/e2e/tidy/arrows.rs"),
        // A type or a function of lib.rs itself.
        (_, None) => Some("the crate's root is a map and owns nothing"),
    }
}

/// Returns the reason why a file may not name this library or this path.
fn place(file: &str, named: &Named) -> Option<&'static str> {
    let text = format!("{}::", named.text());
    let library = LIBRARIES.iter().find(|(name, ..)| {
        let first = &named.segments[0];
        first == name || first.starts_with(&format!("{name}_"))
    });
    let path = PATHS.iter().find(|(path, ..)| text.contains(path));
    let rule =
        library.into_iter().chain(path).find(|(_, places, _)| !places.iter().any(|place| file.starts_with(place)));
    rule.map(|(.., why)| *why)
}
