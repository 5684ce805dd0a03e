//! Statements with their values, for either database.
//!
//! The text is the same for both as far as their SQL is. Where it is not, the
//! [`Dialect`] gives the words. SQLite takes a parameter for each value;
//! PostgreSQL takes one array for each column of a list of rows, so that a
//! statement is prepared once, whatever the number of its rows.

use std::borrow::Cow;

use sqlx::{AssertSqlSafe, Postgres, Sqlite, postgres::PgArguments, query::Query, sqlite::SqliteArguments};
use uuid::Uuid;

use crate::settlement::{SettlementId, TransactionId};

/// Values of a query of SQLite's whose compiled form is kept: some payments' worth.
const KEPT_VALUES_MAX: usize = 256;

/// The language of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Dialect {
    /// SQLite's.
    Sqlite,
    /// PostgreSQL's.
    Postgres,
}

impl Dialect {
    /// Joins a table that is read for each row of those before. SQLite keeps
    /// to the order of a `CROSS JOIN`; PostgreSQL knows how many rows there are.
    pub const fn join(self) -> &'static str {
        self.either("CROSS JOIN", "JOIN")
    }

    /// Names the index by which SQLite reads the table before it.
    pub fn by_index(self, index: &str) -> String {
        if self == Self::Sqlite { format!(" INDEXED BY {index}") } else { String::new() }
    }

    /// A column that SQLite must not look up by its index: an attempt is found
    /// by its transaction, on a page that was written lately.
    pub fn unindexed(self, column: &str) -> String {
        format!("{}{column}", self.either("+", ""))
    }

    /// The condition that a yes-or-no column says yes, as partial indexes spell it.
    pub fn says_yes(self, column: &str) -> String {
        format!("{column}{}", self.either(" = 1", ""))
    }

    /// Begins a transaction that writes. SQLite's looks up what is still true
    /// when it writes; in PostgreSQL's each statement sees what others have committed.
    pub const fn begin(self) -> &'static str {
        self.either("BEGIN IMMEDIATE", "BEGIN ISOLATION LEVEL READ COMMITTED")
    }

    /// Begins a transaction whose look-ups are of one moment.
    pub const fn begin_moment(self) -> &'static str {
        self.either("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    /// Keeps others from changing the rows of a look-up until the commit. In
    /// SQLite nobody else writes meanwhile.
    pub const fn lock_rows(self) -> &'static str {
        self.either("", " FOR UPDATE")
    }

    /// Keeps others from changing the rows of a look-up, while they may read
    /// and lock them in the same way.
    pub const fn share_rows(self) -> &'static str {
        self.either("", " FOR SHARE")
    }

    /// The same, and leaves rows out that somebody else has locked.
    pub const fn skip_locked_rows(self) -> &'static str {
        self.either("", " FOR UPDATE SKIP LOCKED")
    }

    /// The time in milliseconds by the clock of the database, which is the same for all its processes.
    pub const fn now(self) -> &'static str {
        self.either(
            "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
            "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
        )
    }

    /// Leaves out the rows of an insertion that are there already, and returns
    /// one for each of the others. In SQLite none is: it was looked up in the
    /// same transaction.
    pub const fn or_nothing(self) -> &'static str {
        self.either("", " ON CONFLICT DO NOTHING RETURNING 1")
    }

    /// Keeps others from writing to a table until the commit, where they could.
    pub fn lock_table(self, table: &str) -> Option<String> {
        (self == Self::Postgres).then(|| format!("LOCK TABLE {table} IN EXCLUSIVE MODE"))
    }

    const fn either(self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self {
            Self::Sqlite => sqlite,
            Self::Postgres => postgres,
        }
    }
}

