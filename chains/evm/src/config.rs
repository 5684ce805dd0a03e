//! One `[networks."eip155:…"]` table, read.
//!
//! Keys with the same default on every network must be there: the loader
//! merges them in from `config.default.toml`. Keys whose default depends on
//! the network come from [`networks`](crate::networks) unless the file has them.

use std::{str::FromStr, time::Duration};

use alloy::primitives::{Address, B256, U256};
use chains_core::{Amount, Network, config::Section};

use crate::{
    abi,
    builder_code::BuilderCodes,
    gas_wallet::GasWallets,
    networks::{self, Known, KnownAsset, KnownMethod},
    rpc::{Rpc, endpoint::Endpoint},
    upgrades::TokenUpgrades,
};

/// What a custom network is taken for where it says nothing itself.
const CUSTOM: Known = Known {
    chain_id: 0,
    name: "custom",
    legacy_name: None,
    testnet: false,
    block_time_ms: 2000,
    confirmations: 1,
    tip_per_gas: 1_000_000,
    fee_per_gas_max: 20_000_000_000,
    gas_extra: 0,
    assets: &[],
};

/// Transactions at the fee ceiling that a gas wallet must be able to pay for;
/// at usual prices it is hundreds.
const GAS_BALANCE_TRANSACTIONS: u64 = 5;

/// The most that a token may use for an ordinary transfer, in any configuration.
const GAS_LIMIT_MAX: u64 = 5_000_000;

/// What is configured of one network, besides keys and endpoints.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its CAIP-2 identifier.
    pub network: Network,
    /// Its EIP-155 chain id.
    pub chain_id: u64,
    /// Its name in protocol v1.
    pub legacy_name: Option<String>,
    /// Blocks until a transfer counts.
    pub confirmations: u64,
    /// Transactions of one gas wallet that may wait for a block at a time.
    pub in_flight_max: usize,
    /// The usual time between blocks.
    pub block_time: Duration,
    /// How often endpoints and assets are looked at again.
    pub recheck_interval: Duration,
    /// The tip, in wei.
    pub tip_per_gas: u128,
    /// The most that a unit of gas may cost, in wei.
    pub fee_per_gas_max: u128,
    /// What a gas wallet must own to take new settlements, in wei.
    pub gas_balance_min: Amount,
    /// The gas limit of a transfer whose payer signs with a key.
    pub gas_limit_eoa: u64,
    /// The highest gas limit of a transfer whose payer's contract checks the signature.
    pub gas_limit_contract_wallet: u64,
    /// The gas limit of a settlement by Permit2 whose payer signs with a key.
    pub gas_limit_permit2: u64,
    /// Gas on top of it for an EIP-2612 permit that is used first.
    pub gas_limit_eip2612: u64,
    /// The gas limit of a payment that deploys the payer's wallet first.
    pub gas_limit_erc6492: u64,
    /// Gas on top of all, for networks that count posted data as gas.
    pub gas_extra: u64,
    /// The longest that an authorization may still be valid; `None`: any.
    pub valid_for_max: Option<Duration>,
    /// Whether payers with code (EIP-1271 wallets, EIP-7702 accounts) may pay.
    pub contract_wallets: bool,
    /// Whether permits (EIP-2612) are brought to the chain for payers.
    pub sponsor_eip2612: bool,
    /// Whether payers' own approvals are sent for them.
    pub sponsor_erc20_approval: bool,
    /// The most gas money that one of these payers is given for an approval, in wei.
    pub sponsor_funding_max: U256,
    /// The most gas money that all of them are given in an hour, in wei.
    pub sponsor_funding_per_hour_max: U256,
    /// Factories that may deploy payers' wallets (ERC-6492).
    pub erc6492_factories: Vec<Address>,
    /// What happens to assets whose token is upgraded.
    pub token_upgrades: TokenUpgrades,
    /// The operator's names in the calldata of settlements.
    pub builder_codes: BuilderCodes,
    /// What can be paid with.
    pub assets: Vec<Asset>,
}

