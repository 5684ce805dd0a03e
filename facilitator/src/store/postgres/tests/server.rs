//! Guarantees about servers: refusals that say what to do, one owner, servers
//! that go away.

use std::time::Duration;

use super::*;
use crate::{
    settlement::{State, Transaction},
    store::{
        ApplyError, Change, StoreError,
        postgres::{ANSWER_MAX, open, terms},
    },
};

/// The words of a refusal.
pub(super) async fn refused(url: &str, access: Access) -> String {
    let location = Location::of(url).expect("a URL");
    connect(&location, access).await.err().map(|error| error.to_string()).unwrap_or_default()
}

pub(super) const OWN: Access = Access::Own(Migrations::Require);

#[tokio::test]
async fn each_reason_why_a_database_cannot_be_opened_is_told_apart() {
    let server = Server::fresh();
    let url = server.0.url("postgres");
    let old = refused(&url, OWN).await;
    assert!(old.contains("version 0") && old.contains("facilitator migrate"), "{old}");
    assert_eq!(open::migrate(&server.place()).await.expect("migrated").0, 0);
    server.connect(OWN).await.expect("current").close().await;
    let missing = refused(&server.0.url("nothing"), OWN).await;
    assert!(missing.contains("does not exist") && missing.contains("createdb"), "{missing}");
    let nobody = refused(&url.replace("user=postgres", "user=canary&password=hunter2"), OWN).await;
    assert!(nobody.contains("does not let this user in") && nobody.contains("store.password_file"), "{nobody}");
    assert!(!nobody.contains("hunter2"), "{nobody}");
    server.tamper("ALTER ROLE postgres SET synchronous_commit = off");
    let loose = refused(&url, OWN).await;
    assert!(loose.contains("synchronous_commit"), "{loose}");
    server.tamper("ALTER ROLE postgres RESET synchronous_commit");
    server.tamper(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, '', 0)",
    );
    for access in [OWN, Access::Own(Migrations::Apply), Access::Read, Access::Operate] {
        let new = refused(&url, access).await;
        assert!(new.contains("9999") && new.contains("a newer release has used this database"), "{access:?}: {new}");
    }
    server.0.stop();
    let gone = refused(&url, OWN).await;
    assert!(gone.contains("cannot reach PostgreSQL") && gone.contains("`store.url`"), "{gone}");
}

/// Passwords are asked for, as a server on a network does.
#[tokio::test]
async fn a_wrong_password_is_told_apart_from_a_server_that_is_gone() {
    let server = Server::fresh();
    server.tamper(
        "CREATE ROLE payer LOGIN PASSWORD 'right'; ALTER SCHEMA public OWNER TO payer; \
         COPY (SELECT 'local all payer scram-sha-256' UNION ALL SELECT 'local all all trust') TO PROGRAM \
         'cat > pg_hba.conf'; SELECT pg_reload_conf()",
    );
    let url = server.0.url("postgres").replace("user=postgres", "user=payer&password=wrong");
    let place = Place::new(&Secret::new(url)).expect("a URL");
    let wrong = loop {
        // Until the server has read its rules again.
        match open::inspect(&place).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error.to_string(),
        }
    };
    assert!(wrong.contains("does not let this user in") && wrong.contains("password"), "{wrong}");
    let place = place.with_password(&Secret::new("right".into()));
    connect(&Location::Postgres(Box::new(place)), Access::Own(Migrations::Apply)).await.expect("opened").close().await;
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_has_lost_nothing() {
    let server = Server::fresh();
    let store = owned(&server).await;
    let [one] = begun(&*store).await;
    server.0.stop();
    let two = begun_as(facts(2), 2);
    let gone = store.apply(two.begin(), AT).await;
    assert!(matches!(gone, Err(ApplyError::Store(_))), "{gone:?}");
    assert!(store.check().await.is_err(), "it says so");
    assert!(store.by_identity(&one.facts.identity).await.is_err());
    server.0.go_on();
    store.check().await.expect("it answers again, without having been written to");
    apply(&*store, two.begin()).await;
    for payment in [&one, &two] {
        assert_eq!(timeline(&*store, payment.id()).await.transactions.len(), 1);
    }
    store.close().await;
}

