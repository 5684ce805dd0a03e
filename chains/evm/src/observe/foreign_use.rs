//! Who used an authorization, when it was not our transaction.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::{SolCall, SolEvent},
};
use chains_core::{Rejection, chain::Effect};
use serde::Deserialize;

use super::{Case, Receipt, ReceiptLog, canonical, unreadable};
use crate::{
    abi::Token,
    permit2::abi::{self, PERMIT2, Settled, SignatureTransfer},
    plan::Method,
    reason,
    rpc::{
        error::CallError,
        method::{At, Call},
    },
};

/// How many blocks before the claim a foreign use of the authorization is looked for.
const LOGS_BEFORE_CLAIM: u64 = 64;

/// Blocks in one `eth_getLogs`: what most providers allow.
const LOGS_BLOCKS_MAX: u64 = 500;

/// Transfers that are looked at in search of the one by Permit2, at most.
const TRANSFERS_MAX: usize = 256;

/// Transactions whose calls are traced in search of it, at most: a trace is dear.
const TRACES_MAX: usize = 8;

/// A transaction as nodes describe it, as far as it matters.
#[derive(Debug, Deserialize)]
struct Transaction {
    hash: String,
    to: Option<Address>,
    input: Bytes,
}

/// A call within a transaction, as nodes trace it.
#[derive(Debug, Deserialize)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    to: Option<Address>,
    #[serde(default)]
    input: Bytes,
    /// Present when the call, and with it all that it called, was undone.
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    calls: Vec<Frame>,
}

/// What a transaction with the expected transfer has to do with ours.
enum Relation {
    /// It is this very settlement.
    Same,
    /// A payment of its own.
    Other,
    /// Not to be seen from outside.
    Unknown,
}

impl Frame {
    /// Whether a settlement like this was made in it, and not undone.
    fn made(&self, settlement: &Settled) -> bool {
        let here =
            || self.kind == "CALL" && self.to.and_then(|to| abi::settled(to, &self.input)).as_ref() == Some(settlement);
        self.error.is_none() && (here() || self.calls.iter().any(|call| call.made(settlement)))
    }
}

