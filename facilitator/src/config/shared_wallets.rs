//! Gas wallets that stand in the tables of several networks whose transactions do not name theirs. Pure.

use std::{collections::BTreeMap, fmt, sync::Arc};

use chains_core::{Network, chain::Chain};

/// A gas wallet that several networks share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedWallet {
    /// Its address.
    pub address: String,
    /// The networks, in the order of the configuration. Two at least.
    pub networks: Vec<Network>,
}

impl SharedWallet {
    /// The consequence, for operators.
    pub const MEANING: &str = "what is signed for one of these networks does not say so: whoever knows the key of a test \
                               network spends the money of the other, and the audit of one finds transactions of the other";
    /// The way out, for operators.
    pub const FIX: &str = "give each network a key of its own; move the old one to `fee_payers_former` until what was \
                           begun with it is settled";
}

impl fmt::Display for SharedWallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<String> = self.networks.iter().map(ToString::to_string).collect();
        write!(f, "it pays on {}", networks.join(" and "))
    }
}

/// The gas wallets that networks share and should not, by address.
pub fn shared_wallets(chains: &[Arc<dyn Chain>]) -> Vec<SharedWallet> {
    let mut users: BTreeMap<&str, Vec<Network>> = BTreeMap::new();
    for chain in chains.iter().filter(|chain| !chain.transactions_name_their_network()) {
        for wallet in chain.gas_wallets() {
            users.entry(wallet).or_default().push(chain.network().clone());
        }
    }
    let shared = users.into_iter().filter(|(_, networks)| networks.len() > 1);
    shared.map(|(address, networks)| SharedWallet { address: address.to_owned(), networks }).collect()
}

#[cfg(test)]
mod tests {
    use chains_core::clock::{Clock, ManualClock, Millis};

    use super::*;
    use crate::{config::read, families::FAMILIES};

    const PAIR: &str = "2AXDGYSE4f2sz7tvMMzyHvUfcoJmxudvdhBcmiUSo6iuCXagjUCKEQF21awZnUGxmwD4m9vGXuC3qieHXJQHAcT";
    const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    fn table(network: &str, wallets: &str) -> String {
        format!("[networks.\"{network}\"]\nrpc = [\"http://a\"]\n{wallets}\n")
    }

    #[test]
    fn a_key_of_two_clusters_is_told_and_one_of_two_chains_with_ids_is_not() {
        let [devnet, mainnet] = ["solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"];
        let (key, pair) = ("gas_wallets = [\"${KEY}\"]", "fee_payers = [\"${PAIR}\"]");
        let evm = [table("eip155:84532", key), table("eip155:8453", key)].concat();
        let cases = [
            (evm.clone(), vec![]),
            (table(devnet, pair), vec![]),
            ([table(devnet, pair), table(mainnet, pair), evm].concat(), vec![devnet, mainnet]),
        ];
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Millis(0)));
        let environment = [("KEY", KEY), ("PAIR", PAIR)].into_iter().collect();
        for (text, networks) in cases {
            let config = read(&text, &environment, FAMILIES, &clock);
            let config = config.unwrap_or_else(|report| panic!("{:?}", report.problems()));
            let mut found: Vec<String> = shared_wallets(&config.chains)
                .into_iter()
                .flat_map(|shared| shared.networks)
                .map(|n| n.to_string())
                .collect();
            found.sort();
            let mut networks: Vec<String> = networks.into_iter().map(str::to_owned).collect();
            networks.sort();
            assert_eq!(found, networks, "{text}");
        }
    }
}
