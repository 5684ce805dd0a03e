//! What became of transactions, with proof.
//!
//! A receipt says that a transaction is in a block. Whether the payment
//! happened is said by the token's logs and its `authorizationState`, never by
//! the receipt's status alone. Where proof is not to be had, the answer is
//! "unclear", never "missing".

use alloy::{
    primitives::{Address, B256, Bytes, Log, U256},
    sol_types::{SolCall, SolEvent},
};
use chains_core::{
    Amount, Rejection,
    chain::{BlockRef, ChainUnavailable, Effect, Landed, Observation, SignedTransaction, Watched},
};
use futures::future::join_all;
use serde::Deserialize;

use crate::{
    abi::Token,
    context::Context,
    plan::{Plan, Transfer},
    reason,
    rpc::{
        error::CallError,
        method::{At, Call, quantity},
    },
};

/// How many blocks before the claim a foreign use of the authorization is looked for.
const LOGS_BEFORE_CLAIM: u64 = 64;

/// Blocks in one `eth_getLogs`: what most providers allow.
const LOGS_BLOCKS_MAX: u64 = 500;

/// A receipt as nodes describe it, as far as it matters.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    transaction_hash: String,
    block_number: String,
    block_hash: String,
    #[serde(default)]
    status: Option<String>,
    gas_used: String,
    #[serde(default)]
    effective_gas_price: Option<String>,
    /// What rollups of the OP stack charge for data, besides gas.
    #[serde(default)]
    l1_fee: Option<String>,
    #[serde(default)]
    logs: Vec<ReceiptLog>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptLog {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
    #[serde(default)]
    transaction_hash: Option<String>,
}

impl Receipt {
    fn block(&self) -> Option<BlockRef> {
        let number = u64::try_from(quantity(&self.block_number)?).ok()?;
        Some(BlockRef { number, hash: self.block_hash.clone() })
    }

    fn succeeded(&self) -> bool {
        self.status.as_deref().and_then(quantity) == Some(U256::from(1))
    }

    fn gas_used(&self) -> u64 {
        quantity(&self.gas_used).and_then(|gas| u64::try_from(gas).ok()).unwrap_or_default()
    }

    fn fee_paid(&self) -> Amount {
        let number = |text: &Option<String>| text.as_deref().and_then(quantity).unwrap_or_default();
        let gas = U256::from(self.gas_used()).saturating_mul(number(&self.effective_gas_price));
        Amount::from(gas.saturating_add(number(&self.l1_fee)))
    }

    /// Whether exactly the expected transfer is in it.
    fn has(&self, transfer: &Transfer) -> bool {
        let logs = || self.logs.iter().filter(|log| log.address == transfer.token).filter_map(ReceiptLog::decoded);
        let moved = logs()
            .filter_map(|log| Token::Transfer::decode_log(&log).ok())
            .any(|event| event.from == transfer.from && event.to == transfer.to && event.value == transfer.value);
        // A token that says which authorizations it used must say that it was this one.
        let mut used = logs().filter_map(|log| Token::AuthorizationUsed::decode_log(&log).ok()).peekable();
        moved && (used.peek().is_none() || used.any(|e| e.authorizer == transfer.from && e.nonce == transfer.nonce))
    }
}

impl ReceiptLog {
    fn decoded(&self) -> Option<Log> {
        Log::new(self.address, self.topics.clone(), self.data.clone())
    }
}

/// Looks for the effect of transactions; see [`Chain::observe`](chains_core::chain::Chain::observe).
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn observe(context: &Context, watched: &[Watched<'_>]) -> Result<Vec<Observation>, ChainUnavailable> {
    let calls: Vec<Call> =
        watched.iter().flat_map(|w| w.attempts).map(|attempt| Call::receipt(&attempt.transaction)).collect();
    let receipts = context.rpc.all::<Option<Receipt>>(&calls).await.map_err(|error| context.rpc.unavailable(error))?;
    let mut receipts = receipts.into_iter();
    let found = watched.iter().map(|one| {
        let mine: Vec<Receipt> = receipts.by_ref().take(one.attempts.len()).flatten().collect();
        look(context, one, mine)
    });
    join_all(found).await.into_iter().collect::<Result<_, _>>().map_err(|error| context.rpc.unavailable(error))
}

async fn look(context: &Context, watched: &Watched<'_>, receipts: Vec<Receipt>) -> Result<Observation, CallError> {
    for receipt in receipts {
        let Some(block) = receipt.block() else { continue };
        let Some(timestamp) = canonical(context, &block).await? else { continue };
        let Some(attempt) =
            watched.attempts.iter().find(|a| a.transaction.eq_ignore_ascii_case(&receipt.transaction_hash))
        else {
            continue;
        };
        let effect = match Plan::from_body(&watched.plan.body) {
            Ok(plan) if receipt.succeeded() && receipt.has(&plan.effect) => Effect::Done,
            Ok(plan) => {
                let case = Case { context, watched, plan, attempt, block: &block, timestamp };
                case.investigate(receipt.succeeded()).await
            }
            Err(error) => Effect::Unclear(format!("the stored plan cannot be read: {error}")),
        };
        return Ok(Observation::Landed(Landed {
            transaction: attempt.transaction.clone(),
            fee_paid: receipt.fee_paid(),
            gas_used: receipt.gas_used(),
            block,
            effect,
        }));
    }
    Ok(Observation::Pending)
}

/// The block's time when it is part of the chain as it is now.
async fn canonical(context: &Context, block: &BlockRef) -> Result<Option<u64>, CallError> {
    let same = |hash: &str| hash.eq_ignore_ascii_case(&block.hash);
    if let Some(seen) = context.heads.recent(block.number).filter(|seen| same(&seen.hash)) {
        return Ok(Some(seen.timestamp));
    }
    let now = context.heads.at(&context.rpc, block.number).await?;
    Ok(now.filter(|now| same(&now.hash)).map(|now| now.timestamp))
}

/// A transaction that is in a block without its effect.
struct Case<'a> {
    context: &'a Context,
    watched: &'a Watched<'a>,
    plan: Plan,
    attempt: &'a SignedTransaction,
    block: &'a BlockRef,
    timestamp: u64,
}

