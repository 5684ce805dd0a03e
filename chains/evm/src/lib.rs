//! EVM chains: everything about them, and the only place that knows alloy.
//!
//! Code map, in reading order:
//!
//! | module | what it holds |
//! |---|---|
//! | [`family`] | how a network of namespace `eip155` is made of its configuration |
//! | [`networks`], [`config`] | known networks and assets as data; one configuration table, read |
//! | `exact` | scheme `exact`: EIP-3009 payments read, judged and planned |
//! | `permit2` | payments by Permit2, of scheme `exact` and of `upto` |
//! | `upto` | scheme `upto`: a part of what the payer signed |
//! | `sponsoring` | what is brought to the chain for a payer besides the payment: permits, approvals, gas money |
//! | [`builder_code`] | who is named in a settlement's calldata |
//! | `demand` | what every way of paying checks alike |
//! | [`signature`] | a payer's signature, parsed once: key, EIP-1271, ERC-6492 |
//! | [`simulation`] | a transaction tried out, at its price |
//! | [`lens`] | everything verification asks of the chain, many payments to one call |
//! | `chain`, [`plan`], [`fees`] | signing and sending; what is stored of a transaction; what it offers |
//! | [`heads`] | the chain's blocks, one after the other |
//! | `observe` | what became of a transaction, with proof |
//! | `open`, `permit2_support`, `price_support` | whether the endpoints and assets are what the configuration says |
//! | `doctor` | the same, for people |
//! | [`upgrades`] | whether tokens still run what they ran when the network opened |
//! | [`rpc`] | nodes: failover, batches, the one table that reads their texts |
//! | [`gas_wallet`], [`keygen`] | keys that pay gas |
//! | [`reason`] | codes, letter for letter |
//! | [`local`] | a local chain that looks like Base Sepolia, for `demo` and tests |
//!
//! Invariants: nothing in here survives a restart or has to; no task is ever
//! spawned; RPC URLs are shown by host only; texts of nodes are read in
//! [`rpc::send_answers`] and nowhere else.

mod abi;
pub mod builder_code;
mod chain;
mod context;
mod demand;
mod doctor;
mod exact;
#[cfg(test)]
mod fake_node;
mod observe;
mod open;
mod parse;
mod permit2;
mod permit2_support;
mod price_support;
mod refusal;
mod sponsoring;
mod upto;

pub mod config;
pub mod family;
pub mod fees;
pub mod gas_wallet;
pub mod heads;
pub mod keygen;
pub mod lens;
pub mod local;
pub mod networks;
pub mod plan;
pub mod reason;
pub mod rpc;
pub mod signature;
pub mod simulation;
pub mod upgrades;

pub use family::Evm;
