//! The configuration of a service, as a table that tests change key by key.

use toml::{Table, Value};

use crate::{
    anvil::{self, Anvil, GAS_WALLET_KEY},
    validator::{self, Validator},
};

/// A chain that a service can be configured for.
pub trait LocalNetwork {
    /// Returns its CAIP-2 identifier.
    fn identifier(&self) -> &str;

    /// Returns the network's table, with every key that it needs.
    fn table(&self) -> Table;
}

impl LocalNetwork for Anvil {
    fn identifier(&self) -> &str {
        anvil::NETWORK
    }

    fn table(&self) -> Table {
        table([
            ("rpc", vec![self.node.url.as_str()].into()),
            ("gas_wallets", vec![GAS_WALLET_KEY].into()),
            ("block_time", "1s".into()),
        ])
    }
}

impl LocalNetwork for Validator {
    fn identifier(&self) -> &str {
        chains_svm::local::NETWORK
    }

    fn table(&self) -> Table {
        table([
            ("rpc", vec![self.chain.url()].into()),
            ("websocket", self.websocket.as_str().into()),
            ("fee_payers", vec![validator::fee_payer().secret().expose()].into()),
            ("allow_genesis_mismatch", true.into()),
            ("block_time", format!("{}ms", self.slot_ms()).into()),
        ])
    }
}

/// Returns a table of these keys.
pub fn table<const N: usize>(keys: [(&str, Value); N]) -> Table {
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Returns the table of USDC or of a token like it: payments by EIP-3009, domain ("USDC", "2").
pub fn asset(address: &str) -> Table {
    let domain = table([("name", "USDC".into()), ("version", "2".into())]);
    let mut asset = token(address);
    asset.insert("eip712".to_owned(), domain.into());
    asset
}

/// Returns the table of a token that is paid with by Permit2 alone.
pub fn permit2_asset(address: &str) -> Table {
    let mut asset = token(address);
    asset.insert("method".to_owned(), "permit2".into());
    asset
}

fn token(address: &str) -> Table {
    table([("address", address.into()), ("symbol", "TOKEN".into()), ("decimals", 6.into())])
}

/// A configuration of one network.
#[derive(Clone, Debug)]
pub struct Config {
    root: Table,
    network: String,
}

impl Config {
    /// Returns the configuration of a network with the defaults of everything else.
    pub fn of(network: &impl LocalNetwork) -> Self {
        let networks = table([(network.identifier(), network.table().into())]);
        Self { root: table([("networks", networks.into())]), network: network.identifier().to_owned() }
    }

    /// Sets a key of a section.
    pub fn set(&mut self, section: &str, key: &str, value: impl Into<Value>) {
        child(&mut self.root, section).insert(key.to_owned(), value.into());
    }

    /// Adds another network; keys are set of the first one.
    pub fn add_network(&mut self, identifier: &str, network: Table) {
        child(&mut self.root, "networks").insert(identifier.to_owned(), network.into());
    }

    /// Sets a key of the network.
    pub fn set_network(&mut self, key: &str, value: impl Into<Value>) {
        self.network_table().insert(key.to_owned(), value.into());
    }

    /// Adds an asset; the first one replaces the known network's list.
    ///
    /// # Panics
    /// If the key `assets` holds something else.
    pub fn add_asset(&mut self, asset: Table) {
        let assets = self.network_table().entry("assets").or_insert_with(|| Value::Array(vec![]));
        assets.as_array_mut().expect("a list").push(asset.into());
    }

    fn network_table(&mut self) -> &mut Table {
        child(child(&mut self.root, "networks"), &self.network)
    }
}

impl std::fmt::Display for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.root.fmt(formatter)
    }
}

fn child<'a>(table: &'a mut Table, key: &str) -> &'a mut Table {
    let child = table.entry(key).or_insert_with(|| Table::new().into());
    child.as_table_mut().expect("a table")
}