/// A value of a statement. `None` is NULL, of the type of its column.
#[derive(Clone, Debug)]
pub(in crate::store) enum Value<'a> {
    /// A number.
    Number(Option<i64>),
    /// Yes or no.
    Flag(bool),
    /// Text.
    Text(Option<Cow<'a, str>>),
    /// Bytes.
    Bytes(Option<Cow<'a, [u8]>>),
    /// An id.
    Id(Option<Uuid>),
}

impl Value<'_> {
    fn into_owned(self) -> Value<'static> {
        match self {
            Self::Number(number) => Value::Number(number),
            Self::Flag(flag) => Value::Flag(flag),
            Self::Text(text) => Value::Text(text.map(|text| Cow::Owned(text.into_owned()))),
            Self::Bytes(bytes) => Value::Bytes(bytes.map(|bytes| Cow::Owned(bytes.into_owned()))),
            Self::Id(id) => Value::Id(id),
        }
    }
}

macro_rules! values {
    ($($from:ty, $value:ident => $to:expr;)*) => {
        $(impl<'a> From<$from> for Value<'a> {
            fn from($value: $from) -> Self {
                $to
            }
        })*
    };
}

values! {
    i64, number => Self::Number(Some(number));
    Option<i64>, number => Self::Number(number);
    bool, flag => Self::Flag(flag);
    &'a str, text => Self::Text(Some(text.into()));
    Option<&'a str>, text => Self::Text(text.map(Into::into));
    String, text => Self::Text(Some(text.into()));
    Option<String>, text => Self::Text(text.map(Into::into));
    &'a [u8], bytes => Self::Bytes(Some(bytes.into()));
    Uuid, id => Self::Id(Some(id));
    SettlementId, id => Self::Id(Some(id.0));
    TransactionId, id => Self::Id(Some(id.0));
    Option<TransactionId>, id => Self::Id(id.map(|id| id.0));
}

/// The values of one parameter.
#[derive(Clone, Debug)]
pub(super) enum Argument<'a> {
    One(Value<'a>),
    /// A column of a list of rows, for PostgreSQL.
    Column(Vec<Value<'a>>),
}

impl Argument<'_> {
    pub(super) fn into_owned(self) -> Argument<'static> {
        match self {
            Self::One(value) => Argument::One(value.into_owned()),
            Self::Column(values) => Argument::Column(values.into_iter().map(Value::into_owned).collect()),
        }
    }
}

/// A statement under construction, with its values.
#[derive(Clone, Debug)]
pub(in crate::store) struct Statement<'a> {
    dialect: Dialect,
    sql: String,
    arguments: Vec<Argument<'a>>,
    /// Its parameters are numbered in its text: it shares no [`Script`].
    numbered: bool,
}

impl<'a> Statement<'a> {
    /// A statement that begins with this text.
    pub fn new(dialect: Dialect, sql: impl Into<String>) -> Self {
        Self { dialect, sql: sql.into(), arguments: Vec::new(), numbered: false }
    }

    /// A whole statement whose parameters are `$1`, `$2` and so on.
    pub fn of<const N: usize>(dialect: Dialect, sql: impl Into<String>, values: [Value<'a>; N]) -> Self {
        Self { dialect, sql: sql.into(), arguments: values.map(Argument::One).into(), numbered: true }
    }

    /// A whole statement with its arguments.
    pub(super) fn whole(dialect: Dialect, sql: String, arguments: Vec<Argument<'a>>) -> Self {
        Self { dialect, sql, arguments, numbered: true }
    }

    /// The text and the arguments, for a place after so many others.
    pub(super) fn after(self, others: usize) -> (String, Vec<Argument<'a>>) {
        let mut parts = self.sql.split('$');
        let mut sql = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            let number = number.parse::<usize>().map_or_else(|_| number.to_owned(), |n| (n + others).to_string());
            sql.push('$');
            sql.push_str(&number);
            sql.push_str(rest);
        }
        (sql, self.arguments)
    }

    /// Adds text.
    pub fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds a value.
    pub fn bind(&mut self, value: impl Into<Value<'a>>) -> &mut Self {
        self.argument(Argument::One(value.into()), "")
    }

