//! Scheme `exact`: one transfer of exactly the required amount.
//!
//! Rules and source: `docs/protocol-notes.md`, "Exact by EIP-3009" here, "Exact by
//! Permit2" in [`permit2`](crate::method::permit2): the payload says which.

use std::sync::Arc;

use chains_core::{
    Payment, Rejection,
    reason::UNSUPPORTED_PAYLOAD_TYPE,
    scheme::{Authorization, Scheme},
};

use crate::{
    context::Context,
    method::{eip3009::payment::Eip3009, permit2::payment::Permit2Payment},
};

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
        if payment.payload.contains_key("delegationManager") {
            let message = "ERC-7710 payments are not served here: pay by EIP-3009 or Permit2";
            return Err(Rejection::new(UNSUPPORTED_PAYLOAD_TYPE, message));
        }
        if payment.payload.contains_key("permit2Authorization") {
            return Ok(Box::new(Permit2Payment::exact(Arc::clone(&self.context), payment)?));
        }
        let read = Eip3009::read(Arc::clone(&self.context), payment)?;
        Ok(Box::new(read))
    }
}
