//! The configuration of a family of chains.

use std::sync::Arc;

use crate::{Network, chain::Chain, clock::Clock, config::Section};

/// A kind of chain: everything about it is in its one crate.
pub trait Family: Send + Sync {
    /// The CAIP-2 namespace whose networks it serves, for example `eip155`.
    fn namespace(&self) -> &'static str;

    /// Reads one `[networks."…"]` table and makes the chain of it, without
    /// asking the chain anything. Every mistake goes to the section, which
    /// collects them; `None` when there was one. Called once at start, and by
    /// `config check` and `doctor`.
    fn configure(&self, network: Network, section: Section, clock: Arc<dyn Clock>) -> Option<Arc<dyn Chain>>;

    /// Returns the networks that need no more than nodes and keys, for `config init`.
    fn known_networks(&self) -> Vec<KnownNetwork> {
        Vec::new()
    }
}

/// A network that needs no more than nodes and keys, and some of them assets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownNetwork {
    /// Its CAIP-2 identifier.
    pub network: Network,
    /// Its name, for people.
    pub name: &'static str,
    /// Its name in protocol v1.
    pub legacy_name: Option<&'static str>,
    /// Nodes to begin with.
    pub rpc: StartingNode,
    /// The key of its table that names the gas wallets.
    pub keys: &'static str,
    /// The environment variable that holds one of them.
    pub key_variable: &'static str,
    /// The lines of an asset to begin with, where none of the network's is
    /// known; `None` where some are.
    pub asset: Option<&'static str>,
}

/// A node to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartingNode {
    /// One that its operators offer to anybody; `None` where there is none.
    pub public: Option<&'static str>,
    /// The address of a node on this machine.
    pub local: &'static str,
}
