//! What became of transactions, with proof.
//!
//! That a transaction is confirmed without an error is not enough: the payee's
//! token account must hold more by the amount. That it is not found is not
//! enough either: it is over when the finalized chain has passed the last
//! block that could include it, and nobody has it in their history.

use std::{collections::HashMap, str::FromStr};

use chains_core::{
    Amount, Rejection,
    chain::{ChainUnavailable, Effect, Landed, Observation, Watched},
};
use futures::{
    FutureExt,
    stream::{self, StreamExt},
};
use serde_json::json;
use solana_client::{
    client_error::Result as ClientResult, nonblocking::rpc_client::RpcClient, rpc_config::RpcTransactionConfig,
    rpc_request::RpcRequest,
};
use solana_commitment_config::CommitmentConfig;
use solana_sdk::{pubkey::Pubkey, signature::Signature, transaction::TransactionError};
use solana_transaction_status_client_types::{
    EncodedConfirmedTransactionWithStatusMeta, TransactionStatus, UiTransactionEncoding, UiTransactionStatusMeta,
    UiTransactionTokenBalance, option_serializer::OptionSerializer,
};

use crate::{
    context::Context, exact::transaction::Transaction, failure, heads, plan::Plan, reason, rpc::error::CallError,
};

/// Signatures in one `getSignatureStatuses`: what nodes allow.
const STATUSES_MAX: usize = 256;

/// Transactions that are fetched at a time.
const FETCHES_MAX: usize = 32;

/// Endpoints that must agree that a transaction has expired, where so many are configured.
const WITNESSES: usize = 2;

type Statuses = HashMap<Signature, TransactionStatus>;

/// One transaction that is looked for.
struct Case<'a> {
    watched: &'a Watched<'a>,
    name: &'a str,
    signature: Signature,
    plan: Plan,
}

/// What one endpoint knows of transactions that should be over.
struct Witness {
    /// The height of the finalized chain, read before the statuses.
    finalized_height: u64,
    /// The first slot of its history.
    first_slot: u64,
    statuses: Statuses,
}