/// A token that can be paid with: by Permit2 always, which asks of a token no
/// more than ERC-20.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its contract.
    pub address: Address,
    /// For people.
    pub symbol: String,
    /// The smallest payment.
    pub amount_min: Amount,
    /// The EIP-712 domain of its EIP-3009 authorizations; `None` when it knows none.
    pub eip3009: Option<Domain>,
    /// Whether it may know EIP-2612: whether sponsoring a permit is worth a try.
    pub eip2612: bool,
    /// The implementation behind it that the operator has looked at; `None`:
    /// what is there at the start.
    pub implementation: Option<Address>,
}

/// A token's EIP-712 domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The separator of both.
    pub separator: B256,
}

impl Domain {
    fn new(name: &str, version: &str, chain_id: u64, token: Address) -> Self {
        let separator = abi::domain_separator(name, version, chain_id, token);
        Self { name: name.to_owned(), version: version.to_owned(), separator }
    }
}

impl Config {
    /// The configured asset at an address.
    pub fn asset(&self, address: Address) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.address == address)
    }
}

/// Reads the table; mistakes go to the section. `None` when there was one.
pub fn read(network: Network, mut section: Section) -> Option<(Config, GasWallets, Rpc)> {
    let section = &mut section;
    let chain_id =
        u64::from_str(network.reference()).ok().filter(|id| *id > 0 && id.to_string() == network.reference());
    if chain_id.is_none() {
        section.problem("", format!("is {network}"), "name an EVM network by its chain id, such as \"eip155:8453\"");
    }
    let known = chain_id.and_then(networks::known).unwrap_or(&CUSTOM);
    let testnet = section.optional("testnet").unwrap_or(known.testnet);
    let rpc = endpoints(&network, section);
    let wallets = GasWallets::configure(section, testnet);
    later_capabilities(section);
    let policy = policy(section, known);
    let assets = assets(section, known, chain_id.unwrap_or_default());
    let (chain_id, policy, assets) = (chain_id?, policy?, assets?);
    let config = Config { network, chain_id, assets, ..policy };
    Some((config, wallets?, rpc?))
}

/// Keys of capabilities that this version does not have: checked, so that a
/// file written for them is accepted, and without effect.
fn later_capabilities(section: &mut Section) {
    if let Some(batch) = section.optional::<String>("batch")
        && !matches!(batch.as_str(), "auto" | "off")
    {
        section.problem("batch", format!("is {batch:?}"), "write \"auto\" or \"off\"");
    }
}

fn endpoints(network: &Network, section: &mut Section) -> Option<Rpc> {
    let timeout = section.required::<Duration>("rpc_timeout");
    let hedge_after = section.required::<Duration>("rpc_hedge_after");
    // Taken as secrets: the URLs of providers hold keys.
    let urls = section.secrets("rpc");
    if urls.is_empty() {
        section.problem("rpc", "names no endpoint", "write a list such as [\"https://…\"]");
    }
    let (timeout, hedge_after) = (timeout?, hedge_after?);
    let mut endpoints = vec![];
    for (i, (url, _)) in urls.iter().enumerate() {
        match Endpoint::new(network.clone(), url.expose().trim(), timeout) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(seen) => section.problem_at("rpc", i, seen, "write an http or https URL"),
        }
    }
    let complete = !endpoints.is_empty() && endpoints.len() == urls.len();
    complete.then(|| Rpc::new(network.clone(), endpoints, hedge_after))
}

