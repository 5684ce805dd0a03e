//! The seam between the service and the chain families: a chain is a
//! [`Profile`] (what it is), an [`Execution`] (what it does) and a [`Health`]
//! (whether it is well).
//!
//! A chain holds nothing that must survive a restart. What must is in the
//! service's store, and comes back through the arguments.

mod execution;
mod health;
mod profile;

pub use execution::Execution;
pub use health::{BatchContract, Health, NodeLook, SILENCE_MAX};
pub use profile::{LossBudget, Offer, Parameters, Profile, Strangers};

use crate::{Network, Rejection};

/// One configured network.
pub trait Chain: Profile + Execution + Health {}

impl<C: Profile + Execution + Health> Chain for C {}

/// The chain could not be asked. The text is for operators and never leaves
/// the process through an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{network} cannot be reached: {detail}")]
pub struct ChainUnavailable {
    /// The network.
    pub network: Network,
    /// The observation, without credentials.
    pub detail: String,
}

/// The reason why a network is not proven to be what the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Nobody could be asked now.
    #[error(transparent)]
    Unavailable(#[from] ChainUnavailable),
    /// The endpoints or the assets are not what the configuration says.
    #[error("{network}: {detail}")]
    Mismatch {
        /// The network.
        network: Network,
        /// The observation, its meaning, and the remedy.
        detail: String,
    },
}

/// The reason why nothing can be offered for inclusion now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// No block has been seen yet.
    #[error("no block has been seen yet")]
    NoBlock,
    /// The market asks more than the operator allows.
    #[error("the network's price is {asked}, the configured ceiling is {ceiling} (in the coin's atomic units)")]
    AboveCeiling {
        /// The price of the next block, in the coin's atomic units.
        asked: u128,
        /// The configured ceiling.
        ceiling: u128,
    },
    /// Pools let a transaction be replaced only at far more than the market asks.
    #[error("a replacement would have to offer {asked}, and {limit} is the most that the market's price allows for")]
    FarAboveMarket {
        /// The price that pools ask for, in the coin's atomic units.
        asked: u128,
        /// The most that is offered at the present price.
        limit: u128,
    },
    /// The plan cannot be read.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// The reason why a plan cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The gas wallet has no key here.
    #[error("gas wallet {0} has no key in the configuration")]
    NoKey(String),
    /// The plan's text is not one that this build writes.
    #[error("the stored plan cannot be read: {0}")]
    Plan(String),
    /// The plan would be void before its transaction can be included.
    #[error("{}", .0.message)]
    Void(Rejection),
}
