//! Tables of mistakes and what is said of them.

use std::time::Duration;

use super::*;

fn section(text: &str, report: &Report) -> Section {
    Section::new("", text.parse().expect("TOML"), report.clone())
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_keys() {
    let report = Report::default();
    let mut root = section("port = \"x\"\nwait = 3\nsurplus = 1\n[net.\"a:b\"]\nrpc = [1]\n", &report);
    assert_eq!(root.optional::<u64>("port"), None);
    assert_eq!(root.optional::<Duration>("wait"), None);
    assert_eq!(root.required::<String>("name"), None);
    let mut net = root.section("net");
    for (_, mut table) in net.tables() {
        assert_eq!(table.optional::<Vec<String>>("rpc"), None);
    }
    drop(net);
    drop(root);
    let keys: Vec<_> = report.problems().into_iter().map(|p| p.key).collect();
    assert_eq!(keys, ["port", "wait", "name", "net.\"a:b\".rpc", "surplus"]);
}

#[test]
fn paths_are_written_as_in_the_file() {
    let cases = [
        ("", "server", "server"),
        ("networks", "eip155:1", "networks.\"eip155:1\""),
        ("networks.\"eip155:1\"", "rpc", "networks.\"eip155:1\".rpc"),
        ("networks.\"eip155:1\"", "", "networks.\"eip155:1\""),
    ];
    for (path, key, joined) in cases {
        assert_eq!(join(path, key), joined);
    }
}

#[test]
fn a_mistake_from_the_environment_names_the_variable() {
    let sources = [("a".to_owned(), Source::Environment("FACILITATOR__A".into()))].into();
    let report = Report::new(sources);
    drop(section("a = 1", &report));
    let seen = report.problems().remove(0).seen;
    assert_eq!(seen, "is not a known key (from the environment variable FACILITATOR__A)");
}

#[test]
fn what_a_variable_gave_is_shown_nowhere() {
    let report = Report::default().hiding(vec!["canary\"1".into(), "canary".into(), "abc".into()]);
    let mut root = section("port = \"canary\"\nname = 'x canary\"1 y'\nodd = \"abc\"\n", &report);
    assert_eq!(root.optional::<u64>("port"), None);
    root.problem("name", "is \"canary\\\"1\"", "not canary");
    assert!(root.optional::<String>("name").is_some() && root.optional::<String>("odd").is_some());
    let shown = format!("{:?}{:?}", report.problems(), report.effective());
    assert!(!shown.contains("canary") && shown.contains("abc"), "{shown}");
}

#[test]
fn secrets_are_never_shown() {
    let report = Report::default();
    let mut root = section("keys = [\"canary\"]\nbad = [[\"canary\"]]\n", &report);
    assert!(!format!("{root:?}").contains("canary"));
    assert_eq!(root.secrets("keys").len(), 1);
    assert_eq!(root.secrets("bad").len(), 0);
    drop(root);
    assert_eq!((report.effective()[0].value.as_str(), report.effective()[0].secret), ("\"***\"", true));
    assert_eq!(report.problems().len(), 1, "one mistake for one key");
    assert!(!format!("{:?}", report.problems()).contains("canary"));
}

#[test]
fn a_misspelt_key_is_told_the_one_that_was_meant() {
    let sources = ["port", "porrt", "wiat", "tiemout", "xyz"].map(|key| (key.to_owned(), Source::File));
    let report = Report::new(sources.into()).at_lines([("wiat".to_owned(), 7)].into());
    let mut root = section("port = 1\nporrt = 1\nwiat = \"1s\"\ntiemout = 1\nxyz = 1\n", &report);
    assert_eq!(root.optional::<u64>("port"), Some(1));
    assert_eq!(root.optional::<Duration>("wait"), None);
    assert_eq!(root.optional::<u64>("timeout"), None);
    drop(root);
    let told: Vec<_> = report.problems().into_iter().map(|p| (p.key, p.line, p.fix)).collect();
    let meant = |key: &str| format!("did you mean `{key}`? Correct its spelling, or remove it");
    let expected = [
        ("porrt", None, "remove it or correct its spelling".to_owned()),
        ("tiemout", None, meant("timeout")),
        ("wiat", Some(7), meant("wait")),
        ("xyz", None, "remove it or correct its spelling".to_owned()),
    ];
    assert_eq!(told, expected.map(|(key, line, fix)| (key.to_owned(), line, fix)));
}

#[test]
fn the_first_mistake_about_a_key_is_the_only_one() {
    let report = Report::default();
    let mut root = section("rpc = \"http://x\"\n", &report);
    assert_eq!(root.secrets("rpc").len(), 0);
    root.problem("rpc", "names no endpoint", "write a list");
    drop(root);
    let told: Vec<_> = report.problems().into_iter().map(|p| p.seen).collect();
    assert_eq!(told, ["is not of the right form"]);
}

#[test]
fn what_nobody_wrote_is_in_force_with_its_source() {
    let report = Report::default().hiding(vec!["8453".into()]);
    let mut root = section("[n]\nwait = \"1s\"\nkeys = [\"canary\"]\n", &report);
    let mut table = root.section("n");
    assert!(table.optional::<Duration>("wait").is_some());
    assert_eq!(table.secrets("keys").len(), 1);
    table.assume("wait", "2s", Source::Network);
    table.assume("blocks", 2_u64, Source::Network);
    table.assume("chain", 18_453_u64, Source::Derived);
    table.assume("assets[0].symbol", "USDC", Source::Network);
    table.describe("keys", vec!["0x01".to_owned()], "addresses");
    drop(table);
    let shown: Vec<_> = report.effective().into_iter().map(|e| (e.key, e.value, e.source, e.shown_as)).collect();
    let expected = [
        ("n.wait", "\"1s\"", Source::Default, ""),
        ("n.keys", "[\"0x01\"]", Source::Default, "addresses"),
        ("n.blocks", "2", Source::Network, ""),
        ("n.chain", "\"***\"", Source::Derived, ""),
        ("n.assets[0].symbol", "\"USDC\"", Source::Network, ""),
    ];
    let expected = expected.map(|(key, value, source, as_what)| (key.to_owned(), value.to_owned(), source, as_what));
    assert_eq!(shown, expected);
}
