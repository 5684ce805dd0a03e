//! Look-ups use indexes, so that they cost the same whatever the table's size.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::*;
use crate::{
    settlement::{SettlementId, Status},
    store::{
        Query,
        archive::{ArchivedName, Bounds},
        sql::{admit, archive, read, statement::Dialect::Sqlite},
    },
};

/// Indexes over so few rows that they may be sorted.
const SMALL: [&str; 3] = ["settlement_open", "settlement_unresolved", "settlement_by_nonce"];

/// The database's plan for a statement, one line for each step: those of the
/// statement itself, and those of its subqueries.
async fn plan(connection: &mut SqliteConnection, sql: &str) -> (Vec<String>, Vec<String>) {
    let explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
    let rows = explain.fetch_all(connection).await.expect(sql);
    let detail = |row: &sqlx::sqlite::SqliteRow| row.get("detail");
    let (outer, inner): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.get::<i64, _>("parent") == 0);
    (outer.into_iter().map(detail).collect(), inner.into_iter().map(detail).collect())
}

/// The first step that reads a table or an index from its beginning, if it is
/// not one of the statement's own rows.
async fn scan(connection: &mut SqliteConnection, sql: &str) -> Option<String> {
    let (outer, inner) = plan(connection, sql).await;
    let own = |step: &String| step.starts_with("SCAN CONSTANT") || step.ends_with("CONSTANT ROWS");
    outer.into_iter().chain(inner).find(|step| step.starts_with("SCAN") && !own(step))
}

async fn empty() -> (File, SqliteConnection) {
    let file = File::fresh();
    file.sqlite().await.close().await;
    let connection = open::connect(&open::writing(&file.path())).await.expect("opened");
    (file, connection)
}

#[tokio::test]
async fn each_list_is_read_by_an_index_of_its_own() {
    let (_file, mut connection) = empty().await;
    let text = || Some("x".to_owned());
    let all = || Query { limit: 10, ..Query::default() };
    let by_network = || Query { network: Some(network()), ..all() };
    let status = |status, query| Query { status: Some(status), ..query };
    let cases = [
        ("everything", all(), "settlement_by_time"),
        ("a network", by_network(), "settlement_by_network"),
        ("settled", status(Status::Settled, all()), "settlement_by_time"),
        (
            "failed of a tenant",
            Query { tenant: text(), ..status(Status::Failed, all()) },
            "settlement_failed_by_tenant",
        ),
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
        (
            "unresolved of a payer",
            Query { payer: text(), ..status(Status::Unresolved, all()) },
            "settlement_unresolved",
        ),
        ("a payer's nonce on a network", Query { payer: text(), nonce: text(), ..by_network() }, "settlement_by_nonce"),
        ("a nonce", Query { nonce: text(), ..all() }, "settlement_by_nonce"),
        ("a nonce on a network", Query { nonce: text(), ..by_network() }, "settlement_by_nonce"),
        ("a nonce, settled", Query { nonce: text(), ..status(Status::Settled, all()) }, "settlement_by_nonce"),
        ("a request", Query { request_id: text(), ..all() }, "settlement_by_request"),
    ];
    for (what, query, index) in cases {
        for query in [query.clone(), Query { before: Some(facts(1).id), ..query.clone() }] {
            let (steps, _) = plan(&mut connection, read::find_statement(Sqlite, &query).sql()).await;
            let first = &steps[0];
            assert!(first.split(' ').any(|word| word == index), "{what}: {steps:?}");
            let in_order = !steps.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(in_order || SMALL.contains(&index), "{what}: {steps:?}");
        }
    }
}

/// Steps that read an index or a table from its beginning, and may: lists of
/// everything stop at their page, open and unresolved settlements are few,
/// and so are gas wallets, archives and the rows of the statement itself.
const MAY_SCAN: [&str; 6] = [
    "SCAN s USING INDEX settlement_by_time",
    "SCAN s USING INDEX settlement_failed",
    "SCAN s USING INDEX settlement_open",
    "SCAN s USING INDEX settlement_unresolved",
    "SCAN asked",
    "SCAN r",
];

/// Every combination of the filters of `GET /settlements` and of the commands.
fn queries() -> Vec<Query> {
    let text = || Some("x".to_owned());
    let flag = |bits: u32, bit: u32| bits & (1 << bit) != 0;
    let statuses = [None].into_iter().chain(Status::ALL.map(Some));
    let all = statuses.flat_map(|status| {
        (0..256_u32).map(move |bits| Query {
            transaction: flag(bits, 0).then(text).flatten(),
            network: flag(bits, 1).then(network),
            payer: flag(bits, 2).then(text).flatten(),
            nonce: flag(bits, 3).then(text).flatten(),
            from: flag(bits, 4).then_some(Millis(1)),
            tenant: flag(bits, 5).then(text).flatten(),
            before: flag(bits, 6).then(SettlementId::fresh),
            request_id: flag(bits, 7).then(text).flatten(),
            status,
            limit: 10,
        })
    });
    all.collect()
}

/// With 300,000 rows in the table as with ten.
#[tokio::test]
async fn no_look_up_reads_a_table_that_grows_from_end_to_end() {
    let (_file, mut connection) = empty().await;
    for query in queries() {
        let whole = scan(&mut connection, read::find_statement(Sqlite, &query).sql()).await;
        let in_order =
            [&query.transaction, &query.payer, &query.nonce, &query.tenant].iter().all(|text| text.is_none())
                && query.network.is_none();
        let few = query.status.is_some_and(|status| !matches!(status, Status::Settled | Status::Failed));
        let may = whole.as_deref().is_none_or(|step| (in_order || few) && MAY_SCAN.contains(&step));
        assert!(may, "{query:?}: {whole:?}");
    }
    let facts = facts(1);
    let (bounds, after) = (Bounds { settled_before: AT, failed_before: AT }, Some((AT, facts.id)));
    let network = network();
    let mut statements = read::queries(Sqlite, &network);
    statements.extend([
        archive::statement(Sqlite, ArchivedName::Id(facts.id)),
        archive::statement(Sqlite, ArchivedName::Identity(&facts.identity)),
        archive::choose_statement(Sqlite, bounds, None, 64),
        archive::choose_statement(Sqlite, bounds, after, 64),
        admit::identities(Sqlite, &[&facts]),
    ]);
    for statement in statements {
        let sql = statement.sql();
        let whole = scan(&mut connection, sql).await;
        assert!(whole.as_deref().is_none_or(|step| MAY_SCAN.contains(&step)), "{sql}: {whole:?}");
    }
}
