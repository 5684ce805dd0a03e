//! The answer of `/supported`: every way of paying, as each version writes it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Version;
use crate::{Network, chain::Offer};

/// The answer of `/supported`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Supported {
    /// One entry for each version, scheme and network.
    pub kinds: Vec<SupportedKind>,
    /// Keys of the extensions that are honoured.
    pub extensions: Vec<String>,
    /// Addresses that send transactions, by CAIP-2 family, for example `eip155:*`.
    pub signers: BTreeMap<String, Vec<String>>,
}

/// One way of paying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SupportedKind {
    /// 1 or 2.
    #[serde(rename = "x402Version")]
    pub x402_version: u8,
    /// The scheme's name.
    pub scheme: String,
    /// The network as that version writes it.
    pub network: String,
    /// The scheme's values for servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Value>,
}

/// The entries for the offers of one network: each as v2 writes it, then those
/// that v1 has as v1 writes them, under the network's legacy name.
pub fn kinds(network: &Network, legacy_name: Option<&str>, offers: &[Offer]) -> Vec<SupportedKind> {
    let kind = |version: Version, network: &str, offer: &Offer| SupportedKind {
        x402_version: version.number(),
        scheme: offer.scheme.to_owned(),
        network: network.to_owned(),
        extra: offer.extra.clone(),
    };
    let v2 = offers.iter().map(|offer| kind(Version::V2, network.as_str(), offer));
    let v1 = legacy_name
        .into_iter()
        .flat_map(|name| offers.iter().filter(|offer| offer.since_v1).map(move |offer| kind(Version::V1, name, offer)));
    v2.chain(v1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_follow_from_one_offer() {
        let network: Network = "eip155:84532".parse().expect("CAIP-2");
        let offer = |scheme, since_v1| Offer { scheme, extra: None, since_v1 };
        let offers = [offer("exact", true), offer("upto", false)];
        let written = |legacy: Option<&str>| {
            let kinds = kinds(&network, legacy, &offers);
            kinds.into_iter().map(|k| format!("{} {} {}", k.x402_version, k.scheme, k.network)).collect::<Vec<_>>()
        };
        let v2 = ["2 exact eip155:84532", "2 upto eip155:84532"];
        assert_eq!(written(None), v2);
        assert_eq!(written(Some("base-sepolia")), [v2[0], v2[1], "1 exact base-sepolia"]);
    }
}
