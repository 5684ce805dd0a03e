//! The settlements that may leave.

use sqlx::{QueryBuilder, Row as _, Sqlite, SqlitePool};

use crate::{
    settlement::Timeline,
    store::{
        StoreError,
        archive::{ArchiveCursor, Bounds},
        sqlite::{
            read,
            row::{Reader, int},
        },
    },
};

/// Adds the conditions under which settlement `s` may leave: it and those that
/// share a transaction with it are over for good, and none of its transactions
/// holds a place that the chain may still use.
pub(super) fn push_may_leave(query: &mut QueryBuilder<Sqlite>, bounds: Bounds) {
    push_is_over(query, "s", bounds);
    query.push(
        " AND NOT EXISTS (SELECT 1 FROM transaction_item i CROSS JOIN transaction_item o \
         ON o.transaction_id = i.transaction_id CROSS JOIN settlement n ON n.id = o.settlement \
         WHERE i.settlement = s.id AND o.settlement <> i.settlement AND NOT ",
    );
    push_is_over(query, "n", bounds);
    query.push(
        ") AND NOT EXISTS (SELECT 1 FROM transaction_item i CROSS JOIN wallet_transaction t \
         ON t.id = i.transaction_id WHERE i.settlement = s.id AND t.state = 'open' AND t.nonce IS NOT NULL)",
    );
}

/// A success that nobody was given, and a failure that somebody may still
/// execute, are not over. Each term is 1 or 0, never NULL.
fn push_is_over(query: &mut QueryBuilder<Sqlite>, name: &str, bounds: Bounds) {
    let column = |query: &mut QueryBuilder<Sqlite>, column: &str| {
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
    query.push(" < ").push_bind(int(bounds.settled_before.0)).push(" WHEN 'failed' THEN (");
    column(query, "finalized_at");
    query.push(" IS NOT NULL OR ");
    column(query, "executable_until");
    query.push(" IS NULL) AND ");
    column(query, "ended_at");
    query.push(" < ").push_bind(int(bounds.failed_before.0)).push(" ELSE 0 END)");
}

/// The statement that chooses settlements, in the order of their claims.
pub(in crate::store::sqlite) fn statement(
    bounds: Bounds,
    after: Option<ArchiveCursor>,
    limit: u32,
) -> QueryBuilder<Sqlite> {
    // What is over before a time was claimed before it.
    let mut query = QueryBuilder::<Sqlite>::new("SELECT s.id FROM settlement s INDEXED BY settlement_by_time WHERE ");
    query.push("s.created_at < ").push_bind(int(bounds.settled_before.0));
    if let Some((at, id)) = after {
        query.push(" AND (s.created_at, s.id) > (").push_bind(int(at.0)).push(", ");
        query.push_bind(id.0.as_bytes().to_vec()).push(")");
    }
    query.push(" AND ");
    push_may_leave(&mut query, bounds);
    query.push(" ORDER BY s.created_at, s.id LIMIT ").push_bind(i64::from(limit));
    query
}

pub(in crate::store::sqlite) async fn choose(
    pool: &SqlitePool,
    bounds: Bounds,
    after: Option<ArchiveCursor>,
    limit: u32,
) -> Result<Vec<Timeline>, StoreError> {
    let rows = statement(bounds, after, limit).build().fetch_all(pool).await?;
    let mut chosen = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = Reader::new(row, "settlement", "id").settlement("id")?;
        chosen.extend(read::timeline(pool, id).await?);
    }
    Ok(chosen)
}

/// The settlements that were claimed before the bounds and are still here.
pub(in crate::store::sqlite) async fn count_older(pool: &SqlitePool, bounds: Bounds) -> Result<u64, StoreError> {
    let query = "SELECT count(*) AS older FROM settlement s INDEXED BY settlement_by_time WHERE s.created_at < ?";
    let row = sqlx::query(query).bind(int(bounds.settled_before.0)).fetch_one(pool).await?;
    Ok(u64::try_from(row.try_get::<i64, _>("older")?).unwrap_or_default())
}
