//! Guarantees about files: one owner, links, modes, versions of the schema.

use std::{
    collections::BTreeSet,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use super::*;
use crate::store::{
    postgres,
    sqlite::{
        self,
        open::{MIGRATOR, OpenError},
    },
};

#[tokio::test]
async fn a_second_process_is_refused_and_told_what_to_do() {
    let file = File::fresh();
    let store = file.sqlite().await;
    let refused = sqlite::own(&file.path(), Migrations::Apply).await.expect_err("it is in use").to_string();
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

/// Every way to one file is one lock, whether the file is there already or not.
#[tokio::test]
async fn a_link_to_a_database_is_that_database() {
    for there in [true, false] {
        let file = File::fresh();
        if there {
            file.sqlite().await.close().await;
        }
        let at = |name: &str| file.0.path().join(name);
        std::fs::create_dir(at("folder")).expect("made");
        symlink(file.0.path(), at("folder/up")).expect("linked");
        symlink(file.path(), at("absolute.db")).expect("linked");
        symlink("facilitator.db", at("relative.db")).expect("linked");
        symlink("../relative.db", at("folder/chain.db")).expect("linked");
        let paths =
            ["absolute.db", "relative.db", "folder/chain.db", "folder/up/facilitator.db", "folder/../absolute.db"];
        for path in paths {
            let first = sqlite::own(&at(path), Migrations::Apply).await.expect(path);
            for other in paths.into_iter().chain(["facilitator.db"]) {
                let refused = sqlite::own(&at(other), Migrations::Apply).await;
                assert!(matches!(refused, Err(OpenError::Locked { .. })), "{path}, then {other}: {refused:?}");
                assert!(open::inspect(&at(other)).await.expect(other).holder.is_some(), "{path}, then {other}");
            }
            first.close().await;
            assert!(std::fs::symlink_metadata(file.path()).expect("made").is_file(), "{path}");
        }
    }
}

#[tokio::test]
async fn a_circle_of_links_is_refused() {
    let file = File::fresh();
    symlink("facilitator.db", file.path()).expect("linked");
    let refused = sqlite::own(&file.path(), Migrations::Apply).await;
    assert!(matches!(refused, Err(OpenError::File { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_is_stored_is_for_this_user_alone() {
    let file = File::fresh();
    let store = owned(&file).await;
    begun::<1>(&*store).await;
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(file.0.path()).expect("read") {
        let entry = entry.expect("read");
        let name = entry.file_name().into_string().expect("a name");
        assert_eq!(entry.metadata().expect("read").permissions().mode() & 0o777, 0o600, "{name}");
        seen.push(name);
    }
    seen.sort();
    assert_eq!(seen, ["facilitator.db", "facilitator.db-shm", "facilitator.db-wal", "facilitator.db.lock"]);
    store.close().await;
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made_by_whoever_only_reads() {
    let file = File::fresh();
    assert!(matches!(sqlite::read(&file.path()).await, Err(OpenError::Missing(_))));
    assert!(!file.path().exists());
}

#[tokio::test]
async fn a_schema_of_another_release_is_refused_with_the_way_out() {
    let file = File::fresh();
    let old = sqlite::own(&file.path(), Migrations::Require).await.expect_err("no schema yet").to_string();
    assert!(old.contains("Run `facilitator migrate`"), "{old}");
    assert_eq!(open::migrate_file(&file.path()).await.expect("migrated").0, 0);
    sqlite::own(&file.path(), Migrations::Require).await.expect("current").close().await;
    file.tamper(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, x'00', 0)",
    )
    .await;
    let new = sqlite::own(&file.path(), Migrations::Apply).await.expect_err("too new").to_string();
    assert!(new.contains("a newer release has used this database"), "{new}");
    for refused in [sqlite::read(&file.path()).await, sqlite::operate(&file.path()).await] {
        assert!(refused.expect_err("too new").to_string().contains("9999"));
    }
}

#[test]
fn every_migration_file_is_compiled_in() {
    for (folder, migrator) in [("sqlite", &MIGRATOR), ("postgres", &postgres::open::MIGRATOR)] {
        let files = std::fs::read_dir(format!("{}/../migrations/{folder}", env!("CARGO_MANIFEST_DIR"))).expect("there");
        let files = files.map(|file| file.expect("an entry").file_name().into_string().expect("a name"));
        let compiled = migrator.iter().map(|one| format!("{:04}_{}.sql", one.version, one.description));
        assert_eq!(files.collect::<BTreeSet<_>>(), compiled.collect(), "{folder}: store/{folder}/open.rs names each");
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let file = File::fresh();
    let path = file.0.path().join("missing").join("facilitator.db");
    let error = sqlite::own(&path, Migrations::Apply).await.expect_err("no directory").to_string();
    assert!(error.contains("missing/facilitator.db") && error.contains("`store.url`"), "{error}");
    assert_eq!(open::inspect(&path).await.expect("looked at").version, None);
}
