//! Finds out what became of transactions, with proof.
//!
//! Every endpoint answers the whole question by itself, and two that conclude
//! the same decide, where two are configured: one endpoint's word ends nothing.
//!
//! | module | what it holds |
//! |---|---|
//! | `witness` | the conclusion of one endpoint |
//! | `effect` | what a status and the token balances of a transaction prove |

mod effect;
mod witness;

use std::{str::FromStr, sync::Arc, time::Instant};

use chains_core::{
    Amount, Rejection,
    chain::ChainUnavailable,
    observation::{Effect, Inclusion, Observation, TransactionView},
};
use chains_rpc::Agreement;
use solana_sdk::{pubkey::Pubkey, signature::Signature};

pub(crate) use self::effect::{Balances, Credited};
use self::witness::{Conclusion, Included, Outcome};
use crate::{
    blocks,
    context::Context,
    plan::TransferPlan,
    reason,
    rpc::{Rpc, error::CallError},
};

/// Blocks after the last one that could include a transaction, within which
/// endpoints that do not agree about it may merely be at different blocks.
const LAG_BLOCKS_MAX: u64 = 300;

/// The reach of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    /// The statuses of the last few minutes; more only of transactions whose
    /// last block this height has passed.
    Recent {
        /// The newest height known.
        height: u64,
    },
    /// All that nodes have.
    Everything,
}

/// One transaction that is looked for.
struct Case {
    hash: String,
    signature: Signature,
    plan: Arc<TransferPlan>,
    claimed_block: u64,
}

/// Looks for transactions; see [`Execution::observe`](chains_core::chain::Execution::observe).
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn observe(
    context: &Context,
    views: &[TransactionView<'_>],
) -> Result<Vec<Observation>, ChainUnavailable> {
    let height = context.blocks.newest().map_or(0, |newest| newest.height);
    look(context, views, Search::Recent { height }).await
}

/// Finds out what became of one transaction; see
/// [`Execution::investigate`](chains_core::chain::Execution::investigate).
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn investigate(
    context: &Context,
    view: &TransactionView<'_>,
) -> Result<Observation, ChainUnavailable> {
    let found = look(context, std::slice::from_ref(view), Search::Everything).await?;
    Ok(found.into_iter().next().unwrap_or(Observation::Pending))
}

async fn look(
    context: &Context,
    views: &[TransactionView<'_>],
    search: Search,
) -> Result<Vec<Observation>, ChainUnavailable> {
    let read: Vec<Result<Case, String>> = views.iter().map(case).collect();
    let cases: Vec<&Case> = read.iter().flatten().collect();
    let height = context.blocks.newest().map_or(0, |newest| newest.height);
    let agreements = context
        .rpc
        .agree_each(cases.len(), |client| witness::ask(client, &cases, search))
        .await
        .map_err(|error| context.rpc.unavailable(error))?;
    let concluded = cases.iter().zip(agreements).map(|(case, agreement)| conclude(case, agreement, height));
    let concluded: Vec<Observation> = concluded.collect();
    note_failures(context, &cases, &concluded);
    let mut concluded = concluded.into_iter();
    let observation = |read: &Result<Case, String>| match read {
        Ok(_) => concluded.next().unwrap_or(Observation::Pending),
        Err(unreadable) => Observation::unknown(unreadable),
    };
    Ok(read.iter().map(observation).collect())
}

/// Remembers whose transactions have failed.
fn note_failures(context: &Context, cases: &[&Case], concluded: &[Observation]) {
    for (case, observation) in cases.iter().zip(concluded) {
        let has_failed = matches!(observation, Observation::Included(_, effects)
            if effects.iter().any(|effect| matches!(effect, Effect::Missing { .. })));
        if let (true, Ok(payer)) = (has_failed, Pubkey::from_str(&case.plan.body.effect.authority)) {
            context.failed.keep(payer, (), Instant::now());
        }
    }
}

/// Returns whether any block has a transaction, confirmed or not, as the endpoints say.
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn is_executed(rpc: &Rpc, signature: Signature) -> Result<Agreement<bool>, CallError> {
    let ask = |client| witness::is_executed(client, signature);
    let said = rpc.agree_each(1, ask).await?;
    said.into_iter().next().ok_or_else(CallError::unreadable)
}

/// The error says that this build cannot have written the attempt or its plan.
fn case(view: &TransactionView<'_>) -> Result<Case, String> {
    let attempt = view.attempts.last().ok_or("a transaction without a signed form")?;
    let item = view.items.first().ok_or("a transaction without a step")?;
    let signature = Signature::from_str(&attempt.hash)
        .map_err(|_| format!("{} is not a signature of this network", attempt.hash))?;
    let plan = TransferPlan::of(item.plan).map_err(|error| error.to_string())?;
    Ok(Case { hash: attempt.hash.clone(), signature, plan, claimed_block: item.claimed_block })
}

/// The observation that endpoints' conclusions add up to. Pure.
fn conclude(case: &Case, agreement: Agreement<Conclusion>, height: u64) -> Observation {
    let said = match agreement {
        Agreement::Agreed(conclusion) | Agreement::Alone(conclusion) => return observation(case, conclusion),
        Agreement::Disagreed(said) => said,
    };
    let is_late = height > case.plan.body.last_valid_block_height.saturating_add(LAG_BLOCKS_MAX);
    let decided: Vec<&Conclusion> =
        said.iter().map(|(_, conclusion)| conclusion).filter(|conclusion| **conclusion != Conclusion::Open).collect();
    let contradict = decided.windows(2).any(|pair| pair[0] != pair[1]);
    if contradict || is_late {
        let words: Vec<String> = said.iter().map(|(host, conclusion)| format!("{host}: {conclusion}")).collect();
        return Observation::unknown(format!("no two endpoints agree ({})", words.join("; ")));
    }
    Observation::Pending
}

fn observation(case: &Case, conclusion: Conclusion) -> Observation {
    match conclusion {
        Conclusion::Open => Observation::Pending,
        Conclusion::Over => {
            let message = "the transaction's blockhash expired before any block included it";
            Observation::Expired(Rejection::new(reason::TRANSACTION_FAILED, message))
        }
        Conclusion::Forgotten { first_slot } => Observation::unknown(format!(
            "the nodes' history begins at slot {first_slot}, the payment was claimed at slot {}",
            case.claimed_block
        )),
        Conclusion::Included(Included { slot, units, outcome }) => {
            let inclusion = Inclusion {
                hash: case.hash.clone(),
                block: blocks::block(slot),
                // A status tells none, and nobody waits for a question about it.
                timestamp: None,
                confirmed: true,
                fee_paid: Amount::from(case.plan.body.fee),
                gas_used: units,
            };
            Observation::Included(inclusion, vec![effect_of(outcome)])
        }
    }
}

/// Only our key can have made the signature, and a cluster executes a message
/// once: whatever slot it is in, the transaction is this settlement's.
fn effect_of(outcome: Outcome) -> Effect {
    let missing = |code, message: String| {
        // A message that was executed is not executed again, not even one that failed.
        Effect::Missing { why: Rejection::new(code, message), executable_until: None }
    };
    match outcome {
        Outcome::Paid => Effect::Done,
        Outcome::Failed(why) => missing(reason::TRANSACTION_FAILED, format!("the transaction failed on chain: {why}")),
        Outcome::NotPaid(why) => missing(reason::TRANSFER_NOT_CONFIRMED, why),
        Outcome::Unclear(why) => Effect::Unclear(why),
    }
}

#[cfg(test)]
mod tests;
