//! Statements of SQLite's that go to the connection's thread together.

use futures::TryStreamExt as _;
use sqlx::{Either, Executor as _, SqliteConnection, sqlite::SqliteRow};

use super::statement::{Script, Statement};
use crate::store::StoreError;

/// SQLite's answer to a statement.
pub(super) struct Answer {
    pub rows: Vec<SqliteRow>,
    pub changed: u64,
}

/// Runs what was left for later and a statement, in one trip if it can follow;
/// returns the answer to the latter.
pub(super) async fn answer(
    connection: &mut SqliteConnection,
    unsent: &mut Script,
    statement: Statement<'_>,
) -> Result<Answer, StoreError> {
    let mut script = std::mem::take(unsent);
    if script.len() > 0 && !statement.can_follow() {
        run_script(connection, std::mem::take(&mut script)).await?;
    }
    script.add(statement);
    run_script(connection, script).await
}

/// Runs a script; returns the answer to its last statement. This driver takes
/// several statements in one query, and says after each that it is done.
async fn run_script(connection: &mut SqliteConnection, script: Script) -> Result<Answer, StoreError> {
    let mut left = script.len();
    let mut answers = connection.fetch_many(script.query());
    let mut last = Answer { rows: Vec::new(), changed: 0 };
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Either::Left(done) => {
                left = left.saturating_sub(1);
                last.changed = done.rows_affected();
                if left > 0 {
                    last.rows.clear();
                }
            }
            Either::Right(row) => last.rows.push(row),
        }
    }
    Ok(last)
}
