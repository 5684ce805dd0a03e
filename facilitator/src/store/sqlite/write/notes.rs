//! The answers to sends.

use std::collections::{BTreeMap, HashMap};

use chains_core::clock::Millis;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{NOT_ENDED, ROWS_MAX, cut, time};
use crate::{settlement::SettlementId, store::SendNote};

/// Answers kept of one attempt, so that one that waits for hours does not
/// fill the disk. The migration and the records say so too.
const ANSWERS_MAX: i64 = 100;

/// The word that says that an endpoint has the transaction.
const ACCEPTED: &str = "accepted";

/// Writes how sends went.
pub(super) async fn write(connection: &mut SqliteConnection, notes: &[SendNote]) -> Result<(), sqlx::Error> {
    let mut sent: BTreeMap<SettlementId, (bool, Millis)> = BTreeMap::new();
    for note in notes {
        for id in &note.settlements {
            let (accepted, at) = sent.entry(*id).or_insert((false, note.at));
            (*accepted, *at) = (*accepted || note.answer == ACCEPTED, note.at);
        }
    }
    let sent: Vec<_> = sent.into_iter().collect();
    for rows in sent.chunks(ROWS_MAX) {
        mark_sent(connection, rows).await?;
    }
    keep_answers(connection, notes).await?;
    count_sends(connection, notes).await
}

async fn mark_sent(
    connection: &mut SqliteConnection,
    sent: &[(SettlementId, (bool, Millis))],
) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new("WITH sent (id, accepted, at) AS (");
    query.push_values(sent, |mut tuple, (id, (accepted, at))| {
        tuple.push_bind(id.0.as_bytes().as_slice()).push_bind(i64::from(*accepted)).push_bind(time(*at));
    });
    query.push(
        ") UPDATE settlement SET state = CASE state WHEN 'signed' THEN 'broadcast' ELSE state END, \
         accepted = max(settlement.accepted, sent.accepted), updated_at = sent.at FROM sent \
         WHERE settlement.id = sent.id AND (settlement.state = 'signed' OR sent.accepted > settlement.accepted) \
         AND settlement.state IN ",
    );
    query.push(NOT_ENDED);
    query.build().execute(connection).await.map(|_| ())
}

async fn keep_answers(connection: &mut SqliteConnection, notes: &[SendNote]) -> Result<(), sqlx::Error> {
    let mut places: HashMap<&str, i64> = HashMap::new();
    let mut query = QueryBuilder::<Sqlite>::new("WITH sent (hash, place, answer, detail, at) AS (");
    query.push_values(notes, |mut tuple, note| {
        let place = places.entry(note.hash.as_str()).or_insert(0);
        tuple
            .push_bind(note.hash.as_str())
            .push_bind(*place)
            .push_bind(note.answer)
            .push_bind(cut(&note.detail))
            .push_bind(time(note.at));
        *place += 1;
    });
    query.push(
        ") INSERT INTO broadcast_answer (transaction_id, attempt, number, answer, detail, at) \
         SELECT a.transaction_id, a.number, a.sends + sent.place, sent.answer, sent.detail, sent.at \
         FROM sent CROSS JOIN attempt a ON a.hash = sent.hash WHERE a.sends < ",
    );
    query.push_bind(ANSWERS_MAX);
    query.build().execute(connection).await.map(|_| ())
}

async fn count_sends(connection: &mut SqliteConnection, notes: &[SendNote]) -> Result<(), sqlx::Error> {
    let mut counts: BTreeMap<&str, (i64, Millis)> = BTreeMap::new();
    for note in notes {
        let (count, at) = counts.entry(note.hash.as_str()).or_insert((0, note.at));
        (*count, *at) = (*count + 1, note.at);
    }
    let mut query = QueryBuilder::<Sqlite>::new("WITH sent (hash, sends, at) AS (");
    query.push_values(counts, |mut tuple, (hash, (sends, at))| {
        tuple.push_bind(hash).push_bind(sends).push_bind(time(at));
    });
    query.push(
        ") UPDATE attempt SET sends = attempt.sends + sent.sends, last_sent_at = sent.at FROM sent \
         WHERE attempt.hash = sent.hash",
    );
    query.build().execute(connection).await.map(|_| ())
}
