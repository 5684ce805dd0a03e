//! The search for the user of an authorization, when it was not our transaction.

use std::ops::RangeInclusive;

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::{SolCall, SolEvent},
};
use chains_core::{
    Rejection,
    observation::{Effect, Item},
};
use serde::Deserialize;

use super::{
    log_search::{Query, Searched},
    placement::Canon,
    receipt::{Receipt, ReceiptLog},
};
use crate::{
    abi::Token,
    context::Context,
    method::permit2::abi::{self, PERMIT2, Settled, SignatureTransfer},
    reason,
    rpc::{
        Rpc,
        error::CallError,
        method::{At, Call, quantity},
    },
    tx::{
        batch,
        plan::{Method, Transfer, TransferPlan},
    },
};

/// Blocks before the claim in which a foreign use of the authorization is
/// looked for too.
const LOGS_BEFORE_CLAIM: u64 = 64;

/// Transfers that are looked at in search of the one by Permit2, at most.
const TRANSFERS_MAX: usize = 256;

/// Transactions whose calls are traced in search of it, at most: a trace is dear.
const TRACES_MAX: usize = 8;

/// A transaction as nodes describe it, as far as it matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    hash: String,
    to: Option<Address>,
    input: Bytes,
    #[serde(default)]
    block_number: Option<String>,
}

/// The relation of a transaction with the expected transfer to our payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// It is this very settlement.
    Same,
    /// A payment of its own.
    Other,
    /// Not to be seen from outside.
    Unknown,
}

/// The place of a nonce in Permit2: the bitmap's word, and the bit in it.
fn place(nonce: B256) -> (U256, U256) {
    let nonce = U256::from_be_bytes(nonce.0);
    (nonce >> 8, U256::from(1) << (nonce & U256::from(0xff)))
}

/// Returns whether an authorization is used or cancelled in a block's state.
///
/// # Errors
/// The endpoint does not say, as for a state that it does not keep any more.
pub(super) async fn is_used(rpc: &Rpc, transfer: &Transfer, at: At) -> Result<bool, CallError> {
    let unreadable = |_| CallError::unreadable();
    match transfer.method {
        Method::Eip3009 => {
            let question = Token::authorizationStateCall { authorizer: transfer.from, nonce: transfer.nonce };
            let answer: Bytes = rpc.call(Call::view(transfer.token, &question.abi_encode(), at)).await?;
            Token::authorizationStateCall::abi_decode_returns(&answer).map_err(unreadable)
        }
        Method::Permit2 | Method::Upto => {
            let (word, bit) = place(transfer.nonce);
            let question = SignatureTransfer::nonceBitmapCall { owner: transfer.from, word };
            let answer: Bytes = rpc.call(Call::view(PERMIT2, &question.abi_encode(), at)).await?;
            let map = SignatureTransfer::nonceBitmapCall::abi_decode_returns(&answer).map_err(unreadable)?;
            Ok(!(map & bit).is_zero())
        }
    }
}

/// The search for the transaction that used an authorization, at one endpoint.
pub(super) struct UseSearch<'a> {
    pub context: &'a Context,
    pub rpc: &'a Rpc,
    pub item: &'a Item<'a>,
    pub plan: &'a TransferPlan,
    /// The block of our own transaction; the newest one where there is none.
    pub block_number: u64,
}

