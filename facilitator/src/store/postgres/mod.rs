//! The store in a PostgreSQL database.
//!
//! Several processes share the database, or one has it for itself: an advisory
//! lock tells which. Each gas wallet has one owner at a time. Each commit of a
//! wallet's worker holds the wallet's row, and compares owner and epoch: so
//! nothing of an owner that is none any more is stored, and whoever takes the
//! wallet waits for what is in the middle of being stored.
//!
//! | module | what it holds |
//! |---|---|
//! | [`place`] | the name of a database, and the ways to it |
//! | [`server`] | reaching it, and its settings |
//! | [`open`] | the schema's version |
//! | `lock` | the processes that use it |
//! | `notices` | what they tell each other |

mod lock;
mod notices;
pub mod open;
pub mod place;
pub mod server;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use self::{
    lock::Hold,
    place::Place,
    server::{OpenError, Server, Way},
};
use super::{
    Size, StoreError,
    schema::Migrations,
    sql::{
        LIST_READERS, READERS, Readers, SqlStore,
        database::{Connection, Connector, Pool, Terms},
        statement::{Dialect, Statement},
    },
};

/// The longest that the engine waits for an answer: a server that has gone
/// without a word never gives one.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The same for lists.
const LIST_MAX: Duration = Duration::from_mins(1);

/// The way to connections that write.
struct WritingConnector {
    way: Way,
    /// The server, to which every connection must lead, and the lock that each
    /// must get. `None` for an operator's command beside.
    used: Option<(Server, Hold)>,
}

#[async_trait]
impl Connector for WritingConnector {
    async fn connect(&self) -> Result<Connection, StoreError> {
        let mut connection = self.way.connect().await.map_err(StoreError::from)?;
        if let Some((server, hold)) = &self.used {
            server.check(&mut connection).await?;
            lock::take(&mut connection, *hold).await.map_err(StoreError::from)?;
        }
        Ok(connection)
    }

    async fn size(&self, pool: &Pool) -> Result<Size, StoreError> {
        let size = Statement::new(Dialect::Postgres, "SELECT pg_database_size(current_database())");
        let bytes: i64 = pool.first(size).await?.map(|row| row.get(0)).transpose()?.unwrap_or_default();
        Ok(Size { bytes: u64::try_from(bytes).unwrap_or_default(), log_bytes: None })
    }
}

/// Opens the database for this process alone.
///
/// # Errors
/// It cannot be reached, another process uses it, or its schema is not this program's.
pub(super) async fn own(place: &Place, migrations: Migrations) -> Result<SqlStore, OpenError> {
    open_as(Hold::Alone, place, migrations).await
}

/// Opens the database beside others that share it.
///
/// # Errors
/// It cannot be reached, another process has it for itself, or its schema is not this program's.
pub(super) async fn share(place: &Place, migrations: Migrations) -> Result<SqlStore, OpenError> {
    open_as(Hold::Shared, place, migrations).await
}

async fn open_as(hold: Hold, place: &Place, migrations: Migrations) -> Result<SqlStore, OpenError> {
    let way = place.direct(terms(ANSWER_MAX));
    let mut connection = way.connect().await?;
    lock::take_in_time(&mut connection, hold).await?;
    if migrations == Migrations::Apply && !open::is_current(&mut connection).await? {
        open::migrate(place).await?;
    }
    open::must_be_current(&mut connection).await?;
    let used = Some((Server::of(&mut connection).await?, hold));
    let listening = way.clone();
    let store = SqlStore::owning(readers(place), Arc::new(WritingConnector { way, used }), connection);
    Ok(store.noticed(|news, tasks, stop| notices::start(listening, news, tasks, stop)))
}

/// Opens the database beside the processes that use it, to look things up.
///
/// # Errors
/// As [`own`], but for the others.
pub(super) async fn read(place: &Place) -> Result<SqlStore, OpenError> {
    check(place).await?;
    Ok(SqlStore::reading(readers(place)))
}

/// The same for an operator's command.
///
/// # Errors
/// As [`read`].
pub(super) async fn operate(place: &Place) -> Result<SqlStore, OpenError> {
    check(place).await?;
    let connector = WritingConnector { way: place.direct(terms(LIST_MAX)), used: None };
    Ok(SqlStore::operating(readers(place), Arc::new(connector)))
}

async fn check(place: &Place) -> Result<(), OpenError> {
    let way = place.direct(terms(ANSWER_MAX));
    let mut connection = way.connect().await?;
    open::must_be_current(&mut connection).await?;
    Ok(connection.close().await?)
}

fn readers(place: &Place) -> Readers {
    let engine = place.pooled(terms(ANSWER_MAX)).pool(READERS);
    Readers { engine, lists: place.pooled(terms(LIST_MAX)).pool(LIST_READERS) }
}

const fn terms(answer_max: Duration) -> Terms {
    Terms { named: true, answer_max }
}
