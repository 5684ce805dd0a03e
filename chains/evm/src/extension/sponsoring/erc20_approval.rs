//! Extension `erc20ApprovalGasSponsoring`: a transaction, signed by the payer,
//! by which it allows Permit2 to take the token. Rules and source:
//! `docs/protocol-notes.md`, "ERC-20 approval gas sponsoring".
//!
//! The bytes are a stranger's, and gas money may be spent on their account: so
//! every field of the transaction is checked, not only those that the
//! specification names.

use alloy::{
    consensus::{Transaction as _, TxEnvelope, transaction::SignerRecoverable},
    eips::eip2718::{Decodable2718, Encodable2718},
    primitives::{Address, B256, Bytes, U256},
    sol_types::SolCall,
};
use chains_core::{Payment, Rejection};

use super::info::Info;
use crate::{
    abi::Token,
    method::permit2::{abi::PERMIT2, permit::Permit},
    reason,
    scheme::requirements::Requirements,
};

/// Its key among the extensions.
pub(crate) const KEY: &str = "erc20ApprovalGasSponsoring";

/// The most gas that an approval may use, on networks that count posted data
/// apart: the official clients ask for 70,000.
const GAS_MAX: u64 = 100_000;

/// An approval has about 180 bytes, with an empty access list.
const RAW_BYTES_MAX: usize = 512;

/// Calldata of `approve(address,uint256)`.
pub(crate) const CALLDATA_BYTES: usize = 68;

/// The members without any of which the client did not fill the extension in.
const MEMBERS: [&str; 6] = ["from", "asset", "spender", "amount", "signedTransaction", "version"];

/// An approval as the payer sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Approval {
    from: Address,
    asset: Address,
    spender: Address,
    raw: Bytes,
}

/// A signed transaction that may be an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApprovalTransaction {
    /// The bytes.
    pub raw: Bytes,
    /// Its name on chain.
    pub hash: B256,
    /// Its place among the payer's transactions.
    pub nonce: u64,
    /// The most gas that it may use.
    pub gas_limit: u64,
    /// The most that it pays for a unit of gas, in wei.
    pub fee_per_gas_max: u128,
    /// Of it, what goes to the block's producer; all of it where it does not tell apart.
    pub tip_per_gas_max: u128,
    /// The calldata for the token.
    pub data: Bytes,
    envelope: TxEnvelope,
}

/// Reads the extension; `None` when it is not there or not filled in.
///
/// # Errors
/// It has another shape. That is reported only after the payment's own checks.
pub(crate) fn read(payment: &Payment) -> Option<Result<Approval, Rejection>> {
    Info::of(payment, KEY, &MEMBERS, reason::APPROVAL_FORMAT).map(approval)
}

fn approval(info: Info<'_>) -> Result<Approval, Rejection> {
    let (from, asset, spender) = (info.address("from")?, info.address("asset")?, info.address("spender")?);
    // What is really approved stands in the transaction.
    info.number("amount")?;
    let raw = info.bytes("signedTransaction")?.into();
    info.version("version")?;
    Ok(Approval { from, asset, spender, raw })
}

impl Approval {
    /// The checks that need no chain: first the extension's, in order, then
    /// what else gas money must not be spent on. `gas_extra`: gas on top of
    /// the most that an approval may use.
    pub fn check(
        &self,
        permit: &Permit,
        requirements: &Requirements,
        chain_id: u64,
        gas_extra: u64,
    ) -> Result<ApprovalTransaction, Rejection> {
        let bad = |code, message: String| Err(Rejection::new(code, message));
        if self.from != permit.from {
            return bad(reason::APPROVAL_FROM_MISMATCH, format!("the approval is of {}, not of the payer", self.from));
        }
        if self.asset != requirements.asset {
            return bad(reason::APPROVAL_ASSET_MISMATCH, format!("the approval is for the token {}", self.asset));
        }
        if self.spender != PERMIT2 {
            return bad(reason::APPROVAL_SPENDER_NOT_PERMIT2, format!("the approval is for {}", self.spender));
        }
        let transaction = ApprovalTransaction::parse(&self.raw)?;
        transaction.check_call(requirements.asset)?;
        transaction.check_signer(permit.from)?;
        transaction.check_terms(permit.amount, chain_id, GAS_MAX.saturating_add(gas_extra))?;
        Ok(transaction)
    }

    /// Its part in a payment's fingerprint.
    pub fn fingerprint(&self) -> &[u8] {
        &self.raw
    }
}