/// Everything but what names the network and its assets.
fn policy(section: &mut Section, known: &Known) -> Option<Config> {
    let placeholder: Network = "eip155:0".parse().ok()?;
    let legacy_name = section.optional("legacy_name").or_else(|| known.legacy_name.map(str::to_owned));
    let confirmations = positive(section, "confirmations", Some(known.confirmations));
    let in_flight_max = positive(section, "in_flight_max", None);
    let block_time = section.optional("block_time").unwrap_or(known.block_time());
    if block_time.is_zero() {
        section.problem("block_time", "is no time", "write a duration such as \"2s\"");
    }
    let recheck_interval = recheck_interval(section);
    let tip_per_gas = wei(section, "tip_per_gas", known.tip_per_gas);
    let fee_per_gas_max = wei(section, "fee_per_gas_max", known.fee_per_gas_max);
    if let (Some(tip), Some(max)) = (tip_per_gas, fee_per_gas_max)
        && tip >= max
    {
        section.problem("fee_per_gas_max", format!("is {max} wei"), format!("write more than the tip of {tip} wei"));
    }
    let gas_limit_eoa = gas(section, "gas_limit_eoa");
    let gas_limit_contract_wallet = gas(section, "gas_limit_contract_wallet");
    let gas_limit_permit2 = gas(section, "gas_limit_permit2");
    let gas_limit_eip2612 = gas(section, "gas_limit_eip2612");
    let gas_limit_erc6492 = gas(section, "gas_limit_erc6492");
    let erc6492_factories = factories(section);
    let token_upgrades = token_upgrades(section);
    let sponsor_eip2612 = section.required("sponsor_eip2612");
    let sponsor_erc20_approval = section.required("sponsor_erc20_approval");
    let sponsor_funding_max = section.required::<Amount>("sponsor_funding_max");
    let sponsor_funding_per_hour_max = section.required::<Amount>("sponsor_funding_per_hour_max");
    let gas_extra = section.optional("gas_extra").unwrap_or(known.gas_extra).min(GAS_LIMIT_MAX);
    let contract_wallets = section.required("contract_wallets");
    let valid_for_max = section.optional("valid_for_max");
    let gas_balance_min = section.optional("gas_balance_min");
    let (fee_per_gas_max, gas_limit_eoa) = (fee_per_gas_max?, gas_limit_eoa?);
    let transactions = u128::from(GAS_BALANCE_TRANSACTIONS * (gas_limit_eoa + gas_extra));
    Some(Config {
        network: placeholder,
        chain_id: 0,
        legacy_name,
        confirmations: confirmations?,
        in_flight_max: usize::try_from(in_flight_max?).ok()?,
        block_time,
        recheck_interval: recheck_interval?,
        tip_per_gas: tip_per_gas?,
        fee_per_gas_max,
        gas_balance_min: gas_balance_min.unwrap_or_else(|| Amount::from(fee_per_gas_max.saturating_mul(transactions))),
        gas_limit_eoa,
        gas_limit_contract_wallet: gas_limit_contract_wallet?,
        gas_limit_permit2: gas_limit_permit2?,
        gas_limit_eip2612: gas_limit_eip2612?,
        gas_limit_erc6492: gas_limit_erc6492?,
        erc6492_factories,
        gas_extra,
        valid_for_max,
        contract_wallets: contract_wallets?,
        sponsor_eip2612: sponsor_eip2612?,
        sponsor_erc20_approval: sponsor_erc20_approval?,
        sponsor_funding_max: sponsor_funding_max?.to_u256(),
        sponsor_funding_per_hour_max: sponsor_funding_per_hour_max?.to_u256(),
        token_upgrades: token_upgrades?,
        builder_codes: BuilderCodes::read(section),
        assets: vec![],
    })
}

fn recheck_interval(section: &mut Section) -> Option<Duration> {
    let interval = section.required::<Duration>("recheck_interval")?;
    if interval.is_zero() {
        section.problem("recheck_interval", "is no time", "write a duration such as \"1m\"");
        return None;
    }
    Some(interval)
}

fn token_upgrades(section: &mut Section) -> Option<TokenUpgrades> {
    let text = section.required::<String>("token_upgrades")?;
    match text.as_str() {
        "suspend" => Some(TokenUpgrades::Suspend),
        "warn" => Some(TokenUpgrades::Warn),
        _ => {
            section.problem("token_upgrades", format!("is {text:?}"), "write \"suspend\" or \"warn\"");
            None
        }
    }
}

