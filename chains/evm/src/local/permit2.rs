//! Payers that sign payments by Permit2, and permits for Permit2.

use alloy::{
    hex,
    primitives::{Address, Bytes, U256},
    sol_types::{SolCall, SolStruct},
};
use chains_core::Amount;
use serde_json::{Map, Value, json};

use super::{CHAIN_ID, LocalChain, LocalError, Payer, USDC, USDC_NAME, USDC_VERSION, address, number};
use crate::{
    abi::{self, Token},
    extension::sponsoring::eip2612,
    method::permit2::{
        abi::{EXACT_PROXY, PERMIT2, Settle, UPTO_PROXY, domain_separator, signing_hash},
        permit::{Permit, Witness},
    },
};

/// Generated from Solidity; the Solidity is the documentation.
mod generated {
    alloy::sol_types::sol! {
        #![sol(alloy_sol_types = alloy::sol_types)]

        struct Permit {
            address owner;
            address spender;
            uint256 value;
            uint256 nonce;
            uint256 deadline;
        }
    }
}

/// A message that a payer signs for Permit2.
#[derive(Clone, Debug)]
pub struct Permit2Order {
    /// The chain id.
    pub chain_id: u64,
    /// The token.
    pub asset: String,
    /// The payee.
    pub pay_to: String,
    /// The amount; in scheme `upto` at most.
    pub amount: Amount,
    /// The gas wallet that may charge, in scheme `upto`; `None` in scheme `exact`.
    pub facilitator: Option<String>,
    /// Seconds since the epoch from which on it is valid.
    pub valid_after: u64,
    /// Seconds since the epoch up to which it is valid.
    pub deadline: u64,
    /// Any 32 bytes, once.
    pub nonce: [u8; 32],
}

/// A message that a payer signs to allow Permit2 to take a token.
#[derive(Clone, Debug)]
pub struct PermitOrder {
    /// The chain id.
    pub chain_id: u64,
    /// The token.
    pub asset: String,
    /// The name in the token's EIP-712 domain.
    pub name: String,
    /// The version in the token's EIP-712 domain.
    pub version: String,
    /// The amount.
    pub amount: Amount,
    /// The payer's next nonce in the token.
    pub nonce: u64,
    /// Seconds since the epoch up to which it is valid.
    pub deadline: u64,
}

impl Permit2Order {
    /// A payment of scheme `exact` in the local USDC.
    pub fn usdc(pay_to: &str, amount: Amount, deadline: u64, nonce: [u8; 32]) -> Self {
        let (asset, pay_to) = (USDC.to_owned(), pay_to.to_owned());
        Self { chain_id: CHAIN_ID, asset, pay_to, amount, facilitator: None, valid_after: 0, deadline, nonce }
    }

    /// The same in scheme `upto`, which this gas wallet may charge.
    #[must_use]
    pub fn upto(self, gas_wallet: &str) -> Self {
        Self { facilitator: Some(gas_wallet.to_owned()), ..self }
    }

    fn permit(&self, from: Address) -> Result<Permit, LocalError> {
        let (to, valid_after) = (address(&self.pay_to)?, U256::from(self.valid_after));
        let (spender, witness) = match &self.facilitator {
            None => (EXACT_PROXY, Witness::Exact { to, valid_after }),
            Some(wallet) => (UPTO_PROXY, Witness::Upto { to, facilitator: address(wallet)?, valid_after }),
        };
        Ok(Permit {
            from,
            token: address(&self.asset)?,
            amount: self.amount.to_u256(),
            spender,
            nonce: U256::from_be_bytes(self.nonce),
            deadline: U256::from(self.deadline),
            witness,
        })
    }

    /// Calldata of the settlement that a signed payload authorizes, of this
    /// amount, for whoever wants to bring it to the chain without a facilitator.
    ///
    /// # Errors
    /// The payload is not one that [`Payer::sign_permit2`] made for this order.
    pub fn settle_calldata(&self, payload: &Map<String, Value>, amount: Amount) -> Result<Vec<u8>, LocalError> {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let from = text(payload.get("permit2Authorization").and_then(|a| a.get("from")));
        let signature = text(payload.get("signature"));
        let signature = hex::decode(&signature).map(Bytes::from).map_err(|_| LocalError::Text(signature))?;
        let permit = self.permit(address(&from)?)?;
        let settle = Settle { permit: &permit, amount: amount.to_u256(), permit2612: None, signature: &signature };
        Ok(settle.calldata().to_vec())
    }
}

