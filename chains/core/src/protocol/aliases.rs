//! Other spellings of networks, as requests of today's servers bring them.
//!
//! None of them is announced, none is a name of two networks, and the payment's
//! signature binds to the chain itself whatever it was called.

use crate::Network;

/// An alias, the network's CAIP-2 identifier, and where the alias is met.
type Row = (&'static str, &'static str, &'static str);

/// Servers that were written for other facilitators; seen in public issue reports of API vendors.
const SERVERS: &str = "requests of servers, in public issue reports";

/// Drafts of Solana's CAIP-2 profile name clusters, as several wallets' libraries do.
const CLUSTERS: &str = "cluster names in place of the genesis hash";

/// The names of protocol v1 for networks, where they are written with the chain's kind.
const SPELLED_OUT: &str = "the v1 name with `-mainnet`";

const MAINNET: &str = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
const DEVNET: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
const TESTNET: &str = "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z";

/// Every alias that is known.
pub const ALIASES: [Row; 16] = [
    ("base", "eip155:8453", SERVERS),
    ("base-mainnet", "eip155:8453", SERVERS),
    ("base-sepolia", "eip155:84532", SERVERS),
    ("polygon", "eip155:137", SERVERS),
    ("polygon-mainnet", "eip155:137", SERVERS),
    ("polygon-amoy", "eip155:80002", SERVERS),
    ("avalanche-mainnet", "eip155:43114", SPELLED_OUT),
    ("sei-mainnet", "eip155:1329", SPELLED_OUT),
    ("solana", MAINNET, SERVERS),
    ("solana-mainnet", MAINNET, SERVERS),
    ("solana-mainnet-beta", MAINNET, CLUSTERS),
    ("solana-devnet", DEVNET, SERVERS),
    ("solana:mainnet", MAINNET, CLUSTERS),
    ("solana:mainnet-beta", MAINNET, CLUSTERS),
    ("solana:devnet", DEVNET, CLUSTERS),
    ("solana:testnet", TESTNET, CLUSTERS),
];

/// Returns the aliases of a network.
pub fn of(network: &Network) -> impl Iterator<Item = &'static str> {
    ALIASES.iter().filter(move |(_, known, _)| *known == network.as_str()).map(|(alias, ..)| *alias)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_alias_is_one_networks_and_never_a_networks_own_name() {
        let mut seen = BTreeSet::new();
        for (alias, network, source) in ALIASES {
            assert!(seen.insert(alias), "{alias} stands twice");
            let network: Network = network.parse().expect("CAIP-2");
            assert!(alias != network.as_str() && !source.is_empty());
            assert!(of(&network).any(|one| one == alias));
        }
    }
}
