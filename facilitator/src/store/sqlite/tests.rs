//! The store's contract over SQLite, and what only SQLite promises.

mod files;
mod plans;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use chains_core::clock::Millis;
use futures::future::join_all;
use tempfile::TempDir;

use super::open;
use crate::store::{
    ApplyError, Store,
    connect::{Access, Location, connect},
    contract::{Backend, build::*, store_contract},
    schema::Migrations,
    sql::SqlStore,
};

struct File(TempDir);

impl File {
    fn fresh() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("facilitator.db")
    }

    async fn connect(&self, access: Access) -> Arc<dyn Store> {
        connect(&Location::Sqlite(self.path()), access).await.expect("opened")
    }

    async fn sqlite(&self) -> SqlStore {
        super::own(&self.path(), Migrations::Apply).await.expect("opened")
    }

    /// Does what another program may do to the file.
    async fn tamper(&self, sql: &'static str) {
        let mut connection = open::connect(&open::writing(&self.path())).await.expect("opened");
        sqlx::query(sql).execute(&mut connection).await.expect(sql);
    }
}

#[async_trait]
impl Backend for File {
    async fn open(&self) -> Arc<dyn Store> {
        self.connect(Access::Own(Migrations::Apply)).await
    }

    async fn read(&self) -> Arc<dyn Store> {
        self.connect(Access::Read).await
    }

    async fn operate(&self) -> Arc<dyn Store> {
        self.connect(Access::Operate).await
    }
}

store_contract!(File::fresh());

#[tokio::test]
async fn notes_are_written_soon_when_no_commit_comes_by() {
    let file = File::fresh();
    let store = owned(&file).await;
    let [one] = begun(&*store).await;
    store.note_sent(vec![one.sent("accepted", 1); 150]);
    let written = async {
        loop {
            let sends = timeline(&*store, one.id()).await.transactions.remove(0).1.remove(0);
            if sends.count == 150 {
                break sends;
            }
            tokio::task::yield_now().await;
        }
    };
    let sends = tokio::time::timeout(Duration::from_secs(10), written).await.expect("within the wait");
    assert_eq!(sends.answers.len(), 150, "a burst is kept whole");
    store.note_sent(vec![one.sent("accepted", 2)]);
    flush(&*store).await;
    let sends = timeline(&*store, one.id()).await.transactions.remove(0).1.remove(0);
    assert_eq!((sends.answers.len(), sends.count), (150, 151), "then only counted");
    store.close().await;
}

#[tokio::test]
async fn after_a_failure_everybody_is_told_and_the_next_commit_works() {
    let file = File::fresh();
    let store = owned(&file).await;
    file.tamper("CREATE TRIGGER broken BEFORE INSERT ON attempt BEGIN SELECT raise(ABORT, 'no disk'); END").await;
    let requests: Vec<_> = (0..8).map(|number| begun_as(facts(number), number)).collect();
    for result in join_all(requests.iter().map(|one| store.apply(one.begin(), AT))).await {
        let Err(ApplyError::Store(error)) = result else { panic!("{result:?}") };
        assert!(error.to_string().contains("no disk"), "{error}");
    }
    file.tamper("DROP TRIGGER broken").await;
    assert_eq!(store.open_settlements(&network()).await.expect("read"), [], "nothing of a failed commit is left");
    apply(&*store, requests.iter().flat_map(Begun::begin).collect()).await;
    store.close().await;
}

#[tokio::test]
async fn a_check_writes_nothing() {
    let file = File::fresh();
    let store = owned(&file).await;
    let log = file.0.path().join("facilitator.db-wal");
    let before = std::fs::metadata(&log).expect("a log").len();
    for _ in 0..50 {
        store.check().await.expect("it answers");
    }
    assert_eq!(std::fs::metadata(&log).expect("a log").len(), before);
    store.close().await;
}

#[tokio::test]
async fn a_row_that_this_program_never_writes_is_named() {
    let cases = [
        ("UPDATE settlement SET amount = '01'", "settlement", "amount"),
        ("UPDATE settlement SET claimed_block = -1", "settlement", "claimed_block"),
        ("UPDATE settlement SET final_block_number = 1", "settlement", "final_block_hash"),
        ("UPDATE wallet_transaction SET state = 'included'", "wallet_transaction", "state"),
        ("UPDATE attempt SET fee_amount_max = '-1'", "attempt", "fee_amount_max"),
    ];
    for (sql, table, column) in cases {
        let file = File::fresh();
        let store = owned(&file).await;
        let [one] = begun(&*store).await;
        file.tamper(sql).await;
        let error = store.timeline(one.id()).await.expect_err(sql).to_string();
        let row = match table {
            "settlement" => hex::encode(one.id().0.as_bytes()),
            "attempt" => one.hash().to_owned(),
            _ => hex::encode(one.transaction.id.0.as_bytes()),
        };
        let expected = format!("row {row} of {table} cannot be read: {column} is not what this program writes");
        assert_eq!(error, expected, "{sql}");
        store.close().await;
    }
}

#[tokio::test]
async fn commits_are_on_the_disk_before_they_are_answered() {
    let file = File::fresh();
    open::create(&file.path()).expect("made");
    let mut connection = open::connect(&open::writing(&file.path())).await.expect("opened");
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut connection).await.expect("read");
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.expect("read");
    assert_eq!((synchronous, journal.as_str()), (2, "wal"), "2 is FULL");
}

/// More rows than one statement takes.
#[tokio::test]
async fn a_call_may_have_more_changes_than_a_statement_takes_rows() {
    let file = File::fresh();
    let store = owned(&file).await;
    let payments: Vec<_> = (0..600).map(|number| begun_as(facts(number), number)).collect();
    apply(&*store, payments.iter().flat_map(Begun::begin).collect()).await;
    let ends = payments.iter().flat_map(|one| [one.include(), one.settle()]);
    assert_eq!(store.apply(ends.collect(), Millis(6_000)).await.expect("applied").len(), 600);
    let finalities = payments.iter().map(|one| crate::store::Change::Finalize { id: one.id(), transfer: None });
    store.apply(finalities.collect(), Millis(7_000)).await.expect("applied");
    assert_eq!(store.due_for_finality(&network(), u64::MAX, 1_000).await.expect("read"), []);
    assert_eq!(store.transactions_at(&network(), "w", 0..600).await.expect("read").len(), 256, "the first of many");
    store.close().await;
}
