//! The gas wallets of one network: their keys, and what the chain says of them.

mod keys;
pub(crate) mod keystore;
mod on_chain;

pub use keys::GasWallets;
pub(crate) use on_chain::{balance, nonce, nonce_at};
