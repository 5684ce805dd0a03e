//! Look-ups can use indexes, so that they cost the same whatever the table's size.

use std::collections::BTreeSet;

use chains_core::clock::Millis;
use sqlx::AssertSqlSafe;

use super::*;
use crate::{
    settlement::{SettlementId, Status},
    store::{
        Query,
        archive::{ArchivedName, Bounds},
        postgres::open,
        sql::{
            admit, archive, read,
            statement::{Dialect::Postgres as Dialect, Statement},
        },
    },
};

/// Tables that are few rows, or read whole on purpose.
const SMALL: [&str; 3] = ["archive r", "wallet_owner o", "archived_nonces r"];

/// Tables that the server reads from their beginning though it may use any index.
async fn whole(session: &mut PgConnection, statement: &Statement<'_>) -> Vec<String> {
    let sql = statement.sql();
    let parameters: BTreeSet<u32> = sql.split('$').skip(1).filter_map(number).collect();
    let nulls = vec!["NULL"; parameters.len()].join(", ");
    let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let explain = format!("DEALLOCATE ALL; PREPARE asked AS {sql}; EXPLAIN (COSTS OFF) EXECUTE asked{arguments}");
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(session).await.expect(sql);
    let steps = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, 0));
    let scans = steps.filter_map(|step| step.split_once("Seq Scan on ").map(|(_, table)| table.to_owned()));
    scans.filter(|table| !SMALL.contains(&table.as_str())).collect()
}

/// The number at the beginning of a text.
fn number(text: &str) -> Option<u32> {
    text.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Every list by one filter, and by two.
fn queries() -> Vec<Query> {
    let text = || Some("x".to_owned());
    let flag = |bits: u32, bit: u32| bits & (1 << bit) != 0;
    let statuses = [None].into_iter().chain(Status::ALL.map(Some));
    let all = statuses.flat_map(|status| {
        (0..256_u32).filter(|bits| bits.count_ones() <= 2).map(move |bits| Query {
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

#[tokio::test]
async fn no_look_up_must_read_a_table_that_grows_from_end_to_end() {
    let server = Server::fresh();
    open::migrate(&server.place()).await.expect("migrated");
    let mut session = server.session().await;
    sqlx::raw_sql("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
        .execute(&mut session)
        .await
        .expect("set");
    let (network, facts) = (network(), facts(1));
    let (bounds, after) = (Bounds { settled_before: AT, failed_before: AT }, Some((AT, facts.id)));
    let mut statements = read::queries(Dialect, &network);
    statements.extend([
        archive::statement(Dialect, ArchivedName::Id(facts.id)),
        archive::statement(Dialect, ArchivedName::Identity(&facts.identity)),
        archive::choose_statement(Dialect, bounds, None, 64),
        archive::choose_statement(Dialect, bounds, after, 64),
        admit::identities(Dialect, &[&facts]),
    ]);
    let lists = queries();
    statements.extend(lists.iter().map(|query| read::find_statement(Dialect, query)));
    assert!(statements.len() > 200, "{}", statements.len());
    for statement in &statements {
        let whole = whole(&mut session, statement).await;
        assert!(whole.is_empty(), "{whole:?}: {}", statement.sql());
    }
}
