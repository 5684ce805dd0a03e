//! A local chain that looks like Base Sepolia, and payers on it. For the
//! `demo` command and for tests; nothing here is used for real payments.
//!
//! Expects `anvil --chain-id 84532`, with or without automatic mining.

mod permit2;

use std::time::Duration;

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, U256, keccak256},
    signers::SignerSync,
    sol_types::SolCall,
};
use alloy_signer_local::Secp256k1Signer;
use chains_core::{Amount, Secret};
use serde_json::{Map, Value, json};

use crate::{
    abi::{self, Token, TransferWithAuthorization},
    parse,
    rpc::method::quantity,
};

pub use permit2::{Permit2Order, PermitOrder};

/// The chain's CAIP-2 identifier: Base Sepolia's.
pub const NETWORK: &str = "eip155:84532";

/// Its chain id.
pub const CHAIN_ID: u64 = 84_532;

/// The address of the token: Base Sepolia's USDC.
pub const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

/// The token's EIP-712 name.
pub const USDC_NAME: &str = "USDC";

/// The token's EIP-712 version.
pub const USDC_VERSION: &str = "2";

/// The code put there; see `contracts/README.md`.
const USDC_CODE: &str = include_str!("../contracts/out/DemoUsdc.runtime.hex");

/// Anybody may mint; this account exists for nothing else.
const MINTER: &str = "0x00000000000000000000000000000000000de000";

/// Looks for a receipt before giving up, and the pause between two.
const RECEIPT_LOOKS: u32 = 200;
const RECEIPT_PAUSE: Duration = Duration::from_millis(50);

/// The reason why the local chain did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// It did not answer.
    #[error("the local chain does not answer: {0}")]
    Silent(#[source] reqwest::Error),
    /// It answered with an error.
    #[error("{method}: {message}")]
    Refused {
        /// The JSON-RPC method.
        method: String,
        /// Its words.
        message: String,
    },
    /// A text is not what it should be.
    #[error("{0} is not an address, a key, or a number")]
    Text(String),
    /// A transaction was not mined, or failed.
    #[error("transaction {0} was not mined, or failed")]
    NotMined(String),
}

/// An anvil.
#[derive(Clone, Debug)]
pub struct LocalChain {
    client: reqwest::Client,
    url: String,
}

impl LocalChain {
    /// The anvil at this URL.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn at(url: impl Into<String>) -> Result<Self, LocalError> {
        chains_rpc::install_ring();
        let client = reqwest::Client::builder().no_proxy().build().map_err(LocalError::Silent)?;
        Ok(Self { client, url: url.into() })
    }

    /// The address of its node.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls any JSON-RPC method.
    ///
    /// # Errors
    /// No answer, or an error.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, LocalError> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let response = self.client.post(&self.url).json(&request).send().await.map_err(LocalError::Silent)?;
        let mut answer: Value = response.json().await.map_err(LocalError::Silent)?;
        match answer.pointer("/error/message").and_then(Value::as_str) {
            Some(message) => Err(LocalError::Refused { method: method.to_owned(), message: message.to_owned() }),
            None => Ok(answer.get_mut("result").map(Value::take).unwrap_or_default()),
        }
    }

    /// Puts the token's code where Base Sepolia has USDC.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn prepare(&self) -> Result<(), LocalError> {
        self.put(USDC, USDC_CODE).await
    }

    /// Gives an account coins for gas, in wei.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn fund(&self, account: &str, wei: u128) -> Result<(), LocalError> {
        self.call("anvil_setBalance", json!([account, format!("{wei:#x}")])).await.map(drop)
    }

    /// Gives an account tokens.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn mint(&self, account: &str, amount: Amount) -> Result<(), LocalError> {
        let to = address(account)?;
        let data = Token::mintCall { to, value: amount.to_u256() }.abi_encode();
        self.send(MINTER, USDC, &data).await.map(drop)
    }

    /// Sends a transaction from any account, without its key, has it mined,
    /// and gives its receipt.
    ///
    /// # Errors
    /// As for [`call`](Self::call), or it failed.
    pub async fn send(&self, from: &str, to: &str, data: &[u8]) -> Result<Value, LocalError> {
        self.fund(from, 1_000_000_000_000_000_000_000).await?;
        self.call("anvil_impersonateAccount", json!([from])).await?;
        let transaction = json!([{ "from": from, "to": to, "data": hex::encode_prefixed(data) }]);
        let hash = self.call("eth_sendTransaction", transaction).await?;
        self.mine().await?;
        for _ in 0..RECEIPT_LOOKS {
            let receipt = self.call("eth_getTransactionReceipt", json!([hash])).await?;
            match receipt.get("status").and_then(Value::as_str) {
                Some("0x1") => return Ok(receipt),
                Some(_) => break,
                None => tokio::time::sleep(RECEIPT_PAUSE).await,
            }
        }
        Err(LocalError::NotMined(hash.to_string()))
    }

    /// Mines a block now.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn mine(&self) -> Result<(), LocalError> {
        self.call("evm_mine", json!([])).await.map(drop)
    }

    /// The tokens that an account has.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn token_balance(&self, account: &str) -> Result<Amount, LocalError> {
        let data = Token::balanceOfCall { account: address(account)? }.abi_encode();
        let answer =
            self.call("eth_call", json!([{ "to": USDC, "data": hex::encode_prefixed(data) }, "latest"])).await?;
        number(&answer)
    }

    /// The wei that an account has.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn coin_balance(&self, account: &str) -> Result<Amount, LocalError> {
        number(&self.call("eth_getBalance", json!([account, "latest"])).await?)
    }
}

