//! The clusters and mints that are known without configuration, as data.
//!
//! Sources: the official SDKs' default assets and legacy names
//! (<https://github.com/x402-foundation/x402>). A cluster's CAIP-2 reference is the beginning of
//! its genesis hash: <https://namespaces.chainagnostic.org/solana/caip2>.

use chains_core::Network;

/// A known cluster.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// For people.
    pub name: &'static str,
    /// The hash of its first block, base58.
    pub genesis_hash: &'static str,
    /// Its name in protocol v1.
    pub legacy_name: &'static str,
    /// The endpoint that is offered to anybody.
    pub public_node: &'static str,
    /// True when its coin has no value.
    pub testnet: bool,
    /// Its assets.
    pub assets: &'static [KnownAsset],
}

/// A known mint.
#[derive(Clone, Copy, Debug)]
pub struct KnownAsset {
    /// Its address.
    pub mint: &'static str,
    /// Its symbol.
    pub symbol: &'static str,
    /// Its decimals.
    pub decimals: u8,
}

/// Characters of a genesis hash in a CAIP-2 reference.
const REFERENCE_CHARS: usize = 32;

/// The cluster with this identifier, when it is known.
pub fn known(network: &Network) -> Option<&'static Known> {
    CLUSTERS.iter().find(|cluster| is_reference(network.reference(), cluster.genesis_hash))
}

/// All of them.
pub fn all() -> &'static [Known] {
    &CLUSTERS
}

impl Known {
    /// Its CAIP-2 reference.
    pub fn reference(&self) -> &'static str {
        self.genesis_hash.get(..REFERENCE_CHARS).unwrap_or_default()
    }
}

/// Returns whether a CAIP-2 reference names the cluster with this genesis hash.
pub fn is_reference(reference: &str, genesis_hash: &str) -> bool {
    genesis_hash.get(..REFERENCE_CHARS) == Some(reference)
}

const fn asset(symbol: &'static str, mint: &'static str) -> KnownAsset {
    KnownAsset { mint, symbol, decimals: 6 }
}

/// Of devnet and testnet alike.
const TEST_ASSETS: &[KnownAsset] = &[
    asset("USDC", "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"),
    asset("USDG", "4F6PM96JJxngmHnZLBh9n58RH4aTVNWvDs2nuwrT5BP7"),
    asset("PYUSD", "CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM"),
];

static CLUSTERS: [Known; 3] = [
    Known {
        name: "Solana",
        genesis_hash: "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d",
        legacy_name: "solana",
        public_node: "https://api.mainnet-beta.solana.com",
        testnet: false,
        assets: &[
            asset("USDC", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"),
            asset("USDT", "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB"),
            asset("USDG", "2u1tszSeqZ3qBWF3uNGPFc8TzMk2tdiwknnRMWGWjGWH"),
            asset("PYUSD", "2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo"),
            asset("CASH", "CASHx9KJUStyftLFWGvEVf59SGeG9sh5FfcnZMVPCASH"),
        ],
    },
    Known {
        name: "Solana devnet",
        genesis_hash: "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG",
        legacy_name: "solana-devnet",
        public_node: "https://api.devnet.solana.com",
        testnet: true,
        assets: TEST_ASSETS,
    },
    Known {
        name: "Solana testnet",
        genesis_hash: "4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY",
        legacy_name: "solana-testnet",
        public_node: "https://api.testnet.solana.com",
        testnet: true,
        assets: TEST_ASSETS,
    },
];

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use solana_sdk::{hash::Hash, pubkey::Pubkey};

    use super::*;

    #[test]
    fn the_clusters_of_the_official_sdks_are_known_by_their_exact_identifier() {
        let cases = [
            ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", Some("solana")),
            ("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", Some("solana-devnet")),
            ("solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z", Some("solana-testnet")),
            ("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa", None),
            ("solana:etwtrabzayq6imfeykouru166vu2xqa1", None),
        ];
        for (network, legacy_name) in cases {
            let found = known(&network.parse().expect("a network"));
            assert_eq!(found.map(|known| known.legacy_name), legacy_name, "{network}");
        }
    }

    #[test]
    fn every_known_text_is_what_it_should_be() {
        for cluster in &CLUSTERS {
            Hash::from_str(cluster.genesis_hash).expect(cluster.name);
            for asset in cluster.assets {
                Pubkey::from_str(asset.mint).expect(asset.symbol);
            }
        }
    }
}
