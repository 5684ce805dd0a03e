//! The meaning of rows. A row that says something else than this program writes
//! is an error that names it, never a guess.

use std::str::FromStr;

use chains_core::{
    Fingerprint, Identity,
    clock::Millis,
    observation::{BlockRef, Inclusion},
    transaction::{Fee, Plan, SignedTransaction},
};
use sqlx::{Decode, Postgres, Sqlite, Type};
use uuid::Uuid;

use super::database::Row;
use crate::{
    settlement::{
        Attempt, Caller, Delivered, Facts, Failed, Key, Record, Settled, SettlementId, State, Status, Step, StepState,
        TransactionId, TransactionState,
        record::{Event, SendAnswer},
    },
    store::StoreError,
};

/// A number as a column holds it. A number that a column cannot hold (only a
/// chain's "for ever" and an endpoint's nonsense are that large) becomes its
/// largest number; nonces, which must be exact, are refused before.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A row under its table's name and its key, for errors.
pub(super) struct Reader<'r> {
    row: &'r Row,
    table: &'static str,
    key: &'static str,
}

impl<'r> Reader<'r> {
    pub(super) const fn new(row: &'r Row, table: &'static str, key: &'static str) -> Self {
        Self { row, table, key }
    }

    pub(super) fn wrong(&self, column: &'static str) -> StoreError {
        let row = self.row.get::<String, _>(self.key).unwrap_or_else(|_| hex::encode(self.row.bytes(self.key)));
        StoreError::Inconsistent { table: self.table, column, row }
    }

    fn get<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        self.row.get(column).map_err(|error| match error {
            sqlx::Error::ColumnDecode { .. } => self.wrong(column),
            error => error.into(),
        })
    }

    pub(super) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.get(column)
    }

    pub(super) fn maybe_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.get(column)
    }

    pub(super) fn parsed<T: FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.get::<&str>(column)?.parse().map_err(|_| self.wrong(column))
    }

    pub(super) fn maybe_number(&self, column: &'static str) -> Result<Option<u64>, StoreError> {
        let number: Option<i64> = self.get(column)?;
        number.map(|n| u64::try_from(n).map_err(|_| self.wrong(column))).transpose()
    }

    pub(super) fn number(&self, column: &'static str) -> Result<u64, StoreError> {
        self.maybe_number(column)?.ok_or_else(|| self.wrong(column))
    }

    pub(super) fn small(&self, column: &'static str) -> Result<u32, StoreError> {
        u32::try_from(self.number(column)?).map_err(|_| self.wrong(column))
    }

    pub(super) fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        self.get(column)
    }

    pub(super) fn time(&self, column: &'static str) -> Result<Millis, StoreError> {
        self.number(column).map(Millis)
    }

    fn maybe_time(&self, column: &'static str) -> Result<Option<Millis>, StoreError> {
        Ok(self.maybe_number(column)?.map(Millis))
    }

    pub(super) fn bytes<const N: usize>(&self, column: &'static str) -> Result<[u8; N], StoreError> {
        self.get::<&[u8]>(column)?.try_into().map_err(|_| self.wrong(column))
    }

    pub(super) fn id(&self, column: &'static str) -> Result<Uuid, StoreError> {
        self.get(column)
    }

    pub(super) fn identity(&self, column: &'static str) -> Result<Identity, StoreError> {
        self.bytes(column).map(Identity::from_bytes)
    }

    pub(super) fn settlement(&self, column: &'static str) -> Result<SettlementId, StoreError> {
        self.id(column).map(SettlementId)
    }

    pub(super) fn transaction(&self, column: &'static str) -> Result<TransactionId, StoreError> {
        self.id(column).map(TransactionId)
    }

    pub(super) fn block(&self, number: &'static str, hash: &'static str) -> Result<Option<BlockRef>, StoreError> {
        match (self.maybe_number(number)?, self.maybe_text(hash)?) {
            (Some(number), Some(hash)) => Ok(Some(BlockRef { number, hash })),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => Err(self.wrong(hash)),
        }
    }
}

