//! Payers without allowance who send an approval along: signed raw
//! transactions, and request bodies with them, as the official clients do.

use alloy::{
    consensus::{SignableTransaction, TxEip1559},
    eips::eip2718::Encodable2718,
    primitives::{Address, B256, TxKind, U256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::SolCall,
};
use serde_json::{Value, json};

use crate::{
    anvil::{Anvil, USDC},
    permit2::Permit2Draft,
    service::Home,
};

sol! {
    function approve(address spender, uint256 amount) external returns (bool);
}

/// Permit2.
pub const PERMIT2: &str = "0x000000000022D473030F116dDEE9F6B43aC78BA3";

/// Turns the extension on, with room for a few approvals of [`Sponsored`] in an hour.
#[must_use]
pub fn sponsoring(home: Home) -> Home {
    home.network("sponsor_erc20_approval", true)
        .network("sponsor_funding_max", "150000000000000")
        .network("sponsor_funding_per_hour_max", "100000000000000000")
}

/// A payment, and the approval that comes along.
#[derive(Clone, Debug)]
pub struct Sponsored {
    /// The payment.
    pub payment: Permit2Draft,
    /// The key that signs the approval.
    pub key: PrivateKeySigner,
    /// The approval's transaction, with every field in reach of a test.
    pub approval: TxEip1559,
}

impl Sponsored {
    /// A payer with money in the usual token and nothing else: no coin, no allowance.
    ///
    /// # Panics
    /// If the chain refuses.
    pub async fn new(chain: &Anvil) -> Self {
        Self::by(chain, Permit2Draft::default()).await
    }

    /// The same, with this payment.
    ///
    /// # Panics
    /// If the chain refuses.
    pub async fn by(chain: &Anvil, payment: Permit2Draft) -> Self {
        let key = PrivateKeySigner::from_bytes(&B256::from(rand::random::<[u8; 32]>())).expect("a key");
        chain.mint(&key.address().to_checksum(None), 1_000_000).await;
        let approval = TxEip1559 {
            chain_id: 84_532,
            nonce: 0,
            gas_limit: 70_000,
            max_fee_per_gas: 2_000_000_000,
            max_priority_fee_per_gas: 1_000_000,
            to: TxKind::Call(USDC.parse().expect("an address")),
            value: U256::ZERO,
            access_list: alloy::eips::eip2930::AccessList::default(),
            input: approve_calldata(PERMIT2, U256::MAX),
        };
        Self { payment: payment.of(&key), key, approval }
    }

    /// The payer's address.
    pub fn payer(&self) -> String {
        self.key.address().to_checksum(None)
    }

    /// The most that the approval's gas may cost, in wei.
    pub fn cost_max(&self) -> u128 {
        u128::from(self.approval.gas_limit) * self.approval.max_fee_per_gas
    }

    /// The approval, signed: its name, and its bytes.
    pub fn signed(&self) -> (String, Vec<u8>) {
        sign(&self.key, self.approval.clone())
    }

    /// Another payment of the same payer, with the same approval.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { payment: Permit2Draft::default().of(&self.key), ..self.clone() }
    }

    /// The body of `/verify` and `/settle`.
    pub fn body(&self) -> Value {
        let info = json!({
            "from": self.payer(), "asset": USDC, "spender": PERMIT2, "amount": U256::MAX.to_string(),
            "signedTransaction": format!("0x{}", hex::encode(self.signed().1)), "version": "1",
        });
        let mut body = self.payment.body();
        body["paymentPayload"]["extensions"] = json!({ "erc20ApprovalGasSponsoring": { "info": info } });
        body
    }
}

/// Signs a transaction: its name, and its bytes.
///
/// # Panics
/// Never for a real key.
pub fn sign(key: &PrivateKeySigner, transaction: TxEip1559) -> (String, Vec<u8>) {
    let signature = key.sign_hash_sync(&transaction.signature_hash()).expect("signed");
    let signed = transaction.into_signed(signature);
    (signed.hash().to_string(), signed.encoded_2718())
}

/// Calldata by which somebody may take so much of a token.
///
/// # Panics
/// If the address is none.
pub fn approve_calldata(spender: &str, amount: U256) -> alloy::primitives::Bytes {
    let spender: Address = spender.parse().expect("an address");
    approveCall { spender, amount }.abi_encode().into()
}
