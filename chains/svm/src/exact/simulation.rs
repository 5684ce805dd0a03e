//! Simulations by a node, which is asked for nothing that is not needed.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use solana_account_decoder_client_types::UiAccountEncoding;
use solana_client::{
    rpc_config::{RpcSimulateTransactionAccountsConfig, RpcSimulateTransactionConfig},
    rpc_request::RpcRequest,
    rpc_response::Response,
};
use solana_commitment_config::CommitmentConfig;
use solana_sdk::{account::Account, pubkey::Pubkey, transaction::TransactionError};
use solana_transaction_status_client_types::{
    UiInnerInstructions, UiTransactionEncoding, UiTransactionError, UiTransactionTokenBalance,
};

use super::{lookup::Tables, transaction::Transaction};
use crate::{
    context::Context,
    observe::Balances,
    rpc::{ToldAccount, error::CallError},
};

/// The thing that is asked for beside the verdict and the balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The instructions that programs call: a wallet's program makes the transfer.
    Calls,
    /// An account as the transaction leaves it.
    Account(Pubkey),
    /// None.
    Nothing,
}

/// The part of a node's answer that is read: not its logs, which are the most of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    err: Option<UiTransactionError>,
    accounts: Option<Vec<Option<ToldAccount>>>,
    inner_instructions: Option<Vec<UiInnerInstructions>>,
    pre_balances: Option<Vec<u64>>,
    pre_token_balances: Option<Vec<UiTransactionTokenBalance>>,
    post_token_balances: Option<Vec<UiTransactionTokenBalance>>,
}

/// The answer of a node about a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Simulated {
    /// The reason why it would fail; `None` when it would not.
    pub error: Option<TransactionError>,
    /// The instructions that programs called, when that was asked for.
    pub inner: Vec<UiInnerInstructions>,
    /// The transaction's lookup tables, when it would not fail.
    pub tables: Tables,
    /// The account that was asked for; `None` when the node does not tell.
    pub account: Option<Account>,
    /// The fee payer's balance before the transaction; `None` when the node does not tell.
    pub fee_payer_balance: Option<u64>,
    pre: Option<Vec<UiTransactionTokenBalance>>,
    post: Option<Vec<UiTransactionTokenBalance>>,
}

impl Simulated {
    /// The token balances before and after; `None` when the node does not tell.
    pub fn balances(&self) -> Option<Balances<'_>> {
        Some(Balances { pre: self.pre.as_deref()?, post: self.post.as_deref()? })
    }
}

/// Simulates a transaction on the newest block of a commitment. A blockhash
/// that the node does not know may be newer than that: then another one is
/// asked, or the same, for its newest block of all.
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn simulate(
    context: &Context,
    transaction: &Transaction,
    ask: Ask,
    commitment: CommitmentConfig,
) -> Result<Simulated, CallError> {
    let first = params(transaction, ask, commitment);
    let answer = context.rpc.read(|client| client.send(RpcRequest::SimulateTransaction, first.clone())).await?;
    let simulated = read(answer, transaction.lookups().len());
    if simulated.error != Some(TransactionError::BlockhashNotFound) {
        return Ok(simulated);
    }
    Ok(simulate_elsewhere(context, transaction, ask, CommitmentConfig::processed()).await.unwrap_or(simulated))
}

/// Has another endpoint simulate a transaction; the same, where it is the only one.
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn simulate_elsewhere(
    context: &Context,
    transaction: &Transaction,
    ask: Ask,
    commitment: CommitmentConfig,
) -> Result<Simulated, CallError> {
    let asked = params(transaction, ask, commitment);
    let answer = context.rpc.read_elsewhere(|client| client.send(RpcRequest::SimulateTransaction, asked.clone()));
    Ok(read(answer.await?, transaction.lookups().len()))
}

fn params(transaction: &Transaction, ask: Ask, commitment: CommitmentConfig) -> Value {
    let tables = transaction.lookups().iter().map(|lookup| lookup.account_key);
    let account = if let Ask::Account(address) = ask { Some(address) } else { None };
    let addresses: Vec<String> = tables.chain(account).map(|address| address.to_string()).collect();
    let accounts = (!addresses.is_empty())
        .then_some(RpcSimulateTransactionAccountsConfig { encoding: Some(UiAccountEncoding::Base64), addresses });
    let config = RpcSimulateTransactionConfig {
        sig_verify: false,
        replace_recent_blockhash: false,
        commitment: Some(commitment),
        encoding: Some(UiTransactionEncoding::Base64),
        accounts,
        min_context_slot: None,
        inner_instructions: ask == Ask::Calls,
    };
    json!([BASE64_STANDARD.encode(transaction.wire()), config])
}

/// `tables` is the number of the transaction's lookup tables, which come before the account.
fn read(answer: Response<Told>, tables: usize) -> Simulated {
    let Response { context, value } = answer;
    let told = value.accounts.into_iter().flatten();
    let mut accounts: Vec<Option<Account>> = told.map(|told| told.map(ToldAccount::into_account)).collect();
    let account = accounts.split_off(tables.min(accounts.len())).into_iter().next().flatten();
    Simulated {
        error: value.err.map(TransactionError::from),
        inner: value.inner_instructions.unwrap_or_default(),
        tables: Tables { slot: context.slot, accounts },
        account,
        fee_payer_balance: value.pre_balances.and_then(|balances| balances.first().copied()),
        pre: value.pre_token_balances,
        post: value.post_token_balances,
    }
}
