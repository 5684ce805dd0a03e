//! The schemes that can be paid with, and what all of them have in common.
//!
//! | module | what it holds |
//! |---|---|
//! | [`exact`] | scheme `exact`: one transfer of exactly the required amount |
//! | [`upto`] | scheme `upto`: a part of what the payer signed |
//! | [`requirements`] | what every way of paying checks alike |
//! | [`verify_error`] | the two ways in which a verification does not end well |

pub(crate) mod exact;
pub(crate) mod requirements;
pub(crate) mod upto;
pub(crate) mod verify_error;