fn factories(section: &mut Section) -> Vec<Address> {
    let texts = section.optional::<Vec<String>>("erc6492_factories").unwrap_or_default();
    let mut factories = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        match crate::parse::address(text) {
            Some(factory) => factories.push(factory),
            None => section.problem_at("erc6492_factories", i, format!("is {text:?}"), "write 0x and 40 hex digits"),
        }
    }
    factories
}

fn positive(section: &mut Section, key: &str, preset: Option<u64>) -> Option<u64> {
    let value = match preset {
        Some(preset) => section.optional(key).unwrap_or(preset),
        None => section.required(key)?,
    };
    if value == 0 {
        section.problem(key, "is 0", "write 1 or more");
    }
    (value > 0).then_some(value)
}

fn wei(section: &mut Section, key: &str, preset: u64) -> Option<u128> {
    let Some(amount) = section.optional::<Amount>(key) else { return Some(u128::from(preset)) };
    let value = u128::try_from(amount.to_u256()).ok();
    if value.is_none() {
        section.problem(key, format!("is {amount}"), "write an amount of wei below 2^128");
    }
    value
}

fn gas(section: &mut Section, key: &str) -> Option<u64> {
    let value = section.required(key)?;
    let good = (50_000..=GAS_LIMIT_MAX).contains(&value);
    if !good {
        section.problem(key, format!("is {value}"), format!("write between 50000 and {GAS_LIMIT_MAX}"));
    }
    good.then_some(value)
}

fn assets(section: &mut Section, known: &Known, chain_id: u64) -> Option<Vec<Asset>> {
    let Some(tables) = section.sections("assets") else {
        if known.assets.is_empty() {
            let path = section.path_of("assets");
            section.problem("assets", "is missing", format!("name what can be paid with: `[[{path}]]`"));
            return None;
        }
        return known.assets.iter().map(|asset| preset_asset(asset, chain_id)).collect();
    };
    let mut assets: Vec<Asset> = vec![];
    let mut complete = !tables.is_empty();
    if tables.is_empty() {
        section.problem("assets", "is empty", "name at least one asset, or leave the list out");
    }
    for mut table in tables {
        match asset(&mut table, chain_id) {
            Some(asset) if assets.iter().any(|known| known.address == asset.address) => {
                table.problem("address", format!("is {} once more", asset.address), "name every asset once");
                complete = false;
            }
            Some(asset) => assets.push(asset),
            None => complete = false,
        }
    }
    complete.then_some(assets)
}

fn preset_asset(asset: &KnownAsset, chain_id: u64) -> Option<Asset> {
    let address = crate::parse::address(asset.address)?;
    let (eip3009, eip2612) = match asset.method {
        KnownMethod::Eip3009 { name, version } => (Some(Domain::new(name, version, chain_id, address)), true),
        KnownMethod::Permit2 { eip2612 } => (None, eip2612),
    };
    let (symbol, amount_min) = (asset.symbol.to_owned(), thousandth(asset.decimals));
    Some(Asset { address, symbol, amount_min, eip3009, eip2612, implementation: None })
}

fn asset(table: &mut Section, chain_id: u64) -> Option<Asset> {
    let address = table.required::<String>("address").and_then(|text| account(table, "address", &text));
    let implementation = match table.optional::<String>("implementation") {
        Some(text) => Some(account(table, "implementation", &text)?),
        None => None,
    };
    let symbol = table.required::<String>("symbol");
    let decimals = table.required::<u64>("decimals").and_then(|decimals| {
        if decimals > 36 {
            table.problem("decimals", format!("is {decimals}"), "write the token's decimals, 36 at most");
        }
        (decimals <= 36).then_some(decimals)
    });
    let amount_min = table.optional::<Amount>("amount_min");
    let method = method(table);
    let eip2612 = table.optional("eip2612").unwrap_or(true);
    let names = match method? {
        AssetMethod::Permit2 => None,
        AssetMethod::Eip3009 => {
            let mut domain = table.section("eip712");
            let (name, version) = (domain.required::<String>("name"), domain.required::<String>("version"));
            Some((name?, version?))
        }
    };
    let (address, amount_min) = (address?, amount_min.unwrap_or(thousandth(decimals?)));
    let eip3009 = names.map(|(name, version)| Domain::new(&name, &version, chain_id, address));
    Some(Asset { address, symbol: symbol?, amount_min, eip3009, eip2612, implementation })
}

