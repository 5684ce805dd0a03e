//! The smallest chain family: in memory, scripted, for tests. Read it first;
//! copy it to begin a new family.
//!
//! * [`world`]: the chain itself: balances, a pool, blocks, and the knobs that
//!   make it misbehave.
//! * [`scheme`]: `exact` on it.
//! * [`chain`]: the seam, [`chains_core::chain::Chain`], over a world.
//!
//! A payment's payload is `{"from", "nonce", "signature"}`; the signature is
//! good when it reads `signed by <from>`.

pub mod chain;
pub mod scheme;
pub mod world;

use std::{sync::Arc, time::Duration};

use chains_core::{
    Network,
    chain::{Chain, Pace},
    clock::Clock,
    config::Section,
    family::Family,
};

pub use chain::FakeChain;
pub use world::World;

/// The family of fake chains; each network gets a world of its own.
#[derive(Debug, Default)]
pub struct FakeFamily;

impl Family for FakeFamily {
    fn namespace(&self) -> &'static str {
        "fake"
    }

    fn configure(&self, network: Network, mut section: Section, _clock: Arc<dyn Clock>) -> Option<Arc<dyn Chain>> {
        let gas_wallets = section.required::<Vec<String>>("gas_wallets")?;
        if gas_wallets.is_empty() {
            section.problem("gas_wallets", "is empty", "name at least one gas wallet");
            return None;
        }
        let in_flight_max = section.required::<u64>("in_flight_max")?;
        let pace = Pace {
            in_flight_max: usize::try_from(in_flight_max).unwrap_or(usize::MAX),
            confirmations: section.optional("confirmations").unwrap_or(1),
            block_time: section.required("block_time")?,
            resend_after: 2,
            final_after: 4,
            recheck_interval: section.optional("recheck_interval").unwrap_or(Duration::from_mins(1)),
        };
        Some(Arc::new(FakeChain::new(network, gas_wallets, pace, Arc::new(World::default()))))
    }
}
