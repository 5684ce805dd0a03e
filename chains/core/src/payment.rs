//! One payment, free of wire versions.

use serde_json::{Map, Value};

use crate::{Amount, Network};

/// A payment that a resource server asks us to verify or settle.
///
/// Every value but [`chosen`](Self::chosen), [`payload`](Self::payload) and
/// [`extensions`](Self::extensions) comes from `paymentRequirements`: what the
/// buyer echoes in `accepted` decides nothing.
#[derive(Clone, Debug)]
pub struct Payment {
    /// `paymentRequirements.scheme`, for example `exact`.
    pub scheme: String,
    /// `paymentRequirements.network`; v1 names are translated.
    pub network: Network,
    /// `paymentRequirements.asset`, as text: its grammar is the family's.
    pub asset: String,
    /// `paymentRequirements.payTo`, as text: its grammar is the family's.
    pub pay_to: String,
    /// `paymentRequirements.amount`, v1 `maxAmountRequired`.
    pub amount: Amount,
    /// `paymentRequirements.extra`; empty when absent.
    pub extra: Map<String, Value>,
    /// The buyer's own account of its choice.
    pub chosen: Chosen,
    /// The scheme's own object, `paymentPayload.payload`.
    pub payload: Map<String, Value>,
    /// `paymentPayload.extensions`; empty when absent and in v1.
    pub extensions: Map<String, Value>,
}

/// Scheme and network as the buyer names them: v2 `accepted`, v1 the payload itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its scheme.
    pub scheme: String,
    /// Its network; `None` when the text names none that we know of.
    pub network: Option<Network>,
}

impl Payment {
    /// A non-empty text of `extra`, such as the EIP-712 domain's `name`.
    pub fn extra_text(&self, key: &str) -> Option<&str> {
        self.extra.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }
}
