//! Every key that `config.default.toml` documents, as the families of this build read it.

use super::*;

const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const PAIR: &str = "2AXDGYSE4f2sz7tvMMzyHvUfcoJmxudvdhBcmiUSo6iuCXagjUCKEQF21awZnUGxmwD4m9vGXuC3qieHXJQHAcT";

const EVM: &str = "networks.\"eip155:84532\"";
const SVM: &str = "networks.\"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1\"";

/// A documented key: the head of its table, its name, its value.
struct Documented {
    head: String,
    key: &'static str,
    value: &'static str,
}

/// Every line `key = value`, in a comment or not.
fn documented() -> Vec<Documented> {
    let (mut found, mut head) = (vec![], String::new());
    for line in DEFAULTS.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)) {
        if line.starts_with('[') && line.ends_with(']') {
            line.clone_into(&mut head);
        } else if let Some((key, value)) = line.split_once(" = ")
            && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && format!("v = {value}").parse::<Table>().is_ok()
        {
            found.push(Documented { head: head.clone(), key, value });
        }
    }
    found
}

/// The table in which a documented key stands, when it is written into a file.
fn table(head: &str) -> String {
    match head {
        "[defaults.eip155]" => format!("[{EVM}]"),
        "[defaults.solana]" => format!("[{SVM}]"),
        other => other.to_owned(),
    }
}

/// A file with this value of the key, and with what its table needs besides.
fn file(keys: &[Documented], of: &Documented, value: &str) -> String {
    let mut tables: Vec<(String, Vec<String>)> = vec![
        (format!("[{EVM}]"), vec!["rpc = [\"http://a\"]".into(), "gas_wallets = [\"${KEY}\"]".into()]),
        (format!("[{SVM}]"), vec!["rpc = [\"http://a\"]".into(), "fee_payers = [\"${PAIR}\"]".into()]),
    ];
    if of.head.starts_with("[[") {
        // An entry of a list needs its other keys.
        let others = keys.iter().filter(|other| other.head == of.head && !other.value.contains('…'));
        tables.push((of.head.clone(), others.map(|other| format!("{} = {}", other.key, other.value)).collect()));
    }
    if of.head == "[[auth.keys]]" {
        tables.insert(0, ("[auth]".into(), vec!["mode = \"api_key\"".into()]));
        tables.last_mut().expect("added").1.push(format!("sha256 = \"{}\"", "00".repeat(32)));
    }
    if of.head == "[redis]" {
        let scheme = if of.key == "ca_file" { "rediss" } else { "redis-sentinel" };
        tables.push((of.head.clone(), vec![format!("url = \"{scheme}://127.0.0.1/0\"")]));
    }
    let head = table(&of.head);
    let place = tables.iter().position(|(known, _)| *known == head).unwrap_or_else(|| {
        tables.push((head, vec![]));
        tables.len() - 1
    });
    tables[place].1.retain(|line| !line.starts_with(&format!("{} = ", of.key)));
    tables[place].1.push(format!("{} = {value}", of.key));
    tables.into_iter().flat_map(|(head, lines)| [vec![head], lines].concat()).collect::<Vec<_>>().join("\n")
}

fn read_file(text: &str) -> Result<Config, Report> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Millis(0)));
    let environment = [("KEY", KEY), ("PAIR", PAIR)].into_iter().collect();
    read(text, &environment, FAMILIES, &clock)
}

/// A reader that stops at the first mistake leaves keys behind, which are then taken for unknown ones.
#[test]
fn a_mistake_in_any_key_is_one_mistake() {
    let keys = documented();
    assert!(keys.len() > 100, "{}", keys.len());
    for documented in &keys {
        // No key takes a number with a point.
        let text = file(&keys, documented, "1.5");
        let found = read_file(&text).err().map(|report| report.problems()).unwrap_or_default();
        let named: Vec<_> = found.iter().map(|problem| problem.key.as_str()).collect();
        let is_named = named.first().is_some_and(|key| key.ends_with(&format!(".{}", documented.key)));
        assert!(named.len() == 1 && is_named, "{} {}: {found:#?}\n{text}", documented.head, documented.key);
    }
}

