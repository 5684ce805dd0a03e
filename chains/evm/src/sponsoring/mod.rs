//! What the facilitator brings to the chain for a payer, besides the payment.

pub(crate) mod eip2612;
