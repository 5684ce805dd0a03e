//! The extensions of the protocol that are honoured here.
//!
//! | module | what it holds |
//! |---|---|
//! | [`builder_code`] | who is named in a settlement's calldata |
//! | [`sponsoring`] | what is taken to the chain for a payer besides the payment |

pub mod builder_code;
pub(crate) mod sponsoring;
