//! EVM chains: everything about them, and the only place that knows alloy.
//!
//! Code map, in reading order:
//!
//! | module | what it holds |
//! |---|---|
//! | [`family`] | how a network of namespace `eip155` is made of its configuration |
//! | [`known_networks`], [`config`] | known networks and assets as data; one configuration table, read |
//! | `scheme` | schemes `exact` and `upto`, and what every way of paying checks alike |
//! | `method` | payments by EIP-3009 and by Permit2: read, verified, planned |
//! | `extension` | builder codes; permits, approvals and gas money that are taken to the chain for a payer |
//! | [`signature`], `payer_code` | a payer's signature, parsed once: key, EIP-1271, ERC-6492; the code that decides about it |
//! | [`simulation`] | a transaction tried out, at its price, in the block to come |
//! | [`call_batcher`] | everything verification asks of the chain, many payments to one call |
//! | `chain`, [`tx`] | the network as the service sees it; plans, fees, signed bytes |
//! | `recheck` | whether plans that waited are still worth a transaction |
//! | `blocks` | the chain's blocks, one after the other, and its clock |
//! | `observe` | what became of a transaction, with proof by two endpoints |
//! | [`health`] | whether the endpoints and assets are what the configuration says |
//! | [`rpc`] | endpoints: failover, agreement, batches, the one table that reads their texts |
//! | [`wallet`], [`keygen`] | keys that pay gas, and what the chain says of them |
//! | [`reason`] | codes, letter for letter |
//! | [`local`] | a local chain that looks like Base Sepolia, for `demo` and tests |
//!
//! Invariants: nothing in here survives a restart or has to; the only tasks
//! are single calls of the batcher; RPC URLs are shown by host only; texts of
//! nodes are read in [`rpc::send_answers`] and nowhere else.

mod abi;
mod blocks;
mod chain;
mod context;
mod extension;
#[cfg(test)]
mod fake_node;
mod method;
mod observe;
mod parse;
mod payer_code;
mod recheck;
mod scheme;

pub mod call_batcher;
pub mod config;
pub mod family;
pub mod health;
pub mod keygen;
pub mod known_networks;
pub mod local;
pub mod reason;
pub mod rpc;
pub mod signature;
pub mod simulation;
pub mod tx;
pub mod wallet;

pub use chains_rpc::install_ring;
pub use family::Evm;