/// The columns that [`record`] reads; `FROM settlement s` follows.
pub(super) const RECORD: &str = "SELECT s.id, s.identity, s.fingerprint, s.tenant, s.idempotency_key, s.request_id, s.state, \
     s.network, s.scheme, s.payer, s.payer_code, s.pay_to, s.asset, s.amount, s.nonce, s.claimed_block, s.accepted, \
     s.final_transaction, s.final_block_number, s.final_block_hash, s.reason, s.message, s.executable_until, \
     s.unresolved_why, s.delivered_at, s.delivered_to, s.finalized_at, s.reorged_at, s.created_at, s.updated_at, \
     coalesce(s.final_transaction, (SELECT a.hash FROM transaction_item i \
     JOIN attempt a ON a.transaction_id = i.transaction_id WHERE i.settlement = s.id \
     ORDER BY i.transaction_id DESC, a.number DESC LIMIT 1), '') AS shown_transaction";

pub(super) fn record(row: &Row) -> Result<Record, StoreError> {
    let read = Reader::new(row, "settlement", "id");
    let status = read.parsed("state")?;
    Ok(Record {
        facts: facts(&read)?.into(),
        state: state(&read, status)?,
        status,
        transaction: read.text("shown_transaction")?,
        accepted: read.flag("accepted")?,
        delivered: delivered(&read)?,
        finalized_at: read.maybe_time("finalized_at")?,
        reorged_at: read.maybe_time("reorged_at")?,
        updated_at: read.time("updated_at")?,
    })
}

fn delivered(read: &Reader<'_>) -> Result<Option<Delivered>, StoreError> {
    let at = read.maybe_time("delivered_at")?;
    at.map(|at| Ok(Delivered { at, to: read.parsed("delivered_to")? })).transpose()
}

pub(super) fn facts(read: &Reader<'_>) -> Result<Facts, StoreError> {
    Ok(Facts {
        id: read.settlement("id")?,
        identity: read.identity("identity")?,
        fingerprint: Fingerprint::from_bytes(read.bytes("fingerprint")?),
        caller: Caller { tenant: read.text("tenant")?, key: read.maybe_text("idempotency_key")?.map(Key::from_stored) },
        request_id: read.text("request_id")?,
        network: read.parsed("network")?,
        scheme: read.text("scheme")?,
        payer: read.text("payer")?,
        payer_code: read.maybe_text("payer_code")?,
        pay_to: read.text("pay_to")?,
        asset: read.text("asset")?,
        amount: read.parsed("amount")?,
        nonce: read.text("nonce")?,
        claimed_block: read.number("claimed_block")?,
        created_at: read.time("created_at")?,
    })
}

fn state(read: &Reader<'_>, status: Status) -> Result<State, StoreError> {
    let transaction = read.maybe_text("final_transaction")?;
    let block = read.block("final_block_number", "final_block_hash")?;
    Ok(match status {
        Status::Signed | Status::Broadcast => State::Open,
        Status::Unresolved => State::Unresolved { why: read.text("unresolved_why")? },
        Status::Settled => State::Settled(Settled {
            proof: match (transaction, block) {
                (None, None) => None,
                (Some(hash), block) => Some((hash, block)),
                (None, Some(_)) => return Err(read.wrong("final_transaction")),
            },
        }),
        Status::Failed => State::Failed(Failed {
            reason: read.text("reason")?,
            message: read.text("message")?,
            transaction,
            block,
            executable_until: read.maybe_number("executable_until")?,
        }),
    })
}

/// The columns that [`step`] reads; `FROM step p` follows.
pub(super) const STEP: &str =
    "SELECT p.settlement, p.number, p.state, p.transaction_id, p.gas_wallet, p.plan, p.valid_before";

