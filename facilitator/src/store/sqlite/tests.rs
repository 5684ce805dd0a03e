//! The store's contract over SQLite, and what only SQLite promises.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use chains_core::clock::Millis;
use futures::future::join_all;
use tempfile::TempDir;

use super::{
    SqliteStore,
    open::{self, MIGRATOR, Migrations, OpenError},
};
use crate::{
    settlement::record::Sent,
    store::{
        BeginError, Store, StoreError,
        contract::{Backend, network, payment, signed, store_contract},
    },
};

struct File(TempDir);

impl File {
    fn fresh() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("facilitator.db")
    }

    async fn sqlite(&self) -> SqliteStore {
        SqliteStore::open(&self.path(), Migrations::Apply).await.expect("opened")
    }

    /// What another program does to the file.
    async fn tamper(&self, sql: &'static str) {
        let mut connection = open::connect(&open::writing(&self.path())).await.expect("opened");
        sqlx::query(sql).execute(&mut connection).await.expect(sql);
    }
}

#[async_trait]
impl Backend for File {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.sqlite().await)
    }
}

store_contract!(File::fresh());

#[tokio::test]
async fn a_second_process_is_refused_and_told_what_to_do() {
    let file = File::fresh();
    let store = file.sqlite().await;
    let refused = SqliteStore::open(&file.path(), Migrations::Apply).await.expect_err("it is in use").to_string();
    let pid = std::process::id();
    for part in [&format!("process {pid} holds"), "facilitator.db.lock", "Stop the other process", "`store.url`"] {
        assert!(refused.contains(part), "{part:?} in {refused:?}");
    }
    let seen = open::inspect(&file.path()).await.expect("looked at");
    assert_eq!(seen.holder, Some(format!("process {pid}")));
    assert_eq!(seen.version, Some(seen.needed));
    store.close().await;
    assert_eq!(open::inspect(&file.path()).await.expect("looked at").holder, None);
    file.sqlite().await.close().await;
}

#[tokio::test]
async fn a_reader_beside_the_owner_sees_commits_and_writes_nothing() {
    let file = File::fresh();
    assert!(matches!(SqliteStore::open_to_read(&file.path()).await, Err(OpenError::Missing(_))));
    let store = file.sqlite().await;
    let reader = SqliteStore::open_to_read(&file.path()).await.expect("opened");
    let begun = payment(1, "w", 1);
    store.begin(vec![begun.clone()]).await.expect("begun");
    assert!(reader.timeline(begun.id).await.expect("read").is_some());
    let refused = reader.begin(vec![payment(2, "w", 2)]).await;
    assert!(matches!(refused, Err(BeginError::Store(StoreError::Closed))), "{refused:?}");
    store.close().await;
    assert!(reader.timeline(begun.id).await.expect("read").is_some());
    reader.close().await;
    let alone = SqliteStore::open_to_read(&file.path()).await.expect("opened without an owner");
    assert!(alone.timeline(begun.id).await.expect("read").is_some());
    alone.close().await;
}

#[tokio::test]
async fn the_timeline_shows_every_attempt() {
    let file = File::fresh();
    let store = file.sqlite().await;
    let begun = payment(1, "w", 1);
    store.begin(vec![begun.clone()]).await.expect("begun");
    file.tamper(
        "INSERT INTO attempt (transaction_id, slot, number, raw, gas_limit, fee_per_gas_max, tip_per_gas, created_at) \
         SELECT '0xbump', slot, 1, raw, gas_limit, '999', tip_per_gas, 2000 FROM attempt",
    )
    .await;
    let timeline = store.timeline(begun.id).await.expect("read").expect("stored");
    let names: Vec<_> = timeline.attempts.iter().map(|attempt| attempt.signed.transaction.as_str()).collect();
    assert_eq!(names, ["0xw1", "0xbump"], "oldest first");
    assert_eq!(timeline.record.transaction, "0xbump", "callers are told the newest");
    store.close().await;
}

#[tokio::test]
async fn settlements_of_one_transaction_share_its_slot() {
    let file = File::fresh();
    let store = file.sqlite().await;
    let batch = [payment(1, "w", 1), payment(2, "w", 1)];
    store.begin(batch.to_vec()).await.expect("begun");
    for item in &batch {
        let timeline = store.timeline(item.id).await.expect("read").expect("stored");
        assert_eq!(timeline.attempts.len(), 1);
        assert_eq!(timeline.attempts[0].signed, *signed(item));
    }
    store.close().await;
}

