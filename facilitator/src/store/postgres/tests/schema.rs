//! The tables of both databases are the same.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Row as _, SqliteConnection, migrate::Migrator};

use super::*;
use crate::store::{postgres, sqlite};

/// A column: its type as SQLite spells it, and whether it may be NULL.
type Columns = BTreeMap<(String, String), (String, bool)>;

/// A unique index: its table, its columns in order, and whether it holds for some rows only.
type Uniques = BTreeSet<(String, Vec<String>, bool)>;

#[test]
fn the_migrations_have_the_same_numbers_and_names() {
    let names = |migrator: &Migrator| -> Vec<_> {
        migrator.iter().map(|migration| (migration.version, migration.description.to_string())).collect()
    };
    assert_eq!(names(&postgres::open::MIGRATOR), names(&sqlite::open::MIGRATOR));
}

#[tokio::test]
async fn migrations_agree() {
    let server = Server::fresh();
    postgres::open::migrate(&server.place()).await.expect("migrated");
    let mut session = server.session().await;
    let mut file = SqliteConnection::connect("sqlite::memory:").await.expect("opened");
    sqlite::open::MIGRATOR.run_direct(None, &mut file, false).await.expect("migrated");
    assert_eq!(columns_of_postgres(&mut session).await, columns_of_sqlite(&mut file).await);
    assert_eq!(uniques_of_postgres(&mut session).await, uniques_of_sqlite(&mut file).await);
    assert_eq!(indexes_of_postgres(&mut session).await, indexes_of_sqlite(&mut file).await);
}

async fn columns_of_postgres(session: &mut PgConnection) -> Columns {
    let columns = "SELECT c.table_name::text, c.column_name::text, c.data_type::text, c.is_nullable = 'YES' \
         FROM information_schema.columns c WHERE c.table_schema = current_schema()";
    let rows = sqlx::query_as::<_, (String, String, String, bool)>(columns).fetch_all(session).await.expect("read");
    let ours = rows.into_iter().filter(|(table, ..)| table != "_sqlx_migrations");
    let column = |(table, column, of, nullable): (_, _, String, _)| {
        let of = match of.as_str() {
            "bytea" | "uuid" => "BLOB",
            "bigint" | "boolean" => "INTEGER",
            "text" => "TEXT",
            other => panic!("{other} has no counterpart"),
        };
        ((table, column), (of.to_owned(), nullable))
    };
    ours.map(column).collect()
}

async fn columns_of_sqlite(file: &mut SqliteConnection) -> Columns {
    let columns = "SELECT m.name, c.name, c.type, c.\"notnull\" = 0 AND c.pk = 0 FROM sqlite_master m \
         JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name <> '_sqlx_migrations'";
    let rows = sqlx::query_as::<_, (String, String, String, bool)>(columns).fetch_all(file).await.expect("read");
    rows.into_iter().map(|(table, column, of, nullable)| ((table, column), (of, nullable))).collect()
}

async fn uniques_of_postgres(session: &mut PgConnection) -> Uniques {
    let uniques = "SELECT t.relname::text, array(SELECT a.attname::text FROM unnest(x.indkey) WITH ORDINALITY k (number, place) \
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number ORDER BY k.place), x.indpred IS NOT NULL \
         FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid \
         WHERE x.indisunique AND t.relnamespace = current_schema()::regnamespace AND t.relname <> '_sqlx_migrations'";
    sqlx::query_as(uniques).fetch_all(session).await.expect("read").into_iter().collect()
}

async fn uniques_of_sqlite(file: &mut SqliteConnection) -> Uniques {
    let uniques = "SELECT m.name, x.name, x.partial FROM sqlite_master m JOIN pragma_index_list(m.name) x \
         WHERE m.type = 'table' AND x.\"unique\" AND m.name <> '_sqlx_migrations'";
    let rows = sqlx::query_as::<_, (String, String, bool)>(uniques).fetch_all(&mut *file).await.expect("read");
    let mut found = Uniques::new();
    for (table, index, partial) in rows {
        let columns = sqlx::query("SELECT c.name FROM pragma_index_info(?) c ORDER BY c.seqno").bind(index);
        let columns = columns.fetch_all(&mut *file).await.expect("read");
        found.insert((table, columns.iter().map(|row| row.get(0)).collect(), partial));
    }
    // The key of a table with row numbers, which is no index there.
    let keys = "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND c.pk = 1 AND c.type = 'INTEGER' AND m.name <> '_sqlx_migrations'";
    let keys = sqlx::query_as::<_, (String, String)>(keys).fetch_all(file).await.expect("read");
    found.extend(keys.into_iter().map(|(table, column)| (table, vec![column], false)));
    found
}

async fn indexes_of_postgres(session: &mut PgConnection) -> BTreeSet<String> {
    let indexes = "SELECT i.indexname::text FROM pg_indexes i WHERE i.schemaname = current_schema() \
         AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conname = i.indexname)";
    sqlx::query_scalar(indexes).fetch_all(session).await.expect("read").into_iter().collect()
}

/// Those that a migration names.
async fn indexes_of_sqlite(file: &mut SqliteConnection) -> BTreeSet<String> {
    let indexes = "SELECT m.name FROM sqlite_master m WHERE m.type = 'index' AND m.sql IS NOT NULL";
    sqlx::query_scalar(indexes).fetch_all(file).await.expect("read").into_iter().collect()
}
