//! One `[networks."eip155:…"]` table, read.
//!
//! Keys with the same default on every network must be there: the loader
//! merges them in from `config.default.toml`. Keys whose default depends on
//! the network come from [`networks`](crate::known_networks) unless the file has them.

mod assets;
mod in_force;

use std::{str::FromStr, time::Duration};

use alloy::primitives::{Address, B256, U256};
use chains_core::{
    Amount, Network, Secret,
    chain::LossBudget,
    config::{Section, Source},
};
use chains_rpc::Endpoint as _;
use reqwest::Url;

use crate::{
    abi,
    extension::builder_code::BuilderCodes,
    health::token_code::TokenUpgrades,
    known_networks::{self, Known},
    rpc::{Rpc, endpoint::Endpoint},
    wallet::GasWallets,
};

/// The defaults of a custom network.
const CUSTOM: Known = Known {
    chain_id: 0,
    name: "custom",
    legacy_name: None,
    coin: "coins",
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

/// The configuration of one network, besides keys and endpoints.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its CAIP-2 identifier.
    pub network: Network,
    /// Its EIP-155 chain id.
    pub chain_id: u64,
    /// Its name in protocol v1.
    pub legacy_name: Option<String>,
    /// The coin that pays for gas, for people.
    pub coin: &'static str,
    /// Blocks until a transfer counts.
    pub confirmations: u64,
    /// Transactions of one gas wallet that may wait for a block at a time.
    pub in_flight_max: usize,
    /// The usual time between blocks.
    pub block_time: Duration,
    /// By how much this machine's clock and the chain's may differ.
    pub clock_skew_max: Duration,
    /// The WebSocket of a node that tells of new blocks; `None`: they are asked for.
    pub websocket: Option<Url>,
    /// Blocks that a transaction may stay unseen before its bytes are sent again.
    pub resend_after_blocks: u64,
    /// Blocks that the oldest transaction of a gas wallet may wait at too low a
    /// price before a dearer one takes its place.
    pub bump_after_blocks: u64,
    /// The interval at which endpoints and assets are proven again.
    pub recheck_interval: Duration,
    /// The tip, in wei.
    pub tip_per_gas: u128,
    /// The most that a unit of gas may cost, in wei.
    pub fee_per_gas_max: u128,
    /// The balance that a gas wallet needs to take new settlements, in wei.
    pub gas_balance_min: Amount,
    /// The gas that payments which fail on chain may cost within an hour.
    pub loss_budget: LossBudget,
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
    /// The places where payers with code (EIP-1271 wallets, EIP-7702 accounts) may pay.
    pub contract_wallets: ContractWallets,
    /// True when permits (EIP-2612) are taken to the chain for payers.
    pub sponsor_eip2612: bool,
    /// True when payers' own approvals are sent for them.
    pub sponsor_erc20_approval: bool,
    /// The most gas money that one of these payers is given for an approval, in wei.
    pub sponsor_funding_max: U256,
    /// The most gas money that all of them are given in an hour, in wei.
    pub sponsor_funding_per_hour_max: U256,
    /// Factories that may deploy payers' wallets (ERC-6492).
    pub erc6492_factories: Vec<Address>,
    /// The fate of assets whose token is upgraded.
    pub token_upgrades: TokenUpgrades,
    /// The operator's names in the calldata of settlements.
    pub builder_codes: BuilderCodes,
    /// True when transactions carry several settlements, where the contract for it is.
    pub batch: bool,
    /// The assets that can be paid with.
    pub assets: Vec<Asset>,
}

/// The nodes on whose word payers with code may pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContractWallets {
    /// Nowhere.
    Refused,
    /// With nodes that simulate in the block to come.
    Simulated,
    /// Also with nodes that do not.
    Unsimulated,
}

/// A token that can be paid with: by Permit2 always, which asks of a token no
/// more than ERC-20.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its contract.
    pub address: Address,
    /// For people.
    pub symbol: String,
    /// For people: so many digits of an amount stand behind the point.
    pub decimals: u8,
    /// The smallest payment.
    pub amount_min: Amount,
    /// The EIP-712 domain of its EIP-3009 authorizations; `None` when it knows none.
    pub eip3009: Option<Domain>,
    /// True when it may know EIP-2612: whether sponsoring a permit is worth a try.
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

