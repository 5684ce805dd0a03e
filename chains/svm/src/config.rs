//! One `[networks."solana:…"]` table, read.
//!
//! Keys with the same default on every network must be there: the loader
//! merges them in from `config.default.toml`. Keys whose default depends on
//! the network come from [`networks`] unless the file has them.

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use chains_core::{
    Amount, Network,
    chain::{LossBudget, Strangers},
    config::{Section, Source},
};
use chains_rpc::Endpoint as _;
use reqwest::Url;
use solana_sdk::pubkey::Pubkey;

use crate::{
    compute_budget::{Limits, UNIT_LIMIT_MAX},
    exact::requirements::Asset,
    gas_wallet::GasWallets,
    mint::Danger,
    networks::{self, KnownAsset},
    prices::PriceBounds,
    programs,
    rpc::{Rpc, endpoint::Endpoint},
};

/// The lamports that an account without data must hold to exist: a fee payer
/// that a fee would take below it cannot pay that fee.
pub const RENT_EXEMPT_MIN: u64 = 890_880;

/// Transactions at the fee ceiling that a fee payer must be able to pay for;
/// at usual prices it is hundreds.
const GAS_BALANCE_TRANSACTIONS: u64 = 10;

/// The blocks for which a blockhash is accepted.
pub const BLOCKHASH_BLOCKS: u64 = 150;

/// The usual time between slots.
const BLOCK_TIME: Duration = Duration::from_millis(400);

/// The configuration of one network, besides keys and endpoints.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its CAIP-2 identifier.
    pub network: Network,
    /// Its name in protocol v1.
    pub legacy_name: Option<String>,
    /// Transactions of one fee payer that may wait for a block at a time.
    pub in_flight_max: usize,
    /// The usual time between slots.
    pub block_time: Duration,
    /// The pause after which endpoints and mints are proven again.
    pub recheck_interval: Duration,
    /// The lamports that a fee payer must own to take new settlements.
    pub gas_balance_min: u64,
    /// The budget of payments that fail on chain.
    pub loss_budget: LossBudget,
    /// The limits of a transaction's units and fee.
    pub limits: Limits,
    /// The price of a compute unit that is always accepted, in millionths of a lamport.
    pub unit_price_floor: u64,
    /// Lamports above the fee at that price that a payment may offer for each whole token that it
    /// pays; `None`: any number below the ceilings.
    pub fee_per_token_max: Option<u64>,
    /// Blocks for which a transaction's blockhash must still be accepted.
    pub blockhash_blocks_min: u64,
    /// The ceiling of the fee of a lone transfer without compute budget
    /// instructions, in lamports; `None`: such a layout is refused.
    pub lone_transfer_fee_max: Option<u64>,
    /// Wallet programs whose transactions are accepted for the transfer that a
    /// simulation finds in them; empty: none are.
    pub smart_wallets: Vec<Pubkey>,
    /// The tokens that can be paid with.
    pub assets: Vec<Asset>,
    /// The assets are those of the known network: one that is not there is left out. Of those that the operator names,
    /// one that is unfit is told.
    pub assets_are_preset: bool,
    /// The source of notifications; `None`: polling alone.
    pub websocket: Option<Url>,
}

impl Config {
    /// The bounds of the price of a compute unit.
    pub const fn price_bounds(&self) -> PriceBounds {
        PriceBounds { floor: self.unit_price_floor, ceiling: self.limits.unit_price_max }
    }
}

