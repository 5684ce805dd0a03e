//! Statements for PostgreSQL that go in one trip: each trip there and back is
//! half a millisecond of a commit, for which everybody waits.

use std::collections::HashSet;

use uuid::Uuid;

use super::statement::{Argument, Dialect, Statement};
use crate::settlement::{SettlementId, TransactionId};

/// PostgreSQL's code for a division by zero: a part of a joint statement has not
/// returned as many rows as expected.
pub(in crate::store) const NOT_AS_EXPECTED: &str = "22012";

/// The name of a row: by it two statements are seen to touch the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) enum Name {
    /// An id.
    Id(Uuid),
    /// A transaction's hash.
    Hash(String),
}

impl From<SettlementId> for Name {
    fn from(id: SettlementId) -> Self {
        Self::Id(id.0)
    }
}

impl From<TransactionId> for Name {
    fn from(id: TransactionId) -> Self {
        Self::Id(id.0)
    }
}

impl From<&str> for Name {
    fn from(hash: &str) -> Self {
        Self::Hash(hash.to_owned())
    }
}

/// Rows that a statement writes, and rows that it must see as others left them.
/// A table's rows are always named in the same way. A name that is no table's stands for what two statements may not do
/// at once.
#[derive(Debug, Default)]
pub(in crate::store) struct Rows(HashSet<(&'static str, Name)>);

impl Rows {
    /// Rows of a table.
    pub fn of(table: &'static str, names: impl IntoIterator<Item = impl Into<Name>>) -> Self {
        Self::default().and(table, names)
    }

    /// These, and rows of another table.
    pub fn and(mut self, table: &'static str, names: impl IntoIterator<Item = impl Into<Name>>) -> Self {
        self.0.extend(names.into_iter().map(|name| (table, name.into())));
        self
    }
}

/// Statements that have nothing to do with each other, as parts of one: each
/// sees the rows as they were before all of them, and they run in no order.
#[derive(Debug, Default)]
pub(in crate::store) struct Joint {
    sql: String,
    arguments: Vec<Argument<'static>>,
    parts: usize,
    rows: Rows,
    /// The parts of which it is known how many rows they return, with the numbers.
    expected: Vec<(usize, i64)>,
}

impl Joint {
    /// Returns true when a part touches one of these rows: a statement that
    /// does so too has to see what it writes.
    pub fn touches(&self, rows: &Rows) -> bool {
        !self.rows.0.is_disjoint(&rows.0)
    }

    /// Adds a statement that touches these rows, which no other part does.
    pub fn add(&mut self, rows: Rows, statement: Statement<'_>) {
        let (sql, arguments) = statement.after(self.arguments.len());
        self.sql.push_str(if self.parts == 0 { "WITH " } else { ", " });
        self.sql.push_str(&["part_", &self.parts.to_string(), " AS (", &sql, ")"].concat());
        self.arguments.extend(arguments.into_iter().map(Argument::into_owned));
        self.parts += 1;
        self.rows.0.extend(rows.0);
    }

    /// Adds one that returns so many rows, or all of them fail.
    pub fn add_expecting(&mut self, rows: Rows, statement: Statement<'_>, count: usize) {
        self.expected.push((self.parts, i64::try_from(count).unwrap_or(i64::MAX)));
        self.add(rows, statement);
    }

    /// Returns true when it has no parts.
    pub const fn is_empty(&self) -> bool {
        self.parts == 0
    }

    /// Returns true when one more statement can return its rows with these parts.
    pub fn leads(&self) -> bool {
        self.expected.is_empty()
    }

    /// The statement of all parts; `None` when there are none. It divides by
    /// zero when a part has not returned as many rows as expected.
    pub fn whole(self) -> Option<Statement<'static>> {
        (!self.is_empty()).then(|| {
            let last = self.last();
            self.around(last)
        })
    }

    fn last(&self) -> Statement<'static> {
        let mut last = Statement::new(Dialect::Postgres, "SELECT 1");
        for (number, (part, count)) in self.expected.iter().enumerate() {
            last.push(if number == 0 { " / CASE WHEN " } else { " AND " });
            last.push(&format!("(SELECT count(*) FROM part_{part}) = ")).bind(*count);
        }
        if !self.expected.is_empty() {
            last.push(" THEN 1 ELSE 0 END");
        }
        last
    }

    /// The statement of all parts and one more, whose rows are returned.
    pub fn around(self, last: Statement<'_>) -> Statement<'_> {
        if self.is_empty() {
            return last;
        }
        let (sql, arguments) = last.after(self.arguments.len());
        // Its own tables stand beside the parts.
        let sql = match sql.strip_prefix("WITH ") {
            Some(rest) => format!("{}, {rest}", self.sql),
            None => format!("{} {sql}", self.sql),
        };
        Statement::whole(Dialect::Postgres, sql, self.arguments.into_iter().chain(arguments).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insertion(table: &str, number: i64) -> Statement<'static> {
        let mut statement = Statement::new(Dialect::Postgres, "");
        statement.insert(table, ["a", "b"], [[number.into(), "text".into()]]);
        statement
    }

    #[test]
    fn parts_of_a_joint_statement_keep_their_own_values() {
        let mut joint = Joint::default();
        joint.add(Rows::of("one", ["first"]), insertion("one", 1));
        joint.add(Rows::of("two", ["first"]), insertion("two", 2));
        let mut last = Statement::new(Dialect::Postgres, "WITH ");
        last.table("rows", ["a"], [[7_i64.into()]]).push(" UPDATE three SET a = rows.a FROM rows RETURNING a");
        assert!(joint.leads());
        assert_eq!(
            joint.around(last).sql(),
            "WITH part_0 AS (INSERT INTO one (a, b) SELECT u.a, u.b FROM unnest($1::bigint[], $2::text[]) AS u (a, b)), \
             part_1 AS (INSERT INTO two (a, b) SELECT u.a, u.b FROM unnest($3::bigint[], $4::text[]) AS u (a, b)), \
             rows (a) AS (SELECT u.a FROM unnest($5::bigint[]) AS u (a)) UPDATE three SET a = rows.a FROM rows RETURNING a"
        );
        assert!(Joint::default().whole().is_none());
    }

    #[test]
    fn a_joint_statement_fails_unless_each_part_returns_as_many_rows_as_expected() {
        let mut joint = Joint::default();
        joint.add_expecting(Rows::default(), Statement::new(Dialect::Postgres, "SELECT 5"), 1);
        joint.add(Rows::default(), Statement::new(Dialect::Postgres, "SELECT 6"));
        joint.add_expecting(Rows::default(), Statement::new(Dialect::Postgres, "SELECT 7"), 2);
        assert!(!joint.leads());
        assert_eq!(
            joint.whole().as_ref().map(Statement::sql),
            Some(
                "WITH part_0 AS (SELECT 5), part_1 AS (SELECT 6), part_2 AS (SELECT 7) SELECT 1 / CASE WHEN \
                 (SELECT count(*) FROM part_0) = $1 AND (SELECT count(*) FROM part_2) = $2 THEN 1 ELSE 0 END"
            )
        );
    }

    #[test]
    fn statements_that_touch_one_row_are_told_apart_by_table_and_name() {
        let mut joint = Joint::default();
        joint.add(Rows::of("one", ["first", "second"]).and("two", ["third"]), insertion("one", 1));
        let cases =
            [("one", "first", true), ("one", "third", false), ("two", "third", true), ("three", "first", false)];
        for (table, name, touches) in cases {
            assert_eq!(joint.touches(&Rows::of(table, [name])), touches, "{table} {name}");
        }
    }
}
