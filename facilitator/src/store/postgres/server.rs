//! The server: reaching it, and its settings.

use std::time::Duration;

use sqlx::{
    Connection as _, PgConnection, Row as _,
    migrate::MigrateError,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::store::{
    StoreError,
    schema::SchemaError,
    sql::{
        database::{Connection, Pool, Terms},
        statement::{Dialect, Statement},
    },
};

/// The reason why a session is not fit for the store, if there is one, and the
/// server's version. Version 15 is the oldest that the statements were tried with.
const SERVER: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' \
     WHEN current_setting('synchronous_commit') = 'off' THEN 'loose' \
     WHEN current_setting('server_version_num')::bigint < 150000 THEN 'old' \
     WHEN current_setting('idle_in_transaction_session_timeout') = '0' THEN 'pooler' ELSE '' END, \
     current_setting('server_version')";

/// The longest that a look-up waits for a connection. Whoever asks while the
/// server is gone is told soon.
const ACQUIRE_MAX: Duration = Duration::from_secs(2);

/// The reason why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL cannot be read. It is not shown: it may hold a password.
    #[error("`store.url` is no URL of PostgreSQL. Write postgres://USER@HOST:PORT/DATABASE")]
    Url,
    /// Nobody answers there.
    #[error(
        "cannot reach PostgreSQL at {place}: {source}. Check that the server runs, that `store.url` names it, and that \
         nothing on the way keeps connections off"
    )]
    Unreachable {
        /// The server and database.
        place: String,
        /// The system's answer.
        source: sqlx::Error,
    },
    /// The server does not let this user in.
    #[error(
        "PostgreSQL at {place} does not let this user in: {message}. Correct the user in `store.url`, and the password \
         there or in `store.password_file`"
    )]
    Refused {
        /// The server and database.
        place: String,
        /// The server's words.
        message: String,
    },
    /// There is no such database.
    #[error("{place} does not exist. Create it with `createdb`, or correct `store.url`")]
    Missing {
        /// The server and database.
        place: String,
    },
    /// The server only repeats what another one writes.
    #[error("{place} is a standby, which takes no writes: `store.url` must name the primary, whichever server that is")]
    Standby {
        /// The server and database.
        place: String,
    },
    /// The server answers before a commit is on the disk.
    #[error(
        "{place} has synchronous_commit = off: with a crash of the server it would lose the only copy of bytes that were \
         sent. Set it to on for this user (ALTER ROLE … SET synchronous_commit = on)"
    )]
    NotDurable {
        /// The server and database.
        place: String,
    },
    /// The server is too old.
    #[error("{place} is a server of version {version}: PostgreSQL 15 is the oldest that is known to work")]
    Old {
        /// The server and database.
        place: String,
        /// Its version.
        version: String,
    },
    /// A pooler stands before the server.
    #[error(
        "{place} leads to a pooler, which does not hand a session's settings on, nor its lock: name the server itself in \
         `store.direct_url`"
    )]
    Pooler {
        /// The server and database.
        place: String,
    },
    /// Another process has it for itself, or this one needs it so.
    #[error(
        "{holder} holds this database, which is in use: one of the two processes needs it for itself. Stop the other \
         process, or give this one its own `store.url`"
    )]
    Owned {
        /// The other process, as the server knows it.
        holder: String,
    },
    /// The schema is not this program's.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A migration failed.
    #[error("the schema cannot be brought up to date: {0}. Nothing was changed; report this")]
    Migrate(#[source] MigrateError),
    /// The database failed, or a look into it.
    #[error("the database cannot be opened: {0}")]
    Store(#[from] StoreError),
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error,
            OpenError::Owned { holder } => Self::Taken(holder),
            error => Self::Unusable(error.to_string().into()),
        }
    }
}

/// A way to a server.
#[derive(Clone)]
pub(super) struct Way {
    pub options: PgConnectOptions,
    pub terms: Terms,
    /// The server and database, for people.
    pub place: String,
}

/// The codes of the server's refusals: an unknown user or a wrong password, no
/// right to connect, no such database.
const REFUSED: [&str; 3] = ["28P01", "28000", "42501"];
const NO_DATABASE: &str = "3D000";
/// PgBouncer's, for the settings of a session.
const PROTOCOL: &str = "08P01";

impl Way {
    /// Makes a connection to the primary, whose commits are durable.
    pub async fn connect(&self) -> Result<Connection, OpenError> {
        let place = || self.place.clone();
        let connect = PgConnection::connect_with(&self.options);
        let connection = match tokio::time::timeout(self.terms.answer_max, connect).await {
            Ok(connected) => connected.map_err(|error| self.refusal(error))?,
            Err(_) => return Err(OpenError::Unreachable { place: place(), source: sqlx::Error::PoolTimedOut }),
        };
        let mut connection = Connection::Postgres { connection, terms: self.terms };
        let row = connection.session().first(Statement::new(Dialect::Postgres, SERVER)).await?;
        let (unfit, version): (String, String) = match &row {
            Some(row) => (row.get(0).map_err(StoreError::from)?, row.get(1).map_err(StoreError::from)?),
            None => Default::default(),
        };
        match unfit.as_str() {
            "" => Ok(connection),
            "standby" => Err(OpenError::Standby { place: place() }),
            "loose" => Err(OpenError::NotDurable { place: place() }),
            "pooler" => Err(OpenError::Pooler { place: place() }),
            _ => Err(OpenError::Old { place: place(), version }),
        }
    }

    fn refusal(&self, error: sqlx::Error) -> OpenError {
        let place = self.place.clone();
        let Some(database) = error.as_database_error() else {
            return OpenError::Unreachable { place, source: error };
        };
        let (code, message) = (database.code().unwrap_or_default(), database.message().to_owned());
        if REFUSED.contains(&code.as_ref()) {
            OpenError::Refused { place, message }
        } else if code == NO_DATABASE {
            OpenError::Missing { place }
        } else if code == PROTOCOL {
            OpenError::Pooler { place }
        } else {
            OpenError::Unreachable { place, source: error }
        }
    }

    /// Connections that read, made when they are needed.
    pub fn pool(self, connections: u32) -> Pool {
        let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_MAX);
        let pool = pool.after_connect(|connection, _| Box::pin(must_be_primary(connection)));
        Pool::Postgres { pool: pool.connect_lazy_with(self.options), terms: self.terms }
    }
}

/// A server and its history, which is another one from a promotion on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server(String);

/// The name of a server's data, and its timeline: the first letters of the log
/// file that it writes.
const HISTORY: &str = "SELECT system_identifier::text || ' ' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) \
     FROM pg_control_system()";

impl Server {
    /// The server of a connection.
    pub async fn of(connection: &mut Connection) -> Result<Self, StoreError> {
        let row = connection.session().first(Statement::new(Dialect::Postgres, HISTORY)).await?;
        Ok(Self(row.map(|row| row.get(0)).transpose()?.unwrap_or_default()))
    }

    /// Makes sure that a connection leads to this one.
    pub async fn check(&self, connection: &mut Connection) -> Result<(), StoreError> {
        if Self::of(connection).await? == *self { Ok(()) } else { Err(StoreError::OtherHistory) }
    }
}

/// A standby tells what was true a while ago.
async fn must_be_primary(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // Text and values in one message: a pooler may be between.
    let row = sqlx::raw_sql("SELECT pg_is_in_recovery()").fetch_one(connection).await?;
    if row.try_get(0)? { Err(sqlx::Error::Protocol("the server is a standby".to_owned())) } else { Ok(()) }
}
