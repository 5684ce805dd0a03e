//! Connections to either database.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{
    ColumnIndex, Connection as _, Decode, PgConnection, PgPool, Postgres, Row as _, Sqlite, SqliteConnection,
    Transaction, Type, postgres::PgRow, sqlite::SqliteRow,
};

use super::{
    joint::{Joint, Rows},
    script::answer as sqlite_answer,
    statement::{Dialect, Script, Statement},
};
use crate::store::{
    Size, StoreError,
    sqlite::readers::{SqliteReader, SqliteReaders},
};

/// The terms on which PostgreSQL is asked.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Terms {
    /// Statements are prepared once for each connection. Behind a pooler a
    /// statement cannot know which server it meets.
    pub named: bool,
    /// The longest that an answer is waited for: a server that has gone without
    /// a word never answers. The outcome of a write is not known then.
    pub answer_max: Duration,
}

impl Terms {
    /// Waits for an answer. The driver's futures are large: boxed, one takes its memory once, and not in each of those
    /// that wait for it.
    pub fn within<T>(
        self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        let answer = Box::pin(answer);
        async move {
            match tokio::time::timeout(self.answer_max, answer).await {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(StoreError::NoAnswer),
            }
        }
    }
}

/// The way to connections that write.
#[async_trait]
pub(in crate::store) trait Connector: Send + Sync {
    /// Makes a connection. Each connection of a process that uses the store makes
    /// sure that it still may.
    async fn connect(&self) -> Result<Connection, StoreError>;

    /// The bytes that the database takes now, as far as connections that read tell.
    async fn size(&self, pool: &Pool) -> Result<Size, StoreError>;
}

/// A connection of its own.
#[derive(Debug)]
pub(in crate::store) enum Connection {
    /// To SQLite.
    Sqlite(SqliteConnection),
    /// To PostgreSQL.
    Postgres {
        /// The connection.
        connection: PgConnection,
        /// The terms on which it is asked.
        terms: Terms,
    },
}

impl Connection {
    /// The way to its statements.
    pub fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(connection) => Session::Sqlite { connection, unsent: Script::default() },
            Self::Postgres { connection, terms } => Session::of_postgres(connection, *terms),
        }
    }

    /// Lets no statement wait for another connection's, where one would be told
    /// too late that it may go on: SQLite's own waits grow longer and longer.
    pub async fn wait_for_nobody(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => self.session().command("PRAGMA busy_timeout = 0").await,
            Self::Postgres { .. } => Ok(()),
        }
    }

    /// Ends the owner's. SQLite's log is moved into the file first, so that a
    /// copy of the file alone is whole.
    pub async fn finish(mut self) -> Result<(), StoreError> {
        if let Self::Sqlite(connection) = &mut self {
            connection.clear_cached_statements().await?;
            self.session().command("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        }
        self.close().await
    }

    /// Ends it.
    pub async fn close(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection) => Ok(connection.close().await?),
            Self::Postgres { connection, terms } => terms.within(connection.close()).await,
        }
    }
}

/// Connections that read.
#[derive(Clone, Debug)]
pub(in crate::store) enum Pool {
    /// To SQLite.
    Sqlite(SqliteReaders),
    /// To PostgreSQL.
    Postgres {
        /// The connections.
        pool: PgPool,
        /// The terms on which they are asked.
        terms: Terms,
    },
}

impl Pool {
    /// The language of the database.
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres { .. } => Dialect::Postgres,
        }
    }

    /// Looks rows up.
    pub async fn all(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        match self {
            // A pooler gives one session to a transaction; outside of one it may
            // send a statement's text to another session than its values.
            Self::Postgres { terms, .. } if !terms.named => Box::pin(self.all_of_a_moment(statement)).await,
            Self::Sqlite(readers) => {
                let mut reader = readers.take().await?;
                let rows = statement.for_sqlite().fetch_all(&mut reader.connection).await?;
                reader.give_back();
                Ok(sqlite_rows(rows))
            }
            Self::Postgres { pool, terms } => {
                terms.within(statement.for_postgres(terms.named).fetch_all(pool)).await.map(postgres_rows)
            }
        }
    }

    async fn all_of_a_moment(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        let mut moment = self.moment().await?;
        let rows = moment.session().all(statement).await?;
        moment.end().await?;
        Ok(rows)
    }

    /// Looks the first row up.
    pub async fn first(&self, statement: Statement<'_>) -> Result<Option<Row>, StoreError> {
        Ok(self.all(statement).await?.into_iter().next())
    }

    /// Begins look-ups of one moment.
    pub async fn moment(&self) -> Result<Moment, StoreError> {
        let begin = self.dialect().begin_moment();
        match self {
            Self::Sqlite(readers) => Ok(Moment::Sqlite { reader: readers.take().await?, begin: Some(begin) }),
            Self::Postgres { pool, terms } => {
                Ok(Moment::Postgres { transaction: terms.within(pool.begin_with(begin)).await?, terms: *terms })
            }
        }
    }

    /// Ends its connections.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(readers) => readers.close().await,
            Self::Postgres { pool, .. } => pool.close().await,
        }
    }
}

