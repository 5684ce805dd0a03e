//! Guarantees about servers: refusals that say what to do, one owner, servers
//! that go away.

use std::time::Duration;

use super::*;
use crate::{
    settlement::{State, Transaction, TransactionId},
    store::{
        ApplyError, Change, StoreError,
        connect::inspect,
        postgres::{ANSWER_MAX, open, terms},
    },
};

/// The words of a refusal.
async fn refused(url: &str, access: Access) -> String {
    let location = Location::of(url).expect("a URL");
    connect(&location, access).await.err().map(|error| error.to_string()).unwrap_or_default()
}

const OWN: Access = Access::Own(Migrations::Require);

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
    server.tamper("ALTER ROLE postgres SET synchronous_commit = off").await;
    let loose = refused(&url, OWN).await;
    assert!(loose.contains("synchronous_commit"), "{loose}");
    server.tamper("ALTER ROLE postgres RESET synchronous_commit").await;
    server
        .tamper(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'later', TRUE, '', 0)",
        )
        .await;
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
    server
        .tamper(
            "CREATE ROLE payer LOGIN PASSWORD 'right'; ALTER SCHEMA public OWNER TO payer; \
             COPY (SELECT 'local all payer scram-sha-256' UNION ALL SELECT 'local all all trust') TO PROGRAM \
             'cat > pg_hba.conf'; SELECT pg_reload_conf()",
        )
        .await;
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
async fn a_second_process_is_refused_and_told_which_is_the_first() {
    let server = Server::fresh();
    let store = server.open().await;
    let refusal = refused(&server.0.url("postgres"), OWN).await;
    let first = format!("facilitator, process {}", std::process::id());
    for part in [first.as_str(), "Stop the other process", "`store.url`"] {
        assert!(refusal.contains(part), "{part:?} in {refusal:?}");
    }
    let seen = inspect(&Location::Postgres(Box::new(server.place()))).await.expect("looked at");
    assert!(seen.holder.is_some_and(|holder| holder.contains(&first)));
    assert_eq!(seen.version, Some(seen.needed));
    store.close().await;
    assert_eq!(inspect(&Location::Postgres(Box::new(server.place()))).await.expect("looked at").holder, None);
    server.open().await.close().await;
}

#[tokio::test]
async fn a_reader_beside_the_owner_sees_commits_and_writes_nothing() {
    let server = Server::fresh();
    let store = owned(&server).await;
    let reader = server.connect(Access::Read).await.expect("opened");
    let [one] = begun(&*store).await;
    apply(&*store, vec![one.unresolve("no proof")]).await;
    assert!(reader.timeline(one.id()).await.expect("read").is_some());
    let refused = reader.apply(begin(&facts(2), 2), AT).await;
    assert!(matches!(refused, Err(ApplyError::Store(StoreError::Closed))), "{refused:?}");
    assert!(matches!(reader.resolve(one.word(None)).await, Err(StoreError::Closed)));
    reader.close().await;
    store.close().await;
}

/// Another process that claims a payment between a look-up and a commit.
#[tokio::test]
async fn a_payment_that_another_process_claims_meanwhile_is_claimed_once() {
    let server = Server::fresh();
    let store = owned(&server).await;
    let payments = [1, 2].map(|number| begun_as(facts(number), number));
    let mut other = server.session().await;
    sqlx::raw_sql("BEGIN").execute(&mut other).await.expect("begun");
    let claim = "INSERT INTO settlement (id, identity, fingerprint, tenant, request_id, state, network, scheme, payer, \
         pay_to, asset, amount, nonce, claimed_block, created_at, updated_at) VALUES ($1, $2, '', '', 'r', 'signed', \
         'eip155:1', 'exact', 'p', 'p', 'a', '1', '1', 1, 1, 1)";
    let claim = sqlx::query(claim).bind(TransactionId::fresh().0).bind(payments[0].facts.identity.as_bytes().to_vec());
    claim.execute(&mut other).await.expect("claimed");
    let (claimed_here, ()) = tokio::join!(store.apply(payments.iter().flat_map(Begun::begin).collect(), AT), async {
        // Until the store's insertion waits for this one.
        let waits = "SELECT count(*) FROM pg_stat_activity a WHERE a.wait_event_type = 'Lock'";
        let mut watcher = server.session().await;
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watcher).await.expect("read") == 0 {}
        sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("committed");
    });
    assert_eq!(claimed(claimed_here), [payments[0].id()], "it is told which one");
    assert!(store.record(payments[1].id()).await.expect("read").is_none(), "nothing of the call is stored");
    apply(&*store, payments[1].begin()).await;
    store.close().await;
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

#[tokio::test]
async fn whoever_lost_the_database_to_another_writes_nothing_more() {
    let server = Server::fresh();
    let store = owned(&server).await;
    let cut = "SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory'";
    let mut session = server.session().await;
    sqlx::query(cut).execute(&mut session).await.expect("cut");
    let other = server.open().await;
    other.own_wallet(&network(), "w", "another process").await.expect("owned");
    let [one, two] = [1, 2].map(|number| begun_as(facts(number), number));
    // The connection is gone, and then the lock is.
    for _ in 0..2 {
        let refused = store.apply(one.begin(), AT).await;
        assert!(matches!(refused, Err(ApplyError::Store(_))), "{refused:?}");
    }
    other.close().await;
    let late = store.apply(vec![claim(&two.facts)], AT).await;
    let Err(ApplyError::Store(StoreError::Taken(by))) = late else { panic!("{late:?}") };
    assert_eq!(by, "another process");
    assert!(matches!(store.check().await, Err(StoreError::Taken(_))), "it says so");
    store.close().await;
}

/// A process that was stopped there keeps no row locked.
#[tokio::test]
async fn a_session_that_says_nothing_in_the_middle_of_a_commit_is_ended() {
    let server = Server::fresh();
    let mut connection = server.place().direct(terms(ANSWER_MAX)).connect().await.expect("connected");
    let mut session = connection.session();
    session.begin().await.expect("begun");
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