/// A standby that is promoted may lack what its primary had committed.
#[tokio::test]
async fn a_server_with_another_history_is_written_to_by_no_process_that_knew_the_old_one() {
    let server = Server::fresh();
    let store = owned(&server).await;
    let [one] = begun(&*store).await;
    server.0.become_standby();
    let two = begun_as(facts(2), 2);
    // The connection is gone, and then the server takes no writes.
    for _ in 0..2 {
        let refused = store.apply(two.begin(), AT).await;
        assert!(matches!(refused, Err(ApplyError::Store(_))), "{refused:?}");
    }
    let standby = refused(&server.0.url("postgres"), OWN).await;
    assert!(standby.contains("is a standby") && standby.contains("the primary"), "{standby}");
    server.tamper("SELECT pg_promote()");
    assert!(matches!(store.check().await, Err(StoreError::OtherHistory)), "it has lost what it knew");
    assert!(matches!(store.apply(two.begin(), AT).await, Err(ApplyError::Store(StoreError::OtherHistory))));
    store.close().await;
    let again = server.open().await;
    assert!(again.record(one.id()).await.expect("read").is_some());
    again.close().await;
}

/// Connections are open, and nobody answers.
#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let server = Server::fresh();
    let store = owned(&server).await;
    let [one] = begun(&*store).await;
    server.0.freeze();
    let two = begun_as(facts(2), 2);
    let waited = tokio::time::timeout(Duration::from_secs(20), store.apply(two.begin(), AT)).await.expect("in time");
    assert!(matches!(waited, Err(ApplyError::Store(StoreError::NoAnswer))), "{waited:?}");
    server.0.wake();
    let epoch = loop {
        match store.raise_epoch(&network(), "w", "the test").await {
            Ok(epoch) => break epoch.expect("still ours"),
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(epoch, 2);
    // Stored or not: known for good once the epoch is raised.
    let stored = store.record(two.id()).await.expect("read").is_some();
    let again = Change::Carry(Transaction { epoch, ..two.transaction.clone() });
    let begun = store.apply(vec![claim(&two.facts), again], AT).await;
    assert_eq!(begun.is_err(), stored, "{begun:?}");
    assert!(store.record(one.id()).await.expect("read").is_some());
    store.close().await;
}

/// A process that was stopped there keeps no row locked.
#[tokio::test]
async fn a_session_that_says_nothing_in_the_middle_of_a_commit_is_ended() {
    let server = Server::fresh();
    let mut connection = server.place().direct(terms(ANSWER_MAX)).connect().await.expect("connected");
    let mut session = connection.session();
    session.begin().await.expect("begun");
    session.command("SELECT 1").await.expect("answered");
    let sessions = "SELECT count(*) FROM pg_stat_activity a WHERE a.state = 'idle in transaction'";
    let mut watcher = server.session().await;
    let ended = async {
        while sqlx::query_scalar::<_, i64>(sessions).fetch_one(&mut watcher).await.expect("read") > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("within the lease");
    session.commit().await.expect_err("it is over");
}

/// The one letter that PostgreSQL's text cannot hold.
#[tokio::test]
async fn a_text_with_a_nul_keeps_no_end_from_being_stored() {
    let server = Server::fresh();
    let store = owned(&server).await;
    let [one] = begun(&*store).await;
    apply(&*store, vec![one.unresolve("a node said \0 and more")]).await;
    let expected = State::Unresolved { why: "a node said \u{fffd} and more".into() };
    assert_eq!(state(&*store, one.id()).await, expected);
    store.close().await;
}

/// PgBouncer gives each transaction another session, which knows no statement
/// of the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_go_through_a_pooler_and_writes_past_it() {
    let server = Server::fresh();
    let pooler = Pooler::before(&server.0);
    let alone = refused(&pooler.url("postgres"), OWN).await;
    assert!(alone.contains("leads to a pooler") && alone.contains("`store.direct_url`"), "{alone}");
    let behind = Place::new(&Secret::new(pooler.url("postgres"))).expect("a URL");
    let both = behind.past_pooler(&Secret::new(server.0.url("postgres"))).expect("a URL");
    let store = connect(&Location::Postgres(Box::new(both)), Access::Own(Migrations::Apply)).await.expect("opened");
    assert_eq!(store.own_wallet(&network(), "w", "the test").await.expect("owned"), 1);
    let [one] = begun(&*store).await;
    let callers = (0..16).map(|_| async {
        for _ in 0..20 {
            assert!(store.by_identity(&one.facts.identity).await.expect("looked up").is_some());
            assert!(store.timeline(one.id()).await.expect("looked up").is_some());
            assert_eq!(store.highest_nonce(&network(), "w").await.expect("looked up"), Some(1));
        }
    });
    futures::future::join_all(callers).await;
    store.close().await;
}
