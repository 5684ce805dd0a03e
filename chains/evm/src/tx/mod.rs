//! Transactions of the gas wallets: what they do, what they offer, their bytes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`plan`] | what is stored of a payment's transfer |
//! | [`gas`] | the gas that a transaction needs |
//! | [`fees`] | what a transaction offers for its gas |
//! | [`price_floor`] | the least prices that nodes take |
//! | [`batch`] | transactions that carry many settlements |
//! | [`sign`] | the transaction for a purpose, and its signed bytes |

pub mod batch;
pub mod fees;
pub mod gas;
pub mod plan;
pub mod price_floor;
pub(crate) mod sign;