/// Reads the table; mistakes go to the section. `None` when there was one.
pub fn read(network: Network, mut section: Section) -> Option<(Config, GasWallets, Rpc)> {
    let section = &mut section;
    let known = networks::known(&network);
    let testnet = section.optional("testnet").unwrap_or_else(|| known.is_some_and(|known| known.testnet));
    let endpoints = endpoints(&network, section);
    let wallets = GasWallets::configure(section, testnet);
    let legacy_name = section.optional("legacy_name").or_else(|| known.map(|known| known.legacy_name.to_owned()));
    let in_flight_max = between(section, "in_flight_max", 1, 10_000);
    let block_time = section.optional("block_time").unwrap_or(BLOCK_TIME);
    if block_time.is_zero() {
        section.problem("block_time", "is not a time", "write a duration such as \"400ms\"");
    }
    let recheck_interval = section.required::<Duration>("recheck_interval");
    if recheck_interval.is_some_and(|interval| interval.is_zero()) {
        section.problem("recheck_interval", "is not a time", "write a duration such as \"1m\"");
    }
    let in_flight_max = in_flight_max.and_then(|max| usize::try_from(max).ok());
    let fee_payers = wallets.as_ref().map_or(1, |wallets| wallets.names().len());
    let loss_budget = loss_budget(section, in_flight_max.unwrap_or(1).saturating_mul(fee_payers));
    let limits = limits(section);
    let unit_price_floor = section.required::<u64>("compute_unit_price_floor");
    let fee_per_token_max = section.optional::<u64>("fee_max_lamports_per_token");
    let blockhash_blocks_min = between(section, "blockhash_blocks_min", 0, BLOCKHASH_BLOCKS - 1);
    let lone_transfer_fee_max = lone_transfer(section);
    let smart_wallets = smart_wallets(section);
    let gas_balance_min = section.optional::<u64>("gas_balance_min");
    let assets_are_preset = !section.has("assets");
    let assets = assets(section, known.map_or(&[], |known| known.assets));
    let (rpc, websocket) = endpoints?;
    let limits = limits?;
    let spare = limits.fee_max.saturating_mul(GAS_BALANCE_TRANSACTIONS);
    let config = Config {
        network,
        legacy_name,
        in_flight_max: in_flight_max?,
        block_time,
        recheck_interval: recheck_interval?,
        gas_balance_min: gas_balance_min.unwrap_or(RENT_EXEMPT_MIN.saturating_add(spare)),
        loss_budget: loss_budget?,
        limits,
        unit_price_floor: unit_price_floor?,
        fee_per_token_max,
        blockhash_blocks_min: blockhash_blocks_min?,
        lone_transfer_fee_max: lone_transfer_fee_max.ok()?,
        smart_wallets: smart_wallets?,
        assets: assets?,
        assets_are_preset,
        websocket,
    };
    note_in_force(section, &config, testnet);
    Some((config, wallets?, rpc))
}

/// Notes what is in force although nobody wrote it, for `config print`.
fn note_in_force(section: &Section, config: &Config, testnet: bool) {
    section.assume("testnet", testnet, Source::Network);
    if let Some(name) = &config.legacy_name {
        section.assume("legacy_name", name.as_str(), Source::Network);
    }
    section.assume("block_time", config.block_time, Source::Network);
    section.assume("gas_balance_min", config.gas_balance_min, Source::Derived);
    let websocket = config.websocket.as_ref().and_then(Url::host_str).unwrap_or("off");
    section.describe("websocket", websocket, "host");
    section.assume("websocket", websocket, Source::Derived);
    let programs = config.smart_wallets.iter().map(Pubkey::to_string).collect::<Vec<_>>();
    section.assume("smart_wallet_programs", programs, Source::Network);
    for (i, asset) in config.assets.iter().enumerate() {
        let path = |key: &str| format!("assets[{i}].{key}");
        section.assume(&path("mint"), asset.mint.to_string().as_str(), Source::Network);
        section.assume(&path("symbol"), asset.symbol.as_str(), Source::Network);
        section.assume(&path("decimals"), u64::from(asset.decimals), Source::Network);
        section.assume(&path("amount_min"), Amount::from(asset.amount_min), Source::Derived);
    }
}