/// A transaction whose look-ups are of one moment.
#[derive(Debug)]
pub(in crate::store) enum Moment {
    /// In SQLite.
    Sqlite {
        /// The connection.
        reader: SqliteReader,
        /// The beginning, which goes with the first look-up.
        begin: Option<&'static str>,
    },
    /// In PostgreSQL.
    Postgres {
        /// The transaction.
        transaction: Transaction<'static, Postgres>,
        /// The terms on which it is asked.
        terms: Terms,
    },
}

impl Moment {
    /// The way to its statements.
    pub fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite { reader, begin } => {
                let mut unsent = Script::default();
                if let Some(begin) = begin.take() {
                    unsent.add(Statement::new(Dialect::Sqlite, begin));
                }
                Session::Sqlite { connection: &mut reader.connection, unsent }
            }
            Self::Postgres { transaction, terms } => Session::of_postgres(transaction, *terms),
        }
    }

    /// Ends it.
    pub async fn end(mut self) -> Result<(), StoreError> {
        if let Self::Sqlite { begin: None, .. } = &self {
            self.session().rollback().await?;
        }
        match self {
            Self::Sqlite { reader, .. } => {
                reader.give_back();
                Ok(())
            }
            Self::Postgres { transaction, terms } => terms.within(transaction.rollback()).await,
        }
    }
}

/// The way to the statements of one connection.
#[derive(Debug)]
pub(in crate::store) enum Session<'c> {
    /// To SQLite's.
    Sqlite {
        /// The connection.
        connection: &'c mut SqliteConnection,
        /// Statements that go with the next one that is waited for.
        unsent: Script,
    },
    /// To PostgreSQL's.
    Postgres {
        /// The connection.
        connection: &'c mut PgConnection,
        /// The terms on which it is asked.
        terms: Terms,
        /// Statements that go together, before or with the next one.
        beside: Joint,
        /// Its transaction.
        begun: Begun,
    },
}

/// A transaction of PostgreSQL's, whose beginning is sent before the first statement that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Begun {
    /// There is none.
    No,
    /// The server does not know of it yet.
    Due,
    /// The server is in it.
    Yes,
}

impl<'c> Session<'c> {
    fn of_postgres(connection: &'c mut PgConnection, terms: Terms) -> Self {
        Self::Postgres { connection, terms, beside: Joint::default(), begun: Begun::No }
    }

