//! Tables of configurations and the values or mistakes that they lead to.

use std::{collections::BTreeSet, sync::Arc};

use chains_core::{
    Network,
    chain::Chain,
    clock::{Clock, ManualClock, Millis},
    config::{Effective, Problem, Report, Section, Source},
    family::Family,
};

use super::*;
use crate::{families::FAMILIES, http::auth::Keys};

mod documented;

/// A family that reads the keys of the interface and makes no chain of them.
struct Stub;

impl Family for Stub {
    fn namespace(&self) -> &'static str {
        "eip155"
    }

    fn configure(&self, _: Network, mut section: Section, _: Arc<dyn Clock>) -> Option<Arc<dyn Chain>> {
        section.secrets("rpc");
        section.secrets("gas_wallets");
        for key in ["rpc_timeout", "rpc_hedge_after", "recheck_interval", "clock_skew_max", "token_upgrades"] {
            section.required::<String>(key);
        }
        let numbers = ["in_flight_max", "gas_limit_eoa", "gas_limit_contract_wallet"];
        for key in numbers.into_iter().chain(["gas_limit_permit2", "gas_limit_eip2612", "gas_limit_erc6492"]) {
            section.required::<u64>(key);
        }
        for key in ["builder_code", "service_code", "sponsor_funding_max", "sponsor_funding_per_hour_max"] {
            section.required::<String>(key);
        }
        for key in ["contract_wallets", "contract_wallets_unsimulated", "sponsor_eip2612", "sponsor_erc20_approval"] {
            section.required::<bool>(key);
        }
        section.required::<Vec<String>>("erc6492_factories");
        section.required::<String>("batch");
        None
    }
}

/// Environment variables.
type Variables = &'static [(&'static str, &'static str)];

/// Text, variables, a key, its value, where that comes from.
type Case = (&'static str, Variables, String, &'static str, Source);

const NETWORK: &str = "[networks.\"eip155:84532\"]\nrpc = [\"http://127.0.0.1:8545\"]\ngas_wallets = [\"${KEY}\"]\n";

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, Report> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Millis(0)));
    let environment = [("KEY", "canary")].iter().chain(variables).copied().collect();
    read(text, &environment, &[&Stub], &clock)
}

fn good(text: &str, variables: &[(&str, &str)]) -> Config {
    load(text, variables).unwrap_or_else(|report| panic!("{text}: {:?}", report.problems()))
}

fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<Problem> {
    load(text, variables).err().map(|report| report.problems()).unwrap_or_default()
}

fn effective(config: &Config, key: &str) -> Effective {
    let mut all = config.report.effective().into_iter();
    all.find(|effective| effective.key == key).unwrap_or_else(|| panic!("{key} is not in force"))
}

#[test]
fn a_network_is_all_that_must_be_written() {
    let config = good(NETWORK, &[]);
    assert_eq!(config.server.listen, "127.0.0.1:8402".parse().expect("an address"));
    assert_eq!(config.server.settle_wait, std::time::Duration::from_secs(20));
    assert_eq!((config.server.body_max, config.server.log_json), (262_144, false));
    assert_eq!((config.admin.token_sha256, config.store.auto_migrate), (None, true));
    assert_eq!(config.store.location.file(), Some(Path::new("facilitator.db")));
    assert!(matches!(config.auth.keys, Keys::Open));
}