fn endpoints(network: &Network, section: &mut Section) -> Option<(Rpc, Option<Url>)> {
    let timeout = section.required::<Duration>("rpc_timeout");
    let hedge_after = section.required::<Duration>("rpc_hedge_after");
    let any_genesis = section.required::<bool>("allow_genesis_mismatch");
    // Taken as secrets: the URLs of providers hold keys.
    let urls = section.secrets("rpc");
    if urls.is_empty() {
        section.problem("rpc", "names no endpoint", "write a list such as [\"https://…\"]");
    }
    let first = urls.first().and_then(|(url, _)| Url::parse(url.expose().trim()).ok());
    let websocket = websocket(section, first.as_ref());
    let (timeout, hedge_after, any_genesis) = (timeout?, hedge_after?, any_genesis?);
    let mut endpoints = vec![];
    for (i, (url, _)) in urls.iter().enumerate() {
        match Endpoint::new(network, url.expose().trim(), timeout) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(seen) => section.problem_at("rpc", i, seen, "write an http or https URL"),
        }
    }
    // What else is in a URL may be a key.
    section.describe("rpc", endpoints.iter().map(|endpoint| endpoint.host().to_owned()).collect::<Vec<_>>(), "hosts");
    let complete = !endpoints.is_empty() && endpoints.len() == urls.len();
    complete.then_some(())?;
    Some((Rpc::new(network.clone(), endpoints, hedge_after, any_genesis), websocket.ok()?))
}

/// A mistake that the section has been told of.
struct Reported;

/// `websocket`, or what follows from the first endpoint; `None` when it is
/// turned off.
fn websocket(section: &mut Section, rpc: Option<&Url>) -> Result<Option<Url>, Reported> {
    let Some(written) = section.optional::<chains_core::Secret>("websocket") else {
        return Ok(rpc.and_then(derived));
    };
    if written.expose() == "off" {
        return Ok(None);
    }
    let url = Url::parse(written.expose()).ok();
    let good = url.filter(|url| matches!(url.scheme(), "ws" | "wss") && url.host_str().is_some());
    if good.is_none() {
        section.problem("websocket", "is not a ws or wss URL", "write one, or \"off\", or leave it out");
    }
    good.map(Some).ok_or(Reported)
}

/// The URL of a node's notifications: on the next port when the port is
/// written, as validators do, else on the same, as providers do.
fn derived(rpc: &Url) -> Option<Url> {
    let mut url = rpc.clone();
    url.set_scheme(if rpc.scheme() == "https" { "wss" } else { "ws" }).ok()?;
    if let Some(port) = rpc.port() {
        url.set_port(Some(port.checked_add(1)?)).ok()?;
    }
    Some(url)
}

fn between(section: &mut Section, key: &str, min: u64, max: u64) -> Option<u64> {
    let value = section.required::<u64>(key)?;
    let good = (min..=max).contains(&value);
    if !good {
        section.problem(key, format!("is {value}"), format!("write between {min} and {max}"));
    }
    good.then_some(value)
}

/// A fee that no network comes near; a ceiling above it is a slip.
const LAMPORTS_MAX: u64 = 1_000_000_000;

/// One of so many places of the fee payers is kept for payers that are no strangers.
const PLACES_TO_ONE_KEPT: usize = 8;

/// Any payer can make its payments fail: it moves the money while they are under way.
fn loss_budget(section: &mut Section, places: usize) -> Option<LossBudget> {
    let budget = |whose: &str| section.required::<u64>(&format!("lamports_lost_per_hour{whose}_max")).map(Amount::from);
    let [network, key, code, lost_max] = ["", "_key", "_code", "_strangers"].map(budget);
    let under_way_max = places.saturating_sub(places / PLACES_TO_ONE_KEPT);
    let strangers = Some(Strangers { lost_max: lost_max?, under_way_max });
    Some(LossBudget { network: network?, key: key?, code: code?, strangers })
}

fn limits(section: &mut Section) -> Option<Limits> {
    let units_max = between(section, "compute_unit_limit_max", 1, u64::from(UNIT_LIMIT_MAX));
    let unit_price_max = section.required("compute_unit_price_max");
    let fee_max = between(section, "fee_max_lamports", 10_000, LAMPORTS_MAX);
    Some(Limits { units_max: u32::try_from(units_max?).ok()?, unit_price_max: unit_price_max?, fee_max: fee_max? })
}

