//! The conclusion of one endpoint.
//!
//! That a transaction is not found is not enough: it is over when the finalized
//! chain has passed the block that made its blockhash, does not accept that
//! blockhash any more, and the endpoint's whole history does not have it.

use std::{collections::HashMap, fmt};

use futures::{
    FutureExt,
    stream::{self, StreamExt, TryStreamExt},
};
use serde_json::json;
use solana_client::{
    rpc_config::{RpcContextConfig, RpcTransactionConfig},
    rpc_request::RpcRequest,
    rpc_response::Response,
};
use solana_commitment_config::CommitmentConfig;
use solana_sdk::{hash::Hash, pubkey::Pubkey, signature::Signature, transaction::TransactionError};
use solana_transaction_status_client_types::{
    EncodedConfirmedTransactionWithStatusMeta, TransactionStatus, UiTransactionEncoding, UiTransactionStatusMeta,
    option_serializer::OptionSerializer,
};

use super::{Balances, Case, Credited, Search};
use crate::{
    exact::transaction::Transaction,
    failure,
    plan::Proof,
    rpc::{ClientResult, RpcClient},
};

/// Signatures in one `getSignatureStatuses`: what nodes allow.
const STATUSES_MAX: usize = 256;

/// Transactions and blockhashes that are asked for in one look; the others
/// have to wait for the next one.
const FETCHES_MAX: usize = 64;

/// Requests for them at a time.
const FETCHES_AT_A_TIME: usize = 16;

/// The conclusion of one endpoint about one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Conclusion {
    /// No confirmed block has it, and one still may.
    Open,
    /// No block has it, and none can any more.
    Over,
    /// The endpoint cannot know: its history begins after the claim.
    Forgotten {
        /// The first slot of its history.
        first_slot: u64,
    },
    /// It is in a confirmed block.
    Included(Included),
}

/// The place of a transaction, and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Included {
    /// The block's slot.
    pub slot: u64,
    /// The compute units that it used; 0 where only its status was asked for.
    pub units: u64,
    /// Its outcome.
    pub outcome: Outcome,
}

/// The outcome of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The payee has been paid.
    Paid,
    /// It failed, and changed nothing but the fee payer's balance.
    Failed(String),
    /// It succeeded, and did not pay.
    NotPaid(String),
    /// The endpoint does not tell, or not yet.
    Unclear(String),
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("not in a block yet"),
            Self::Over => f.write_str("in no block, and too late for one"),
            Self::Forgotten { first_slot } => write!(f, "history begins at slot {first_slot}"),
            Self::Included(Included { slot, outcome, .. }) => match outcome {
                Outcome::Paid => write!(f, "paid in slot {slot}"),
                Outcome::Failed(why) | Outcome::NotPaid(why) | Outcome::Unclear(why) => {
                    write!(f, "in slot {slot}: {why}")
                }
            },
        }
    }
}

type Statuses = HashMap<Signature, TransactionStatus>;

/// Asks one endpoint for all of them; one conclusion each, in order. Where it
/// tells nothing of the past, there is none about those that take its word on it.
pub(super) async fn ask(client: &RpcClient, cases: &[&Case], search: Search) -> ClientResult<Vec<Option<Conclusion>>> {
    let signatures: Vec<Signature> = cases.iter().map(|case| case.signature).collect();
    let mut statuses = recent(client, &signatures).await?;
    let is_over = |case: &&&Case| match search {
        Search::Recent { height } => height > case.plan.body.last_valid_block_height,
        Search::Everything => true,
    };
    let missing: Vec<&Case> =
        cases.iter().filter(|case| !statuses.contains_key(&case.signature)).filter(is_over).copied().collect();
    let past = match Past::ask(client, &missing).await {
        Err(error) if missing.len() == cases.len() => return Err(error),
        past => past,
    };
    statuses.extend(past.iter().flatten().flat_map(|past| past.statuses.clone()));
    let fetched = fetch_all(client, cases, &statuses).await;
    let conclude = |case: &&Case| match statuses.get(&case.signature).filter(|status| is_confirmed(status)) {
        Some(status) => Some(Conclusion::Included(included(case, status, fetched.get(&case.signature)))),
        None if !is_over(&case) => Some(Conclusion::Open),
        None => past.as_ref().ok().map(|past| past.as_ref().map_or(Conclusion::Open, |past| past.conclude(case))),
    };
    Ok(cases.iter().map(conclude).collect())
}