impl Case<'_> {
    async fn investigate(&self, succeeded: bool) -> Effect {
        if succeeded {
            let message = "the transaction did not make exactly the expected transfer";
            return Effect::Missing(Rejection::new(reason::TRANSFER_EVENT_MISMATCH, message));
        }
        let found = match self.used_at(self.block.number).await {
            Ok(false) => Ok(Effect::Missing(self.revert_reason().await)),
            Ok(true) => self.find_use().await,
            Err(error) => Err(error),
        };
        found.unwrap_or_else(|error| Effect::Unclear(error.to_string()))
    }

    async fn used_at(&self, number: u64) -> Result<bool, CallError> {
        let effect = &self.plan.effect;
        let question = Token::authorizationStateCall { authorizer: effect.from, nonce: effect.nonce };
        let answer: Bytes =
            self.context.rpc.call(Call::view(effect.token, &question.abi_encode(), At::Number(number))).await?;
        Token::authorizationStateCall::abi_decode_returns(&answer).map_err(|_| unreadable())
    }

    /// Why it reverted although the authorization was not used.
    async fn revert_reason(&self) -> Rejection {
        if self.watched.plan.valid_before.is_some_and(|time| self.timestamp >= time) {
            return Rejection::new(reason::VALID_BEFORE, "the authorization had expired when its block came");
        }
        let text = self.replay().await.unwrap_or_default();
        let code = reason::of_revert(&text).unwrap_or(reason::TRANSACTION_FAILED);
        let said = if text.is_empty() { "no reason is known".to_owned() } else { text };
        Rejection::new(code, format!("the transaction failed on chain: {said}"))
    }

    /// What the contract says to the same call: after its block, since what
    /// made it fail may have come in the same block, or else before it.
    async fn replay(&self) -> Option<String> {
        let from = self.context.wallets.address(&self.attempt.gas_wallet)?;
        for number in [self.block.number, self.block.number.saturating_sub(1)] {
            let call = Call::replay(from, self.plan.to, &self.plan.data, self.plan.gas_limit, At::Number(number));
            match self.context.rpc.call::<Bytes>(call).await {
                Err(CallError::Node { error, .. }) if error.is_revert() => return Some(error.revert_text()),
                Err(_) | Ok(_) => {}
            }
        }
        None
    }

    /// Who used the authorization, when it was not this transaction.
    async fn find_use(&self) -> Result<Effect, CallError> {
        let effect = &self.plan.effect;
        let missing = |message: &'static str| Effect::Missing(Rejection::new(reason::NONCE_ALREADY_USED, message));
        let first = self.watched.claimed_at.saturating_sub(LOGS_BEFORE_CLAIM);
        let Some(log) = self.find_log(first).await? else {
            // Not since then: was it used before?
            return Ok(if self.used_at(first).await? {
                missing("the authorization had been used before")
            } else {
                Effect::Unclear("the authorization is used, and no log says by what".to_owned())
            });
        };
        if log.topics.first() == Some(&Token::AuthorizationCanceled::SIGNATURE_HASH) {
            return Ok(missing("the payer cancelled the authorization"));
        }
        let hash = log.transaction_hash.as_deref().ok_or_else(unreadable)?;
        let receipt: Option<Receipt> = self.context.rpc.call(Call::receipt(hash)).await?;
        let Some((receipt, block)) = receipt.and_then(|r| r.block().map(|block| (r, block))) else {
            return Ok(Effect::Unclear(format!("transaction {hash} used the authorization and has no receipt")));
        };
        if canonical(self.context, &block).await?.is_none() {
            return Ok(Effect::Unclear(format!("transaction {hash} used the authorization in a block that is gone")));
        }
        Ok(if receipt.succeeded() && receipt.has(effect) {
            Effect::DoneElsewhere { transaction: receipt.transaction_hash.to_lowercase(), block }
        } else {
            missing("another transaction used the authorization for something else")
        })
    }

    /// The token's word on the authorization, newest blocks first.
    async fn find_log(&self, first: u64) -> Result<Option<ReceiptLog>, CallError> {
        let effect = &self.plan.effect;
        let events = [Token::AuthorizationUsed::SIGNATURE_HASH, Token::AuthorizationCanceled::SIGNATURE_HASH];
        let more = [effect.from.into_word(), effect.nonce];
        let mut to = self.block.number;
        loop {
            let from = to.saturating_sub(LOGS_BLOCKS_MAX - 1).max(first);
            let call = Call::logs(effect.token, &events, &more, from, to);
            let logs: Vec<ReceiptLog> = self.context.rpc.call(call).await?;
            if let Some(log) = logs.into_iter().find(|log| log.topics.get(1..) == Some(more.as_slice())) {
                return Ok(Some(log));
            }
            if from <= first {
                return Ok(None);
            }
            to = from - 1;
        }
    }
}

