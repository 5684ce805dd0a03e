//! Settlements by what operators and tenants ask.

use crate::{
    settlement::{Record, Status},
    store::{
        Query, StoreError,
        sql::{
            database::Pool,
            row::{self, RECORD, int},
            statement::{Dialect, Statement},
        },
    },
};

/// Records of one answer, whatever is asked for.
const PAGE_MAX: u32 = 1000;

pub(in crate::store::sql) async fn find(pool: &Pool, asked: &Query) -> Result<Vec<Record>, StoreError> {
    pool.all(statement(pool.dialect(), asked)).await?.iter().map(row::record).collect()
}

/// The statement of a look-up.
pub(in crate::store) fn statement(dialect: Dialect, asked: &Query) -> Statement<'_> {
    let Query { transaction, network, payer, nonce, request_id, status, from, tenant, before, limit } = asked;
    let mut query = Statement::new(dialect, RECORD);
    query.push(" FROM settlement s");
    if let Some(index) = index(asked) {
        query.push(&dialect.by_index(index));
    }
    query.push(" WHERE 1 = 1");
    if let Some(transaction) = transaction {
        query.push(
            " AND s.id IN (SELECT i.settlement FROM attempt a JOIN transaction_item i \
             ON i.transaction_id = a.transaction_id WHERE a.hash = ",
        );
        query.bind(transaction.as_str());
        query.push(" UNION SELECT f.id FROM settlement f WHERE ").push(&dialect.says_yes("f.final_is_foreign"));
        query.push(" AND f.final_transaction = ");
        query.bind(transaction.as_str()).push(")");
    }
    if let Some(network) = network {
        query.push(" AND s.network = ").bind(network.as_str());
    }
    if let Some(payer) = payer {
        query.push(" AND lower(s.payer) = lower(").bind(payer.as_str()).push(")");
    }
    if let Some(nonce) = nonce {
        push_nonce(&mut query, nonce, payer.as_deref());
    }
    if let Some(request_id) = request_id {
        query.push(" AND s.request_id = ").bind(request_id.as_str());
    }
    if let Some(status) = status {
        push_status(&mut query, *status);
    }
    if let Some(from) = from {
        query.push(" AND s.created_at >= ").bind(int(from.0));
    }
    if let Some(tenant) = tenant {
        query.push(" AND s.tenant = ").bind(tenant.as_str());
        if !tenant.is_empty() {
            // Lets the database use the indexes over settlements of tenants.
            query.push(" AND s.tenant <> ''");
        }
    }
    if let Some(before) = before {
        query.push(" AND (s.created_at, s.id) < (SELECT c.created_at, c.id FROM settlement c WHERE c.id = ");
        query.bind(*before).push(")");
    }
    query.push(" ORDER BY s.created_at DESC, s.id DESC LIMIT ").bind(i64::from((*limit).min(PAGE_MAX)));
    query
}

/// The index holds the beginnings of the nonce and of the payer.
fn push_nonce<'a>(query: &mut Statement<'a>, nonce: &'a str, payer: Option<&'a str>) {
    query.push(" AND lower(substr(s.nonce, 1, 18)) = lower(substr(").bind(nonce).push(", 1, 18))");
    query.push(" AND lower(s.nonce) = lower(").bind(nonce).push(")");
    if let Some(payer) = payer {
        query.push(" AND lower(substr(s.payer, 1, 18)) = lower(substr(").bind(payer).push(", 1, 18))");
    }
}

/// The index to read. SQLite itself knows nothing of how many rows are
/// open or belong to a network, and would read a large table in order to find none.
fn index(asked: &Query) -> Option<&'static str> {
    let tenant = asked.tenant.as_ref().is_some_and(|tenant| !tenant.is_empty());
    let network = asked.network.is_some();
    if asked.transaction.is_some() {
        return None;
    }
    if asked.nonce.is_some() {
        return Some("settlement_by_nonce");
    }
    if asked.request_id.is_some() {
        return Some("settlement_by_request");
    }
    Some(match asked.status {
        Some(Status::Signed | Status::Broadcast) => "settlement_open",
        Some(Status::Unresolved) => "settlement_unresolved",
        _ if asked.payer.is_some() => "settlement_by_payer",
        Some(Status::Failed) if tenant => "settlement_failed_by_tenant",
        Some(Status::Failed) if network => "settlement_failed_by_network",
        Some(Status::Failed) => "settlement_failed",
        Some(Status::Settled) | None => match (tenant, network) {
            (true, true) => "settlement_by_tenant_and_network",
            (true, false) => "settlement_by_tenant",
            (false, true) => "settlement_by_network",
            (false, false) => "settlement_by_time",
        },
    })
}

/// The word is ours, not the caller's: as a literal it lets the database use
/// the small indexes over open, unresolved and failed settlements.
fn push_status(query: &mut Statement<'_>, status: Status) {
    query.push(" AND s.state = '").push(status.as_str()).push("'");
    if matches!(status, Status::Signed | Status::Broadcast) {
        query.push(" AND s.state IN ('signed', 'broadcast')");
    }
}
