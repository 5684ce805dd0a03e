//! Scheme `exact`: one transfer of exactly the required amount.
//!
//! Source: `protocol.md` 2. EIP-3009 only; Permit2 will stand beside it.

mod eip3009;
mod judgement;
mod rules;

use std::sync::Arc;

use chains_core::{
    Payment, Rejection,
    scheme::{Authorization, Scheme},
};

use crate::{context::Context, reason};

/// The scheme's name.
pub(crate) const NAME: &str = "exact";

/// Scheme `exact` on one network.
pub(crate) struct Exact {
    context: Arc<Context>,
}

impl Exact {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }
}

impl Scheme for Exact {
    fn name(&self) -> &'static str {
        NAME
    }

    fn read(&self, payment: &Payment) -> Result<Box<dyn Authorization>, Rejection> {
        for (key, what) in [("permit2Authorization", "Permit2"), ("delegationManager", "ERC-7710")] {
            if payment.payload.contains_key(key) {
                let message = format!("{what} payments are not served here: pay with EIP-3009");
                return Err(Rejection::new(reason::UNSUPPORTED_PAYLOAD_TYPE, message));
            }
        }
        let read = eip3009::Eip3009::read(Arc::clone(&self.context), payment)?;
        Ok(Box::new(read))
    }
}
