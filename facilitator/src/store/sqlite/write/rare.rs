//! The changes of which there are few, one at a time.

use chains_core::{clock::Millis, transaction::Plan};
use sqlx::{SqliteConnection, sqlite::SqliteQueryResult};

use super::{WriteError, begin::insert_attempts, cut, events::Events, time};
use crate::{
    settlement::{Attempt, AttemptKind, SettlementId, StepNumber, TransactionId},
    store::{
        Change,
        sqlite::row::{self, int},
    },
};

/// Writes one change.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    change: &Change,
    at: Millis,
    events: &mut Events,
) -> Result<(), WriteError> {
    let mut rare = Rare { connection, at, events };
    match change {
        Change::AddAttempt { transaction, attempt } => rare.add_attempt(*transaction, attempt).await?,
        Change::Reopen { transaction } => rare.reopen(*transaction).await?,
        Change::Kill { transaction, why } => rare.kill(*transaction, why).await?,
        Change::NextStep { id, done, plan } => rare.next_step(*id, *done, plan).await?,
        Change::Unresolve { id, why } => rare.unresolve(*id, why).await?,
        Change::TakeBack { id, why } => rare.take_back(*id, why).await?,
        Change::ExecutedElsewhere { id, hash } => rare.executed_elsewhere(*id, hash).await?,
        Change::Claim { .. }
        | Change::Carry(_)
        | Change::UseNonce { .. }
        | Change::Include { .. }
        | Change::Settle { .. }
        | Change::Fail { .. }
        | Change::Finalize { .. } => unreachable!("a batch holds it"),
    }
    Ok(())
}

struct Rare<'a> {
    connection: &'a mut SqliteConnection,
    at: Millis,
    events: &'a mut Events,
}

/// Returns true when the statement had an effect.
fn done(result: &SqliteQueryResult) -> bool {
    result.rows_affected() > 0
}