    /// The language of the database.
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite { .. } => Dialect::Sqlite,
            Self::Postgres { .. } => Dialect::Postgres,
        }
    }

    /// Runs a statement, at the latest before the next one that is waited for.
    async fn soon(&mut self, statement: Statement<'_>) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { unsent, .. } if statement.can_follow() => {
                unsent.add(statement);
                Ok(())
            }
            _ => self.run(statement).await.map(|_| ()),
        }
    }

    /// Runs a statement that touches these rows, at the latest with the commit, and at the same time as others of
    /// its kind: it does not see what they write, nor they what it writes.
    pub async fn beside(&mut self, rows: Rows, statement: Statement<'_>) -> Result<(), StoreError> {
        self.run_those_that_touch(&rows).await?;
        match self {
            Self::Sqlite { .. } => self.soon(statement).await,
            Self::Postgres { beside, .. } => {
                beside.add(rows, statement);
                Ok(())
            }
        }
    }

    /// The same for one that returns so many rows in PostgreSQL, unless another process is in its way: then the
    /// next statement, or the commit, fails with [`NOT_AS_EXPECTED`](super::joint::NOT_AS_EXPECTED).
    pub async fn expect(&mut self, rows: Rows, statement: Statement<'_>, count: usize) -> Result<(), StoreError> {
        self.run_those_that_touch(&rows).await?;
        match self {
            Self::Sqlite { .. } => self.soon(statement).await,
            Self::Postgres { beside, .. } => {
                beside.add_expecting(rows, statement, count);
                Ok(())
            }
        }
    }

    /// The same for one whose rows are waited for.
    pub async fn all_beside(&mut self, rows: Rows, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        self.run_those_that_touch(&rows).await?;
        let joint = match self {
            Self::Postgres { beside, .. } if beside.leads() => std::mem::take(beside),
            Self::Sqlite { .. } | Self::Postgres { .. } => Joint::default(),
        };
        self.all(joint.around(statement)).await
    }

    async fn run_those_that_touch(&mut self, rows: &Rows) -> Result<(), StoreError> {
        match self {
            Self::Postgres { beside, .. } if beside.touches(rows) => self.run_those_beside().await,
            Self::Sqlite { .. } | Self::Postgres { .. } => Ok(()),
        }
    }

    /// Sends what comes before a statement that is waited for.
    async fn run_those_beside(&mut self) -> Result<(), StoreError> {
        if let Self::Postgres { connection, terms, beside, begun } = self {
            if *begun == Begun::Due {
                let begin = Statement::new(Dialect::Postgres, Dialect::Postgres.begin());
                terms.within(begin.for_postgres(terms.named).execute(&mut **connection)).await?;
                *begun = Begun::Yes;
            }
            if let Some(statement) = std::mem::take(beside).whole() {
                terms.within(statement.for_postgres(terms.named).execute(&mut **connection)).await?;
            }
        }
        Ok(())
    }

    /// Runs a statement; returns the number of rows that it changed.
    pub async fn run(&mut self, statement: Statement<'_>) -> Result<u64, StoreError> {
        self.run_those_beside().await?;
        match self {
            Self::Sqlite { connection, unsent } => Ok(sqlite_answer(connection, unsent, statement).await?.changed),
            Self::Postgres { connection, terms, .. } => {
                let done = terms.within(statement.for_postgres(terms.named).execute(&mut **connection)).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// Begins a transaction that writes.
    pub async fn begin(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { .. } => self.soon(Statement::new(Dialect::Sqlite, Dialect::Sqlite.begin())).await,
            Self::Postgres { begun, .. } => {
                *begun = Begun::Due;
                Ok(())
            }
        }
    }

    /// Commits what was written since [`begin`](Self::begin). A transaction of PostgreSQL's that is one statement
    /// is that statement alone.
    pub async fn commit(&mut self) -> Result<(), StoreError> {
        if let Self::Postgres { begun: begun @ Begun::Due, .. } = self {
            *begun = Begun::No;
            return self.run_those_beside().await;
        }
        self.command("COMMIT").await?;
        self.forget();
        Ok(())
    }

    /// Gives up what was written since [`begin`](Self::begin).
    pub async fn rollback(&mut self) -> Result<(), StoreError> {
        let server_knows = !matches!(self, Self::Postgres { begun: Begun::No | Begun::Due, .. });
        self.forget();
        if server_knows { self.command("ROLLBACK").await } else { Ok(()) }
    }

    /// Forgets a transaction that is over, and what was not sent of it.
    fn forget(&mut self) {
        match self {
            Self::Sqlite { unsent, .. } => *unsent = Script::default(),
            Self::Postgres { beside, begun, .. } => (*beside, *begun) = (Joint::default(), Begun::No),
        }
    }

    /// Runs a statement without values.
    pub async fn command(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let statement = Statement::new(self.dialect(), sql);
        self.run(statement).await.map(|_| ())
    }

    /// Runs a statement; returns its rows.
    pub async fn all(&mut self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        self.run_those_beside().await?;
        match self {
            Self::Sqlite { connection, unsent } => {
                Ok(sqlite_rows(sqlite_answer(connection, unsent, statement).await?.rows))
            }
            Self::Postgres { connection, terms, .. } => {
                terms.within(statement.for_postgres(terms.named).fetch_all(&mut **connection)).await.map(postgres_rows)
            }
        }
    }

    /// Runs a statement; returns its first row.
    pub async fn first(&mut self, statement: Statement<'_>) -> Result<Option<Row>, StoreError> {
        Ok(self.all(statement).await?.into_iter().next())
    }
}

fn sqlite_rows(rows: Vec<SqliteRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Sqlite).collect()
}

fn postgres_rows(rows: Vec<PgRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Postgres).collect()
}

/// A row of an answer.
#[derive(Debug)]
pub(in crate::store) enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// A column's value.
    pub fn get<'r, T, I>(&'r self, column: I) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
        I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    /// A column's bytes, of whatever type it is.
    pub fn bytes(&self, column: &str) -> Vec<u8> {
        let bytes = match self {
            Self::Sqlite(row) => row.try_get_unchecked(column),
            Self::Postgres(row) => row.try_get_unchecked(column),
        };
        bytes.unwrap_or_default()
    }
}