#[test]
fn each_layer_stands_above_the_one_below_and_says_so() {
    let file = format!("[server]\nsettle_wait = \"3s\"\nlog = \"warn\"\n{NETWORK}");
    let network = "networks.\"eip155:84532\"";
    let environment = |name: &str| Source::Environment(name.to_owned());
    let cases: [Case; 13] = [
        ("", &[], "server.listen".into(), "\"127.0.0.1:8402\"", Source::Default),
        ("", &[], "server.settle_wait".into(), "\"3s\"", Source::File),
        (
            "",
            &[("FACILITATOR__SERVER__SETTLE_WAIT", "4s")],
            "server.settle_wait".into(),
            "\"4s\"",
            environment("FACILITATOR__SERVER__SETTLE_WAIT"),
        ),
        (
            "",
            &[("FACILITATOR__SERVER__BODY_MAX_BYTES", "20000")],
            "server.body_max_bytes".into(),
            "20000",
            environment("FACILITATOR__SERVER__BODY_MAX_BYTES"),
        ),
        ("", &[("RUST_LOG", "debug")], "server.log".into(), "\"debug\"", environment("RUST_LOG")),
        ("", &[("RUST_LOG", "")], "server.log".into(), "\"warn\"", Source::File),
        (
            "",
            &[("RUST_LOG", "debug"), ("FACILITATOR__SERVER__LOG", "trace")],
            "server.log".into(),
            "\"trace\"",
            environment("FACILITATOR__SERVER__LOG"),
        ),
        (
            "",
            &[("FACILITATOR__SERVER__HOSTS", "a.example, b.example")],
            "server.hosts".into(),
            "[\"a.example\", \"b.example\"]",
            environment("FACILITATOR__SERVER__HOSTS"),
        ),
        ("", &[], format!("{network}.in_flight_max"), "16", Source::Default),
        ("[defaults.eip155]\nin_flight_max = 3\n", &[], format!("{network}.in_flight_max"), "3", Source::File),
        (
            "",
            &[("FACILITATOR__DEFAULTS__EIP155__IN_FLIGHT_MAX", "5")],
            format!("{network}.in_flight_max"),
            "5",
            environment("FACILITATOR__DEFAULTS__EIP155__IN_FLIGHT_MAX"),
        ),
        (
            "",
            &[("FACILITATOR__NETWORKS__EIP155_84532__IN_FLIGHT_MAX", "7")],
            format!("{network}.in_flight_max"),
            "7",
            environment("FACILITATOR__NETWORKS__EIP155_84532__IN_FLIGHT_MAX"),
        ),
        ("", &[], format!("{network}.gas_wallets"), "\"***\"", Source::File),
    ];
    for (more, variables, key, value, source) in cases {
        let effective = effective(&good(&format!("{file}{more}"), variables), &key);
        assert_eq!((effective.value.as_str(), effective.source), (value, source), "{key} with {variables:?}");
    }
}

#[test]
fn the_environment_alone_can_configure_a_network() {
    let config = good(
        "",
        &[
            ("FACILITATOR__NETWORKS__EIP155_84532__RPC", "http://a,http://b"),
            ("FACILITATOR__NETWORKS__EIP155_84532__GAS_WALLETS", "[\"0x01\"]"),
        ],
    );
    let key = "networks.\"eip155:84532\".rpc";
    let source = Source::Environment("FACILITATOR__NETWORKS__EIP155_84532__RPC".into());
    assert_eq!(effective(&config, key).source, source);
}

#[test]
fn strings_read_variables() {
    let file = |url: &str| format!("[store]\nurl = \"{url}\"\n{NETWORK}");
    let variables = [("DIR", "data"), ("FILE", "a.db"), ("ODD", "${FILE}")];
    let cases = [
        ("sqlite://${DIR}/${FILE}", "data/a.db"),
        ("sqlite:///${DIR}/b", "/data/b"),
        ("sqlite://$${DIR}", "${DIR}"),
        ("sqlite://${DIR", "${DIR"),
        ("sqlite://$DIR", "$DIR"),
        ("sqlite://${ODD}", "${FILE}"),
        ("sqlite://${not a name}", "${not a name}"),
    ];
    for (url, path) in cases {
        assert_eq!(good(&file(url), &variables).store.location.file(), Some(Path::new(path)), "{url}");
    }
}