/// A transfer needs at least this long to get into a block: the reference's slack.
const EXPIRY_SLACK_SECONDS: u64 = 6;

impl Config {
    /// The usual time between blocks, in whole seconds, 1 at least.
    pub fn block_seconds(&self) -> u64 {
        self.block_time.as_secs().saturating_add(u64::from(self.block_time.subsec_nanos() > 0)).max(1)
    }

    /// Seconds after the block to come for which an authorization must still
    /// be valid: two blocks, and no less than the reference asks for.
    pub fn expiry_slack(&self) -> u64 {
        self.block_seconds().saturating_mul(2).max(EXPIRY_SLACK_SECONDS)
    }

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
    let known = chain_id.and_then(known_networks::known).unwrap_or(&CUSTOM);
    let testnet = section.optional("testnet").unwrap_or(known.testnet);
    let rpc = endpoints(&network, section);
    let websocket = websocket(section);
    let wallets = GasWallets::configure(section, testnet);
    let policy = policy(section, known);
    let assets = assets::assets(section, known, chain_id.unwrap_or_default());
    let (chain_id, policy, assets, websocket) = (chain_id?, policy?, assets?, websocket.ok()?);
    let config = Config { network, chain_id, websocket, assets, ..policy };
    in_force::note(section, known, &config, testnet);
    Some((config, wallets?, rpc?))
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
        match Endpoint::new(network, url.expose().trim(), timeout) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(seen) => section.problem_at("rpc", i, seen, "write an http or https URL"),
        }
    }
    // What else is in a URL may be a key.
    section.describe("rpc", endpoints.iter().map(|endpoint| endpoint.host().to_owned()).collect::<Vec<_>>(), "hosts");
    let complete = !endpoints.is_empty() && endpoints.len() == urls.len();
    complete.then(|| Rpc::new(network.clone(), endpoints, hedge_after))
}

/// A mistake that the section has been told of.
struct Reported;

/// `websocket`; `None` when it is left out or turned off.
fn websocket(section: &mut Section) -> Result<Option<Url>, Reported> {
    let written = section.optional::<Secret>("websocket").filter(|written| written.expose() != "off");
    let Some(written) = written else {
        section.describe("websocket", "off", "host");
        section.assume("websocket", "off", Source::Default);
        return Ok(None);
    };
    let url = Url::parse(written.expose().trim()).ok();
    let good = url.filter(|url| matches!(url.scheme(), "ws" | "wss") && url.host_str().is_some());
    match &good {
        // What else is in a URL may be a key.
        Some(url) => section.describe("websocket", url.host_str().unwrap_or_default(), "host"),
        None => section.problem("websocket", "is not a ws or wss URL", "write one, or \"off\", or leave it out"),
    }
    good.map(Some).ok_or(Reported)
}

/// Everything but what names the network and its assets.
fn policy(section: &mut Section, known: &Known) -> Option<Config> {
    let placeholder: Network = "eip155:0".parse().ok()?;
    let legacy_name = section.optional("legacy_name").or_else(|| known.legacy_name.map(str::to_owned));
    let confirmations = positive(section, "confirmations", Some(known.confirmations));
    let in_flight_max = positive(section, "in_flight_max", None);
    let block_time = section.optional("block_time").unwrap_or(known.block_time());
    if block_time.is_zero() {
        section.problem("block_time", "is not a time", "write a duration such as \"2s\"");
    }
    let patience = Patience::at(block_time);
    let resend_after_blocks = positive(section, "resend_after_blocks", Some(patience.resend_after));
    let bump_after_blocks = positive(section, "bump_after_blocks", Some(patience.bump_after));
    let recheck_interval = recheck_interval(section);
    let batch = batch(section);
    let clock_skew_max = section.required("clock_skew_max");
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
    let contract_wallets = contract_wallets(section);
    let valid_for_max = section.optional("valid_for_max");
    let gas_balance_min = section.optional("gas_balance_min");
    let loss_budget = loss_budget(section);
    // Every key is read before the first mistake ends the reading: what is left unread is taken for unknown.
    let builder_codes = BuilderCodes::read(section);
    let (fee_per_gas_max, gas_limit_eoa) = (fee_per_gas_max?, gas_limit_eoa?);
    let gas_limit_contract_wallet = gas_limit_contract_wallet?;
    let transactions = u128::from(GAS_BALANCE_TRANSACTIONS * (gas_limit_eoa + gas_extra));
    Some(Config {
        network: placeholder,
        chain_id: 0,
        legacy_name,
        coin: known.coin,
        confirmations: confirmations?,
        in_flight_max: usize::try_from(in_flight_max?).ok()?,
        block_time,
        clock_skew_max: clock_skew_max?,
        websocket: None,
        resend_after_blocks: resend_after_blocks?,
        bump_after_blocks: bump_after_blocks?,
        recheck_interval: recheck_interval?,
        loss_budget: loss_budget(fee_per_gas_max.saturating_mul(u128::from(gas_limit_contract_wallet))),
        tip_per_gas: tip_per_gas?,
        fee_per_gas_max,
        gas_balance_min: gas_balance_min.unwrap_or_else(|| Amount::from(fee_per_gas_max.saturating_mul(transactions))),
        gas_limit_eoa,
        gas_limit_contract_wallet,
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
        builder_codes,
        batch: batch?,
        assets: vec![],
    })
}

