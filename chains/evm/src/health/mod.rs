//! Proofs that a network is what the configuration says, and well.
//!
//! | module | what it holds |
//! |---|---|
//! | [`prove`] | the proof before payments are taken, and from time to time after |
//! | [`asset_checks`] | the assets, each alone |
//! | [`doctor`] | the same, for people |
//! | [`endpoint_limits`] | what one endpoint cannot do, asked for by name |
//! | [`tip_floor`] | the least price for which one endpoint takes transactions |
//! | [`token_code`] | whether tokens still run what they ran when the network opened |
//! | `wallet_tokens` | money of the assets that lies in gas wallets |
//! | [`batch_support`] | whether transactions can carry many settlements |
//! | [`permit2_support`], [`price_support`], [`block_support`] | what can be simulated here, and how truly |

mod asset_checks;
pub(crate) mod batch_support;
pub(crate) mod block_support;
pub(crate) mod doctor;
mod endpoint_limits;
pub(crate) mod permit2_support;
pub(crate) mod price_support;
pub(crate) mod prove;
mod tip_floor;
pub mod token_code;
mod wallet_tokens;