/// A value is shown, whoever wrote it: `config print` shows nothing less.
#[test]
fn every_documented_key_is_in_force_with_its_source() {
    let keys = documented();
    let network = Documented { head: format!("[{EVM}]"), key: "batch", value: "\"off\"" };
    let config = read_file(&file(&keys, &network, network.value)).unwrap_or_else(|r| panic!("{:?}", r.problems()));
    let shown = config.report.effective();
    // These have no value unless somebody writes one.
    let absent = [
        "forwarded_by",
        "token_sha256",
        "password_file",
        "direct_url",
        "keystore_password",
        "valid_for_max",
        "fee_max_lamports_per_token",
        "fee_payers_former",
        "implementation",
    ];
    for documented in keys.iter().filter(|documented| !absent.contains(&documented.key)) {
        let inner = documented.head.trim_matches(['[', ']']);
        let head = table(&documented.head);
        // Sections that are left out have nothing in force.
        let path = if inner.starts_with("auth.keys") || ["redis", "instance"].contains(&inner) {
            continue;
        } else if documented.head.starts_with("[[") {
            format!("{}[0].{}", inner, documented.key)
        } else {
            format!("{}.{}", head.trim_matches(['[', ']']), documented.key)
        };
        let known = shown.iter().any(|value| value.key == path || value.key.starts_with(&format!("{path}.")));
        let is_optional = path.ends_with("extensions_allowed") || path.ends_with("].eip2612");
        assert!(known || is_optional, "{path} is not in force");
    }
    let source = |key: &str| {
        let found = shown.iter().find(|value| value.key == format!("{EVM}.{key}"));
        found.map_or_else(|| panic!("{key}"), |value| (value.value.clone(), value.source.clone()))
    };
    let network = |value: &str| (value.to_owned(), Source::Network);
    assert_eq!(source("confirmations"), network("1"));
    assert_eq!(source("block_time"), network("\"2s\""));
    assert_eq!(source("tip_per_gas"), network("\"1000000\""));
    assert_eq!(source("fee_per_gas_max"), network("\"20000000000\""));
    assert_eq!(source("gas_balance_min"), ("\"12000000000000000\"".to_owned(), Source::Derived));
    assert_eq!(source("assets[0].eip712.version"), network("\"2\""));
    assert_eq!(source("rpc"), ("[\"a\"]".to_owned(), Source::File));
    assert_eq!(source("gas_wallets").0, "[\"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266\"]");
}

#[test]
fn a_number_of_digits_is_told_in_plain_words() {
    let keys = documented();
    let asset = |key| {
        let head = format!("[[{EVM}.assets]]");
        Documented { head, key, value: "" }
    };
    for (of, value, seen) in [
        (asset("address"), "\"0x036CbD53842c5426634e7929541eC2318f3dCF7\"", "which has 39 hex digits; 40 are needed"),
        (asset("address"), "\"036CbD53842c5426634e7929541eC2318f3dCF7e\"", "which does not begin with 0x"),
        (asset("implementation"), "\"0x036CbD53842c5426634e7929541eC2318f3dCF7g\"", "'g' is not a hex digit"),
        (
            Documented { head: format!("[{EVM}]"), key: "gas_wallets", value: "" },
            "[\"0x12\"]",
            "has 2 hex digits, 64 are needed",
        ),
        (
            Documented { head: "[admin]".into(), key: "token_sha256", value: "" },
            "\"abc-\"",
            "has 3 hex digits and another character, 64 are needed",
        ),
    ] {
        let found = read_file(&file(&keys, &of, value)).err().map(|report| report.problems()).unwrap_or_default();
        assert!(found.len() == 1 && found[0].seen.contains(seen), "{value}: {found:?}");
    }
}
