//! Look-ups use indexes, so that they cost the same whatever the table's size.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::*;
use crate::{
    settlement::Status,
    store::{Query, sqlite::read},
};

/// Indexes over so few rows that they may be sorted.
const SMALL: [&str; 3] = ["settlement_open", "settlement_unresolved", "settlement_by_payer"];

/// The database's plan for a statement, one line for each step, without those
/// of subqueries.
async fn plan(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
    let rows = explain.fetch_all(connection).await.expect(sql);
    rows.iter().filter(|row| row.get::<i64, _>("parent") == 0).map(|row| row.get("detail")).collect()
}

#[tokio::test]
async fn each_list_is_read_by_an_index_of_its_own() {
    let file = File::fresh();
    file.sqlite().await.close().await;
    let mut connection = open::connect(&open::writing(&file.path())).await.expect("opened");
    let text = || Some("x".to_owned());
    let all = || Query { limit: 10, ..Query::default() };
    let by_network = || Query { network: Some(network()), ..all() };
    let status = |status, query| Query { status: Some(status), ..query };
    let cases = [
        ("everything", all(), "settlement_by_time"),
        ("a network", by_network(), "settlement_by_network"),
        ("settled", status(Status::Settled, all()), "settlement_by_time"),
        ("failed of a tenant", Query { tenant: text(), ..status(Status::Failed, all()) }, "settlement_failed"),
        ("settled of a network", status(Status::Settled, by_network()), "settlement_by_network"),
        ("failed", status(Status::Failed, all()), "settlement_failed"),
        ("failed of a network", status(Status::Failed, by_network()), "settlement_failed_by_network"),
        ("unresolved", status(Status::Unresolved, all()), "settlement_unresolved"),
        ("unresolved of a network", status(Status::Unresolved, by_network()), "settlement_unresolved"),
        ("signed of a network", status(Status::Signed, by_network()), "settlement_open"),
        ("broadcast of a network", status(Status::Broadcast, by_network()), "settlement_open"),
        ("a tenant", Query { tenant: text(), ..all() }, "settlement_by_tenant"),
        ("a tenant on a network", Query { tenant: text(), ..by_network() }, "settlement_by_tenant_and_network"),
        ("a payer", Query { payer: text(), ..all() }, "settlement_by_payer"),
        ("a request", Query { request_id: text(), ..all() }, "settlement_by_request"),
        ("a payer's nonce on a network", Query { payer: text(), nonce: text(), ..by_network() }, "settlement_by_payer"),
    ];
    for (what, query, index) in cases {
        for query in [query.clone(), Query { before: Some(facts(1).id), ..query.clone() }] {
            let steps = plan(&mut connection, read::find_statement(&query).sql().as_str()).await;
            let first = &steps[0];
            assert!(first.split(' ').any(|word| word == index), "{what}: {steps:?}");
            let in_order = !steps.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(in_order || SMALL.contains(&index), "{what}: {steps:?}");
        }
    }
    let steps =
        plan(&mut connection, read::find_statement(&Query { transaction: text(), ..all() }).sql().as_str()).await;
    assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "a transaction: {steps:?}");
}