/// Asks one endpoint whether any block has a transaction.
pub(super) async fn is_executed(client: &RpcClient, signature: Signature) -> ClientResult<Vec<Option<bool>>> {
    Ok(vec![Some(!recent(client, &[signature]).await?.is_empty())])
}

fn is_confirmed(status: &TransactionStatus) -> bool {
    status.satisfies_commitment(CommitmentConfig::confirmed())
}

/// The statuses of the last few minutes.
async fn recent(client: &RpcClient, signatures: &[Signature]) -> ClientResult<Statuses> {
    let mut found = Statuses::new();
    for part in signatures.chunks(STATUSES_MAX) {
        let answer = client.get_signature_statuses(part).await?;
        found.extend(part.iter().copied().zip(answer.value).filter_map(|(s, status)| Some((s, status?))));
    }
    Ok(found)
}

/// The knowledge of an endpoint about transactions that should be over.
struct Past {
    /// The height of the finalized chain, read before everything else.
    finalized_height: u64,
    /// The first slot of its history.
    first_slot: u64,
    /// The blockhashes that the finalized chain accepts no more.
    dead: Vec<Hash>,
    statuses: Statuses,
}

impl Past {
    /// `None` when nothing is to be asked.
    async fn ask(client: &RpcClient, missing: &[&Case]) -> ClientResult<Option<Self>> {
        if missing.is_empty() {
            return Ok(None);
        }
        let finalized = client.get_epoch_info_with_commitment(CommitmentConfig::finalized()).await?;
        let first_slot = client.get_first_available_block().await?;
        let mut blockhashes: Vec<Hash> = missing.iter().map(|case| case.plan.transaction.blockhash()).collect();
        blockhashes.sort_unstable();
        blockhashes.dedup();
        blockhashes.truncate(FETCHES_MAX);
        // Boxed: the compiler cannot see through the borrowed closures otherwise.
        let asked = blockhashes.iter().map(|hash| is_dead(client, *hash, finalized.absolute_slot).boxed());
        let asked: Vec<(u64, Option<Hash>)> =
            stream::iter(asked.collect::<Vec<_>>()).buffered(FETCHES_AT_A_TIME).try_collect().await?;
        let newest = asked.iter().map(|(slot, _)| *slot).fold(finalized.absolute_slot, u64::max);
        // After the blockhashes: what a block has included by then is in here.
        let signatures: Vec<Signature> = missing.iter().map(|case| case.signature).collect();
        let mut statuses = Statuses::new();
        for part in signatures.chunks(STATUSES_MAX) {
            let answer = client.get_signature_statuses_with_history(part).await?;
            if answer.context.slot < newest {
                return Ok(None);
            }
            statuses.extend(part.iter().copied().zip(answer.value).filter_map(|(s, status)| Some((s, status?))));
        }
        let dead = asked.into_iter().filter_map(|(_, dead)| dead).collect();
        Ok(Some(Self { finalized_height: finalized.block_height, first_slot, dead, statuses }))
    }

    fn conclude(&self, case: &Case) -> Conclusion {
        let has_passed = self.finalized_height >= case.plan.body.known_height;
        let is_found = self.statuses.contains_key(&case.signature);
        if is_found || !has_passed || !self.dead.contains(&case.plan.transaction.blockhash()) {
            return Conclusion::Open;
        }
        if self.first_slot > case.claimed_block {
            return Conclusion::Forgotten { first_slot: self.first_slot };
        }
        Conclusion::Over
    }
}

/// The slot that was asked, and the blockhash when the finalized chain does not
/// accept it there: that slot is this one or a later one.
async fn is_dead(client: &RpcClient, hash: Hash, finalized_slot: u64) -> ClientResult<(u64, Option<Hash>)> {
    let config =
        RpcContextConfig { commitment: Some(CommitmentConfig::finalized()), min_context_slot: Some(finalized_slot) };
    let params = json!([hash.to_string(), config]);
    let answer: Response<bool> = client.send(RpcRequest::IsBlockhashValid, params).await?;
    let slot = answer.context.slot;
    let is_dead = !answer.value && slot >= finalized_slot;
    Ok((slot, is_dead.then_some(hash)))
}

type Fetched = HashMap<Signature, Result<EncodedConfirmedTransactionWithStatusMeta, &'static str>>;