fn lone_transfer(section: &mut Section) -> Result<Option<u64>, Reported> {
    let allowed = section.required::<bool>("lone_transfers");
    let fee_max = between(section, "lone_transfer_fee_max_lamports", 10_000, LAMPORTS_MAX);
    let (Some(allowed), Some(fee_max)) = (allowed, fee_max) else { return Err(Reported) };
    Ok(allowed.then_some(fee_max))
}

fn smart_wallets(section: &mut Section) -> Option<Vec<Pubkey>> {
    let allowed = section.required::<bool>("smart_wallets");
    let written = section.optional::<Vec<String>>("smart_wallet_programs");
    let mut read = vec![];
    for (i, text) in written.iter().flatten().enumerate() {
        match Pubkey::from_str(text) {
            Ok(program) => read.push(program),
            Err(_) => section.problem_at(
                "smart_wallet_programs",
                i,
                format!("is {text:?}"),
                "write a program's address in base58",
            ),
        }
    }
    let complete = written.as_ref().is_none_or(|written| written.len() == read.len());
    complete.then_some(())?;
    let programs = if written.is_some() { read } else { programs::SMART_WALLETS.to_vec() };
    Some(if allowed? { programs } else { vec![] })
}

fn assets(section: &mut Section, known: &[KnownAsset]) -> Option<Vec<Asset>> {
    let Some(tables) = section.sections("assets") else {
        if known.is_empty() {
            let path = section.path_of("assets");
            section.problem("assets", "is missing", format!("name what can be paid with: `[[{path}]]`"));
            return None;
        }
        return known.iter().map(preset_asset).collect();
    };
    let mut assets: Vec<Asset> = vec![];
    let mut complete = !tables.is_empty();
    if tables.is_empty() {
        section.problem("assets", "is empty", "name at least one asset, or leave the list out");
    }
    for mut table in tables {
        match asset(&mut table) {
            Some(asset) if assets.iter().any(|known| known.mint == asset.mint) => {
                table.problem("mint", format!("is {} once more", asset.mint), "name every asset once");
                complete = false;
            }
            Some(asset) => assets.push(asset),
            None => complete = false,
        }
    }
    complete.then_some(assets)
}

fn preset_asset(asset: &KnownAsset) -> Option<Asset> {
    let mint = Pubkey::from_str(asset.mint).ok()?;
    let (symbol, decimals) = (asset.symbol.to_owned(), asset.decimals);
    let (amount_min, extensions_allowed) = (thousandth(decimals), BTreeSet::new());
    Some(Asset { mint, symbol, amount_min, decimals, extensions_allowed })
}

/// More and a whole token would not fit into a token account's 64 bits.
const DECIMALS_MAX: u64 = 18;

fn asset(table: &mut Section) -> Option<Asset> {
    let mint = table.required::<String>("mint").and_then(|text| {
        let mint = Pubkey::from_str(&text).ok();
        if mint.is_none() {
            table.problem("mint", format!("is {text:?}"), "write the mint's address in base58");
        }
        mint
    });
    let symbol = table.required::<String>("symbol");
    let decimals = between(table, "decimals", 0, DECIMALS_MAX).and_then(|decimals| u8::try_from(decimals).ok());
    let amount_min = table.optional::<Amount>("amount_min").map(|amount| {
        let fits = u64::try_from(amount.to_u256()).ok();
        if fits.is_none() {
            table.problem("amount_min", format!("is {amount}"), "write an amount below 2^64");
        }
        fits
    });
    let extensions_allowed = extensions_allowed(table);
    let (mint, symbol, decimals) = (mint?, symbol?, decimals?);
    let amount_min = amount_min.unwrap_or(Some(thousandth(decimals)))?;
    Some(Asset { mint, symbol, amount_min, decimals, extensions_allowed: extensions_allowed? })
}