/// Blocks for which a transaction that waits is left as it is, unless the
/// configuration says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Patience {
    resend_after: u64,
    bump_after: u64,
}

impl Patience {
    /// The usual one at this time between blocks. Where blocks are slow, two of
    /// them pass before bytes are sent again, and four before more is offered:
    /// one may be full by chance. Where they are fast it is three and six, and
    /// at least 2 s and 4 s: answers of nodes take their time.
    fn at(block_time: Duration) -> Self {
        const SLOW: Duration = Duration::from_secs(6);
        if block_time >= SLOW {
            return Self { resend_after: 2, bump_after: 4 };
        }
        let millis = block_time.as_millis().max(1);
        let blocks_of = |time: u128| u64::try_from(time.div_ceil(millis)).unwrap_or(u64::MAX);
        Self { resend_after: blocks_of(2000).max(3), bump_after: blocks_of(4000).max(6) }
    }
}

fn contract_wallets(section: &mut Section) -> Option<ContractWallets> {
    let (may, unsimulated) = (section.required("contract_wallets"), section.required("contract_wallets_unsimulated"));
    Some(match (may?, unsimulated?) {
        (false, _) => ContractWallets::Refused,
        (true, false) => ContractWallets::Simulated,
        (true, true) => ContractWallets::Unsimulated,
    })
}

/// Payments of contract wallets at the fee ceiling that a budget holds where
/// none is written: of one code, and of one API key or a whole network.
const LOST_OF_ONE_CODE: u128 = 4;
const LOST_IN_ALL: u128 = 16;

/// The budgets as written, else in proportion to the cost of one contract
/// wallet's payment at the fee ceiling, in wei.
fn loss_budget(section: &mut Section) -> impl FnOnce(u128) -> LossBudget + use<> {
    let network = section.optional("gas_lost_per_hour_max");
    let key = section.optional("gas_lost_per_hour_key_max");
    let code = section.optional("gas_lost_per_hour_code_max");
    move |payment| {
        let usual = |payments: u128| Amount::from(payment.saturating_mul(payments));
        LossBudget {
            network: network.unwrap_or_else(|| usual(LOST_IN_ALL)),
            key: key.unwrap_or_else(|| usual(LOST_IN_ALL)),
            code: code.unwrap_or_else(|| usual(LOST_OF_ONE_CODE)),
            strangers: None,
        }
    }
}

/// Reads `batch`: true when transactions may carry several settlements.
fn batch(section: &mut Section) -> Option<bool> {
    let text = section.required::<String>("batch")?;
    match text.as_str() {
        "auto" => Some(true),
        "off" => Some(false),
        _ => {
            section.problem("batch", format!("is {text:?}"), "write \"off\" or \"auto\"");
            None
        }
    }
}

fn recheck_interval(section: &mut Section) -> Option<Duration> {
    let interval = section.required::<Duration>("recheck_interval")?;
    if interval.is_zero() {
        section.problem("recheck_interval", "is not a time", "write a duration such as \"1m\"");
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
            None => section.problem_at(
                "erc6492_factories",
                i,
                crate::parse::address_fault(text),
                "write 0x and 40 hex digits",
            ),
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

#[cfg(test)]
pub(crate) mod tests;
