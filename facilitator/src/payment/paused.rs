//! Payments that the operator takes none of for a while. Settlements under way
//! go on to their end.

use std::{collections::BTreeSet, fmt};

use chains_core::{Network, Payment};
use parking_lot::RwLock;

use crate::metrics;

/// The payments that are paused: `[paused]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paused {
    /// All of them.
    pub everything: bool,
    /// Those of these networks.
    pub networks: BTreeSet<Network>,
    /// Those in these assets, each with its network.
    pub assets: BTreeSet<(Network, String)>,
    /// Those that requests with these API keys ask for, by the keys' names.
    pub keys: BTreeSet<String>,
}

impl Paused {
    /// Returns true when a payment that this caller asks for is not taken.
    pub fn covers(&self, payment: &Payment, tenant: &str) -> bool {
        let is_asset =
            |(network, asset): &(Network, String)| *network == payment.network && is_same_asset(asset, &payment.asset);
        self.everything
            || self.networks.contains(&payment.network)
            || self.keys.contains(tenant)
            || self.assets.iter().any(is_asset)
    }

    /// The number of its entries.
    fn entries(&self) -> usize {
        usize::from(self.everything) + self.networks.len() + self.assets.len() + self.keys.len()
    }

    /// Returns true when nothing is paused.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Hex has two spellings of a letter; base58 has not.
fn is_same_asset(one: &str, other: &str) -> bool {
    if one.starts_with("0x") { one.eq_ignore_ascii_case(other) } else { one == other }
}

/// As `/ready` and the log say it.
impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let everything = self.everything.then(|| "everything".to_owned());
        let networks = self.networks.iter().map(ToString::to_string);
        let assets = self.assets.iter().map(|(network, asset)| format!("{network}/{asset}"));
        let keys = self.keys.iter().map(|key| format!("key {key}"));
        let parts: Vec<String> = everything.into_iter().chain(networks).chain(assets).chain(keys).collect();
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// The pause in force, which changes while the service runs.
#[derive(Debug, Default)]
pub struct Pause(RwLock<Paused>);

impl Pause {
    /// A service that begins with these paused.
    pub const fn of(paused: Paused) -> Self {
        Self(RwLock::new(paused))
    }

    /// Puts another pause in force; returns false when it was in force already.
    pub fn replace(&self, paused: Paused) -> bool {
        let mut now = self.0.write();
        let changes = *now != paused;
        metrics::paused(paused.entries());
        *now = paused;
        changes
    }

    /// The pause in force.
    pub fn now(&self) -> Paused {
        self.0.read().clone()
    }

    /// Returns true when a payment that this caller asks for is not taken now.
    pub fn covers(&self, payment: &Payment, tenant: &str) -> bool {
        self.0.read().covers(payment, tenant)
    }
}

#[cfg(test)]
mod tests {
    use chains_core::{Amount, payment::Chosen};
    use serde_json::Map;

    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect("CAIP-2")
    }

    fn payment(on: &str, asset: &str) -> Payment {
        let network = network(on);
        Payment {
            scheme: "exact".into(),
            network: network.clone(),
            asset: asset.into(),
            pay_to: "payee".into(),
            amount: Amount::ZERO,
            extra: Map::new(),
            chosen: Chosen { scheme: "exact".into(), network: Some(network) },
            payload: Map::new(),
            extensions: Map::new(),
        }
    }

    #[test]
    fn a_pause_covers_what_it_names_and_nothing_else() {
        let usdc = payment("eip155:8453", "0xAb");
        let of = |networks: &[&str], assets: &[(&str, &str)], keys: &[&str]| Paused {
            everything: false,
            networks: networks.iter().map(|text| network(text)).collect(),
            assets: assets.iter().map(|(on, asset)| (network(on), (*asset).to_owned())).collect(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        let cases = [
            (Paused::default(), false, "nothing"),
            (Paused { everything: true, ..Paused::default() }, true, "everything"),
            (of(&["eip155:8453"], &[], &[]), true, "eip155:8453"),
            (of(&["eip155:1"], &[], &[]), false, "eip155:1"),
            (of(&[], &[("eip155:8453", "0xaB")], &[]), true, "eip155:8453/0xaB"),
            (of(&[], &[("eip155:1", "0xAb")], &[]), false, "eip155:1/0xAb"),
            (of(&[], &[("eip155:8453", "0xCd")], &["shop"]), true, "eip155:8453/0xCd, key shop"),
            (of(&[], &[], &["bakery"]), false, "key bakery"),
        ];
        for (paused, expected, shown) in cases {
            assert_eq!(paused.covers(&usdc, "shop"), expected, "{paused}");
            assert_eq!(paused.to_string(), shown);
        }
        let mint = of(&[], &[("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "Mint")], &[]);
        let other = payment("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "mint");
        assert!(!mint.covers(&other, ""), "base58 tells letters apart");
    }
}
