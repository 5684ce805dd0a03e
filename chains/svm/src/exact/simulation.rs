//! What a node says would happen, for how long it still could, and what the
//! transaction's lookup tables hold: all in one request, of one block.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use solana_account_decoder_client_types::{UiAccount, UiAccountEncoding};
use solana_client::{
    rpc_config::{RpcSimulateTransactionAccountsConfig, RpcSimulateTransactionConfig},
    rpc_request::RpcRequest,
    rpc_response::{Response, RpcSimulateTransactionResult},
};
use solana_commitment_config::CommitmentConfig;
use solana_sdk::{account::Account, hash::Hash, pubkey::Pubkey, transaction::TransactionError};
use solana_transaction_status_client_types::{UiInnerInstructions, UiTransactionEncoding};

use super::{lookup::Tables, transaction::Transaction};
use crate::{config::BLOCKHASH_BLOCKS, context::Context, rpc::error::CallError};

/// The sysvar account that lists the blockhashes that are accepted, newest first.
const RECENT_BLOCKHASHES: &str = "SysvarRecentB1ockHashes11111111111111111111";

/// What is to be told besides whether it would fail.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tell {
    /// What becomes of the account that a transfer takes from.
    Source(Pubkey),
    /// What programs call.
    Calls,
}

/// What a node says of a transaction.
#[derive(Clone, Debug)]
pub(super) struct Simulated {
    /// Why it would fail; `None` when it would not.
    pub error: Option<TransactionError>,
    /// The blockhashes that are accepted; `None` when the node does not tell.
    pub blockhashes: Option<Blockhashes>,
    /// The height of the block that it was tried on, at most.
    pub height_max: u64,
    /// What programs called, when that was asked for.
    pub inner: Vec<UiInnerInstructions>,
    /// The account that the transfer takes from, as it would be afterwards;
    /// `None` when it was not asked for, or the node does not tell.
    pub source: Option<Account>,
    /// The transaction's lookup tables, when it would not fail.
    pub tables: Tables,
}

/// Simulates a transaction on the newest confirmed block. A blockhash that the
/// node does not know may be newer than that: then another one is asked, or the
/// same, for its newest block of all.
///
/// # Errors
/// No endpoint answered.
pub(super) async fn simulate(context: &Context, transaction: &Transaction, tell: Tell) -> Result<Simulated, CallError> {
    let first = params(transaction, tell, CommitmentConfig::confirmed());
    let answer = context.rpc.read(|client| client.send(RpcRequest::SimulateTransaction, first.clone())).await?;
    let simulated = read(context, answer, tell);
    if simulated.error != Some(TransactionError::BlockhashNotFound) {
        return Ok(simulated);
    }
    let again = params(transaction, tell, CommitmentConfig::processed());
    let elsewhere = context.rpc.read_elsewhere(|client| client.send(RpcRequest::SimulateTransaction, again.clone()));
    Ok(elsewhere.await.map_or(simulated, |answer| read(context, answer, tell)))
}

fn params(transaction: &Transaction, tell: Tell, commitment: CommitmentConfig) -> Value {
    let source = if let Tell::Source(source) = tell { Some(source.to_string()) } else { None };
    let tables = transaction.lookups().iter().map(|lookup| lookup.account_key.to_string());
    let config = RpcSimulateTransactionConfig {
        sig_verify: false,
        replace_recent_blockhash: false,
        commitment: Some(commitment),
        encoding: Some(UiTransactionEncoding::Base64),
        accounts: Some(RpcSimulateTransactionAccountsConfig {
            encoding: Some(UiAccountEncoding::Base64),
            addresses: std::iter::once(RECENT_BLOCKHASHES.to_owned()).chain(source).chain(tables).collect(),
        }),
        min_context_slot: None,
        inner_instructions: matches!(tell, Tell::Calls),
    };
    json!([BASE64_STANDARD.encode(transaction.wire()), config])
}

fn read(context: &Context, answer: Response<RpcSimulateTransactionResult>, tell: Tell) -> Simulated {
    let slot = answer.context.slot;
    let height_max = context.heads.newest().map_or(slot, |newest| newest.height_max_at(slot));
    let mut accounts = answer.value.accounts.into_iter().flatten();
    Simulated {
        error: answer.value.err.map(TransactionError::from),
        blockhashes: accounts.next().flatten().as_ref().and_then(Blockhashes::read),
        height_max,
        inner: answer.value.inner_instructions.unwrap_or_default(),
        source: if matches!(tell, Tell::Source(_)) { accounts.next().and_then(account) } else { None },
        tables: Tables { slot, accounts: accounts.map(account).collect() },
    }
}

fn account(told: Option<UiAccount>) -> Option<Account> {
    told?.to_account()
}

/// The content of the sysvar account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blockhashes(Vec<u8>);

/// How many there are, as eight bytes.
const COUNT: usize = 8;
/// A blockhash, and what a signature cost then, as eight bytes.
const ENTRY: usize = 32 + 8;

impl Blockhashes {
    /// `None` when the account is empty: some nodes do not keep it.
    fn read(account: &UiAccount) -> Option<Self> {
        account.data.decode().filter(|data| data.len() >= COUNT + ENTRY).map(Self)
    }

    /// For how many blocks after this one a blockhash is accepted: the newest
    /// for 150. `None` when it is not there.
    pub fn blocks_left(&self, blockhash: &Hash) -> Option<u64> {
        let mut entries = self.0.get(COUNT..)?.chunks_exact(ENTRY);
        let age = entries.position(|entry| entry.starts_with(blockhash.as_ref()))?;
        BLOCKHASH_BLOCKS.checked_sub(u64::try_from(age).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_blockhash_lives_for_150_blocks_and_the_oldest_for_one() {
        let hash = |n: u8| Hash::new_from_array([n; 32]);
        let mut data = 150_u64.to_le_bytes().to_vec();
        for n in 0..150 {
            data.extend_from_slice(hash(n).as_ref());
            data.extend_from_slice(&5000_u64.to_le_bytes());
        }
        let blockhashes = Blockhashes(data);
        for (n, left) in [(0, Some(150)), (119, Some(31)), (149, Some(1)), (150, None)] {
            assert_eq!(blockhashes.blocks_left(&hash(n)), left, "{n}");
        }
    }
}
