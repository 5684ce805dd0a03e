//! x402 as it stands on the wire: the only place that knows versions.
//!
//! [`parse`] turns the body of `/verify` and `/settle` into a [`Request`] that
//! carries one version-free [`Payment`]; [`VerifyResponse`], [`SettleResponse`]
//! and [`Supported`] are the answers, whose shape is the same for v1 and v2.
//!
//! * [`json`]: strict JSON. No key twice, no NUL, bounded depth, UTF-8 only.
//! * [`v1`], [`v2`]: the request shapes of each version.
//! * [`aliases`]: other spellings of networks that are met.
//! * [`response`]: the answers of `/verify` and `/settle`; [`supported`]: that of `/supported`.

pub mod aliases;
pub mod json;
pub mod response;
pub mod supported;
mod v1;
mod v2;

use std::collections::HashMap;

use serde_json::{Map, Value};

pub use response::{SettleResponse, VerifyResponse};
pub use supported::{Supported, SupportedKind};

use self::json::Keep;
use crate::{Network, Payment, Rejection, reason};

/// A protocol version that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `x402Version: 1`, network names, `maxAmountRequired`.
    V1,
    /// `x402Version: 2`, CAIP-2 networks, `amount`.
    V2,
}

impl Version {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// Spellings of the configured chains besides v2's own: v1 names, for example
/// `base-sepolia`, and aliases ([`names_of`]).
pub type LegacyNames = HashMap<String, Network>;

/// Returns the spellings by which a network is known, the first of them v1's own name.
pub fn names_of(network: &Network, legacy: Option<&str>) -> Vec<String> {
    let aliases = aliases::of(network).map(str::to_owned);
    legacy.map(str::to_owned).into_iter().chain(aliases).chain([network.to_string()]).collect()
}

/// A body that is a payment request, good or bad.
#[derive(Clone, Debug)]
pub struct Request {
    /// The version that the answer's codes are spelled in.
    pub version: Version,
    /// `paymentRequirements.network` as it was sent, for the answer;
    /// `unknown:unknown` when it is not a text.
    pub network: String,
    /// The payment, or the decided refusal of one that has the wrong form.
    pub payment: Result<Payment, Rejection>,
}

/// A body that is not a payment request at all: the caller's program is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not acceptable as JSON.
    #[error(transparent)]
    Json(#[from] json::JsonError),
    /// A member without which there is no request.
    #[error("{member} is missing or not an object")]
    Missing {
        /// `paymentPayload` or `paymentRequirements`.
        member: &'static str,
        /// `paymentRequirements.network`, when there is one.
        network: Option<String>,
    },
}

/// The network of an answer to a body that names none.
pub const UNKNOWN_NETWORK: &str = "unknown:unknown";

/// Reads the body of `/verify` and `/settle`.
///
/// The version is `paymentPayload.x402Version`; the top-level one is ignored,
/// as some clients leave it out (protocol v2, section "HTTP API").
///
/// # Errors
/// A body that is not a strict JSON object or lacks one of its two members.
pub fn parse(body: &[u8], names: &LegacyNames) -> Result<Request, BodyError> {
    let mut body = json::object(body, READ)?;
    let requirements = body.remove("paymentRequirements");
    let network = requirements.as_ref().and_then(|r| r.get("network")).and_then(Value::as_str).map(str::to_owned);
    let member = |member, value: Option<Value>| match value {
        Some(Value::Object(object)) => Ok(object),
        Some(_) | None => Err(BodyError::Missing { member, network: network.clone() }),
    };
    let payload = member("paymentPayload", body.remove("paymentPayload"))?;
    let requirements = member("paymentRequirements", requirements)?;
    let (version, payment) = match version(&payload) {
        Some(Version::V1) => (Version::V1, v1::payment(payload, requirements, names)),
        Some(Version::V2) => (Version::V2, v2::payment(payload, requirements, names)),
        None => (Version::V2, Err(unknown_version())),
    };
    Ok(Request { version, network: network.unwrap_or_else(|| UNKNOWN_NETWORK.to_owned()), payment })
}

/// The members that are read. All others are checked as JSON and not kept:
/// they may be large, as the schemas are that servers echo.
const READ: Keep = Keep::Members(&[
    (
        "paymentPayload",
        Keep::Members(&[
            ("x402Version", Keep::All),
            ("version", Keep::All),
            ("scheme", Keep::All),
            ("network", Keep::All),
            ("accepted", Keep::Members(&[("scheme", Keep::All), ("network", Keep::All)])),
            ("payload", Keep::All),
            ("extensions", Keep::Each { but: "bazaar", keep: &Keep::Members(&[("info", Keep::All)]) }),
        ]),
    ),
    (
        "paymentRequirements",
        Keep::Members(&[
            ("scheme", Keep::All),
            ("network", Keep::All),
            ("amount", Keep::All),
            ("maxAmountRequired", Keep::All),
            ("asset", Keep::All),
            ("payTo", Keep::All),
            ("extra", Keep::All),
        ]),
    ),
]);

/// Some clients of v1 write `"version": "x402/1.0"` instead of `x402Version`.
fn version(payload: &Map<String, Value>) -> Option<Version> {
    match (payload.get("x402Version"), payload.get("version").and_then(Value::as_str)) {
        (Some(number), _) if number.as_u64() == Some(1) => Some(Version::V1),
        (Some(number), _) if number.as_u64() == Some(2) => Some(Version::V2),
        (None, Some("x402/1.0")) => Some(Version::V1),
        _ => None,
    }
}

fn unknown_version() -> Rejection {
    Rejection::new(reason::INVALID_X402_VERSION, "paymentPayload.x402Version must be the number 1 or 2")
}

fn requirements_error(detail: String) -> Rejection {
    Rejection::new(reason::INVALID_PAYMENT_REQUIREMENTS, detail)
}

/// Takes a member that must be a text.
fn text(object: &mut Map<String, Value>, of: &str, key: &str) -> Result<String, String> {
    match object.remove(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("{of}.{key} must be a string")),
        None => Err(format!("{of}.{key} is missing")),
    }
}