#[test]
fn mistakes_name_the_key_and_the_way_out() {
    let token = "00".repeat(32);
    let key = |sha256: &str| format!("[[auth.keys]]\nname = \"shop\"\nsha256 = \"{sha256}\"\nscopes = [\"verify\"]\n");
    let cases: Vec<(String, Variables, &str, &str)> = vec![
        ("[server]\nlisten = \"8402\"".into(), &[], "server.listen", "an address with a port"),
        ("[server]\nlisten = \"0.0.0.0:1\"".into(), &[], "auth.mode", "auth.allow_open = true"),
        ("[server]\nsettle_wait = \"1h\"".into(), &[], "server.settle_wait", "between 1s and 5m"),
        ("[server]\nsettle_wait = 20".into(), &[], "server.settle_wait", "a duration such as"),
        ("[server]\nbody_max_bytes = 1".into(), &[], "server.body_max_bytes", "between 16384 and"),
        ("[server]\nheader_timeout = \"0s\"".into(), &[], "server.header_timeout", "a duration"),
        ("[server]\nconnections_max = 0".into(), &[], "server.connections_max", "1 or more"),
        (
            "[server]\ntrusted_proxies = [\"10.0.0.0/40\"]\nforwarded_by = \"x-real-ip\"".into(),
            &[],
            "server.trusted_proxies[0]",
            "10.0.0.0/8",
        ),
        ("[server]\ntrusted_proxies = [\"::1\"]".into(), &[], "server.forwarded_by", "the one header"),
        ("[server]\nforwarded_by = \"forwarded\"".into(), &[], "server.forwarded_by", "`trusted_proxies`"),
        (
            "[server]\ntrusted_proxies = [\"::1\"]\nforwarded_by = \"via\"".into(),
            &[],
            "server.forwarded_by",
            "\"x-real-ip\"",
        ),
        ("[server]\ndrain_delay = \"1h\"".into(), &[], "server.drain_delay", "between 0s and 2m"),
        ("[server]\nlog = \"a=b=c\"".into(), &[], "server.log", "error, warn, info"),
        ("[server]\nlog_format = \"xml\"".into(), &[], "server.log_format", "\"text\" or \"json\""),
        ("[server]\nlisen = \"x\"".into(), &[], "server.lisen", "did you mean `listen`?"),
        ("[sever]".into(), &[], "sever", "did you mean `server`?"),
        ("[server]\nfrobnicate = 1".into(), &[], "server.frobnicate", "correct its spelling"),
        ("server = 1".into(), &[], "server", "a table"),
        ("[admin]\nlisten = \"0.0.0.0:1\"".into(), &[], "admin.token_sha256", "or listen on 127.0.0.1"),
        ("[admin]\ntoken_sha256 = \"x\"".into(), &[], "admin.token_sha256", "sha256sum"),
        ("[auth]\nmode = \"keys\"".into(), &[], "auth.mode", "\"open\" or \"api_key\""),
        ("[auth]\nmode = \"api_key\"".into(), &[], "auth.keys", "add an [[auth.keys]]"),
        (key(&token), &[], "auth.mode", "write \"api_key\""),
        (format!("[auth]\nmode = \"api_key\"\n{}", key("12")), &[], "auth.keys[0].sha256", "sha256sum"),
        (format!("[auth]\nmode = \"api_key\"\n{}{}", key(&token), key(&token)), &[], "auth.keys[1]", "of its own"),
        (
            format!("[auth]\nmode = \"api_key\"\n{}", key(&token).replace("verify", "read")),
            &[],
            "auth.keys[0].scopes",
            "verify, settle, status",
        ),
        ("[store]\nurl = \"postgres://u:canary@h:x/d\"".into(), &[], "store.url", "postgres://USER@HOST"),
        ("[store]\nurl = \"mysql://u:canary@h/d\"".into(), &[], "store.url", "sqlite://facilitator.db"),
        ("[store]\nurl = \"postgres://h/d\"\npassword_file = \"/no\"".into(), &[], "store.password_file", "can read"),
        ("[store]\nurl = \"postgres://h/d\"\ndirect_url = \"canary\"".into(), &[], "store.direct_url", "USER@HOST"),
        ("[store]\npassword_file = \"/no\"".into(), &[], "store.password_file", "remove it"),
        ("[store]\ndirect_url = \"postgres://canary@h/d\"".into(), &[], "store.direct_url", "remove it"),
        (
            format!("[auth]\nmode = \"api_key\"\n{}rate = {{ settle = \"fast\" }}", key(&token)),
            &[],
            "auth.keys[0].rate.settle",
            "20/s",
        ),
        (
            format!("[auth]\nmode = \"api_key\"\n{}rate = {{ setle = \"1/s\" }}", key(&token)),
            &[],
            "auth.keys[0].rate.setle",
            "remove it",
        ),
        (
            format!("[auth]\nmode = \"api_key\"\n{}in_flight_max = 0", key(&token)),
            &[],
            "auth.keys[0].in_flight_max",
            "between 1 and 100000",
        ),
        ("[store]\nurl = \"sqlite::memory:\"".into(), &[], "store.url", "a path"),
        ("[store]\nurl = \"facilitator.db\"".into(), &[], "store.url", "sqlite://"),
        ("[store]\nauto_migrate = \"yes\"".into(), &[], "store.auto_migrate", "true or false"),
        ("[redis]".into(), &[], "redis.url", "a string"),
        ("[redis]\nurl = \"http://canary@h\"".into(), &[], "redis.url", "redis-sentinel://"),
        ("[redis]\nurl = \"rediss://canary@h#insecure\"".into(), &[], "redis.url", "remove what follows"),
        ("[redis]\nurl = \"redis://h\"\nca_file = \"/x\"".into(), &[], "redis.ca_file", "in PEM"),
        ("[redis]\nurl = \"redis://h\"\npassword_file = \"/x\"".into(), &[], "redis.password_file", "can read"),
        ("[redis]\nurl = \"redis://h\"\naccept_eviction = 1".into(), &[], "redis.accept_eviction", "true or false"),
        ("[networks.base]\nrpc = []".into(), &[], "networks.base", "CAIP-2"),
        ("[networks.\"solana:x\"]\nrpc = []".into(), &[], "networks.\"solana:x\"", "this build serves `eip155:…`"),
        ("[defaults.stellar]\na = 1".into(), &[], "defaults.stellar", "this build serves `eip155:…`"),
        ("[server]\nlog = \"${NOPE}\"".into(), &[], "server.log", "set NOPE"),
        (String::new(), &[("FACILITATOR__SERVER__LISEN", "x")], "server.lisen", "did you mean `listen`?"),
    ];
    for (text, variables, key, fix) in cases {
        let found = problems(&format!("{text}\n{NETWORK}"), variables);
        assert_eq!(found.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), [key], "{text}: {found:?}");
        assert!(found[0].fix.contains(fix), "{text}: {fix:?} in {found:?}");
        assert!(!format!("{found:?}").contains("canary"), "{found:?}");
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let text = "[server]\nlisten = 1\nsettle_wait = \"0s\"\n[store]\nurl = \"x\"\n[redis]\n[surplus]\n";
    let keys: Vec<_> = problems(text, &[]).into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["server.listen", "server.settle_wait", "store.url", "redis.url", "networks", "surplus"]);
}