impl Rare<'_> {
    async fn add_attempt(&mut self, id: TransactionId, attempt: &Attempt) -> Result<(), WriteError> {
        let next = "SELECT (SELECT max(a.number) + 1 FROM attempt a WHERE a.transaction_id = t.id) \
             FROM wallet_transaction t WHERE t.id = ? AND t.state = 'open'";
        let next = sqlx::query_scalar(next).bind(bytes(&id)).fetch_optional(&mut *self.connection).await?;
        let Some(number) = next else {
            return Err(WriteError::Contradiction("an attempt is for a transaction that is open"));
        };
        insert_attempts(self.connection, &[(id, number, attempt)]).await?;
        let kind = match attempt.kind {
            AttemptKind::First => "signed",
            AttemptKind::Bump => "bumped",
            AttemptKind::Cancel => "cancelled",
        };
        let settlements = "UPDATE settlement SET updated_at = ? WHERE id IN (SELECT i.settlement \
             FROM transaction_item i WHERE i.transaction_id = ?) AND state IN ('signed', 'broadcast', 'unresolved')";
        let settlements = sqlx::query(settlements).bind(time(self.at)).bind(bytes(&id));
        settlements.execute(&mut *self.connection).await?;
        Ok(self.tell_all(id, kind, &attempt.signed.hash).await?)
    }

    async fn reopen(&mut self, id: TransactionId) -> Result<(), sqlx::Error> {
        let open = "UPDATE wallet_transaction SET state = 'open' WHERE id = ? AND state = 'included'";
        if !done(&sqlx::query(open).bind(bytes(&id)).execute(&mut *self.connection).await?) {
            return Ok(());
        }
        let attempts = "UPDATE attempt SET block_number = NULL, block_hash = NULL, fee_paid = NULL, gas_used = NULL \
             WHERE transaction_id = ? AND block_number IS NOT NULL";
        sqlx::query(attempts).bind(bytes(&id)).execute(&mut *self.connection).await?;
        let settlements = "UPDATE settlement SET state = 'broadcast', unresolved_why = NULL, updated_at = ? \
             WHERE id IN (SELECT i.settlement FROM transaction_item i WHERE i.transaction_id = ?) \
             AND state IN ('signed', 'broadcast', 'unresolved')";
        let settlements = sqlx::query(settlements).bind(time(self.at)).bind(bytes(&id));
        settlements.execute(&mut *self.connection).await?;
        self.tell_all(id, "reorged", "the chain took the block of its transaction back").await
    }

    async fn kill(&mut self, id: TransactionId, why: &str) -> Result<(), sqlx::Error> {
        let kill = "UPDATE wallet_transaction SET state = 'dead', dead_why = ? WHERE id = ? AND state = 'open'";
        if !done(&sqlx::query(kill).bind(cut(why)).bind(bytes(&id)).execute(&mut *self.connection).await?) {
            return Ok(());
        }
        // A settlement that has ended keeps the step as it was.
        let items = "UPDATE transaction_item SET live = 0 WHERE transaction_id = ?1 AND live = 1 AND EXISTS \
             (SELECT 1 FROM step p JOIN settlement s ON s.id = p.settlement \
             WHERE p.settlement = transaction_item.settlement AND p.number = transaction_item.step \
             AND p.state = 'carried' AND p.transaction_id = ?1 AND s.state IN ('signed', 'broadcast', 'unresolved'))";
        sqlx::query(items).bind(bytes(&id)).execute(&mut *self.connection).await?;
        let steps = "UPDATE step SET state = 'waiting', transaction_id = NULL WHERE (settlement, number) IN \
             (SELECT i.settlement, i.step FROM transaction_item i WHERE i.transaction_id = ? AND i.live = 0)";
        sqlx::query(steps).bind(bytes(&id)).execute(&mut *self.connection).await?;
        let settlements = "UPDATE settlement SET state = 'signed', unresolved_why = NULL, updated_at = ? WHERE id IN \
             (SELECT i.settlement FROM transaction_item i WHERE i.transaction_id = ? AND i.live = 0)";
        let settlements = sqlx::query(settlements).bind(time(self.at)).bind(bytes(&id));
        settlements.execute(&mut *self.connection).await?;
        self.tell_all(id, "transaction_dead", why).await
    }

    async fn next_step(&mut self, id: SettlementId, number: StepNumber, plan: &Plan) -> Result<(), sqlx::Error> {
        let settlement = id.0.as_bytes().as_slice();
        let finish = "UPDATE step SET state = 'done' WHERE settlement = ? AND number = ? AND state = 'carried' AND EXISTS \
             (SELECT 1 FROM settlement s WHERE s.id = step.settlement AND s.state IN ('signed', 'broadcast', 'unresolved'))";
        let finish = sqlx::query(finish).bind(settlement).bind(i64::from(number));
        if !done(&finish.execute(&mut *self.connection).await?) {
            return Ok(());
        }
        let next = "INSERT INTO step (settlement, number, state, gas_wallet, plan, valid_before) \
             VALUES (?, ?, 'waiting', ?, ?, ?)";
        let next = sqlx::query(next).bind(settlement).bind(i64::from(number) + 1);
        let next = next.bind(plan.gas_wallet.as_deref()).bind(plan.body()).bind(plan.valid_before.map(int));
        next.execute(&mut *self.connection).await?;
        let open = "UPDATE settlement SET state = 'signed', unresolved_why = NULL, updated_at = ? WHERE id = ?";
        sqlx::query(open).bind(time(self.at)).bind(settlement).execute(&mut *self.connection).await?;
        self.events.add(id, "step_done", &format!("step {number}"), self.at);
        Ok(())
    }

    async fn unresolve(&mut self, id: SettlementId, why: &str) -> Result<(), sqlx::Error> {
        let first = "UPDATE settlement SET state = 'unresolved', unresolved_why = ?, updated_at = ? WHERE id = ? \
             AND state IN ('signed', 'broadcast')";
        let newer = "UPDATE settlement SET unresolved_why = ?, updated_at = ? WHERE id = ? AND state = 'unresolved'";
        for statement in [first, newer] {
            let update = sqlx::query(statement).bind(cut(why)).bind(time(self.at)).bind(id.0.as_bytes().as_slice());
            if done(&update.execute(&mut *self.connection).await?) {
                if statement == first {
                    self.events.add(id, "unresolved", why, self.at);
                }
                break;
            }
        }
        Ok(())
    }

    async fn take_back(&mut self, id: SettlementId, why: &str) -> Result<(), sqlx::Error> {
        let update = "UPDATE settlement SET reorged_at = ?1, updated_at = ?1 WHERE id = ?2 AND state = 'settled' \
             AND reorged_at IS NULL";
        let update = sqlx::query(update).bind(time(self.at)).bind(id.0.as_bytes().as_slice());
        if done(&update.execute(&mut *self.connection).await?) {
            self.events.add(id, "reorged", why, self.at);
        }
        Ok(())
    }

    async fn executed_elsewhere(&mut self, id: SettlementId, hash: &str) -> Result<(), sqlx::Error> {
        let update = "UPDATE settlement SET finalized_at = ?1, updated_at = ?1 WHERE id = ?2 AND state = 'failed' \
             AND finalized_at IS NULL";
        let update = sqlx::query(update).bind(time(self.at)).bind(id.0.as_bytes().as_slice());
        if done(&update.execute(&mut *self.connection).await?) {
            self.events.add(id, "executed_elsewhere", hash, self.at);
        }
        Ok(())
    }

    /// Adds an event to each settlement of a transaction.
    async fn tell_all(&mut self, id: TransactionId, kind: &'static str, detail: &str) -> Result<(), sqlx::Error> {
        let items = "SELECT DISTINCT i.settlement FROM transaction_item i WHERE i.transaction_id = ?";
        let items: Vec<Vec<u8>> = sqlx::query_scalar(items).bind(bytes(&id)).fetch_all(&mut *self.connection).await?;
        for settlement in items.iter().filter_map(|id| row::uuid(id)).map(SettlementId) {
            self.events.add(settlement, kind, detail, self.at);
        }
        Ok(())
    }
}

fn bytes(id: &TransactionId) -> &[u8] {
    id.0.as_bytes().as_slice()
}