/// Looks for the effect of transactions; see [`Chain::observe`](chains_core::chain::Chain::observe).
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn observe(context: &Context, watched: &[Watched<'_>]) -> Result<Vec<Observation>, ChainUnavailable> {
    let cases: Vec<Option<Case<'_>>> = watched.iter().map(case).collect();
    let signatures: Vec<Signature> = cases.iter().flatten().map(|case| case.signature).collect();
    let mut statuses = recent(context, &signatures).await.map_err(|error| context.rpc.unavailable(error))?;
    let height = context.heads.newest().map_or(0, |newest| newest.height);
    let is_missing = |case: &&Case<'_>| !statuses.contains_key(&case.signature);
    let over = |case: &&Case<'_>| height > case.plan.last_valid_block_height;
    let gone: Vec<Signature> =
        cases.iter().flatten().filter(is_missing).filter(over).map(|case| case.signature).collect();
    let witnesses = witnesses(context, &gone).await;
    for witness in &witnesses {
        for (signature, status) in &witness.statuses {
            statuses.entry(*signature).or_insert_with(|| status.clone());
        }
    }
    let needed = context.rpc.endpoints().len().min(WITNESSES);
    // Boxed: the compiler cannot see through the borrowed closures otherwise.
    let looks = cases.iter().map(|case| look(context, case.as_ref(), &statuses, &witnesses, needed).boxed());
    Ok(stream::iter(looks.collect::<Vec<_>>()).buffered(FETCHES_MAX).collect().await)
}

/// `None` for what this build cannot have written: it stays as it is.
fn case<'a>(watched: &'a Watched<'a>) -> Option<Case<'a>> {
    let name = watched.attempts.last()?.transaction.as_str();
    let read = (Signature::from_str(name), Plan::from_body(&watched.plan.body));
    let (Ok(signature), Ok(plan)) = read else {
        tracing::error!(transaction = name, "the stored plan cannot be read");
        return None;
    };
    Some(Case { watched, name, signature, plan })
}

/// The statuses of the last few minutes.
async fn recent(context: &Context, signatures: &[Signature]) -> Result<Statuses, CallError> {
    let mut found = Statuses::new();
    for part in signatures.chunks(STATUSES_MAX) {
        let answer = context.rpc.read(|client| client.get_signature_statuses(part)).await?;
        found.extend(part.iter().copied().zip(answer.value).filter_map(|(s, status)| Some((s, status?))));
    }
    Ok(found)
}

/// What every endpoint that answers knows, its whole history searched.
async fn witnesses(context: &Context, signatures: &[Signature]) -> Vec<Witness> {
    if signatures.is_empty() {
        return vec![];
    }
    let answers = context.rpc.everywhere(|client| witness(client, signatures)).await;
    answers.into_iter().filter_map(Result::ok).collect()
}

async fn witness(client: &RpcClient, signatures: &[Signature]) -> ClientResult<Witness> {
    let finalized_height = client.get_block_height_with_commitment(CommitmentConfig::finalized()).await?;
    let first_slot = client.get_first_available_block().await?;
    let mut statuses = Statuses::new();
    for part in signatures.chunks(STATUSES_MAX) {
        let answer = client.get_signature_statuses_with_history(part).await?;
        statuses.extend(part.iter().copied().zip(answer.value).filter_map(|(s, status)| Some((s, status?))));
    }
    Ok(Witness { finalized_height, first_slot, statuses })
}

async fn look(
    context: &Context,
    case: Option<&Case<'_>>,
    statuses: &Statuses,
    witnesses: &[Witness],
    needed: usize,
) -> Observation {
    let Some(case) = case else { return Observation::Pending };
    let Some(status) = statuses.get(&case.signature) else {
        if case.has_expired(witnesses, needed) {
            return expired();
        }
        return case.forgotten(witnesses).map_or(Observation::Pending, Observation::Unknown);
    };
    if !status.satisfies_commitment(CommitmentConfig::confirmed()) {
        return Observation::Pending;
    }
    let block = heads::block(status.slot);
    let unclear = |why: String| Landed {
        transaction: case.name.to_owned(),
        block: block.clone(),
        fee_paid: Amount::ZERO,
        gas_used: 0,
        effect: Effect::Unclear(why),
    };
    Observation::Landed(match fetch(context, &case.signature).await {
        Ok(Some(fetched)) => {
            case.judge(&fetched).unwrap_or_else(|| unclear("the node does not say what it did".to_owned()))
        }
        Ok(None) => unclear("the node has its status and not yet the transaction".to_owned()),
        Err(error) => unclear(error.to_string()),
    })
}

async fn fetch(
    context: &Context,
    signature: &Signature,
) -> Result<Option<EncodedConfirmedTransactionWithStatusMeta>, CallError> {
    let config = RpcTransactionConfig {
        encoding: Some(UiTransactionEncoding::Base64),
        commitment: Some(CommitmentConfig::confirmed()),
        max_supported_transaction_version: Some(0),
    };
    let params = json!([signature.to_string(), config]);
    context.rpc.read(|client| client.send(RpcRequest::GetTransaction, params.clone())).await
}

fn expired() -> Observation {
    let message = "the transaction's blockhash expired before any block included it";
    Observation::Expired(Rejection::new(reason::TRANSACTION_FAILED, message))
}

impl Case<'_> {
    /// Whether enough endpoints show that no block has it and none can.
    fn has_expired(&self, witnesses: &[Witness], needed: usize) -> bool {
        let proves = |witness: &&Witness| {
            witness.finalized_height > self.plan.last_valid_block_height
                && witness.first_slot <= self.watched.claimed_at
                && !witness.statuses.contains_key(&self.signature)
        };
        needed > 0 && witnesses.iter().filter(proves).count() >= needed
    }

    /// Why the endpoints that answer cannot know what became of it; `None`
    /// when one of them can.
    fn forgotten(&self, witnesses: &[Witness]) -> Option<String> {
        let first_slot = witnesses.iter().map(|witness| witness.first_slot).min()?;
        let claimed_at = self.watched.claimed_at;
        let why = || format!("the nodes' history begins at slot {first_slot}, the payment was claimed at {claimed_at}");
        (first_slot > claimed_at).then(why)
    }

    /// What a confirmed transaction did; `None` when the node does not tell.
    fn judge(&self, fetched: &EncodedConfirmedTransactionWithStatusMeta) -> Option<Landed> {
        let meta = fetched.transaction.meta.as_ref()?;
        let transaction = Transaction::decode(&self.plan.transaction).ok()?;
        let block = heads::block(fetched.slot);
        let effect = match meta.err.clone().map(TransactionError::from) {
            Some(error) => {
                let message = format!("the transaction failed on chain: {}", failure::explain(&error, &transaction));
                Effect::Missing(Rejection::new(reason::TRANSACTION_FAILED, message))
            }
            None if !self.was_credited(meta, &transaction)? => {
                let message = "the payee's token account did not rise by the amount";
                Effect::Missing(Rejection::new(reason::TRANSFER_NOT_CONFIRMED, message))
            }
            // Only we can have sent it, yet not for this settlement.
            None if block.number <= self.watched.claimed_at => {
                Effect::DoneElsewhere { transaction: self.name.to_owned(), block: block.clone() }
            }
            None => Effect::Done,
        };
        let gas_used = match meta.compute_units_consumed {
            OptionSerializer::Some(units) => units,
            OptionSerializer::None | OptionSerializer::Skip => 0,
        };
        Some(Landed { transaction: self.name.to_owned(), block, fee_paid: Amount::from(meta.fee), gas_used, effect })
    }

    /// Whether the destination holds more of the token, by the amount at
    /// least; `None` when the node does not tell balances.
    fn was_credited(&self, meta: &UiTransactionStatusMeta, transaction: &Transaction) -> Option<bool> {
        let effect = &self.plan.effect;
        let destination = Pubkey::from_str(&effect.destination).ok()?;
        let index = account_index(transaction, meta, &destination)?;
        let balance = |balances: &OptionSerializer<Vec<UiTransactionTokenBalance>>| match balances {
            OptionSerializer::Some(balances) => {
                let found = balances.iter().find(|b| b.account_index == index && b.mint == effect.mint);
                Some(found.map_or(Some(Amount::ZERO), |b| b.ui_token_amount.amount.parse().ok())?)
            }
            OptionSerializer::None | OptionSerializer::Skip => None,
        };
        let (before, after) = (balance(&meta.pre_token_balances)?, balance(&meta.post_token_balances)?);
        Some(after.checked_sub(before).is_some_and(|rise| rise >= effect.amount))
    }
}

/// Where an account stands among those of the transaction: its own, then
/// those of its lookup tables, the writable ones first.
fn account_index(transaction: &Transaction, meta: &UiTransactionStatusMeta, account: &Pubkey) -> Option<u8> {
    let own = transaction.accounts().iter().map(ToString::to_string);
    let loaded = match &meta.loaded_addresses {
        OptionSerializer::Some(loaded) => loaded.writable.iter().chain(&loaded.readonly).cloned().collect(),
        OptionSerializer::None | OptionSerializer::Skip => Vec::new(),
    };
    let account = account.to_string();
    let position = own.chain(loaded).position(|name| name == account)?;
    u8::try_from(position).ok()
}

#[cfg(test)]
mod tests;
