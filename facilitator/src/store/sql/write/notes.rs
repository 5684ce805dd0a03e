//! The answers to sends.

use std::collections::{BTreeMap, HashMap};

use chains_core::clock::Millis;

use super::{NOT_ENDED, ROWS_MAX, cut, time};
use crate::{
    settlement::SettlementId,
    store::{
        SendNote, StoreError,
        sql::{database::Session, joint::Rows, statement::Statement},
    },
};

/// Answers kept of one attempt, so that one that waits for hours does not
/// fill the disk. The migration and the records say so too.
const ANSWERS_MAX: i64 = 100;

/// The word that says that an endpoint has the transaction.
const ACCEPTED: &str = "accepted";

/// Writes how sends went.
pub(super) async fn write(session: &mut Session<'_>, notes: &[SendNote]) -> Result<(), StoreError> {
    let mut sent: BTreeMap<SettlementId, (bool, Millis)> = BTreeMap::new();
    for note in notes {
        for id in &note.settlements {
            let (accepted, at) = sent.entry(*id).or_insert((false, note.at));
            (*accepted, *at) = (*accepted || note.answer == ACCEPTED, note.at);
        }
    }
    let sent: Vec<_> = sent.into_iter().collect();
    for rows in sent.chunks(ROWS_MAX) {
        mark_sent(session, rows).await?;
    }
    keep_answers(session, notes).await?;
    count_sends(session, notes).await
}

async fn mark_sent(session: &mut Session<'_>, sent: &[(SettlementId, (bool, Millis))]) -> Result<(), StoreError> {
    let rows = sent.iter().map(|(id, (accepted, at))| [(*id).into(), (*accepted).into(), time(*at).into()]);
    let mut query = Statement::new(session.dialect(), "WITH ");
    query.table("sent", ["id", "accepted", "at"], rows);
    query.push(
        " UPDATE settlement SET state = CASE state WHEN 'signed' THEN 'broadcast' ELSE state END, \
         accepted = (settlement.accepted OR sent.accepted), updated_at = sent.at FROM sent \
         WHERE settlement.id = sent.id AND (settlement.state = 'signed' OR (sent.accepted AND NOT settlement.accepted)) \
         AND settlement.state IN ",
    );
    query.push(NOT_ENDED);
    session.beside(Rows::of("settlement", sent.iter().map(|(id, _)| *id)), query).await
}

async fn keep_answers(session: &mut Session<'_>, notes: &[SendNote]) -> Result<(), StoreError> {
    let mut places: HashMap<&str, i64> = HashMap::new();
    let rows = notes.iter().map(|note| {
        let place = places.entry(note.hash.as_str()).or_insert(0);
        *place += 1;
        [
            note.hash.as_str().into(),
            (*place - 1).into(),
            note.answer.into(),
            cut(&note.detail).into(),
            time(note.at).into(),
        ]
    });
    let mut query = Statement::new(session.dialect(), "WITH ");
    query.table("sent", ["hash", "place", "answer", "detail", "at"], rows);
    query.push(
        " INSERT INTO broadcast_answer (transaction_id, attempt, number, answer, detail, at) \
         SELECT a.transaction_id, a.number, a.sends + sent.place, sent.answer, sent.detail, sent.at FROM sent ",
    );
    query.push(session.dialect().join()).push(" attempt a ON a.hash = sent.hash WHERE a.sends < ").bind(ANSWERS_MAX);
    session.beside(Rows::of("broadcast_answer", hashes(notes)), query).await
}

async fn count_sends(session: &mut Session<'_>, notes: &[SendNote]) -> Result<(), StoreError> {
    let mut counts: BTreeMap<&str, (i64, Millis)> = BTreeMap::new();
    for note in notes {
        let (count, at) = counts.entry(note.hash.as_str()).or_insert((0, note.at));
        (*count, *at) = (*count + 1, note.at);
    }
    let rows = counts.into_iter().map(|(hash, (sends, at))| [hash.into(), sends.into(), time(at).into()]);
    let mut query = Statement::new(session.dialect(), "WITH ");
    query.table("sent", ["hash", "sends", "at"], rows);
    query.push(
        " UPDATE attempt SET sends = attempt.sends + sent.sends, last_sent_at = sent.at FROM sent \
         WHERE attempt.hash = sent.hash",
    );
    session.beside(Rows::of("attempt", hashes(notes)), query).await
}

fn hashes(notes: &[SendNote]) -> impl Iterator<Item = &str> {
    notes.iter().map(|note| note.hash.as_str())
}
