//! Protocol v2: CAIP-2 networks, `accepted`, `amount`, extensions.

use serde_json::{Map, Value};

use super::{LegacyNames, object_or_nothing, requirements_error, text};
use crate::{Network, Payment, Rejection, network::NetworkError, payment::Chosen, reason};

/// Reads `paymentPayload` and `paymentRequirements` of v2.
///
/// `resource` and whatever is not named here is ignored, as the specification
/// demands. `maxTimeoutSeconds` is not read: the authorization's own window
/// decides, and some callers leave it out.
pub(super) fn payment(
    mut payload: Map<String, Value>,
    mut requirements: Map<String, Value>,
    names: &LegacyNames,
) -> Result<Payment, Rejection> {
    let of = "paymentRequirements";
    let mut required = |key| text(&mut requirements, of, key).map_err(requirements_error);
    let (scheme, network, asset, pay_to, amount) =
        (required("scheme")?, required("network")?, required("asset")?, required("payTo")?, required("amount")?);
    let amount = amount.parse().map_err(|error| requirements_error(format!("{of}.amount: {error}")))?;
    let extra = object_or_nothing(&mut requirements, of, "extra").map_err(requirements_error)?;
    let network = read_network(&network, names)
        .map_err(|error| Rejection::new(reason::INVALID_NETWORK, format!("{of}.network: {error}")))?;

    let invalid = |detail: String| Rejection::new(reason::INVALID_PAYLOAD, detail);
    let of = "paymentPayload";
    let Some(Value::Object(mut accepted)) = payload.remove("accepted") else {
        return Err(invalid(format!("{of}.accepted is missing or not an object")));
    };
    let chosen_network = text(&mut accepted, "paymentPayload.accepted", "network").map_err(invalid)?;
    let chosen = Chosen {
        scheme: text(&mut accepted, "paymentPayload.accepted", "scheme").map_err(invalid)?,
        network: read_network(&chosen_network, names).ok(),
    };
    let Some(Value::Object(scheme_payload)) = payload.remove("payload") else {
        return Err(invalid(format!("{of}.payload is missing or not an object")));
    };
    let extensions = object_or_nothing(&mut payload, of, "extensions").map_err(invalid)?;
    Ok(Payment { scheme, network, asset, pay_to, amount, extra, chosen, payload: scheme_payload, extensions })
}

/// A network as v2 writes it: CAIP-2, or an alias that is written like it.
fn read_network(text: &str, names: &LegacyNames) -> Result<Network, NetworkError> {
    let alias = names.get(text).filter(|_| text.contains(':'));
    alias.map_or_else(|| text.parse(), |network| Ok(network.clone()))
}