#[test]
fn what_is_no_toml_is_named_by_its_line_and_not_quoted() {
    let found = problems("[server]\nlog = \"info\"\ngas_wallets = [\"canary\n", &[]);
    assert_eq!(found[0].key, "line 3", "{found:?}");
    assert!(!format!("{found:?}").contains("canary"), "{found:?}");
}

#[test]
fn the_store_is_found_without_keys_and_networks() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("facilitator.toml");
    let write = |text: &str| std::fs::write(&path, text).expect("written");
    write("[store]\nurl = \"sqlite://${DIR}/a.db\"\n[networks.x]\ngas_wallets = [\"${NOPE}\"]\nodd = 1\n");
    let environment: Environment = [("DIR", "/data")].into_iter().collect();
    let store = load_store(Some(&path), &environment).expect("read");
    assert_eq!(store.location.file(), Some(Path::new("/data/a.db")));
    let named: Environment = [(FILE_VARIABLE, path.display().to_string())].into_iter().collect();
    let unset = load_store(None, &named).expect_err("DIR is not set").problems();
    assert_eq!(unset.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["store.url"], "{unset:?}");
    write("[store");
    assert_eq!(load_store(Some(&path), &environment).expect_err("no TOML").problems()[0].key, "line 1");
    let missing = folder.path().join("nowhere.toml");
    let unread = load_store(Some(&missing), &environment).expect_err("no file").problems();
    assert!(unread[0].key.ends_with("nowhere.toml") && unread[0].fix.contains("--config"), "{unread:?}");
}