fn extensions_allowed(table: &mut Section) -> Option<BTreeSet<Danger>> {
    let written = table.optional::<Vec<String>>("extensions_allowed").unwrap_or_default();
    let mut read = BTreeSet::new();
    let mut complete = true;
    for (i, text) in written.iter().enumerate() {
        if let Ok(danger) = text.parse() {
            read.insert(danger);
        } else {
            let known: Vec<_> = Danger::ALL.iter().map(|(_, name)| *name).collect();
            table.problem_at(
                "extensions_allowed",
                i,
                format!("is {text:?}"),
                format!("write one of {}", known.join(", ")),
            );
            complete = false;
        }
    }
    complete.then_some(read)
}

/// A thousandth of one token: the smallest payment worth its fee, for tokens worth a dollar.
fn thousandth(decimals: u8) -> u64 {
    10_u64.checked_pow(u32::from(decimals.saturating_sub(3))).unwrap_or(1)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use chains_core::config::{Report, Source};
    use solana_sdk::signature::Keypair;

    use super::*;

    /// The keys that the loader merges in: `[defaults.solana]` of `config.default.toml`.
    pub(crate) const DEFAULTS: &str = "rpc_timeout = \"5s\"\nrpc_hedge_after = \"500ms\"\nrecheck_interval = \"1m\"\nin_flight_max = 200\n\
        allow_genesis_mismatch = false\ncompute_unit_limit_max = 400000\ncompute_unit_price_max = 5000000\ncompute_unit_price_floor = 100000\n\
        fee_max_lamports = 200000\nblockhash_blocks_min = 30\nlone_transfers = false\n\
        lone_transfer_fee_max_lamports = 10000\nsmart_wallets = false\n\
        lamports_lost_per_hour_max = 20000000\nlamports_lost_per_hour_key_max = 20000000\n\
        lamports_lost_per_hour_code_max = 5000000\nlamports_lost_per_hour_strangers_max = 10000000\n";

    const DEVNET: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

    pub(crate) fn fee_payer() -> Keypair {
        Keypair::new_from_array([1; 32])
    }

    fn read_text(network: &str, text: &str) -> (Option<(Config, GasWallets, Rpc)>, Vec<String>) {
        let report = Report::new(BTreeMap::from([("n.fee_payers[0]".to_owned(), Source::Environment("K".into()))]));
        let section = Section::new("n", text.parse().expect("TOML"), report.clone());
        let read = read(network.parse().expect("a network"), section);
        (read, report.problems().into_iter().map(|p| format!("{}: {} ({})", p.key, p.seen, p.fix)).collect())
    }

    fn minimal(defaults: &str) -> String {
        let key = fee_payer().to_base58_string();
        format!("rpc = [\"http://127.0.0.1:8899\"]\nfee_payers = [\"{key}\"]\n{defaults}")
    }

    #[test]
    fn a_known_network_needs_endpoints_and_a_key_only() {
        let (read, problems) = read_text(DEVNET, &minimal(DEFAULTS));
        assert_eq!(problems, Vec::<String>::new());
        let (config, wallets, rpc) = read.expect("read");
        assert_eq!(config.legacy_name.as_deref(), Some("solana-devnet"));
        assert_eq!(config.websocket.map(|url| url.to_string()).as_deref(), Some("ws://127.0.0.1:8900/"));
        assert_eq!((config.assets.len(), config.assets[0].amount_min), (3, 1000));
        assert_eq!(config.gas_balance_min, 2_890_880);
        assert_eq!(config.limits, Limits::default());
        assert_eq!((config.lone_transfer_fee_max, config.smart_wallets.len()), (None, 0));
        assert_eq!((wallets.names().len(), rpc.endpoints().len()), (1, 1));
    }

    #[test]
    fn the_file_beats_the_preset() {
        let defaults = DEFAULTS
            .replace("smart_wallets = false", "smart_wallets = true")
            .replace("lone_transfers = false", "lone_transfers = true");
        let text = format!(
            "{}websocket = \"wss://x.example/ws\"\ngas_balance_min = 7\nlegacy_name = \"mine\"\n\
             [[assets]]\nmint = \"EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v\"\nsymbol = \"X\"\ndecimals = 2\n",
            minimal(&defaults)
        );
        let config = read_text(DEVNET, &text).0.expect("read").0;
        assert_eq!(config.websocket.map(|url| url.to_string()).as_deref(), Some("wss://x.example/ws"));
        assert_eq!((config.gas_balance_min, config.legacy_name.as_deref()), (7, Some("mine")));
        assert_eq!((config.assets.len(), config.assets[0].amount_min), (1, 1));
        assert_eq!((config.lone_transfer_fee_max, config.smart_wallets.len()), (Some(10_000), 6));
    }

    #[test]
    fn notifications_come_from_the_next_port_of_a_validator_and_from_the_same_of_a_provider() {
        let cases = [
            ("http://127.0.0.1:8899", Some("ws://127.0.0.1:8900/")),
            ("https://rpc.example/key", Some("wss://rpc.example/key")),
            ("https://rpc.example:65535", None),
        ];
        for (rpc, expected) in cases {
            let url = derived(&Url::parse(rpc).expect(rpc));
            assert_eq!(url.map(|url| url.to_string()).as_deref(), expected, "{rpc}");
        }
    }

    #[test]
    fn every_mistake_names_its_key() {
        let asset = "mint = \"EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v\"\nsymbol = \"X\"\n";
        let with = |text: &str| format!("{}{text}\n", minimal(DEFAULTS));
        let cases = [
            (with("websocket = \"http://x\""), "n.websocket"),
            (with("block_time = \"0s\""), "n.block_time"),
            (with("surplus = 1"), "n.surplus"),
            (with("smart_wallet_programs = [\"x\"]"), "n.smart_wallet_programs[0]"),
            (with("assets = []"), "n.assets"),
            (with(&format!("[[assets]]\n{asset}decimals = 19")), "n.assets[0].decimals"),
            (with(&format!("[[assets]]\n{asset}")), "n.assets[0].decimals"),
            (with(&format!("[[assets]]\n{asset}decimals = 6\n[[assets]]\n{asset}decimals = 6")), "n.assets[1].mint"),
            (
                with(&format!("[[assets]]\n{asset}decimals = 6\nextensions_allowed = [\"x\"]")),
                "n.assets[0].extensions_allowed[0]",
            ),
            (with("[[assets]]\nmint = \"x\"\nsymbol = \"X\"\ndecimals = 6"), "n.assets[0].mint"),
            (
                with(&format!("[[assets]]\n{asset}decimals = 6\namount_min = \"99999999999999999999\"")),
                "n.assets[0].amount_min",
            ),
            (minimal(DEFAULTS).replace("http://", "ftp://"), "n.rpc[0]"),
            (minimal(DEFAULTS).replace("[\"http://127.0.0.1:8899\"]", "[]"), "n.rpc"),
            (minimal(&DEFAULTS.replace("400000", "1400001")), "n.compute_unit_limit_max"),
            (minimal(&DEFAULTS.replace("fee_max_lamports = 200000", "fee_max_lamports = 9")), "n.fee_max_lamports"),
            (
                minimal(&DEFAULTS.replace("blockhash_blocks_min = 30", "blockhash_blocks_min = 150")),
                "n.blockhash_blocks_min",
            ),
            (minimal(&DEFAULTS.replace("in_flight_max = 200\n", "")), "n.in_flight_max"),
        ];
        for (text, key) in cases {
            let (read, problems) = read_text(DEVNET, &text);
            assert!(problems.iter().any(|problem| problem.starts_with(&format!("{key}: "))), "{key}: {problems:?}");
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(read.is_none() || key == "n.surplus" || key == "n.block_time", "{key}");
        }
    }

    #[test]
    fn a_cluster_that_nobody_knows_must_name_its_assets() {
        let (read, problems) = read_text("solana:x", &minimal(DEFAULTS));
        assert!(read.is_none() && problems[0].starts_with("n.assets: is missing"), "{problems:?}");
    }
}