/// Takes a member that must be an object, or may be null or absent.
fn object_or_nothing(object: &mut Map<String, Value>, of: &str, key: &str) -> Result<Map<String, Value>, String> {
    match object.remove(key) {
        Some(Value::Object(map)) => Ok(map),
        Some(Value::Null) | None => Ok(Map::new()),
        Some(_) => Err(format!("{of}.{key} must be an object")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn names() -> LegacyNames {
        let network = "eip155:84532".parse().expect("CAIP-2");
        [("base-sepolia".to_owned(), network)].into()
    }

    fn v2() -> Value {
        let requirements = json!({
            "scheme": "exact", "network": "eip155:84532", "amount": "10000", "asset": "0xa", "payTo": "0xb",
            "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"},
        });
        json!({
            "x402Version": 2,
            "paymentPayload": {
                "x402Version": 2, "accepted": requirements, "payload": {"signature": "0x"}, "resource": {"url": "u"},
                "extensions": {"bazaar": {"info": {}}},
            },
            "paymentRequirements": requirements,
        })
    }

    fn v1() -> Value {
        json!({
            "x402Version": 1,
            "paymentPayload": {
                "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": {"signature": "0x"},
            },
            "paymentRequirements": {
                "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "10000", "asset": "0xa",
                "payTo": "0xb", "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"}, "outputSchema": null,
            },
        })
    }

    fn read(body: &Value) -> Request {
        parse(body.to_string().as_bytes(), &names()).expect("a request")
    }

    #[test]
    fn both_versions_are_read_into_the_same_payment() {
        let (one, two) = (read(&v1()), read(&v2()));
        assert_eq!((one.version, one.network.as_str()), (Version::V1, "base-sepolia"));
        assert_eq!((two.version, two.network.as_str()), (Version::V2, "eip155:84532"));
        let (one, two) = (one.payment.expect("good"), two.payment.expect("good"));
        assert_eq!((one.scheme, one.network, one.asset, one.pay_to), (two.scheme, two.network, two.asset, two.pay_to));
        assert_eq!((one.amount, one.extra, one.chosen, one.payload), (two.amount, two.extra, two.chosen, two.payload));
    }

    #[test]
    fn wrong_shapes_get_their_code() {
        let cases = [
            ("/paymentPayload/x402Version", json!(3), reason::INVALID_X402_VERSION),
            ("/paymentPayload/x402Version", json!("2"), reason::INVALID_X402_VERSION),
            ("/paymentRequirements/amount", json!(10000), reason::INVALID_PAYMENT_REQUIREMENTS),
            ("/paymentRequirements/amount", json!(""), reason::INVALID_PAYMENT_REQUIREMENTS),
            ("/paymentRequirements/extra", json!([]), reason::INVALID_PAYMENT_REQUIREMENTS),
            ("/paymentRequirements/network", json!("base"), reason::INVALID_NETWORK),
            ("/paymentPayload/accepted", json!(null), reason::INVALID_PAYLOAD),
            ("/paymentPayload/payload", json!("0x"), reason::INVALID_PAYLOAD),
            ("/paymentPayload/extensions", json!(1), reason::INVALID_PAYLOAD),
        ];
        for (path, value, code) in cases {
            let mut body = v2();
            *body.pointer_mut(path).expect(path) = value.clone();
            assert_eq!(read(&body).payment.expect_err(path).code, code, "{path} = {value}");
        }
    }

    #[test]
    fn known_aliases_are_read_as_the_network_and_answered_as_they_were_written() {
        let devnet: Network = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1".parse().expect("CAIP-2");
        let base: Network = "eip155:84532".parse().expect("CAIP-2");
        let all = [(&base, Some("base-sepolia")), (&devnet, Some("solana-devnet"))];
        let names: LegacyNames = all
            .iter()
            .flat_map(|(network, legacy)| names_of(network, *legacy).into_iter().map(|name| (name, (*network).clone())))
            .collect();
        for (body, spelling, expected) in [
            (v1(), "base-sepolia", Some(&base)),
            (v1(), "eip155:84532", Some(&base)),
            (v1(), "solana:devnet", Some(&devnet)),
            (v2(), "solana:devnet", Some(&devnet)),
            (v2(), "eip155:84532", Some(&base)),
            (v2(), "base-sepolia", None),
            (v2(), "solana:Devnet", None),
            (v1(), "base-mainnet", None),
        ] {
            let mut body = body;
            for path in ["/paymentRequirements/network", "/paymentPayload/network", "/paymentPayload/accepted/network"]
            {
                if let Some(place) = body.pointer_mut(path) {
                    *place = json!(spelling);
                }
            }
            let request = parse(body.to_string().as_bytes(), &names).expect("a request");
            assert_eq!(request.network, spelling);
            let read = request.payment.ok().filter(|payment| payment.chosen.network.as_ref() == Some(&payment.network));
            let read = read.map(|payment| payment.network);
            // A well-formed network that is not configured is refused later.
            let known = read.filter(|network| [&base, &devnet].contains(&network));
            assert_eq!(known.as_ref(), expected, "{spelling}");
        }
    }

    #[test]
    fn a_version_in_words_is_v1_where_there_is_no_number() {
        let mut body = v1();
        let payload = body["paymentPayload"].as_object_mut().expect("an object");
        payload.remove("x402Version");
        payload.insert("version".to_owned(), json!("x402/1.0"));
        let request = read(&body);
        assert!(request.version == Version::V1 && request.payment.is_ok(), "{request:?}");
        body["paymentPayload"]["x402Version"] = json!(2);
        assert_eq!(read(&body).version, Version::V2, "the number counts");
        body["paymentPayload"]["x402Version"] = json!(3);
        assert!(read(&body).payment.is_err());
    }

    /// The places of all objects in a value, as JSON pointers.
    fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
        if let Value::Object(map) = value {
            found.push(at.to_owned());
            for (key, inner) in map {
                objects(inner, &format!("{at}/{key}"), found);
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            drop(parse(&bytes, &names()));
        }

        #[test]
        fn no_damage_to_a_good_body_makes_the_reader_panic(at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>()) {
            let mut bytes = v2().to_string().into_bytes();
            let length = bytes.len();
            bytes[at % length] = byte;
            drop(parse(&bytes, &names()));
            drop(parse(&bytes[..cut % length], &names()));
        }

        // A06
        #[test]
        fn a_key_twice_is_refused_wherever_it_stands(pick in any::<usize>()) {
            let body = v2();
            let mut places = Vec::new();
            objects(&body, "", &mut places);
            let place = &places[pick % places.len()];
            let object = body.pointer(place).expect("an object").to_string();
            let twice = format!("{{\"twin\":1,\"twin\":2{}{}", if object == "{}" { "" } else { "," }, &object[1..]);
            let mut marked = body.clone();
            *marked.pointer_mut(place).expect("an object") = json!("MARK");
            let text = marked.to_string().replacen("\"MARK\"", &twice, 1);
            prop_assert!(matches!(parse(text.as_bytes(), &names()), Err(BodyError::Json(json::JsonError::Ambiguous(_)))));
        }
    }
}