impl ApprovalTransaction {
    /// Reads a signed transaction: EIP-1559, EIP-2930 or older.
    ///
    /// # Errors
    /// It is none, or of another sort, or not in its one encoding.
    pub fn parse(raw: &Bytes) -> Result<Self, Rejection> {
        let bad = || {
            Rejection::new(reason::APPROVAL_TX_PARSE_FAILED, "signedTransaction is not a transaction that can be sent")
        };
        if raw.len() > RAW_BYTES_MAX {
            return Err(bad());
        }
        let envelope = TxEnvelope::decode_2718_exact(raw).map_err(|_| bad())?;
        let ordinary = envelope.is_legacy() || envelope.is_eip2930() || envelope.is_eip1559();
        if !ordinary || envelope.encoded_2718() != raw[..] {
            return Err(bad());
        }
        let fee_per_gas_max = envelope.max_fee_per_gas();
        Ok(Self {
            raw: raw.clone(),
            hash: *envelope.hash(),
            nonce: envelope.nonce(),
            gas_limit: envelope.gas_limit(),
            fee_per_gas_max,
            tip_per_gas_max: envelope.max_priority_fee_per_gas().unwrap_or(fee_per_gas_max),
            data: envelope.input().clone(),
            envelope,
        })
    }

    /// The most that its gas may cost the payer, in wei.
    pub fn cost_max(&self) -> U256 {
        U256::from(self.gas_limit).saturating_mul(U256::from(self.fee_per_gas_max))
    }

    fn check_call(&self, token: Address) -> Result<(), Rejection> {
        let bad = |code, message: &'static str| Err(Rejection::new(code, message));
        if self.envelope.to() != Some(token) {
            return bad(reason::APPROVAL_TX_WRONG_TARGET, "the approval's transaction does not call the token");
        }
        if !self.data.starts_with(&Token::approveCall::SELECTOR) {
            return bad(reason::APPROVAL_TX_WRONG_SELECTOR, "the approval's transaction does not call approve");
        }
        let spender = self.data.get(16..36).map(Address::from_slice);
        if spender.is_some_and(|spender| spender != PERMIT2) {
            return bad(reason::APPROVAL_TX_WRONG_SPENDER, "the approval's transaction approves somebody else");
        }
        // Exactly the call: nothing in the padding, nothing behind.
        if self.data.len() != CALLDATA_BYTES || self.data[4..16] != [0; 12] {
            return bad(
                reason::APPROVAL_TX_INVALID_CALLDATA,
                "the approval's transaction is not a plain call of approve",
            );
        }
        Ok(())
    }

    fn check_signer(&self, payer: Address) -> Result<(), Rejection> {
        match self.envelope.recover_signer() {
            Ok(signer) if signer == payer => Ok(()),
            Ok(signer) => {
                let message = format!("the approval's transaction is signed by {signer}, not by the payer");
                Err(Rejection::new(reason::APPROVAL_TX_SIGNER_MISMATCH, message))
            }
            Err(_) => {
                let message = "the approval's transaction has no valid signature";
                Err(Rejection::new(reason::APPROVAL_TX_INVALID_SIGNATURE, message))
            }
        }
    }

    fn check_terms(&self, amount: U256, chain_id: u64, gas_max: u64) -> Result<(), Rejection> {
        let bad = |code, message: String| Err(Rejection::new(code, message));
        if self.envelope.chain_id() != Some(chain_id) {
            let message = format!("the approval's transaction is not for chain {chain_id} alone");
            return bad(reason::APPROVAL_TX_WRONG_CHAIN, message);
        }
        if !self.envelope.value().is_zero() {
            let message = format!("the approval's transaction sends {} wei along", self.envelope.value());
            return bad(reason::APPROVAL_TX_WRONG_VALUE, message);
        }
        if self.envelope.access_list().is_some_and(|list| !list.is_empty()) {
            let message = "the approval's transaction has an access list";
            return bad(reason::APPROVAL_TX_ACCESS_LIST, message.to_owned());
        }
        if self.gas_limit > gas_max {
            let message = format!("the approval may use {} gas, more than {gas_max}", self.gas_limit);
            return bad(reason::APPROVAL_TX_GAS_LIMIT, message);
        }
        let approved = self.data.get(36..).map(U256::try_from_be_slice).unwrap_or_default().unwrap_or_default();
        if approved < amount {
            let message = format!("the approval allows {approved}, the payer authorized {amount}");
            return bad(reason::APPROVAL_TX_WRONG_AMOUNT, message);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