/// The transactions whose statuses alone prove nothing.
async fn fetch_all(client: &RpcClient, cases: &[&Case], statuses: &Statuses) -> Fetched {
    let needed = cases.iter().filter(|case| {
        let proves = case.plan.body.proof == Proof::Status;
        !proves && statuses.get(&case.signature).is_some_and(|status| is_confirmed(status) && status.err.is_none())
    });
    let needed: Vec<Signature> = needed.map(|case| case.signature).take(FETCHES_MAX).collect();
    let fetches = needed.iter().map(|signature| fetch(client, signature).map(|found| (*signature, found)).boxed());
    stream::iter(fetches.collect::<Vec<_>>()).buffered(FETCHES_AT_A_TIME).collect().await
}

async fn fetch(
    client: &RpcClient,
    signature: &Signature,
) -> Result<EncodedConfirmedTransactionWithStatusMeta, &'static str> {
    let config = RpcTransactionConfig {
        encoding: Some(UiTransactionEncoding::Base64),
        commitment: Some(CommitmentConfig::confirmed()),
        max_supported_transaction_version: Some(0),
    };
    let params = json!([signature.to_string(), config]);
    let answer = client.send::<Option<_>>(RpcRequest::GetTransaction, params).await;
    answer
        .map_err(|_| "the node did not answer what the transaction did")?
        .ok_or("the node has its status and not yet the transaction")
}

fn included(
    case: &Case,
    status: &TransactionStatus,
    fetched: Option<&Result<EncodedConfirmedTransactionWithStatusMeta, &'static str>>,
) -> Included {
    let by_status = |outcome| Included { slot: status.slot, units: 0, outcome };
    if let Some(error) = &status.err {
        return by_status(Outcome::Failed(failure::explain(error, &case.plan.transaction)));
    }
    match (case.plan.body.proof, fetched) {
        (Proof::Status, _) => by_status(Outcome::Paid),
        (Proof::Balances, Some(Ok(fetched))) => by_balances(case, fetched),
        (Proof::Balances, Some(Err(why))) => by_status(Outcome::Unclear((*why).to_owned())),
        (Proof::Balances, None) => by_status(Outcome::Unclear("too many transactions at a time".to_owned())),
    }
}

fn by_balances(case: &Case, fetched: &EncodedConfirmedTransactionWithStatusMeta) -> Included {
    let meta = fetched.transaction.meta.as_ref();
    let units = match meta.map(|meta| &meta.compute_units_consumed) {
        Some(OptionSerializer::Some(units)) => *units,
        Some(OptionSerializer::None | OptionSerializer::Skip) | None => 0,
    };
    let unclear = || Outcome::Unclear("the node does not tell token balances".to_owned());
    let outcome = meta.and_then(|meta| outcome(case, meta)).unwrap_or_else(unclear);
    Included { slot: fetched.slot, units, outcome }
}

/// `None` when the node does not tell.
fn outcome(case: &Case, meta: &UiTransactionStatusMeta) -> Option<Outcome> {
    let transaction = &case.plan.transaction;
    if let Some(error) = meta.err.clone().map(TransactionError::from) {
        return Some(Outcome::Failed(failure::explain(&error, transaction)));
    }
    let (OptionSerializer::Some(pre), OptionSerializer::Some(post)) =
        (&meta.pre_token_balances, &meta.post_token_balances)
    else {
        return None;
    };
    match (Balances { pre, post }).show(&case.plan.body.effect, &accounts(transaction, meta)) {
        Credited::Yes => Some(Outcome::Paid),
        Credited::No(why) => Some(Outcome::NotPaid(why.to_owned())),
        Credited::Unknown => None,
    }
}

/// The transaction's own accounts, then those of its lookup tables, the
/// writable ones first.
fn accounts(transaction: &Transaction, meta: &UiTransactionStatusMeta) -> Vec<Pubkey> {
    let loaded: Vec<&String> = match &meta.loaded_addresses {
        OptionSerializer::Some(loaded) => loaded.writable.iter().chain(&loaded.readonly).collect(),
        OptionSerializer::None | OptionSerializer::Skip => Vec::new(),
    };
    let loaded = loaded.into_iter().map(|text| text.parse().unwrap_or_default());
    transaction.accounts().iter().copied().chain(loaded).collect()
}
