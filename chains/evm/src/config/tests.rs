//! Tables with mistakes and without, read.

use std::collections::BTreeMap;

use chains_core::config::{Report, Source};

use super::*;

/// The text that the loader merges in: `[defaults.eip155]` of `config.default.toml`.
pub(crate) const DEFAULTS: &str = "rpc_timeout = \"5s\"\nrpc_hedge_after = \"500ms\"\nrecheck_interval = \"1m\"\nin_flight_max = 16\n\
    clock_skew_max = \"15s\"\ngas_limit_eoa = 120000\ngas_limit_contract_wallet = 250000\n\
    gas_limit_permit2 = 140000\ngas_limit_eip2612 = 80000\ngas_limit_erc6492 = 600000\ncontract_wallets = true\ncontract_wallets_unsimulated = false\n\
    sponsor_eip2612 = true\nsponsor_erc20_approval = false\n\
    sponsor_funding_max = \"100000000000000\"\nsponsor_funding_per_hour_max = \"2000000000000000\"\nerc6492_factories = []\ntoken_upgrades = \"suspend\"\n\
    batch = \"auto\"\n";

pub(crate) const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

const ASSET: &str = "[[assets]]\naddress = \"0x036CbD53842c5426634e7929541eC2318f3dCF7e\"\nsymbol = \"USDC\"\n\
    decimals = 6\neip712 = { name = \"USDC\", version = \"2\" }\n";

pub(crate) fn section(text: &str, report: &Report) -> Section {
    Section::new("n", text.parse().expect("TOML"), report.clone())
}

fn read_text(network: &str, text: &str) -> (Option<(Config, GasWallets, Rpc)>, Vec<String>) {
    let report = Report::new(BTreeMap::from([("n.gas_wallets[0]".to_owned(), Source::Environment("K".into()))]));
    let read = read(network.parse().expect("a network"), section(text, &report));
    (read, report.problems().into_iter().map(|p| format!("{}: {} ({})", p.key, p.seen, p.fix)).collect())
}

fn minimal() -> String {
    format!("rpc = [\"http://127.0.0.1:8545\"]\ngas_wallets = [\"{KEY}\"]\n{DEFAULTS}")
}

#[test]
fn a_known_network_needs_endpoints_and_a_key_only() {
    let (read, problems) = read_text("eip155:8453", &minimal());
    assert_eq!(problems, Vec::<String>::new());
    let (config, wallets, rpc) = read.expect("read");
    assert_eq!((config.chain_id, config.legacy_name.as_deref()), (8453, Some("base")));
    assert_eq!((config.confirmations, config.block_time), (1, Duration::from_secs(2)));
    let usdc = &config.assets[0];
    assert_eq!(usdc.eip3009.as_ref().map(|domain| domain.name.as_str()), Some("USD Coin"));
    assert_eq!(config.assets[0].amount_min, Amount::from(1000_u64));
    assert_eq!((wallets.names().len(), rpc.endpoints().len()), (1, 1));
}

#[test]
fn the_file_beats_the_preset() {
    let text =
        format!("{}confirmations = 3\nlegacy_name = \"mybase\"\nfee_per_gas_max = \"7000000000\"\n{ASSET}", minimal());
    let config = read_text("eip155:8453", &text).0.expect("read").0;
    assert_eq!((config.confirmations, config.legacy_name.as_deref()), (3, Some("mybase")));
    let name = config.assets[0].eip3009.as_ref().map(|domain| domain.name.as_str());
    assert_eq!((config.fee_per_gas_max, name), (7_000_000_000, Some("USDC")));
}

#[test]
fn slow_chains_are_given_few_blocks_and_fast_ones_seconds() {
    for (millis, resend_after, bump_after) in
        [(12_000, 2, 4), (6000, 2, 4), (2000, 3, 6), (1000, 3, 6), (250, 8, 16), (1, 2000, 4000)]
    {
        let expected = Patience { resend_after, bump_after };
        assert_eq!(Patience::at(Duration::from_millis(millis)), expected, "{millis} ms");
    }
    let text = format!("{}resend_after_blocks = 5\nbump_after_blocks = 9\n", minimal());
    let config = read_text("eip155:8453", &text).0.expect("read").0;
    assert_eq!((config.resend_after_blocks, config.bump_after_blocks), (5, 9));
}