#[test]
fn an_open_listener_needs_a_yes() {
    let listen = "[server]\nlisten = \"0.0.0.0:8402\"\n";
    good(&format!("{listen}[auth]\nallow_open = true\n{NETWORK}"), &[]);
    good(&format!("{listen}{NETWORK}"), &[("FACILITATOR__AUTH__ALLOW_OPEN", "true")]);
    let token = "ab".repeat(32);
    let keys = format!("[auth]\nmode = \"api_key\"\n[[auth.keys]]\nname = \"shop\"\nsha256 = \"{token}\"\n");
    let config = good(&format!("{listen}{keys}scopes = [\"settle\"]\npay_to = [\"0x1\"]\n{NETWORK}"), &[]);
    let Keys::Required(keys) = config.auth.keys else { panic!("keys are required") };
    assert_eq!((keys[0].name.as_str(), keys[0].sha256, keys[0].pay_to.len()), ("shop", [0xab; 32], 1));
    let admin = format!("[admin]\nlisten = \"0.0.0.0:1\"\ntoken_sha256 = \"{token}\"\n{NETWORK}");
    assert_eq!(good(&admin, &[]).admin.token_sha256, Some([0xab; 32]));
}

/// I01.
#[test]
fn no_secret_is_ever_shown() {
    let config = good(NETWORK, &[]);
    let environment: Environment = [("KEY", "canary")].into_iter().collect();
    let shown = format!("{:?}{:?}{:?}", config.report, environment, (&config.server, &config.admin));
    assert!(!shown.contains("canary"), "{shown}");
    let wrong = problems(&NETWORK.replace("gas_wallets = ", "gas_wallet = "), &[]);
    assert!(wrong.iter().any(|p| p.key.ends_with(".gas_wallet")), "{wrong:?}");
    assert!(!format!("{wrong:?}").contains("canary"), "{wrong:?}");
    let unset = problems(&NETWORK.replace("${KEY}", "${NOPE}"), &[]);
    assert_eq!(unset[0].key, "networks.\"eip155:84532\".gas_wallets[0]");
}

#[test]
fn every_documented_default_is_read() {
    let config = good(NETWORK, &[]);
    let read: BTreeSet<_> = config.report.effective().into_iter().map(|effective| effective.key).collect();
    let defaults: Table = DEFAULTS.parse().expect("TOML");
    for (section, table) in defaults.iter().filter(|(section, _)| *section != "defaults") {
        for key in table.as_table().expect("a table").keys() {
            assert!(read.contains(&join(section, key)), "{section}.{key}");
        }
    }
}

#[test]
fn every_default_says_why() {
    let lines: Vec<_> = DEFAULTS.lines().collect();
    for pair in lines.windows(2) {
        let (above, line) = (pair[0].trim_start_matches("# "), pair[1].trim_start_matches("# "));
        let is_key =
            line.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        assert!(!is_key || above.starts_with('#') || pair[0].starts_with('#'), "{line} has no comment above it");
    }
}

#[test]
fn the_families_of_this_build_read_the_defaults() {
    let solana = "[networks.\"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1\"]\nrpc = [\"http://127.0.0.1:8899\"]\n\
        fee_payers = [\"${PAIR}\"]\n";
    let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let pair = "2AXDGYSE4f2sz7tvMMzyHvUfcoJmxudvdhBcmiUSo6iuCXagjUCKEQF21awZnUGxmwD4m9vGXuC3qieHXJQHAcT";
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Millis(0)));
    let environment = [("KEY", key), ("PAIR", pair)].into_iter().collect();
    let read = read(&format!("{NETWORK}{solana}"), &environment, crate::families::FAMILIES, &clock);
    let config = read.unwrap_or_else(|report| panic!("{:?}", report.problems()));
    assert_eq!(config.chains.len(), 2);
    assert!(!format!("{:?}", config.report).contains(&key[2..]));
    assert!(!format!("{:?}", config.report).contains(pair));
}

