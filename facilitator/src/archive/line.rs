//! One archived settlement as one line of JSON, the same for years: the names
//! here are the format, whatever the program's own types are called.

use std::{str::FromStr, sync::Arc};

use chains_core::{
    Amount, Fingerprint, Identity,
    clock::Millis,
    observation::{BlockRef, Inclusion},
    transaction::{Fee, Plan, SignedTransaction},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::settlement::{
    Attempt, Caller, Delivered, Facts, Failed, Key, Record, Settled, SettlementId, State, Status, Step, StepNumber,
    StepState, Timeline, Transaction, TransactionId, TransactionState,
    record::{Event, SendAnswer, Sends},
};

/// The line does not hold an archived settlement.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is no JSON, or lacks a field.
    #[error("it is not what this program writes: {0}")]
    Json(#[from] serde_json::Error),
    /// A field has no value of its kind.
    #[error("its {0} is not what this program writes")]
    Field(&'static str),
    /// The settlement has not ended, so that it has no line.
    #[error("the settlement has not ended")]
    Open,
}

/// Writes a settlement, without the end of the line.
///
/// # Errors
/// It has not ended.
pub fn write(timeline: &Timeline) -> Result<String, LineError> {
    Ok(serde_json::to_string(&Line::of(timeline)?)?)
}

/// Reads a settlement.
///
/// # Errors
/// The line does not hold one.
pub fn read(line: &str) -> Result<Timeline, LineError> {
    serde_json::from_str::<Line>(line)?.timeline()
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    id: Uuid,
    identity: String,
    fingerprint: String,
    tenant: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    request_id: String,
    network: String,
    scheme: String,
    payer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer_code: Option<String>,
    pay_to: String,
    asset: String,
    amount: Amount,
    nonce: String,
    claimed_block: u64,
    accepted: bool,
    created_at: u64,
    updated_at: u64,
    delivered: Option<DeliveredLine>,
    finalized_at: Option<u64>,
    reorged_at: Option<u64>,
    end: End,
    steps: Vec<StepLine>,
    transactions: Vec<TransactionLine>,
    events: Vec<EventLine>,
}

#[derive(Serialize, Deserialize)]
struct DeliveredLine {
    at: u64,
    /// `caller` or `other`.
    to: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
enum End {
    #[serde(rename = "settled")]
    Settled { transaction: Option<String>, block: Option<Block> },
    #[serde(rename = "failed", rename_all = "camelCase")]
    Failed {
        reason: String,
        message: String,
        transaction: Option<String>,
        block: Option<Block>,
        executable_until: Option<u64>,
    },
}

#[derive(Serialize, Deserialize)]
struct Block {
    number: u64,
    hash: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StepLine {
    number: StepNumber,
    /// `waiting`, `carried` or `done`.
    state: String,
    transaction: Option<Uuid>,
    gas_wallet: Option<String>,
    valid_before: Option<u64>,
    plan: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransactionLine {
    id: Uuid,
    gas_wallet: String,
    nonce: Option<u64>,
    epoch: u64,
    /// `open`, `included` or `dead`.
    state: String,
    dead_why: Option<String>,
    created_at: u64,
    /// Each settlement with the number of its step.
    items: Vec<(Uuid, StepNumber)>,
    attempts: Vec<AttemptLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttemptLine {
    hash: String,
    kind: String,
    /// The signed bytes, hexadecimal.
    raw: String,
    fee_max: Amount,
    fee_terms: String,
    created_at: u64,
    included: Option<Included>,
    sends: u64,
    answers: Vec<AnswerLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Included {
    block: Block,
    /// The block's own time, in seconds.
    timestamp: Option<u64>,
    fee_paid: Amount,
    gas_used: u64,
}

#[derive(Serialize, Deserialize)]
struct AnswerLine {
    at: u64,
    answer: String,
    detail: String,
}

#[derive(Serialize, Deserialize)]
struct EventLine {
    at: u64,
    event: String,
    detail: String,
}

impl Line {
    fn of(timeline: &Timeline) -> Result<Self, LineError> {
        let Timeline { record, steps, transactions, events } = timeline;
        let facts = &*record.facts;
        Ok(Self {
            id: facts.id.0,
            identity: hex::encode(facts.identity.as_bytes()),
            fingerprint: hex::encode(facts.fingerprint.as_bytes()),
            tenant: facts.caller.tenant.clone(),
            idempotency_key: facts.caller.key.as_ref().map(Key::stored),
            request_id: facts.request_id.clone(),
            network: facts.network.to_string(),
            scheme: facts.scheme.clone(),
            payer: facts.payer.clone(),
            payer_code: facts.payer_code.clone(),
            pay_to: facts.pay_to.clone(),
            asset: facts.asset.clone(),
            amount: facts.amount,
            nonce: facts.nonce.clone(),
            claimed_block: facts.claimed_block,
            accepted: record.accepted,
            created_at: facts.created_at.0,
            updated_at: record.updated_at.0,
            delivered: record.delivered.map(DeliveredLine::of),
            finalized_at: record.finalized_at.map(|at| at.0),
            reorged_at: record.reorged_at.map(|at| at.0),
            end: End::of(&record.state)?,
            steps: steps.iter().map(StepLine::of).collect(),
            transactions: transactions.iter().map(TransactionLine::of).collect(),
            events: events.iter().map(EventLine::of).collect(),
        })
    }

    fn timeline(self) -> Result<Timeline, LineError> {
        let key = self.idempotency_key.map(Key::from_stored);
        let facts = Facts {
            id: SettlementId(self.id),
            identity: Identity::from_bytes(bytes(&self.identity, "identity")?),
            fingerprint: Fingerprint::from_bytes(bytes(&self.fingerprint, "fingerprint")?),
            caller: Caller { tenant: self.tenant, key },
            request_id: self.request_id,
            network: parsed(&self.network, "network")?,
            scheme: self.scheme,
            payer: self.payer,
            payer_code: self.payer_code,
            pay_to: self.pay_to,
            asset: self.asset,
            amount: self.amount,
            nonce: self.nonce,
            claimed_block: self.claimed_block,
            created_at: Millis(self.created_at),
        };
        let transactions: Result<Vec<_>, _> = self.transactions.into_iter().map(TransactionLine::transaction).collect();
        let transactions = transactions?;
        let steps: Result<_, _> = self.steps.into_iter().map(StepLine::step).collect();
        let (status, state) = self.end.state();
        let deciding = match &state {
            State::Settled(settled) => settled.proof.as_ref().map(|(hash, _)| hash.clone()),
            State::Failed(failed) => failed.transaction.clone(),
            State::Open | State::Unresolved { .. } => None,
        };
        let newest = || transactions.last().map(|(transaction, _)| transaction.newest().hash.clone());
        let record = Record {
            facts: Arc::new(facts),
            transaction: deciding.or_else(newest).unwrap_or_default(),
            state,
            status,
            accepted: self.accepted,
            delivered: self.delivered.map(DeliveredLine::delivered).transpose()?,
            finalized_at: self.finalized_at.map(Millis),
            reorged_at: self.reorged_at.map(Millis),
            updated_at: Millis(self.updated_at),
        };
        let events = self.events.into_iter().map(EventLine::event).collect();
        Ok(Timeline { record, steps: steps?, transactions, events })
    }
}

impl DeliveredLine {
    fn of(delivered: Delivered) -> Self {
        Self { at: delivered.at.0, to: delivered.to.as_str().to_owned() }
    }

    fn delivered(self) -> Result<Delivered, LineError> {
        Ok(Delivered { at: Millis(self.at), to: parsed(&self.to, "delivered")? })
    }
}

impl End {
    fn of(state: &State) -> Result<Self, LineError> {
        Ok(match state {
            State::Open | State::Unresolved { .. } => return Err(LineError::Open),
            State::Settled(settled) => Self::Settled {
                transaction: settled.proof.as_ref().map(|(hash, _)| hash.clone()),
                block: settled.block().map(Block::of),
            },
            State::Failed(failed) => Self::Failed {
                reason: failed.reason.clone(),
                message: failed.message.clone(),
                transaction: failed.transaction.clone(),
                block: failed.block.as_ref().map(Block::of),
                executable_until: failed.executable_until,
            },
        })
    }

    fn state(self) -> (Status, State) {
        match self {
            Self::Settled { transaction, block } => {
                let proof = transaction.map(|hash| (hash, block.map(Block::block)));
                (Status::Settled, State::Settled(Settled { proof }))
            }
            Self::Failed { reason, message, transaction, block, executable_until } => {
                let block = block.map(Block::block);
                (Status::Failed, State::Failed(Failed { reason, message, transaction, block, executable_until }))
            }
        }
    }
}

impl Block {
    fn of(block: &BlockRef) -> Self {
        Self { number: block.number, hash: block.hash.clone() }
    }

    fn block(self) -> BlockRef {
        BlockRef { number: self.number, hash: self.hash }
    }
}

impl StepLine {
    fn of(step: &Step) -> Self {
        let state = match step.state {
            StepState::Waiting => "waiting",
            StepState::Carried(_) => "carried",
            StepState::Done(_) => "done",
        };
        Self {
            number: step.number,
            state: state.to_owned(),
            transaction: step.transaction().map(|id| id.0),
            gas_wallet: step.plan.gas_wallet.clone(),
            valid_before: step.plan.valid_before,
            plan: step.plan.body().to_owned(),
        }
    }

    fn step(self) -> Result<Step, LineError> {
        let state = match (self.state.as_str(), self.transaction.map(TransactionId)) {
            ("waiting", None) => StepState::Waiting,
            ("carried", Some(id)) => StepState::Carried(id),
            ("done", Some(id)) => StepState::Done(id),
            _ => return Err(LineError::Field("step")),
        };
        let plan = Plan::new(self.plan).sent_by(self.gas_wallet).valid_before(self.valid_before);
        Ok(Step { number: self.number, plan, state })
    }
}

impl TransactionLine {
    fn of((transaction, sends): &(Transaction, Vec<Sends>)) -> Self {
        let (state, dead_why) = match &transaction.state {
            TransactionState::Open => ("open", None),
            TransactionState::Included { .. } => ("included", None),
            TransactionState::Dead { why } => ("dead", Some(why.clone())),
        };
        let attempt =
            |attempt: &Attempt| AttemptLine::of(attempt, sends.iter().find(|sends| sends.hash == attempt.signed.hash));
        Self {
            id: transaction.id.0,
            gas_wallet: transaction.gas_wallet.clone(),
            nonce: transaction.nonce,
            epoch: transaction.epoch,
            state: state.to_owned(),
            dead_why,
            created_at: transaction.created_at.0,
            items: transaction.items.iter().map(|(id, step)| (id.0, *step)).collect(),
            attempts: transaction.attempts.iter().map(attempt).collect(),
        }
    }

    fn transaction(self) -> Result<(Transaction, Vec<Sends>), LineError> {
        let place = (self.gas_wallet, self.nonce);
        let attempts: Result<Vec<_>, _> = self.attempts.into_iter().map(|line| line.attempt(&place)).collect();
        let (attempts, sends): (Vec<_>, Vec<_>) = attempts?.into_iter().unzip();
        if attempts.is_empty() {
            return Err(LineError::Field("attempts"));
        }
        let included = attempts.iter().find_map(|attempt: &Attempt| attempt.inclusion.as_ref());
        let state = match (self.state.as_str(), included, self.dead_why) {
            ("open", _, None) => TransactionState::Open,
            ("included", Some(Inclusion { hash, block, .. }), None) => {
                TransactionState::Included { hash: hash.clone(), block: block.clone() }
            }
            ("dead", _, Some(why)) => TransactionState::Dead { why },
            _ => return Err(LineError::Field("transaction")),
        };
        let items = self.items.into_iter().map(|(id, step)| (SettlementId(id), step)).collect();
        let (gas_wallet, nonce) = place;
        let (id, created_at) = (TransactionId(self.id), Millis(self.created_at));
        Ok((Transaction { id, gas_wallet, nonce, epoch: self.epoch, items, attempts, state, created_at }, sends))
    }
}

impl AttemptLine {
    fn of(attempt: &Attempt, sends: Option<&Sends>) -> Self {
        let included = |inclusion: &Inclusion| Included {
            block: Block::of(&inclusion.block),
            timestamp: inclusion.timestamp,
            fee_paid: inclusion.fee_paid,
            gas_used: inclusion.gas_used,
        };
        let answers = sends.into_iter().flat_map(|sends| &sends.answers).map(|answer| AnswerLine {
            at: answer.at.0,
            answer: answer.answer.clone(),
            detail: answer.detail.clone(),
        });
        Self {
            hash: attempt.signed.hash.clone(),
            kind: attempt.kind.as_str().to_owned(),
            raw: hex::encode(&attempt.signed.raw),
            fee_max: attempt.signed.fee.amount_max,
            fee_terms: attempt.signed.fee.terms.clone(),
            created_at: attempt.created_at.0,
            included: attempt.inclusion.as_ref().map(included),
            sends: sends.map_or(0, |sends| sends.count),
            answers: answers.collect(),
        }
    }

    fn attempt(self, (gas_wallet, nonce): &(String, Option<u64>)) -> Result<(Attempt, Sends), LineError> {
        let hash = self.hash;
        let inclusion = self.included.map(|included| Inclusion {
            hash: hash.clone(),
            block: included.block.block(),
            timestamp: included.timestamp,
            // Only an inclusion in a confirmed block is stored.
            confirmed: true,
            fee_paid: included.fee_paid,
            gas_used: included.gas_used,
        });
        let answer = |AnswerLine { at, answer, detail }| SendAnswer { at: Millis(at), answer, detail };
        let answers = self.answers.into_iter().map(answer).collect();
        let sends = Sends { hash: hash.clone(), count: self.sends, answers };
        let raw = hex::decode(&self.raw).map_err(|_| LineError::Field("raw"))?;
        let fee = Fee { amount_max: self.fee_max, terms: self.fee_terms };
        let signed = SignedTransaction { hash, raw, gas_wallet: gas_wallet.clone(), nonce: *nonce, fee };
        let (kind, created_at) = (parsed(&self.kind, "kind")?, Millis(self.created_at));
        Ok((Attempt { signed, kind, created_at, inclusion }, sends))
    }
}

impl EventLine {
    fn of(event: &Event) -> Self {
        Self { at: event.at.0, event: event.kind.clone(), detail: event.detail.clone() }
    }

    fn event(self) -> Event {
        Event { at: Millis(self.at), kind: self.event, detail: self.detail }
    }
}

fn bytes(text: &str, field: &'static str) -> Result<[u8; 32], LineError> {
    hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(LineError::Field(field))
}

fn parsed<T: FromStr>(text: &str, field: &'static str) -> Result<T, LineError> {
    text.parse().map_err(|_| LineError::Field(field))
}
