//! Solana: everything about it, and the only place that knows the solana crates.
//!
//! Code map, in reading order:
//!
//! | module | what it holds |
//! |---|---|
//! | [`family`] | how a cluster of namespace `solana` is made of its configuration |
//! | [`networks`], [`config`] | known clusters and mints as data; one configuration table, read |
//! | [`exact`] | scheme `exact`: a payer's transaction decoded, judged, simulated and planned |
//! | [`compute_budget`] | what a transaction may use and may cost |
//! | [`token`] | the token programs' transfer, and where a token account lives |
//! | [`mint`], [`token_account`] | which mints and accounts move exactly what they are told |
//! | [`programs`] | the programs that a payment may call |
//! | `chain`, [`plan`] | signing and sending; what is stored of a transaction |
//! | [`heads`], [`logs`] | the chain's slots; what the node tells by itself |
//! | `observe`, `failure` | what became of a transaction, with proof; what its errors mean |
//! | `open` | whether nodes and mints are what the configuration says; doctor |
//! | [`rpc`] | nodes: failover, broadcast, the one table that reads their answers to a send |
//! | [`gas_wallet`], [`keygen`] | keys that pay fees |
//! | [`reason`] | codes, letter for letter |
//! | [`local`] | a local validator that poses as devnet, for `demo` and tests |
//!
//! Invariants: nothing in here survives a restart or has to; no task is
//! spawned here; URLs are shown by host only. What [`exact::rules`],
//! [`exact::smart_wallet`], [`exact::lookup`], [`mint`] and [`token_account`]
//! decide, they decide without I/O: what they need of the chain comes in as data.

mod chain;
mod context;
mod failure;
#[cfg(test)]
mod fake_node;
#[cfg(test)]
mod local_chain;
mod observe;
mod open;

pub mod compute_budget;
pub mod config;
pub mod exact;
pub mod family;
pub mod gas_wallet;
pub mod heads;
pub mod keygen;
pub mod local;
pub mod logs;
pub mod mint;
pub mod networks;
pub mod plan;
pub mod programs;
pub mod reason;
pub mod rpc;
pub mod token;
pub mod token_account;

pub use family::Svm;
