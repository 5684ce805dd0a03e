//! The ways in which a transfer is authorized.
//!
//! | module | what it holds |
//! |---|---|
//! | [`eip3009`] | `transferWithAuthorization` of the token itself |
//! | [`permit2`] | Permit2, through the proxies of x402 |

pub(crate) mod eip3009;
pub(crate) mod permit2;
