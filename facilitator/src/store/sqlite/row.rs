//! What a row means. A row that says something else than this program writes
//! is an error that names it, never a guess.

use std::str::FromStr;

use chains_core::{
    Fingerprint, Identity,
    chain::{BlockRef, Fees, PlannedTransaction, SignedTransaction},
    clock::Millis,
};
use sqlx::{Row as _, sqlite::SqliteRow};
use uuid::Uuid;

use crate::{
    settlement::{
        SettlementId, State,
        record::{Attempt, Caller, Failure, Key, LandedAttempt, Outcome, Record, StoredSend},
    },
    store::StoreError,
};

/// A number as a column holds it. What a column cannot hold (only a chain's
/// "for ever" and an endpoint's nonsense are that large) becomes its largest
/// number; sequences, which must be exact, are refused before.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A row under its table's name and its key, for errors.
pub(super) struct Reader<'r> {
    row: &'r SqliteRow,
    table: &'static str,
    key: &'static str,
}

impl<'r> Reader<'r> {
    pub(super) const fn new(row: &'r SqliteRow, table: &'static str, key: &'static str) -> Self {
        Self { row, table, key }
    }

    fn wrong(&self, column: &'static str) -> StoreError {
        let bytes = self.row.try_get_unchecked::<Vec<u8>, _>(self.key);
        let text = self.row.try_get::<String, _>(self.key);
        let row = text.unwrap_or_else(|_| hex::encode(bytes.unwrap_or_default()));
        StoreError::Inconsistent { table: self.table, column, row }
    }

    fn text(&self, column: &'static str) -> Result<String, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    fn maybe_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    fn parsed<T: FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.row.try_get::<&str, _>(column)?.parse().map_err(|_| self.wrong(column))
    }

    fn maybe_number(&self, column: &'static str) -> Result<Option<u64>, StoreError> {
        let number: Option<i64> = self.row.try_get(column)?;
        number.map(|n| u64::try_from(n).map_err(|_| self.wrong(column))).transpose()
    }

    fn number(&self, column: &'static str) -> Result<u64, StoreError> {
        self.maybe_number(column)?.ok_or_else(|| self.wrong(column))
    }

    fn bytes<const N: usize>(&self, column: &'static str) -> Result<[u8; N], StoreError> {
        self.row.try_get::<&[u8], _>(column)?.try_into().map_err(|_| self.wrong(column))
    }

    pub(super) fn id(&self, column: &'static str) -> Result<SettlementId, StoreError> {
        Ok(SettlementId(Uuid::from_bytes(self.bytes(column)?)))
    }

    fn block(&self, number: &'static str, hash: &'static str) -> Result<Option<BlockRef>, StoreError> {
        match (self.maybe_number(number)?, self.maybe_text(hash)?) {
            (Some(number), Some(hash)) => Ok(Some(BlockRef { number, hash })),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => Err(self.wrong(hash)),
        }
    }
}

/// The columns that [`record`] reads; `FROM settlement s` follows.
pub(super) const RECORD: &str = "SELECT s.*, coalesce(s.final_transaction, (SELECT a.transaction_id \
     FROM slot_item i JOIN attempt a ON a.slot = i.slot WHERE i.settlement = s.id AND i.live = 1 \
     ORDER BY a.number DESC LIMIT 1), '') AS transaction_id";

pub(super) fn record(row: &SqliteRow) -> Result<Record, StoreError> {
    let read = Reader::new(row, "settlement", "id");
    let state: State = read.parsed("state")?;
    Ok(Record {
        id: read.id("id")?,
        identity: Identity::from_bytes(read.bytes("identity")?),
        fingerprint: Fingerprint::from_bytes(read.bytes("fingerprint")?),
        caller: Caller { tenant: read.text("tenant")?, key: read.maybe_text("idempotency_key")?.map(Key::from_stored) },
        state,
        network: read.parsed("network")?,
        scheme: read.text("scheme")?,
        payer: read.text("payer")?,
        pay_to: read.text("pay_to")?,
        asset: read.text("asset")?,
        amount: read.parsed("amount")?,
        nonce: read.text("nonce")?,
        claimed_at: read.number("claimed_at")?,
        plan: PlannedTransaction {
            gas_wallet: read.maybe_text("plan_gas_wallet")?,
            body: read.text("plan_body")?,
            valid_before: read.maybe_number("plan_valid_before")?,
        },
        transaction: read.text("transaction_id")?,
        outcome: outcome(&read, state)?,
        delivered_at: read.maybe_number("delivered_at")?.map(Millis),
        created_at: Millis(read.number("created_at")?),
        updated_at: Millis(read.number("updated_at")?),
    })
}

fn outcome(read: &Reader<'_>, state: State) -> Result<Option<Outcome>, StoreError> {
    let transaction = read.maybe_text("final_transaction")?;
    let block = read.block("final_block_number", "final_block_hash")?;
    Ok(match state {
        State::Claimed => return Err(read.wrong("state")),
        State::Signed | State::Broadcast => None,
        State::Settled => Some(match (transaction, block) {
            (Some(transaction), Some(block)) => Outcome::Settled { transaction, block },
            (None, None) => Outcome::NothingToSend,
            (Some(_), None) | (None, Some(_)) => return Err(read.wrong("final_transaction")),
        }),
        State::Failed => {
            Some(Outcome::Failed { reason: read.text("reason")?, message: read.text("message")?, transaction, block })
        }
    })
}

/// An attempt without its answers, from a join of `attempt` and `slot`.
pub(super) fn failure(row: &SqliteRow) -> Result<Failure, StoreError> {
    let reader = Reader::new(row, "settlement", "id");
    Ok(Failure { payer: reader.text("payer")?, at: Millis(reader.number("updated_at")?) })
}

pub(super) fn attempt(row: &SqliteRow) -> Result<Attempt, StoreError> {
    let read = Reader::new(row, "attempt", "transaction_id");
    let transaction = read.text("transaction_id")?;
    let landed = match read.block("block_number", "block_hash")? {
        None => None,
        Some(block) => Some(LandedAttempt {
            transaction: transaction.clone(),
            block,
            fee_paid: read.parsed("fee_paid")?,
            gas_used: read.number("gas_used")?,
        }),
    };
    Ok(Attempt {
        signed: SignedTransaction {
            transaction,
            raw: row.try_get("raw")?,
            gas_wallet: read.text("gas_wallet")?,
            sequence: read.maybe_number("sequence")?,
            gas_limit: read.number("gas_limit")?,
            fees: Fees { per_gas_max: read.parsed("fee_per_gas_max")?, tip_per_gas: read.parsed("tip_per_gas")? },
        },
        live: read.number("live")? == 1,
        created_at: Millis(read.number("created_at")?),
        landed,
        sends_total: read.number("sends")?,
        sends: Vec::new(),
    })
}

pub(super) fn send(row: &SqliteRow) -> Result<StoredSend, StoreError> {
    let read = Reader::new(row, "broadcast_answer", "transaction_id");
    Ok(StoredSend { answer: read.text("answer")?, detail: read.text("detail")?, at: Millis(read.number("at")?) })
}