fn address(text: &str) -> Result<Address, LocalError> {
    parse::address(text).ok_or_else(|| LocalError::Text(text.to_owned()))
}

fn number(answer: &Value) -> Result<Amount, LocalError> {
    let value = answer.as_str().and_then(quantity);
    value.map(Amount::from).ok_or_else(|| LocalError::Text(answer.to_string()))
}

/// A message that a payer signs.
#[derive(Clone, Debug)]
pub struct Order {
    /// The chain id.
    pub chain_id: u64,
    /// The token.
    pub asset: String,
    /// The name in the token's EIP-712 domain.
    pub name: String,
    /// The version in the token's EIP-712 domain.
    pub version: String,
    /// The payee.
    pub pay_to: String,
    /// The amount.
    pub value: Amount,
    /// Seconds since the epoch after which it is valid.
    pub valid_after: u64,
    /// Seconds since the epoch before which it is valid.
    pub valid_before: u64,
    /// Any 32 bytes, once.
    pub nonce: [u8; 32],
}

impl Order {
    /// A payment in the local USDC.
    pub fn usdc(pay_to: &str, value: Amount, valid_before: u64, nonce: [u8; 32]) -> Self {
        Self {
            chain_id: CHAIN_ID,
            asset: USDC.to_owned(),
            name: USDC_NAME.to_owned(),
            version: USDC_VERSION.to_owned(),
            pay_to: pay_to.to_owned(),
            value,
            valid_after: 0,
            valid_before,
            nonce,
        }
    }

    fn transfer(&self, from: Address) -> Result<TransferWithAuthorization, LocalError> {
        Ok(TransferWithAuthorization {
            from,
            to: address(&self.pay_to)?,
            value: self.value.to_u256(),
            validAfter: U256::from(self.valid_after),
            validBefore: U256::from(self.valid_before),
            nonce: B256::new(self.nonce),
        })
    }

    fn hash(&self, from: Address) -> Result<B256, LocalError> {
        let domain = abi::domain_separator(&self.name, &self.version, self.chain_id, address(&self.asset)?);
        Ok(abi::signing_hash(domain, &self.transfer(from)?))
    }
}

/// Somebody who pays with a key.
#[derive(Clone)]
pub struct Payer(Secp256k1Signer);

impl std::fmt::Debug for Payer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Payer").field(&self.address()).finish()
    }
}

impl Payer {
    /// With this key: `0x` and 64 hex digits.
    ///
    /// # Errors
    /// It is no key.
    pub fn with_key(key: &Secret) -> Result<Self, LocalError> {
        let word = parse::word(key.expose()).and_then(|word| Secp256k1Signer::from_bytes(&word).ok());
        word.map(Self).ok_or_else(|| LocalError::Text("the key".to_owned()))
    }

    /// The payer of a number: always the same one. Not secret at all.
    ///
    /// # Errors
    /// Practically none: one in 2^128 hashes is no key.
    pub fn numbered(number: u64) -> Result<Self, LocalError> {
        let key = keccak256(number.to_be_bytes());
        Secp256k1Signer::from_bytes(&key).map(Self).map_err(|_| LocalError::Text("the key".to_owned()))
    }

    /// The account.
    pub fn address(&self) -> String {
        self.0.address().to_checksum(None)
    }

    /// Signs, in its own name: the `payload` of an x402 payment.
    ///
    /// # Errors
    /// The order names something that is no address.
    pub fn sign(&self, order: &Order) -> Result<Map<String, Value>, LocalError> {
        self.sign_for(order, &self.address())
    }

    /// Signs in the name of another account, such as a wallet contract that it owns.
    ///
    /// # Errors
    /// The order names something that is no address.
    pub fn sign_for(&self, order: &Order, from: &str) -> Result<Map<String, Value>, LocalError> {
        let hash = order.hash(address(from)?)?;
        let payload = json!({
            "signature": self.sign_hash(hash)?,
            "authorization": {
                "from": from,
                "to": order.pay_to,
                "value": order.value,
                "validAfter": order.valid_after.to_string(),
                "validBefore": order.valid_before.to_string(),
                "nonce": hex::encode_prefixed(order.nonce),
            },
        });
        if let Value::Object(map) = payload { Ok(map) } else { Ok(Map::new()) }
    }

    fn sign_hash(&self, hash: B256) -> Result<String, LocalError> {
        let signature = self.0.sign_hash_sync(&hash).map_err(|_| LocalError::Text("the hash".to_owned()))?;
        Ok(hex::encode_prefixed(signature.as_bytes()))
    }
}

/// Calldata of the transfer that a signed payload authorizes, for whoever
/// wants to bring it to the chain without a facilitator.
///
/// # Errors
/// The payload is not one that [`Payer::sign`] made for this order.
pub fn transfer_calldata(order: &Order, payload: &Map<String, Value>) -> Result<Vec<u8>, LocalError> {
    let text = |pointer: Option<&Value>| pointer.and_then(Value::as_str).unwrap_or_default().to_owned();
    let from = text(payload.get("authorization").and_then(|a| a.get("from")));
    let signature = text(payload.get("signature"));
    let bytes = signature.strip_prefix("0x").and_then(parse::hex).ok_or(LocalError::Text(signature))?;
    let transfer = order.transfer(address(&from)?)?;
    Ok(abi::transfer_by_bytes(&transfer, Bytes::from(bytes)).to_vec())
}
