//! The story of each settlement.

use std::collections::HashMap;

use chains_core::clock::Millis;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{ROWS_MAX, cut, time};
use crate::settlement::SettlementId;

/// The events of a commit, written at its end.
#[derive(Default)]
pub(in crate::store::sqlite) struct Events(Vec<Event>);

struct Event {
    settlement: SettlementId,
    kind: &'static str,
    detail: String,
    at: Millis,
}

impl Events {
    /// Adds an event. Those of one settlement keep their order.
    pub fn add(&mut self, settlement: SettlementId, kind: &'static str, detail: &str, at: Millis) {
        self.0.push(Event { settlement, kind, detail: cut(detail), at });
    }

    /// Writes the events that were added.
    pub async fn write(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for rows in self.0.chunks(ROWS_MAX) {
            insert(connection, rows).await?;
        }
        Ok(())
    }
}

async fn insert(connection: &mut SqliteConnection, rows: &[Event]) -> Result<(), sqlx::Error> {
    // The look-up of the last number does not see the rows of its own statement.
    let mut places = HashMap::new();
    let mut query = QueryBuilder::<Sqlite>::new("WITH happened (settlement, place, kind, detail, at) AS (");
    query.push_values(rows, |mut tuple, event| {
        let place = places.entry(event.settlement).or_insert(0_i64);
        tuple
            .push_bind(event.settlement.0.as_bytes().as_slice())
            .push_bind(*place)
            .push_bind(event.kind)
            .push_bind(event.detail.as_str())
            .push_bind(time(event.at));
        *place += 1;
    });
    query.push(
        ") INSERT INTO event (settlement, number, kind, detail, at) \
         SELECT h.settlement, h.place + (SELECT coalesce(max(e.number) + 1, 0) FROM event e \
         WHERE e.settlement = h.settlement), h.kind, h.detail, h.at FROM happened h",
    );
    query.build().execute(connection).await.map(|_| ())
}
