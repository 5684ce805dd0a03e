//! The changes of which there are few, one at a time.

use chains_core::{clock::Millis, transaction::Plan};

use super::{begin::insert_attempts, cut, events::Events, time};
use crate::{
    settlement::{Attempt, AttemptKind, SettlementId, StepNumber, TransactionId},
    store::{
        Change, StoreError,
        sql::{
            database::Session,
            row::int,
            statement::{Statement, Value},
        },
    },
};

/// Writes one change.
pub(super) async fn write(
    session: &mut Session<'_>,
    change: &Change,
    at: Millis,
    events: &mut Events,
) -> Result<(), StoreError> {
    let mut rare = Rare { session, at, events };
    match change {
        Change::AddAttempt { transaction, attempt } => rare.add_attempt(*transaction, attempt).await,
        Change::Reopen { transaction } => rare.reopen(*transaction).await,
        Change::Kill { transaction, why } => rare.kill(*transaction, why).await,
        Change::NextStep { id, done, plan } => rare.next_step(*id, *done, plan).await,
        Change::Unresolve { id, why } => rare.unresolve(*id, why).await,
        Change::TakeBack { id, why } => rare.take_back(*id, why).await,
        Change::ExecutedElsewhere { id, hash } => rare.executed_elsewhere(*id, hash).await,
        Change::Receive { .. }
        | Change::Claim { .. }
        | Change::Carry(_)
        | Change::UseNonce { .. }
        | Change::Include { .. }
        | Change::Settle { .. }
        | Change::Fail { .. }
        | Change::Finalize { .. } => unreachable!("a batch holds it"),
    }
}

struct Rare<'a, 'c> {
    session: &'a mut Session<'c>,
    at: Millis,
    events: &'a mut Events,
}

impl Rare<'_, '_> {
    /// Runs a statement whose parameters are numbered; returns true when it
    /// had an effect.
    async fn run<const N: usize>(&mut self, sql: &str, values: [Value<'_>; N]) -> Result<bool, StoreError> {
        let statement = Statement::of(self.session.dialect(), sql, values);
        Ok(self.session.run(statement).await? > 0)
    }

    fn at(&self) -> Value<'static> {
        time(self.at).into()
    }

    async fn add_attempt(&mut self, id: TransactionId, attempt: &Attempt) -> Result<(), StoreError> {
        let next = "SELECT (SELECT max(a.number) + 1 FROM attempt a WHERE a.transaction_id = t.id) \
             FROM wallet_transaction t WHERE t.id = $1 AND t.state = 'open'";
        let next = Statement::of(self.session.dialect(), next, [id.into()]);
        let Some(next) = self.session.first(next).await? else {
            return Err(StoreError::Contradiction("an attempt is for a transaction that is open"));
        };
        insert_attempts(self.session, &[(id, next.get(0)?, attempt)]).await?;
        let kind = match attempt.kind {
            AttemptKind::First => "signed",
            AttemptKind::Bump => "bumped",
            AttemptKind::Cancel => "cancelled",
        };
        let settlements = "UPDATE settlement SET updated_at = $1 WHERE id IN (SELECT i.settlement \
             FROM transaction_item i WHERE i.transaction_id = $2) AND state IN ('signed', 'broadcast', 'unresolved')";
        self.run(settlements, [self.at(), id.into()]).await?;
        self.tell_all(id, kind, &attempt.signed.hash).await
    }

    async fn reopen(&mut self, id: TransactionId) -> Result<(), StoreError> {
        let open = "UPDATE wallet_transaction SET state = 'open' WHERE id = $1 AND state = 'included'";
        if !self.run(open, [id.into()]).await? {
            return Ok(());
        }
        let attempts = "UPDATE attempt SET block_number = NULL, block_hash = NULL, block_timestamp = NULL, \
             fee_paid = NULL, gas_used = NULL WHERE transaction_id = $1 AND block_number IS NOT NULL";
        self.run(attempts, [id.into()]).await?;
        let settlements = "UPDATE settlement SET state = 'broadcast', unresolved_why = NULL, updated_at = $1 \
             WHERE id IN (SELECT i.settlement FROM transaction_item i WHERE i.transaction_id = $2) \
             AND state IN ('signed', 'broadcast', 'unresolved')";
        self.run(settlements, [self.at(), id.into()]).await?;
        self.tell_all(id, "reorged", "the chain took the block of its transaction back").await
    }

