//! The settlements that may leave.

use crate::{
    settlement::Timeline,
    store::{
        StoreError,
        archive::{ArchiveCursor, Bounds},
        sql::{
            database::Pool,
            read,
            row::{Reader, int},
            statement::{Dialect, Statement},
        },
    },
};

/// The order of claims.
const BY_TIME: &str = "settlement_by_time";

/// Adds the conditions under which settlement `s` may leave: it and those that
/// share a transaction with it are over for good, and none of its transactions
/// holds a place that the chain may still use.
pub(super) fn push_may_leave(query: &mut Statement<'_>, dialect: Dialect, bounds: Bounds) {
    let join = dialect.join();
    push_is_over(query, "s", bounds);
    query.push(&format!(
        " AND NOT EXISTS (SELECT 1 FROM transaction_item i {join} transaction_item o \
         ON o.transaction_id = i.transaction_id {join} settlement n ON n.id = o.settlement \
         WHERE i.settlement = s.id AND o.settlement <> i.settlement AND NOT ",
    ));
    push_is_over(query, "n", bounds);
    query.push(&format!(
        ") AND NOT EXISTS (SELECT 1 FROM transaction_item i {join} wallet_transaction t \
         ON t.id = i.transaction_id WHERE i.settlement = s.id AND t.state = 'open' AND t.nonce IS NOT NULL)",
    ));
}

/// A success that nobody was given, and a failure that somebody may still
/// execute, are not over. Each term is yes or no, never NULL.
fn push_is_over(query: &mut Statement<'_>, name: &str, bounds: Bounds) {
    let column = |query: &mut Statement<'_>, column: &str| {
        query.push(name).push(".").push(column);
    };
    query.push("(CASE ");
    column(query, "state");
    query.push(" WHEN 'settled' THEN ");
    column(query, "delivered_at");
    query.push(" IS NOT NULL AND ");
    column(query, "finalized_at");
    query.push(" IS NOT NULL AND ");
    column(query, "finalized_at");
    query.push(" < ").bind(int(bounds.settled_before.0)).push(" WHEN 'failed' THEN (");
    column(query, "finalized_at");
    query.push(" IS NOT NULL OR ");
    column(query, "executable_until");
    query.push(" IS NULL) AND ");
    column(query, "ended_at");
    query.push(" < ").bind(int(bounds.failed_before.0)).push(" ELSE FALSE END)");
}

/// The statement that chooses settlements, in the order of their claims.
pub(in crate::store) fn statement(
    dialect: Dialect,
    bounds: Bounds,
    after: Option<ArchiveCursor>,
    limit: u32,
) -> Statement<'static> {
    // What is over before a time was claimed before it.
    let mut query = Statement::new(dialect, "SELECT s.id FROM settlement s");
    query.push(&dialect.by_index(BY_TIME)).push(" WHERE ");
    query.push("s.created_at < ").bind(int(bounds.settled_before.0));
    if let Some((at, id)) = after {
        query.push(" AND (s.created_at, s.id) > (").bind(int(at.0)).push(", ");
        query.bind(id).push(")");
    }
    query.push(" AND ");
    push_may_leave(&mut query, dialect, bounds);
    query.push(" ORDER BY s.created_at, s.id LIMIT ").bind(i64::from(limit));
    query
}

pub(in crate::store::sql) async fn choose(
    pool: &Pool,
    bounds: Bounds,
    after: Option<ArchiveCursor>,
    limit: u32,
) -> Result<Vec<Timeline>, StoreError> {
    let rows = pool.all(statement(pool.dialect(), bounds, after, limit)).await?;
    let mut chosen = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = Reader::new(row, "settlement", "id").settlement("id")?;
        chosen.extend(read::timeline(pool, id).await?);
    }
    Ok(chosen)
}

/// The settlements that were claimed before the bounds and are still here.
pub(in crate::store::sql) async fn count_older(pool: &Pool, bounds: Bounds) -> Result<u64, StoreError> {
    let mut query = Statement::new(pool.dialect(), "SELECT count(*) AS older FROM settlement s");
    query.push(&pool.dialect().by_index(BY_TIME)).push(" WHERE s.created_at < ").bind(int(bounds.settled_before.0));
    let older = pool.first(query).await?.map(|row| row.get::<i64, _>("older")).transpose()?;
    Ok(older.and_then(|older| u64::try_from(older).ok()).unwrap_or_default())
}