#[tokio::test]
async fn notes_are_written_soon_when_no_commit_comes_by() {
    let file = File::fresh();
    let store = file.sqlite().await;
    let begun = payment(1, "w", 1);
    store.begin(vec![begun.clone()]).await.expect("begun");
    let note = Sent {
        id: begun.id,
        transaction: signed(&begun).transaction.clone(),
        answer: "accepted",
        detail: String::new(),
        at: Millis(1),
    };
    store.note_sent(vec![note; 150]);
    let written = async {
        loop {
            let timeline = store.timeline(begun.id).await.expect("read").expect("stored");
            if timeline.attempts[0].sends_total == 150 {
                break timeline;
            }
            tokio::task::yield_now().await;
        }
    };
    let timeline = tokio::time::timeout(Duration::from_secs(10), written).await.expect("within the wait");
    assert_eq!(timeline.attempts[0].sends.len(), 150, "a burst is kept whole");
    store.note_sent(timeline_note(&begun));
    store.check().await.expect("a commit that takes the note along");
    let timeline = store.timeline(begun.id).await.expect("read").expect("stored");
    assert_eq!((timeline.attempts[0].sends.len(), timeline.attempts[0].sends_total), (150, 151), "then only counted");
    store.close().await;
}

fn timeline_note(begun: &crate::settlement::record::NewSettlement) -> Vec<Sent> {
    let transaction = signed(begun).transaction.clone();
    vec![Sent { id: begun.id, transaction, answer: "accepted", detail: String::new(), at: Millis(2) }]
}

#[tokio::test]
async fn after_a_failure_everybody_is_told_and_the_next_commit_works() {
    let file = File::fresh();
    let store = file.sqlite().await;
    file.tamper("CREATE TRIGGER broken BEFORE INSERT ON slot BEGIN SELECT raise(ABORT, 'no disk'); END").await;
    let requests: Vec<_> = (0..8).map(|n| payment(n, "w", n)).collect();
    for result in join_all(requests.iter().map(|request| store.begin(vec![request.clone()]))).await {
        let Err(BeginError::Store(error)) = result else { panic!("{result:?}") };
        assert!(error.to_string().contains("no disk"), "{error}");
    }
    file.tamper("DROP TRIGGER broken").await;
    assert!(store.live(&network()).await.expect("read").is_empty(), "nothing of a failed commit is left");
    store.begin(requests).await.expect("begun");
    store.close().await;
}

#[tokio::test]
async fn a_row_that_this_program_never_writes_is_named() {
    let file = File::fresh();
    let store = file.sqlite().await;
    let begun = payment(1, "w", 1);
    store.begin(vec![begun.clone()]).await.expect("begun");
    file.tamper("UPDATE settlement SET amount = '01'").await;
    let error = store.timeline(begun.id).await.expect_err("no amount").to_string();
    let row = hex::encode(begun.id.0.as_bytes());
    assert_eq!(error, format!("row {row} of settlement cannot be read: amount is not what this program writes"));
    store.close().await;
}

#[tokio::test]
async fn a_sequence_beyond_the_column_is_refused() {
    let file = File::fresh();
    let store = file.sqlite().await;
    let refused = store.begin(vec![payment(1, "w", u64::MAX)]).await;
    assert!(matches!(refused, Err(BeginError::Store(StoreError::TooLarge { .. }))), "{refused:?}");
    store.close().await;
}

#[tokio::test]
async fn commits_are_on_the_disk_before_they_are_answered() {
    let file = File::fresh();
    let mut connection = open::connect(&open::writing(&file.path())).await.expect("opened");
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut connection).await.expect("read");
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.expect("read");
    assert_eq!((synchronous, journal.as_str()), (2, "wal"), "2 is FULL");
}

#[tokio::test]
async fn a_schema_of_another_release_is_refused_with_the_way_out() {
    let file = File::fresh();
    let old = SqliteStore::open(&file.path(), Migrations::Require).await.expect_err("no schema yet").to_string();
    assert!(old.contains("Run `facilitator migrate`"), "{old}");
    assert_eq!(open::migrate_file(&file.path()).await.expect("migrated").0, 0);
    SqliteStore::open(&file.path(), Migrations::Require).await.expect("current").close().await;
    file.tamper(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, x'00', 0)",
    )
    .await;
    let new = SqliteStore::open(&file.path(), Migrations::Apply).await.expect_err("too new").to_string();
    assert!(new.contains("a newer release has used this database"), "{new}");
    let new = SqliteStore::open_to_read(&file.path()).await.expect_err("too new").to_string();
    assert!(new.contains("9999"), "{new}");
}

#[test]
fn every_migration_file_is_compiled_in() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/sqlite")).expect("there");
    assert_eq!(files.count(), MIGRATOR.iter().count(), "touch store/sqlite/open.rs: cargo has not seen a new file");
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let file = File::fresh();
    let path = file.0.path().join("missing").join("facilitator.db");
    let error = SqliteStore::open(&path, Migrations::Apply).await.expect_err("no directory").to_string();
    assert!(error.contains("missing/facilitator.db.lock") && error.contains("`store.url`"), "{error}");
}