    /// Adds the condition that what stands before is one of these ids.
    pub fn is_one_of(&mut self, ids: impl IntoIterator<Item = Uuid>) -> &mut Self {
        let ids = ids.into_iter().map(Value::from);
        match self.dialect {
            Dialect::Sqlite => {
                self.push(" IN (");
                self.separated(ids);
                self.push(")")
            }
            Dialect::Postgres => {
                self.push(" = ANY(");
                self.argument(Argument::Column(ids.collect()), "::uuid[]");
                self.push(")")
            }
        }
    }

    /// Adds a table of these rows, of which there is at least one: `NAME
    /// (COLUMNS) AS (ROWS)`.
    pub fn table<const N: usize>(
        &mut self,
        name: &str,
        columns: [&str; N],
        rows: impl IntoIterator<Item = [Value<'a>; N]>,
    ) -> &mut Self {
        self.push(name).push(" (").push(&columns.join(", ")).push(") AS (");
        self.rows(columns, rows);
        self.push(")")
    }

    /// Adds an insertion of these rows, of which there is at least one.
    pub fn insert<const N: usize>(
        &mut self,
        table: &str,
        columns: [&str; N],
        rows: impl IntoIterator<Item = [Value<'a>; N]>,
    ) -> &mut Self {
        self.push("INSERT INTO ").push(table).push(" (").push(&columns.join(", ")).push(") ");
        self.rows(columns, rows)
    }

    fn rows<const N: usize>(
        &mut self,
        columns: [&str; N],
        rows: impl IntoIterator<Item = [Value<'a>; N]>,
    ) -> &mut Self {
        match self.dialect {
            Dialect::Sqlite => {
                for (number, row) in rows.into_iter().enumerate() {
                    self.push(if number == 0 { "VALUES (" } else { ", (" });
                    self.separated(row);
                    self.push(")");
                }
            }
            Dialect::Postgres => {
                let mut arrays = [const { Vec::new() }; N];
                for row in rows {
                    arrays.iter_mut().zip(row).for_each(|(array, value)| array.push(value));
                }
                self.push("SELECT ").push(&columns.map(|column| format!("u.{column}")).join(", "));
                self.push(" FROM unnest(");
                for (number, array) in arrays.into_iter().enumerate() {
                    self.push(if number == 0 { "" } else { ", " });
                    let of = array.first().map_or("", array_type);
                    self.argument(Argument::Column(array), of);
                }
                self.push(") AS u (").push(&columns.join(", ")).push(")");
            }
        }
        self
    }

    fn separated(&mut self, values: impl IntoIterator<Item = Value<'a>>) {
        for (number, value) in values.into_iter().enumerate() {
            self.push(if number == 0 { "" } else { ", " });
            self.bind(value);
        }
    }

    fn argument(&mut self, argument: Argument<'a>, of: &str) -> &mut Self {
        self.arguments.push(argument);
        match self.dialect {
            // SQLite would look each numbered one up among all of them.
            Dialect::Sqlite => self.push("?"),
            Dialect::Postgres => {
                let number = format!("${}", self.arguments.len());
                self.push(&number).push(of)
            }
        }
    }

    /// Returns true when it can share a trip with those before it.
    pub const fn can_follow(&self) -> bool {
        !self.numbered
    }

    /// The text.
    #[cfg(test)]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The statement for SQLite.
    pub fn for_sqlite(self) -> Query<'static, Sqlite, SqliteArguments> {
        let mut script = Script { values: Vec::with_capacity(self.arguments.len()), ..Script::default() };
        script.add(self);
        script.query()
    }

    /// The statement for PostgreSQL. `named`: it is prepared once for each
    /// connection.
    pub fn for_postgres(self, named: bool) -> Query<'static, Postgres, PgArguments> {
        let query = sqlx::query(AssertSqlSafe(self.sql)).persistent(named);
        self.arguments.into_iter().fold(query, |query, argument| match argument {
            Argument::One(Value::Number(number)) => query.bind(number),
            Argument::One(Value::Flag(flag)) => query.bind(flag),
            Argument::One(Value::Text(text)) => query.bind(text.map(storable)),
            Argument::One(Value::Bytes(bytes)) => query.bind(bytes.map(Cow::into_owned)),
            Argument::One(Value::Id(id)) => query.bind(id),
            Argument::Column(values) => bind_column(query, values),
        })
    }
}

/// Statements for SQLite that go to the connection's thread together: each trip
/// there wakes two threads.
#[derive(Debug, Default)]
pub(in crate::store) struct Script {
    sql: String,
    values: Vec<Value<'static>>,
    length: usize,
}

impl Script {
    /// Adds a statement. One with numbered parameters is the only one.
    pub fn add(&mut self, statement: Statement<'_>) {
        debug_assert!(self.length == 0 || !statement.numbered, "the numbers would count from the script's start");
        if self.length == 0 {
            self.sql = statement.sql;
        } else {
            self.sql.push_str("; ");
            self.sql.push_str(&statement.sql);
        }
        self.length += 1;
        for argument in statement.arguments {
            match argument {
                Argument::One(value) => self.values.push(value.into_owned()),
                Argument::Column(values) => self.values.extend(values.into_iter().map(Value::into_owned)),
            }
        }
    }