impl Case<'_> {
    /// Whether the authorization was used or cancelled when this block was the newest.
    pub(super) async fn used_at(&self, number: u64) -> Result<bool, CallError> {
        let effect = &self.plan.effect;
        let (contract, question) = match effect.method {
            Method::Eip3009 => {
                let question = Token::authorizationStateCall { authorizer: effect.from, nonce: effect.nonce };
                (effect.token, question.abi_encode())
            }
            Method::Permit2 | Method::Upto => {
                let (word, _) = self.place();
                (PERMIT2, SignatureTransfer::nonceBitmapCall { owner: effect.from, word }.abi_encode())
            }
        };
        let answer: Bytes = self.context.rpc.call(Call::view(contract, &question, At::Number(number))).await?;
        match effect.method {
            Method::Eip3009 => Token::authorizationStateCall::abi_decode_returns(&answer).map_err(|_| unreadable()),
            Method::Permit2 | Method::Upto => {
                let map = SignatureTransfer::nonceBitmapCall::abi_decode_returns(&answer).map_err(|_| unreadable())?;
                Ok(!(map & self.place().1).is_zero())
            }
        }
    }

    /// Where Permit2 keeps the nonce: the bitmap's word, and the bit in it.
    fn place(&self) -> (U256, U256) {
        let nonce = U256::from_be_bytes(self.plan.effect.nonce.0);
        (nonce >> 8, U256::from(1) << (nonce & U256::from(0xff)))
    }

    /// Who used the authorization, and whether for the payment.
    pub(super) async fn find_use(&self) -> Result<Effect, CallError> {
        let first = self.watched.claimed_at.saturating_sub(LOGS_BEFORE_CLAIM);
        match self.plan.effect.method {
            Method::Eip3009 => self.find_eip3009_use(first).await,
            Method::Permit2 | Method::Upto => self.find_permit2_use(first).await,
        }
    }

    fn missing(&self, message: &'static str) -> Effect {
        let code = match self.plan.effect.method {
            Method::Eip3009 => reason::NONCE_ALREADY_USED,
            Method::Permit2 | Method::Upto => reason::PERMIT2_INVALID_NONCE,
        };
        Effect::Missing(Rejection::new(code, message))
    }

    /// The token says in a log which authorization was used.
    async fn find_eip3009_use(&self, first: u64) -> Result<Effect, CallError> {
        let effect = &self.plan.effect;
        let events = [Token::AuthorizationUsed::SIGNATURE_HASH, Token::AuthorizationCanceled::SIGNATURE_HASH];
        let more = [effect.from.into_word(), effect.nonce];
        let logs = self.logs(first, effect.token, &events, &more, 1, |_| true).await?;
        let Some(log) = logs.first() else {
            // Not since then: was it used before?
            return Ok(if self.used_at(first).await? {
                self.missing("the authorization had been used before")
            } else {
                Effect::Unclear("the authorization is used, and no log says by what".to_owned())
            });
        };
        if log.topics.first() == Some(&Token::AuthorizationCanceled::SIGNATURE_HASH) {
            return Ok(self.missing("the payer cancelled the authorization"));
        }
        let hash = log.transaction_hash.as_deref().ok_or_else(unreadable)?;
        self.judge_use(hash).await
    }

    /// Permit2 says nothing of the nonces that it uses: so every transaction
    /// with the expected transfer is looked at. Only one that calls the proxy
    /// itself shows beyond doubt which nonce it used; of others the node is
    /// asked for a trace. Without it nothing is said: somebody could wrap the
    /// transfer of another payment, and another use of this nonce, into one
    /// transaction, and would be given two resources for it.
    async fn find_permit2_use(&self, first: u64) -> Result<Effect, CallError> {
        let effect = &self.plan.effect;
        let more = [effect.from.into_word(), effect.to.into_word()];
        let exact = |log: &ReceiptLog| {
            let event = log.decoded().and_then(|log| Token::Transfer::decode_log(&log).ok());
            event.is_some_and(|event| event.value == effect.value)
        };
        let events = [Token::Transfer::SIGNATURE_HASH];
        let logs = self.logs(first, effect.token, &events, &more, TRANSFERS_MAX, exact).await?;
        let too_many = logs.len() == TRANSFERS_MAX;
        let calls: Vec<Call> =
            logs.iter().filter_map(|log| log.transaction_hash.as_deref()).map(Call::transaction).collect();
        let (mut unknown, mut traces) = (None, 0);
        for transaction in self.context.rpc.all::<Option<Transaction>>(&calls).await?.into_iter().flatten() {
            match self.relation(&transaction) {
                Relation::Same => return self.judge_use(&transaction.hash).await,
                Relation::Other => {}
                Relation::Unknown if traces == TRACES_MAX => unknown = Some(transaction.hash),
                Relation::Unknown => {
                    traces += 1;
                    match self.context.rpc.call::<Frame>(Call::trace(&transaction.hash)).await {
                        Ok(frame) if frame.made(&self.settlement()) => return self.judge_use(&transaction.hash).await,
                        Ok(_) => {}
                        Err(_) => unknown = Some(transaction.hash),
                    }
                }
            }
        }
        if self.is_cancelled(first).await? {
            return Ok(self.missing("the payer cancelled the authorization"));
        }
        if self.used_at(first).await? {
            return Ok(self.missing("the authorization had been used before"));
        }
        Ok(match unknown {
            Some(hash) => Effect::Unclear(format!("transaction {hash} may have used the authorization")),
            None if too_many => Effect::Unclear("too many transfers from the payer to the payee to tell".to_owned()),
            None => self.missing("the authorization was used for something else"),
        })
    }

    fn relation(&self, transaction: &Transaction) -> Relation {
        let effect = &self.plan.effect;
        let Some(to) = transaction.to else { return Relation::Unknown };
        // The token itself knows nothing of Permit2's nonces.
        if to == effect.token {
            return Relation::Other;
        }
        match abi::settled(to, &transaction.input) {
            Some(settled) if settled == self.settlement() => Relation::Same,
            Some(_) => Relation::Other,
            None => Relation::Unknown,
        }
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

    async fn is_cancelled(&self, first: u64) -> Result<bool, CallError> {
        let (word, bit) = self.place();
        let ours = |log: &ReceiptLog| {
            let event =
                log.decoded().and_then(|log| SignatureTransfer::UnorderedNonceInvalidation::decode_log(&log).ok());
            event.is_some_and(|event| event.word == word && !(event.mask & bit).is_zero())
        };
        let events = [SignatureTransfer::UnorderedNonceInvalidation::SIGNATURE_HASH];
        let owner = [self.plan.effect.from.into_word()];
        Ok(!self.logs(first, PERMIT2, &events, &owner, 1, ours).await?.is_empty())
    }

    /// Whether the transaction that used the authorization made the payment.
    async fn judge_use(&self, hash: &str) -> Result<Effect, CallError> {
        let receipt: Option<Receipt> = self.context.rpc.call(Call::receipt(hash)).await?;
        let Some((receipt, block)) = receipt.and_then(|r| r.block().map(|block| (r, block))) else {
            return Ok(Effect::Unclear(format!("transaction {hash} used the authorization and has no receipt")));
        };
        if canonical(self.context, &block).await?.is_none() {
            return Ok(Effect::Unclear(format!("transaction {hash} used the authorization in a block that is gone")));
        }
        Ok(if receipt.succeeded() && receipt.has(&self.plan.effect) {
            Effect::DoneElsewhere { transaction: receipt.transaction_hash.to_lowercase(), block }
        } else {
            self.missing("another transaction used the authorization for something else")
        })
    }

    /// Logs of a contract from block `first` up to ours, newest blocks first,
    /// as many as `max`. Their topics after the first are `more`.
    async fn logs(
        &self,
        first: u64,
        contract: Address,
        events: &[B256],
        more: &[B256],
        max: usize,
        wanted: impl Fn(&ReceiptLog) -> bool,
    ) -> Result<Vec<ReceiptLog>, CallError> {
        let mut found = vec![];
        let mut to = self.block.number;
        loop {
            let from = to.saturating_sub(LOGS_BLOCKS_MAX - 1).max(first);
            let logs: Vec<ReceiptLog> = self.context.rpc.call(Call::logs(contract, events, more, from, to)).await?;
            let logs = logs.into_iter().filter(|log| log.topics.get(1..) == Some(more) && wanted(log));
            found.extend(logs.take(max - found.len()));
            if from <= first || found.len() == max {
                return Ok(found);
            }
            to = from - 1;
        }
    }
}
