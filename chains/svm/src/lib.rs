//! Solana: everything about it, and the only place that knows the solana crates.
//!
//! Code map, in reading order:
//!
//! | module | what it holds |
//! |---|---|
//! | [`family`] | how a cluster of namespace `solana` is made of its configuration |
//! | [`networks`], [`config`] | known clusters and mints as data; one configuration table, read |
//! | [`exact`] | scheme `exact`: a payer's transaction decoded, evaluated, verified and planned |
//! | [`compute_budget`], [`prices`] | what a transaction may use and may cost, at most and now |
//! | [`token`] | the token programs' transfer, and where a token account lives |
//! | [`mint`], [`token_account`] | which mints and accounts move exactly what they are told |
//! | [`programs`] | the programs that a payment may call |
//! | [`account_reader`], [`blockhashes`] | token accounts and blockhashes, read for many payments at a time |
//! | `chain`, [`plan`] | the seam; what is stored of a transaction |
//! | [`blocks`], [`pace`], [`logs`] | the chain's slots; which claims about them are believed; what the node tells by itself |
//! | `observe`, `failure` | what became of a transaction, with proof; what its errors mean |
//! | `recheck`, [`resends`] | whether a payment that waited is still good; when bytes are sent again |
//! | `open`, `abilities`, `wallet_tokens` | whether nodes and mints are what the configuration says, and can end payments; money in gas wallets; doctor |
//! | [`rpc`] | nodes: failover, broadcast, the one table that reads their answers to a send |
//! | [`gas_wallet`], [`keygen`] | keys that pay fees |
//! | [`reason`] | codes, letter for letter |
//! | [`local`] | a local validator that poses as devnet, for `demo` and tests |
//!
//! Invariants: nothing in here survives a restart or has to; no task is
//! spawned here; URLs are shown by host only; one endpoint's word ends nothing.
//! The decisions of [`exact::rules`], [`exact::guards`], [`exact::smart_wallet`],
//! [`exact::lookup`], [`mint`], [`token_account`] and [`pace`] are made without
//! I/O: what they need of the chain comes in as data.

mod abilities;
mod chain;
mod context;
mod failure;
#[cfg(test)]
mod fake_node;
#[cfg(test)]
mod local_chain;
mod mints;
mod observe;
mod open;
mod recheck;
mod wallet_tokens;

pub mod account_reader;
pub mod blockhashes;
pub mod blocks;
pub mod compute_budget;
pub mod config;
pub mod exact;
pub mod family;
pub mod gas_wallet;
pub mod keygen;
pub mod local;
pub mod logs;
pub mod mint;
pub mod networks;
pub mod pace;
pub mod plan;
pub mod prices;
pub mod programs;
pub mod reason;
pub mod resends;
pub mod rpc;
pub mod token;
pub mod token_account;

pub use family::Svm;