impl PermitOrder {
    /// A permit for the local USDC.
    pub fn usdc(amount: Amount, nonce: u64, deadline: u64) -> Self {
        let (asset, name, version) = (USDC.to_owned(), USDC_NAME.to_owned(), USDC_VERSION.to_owned());
        Self { chain_id: CHAIN_ID, asset, name, version, amount, nonce, deadline }
    }
}

impl Payer {
    /// Signs for Permit2, in its own name: the `payload` of an x402 payment.
    ///
    /// # Errors
    /// The order names something that is no address.
    pub fn sign_permit2(&self, order: &Permit2Order) -> Result<Map<String, Value>, LocalError> {
        self.sign_permit2_for(order, &self.address())
    }

    /// Signs for Permit2 in the name of another account, such as a wallet
    /// contract that it owns.
    ///
    /// # Errors
    /// The order names something that is no address.
    pub fn sign_permit2_for(&self, order: &Permit2Order, from: &str) -> Result<Map<String, Value>, LocalError> {
        let permit = order.permit(address(from)?)?;
        let signature = self.sign_hash(signing_hash(domain_separator(order.chain_id), &permit))?;
        let mut witness = json!({ "to": order.pay_to, "validAfter": order.valid_after.to_string() });
        if let Some(facilitator) = &order.facilitator {
            witness["facilitator"] = json!(facilitator);
        }
        let payload = json!({
            "signature": signature,
            "permit2Authorization": {
                "from": from,
                "permitted": { "token": order.asset, "amount": order.amount },
                "spender": permit.spender.to_checksum(None),
                "nonce": permit.nonce.to_string(),
                "deadline": order.deadline.to_string(),
                "witness": witness,
            },
        });
        if let Value::Object(map) = payload { Ok(map) } else { Ok(Map::new()) }
    }

    /// Signs a permit for Permit2: the `extensions` of an x402 payment.
    ///
    /// # Errors
    /// The order names something that is no address.
    pub fn sign_permit(&self, order: &PermitOrder) -> Result<Map<String, Value>, LocalError> {
        let asset = address(&order.asset)?;
        let message = generated::Permit {
            owner: self.0.address(),
            spender: PERMIT2,
            value: order.amount.to_u256(),
            nonce: U256::from(order.nonce),
            deadline: U256::from(order.deadline),
        };
        let domain = abi::domain_separator(&order.name, &order.version, order.chain_id, asset);
        let signature = self.sign_hash(abi::typed_data_hash(domain, message.eip712_hash_struct()))?;
        let info = json!({
            "from": self.address(), "asset": order.asset, "spender": PERMIT2.to_checksum(None), "amount": order.amount,
            "nonce": order.nonce.to_string(), "deadline": order.deadline.to_string(), "signature": signature,
            "version": "1",
        });
        Ok(Map::from_iter([(eip2612::KEY.to_owned(), json!({ "info": info }))]))
    }
}

impl LocalChain {
    /// Puts code, bare hex, at an address.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn put(&self, at: &str, code: &str) -> Result<(), LocalError> {
        self.call("anvil_setCode", json!([at, format!("0x{}", code.trim_end())])).await.map(drop)
    }

    /// Has an account allow Permit2 to take this much of a token.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn allow_permit2(&self, owner: &str, asset: &str, amount: Amount) -> Result<(), LocalError> {
        let data = Token::approveCall { spender: PERMIT2, amount: amount.to_u256() }.abi_encode();
        self.send(owner, asset, &data).await.map(drop)
    }

    /// The amount of a token that Permit2 may take from an account.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn permit2_allowance(&self, owner: &str, asset: &str) -> Result<Amount, LocalError> {
        let data = Token::allowanceCall { owner: address(owner)?, spender: PERMIT2 }.abi_encode();
        let call = json!([{ "to": asset, "data": hex::encode_prefixed(data) }, "latest"]);
        number(&self.call("eth_call", call).await?)
    }
}