fn account(table: &mut Section, key: &str, text: &str) -> Option<Address> {
    let account = crate::parse::address(text);
    if account.is_none() {
        table.problem(key, format!("is {text:?}"), "write 0x and 40 hex digits");
    }
    account
}

/// What `method` of an asset says: whether it knows EIP-3009.
enum AssetMethod {
    Eip3009,
    Permit2,
}

fn method(table: &mut Section) -> Option<AssetMethod> {
    let Some(text) = table.optional::<String>("method") else { return Some(AssetMethod::Eip3009) };
    match text.as_str() {
        "eip3009" => Some(AssetMethod::Eip3009),
        "permit2" => Some(AssetMethod::Permit2),
        _ => {
            table.problem("method", format!("is {text:?}"), "write \"eip3009\" or \"permit2\"");
            None
        }
    }
}

/// A thousandth of one token: the smallest payment worth its gas, for tokens worth a dollar.
fn thousandth(decimals: u64) -> Amount {
    let exponent = u32::try_from(decimals.saturating_sub(3)).unwrap_or_default();
    10_u128.checked_pow(exponent).map_or(Amount::from(1_u64), Amount::from)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use chains_core::config::{Report, Source};

    use super::*;

    /// What the loader merges in: `[defaults.eip155]` of `config.default.toml`.
    pub(crate) const DEFAULTS: &str = "rpc_timeout = \"5s\"\nrpc_hedge_after = \"500ms\"\nrecheck_interval = \"1m\"\nin_flight_max = 16\n\
        gas_limit_eoa = 120000\ngas_limit_contract_wallet = 250000\n\
        gas_limit_permit2 = 140000\ngas_limit_eip2612 = 80000\ngas_limit_erc6492 = 600000\ncontract_wallets = true\nbatch = \"auto\"\n\
        sponsor_eip2612 = true\nsponsor_erc20_approval = false\n\
        sponsor_funding_max = \"100000000000000\"\nsponsor_funding_per_hour_max = \"2000000000000000\"\nerc6492_factories = []\ntoken_upgrades = \"suspend\"\n";

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
        let text = format!(
            "{}confirmations = 3\nlegacy_name = \"mybase\"\nfee_per_gas_max = \"7000000000\"\n{ASSET}",
            minimal()
        );
        let config = read_text("eip155:8453", &text).0.expect("read").0;
        assert_eq!((config.confirmations, config.legacy_name.as_deref()), (3, Some("mybase")));
        let name = config.assets[0].eip3009.as_ref().map(|domain| domain.name.as_str());
        assert_eq!((config.fee_per_gas_max, name), (7_000_000_000, Some("USDC")));
    }

    #[test]
    fn a_custom_network_names_its_assets() {
        let (read, problems) = read_text("eip155:31337", &minimal());
        assert!(read.is_none() && problems[0].starts_with("n.assets: is missing"), "{problems:?}");
        assert!(read_text("eip155:31337", &format!("{}{ASSET}", minimal())).0.is_some());
    }

    #[test]
    fn an_asset_for_permit2_needs_no_domain() {
        let text =
            ASSET.replace("eip712 = { name = \"USDC\", version = \"2\" }", "method = \"permit2\"\neip2612 = false");
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
            ("batch = \"auto\"", "batch = \"on\"", "n.batch"),
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
}
