//! Statements for PostgreSQL that go in one trip: each trip there and back is
//! half a millisecond of a commit, for which everybody waits.

use super::statement::{Argument, Dialect, Statement};

/// Statements that have nothing to do with each other, as parts of one: each
/// sees the rows as they were before all of them, and they run in no order.
#[derive(Debug, Default)]
pub(in crate::store) struct Joint {
    sql: String,
    arguments: Vec<Argument<'static>>,
    tables: Vec<&'static str>,
}

impl Joint {
    /// Returns true when a part writes to this table: another one that does
    /// might have to see its rows.
    pub fn writes_to(&self, table: &str) -> bool {
        self.tables.contains(&table)
    }

    /// Adds a statement that writes to a table which no other part writes to.
    pub fn add(&mut self, table: &'static str, statement: Statement<'_>) {
        let (sql, arguments) = statement.after(self.arguments.len());
        let name = self.tables.len();
        self.sql.push_str(if name == 0 { "WITH " } else { ", " });
        self.sql.push_str(&["part_", &name.to_string(), " AS (", &sql, ")"].concat());
        self.arguments.extend(arguments.into_iter().map(Argument::into_owned));
        self.tables.push(table);
    }

    /// The statement of all parts; `None` when there are none.
    pub fn whole(self) -> Option<Statement<'static>> {
        (!self.tables.is_empty()).then(|| self.around(Statement::new(Dialect::Postgres, "SELECT 1")))
    }

    /// The statement of all parts and one more, whose rows are returned.
    pub fn around(self, last: Statement<'_>) -> Statement<'_> {
        if self.tables.is_empty() {
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
        joint.add("one", insertion("one", 1));
        joint.add("two", insertion("two", 2));
        assert!(joint.writes_to("two") && !joint.writes_to("three"));
        let mut last = Statement::new(Dialect::Postgres, "WITH ");
        last.table("rows", ["a"], [[7_i64.into()]]).push(" UPDATE three SET a = rows.a FROM rows RETURNING a");
        assert_eq!(
            joint.around(last).sql(),
            "WITH part_0 AS (INSERT INTO one (a, b) SELECT u.a, u.b FROM unnest($1::bigint[], $2::text[]) AS u (a, b)), \
             part_1 AS (INSERT INTO two (a, b) SELECT u.a, u.b FROM unnest($3::bigint[], $4::text[]) AS u (a, b)), \
             rows (a) AS (SELECT u.a FROM unnest($5::bigint[]) AS u (a)) UPDATE three SET a = rows.a FROM rows RETURNING a"
        );
        assert!(Joint::default().whole().is_none());
    }
}
