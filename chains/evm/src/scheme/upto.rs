//! Scheme `upto`: the payer signs a ceiling, the resource server charges a part
//! of it. By Permit2 only, in protocol v2 only. Rules and source:
//! `docs/protocol-notes.md`, "Upto by Permit2".

use std::sync::Arc;

use chains_core::{
    Payment, Rejection,
    reason::UNSUPPORTED_PAYLOAD_TYPE,
    scheme::{Authorization, Scheme},
};
use serde_json::Value;

use crate::{context::Context, method::permit2::payment::Permit2Payment};

/// The scheme's name.
pub(crate) const NAME: &str = "upto";

/// The members that a payload must hold, all of them texts; otherwise it is of another kind.
const TEXTS: [&str; 10] = [
    "/signature",
    "/permit2Authorization/from",
    "/permit2Authorization/spender",
    "/permit2Authorization/nonce",
    "/permit2Authorization/deadline",
    "/permit2Authorization/permitted/token",
    "/permit2Authorization/permitted/amount",
    "/permit2Authorization/witness/facilitator",
    "/permit2Authorization/witness/to",
    "/permit2Authorization/witness/validAfter",
];

/// Scheme `upto` on one network.
pub(crate) struct Upto {
    context: Arc<Context>,
}

impl Upto {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }
}

impl Scheme for Upto {
    fn name(&self) -> &'static str {
        NAME
    }

    fn read(&self, payment: &Payment) -> Result<Box<dyn Authorization>, Rejection> {
        let payload = Value::Object(payment.payload.clone());
        if let Some(pointer) = TEXTS.iter().find(|pointer| !payload.pointer(pointer).is_some_and(Value::is_string)) {
            let message = format!("scheme `upto` is paid by Permit2: `{pointer}` must be a string");
            return Err(Rejection::new(UNSUPPORTED_PAYLOAD_TYPE, message));
        }
        Ok(Box::new(Permit2Payment::upto(Arc::clone(&self.context), payment)?))
    }
}
