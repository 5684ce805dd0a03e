//! The story of each settlement.

use std::collections::HashMap;

use chains_core::clock::Millis;

use super::{ROWS_MAX, cut, time};
use crate::{
    settlement::SettlementId,
    store::{
        StoreError,
        sql::{database::Session, joint::Rows, statement::Statement},
    },
};

/// The events of a commit, written at its end.
#[derive(Default)]
pub(in crate::store::sql) struct Events(Vec<Event>);

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
    pub async fn write(self, session: &mut Session<'_>) -> Result<(), StoreError> {
        for rows in self.0.chunks(ROWS_MAX) {
            insert(session, rows).await?;
        }
        Ok(())
    }
}

async fn insert(session: &mut Session<'_>, rows: &[Event]) -> Result<(), StoreError> {
    // The look-up of the last number does not see the rows of its own statement.
    let mut places = HashMap::new();
    let happened = rows.iter().map(|event| {
        let place = places.entry(event.settlement).or_insert(0_i64);
        *place += 1;
        [
            event.settlement.into(),
            (*place - 1).into(),
            event.kind.into(),
            event.detail.as_str().into(),
            time(event.at).into(),
        ]
    });
    let mut query = Statement::new(session.dialect(), "WITH ");
    query.table("happened", ["settlement", "place", "kind", "detail", "at"], happened);
    query.push(
        " INSERT INTO event (settlement, number, kind, detail, at) \
         SELECT h.settlement, h.place + (SELECT coalesce(max(e.number) + 1, 0) FROM event e \
         WHERE e.settlement = h.settlement), h.kind, h.detail, h.at FROM happened h",
    );
    session.beside(Rows::of("event", rows.iter().map(|event| event.settlement)), query).await
}
