//! The trips of a commit: for each of them everybody waits.

use super::*;
use crate::{
    settlement::{State, Timeline},
    store::{
        ApplyError,
        postgres::{ANSWER_MAX, terms},
        sql::statement::{Dialect, Statement},
    },
};

/// Asserts that the last commit of the store was one statement: no other word, such as `COMMIT`, was sent after it.
async fn assert_one_statement(session: &mut PgConnection) {
    let last = "SELECT a.query FROM pg_stat_activity a WHERE a.application_name LIKE 'facilitator,%'";
    let seen: Vec<String> = sqlx::query_scalar(last).fetch_all(session).await.expect("read");
    assert!(seen.iter().any(|statement| statement.starts_with("WITH part_0 AS")), "{seen:#?}");
}

#[tokio::test]
async fn a_payment_begins_and_ends_in_one_trip_each() {
    let server = Server::fresh();
    let store = owned(&server).await;
    let mut session = server.session().await;
    let [one, two] = [1, 2].map(|number| begun_as(facts(number), number));
    let right = fence(1);
    let apply = |changes| store.apply_under(Some(&right), changes, AT);

    apply(one.begin()).await.expect("begun");
    assert_one_statement(&mut session).await;

    // The answer to a send goes along.
    store.note_sent(vec![one.sent("accepted", 6_000)]);
    apply(two.begin()).await.expect("begun");
    assert_one_statement(&mut session).await;

    let ended = apply(vec![one.include(), one.settle(), two.include(), two.settle()]).await.expect("ended");
    assert_eq!(ended, [one.id(), two.id()]);
    assert_one_statement(&mut session).await;
    for begun in [&one, &two] {
        assert!(matches!(state(&*store, begun.id()).await, State::Settled(_)));
    }
    store.close().await;
}

/// Each is looked at again, statement by statement.
#[tokio::test]
async fn a_commit_that_something_is_in_the_way_of_is_decided_all_the_same() {
    let server = Server::fresh();
    let store = owned(&server).await;
    let [one, two] = [1, 2].map(|number| begun_as(facts(number), number));
    apply(&*store, one.begin()).await;
    let again = store.apply([one.begin(), two.begin()].concat(), AT).await;
    assert_eq!(claimed(again), [one.id()], "a payment that is begun already");
    assert!(store.record(two.id()).await.expect("read").is_none(), "nothing of the call is stored");
    let late = store.apply_under(Some(&fence(2)), two.begin(), AT).await;
    assert!(matches!(late, Err(ApplyError::EpochOver)), "an epoch that is not the wallet's: {late:?}");
    assert_eq!(apply(&*store, vec![one.settle()]).await, [one.id()]);
    assert_eq!(apply(&*store, vec![one.settle()]).await, [], "a settlement that has ended");
    assert_eq!(apply(&*store, two.begin()).await, []);
    // The inclusion is of bytes whose sends are noted by the same commit.
    store.note_sent(vec![two.sent("accepted", 6_000)]);
    assert_eq!(apply(&*store, vec![two.include(), two.settle()]).await, [two.id()]);
    let Timeline { transactions, .. } = timeline(&*store, two.id()).await;
    let [(transaction, sends)] = transactions.as_slice() else { panic!("{transactions:?}") };
    assert!(transaction.attempts.iter().all(|attempt| attempt.inclusion.is_some()), "{transaction:?}");
    assert_eq!(sends.iter().map(|sends| sends.count).collect::<Vec<_>>(), [1]);
    store.close().await;
}

/// To plan a commit takes longer than to run it, and PostgreSQL by itself plans anew for each commit's values.
#[tokio::test]
async fn a_statement_is_planned_once_in_a_session() {
    let server = Server::fresh();
    let mut connection = server.place().direct(terms(ANSWER_MAX)).connect().await.expect("connected");
    let mut session = connection.session();
    for times in 1..=10_i64 {
        let mut statement = Statement::new(Dialect::Postgres, "WITH ");
        statement.table("asked", ["number"], (0..times).map(|number| [number.into()]));
        statement.push(" SELECT count(*) FROM asked");
        drop(session.all(statement).await.expect("asked"));
    }
    let plans = "SELECT sum(s.custom_plans)::bigint, sum(s.generic_plans)::bigint FROM pg_prepared_statements s";
    let row = session.first(Statement::new(Dialect::Postgres, plans)).await.expect("asked").expect("a row");
    assert_eq!(row.get::<i64, _>(0).expect("a number"), 0, "anew");
    assert!(row.get::<i64, _>(1).expect("a number") >= 10, "by the plan that is there");
    connection.close().await.expect("closed");
}
