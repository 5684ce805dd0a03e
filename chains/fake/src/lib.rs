//! The smallest chain family: in memory, scripted, for tests. Read it first;
//! copy it to begin a new family.
//!
//! Code map, in reading order:
//!
//! | module | what it holds |
//! |---|---|
//! | [`action`] | what plans, raw bytes and fee terms say, as JSON |
//! | [`world`] | the chain itself: balances, a pool, blocks |
//! | [`knobs`] | the knobs that make the world misbehave |
//! | [`nodes`] | the nodes before it, each with a fault of its own |
//! | [`scheme`] | `exact` on it |
//! | [`chain`] | the seam, [`chains_core::chain::Chain`], over a world |
//!
//! A payment's payload is `{"from", "nonce", "signature"}`; the signature is
//! good when it reads `signed by <from>`. [`scheme`] lists the optional members.

pub mod action;
pub mod chain;
pub mod knobs;
pub mod nodes;
pub mod scheme;
pub mod world;

use std::{sync::Arc, time::Duration};

use chains_core::{
    Amount, Network,
    chain::{Chain, LossBudget, Parameters},
    clock::Clock,
    config::Section,
    family::Family,
};

pub use action::{Action, Transaction, Transfer};
pub use chain::FakeChain;
pub use knobs::{Clarity, SendStep};
pub use nodes::{Lie, NodeFault};
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
        let usual = parameters();
        let parameters = Parameters {
            in_flight_max: usize::try_from(in_flight_max).unwrap_or(usize::MAX),
            confirmations: section.optional("confirmations").unwrap_or(usual.confirmations),
            block_time: section.required("block_time")?,
            recheck_interval: section.optional("recheck_interval").unwrap_or(usual.recheck_interval),
            ..usual
        };
        Some(Arc::new(FakeChain::new(network, gas_wallets, parameters, Arc::new(World::default()))))
    }
}

/// The usual parameters of a fake chain: one confirmation, and budgets that no
/// test reaches by accident.
#[must_use]
pub fn parameters() -> Parameters {
    let plenty = Amount::from(u64::MAX);
    Parameters {
        in_flight_max: 16,
        confirmations: 1,
        block_time: Duration::from_millis(10),
        resend_after: 2,
        bump_after: 4,
        recheck_interval: Duration::from_mins(1),
        balance_min: Amount::from(1_u64),
        coin_decimals: 18,
        coin: "coins",
        loss_budget: LossBudget { network: plenty, key: plenty, code: plenty, strangers: None },
    }
}

#[cfg(test)]
mod tests;
