//! The `payment-identifier` extension: a name that the payer's client gave to
//! the payment (x402 v2, extension `payment-identifier`).
//!
//! Of one tenant, one identifier names one payment: another payment under it
//! is refused. It never shares a success, as an `Idempotency-Key` does: the
//! payer chooses it, and could show one payment to two resources.

use chains_core::{Payment, Rejection, reason};
use serde_json::Value;

use crate::settlement::Key;

/// The extension's key, in payloads and in `/supported`.
pub const NAME: &str = "payment-identifier";

/// The identifier of a payment, when it brings one.
///
/// # Errors
/// It has another shape than the extension's schema.
pub fn of(payment: &Payment) -> Result<Option<Key>, Rejection> {
    let id = payment.extensions.get(NAME).and_then(|extension| extension.get("info")?.get("id"));
    match id {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if Key::is_sane(id) => Ok(Some(Key::Payer(id.clone()))),
        Some(_) => {
            let message = "extensions.payment-identifier.info.id must be 16 to 128 of [A-Za-z0-9_-]";
            Err(Rejection::new(reason::INVALID_PAYLOAD, message))
        }
    }
}