#[test]
fn a_text_that_is_not_toml_is_the_only_mistake() {
    for (text, line) in [("[server\nlisten = 1\n", 1), ("[server]\nlog = \"info\"\nhosts = [\n", 3), ("\n\n\n= 1", 4)] {
        let found = problems(&format!("{text}{NETWORK}"), &[]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].line >= Some(line), "{text}: {found:?}");
    }
}

#[test]
fn an_open_listener_is_told_beside_other_mistakes() {
    let listen = "[server]\nlisten = \"0.0.0.0:8402\"\nsettle_wait = 1\n";
    let keys = |more: &str| {
        let found = problems(&format!("{listen}{more}\n{NETWORK}"), &[]);
        found.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(""), ["server.settle_wait", "auth.mode"]);
    assert_eq!(keys("[auth]\nmode = \"apikey\""), ["server.settle_wait", "auth.mode", "auth.allow_open"]);
    let key = format!("[[auth.keys]]\nname = \"s\"\nscopes = [\"settle\"]\nsha256 = \"{}\"", "00".repeat(32));
    assert_eq!(keys(&format!("[auth]\nmode = \"apikey\"\n{key}")), ["server.settle_wait", "auth.mode"]);
}

#[test]
fn a_mistake_has_the_line_of_its_key() {
    let text = format!("[server]\nlog = \"${{NOPE}}\"\nlistn = 1\n\n{NETWORK}surplus = 1\n[[auth.keys]]\nname = 1\n");
    let lines: Vec<_> = problems(&text, &[]).into_iter().map(|problem| (problem.key, problem.line)).collect();
    let expected = [
        ("server.log", Some(2)),
        ("server.listn", Some(3)),
        ("auth.keys[0].name", Some(10)),
        ("auth.keys[0].sha256", None),
        ("auth.keys[0].scopes", None),
        ("auth.mode", None),
        ("networks.\"eip155:84532\".surplus", Some(8)),
    ];
    assert_eq!(lines, expected.map(|(key, line)| (key.to_owned(), line)));
    let overridden = problems(&format!("[server]\nlisten = 1\n{NETWORK}"), &[("FACILITATOR__SERVER__LISTEN", "x")]);
    assert_eq!(overridden[0].line, None, "the line is not to blame: {overridden:?}");
}

#[test]
fn without_a_file_the_places_that_were_looked_at_are_named() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Millis(0)));
    let report = read_with("", false, &Environment::new(), &[&Stub], &clock).err().expect("no network");
    let problem = report.problems().remove(0);
    assert_eq!(problem.key, "networks");
    assert!(problem.seen.contains("$FACILITATOR_CONFIG") && problem.seen.contains("./facilitator.toml"), "{problem:?}");
    assert!(problem.fix.contains("facilitator config init"), "{problem:?}");
}

#[test]
fn variables_that_nothing_reads_are_warned_of() {
    let variables = [
        ("FACILITATOR_CONFIG", "x"),
        ("FACILITATOR_KEYSTORE_PASSWORD", "x"),
        ("FACILITATOR_LOG", "info"),
        ("FACILITATOR_SERVER_LISTEN", "canary"),
        ("FACILITATOR_NETWORKS_EIP155_84532_RPC", "canary"),
        ("FACILITATOR_TYPO", "canary"),
    ];
    let config = good(&format!("[server]\nlog = \"${{FACILITATOR_LOG}}\"\n{NETWORK}"), &variables);
    let expected = [
        "nothing reads FACILITATOR_NETWORKS_EIP155_84532_RPC; did you mean FACILITATOR__NETWORKS__EIP155_84532__RPC?",
        "nothing reads FACILITATOR_SERVER_LISTEN; did you mean FACILITATOR__SERVER__LISTEN?",
        "nothing reads FACILITATOR_TYPO; a variable that sets a key is FACILITATOR__SECTION__KEY, with two underscores each",
    ];
    assert_eq!(config.unread, expected);
}
