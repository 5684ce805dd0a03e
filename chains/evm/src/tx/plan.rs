//! The body of a planned transaction: what is stored, signed and proven.

use alloy::primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};

/// A contract call and the effect that it must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferPlan {
    /// The contract.
    pub to: Address,
    /// The calldata.
    pub data: Bytes,
    /// The most gas it may use.
    pub gas_limit: u64,
    /// The transfer that must have happened for the payment to count.
    pub effect: Transfer,
}

/// One transfer by one authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The token.
    pub token: Address,
    /// The payer.
    pub from: Address,
    /// The payee.
    pub to: Address,
    /// Atomic units.
    pub value: U256,
    /// The authorization's nonce.
    pub nonce: B256,
    /// The method of authorization, which says where its use is proven. Plans stored
    /// before there was a choice do not have it.
    #[serde(default, skip_serializing_if = "Method::is_eip3009")]
    pub method: Method,
}

/// The method by which a transfer is authorized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// `transferWithAuthorization` of the token.
    #[default]
    Eip3009,
    /// Permit2, through the proxy of scheme `exact`.
    Permit2,
    /// Permit2, through the proxy of scheme `upto`.
    Upto,
}

impl Method {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
    fn is_eip3009(&self) -> bool {
        *self == Self::Eip3009
    }
}

impl TransferPlan {
    /// As stored.
    pub fn to_body(&self) -> String {
        // Only maps with keys that are no strings fail, and there are none.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a stored body.
    ///
    /// # Errors
    /// It is not one of ours.
    pub fn from_body(body: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_body_is_read_back_by_every_later_version() {
        let word = |byte: &str| byte.repeat(32);
        let (token, from, to) = ("aa".repeat(20), "bb".repeat(20), "cc".repeat(20));
        let body = format!(
            r#"{{"to":"0x{token}","data":"0x0102","gas_limit":120000,"effect":{{"token":"0x{token}","from":"0x{from}","to":"0x{to}","value":"0x2710","nonce":"0x{}"}}}}"#,
            word("dd")
        );
        let plan = TransferPlan::from_body(&body).expect("read");
        assert_eq!(plan.effect.value, U256::from(10_000));
        assert_eq!(plan.to_body(), body, "the stored form does not change");
        assert_eq!(plan.effect.method, Method::Eip3009);
        assert!(TransferPlan::from_body("{}").is_err());
        for (method, word) in [(Method::Permit2, "permit2"), (Method::Upto, "upto")] {
            let effect = Transfer { method, ..plan.effect.clone() };
            let body = TransferPlan { effect, ..plan.clone() }.to_body();
            assert!(body.ends_with(&format!(r#","method":"{word}"}}}}"#)), "{body}");
            assert_eq!(TransferPlan::from_body(&body).map(|plan| plan.effect.method).ok(), Some(method));
        }
    }
}
