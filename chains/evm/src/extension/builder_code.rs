//! Extension `builder-code`: who built the app, the wallet and the services by
//! which a payment came, as a suffix of the settlement's calldata. Contracts
//! ignore what stands behind their arguments.
//!
//! Source: ERC-8021, schema 2; `docs/protocol-notes.md`, "Builder codes".

use alloy::primitives::{Bytes, hex};
use chains_core::config::Section;
use serde_json::{Map, Value};

/// The extension's key.
pub(crate) const KEY: &str = "builder-code";

/// The end of every ERC-8021 suffix.
const MARKER: [u8; 16] = hex!("80218021802180218021802180218021");

/// The schema of the suffixes that are written here.
const SCHEMA: u8 = 2;

/// Service codes that a payment may name; more are left out.
const SERVICES_MAX: usize = 10;

/// Gas of a calldata byte that is not zero (EIP-2028).
const BYTE_GAS: u64 = 16;

/// The operator's own codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuilderCodes {
    /// `builder_code`: the wallet's part, `w`.
    wallet: Option<String>,
    /// `service_code`: one more service, `s`.
    service: Option<String>,
}

/// The bytes appended to a settlement's calldata; may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suffix(Vec<u8>);

impl BuilderCodes {
    /// Reads the operator's codes; mistakes go to the section.
    pub fn read(section: &mut Section) -> Self {
        let mut code = |key: &str| {
            let code = section.optional::<String>(key).filter(|code| !code.is_empty())?;
            if !is_code(&code) {
                section.problem(key, format!("is {code:?}"), "write 1 to 32 of [a-z0-9_]");
            }
            Some(code)
        };
        Self { wallet: code("builder_code"), service: code("service_code") }
    }

    /// The suffix of a transaction that carries many payments, each of which has its own.
    pub fn own(&self) -> Suffix {
        self.suffix(&Map::new())
    }

    /// The suffix for a payment. What is not a code is left out, never refused:
    /// no payment fails for its attribution.
    pub fn suffix(&self, extensions: &Map<String, Value>) -> Suffix {
        let info = extensions.get(KEY).and_then(|extension| extension.get("info"));
        let member = |key: &str| info.and_then(|info| info.get(key));
        let app = member("a").and_then(Value::as_str).filter(|code| is_code(code));
        let named = match member("s") {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => vec![],
        };
        let mut services: Vec<_> = named.into_iter().filter(|code| is_code(code)).take(SERVICES_MAX).collect();
        if let Some(own) = self.service.as_deref()
            && !services.contains(&own)
        {
            services.push(own);
        }
        Suffix::new(app, self.wallet.as_deref(), &services)
    }
}

/// 1 to 32 of `[a-z0-9_]`.
fn is_code(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=32).contains(&text.len()) && text.bytes().all(fits)
}

impl Suffix {
    fn new(app: Option<&str>, wallet: Option<&str>, services: &[&str]) -> Self {
        let members = [("a", app), ("w", wallet)];
        let size = members.iter().filter(|(_, code)| code.is_some()).count() + usize::from(!services.is_empty());
        if size == 0 {
            return Self::default();
        }
        let mut cbor = minicbor::Encoder::new(Vec::new());
        // Writing into memory does not fail; a text of at most 13 codes fits 16 bits.
        let written = (|| {
            cbor.map(size.try_into().unwrap_or(u64::MAX))?;
            for (key, code) in members {
                if let Some(code) = code {
                    cbor.str(key)?.str(code)?;
                }
            }
            if !services.is_empty() {
                cbor.str("s")?.array(services.len().try_into().unwrap_or(u64::MAX))?;
                for code in services {
                    cbor.str(code)?;
                }
            }
            Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
        })();
        let mut bytes = cbor.into_writer();
        let (Ok(()), Ok(length)) = (written, u16::try_from(bytes.len())) else { return Self::default() };
        bytes.extend(length.to_be_bytes());
        bytes.push(SCHEMA);
        bytes.extend(MARKER);
        Self(bytes)
    }

    /// The calldata with the suffix.
    pub fn append(&self, data: Bytes) -> Bytes {
        if self.0.is_empty() { data } else { [&data[..], &self.0].concat().into() }
    }

    /// The gas of the suffix, at most.
    pub fn gas(&self) -> u64 {
        BYTE_GAS.saturating_mul(u64::try_from(self.0.len()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The same, as the official package of version 2.27.0 makes it.
    #[test]
    fn suffixes_are_those_of_the_official_package() {
        let many: Vec<_> = (0..12).map(|n| format!("{}{n}", "s".repeat(20))).collect();
        let cases = [
            (
                ["our_wallet", "our_service"],
                json!({"a": "app", "s": ["one", "two_2"]}),
                "a361616361707061776a6f75725f77616c6c6574617383636f6e656574776f5f326b6f75725f73657276696365002d02\
                 80218021802180218021802180218021"
                    .to_owned(),
            ),
            (
                ["our_wallet", "our_service"],
                json!({}),
                "a261776a6f75725f77616c6c65746173816b6f75725f73657276696365001d0280218021802180218021802180218021"
                    .into(),
            ),
            (
                ["", ""],
                json!({"a": "A", "s": "x".repeat(32)}),
                format!("a161738178{}{}00260280218021802180218021802180218021", "20", "78".repeat(32)),
            ),
            (
                ["", ""],
                json!({"a": "app", "s": many}),
                format!(
                    "a2616163617070617 38a{}00e60280218021802180218021802180218021",
                    (30..40)
                        .map(|digit| ["75", &"73".repeat(20), &digit.to_string()].concat())
                        .collect::<Vec<_>>()
                        .concat()
                )
                .replace(' ', ""),
            ),
            (["", ""], json!({"a": "no code!", "s": [1, {}, ""]}), String::new()),
            (["", ""], Value::Null, String::new()),
        ];
        for ([wallet, service], info, expected) in cases {
            let own = |code: &str| (!code.is_empty()).then(|| code.to_owned());
            let codes = BuilderCodes { wallet: own(wallet), service: own(service) };
            let extensions = json!({ KEY: { "info": info } });
            let suffix = codes.suffix(extensions.as_object().expect("a map"));
            assert_eq!(hex::encode(&suffix.0), expected, "{info}");
            assert_eq!(suffix.gas(), 8 * u64::try_from(expected.len()).expect("short"));
            assert!(suffix.append(Bytes::from_static(&[1, 2])).starts_with(&[1, 2]));
        }
    }
}
