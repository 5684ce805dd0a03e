//! One process owns a database, and it ends when it is told to.

use std::{fs, io::Write as _, time::Duration};

use e2e::{
    anvil::Anvil,
    eventually,
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::{Home, Stored, text_of},
    stranger::settle_without_blocks,
};
use sqlx::{Connection as _, Executor as _};

/// K17: the lock is on the file itself, whatever it is called.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_that_opens_the_database_through_a_link_is_refused() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Sqlite);
    let _service = home.serve().await;
    let folder = tempfile::tempdir().expect("a folder");
    let by_file = folder.path().join("linked.db");
    std::os::unix::fs::symlink(home.database(), &by_file).expect("linked");
    let by_folder = folder.path().join("linked");
    std::os::unix::fs::symlink(home.path(), &by_folder).expect("linked");
    for path in [by_file, by_folder.join("facilitator.db")] {
        let other =
            Home::on(&chain).stored_in(Stored::Sqlite).section("store", "url", format!("sqlite://{}", path.display()));
        let second = tokio::task::spawn_blocking(move || {
            let mut command = other.command(&["serve"]);
            let mut process = command.stderr(std::process::Stdio::piped()).spawn().expect("the binary starts");
            let ended = (0..400).any(|_| {
                std::thread::sleep(Duration::from_millis(50));
                process.try_wait().expect("a child").is_some()
            });
            if !ended {
                process.kill().expect("killed");
            }
            (ended, process.wait_with_output().expect("gone"))
        });
        let (ended, output) = second.await.expect("no panic");
        let text = text_of(&output);
        assert!(ended && !output.status.success() && text.contains("in use"), "{}: {text}", path.display());
    }
}

/// The time that a service manager gives, with some room: systemd's is 90 s, Kubernetes' 30 s.
const GRACE: Duration = Duration::from_secs(45);

/// K18: another process holds the store's lock while this one is told to stop.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_ends_though_the_store_cannot_be_written() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Sqlite).server("settle_wait", "1s");
    let mut service = home.serve().await;
    let under_way = Draft::default().v2();
    settle_without_blocks(&chain, &service, &under_way).await;
    let mut other = open(&home).await;
    other.execute("BEGIN IMMEDIATE").await.expect("the lock of the only writer");
    chain.node.resume_blocks().await;
    service.terminate();
    ends(&mut service).await;
    other.execute("ROLLBACK").await.expect("given back");
    let service = home.serve().await;
    assert!(service.decided(&under_way).await.is_good(), "{}", home.log());
    home.assert_audit();
}

/// K18: what is in the store is gone.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_ends_though_the_store_has_no_tables() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Sqlite).server("settle_wait", "1s");
    let mut service = home.serve().await;
    settle_without_blocks(&chain, &service, &Draft::default().v2()).await;
    let mut other = open(&home).await;
    other.execute("PRAGMA foreign_keys = OFF").await.expect("set");
    let tables = sqlx::query_scalar::<_, String>("SELECT name FROM sqlite_master WHERE type = 'table'");
    for table in tables.fetch_all(&mut other).await.expect("tables") {
        // SQLite keeps some of its own.
        drop(sqlx::query(sqlx::AssertSqlSafe(format!("DROP TABLE \"{table}\""))).execute(&mut other).await);
    }
    chain.node.resume_blocks().await;
    service.terminate();
    ends(&mut service).await;
}

async fn open(home: &Home) -> sqlx::SqliteConnection {
    let url = format!("sqlite://{}", home.database().display());
    sqlx::SqliteConnection::connect(&url).await.expect("opened")
}

/// K18: the disk gives something else than was written.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_ends_though_the_store_cannot_be_read() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Sqlite).server("settle_wait", "1s");
    let mut service = home.serve().await;
    settle_without_blocks(&chain, &service, &Draft::default().v2()).await;
    for name in ["facilitator.db", "facilitator.db-wal"] {
        let mut file = fs::OpenOptions::new().write(true).open(home.path().join(name)).expect("opened");
        file.write_all(&vec![0xff; 1 << 20]).expect("written");
    }
    chain.node.resume_blocks().await;
    service.terminate();
    ends(&mut service).await;
}

/// K18: no node answers while the process is told to stop.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_ends_though_no_node_answers() {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&proxy.url]).server("settle_wait", "1s").network("rpc_timeout", "4m");
    let mut service = home.serve().await;
    settle_without_blocks(&chain, &service, &Draft::default().v2()).await;
    let silent = proxy.requests();
    proxy.fail("*", Fault::Delay(Duration::from_mins(5)), Times::Always);
    eventually("a question has no answer", || async { (proxy.requests() > silent).then_some(()) }).await;
    service.terminate();
    ends(&mut service).await;
}

async fn ends(service: &mut e2e::service::Service) {
    let ended = async {
        loop {
            if let Some(code) = service.exit_code() {
                return code;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let code = tokio::time::timeout(GRACE, ended).await;
    assert!(code.is_ok(), "it runs on after {GRACE:?}");
}
