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
}
