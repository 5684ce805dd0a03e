//! Transactions of the gas wallets: what they do, what they offer, their bytes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`plan`] | what is stored of a payment's transfer |
//! | [`gas`] | the gas that a transaction needs |
//! | [`fees`] | what a transaction offers for its gas |
//! | [`sign`] | the transaction for a purpose, and its signed bytes |

pub mod fees;
pub mod gas;
pub mod plan;
pub(crate) mod sign;