    async fn kill(&mut self, id: TransactionId, why: &str) -> Result<(), StoreError> {
        let kill = "UPDATE wallet_transaction SET state = 'dead', dead_why = $1 WHERE id = $2 AND state = 'open'";
        if !self.run(kill, [cut(why).into(), id.into()]).await? {
            return Ok(());
        }
        // A settlement that has ended keeps the step as it was.
        let live = self.session.dialect().says_yes("live");
        let items = format!(
            "UPDATE transaction_item SET live = FALSE WHERE transaction_id = $1 AND {live} AND EXISTS \
             (SELECT 1 FROM step p JOIN settlement s ON s.id = p.settlement \
             WHERE p.settlement = transaction_item.settlement AND p.number = transaction_item.step \
             AND p.state = 'carried' AND p.transaction_id = $1 AND s.state IN ('signed', 'broadcast', 'unresolved'))"
        );
        self.run(&items, [id.into()]).await?;
        let steps = "UPDATE step SET state = 'waiting', transaction_id = NULL WHERE (settlement, number) IN \
             (SELECT i.settlement, i.step FROM transaction_item i WHERE i.transaction_id = $1 AND NOT i.live)";
        self.run(steps, [id.into()]).await?;
        let settlements = "UPDATE settlement SET state = 'signed', unresolved_why = NULL, updated_at = $1 WHERE id IN \
             (SELECT i.settlement FROM transaction_item i WHERE i.transaction_id = $2 AND NOT i.live)";
        self.run(settlements, [self.at(), id.into()]).await?;
        self.tell_all(id, "transaction_dead", why).await
    }

    async fn next_step(&mut self, id: SettlementId, number: StepNumber, plan: &Plan) -> Result<(), StoreError> {
        let finish = "UPDATE step SET state = 'done' WHERE settlement = $1 AND number = $2 AND state = 'carried' \
             AND EXISTS (SELECT 1 FROM settlement s WHERE s.id = step.settlement \
             AND s.state IN ('signed', 'broadcast', 'unresolved'))";
        if !self.run(finish, [id.into(), i64::from(number).into()]).await? {
            return Ok(());
        }
        let next = "INSERT INTO step (settlement, number, state, gas_wallet, plan, valid_before) \
             VALUES ($1, $2, 'waiting', $3, $4, $5)";
        let values = [
            id.into(),
            (i64::from(number) + 1).into(),
            plan.gas_wallet.as_deref().into(),
            plan.body().into(),
            plan.valid_before.map(int).into(),
        ];
        self.run(next, values).await?;
        let open = "UPDATE settlement SET state = 'signed', unresolved_why = NULL, updated_at = $1 WHERE id = $2";
        self.run(open, [self.at(), id.into()]).await?;
        self.events.add(id, "step_done", &format!("step {number}"), self.at);
        Ok(())
    }

    async fn unresolve(&mut self, id: SettlementId, why: &str) -> Result<(), StoreError> {
        let first = "UPDATE settlement SET state = 'unresolved', unresolved_why = $1, updated_at = $2 WHERE id = $3 \
             AND state IN ('signed', 'broadcast')";
        let newer = "UPDATE settlement SET unresolved_why = $1, updated_at = $2 WHERE id = $3 AND state = 'unresolved'";
        if self.run(first, [cut(why).into(), self.at(), id.into()]).await? {
            self.events.add(id, "unresolved", why, self.at);
        } else {
            self.run(newer, [cut(why).into(), self.at(), id.into()]).await?;
        }
        Ok(())
    }

    async fn take_back(&mut self, id: SettlementId, why: &str) -> Result<(), StoreError> {
        let update = "UPDATE settlement SET reorged_at = $1, updated_at = $1 WHERE id = $2 AND state = 'settled' \
             AND reorged_at IS NULL";
        if self.run(update, [self.at(), id.into()]).await? {
            self.events.add(id, "reorged", why, self.at);
        }
        Ok(())
    }

    async fn executed_elsewhere(&mut self, id: SettlementId, hash: &str) -> Result<(), StoreError> {
        let update = "UPDATE settlement SET finalized_at = $1, updated_at = $1 WHERE id = $2 AND state = 'failed' \
             AND finalized_at IS NULL";
        if self.run(update, [self.at(), id.into()]).await? {
            self.events.add(id, "executed_elsewhere", hash, self.at);
        }
        Ok(())
    }

    /// Adds an event to each settlement of a transaction.
    async fn tell_all(&mut self, id: TransactionId, kind: &'static str, detail: &str) -> Result<(), StoreError> {
        let items = "SELECT DISTINCT i.settlement FROM transaction_item i WHERE i.transaction_id = $1";
        let items = Statement::of(self.session.dialect(), items, [id.into()]);
        for row in self.session.all(items).await? {
            self.events.add(SettlementId(row.get(0)?), kind, detail, self.at);
        }
        Ok(())
    }
}