impl UseSearch<'_> {
    async fn is_used_at(&self, number: u64) -> Result<bool, CallError> {
        is_used(self.rpc, &self.plan.effect, At::Number(number)).await
    }

    /// Finds out who used the authorization, and whether for the payment.
    pub async fn find_use(&self) -> Result<Effect, CallError> {
        let ranges = self.ranges().await?;
        match self.plan.effect.method {
            Method::Eip3009 => self.find_eip3009_use(&ranges).await,
            Method::Permit2 | Method::Upto => self.find_permit2_use(&ranges).await,
        }
    }

    /// The blocks in which the authorization can have been used, likeliest
    /// first. Where the state of our block is gone, all up to the newest.
    async fn ranges(&self) -> Result<Vec<RangeInclusive<u64>>, CallError> {
        let (claimed, block) = (self.item.claimed_block, self.block_number);
        let claimed = claimed.min(block.saturating_sub(1));
        let ours = claimed.saturating_add(1)..=block;
        let before = claimed.saturating_sub(LOGS_BEFORE_CLAIM)..=claimed;
        let used_by_then = self.is_used_at(block).await.ok();
        if used_by_then == Some(true) {
            return Ok(vec![ours, before]);
        }
        let newest = crate::blocks::latest(self.rpc).await?.number;
        let after = block.saturating_add(1)..=newest;
        Ok(if used_by_then == Some(false) { vec![after] } else { vec![ours, after, before] })
    }

    fn missing(&self, message: &'static str) -> Effect {
        let code = match self.plan.effect.method {
            Method::Eip3009 => reason::NONCE_ALREADY_USED,
            Method::Permit2 | Method::Upto => reason::PERMIT2_INVALID_NONCE,
        };
        Effect::Missing { why: Rejection::new(code, message), executable_until: None }
    }

    /// Returns whether it was used before the blocks that are searched; `None` where
    /// the endpoint keeps no state of that age.
    async fn used_before(&self, ranges: &[RangeInclusive<u64>]) -> Option<bool> {
        let first = ranges.iter().map(|range| *range.start()).min()?;
        self.is_used_at(first.saturating_sub(1)).await.ok()
    }

    /// The token says in a log which authorization was used.
    async fn find_eip3009_use(&self, ranges: &[RangeInclusive<u64>]) -> Result<Effect, CallError> {
        let effect = &self.plan.effect;
        let events = [Token::AuthorizationUsed::SIGNATURE_HASH, Token::AuthorizationCanceled::SIGNATURE_HASH];
        let more = [effect.from.into_word(), effect.nonce];
        let query = Query { contract: effect.token, events: &events, more: &more, max: 1 };
        let Searched { logs, complete } = query.search(self.rpc, ranges, |_| true).await?;
        let Some(log) = logs.first() else {
            return Ok(self.unexplained(ranges, complete).await);
        };
        if log.topics.first() == Some(&Token::AuthorizationCanceled::SIGNATURE_HASH) {
            return Ok(self.missing("the payer cancelled the authorization"));
        }
        let hash = log.transaction_hash.as_deref().ok_or_else(CallError::unreadable)?;
        self.evaluate_use(hash).await
    }

    /// The authorization is used, and no log says by what.
    async fn unexplained(&self, ranges: &[RangeInclusive<u64>], complete: bool) -> Effect {
        if !complete {
            return self.search_too_long();
        }
        match self.used_before(ranges).await {
            Some(true) => self.missing("the authorization had been used before"),
            Some(false) => Effect::Unclear("the authorization is used, and no log says by what".to_owned()),
            None => Effect::Unclear(
                "the authorization is used, no log since the claim says by what, and the node keeps no state from \
                 before it: an archive node would tell"
                    .to_owned(),
            ),
        }
    }

    fn search_too_long(&self) -> Effect {
        let limit = self.rpc.log_blocks_max();
        Effect::Unclear(format!(
            "the authorization is used, and the node answers eth_getLogs for no more than {limit} blocks at a time: \
             too few to find out by what. A node with a higher limit would tell"
        ))
    }

    /// Permit2 says nothing of the nonces that it uses: so every transaction
    /// with the expected transfer is looked at. Only one that calls the proxy
    /// itself shows beyond doubt which nonce it used; of others the node is
    /// asked for a trace. Without it nothing is said: somebody could wrap the
    /// transfer of another payment, and another use of this nonce, into one
    /// transaction, and would be given two resources for it.
    async fn find_permit2_use(&self, ranges: &[RangeInclusive<u64>]) -> Result<Effect, CallError> {
        let effect = &self.plan.effect;
        let more = [effect.from.into_word(), effect.to.into_word()];
        let exact = |log: &ReceiptLog| {
            let event = log.decoded().and_then(|log| Token::Transfer::decode_log(&log).ok());
            event.is_some_and(|event| event.value == effect.value)
        };
        let events = [Token::Transfer::SIGNATURE_HASH];
        let query = Query { contract: effect.token, events: &events, more: &more, max: TRANSFERS_MAX };
        let Searched { logs, complete } = query.search(self.rpc, ranges, exact).await?;
        let too_many = logs.len() == TRANSFERS_MAX;
        let calls: Vec<Call> =
            logs.iter().filter_map(|log| log.transaction_hash.as_deref()).map(Call::transaction).collect();
        let (mut unknown, mut traces) = (None, 0);
        for transaction in self.rpc.all::<Option<Transaction>>(&calls).await?.into_iter().flatten() {
            match self.relation(&transaction, &mut traces).await {
                Relation::Same => return self.evaluate_use(&transaction.hash).await,
                Relation::Other => {}
                Relation::Unknown => unknown = Some(transaction.hash),
            }
        }
        if self.is_cancelled(ranges).await? {
            return Ok(self.missing("the payer cancelled the authorization"));
        }
        if self.used_before(ranges).await == Some(true) {
            return Ok(self.missing("the authorization had been used before"));
        }
        Ok(match unknown {
            Some(hash) => Effect::Unclear(format!(
                "transaction {hash} may have used the authorization, through a contract: a node with \
                 debug_traceTransaction or trace_transaction would tell"
            )),
            None if too_many => Effect::Unclear("too many transfers from the payer to the payee to tell".to_owned()),
            None if !complete => self.search_too_long(),
            None => self.missing("the authorization was used for something else"),
        })
    }

    async fn relation(&self, transaction: &Transaction, traces: &mut usize) -> Relation {
        let effect = &self.plan.effect;
        // The token itself knows nothing of Permit2's nonces.
        if transaction.to == Some(effect.token) {
            return Relation::Other;
        }
        if let Some(settled) = transaction.to.and_then(|to| abi::settled(to, &transaction.input)) {
            return if settled == self.settlement() { Relation::Same } else { Relation::Other };
        }
        if transaction.to == Some(self.context.batch_contract.address) {
            return self.relation_of_batch(transaction).await;
        }
        if self.excludes(transaction).await {
            return Relation::Other;
        }
        if *traces == TRACES_MAX {
            return Relation::Unknown;
        }
        *traces += 1;
        match super::trace::made(self.rpc, &transaction.hash, &self.settlement()).await {
            Ok(true) => Relation::Same,
            Ok(false) => Relation::Other,
            Err(_) => Relation::Unknown,
        }
    }

    /// Our own contract carries nothing that is not in its calldata, and says
    /// which of it succeeded.
    async fn relation_of_batch(&self, transaction: &Transaction) -> Relation {
        let Some(index) = batch::index(&transaction.input, &self.settlement()) else { return Relation::Other };
        match self.rpc.call::<Option<Receipt>>(Call::receipt(&transaction.hash)).await {
            Ok(Some(receipt)) => match receipt.carried(self.context.batch_contract.address) {
                Some(succeeded) if succeeded.bit(index) => Relation::Same,
                Some(_) | None => Relation::Other,
            },
            Ok(None) | Err(_) => Relation::Unknown,
        }
    }

    /// Returns whether the states around a transaction's block show that the
    /// authorization was not used in it.
    async fn excludes(&self, transaction: &Transaction) -> bool {
        let number = transaction.block_number.as_deref().and_then(quantity).and_then(|n| u64::try_from(n).ok());
        let Some(number) = number else { return false };
        let (before, after) = futures::join!(self.is_used_at(number.saturating_sub(1)), self.is_used_at(number));
        before == Ok(true) || after == Ok(false)
    }

    /// Ours, as any proxy is told to make it.
    const fn settlement(&self) -> Settled {
        let effect = &self.plan.effect;
        Settled {
            owner: effect.from,
            token: effect.token,
            nonce: U256::from_be_bytes(effect.nonce.0),
            to: effect.to,
            amount: effect.value,
        }
    }

    async fn is_cancelled(&self, ranges: &[RangeInclusive<u64>]) -> Result<bool, CallError> {
        let (word, bit) = place(self.plan.effect.nonce);
        let ours = |log: &ReceiptLog| {
            let event =
                log.decoded().and_then(|log| SignatureTransfer::UnorderedNonceInvalidation::decode_log(&log).ok());
            event.is_some_and(|event| event.word == word && !(event.mask & bit).is_zero())
        };
        let events = [SignatureTransfer::UnorderedNonceInvalidation::SIGNATURE_HASH];
        let owner = [self.plan.effect.from.into_word()];
        let query = Query { contract: PERMIT2, events: &events, more: &owner, max: 1 };
        Ok(!query.search(self.rpc, ranges, ours).await?.logs.is_empty())
    }

    /// Returns whether the transaction that used the authorization made the payment.
    async fn evaluate_use(&self, hash: &str) -> Result<Effect, CallError> {
        let receipt: Option<Receipt> = self.rpc.call(Call::receipt(hash)).await?;
        let Some((receipt, block)) = receipt.and_then(|r| r.block().map(|block| (r, block))) else {
            return Ok(Effect::Unclear(format!("transaction {hash} used the authorization and has no receipt")));
        };
        let confirmations = self.context.config.confirmations;
        let canon = Canon::read(self.rpc, &[block.number].into(), confirmations).await?;
        if canon.header(&block).is_none() {
            return Ok(Effect::Unclear(format!("transaction {hash} used the authorization in a block that is gone")));
        }
        if !canon.is_confirmed(&block) {
            return Ok(Effect::Unclear(format!(
                "transaction {hash} used the authorization in a block that is too new"
            )));
        }
        Ok(if receipt.succeeded() && receipt.has(&self.plan.effect, 1) {
            Effect::Elsewhere { hash: receipt.transaction_hash.to_lowercase(), block }
        } else {
            self.missing("another transaction used the authorization for something else")
        })
    }
}
