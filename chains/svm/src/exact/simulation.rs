//! Simulations by a node, which is asked for nothing that is not needed.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use solana_account_decoder_client_types::{UiAccount, UiAccountEncoding};
use solana_client::{
    rpc_config::{RpcSimulateTransactionAccountsConfig, RpcSimulateTransactionConfig},
    rpc_request::RpcRequest,
    rpc_response::Response,
};
use solana_commitment_config::CommitmentConfig;
use solana_sdk::transaction::TransactionError;
use solana_transaction_status_client_types::{
    UiInnerInstructions, UiTransactionEncoding, UiTransactionError, UiTransactionTokenBalance,
};

use super::{lookup::Tables, transaction::Transaction};
use crate::{context::Context, observe::Balances, rpc::error::CallError};

/// Asks for the instructions that programs call, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// They are: a wallet's program makes the transfer.
    Told,
    /// They are not.
    NotTold,
}

/// The part of a node's answer that is read: not its logs, which are the most of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    err: Option<UiTransactionError>,
    accounts: Option<Vec<Option<UiAccount>>>,
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
    calls: Calls,
    commitment: CommitmentConfig,
) -> Result<Simulated, CallError> {
    let first = params(transaction, calls, commitment);
    let answer = context.rpc.read(|client| client.send(RpcRequest::SimulateTransaction, first.clone())).await?;
    let simulated = read(answer);
    if simulated.error != Some(TransactionError::BlockhashNotFound) {
        return Ok(simulated);
    }
    let again = params(transaction, calls, CommitmentConfig::processed());
    let elsewhere = context.rpc.read_elsewhere(|client| client.send(RpcRequest::SimulateTransaction, again.clone()));
    Ok(elsewhere.await.map_or(simulated, read))
}

fn params(transaction: &Transaction, calls: Calls, commitment: CommitmentConfig) -> Value {
    let tables: Vec<String> = transaction.lookups().iter().map(|lookup| lookup.account_key.to_string()).collect();
    let accounts = (!tables.is_empty()).then_some(RpcSimulateTransactionAccountsConfig {
        encoding: Some(UiAccountEncoding::Base64),
        addresses: tables,
    });
    let config = RpcSimulateTransactionConfig {
        sig_verify: false,
        replace_recent_blockhash: false,
        commitment: Some(commitment),
        encoding: Some(UiTransactionEncoding::Base64),
        accounts,
        min_context_slot: None,
        inner_instructions: calls == Calls::Told,
    };
    json!([BASE64_STANDARD.encode(transaction.wire()), config])
}

fn read(answer: Response<Told>) -> Simulated {
    let Response { context, value } = answer;
    let account = |told: Option<UiAccount>| told?.to_account();
    Simulated {
        error: value.err.map(TransactionError::from),
        inner: value.inner_instructions.unwrap_or_default(),
        tables: Tables { slot: context.slot, accounts: value.accounts.into_iter().flatten().map(account).collect() },
        fee_payer_balance: value.pre_balances.and_then(|balances| balances.first().copied()),
        pre: value.pre_token_balances,
        post: value.post_token_balances,
    }
}
