//! Receipts and logs as nodes describe them, as far as they matter.

use alloy::{
    primitives::{Address, B256, Bytes, Log, U256},
    sol_types::SolEvent,
};
use chains_core::{Amount, observation::BlockRef};
use serde::Deserialize;

use crate::{
    abi::Token,
    method::permit2::abi::PERMIT2,
    rpc::method::quantity,
    tx::{
        batch,
        plan::{Method, Transfer},
    },
};

/// A receipt.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    pub(super) transaction_hash: String,
    pub(super) block_number: String,
    pub(super) block_hash: String,
    #[serde(default)]
    pub(super) status: Option<String>,
    pub(super) gas_used: String,
    #[serde(default)]
    pub(super) effective_gas_price: Option<String>,
    /// The price of its data on rollups of the OP stack, besides gas.
    #[serde(default)]
    pub(super) l1_fee: Option<String>,
    #[serde(default)]
    pub(super) logs: Vec<ReceiptLog>,
}

/// A log.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReceiptLog {
    pub address: Address,
    pub topics: Vec<B256>,
    pub data: Bytes,
    #[serde(default)]
    pub transaction_hash: Option<String>,
}

impl Receipt {
    /// Its block, when the number is one.
    pub fn block(&self) -> Option<BlockRef> {
        let number = u64::try_from(quantity(&self.block_number)?).ok()?;
        Some(BlockRef { number, hash: self.block_hash.to_lowercase() })
    }

    /// Returns whether its transaction was not undone.
    pub fn succeeded(&self) -> bool {
        self.status.as_deref().and_then(quantity) == Some(U256::from(1))
    }

    /// The gas that it used.
    pub fn gas_used(&self) -> u64 {
        quantity(&self.gas_used).and_then(|gas| u64::try_from(gas).ok()).unwrap_or_default()
    }

    /// The price of its gas and its data.
    pub fn fee_paid(&self) -> Amount {
        let number = |text: &Option<String>| text.as_deref().and_then(quantity).unwrap_or_default();
        let gas = U256::from(self.gas_used()).saturating_mul(number(&self.effective_gas_price));
        Amount::from(gas.saturating_add(number(&self.l1_fee)))
    }

    /// Returns whether exactly the expected transfer is in it, so many times at
    /// least: once for each settlement in it that makes the same.
    pub fn has(&self, transfer: &Transfer, times: usize) -> bool {
        let moved = self
            .logs_of(transfer.token)
            .filter_map(|log| Token::Transfer::decode_log(&log).ok())
            .filter(|event| event.from == transfer.from && event.to == transfer.to && event.value == transfer.value);
        let moved = moved.count() >= times;
        if transfer.method != Method::Eip3009 {
            return moved;
        }
        // A token that says which authorizations it used must say that it was this one.
        let used = self.logs_of(transfer.token).filter_map(|log| Token::AuthorizationUsed::decode_log(&log).ok());
        let mut used = used.peekable();
        moved && (used.peek().is_none() || used.any(|e| e.authorizer == transfer.from && e.nonce == transfer.nonce))
    }

    /// The settlements of a transaction with many that succeeded, bit by bit, by
    /// the word of the contract that carries them; `None` where it says nothing.
    pub fn carried(&self, contract: Address) -> Option<U256> {
        self.logs_of(contract).find_map(|log| batch::carried(&log))
    }

    /// Returns whether the payer allowed Permit2 in it to take the payment.
    pub fn approves(&self, transfer: &Transfer) -> bool {
        let events = self.logs_of(transfer.token).filter_map(|log| Token::Approval::decode_log(&log).ok());
        // The last one counts.
        let ours = events.filter(|event| event.owner == transfer.from && event.spender == PERMIT2).last();
        ours.is_some_and(|event| event.value >= transfer.value)
    }

    fn logs_of(&self, token: Address) -> impl Iterator<Item = Log> {
        self.logs.iter().filter(move |log| log.address == token).filter_map(ReceiptLog::decoded)
    }
}

impl ReceiptLog {
    /// The log as alloy reads events from.
    pub fn decoded(&self) -> Option<Log> {
        Log::new(self.address, self.topics.clone(), self.data.clone())
    }
}