fn unreadable() -> CallError {
    CallError::Transport { host: "a node".to_owned(), fault: crate::rpc::error::Fault::Unreadable }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer() -> Transfer {
        Transfer {
            token: Address::repeat_byte(0xaa),
            from: Address::repeat_byte(1),
            to: Address::repeat_byte(2),
            value: U256::from(10_000),
            nonce: B256::repeat_byte(7),
        }
    }

    fn log(address: Address, event: &impl SolEvent) -> ReceiptLog {
        let data = event.encode_log_data();
        ReceiptLog { address, topics: data.topics().to_vec(), data: data.data.clone(), transaction_hash: None }
    }

    fn moved(token: Address, from: Address, to: Address, value: u64) -> ReceiptLog {
        log(token, &Token::Transfer { from, to, value: U256::from(value) })
    }

    fn receipt(status: Option<&str>, logs: Vec<ReceiptLog>) -> Receipt {
        Receipt {
            transaction_hash: "0xab".into(),
            block_number: "0x10".into(),
            block_hash: "0xcd".into(),
            status: status.map(str::to_owned),
            gas_used: "0x14ed8".into(),
            effective_gas_price: Some("0x3b9aca00".into()),
            l1_fee: None,
            logs,
        }
    }

    #[test]
    fn only_the_exact_transfer_by_the_token_counts() {
        let t = transfer();
        let other = Address::repeat_byte(9);
        let used =
            |nonce| log(t.token, &Token::AuthorizationUsed { authorizer: t.from, nonce: B256::repeat_byte(nonce) });
        let exact = moved(t.token, t.from, t.to, 10_000);
        let cases = [
            ("exact", vec![exact.clone()], true),
            ("exact, with its authorization", vec![used(7), exact.clone()], true),
            ("another authorization", vec![used(8), exact.clone()], false),
            ("one of a batch", vec![used(8), moved(t.token, other, t.to, 1), used(7), exact.clone()], true),
            ("another token", vec![moved(other, t.from, t.to, 10_000)], false),
            ("another payer", vec![moved(t.token, other, t.to, 10_000)], false),
            ("another payee", vec![moved(t.token, t.from, other, 10_000)], false),
            ("a fee taken", vec![moved(t.token, t.from, t.to, 9_900), moved(t.token, t.from, other, 100)], false),
            ("more", vec![moved(t.token, t.from, t.to, 10_001)], false),
            ("nothing", vec![], false),
            ("an event without its topics", vec![ReceiptLog { topics: exact.topics[..1].to_vec(), ..exact }], false),
        ];
        for (what, logs, expected) in cases {
            assert_eq!(receipt(Some("0x1"), logs).has(&t), expected, "{what}");
        }
    }

    #[test]
    fn receipts_say_status_and_cost() {
        for (status, expected) in [(Some("0x1"), true), (Some("0x0"), false), (None, false), (Some("1"), false)] {
            assert_eq!(receipt(status, vec![]).succeeded(), expected, "{status:?}");
        }
        let mut one = receipt(None, vec![]);
        assert_eq!(one.fee_paid(), Amount::from(85_720_000_000_000_u64));
        one.l1_fee = Some("0x5".into());
        assert_eq!(one.fee_paid(), Amount::from(85_720_000_000_005_u64));
        assert_eq!(one.block(), Some(BlockRef { number: 16, hash: "0xcd".into() }));
    }
}
