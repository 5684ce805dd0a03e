//! Signs EIP-3009 payments and writes request bodies, as the official clients do.

use alloy::{
    primitives::{Address, B256, U256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::{Eip712Domain, SolStruct, eip712_domain},
};
use serde_json::{Value, json};

use crate::anvil::{NETWORK, PAYEE, PAYER_KEY, USDC};

sol! {
    struct CancelAuthorization { address authorizer; bytes32 nonce; }
    struct TransferWithAuthorization {
        address from; address to; uint256 value; uint256 validAfter; uint256 validBefore; bytes32 nonce;
    }
}

/// A payment to be, with every field in reach of a test.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The payer's key.
    pub key: PrivateKeySigner,
    /// `authorization.from`.
    pub from: Address,
    /// `authorization.to`.
    pub to: Address,
    /// `authorization.value`.
    pub value: U256,
    /// `authorization.validAfter`.
    pub valid_after: u64,
    /// `authorization.validBefore`.
    pub valid_before: u64,
    /// `authorization.nonce`.
    pub nonce: B256,
    /// The EIP-712 domain that is signed.
    pub domain: Eip712Domain,
}

impl Default for Draft {
    /// One cent from the usual payer to the usual payee, valid for an hour.
    fn default() -> Self {
        let key: PrivateKeySigner = PAYER_KEY.parse().expect("a key");
        Self {
            from: key.address(),
            key,
            to: PAYEE.parse().expect("an address"),
            value: U256::from(10_000),
            valid_after: 0,
            valid_before: now() + 3600,
            nonce: B256::from(rand::random::<[u8; 32]>()),
            domain: eip712_domain! {
                name: "USDC", version: "2", chain_id: 84532,
                verifying_contract: USDC.parse().expect("an address"),
            },
        }
    }
}

/// The machine's time in seconds.
///
/// # Panics
/// Before 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Calldata by which anybody may take its payer's authorization back, with the payer's signature.
///
/// # Panics
/// Never for a real key.
pub fn cancel_calldata(draft: &Draft) -> String {
    let message = CancelAuthorization { authorizer: draft.from, nonce: draft.nonce };
    let signature = draft.key.sign_hash_sync(&message.eip712_signing_hash(&draft.domain)).expect("signed");
    let (r, s, v) = (signature.r(), signature.s(), 27 + u8::from(signature.v()));
    let from = draft.from.to_string();
    format!("0x5a049a70{:0>64}{}{v:064x}{r:064x}{s:064x}", &from[2..], &draft.nonce.to_string()[2..])
}

impl Draft {
    /// Calldata by which anybody may execute it.
    pub fn calldata(&self) -> String {
        let signature = self.signature();
        let (from, to) = (self.from.to_string(), self.to.to_string());
        let (r, s, v) = (hex::encode(&signature[..32]), hex::encode(&signature[32..64]), signature[64]);
        format!(
            "0xe3ee160e{:0>64}{:0>64}{:064x}{:064x}{:064x}{}{v:064x}{r}{s}",
            &from[2..],
            &to[2..],
            self.value,
            self.valid_after,
            self.valid_before,
            &self.nonce.to_string()[2..]
        )
    }

    /// A draft of another payer.
    pub fn of(key: PrivateKeySigner) -> Self {
        Self { from: key.address(), key, ..Self::default() }
    }

    /// The 65 bytes of the signature.
    ///
    /// # Panics
    /// Never for a real key.
    pub fn signature(&self) -> Vec<u8> {
        let message = TransferWithAuthorization {
            from: self.from,
            to: self.to,
            value: self.value,
            validAfter: U256::from(self.valid_after),
            validBefore: U256::from(self.valid_before),
            nonce: self.nonce,
        };
        let digest = message.eip712_signing_hash(&self.domain);
        self.key.sign_hash_sync(&digest).expect("signed").as_bytes().to_vec()
    }

    /// `paymentPayload.payload`.
    pub fn payload(&self) -> Value {
        json!({
            "signature": format!("0x{}", hex::encode(self.signature())),
            "authorization": {
                "from": self.from.to_checksum(None), "to": self.to.to_checksum(None),
                "value": self.value.to_string(), "validAfter": self.valid_after.to_string(),
                "validBefore": self.valid_before.to_string(), "nonce": self.nonce.to_string(),
            },
        })
    }

    /// The body of `/verify` and `/settle` in protocol v2.
    pub fn v2(&self) -> Value {
        let requirements = json!({
            "scheme": "exact", "network": NETWORK, "amount": self.value.to_string(), "asset": USDC,
            "payTo": self.to.to_checksum(None), "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"},
        });
        json!({
            "x402Version": 2,
            "paymentPayload": {"x402Version": 2, "accepted": requirements, "payload": self.payload()},
            "paymentRequirements": requirements,
        })
    }

    /// The body of `/verify` and `/settle` in protocol v1.
    pub fn v1(&self) -> Value {
        json!({
            "x402Version": 1,
            "paymentPayload": {
                "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": self.payload(),
            },
            "paymentRequirements": {
                "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": self.value.to_string(),
                "resource": "https://example.org/paid", "description": "", "mimeType": "application/json",
                "payTo": self.to.to_checksum(None), "maxTimeoutSeconds": 60, "asset": USDC,
                "extra": {"name": "USDC", "version": "2"},
            },
        })
    }

    /// The body in version 1 or 2.
    pub fn body(&self, version: u8) -> Value {
        if version == 1 { self.v1() } else { self.v2() }
    }
}