pub(super) fn step(row: &Row) -> Result<(SettlementId, Step), StoreError> {
    let read = Reader::new(row, "step", "settlement");
    let state = match read.text("state")?.as_str() {
        "waiting" => StepState::Waiting,
        "carried" => StepState::Carried(read.transaction("transaction_id")?),
        "done" => StepState::Done(read.transaction("transaction_id")?),
        _ => return Err(read.wrong("state")),
    };
    Ok((read.settlement("settlement")?, Step { number: read.small("number")?, plan: plan(&read)?, state }))
}

/// A plan, from the columns `plan`, `gas_wallet` and `valid_before`.
pub(super) fn plan(read: &Reader<'_>) -> Result<Plan, StoreError> {
    let plan = Plan::new(read.text("plan")?).sent_by(read.maybe_text("gas_wallet")?);
    Ok(plan.valid_before(read.maybe_number("valid_before")?))
}

/// The columns that [`attempt`] reads; `FROM attempt a JOIN wallet_transaction t` follows.
pub(super) const ATTEMPT: &str = "SELECT a.transaction_id, a.hash, a.kind, a.raw, a.fee_terms, a.fee_amount_max, \
     a.created_at, a.sends, a.block_number, a.block_hash, a.block_timestamp, a.fee_paid, a.gas_used, t.gas_wallet, t.nonce";

/// An attempt, and how often it was sent.
pub(super) fn attempt(row: &Row) -> Result<(TransactionId, Attempt, u64), StoreError> {
    let read = Reader::new(row, "attempt", "hash");
    let hash = read.text("hash")?;
    let inclusion = match read.block("block_number", "block_hash")? {
        None => None,
        Some(block) => Some(Inclusion {
            hash: hash.clone(),
            block,
            timestamp: read.maybe_number("block_timestamp")?,
            // Only an inclusion in a confirmed block is stored.
            confirmed: true,
            fee_paid: read.parsed("fee_paid")?,
            gas_used: read.number("gas_used")?,
        }),
    };
    let fee = Fee { amount_max: read.parsed("fee_amount_max")?, terms: read.text("fee_terms")? };
    let (gas_wallet, nonce) = (read.text("gas_wallet")?, read.maybe_number("nonce")?);
    let signed = SignedTransaction { hash, raw: read.get("raw")?, gas_wallet, nonce, fee };
    let attempt = Attempt { signed, kind: read.parsed("kind")?, created_at: read.time("created_at")?, inclusion };
    Ok((read.transaction("transaction_id")?, attempt, read.number("sends")?))
}

/// The state of a transaction with these attempts.
pub(super) fn transaction_state(read: &Reader<'_>, attempts: &[Attempt]) -> Result<TransactionState, StoreError> {
    Ok(match read.text("state")?.as_str() {
        "open" => TransactionState::Open,
        "included" => {
            let inclusion = attempts.iter().find_map(|attempt| attempt.inclusion.as_ref());
            let Inclusion { hash, block, .. } = inclusion.ok_or_else(|| read.wrong("state"))?;
            TransactionState::Included { hash: hash.clone(), block: block.clone() }
        }
        "dead" => TransactionState::Dead { why: read.text("dead_why")? },
        _ => return Err(read.wrong("state")),
    })
}

/// An answer to a send, and the attempt's number.
pub(super) fn answer(row: &Row) -> Result<(u32, SendAnswer), StoreError> {
    let read = Reader::new(row, "broadcast_answer", "transaction_id");
    let answer = SendAnswer { answer: read.text("answer")?, detail: read.text("detail")?, at: read.time("at")? };
    Ok((read.small("attempt")?, answer))
}

pub(super) fn event(row: &Row) -> Result<Event, StoreError> {
    let read = Reader::new(row, "event", "settlement");
    Ok(Event { kind: read.text("kind")?, detail: read.text("detail")?, at: read.time("at")? })
}