    /// The number of its statements.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// The query. Its text is this program's own: whatever comes from outside
    /// is one of its values. One with many values is not kept: it has as many
    /// forms as groups have sizes, and each compiled one takes hundreds of KiB.
    pub fn query(self) -> Query<'static, Sqlite, SqliteArguments> {
        let query = sqlx::query(AssertSqlSafe(self.sql)).persistent(self.values.len() <= KEPT_VALUES_MAX);
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Number(number) => query.bind(number),
            Value::Flag(flag) => query.bind(i64::from(flag)),
            Value::Text(text) => query.bind(text.map(Cow::into_owned)),
            Value::Bytes(bytes) => query.bind(bytes.map(Cow::into_owned)),
            Value::Id(id) => query.bind(id),
        })
    }
}

/// The type of a column of such values.
const fn array_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Number(_) => "::bigint[]",
        Value::Flag(_) => "::boolean[]",
        Value::Text(_) => "::text[]",
        Value::Bytes(_) => "::bytea[]",
        Value::Id(_) => "::uuid[]",
    }
}

fn bind_column<'q>(
    query: Query<'q, Postgres, PgArguments>,
    values: Vec<Value<'_>>,
) -> Query<'q, Postgres, PgArguments> {
    match values.first() {
        Some(Value::Number(_)) => {
            query.bind(column(values, |value| if let Value::Number(number) = value { number } else { None }))
        }
        Some(Value::Flag(_)) => {
            query.bind(column(values, |value| if let Value::Flag(flag) = value { Some(flag) } else { None }))
        }
        Some(Value::Text(_)) => {
            query.bind(column(values, |value| if let Value::Text(text) = value { text.map(storable) } else { None }))
        }
        Some(Value::Bytes(_)) => {
            query.bind(column(
                values,
                |value| {
                    if let Value::Bytes(bytes) = value { bytes.map(Cow::into_owned) } else { None }
                },
            ))
        }
        Some(Value::Id(_)) | None => {
            query.bind(column(values, |value| if let Value::Id(id) = value { id } else { None }))
        }
    }
}

fn column<'a, T>(values: Vec<Value<'a>>, value: impl Fn(Value<'a>) -> Option<T>) -> Vec<Option<T>> {
    values.into_iter().map(value).collect()
}

/// Text as PostgreSQL holds it: the one letter that it refuses is replaced, so
/// that a node's answer with it in does not keep an end from being stored.
fn storable(text: Cow<'_, str>) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.into_owned() }
}