#[test]
fn a_custom_network_names_its_assets() {
    let (read, problems) = read_text("eip155:31337", &minimal());
    assert!(read.is_none() && problems[0].starts_with("n.assets: is missing"), "{problems:?}");
    assert!(read_text("eip155:31337", &format!("{}{ASSET}", minimal())).0.is_some());
}

#[test]
fn settlements_share_transactions_unless_the_operator_says_off() {
    let with =
        |word: &str| read_text("eip155:8453", &minimal().replace("batch = \"auto\"", &format!("batch = {word:?}")));
    for (word, expected) in [("auto", true), ("off", false)] {
        assert_eq!(with(word).0.expect("read").0.batch, expected, "{word}");
    }
    let problems = with("always").1;
    assert!(problems[0].starts_with("n.batch: is \"always\" (write \"off\" or \"auto\")"), "{problems:?}");
}

#[test]
fn an_asset_for_permit2_needs_no_domain() {
    let text = ASSET.replace("eip712 = { name = \"USDC\", version = \"2\" }", "method = \"permit2\"\neip2612 = false");
    let config = read_text("eip155:31337", &format!("{}{text}", minimal())).0.expect("read").0;
    assert_eq!((&config.assets[0].eip3009, config.assets[0].eip2612), (&None, false));
    let preset = read_text("eip155:38833", &minimal()).0.expect("read").0;
    assert_eq!((&preset.assets[0].eip3009, preset.assets[0].eip2612), (&None, false));
}

#[test]
fn mistakes_name_their_key() {
    let cases = [
        ("eip155:08453", "", "n: is"),
        ("eip155:8453", "confirmations = 0\n", "n.confirmations"),
        ("eip155:8453", "block_time = \"0s\"\n", "n.block_time"),
        ("eip155:8453", "resend_after_blocks = 0\n", "n.resend_after_blocks"),
        ("eip155:8453", "bump_after_blocks = 0\n", "n.bump_after_blocks"),
        ("eip155:8453", "fee_per_gas_max = \"1\"\n", "n.fee_per_gas_max"),
        ("eip155:8453", "rpcs = []\n", "n.rpcs"),
        ("eip155:8453", "assets = []\n", "n.assets"),
        ("eip155:8453", "builder_code = \"Shop!\"\n", "n.builder_code"),
        ("eip155:8453", &format!("{ASSET}{ASSET}"), "n.assets[1].address"),
        ("eip155:8453", &ASSET.replace("0x036", "036"), "n.assets[0].address"),
        ("eip155:8453", &ASSET.replace("version", "versoin"), "n.assets[0].eip712.version"),
        ("eip155:8453", &format!("{ASSET}method = \"permit\"\n"), "n.assets[0].method"),
        ("eip155:8453", &format!("{ASSET}implementation = \"0x1\"\n"), "n.assets[0].implementation"),
    ];
    for (network, text, key) in cases {
        let (_, problems) = read_text(network, &format!("{}{text}", minimal()));
        assert!(problems.iter().any(|p| p.starts_with(key)), "{network} {text}: {problems:?}");
    }
    let replaced = [
        ("token_upgrades = \"suspend\"", "token_upgrades = \"ignore\"", "n.token_upgrades"),
        ("recheck_interval = \"1m\"", "recheck_interval = \"0s\"", "n.recheck_interval"),
        ("erc6492_factories = []", "erc6492_factories = [\"0x00\"]", "n.erc6492_factories[0]"),
        ("gas_limit_eoa = 120000", "gas_limit_eoa = 1", "n.gas_limit_eoa"),
        ("http://", "ws://", "n.rpc[0]"),
        ("rpc = [\"http://127.0.0.1:8545\"]", "rpc = []", "n.rpc"),
    ];
    for (from, to, key) in replaced {
        let (read, problems) = read_text("eip155:8453", &minimal().replace(from, to));
        let named = problems.iter().any(|p| p.starts_with(key));
        assert!(named, "{to}: {problems:?}");
        assert!(read.is_none() || key == "n.batch" || key == "n.erc6492_factories[0]", "{to}");
    }
}

#[test]
fn keys_in_endpoint_urls_are_not_shown() {
    let report = Report::default();
    let text = format!("{}testnet = true\n", minimal()).replace("8545", "8545/v2/canary");
    assert!(read("eip155:8453".parse().expect("a network"), section(&text, &report)).is_some());
    assert!(!format!("{:?}{:?}", report.effective(), report.problems()).contains("canary"));
}
