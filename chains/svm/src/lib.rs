//! Solana: everything about it, and the only place that knows the solana crates.
//!
//! Code map, in reading order:
//!
//! | module | what it holds |
//! |---|---|
//! | [`exact`] | scheme `exact`: a payer's transaction decoded and judged |
//! | [`compute_budget`] | what a transaction may use and may cost |
//! | [`token`] | the token programs' transfer, and where a token account lives |
//! | [`mint`], [`token_account`] | which mints and accounts move exactly what they are told |
//! | [`programs`] | the programs that a payment may call |
//! | [`reason`] | codes, letter for letter |
//!
//! Invariant: the verification half does no I/O. What it needs of the chain
//! (lookup tables, inner instructions, accounts) comes in as data.

#[cfg(test)]
mod local_chain;

pub mod compute_budget;
pub mod exact;
pub mod mint;
pub mod programs;
pub mod reason;
pub mod token;
pub mod token_account;
