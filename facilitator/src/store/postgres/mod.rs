//! The store in a PostgreSQL database.
//!
//! One process owns the database: a second one would give out the same nonces.
//! It is the one whose writing session holds an advisory lock, which ends with
//! the session. So each write is made by the owner, or by nobody: a process that
//! lost its session must take the lock again before it writes, and writes nothing
//! more when another has had its gas wallets meanwhile. On top of that each commit
//! holds the rows of the wallets that it takes nonces of, and compares their epochs.
//!
//! | module | what it holds |
//! |---|---|
//! | [`place`] | the name of a database, and the ways to it |
//! | [`server`] | reaching it, and its settings |
//! | [`open`] | the schema's version |
//! | `lock` | its one owner |

mod lock;
pub mod open;
pub mod place;
pub mod server;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use self::{
    place::Place,
    server::{OpenError, Server, Way},
};
use super::{
    Size, StoreError,
    schema::Migrations,
    sql::{
        LIST_READERS, READERS, Readers, SqlStore,
        database::{Connection, Connector, Owned, Pool, Terms},
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
    /// The server of the owner, whose every connection must get the lock and
    /// lead to this server. `None` for an operator's command beside it.
    owned: Option<Server>,
}

#[async_trait]
impl Connector for WritingConnector {
    async fn connect(&self, owned: &Owned) -> Result<Connection, StoreError> {
        let mut connection = self.way.connect().await.map_err(StoreError::from)?;
        if let Some(server) = &self.owned {
            server.check(&mut connection).await?;
            lock::take(&mut connection).await.map_err(StoreError::from)?;
            lock::check_owners(&mut connection, owned).await?;
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
/// It cannot be reached, another process owns it, or its schema is not this program's.
pub(super) async fn own(place: &Place, migrations: Migrations) -> Result<SqlStore, OpenError> {
    let way = place.direct(terms(ANSWER_MAX));
    let mut connection = way.connect().await?;
    lock::take_in_time(&mut connection).await?;
    if migrations == Migrations::Apply && !open::is_current(&mut connection).await? {
        open::migrate(place).await?;
    }
    open::must_be_current(&mut connection).await?;
    let owned = Some(Server::of(&mut connection).await?);
    Ok(SqlStore::owning(readers(place), Arc::new(WritingConnector { way, owned }), connection))
}

/// Opens the database beside the process that owns it, to look things up.
///
/// # Errors
/// As [`own`], but for the owner.
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
    let connector = WritingConnector { way: place.direct(terms(LIST_MAX)), owned: None };
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
