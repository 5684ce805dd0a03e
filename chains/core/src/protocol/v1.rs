//! Protocol v1: network names, `maxAmountRequired`, no extensions.

use serde_json::{Map, Value};

use super::{LegacyNames, object_or_nothing, requirements_error, text};
use crate::{Payment, Rejection, payment::Chosen, reason};

/// Reads `paymentPayload` and `paymentRequirements` of v1, where scheme and
/// network stand in the payload itself.
pub(super) fn payment(
    mut payload: Map<String, Value>,
    mut requirements: Map<String, Value>,
    names: &LegacyNames,
) -> Result<Payment, Rejection> {
    let of = "paymentRequirements";
    let mut required = |key| text(&mut requirements, of, key).map_err(requirements_error);
    let (scheme, network, asset, pay_to, amount) = (
        required("scheme")?,
        required("network")?,
        required("asset")?,
        required("payTo")?,
        required("maxAmountRequired")?,
    );
    let amount = amount.parse().map_err(|error| requirements_error(format!("{of}.maxAmountRequired: {error}")))?;
    let extra = object_or_nothing(&mut requirements, of, "extra").map_err(requirements_error)?;
    let network = names.get(&network).cloned().ok_or_else(|| {
        Rejection::new(
            reason::INVALID_NETWORK,
            format!("{of}.network: `{network}` is not a v1 name of a network served here"),
        )
    })?;

    let invalid = |detail: String| Rejection::new(reason::INVALID_PAYLOAD, detail);
    let of = "paymentPayload";
    let chosen_network = text(&mut payload, of, "network").map_err(invalid)?;
    let chosen = Chosen {
        scheme: text(&mut payload, of, "scheme").map_err(invalid)?,
        network: names.get(&chosen_network).cloned(),
    };
    let Some(Value::Object(scheme_payload)) = payload.remove("payload") else {
        return Err(invalid(format!("{of}.payload is missing or not an object")));
    };
    check_known(&scheme, &scheme_payload)?;
    Ok(Payment {
        scheme,
        network,
        asset,
        pay_to,
        amount,
        extra,
        chosen,
        payload: scheme_payload,
        extensions: Map::new(),
    })
}

/// v1 knows scheme `exact` only, and no Permit2.
fn check_known(scheme: &str, payload: &Map<String, Value>) -> Result<(), Rejection> {
    if scheme != "exact" {
        return Err(Rejection::new(reason::UNSUPPORTED_SCHEME, format!("scheme `{scheme}` is not in protocol v1")));
    }
    if payload.contains_key("permit2Authorization") {
        return Err(Rejection::new(reason::UNSUPPORTED_PAYLOAD_TYPE, "Permit2 payments need protocol v2"));
    }
    Ok(())
}
