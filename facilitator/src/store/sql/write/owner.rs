//! The owners of gas wallets, and the operator's word.

use chains_core::protocol::Version;

use super::{Events, end::is_foreign, time};
use crate::{
    settlement::{Status, record::RESOLVED},
    store::{
        OperatorWord, StoreError,
        sql::{
            database::{Connection, Session},
            statement::Statement,
            writer::{Owner, Raise},
        },
    },
};

/// The sentence for callers of a settlement that the operator's word failed.
/// The operator's own reason stays inside.
const ENDED_BY_OPERATOR: &str = "the payment's fate could not be proven, and the operator of this service has ended it";

/// Gives a gas wallet to a new owner; returns the epoch.
pub(super) async fn own(session: &mut Session<'_>, owner: &Owner) -> Result<u64, StoreError> {
    let own = "INSERT INTO wallet_owner (network, gas_wallet, owner, epoch, taken_at) VALUES ($1, $2, $3, 1, $4) \
         ON CONFLICT (network, gas_wallet) DO UPDATE SET owner = excluded.owner, owner_name = '', \
         epoch = wallet_owner.epoch + 1, beat = 0, taken_at = excluded.taken_at RETURNING epoch";
    let values = [
        owner.network.as_str().into(),
        owner.gas_wallet.as_str().into(),
        owner.name.as_str().into(),
        time(owner.at).into(),
    ];
    let row = session.first(Statement::of(session.dialect(), own, values)).await?;
    let epoch: i64 = row.map(|row| row.get(0)).transpose()?.unwrap_or_default();
    Ok(u64::try_from(epoch).unwrap_or_default())
}

/// Raises the epoch of a gas wallet whose owner is still the same; returns the
/// new one.
pub(super) async fn raise(session: &mut Session<'_>, raise: &Raise) -> Result<Option<u64>, StoreError> {
    let sql = "UPDATE wallet_owner SET epoch = epoch + 1 WHERE network = $1 AND gas_wallet = $2 AND owner = $3 \
         RETURNING epoch";
    let values = [raise.network.as_str().into(), raise.gas_wallet.as_str().into(), raise.owner.as_str().into()];
    let row = session.first(Statement::of(session.dialect(), sql, values)).await?;
    Ok(row.map(|row| row.get::<i64, _>(0)).transpose()?.and_then(|epoch| u64::try_from(epoch).ok()))
}

/// Ends an unresolved settlement by the operator's word.
pub(super) async fn resolve(
    session: &mut Session<'_>,
    word: &OperatorWord,
    events: &mut Events,
) -> Result<bool, StoreError> {
    let done = match &word.settled_by {
        Some(transaction) => settle(session, word, transaction).await?,
        None => fail(session, word).await?,
    };
    if done {
        let end = word.settled_by.as_ref().map_or_else(|| "failed".to_owned(), |by| format!("settled by {by}"));
        events.add(word.id, RESOLVED, &format!("{end}: {}", word.reason), word.at);
    }
    Ok(done)
}

/// The block is that of an attempt, where the transaction is one of ours and
/// was seen in a block. Nothing looks at the transfer again: no proof is to be had.
async fn settle(session: &mut Session<'_>, word: &OperatorWord, transaction: &str) -> Result<bool, StoreError> {
    let block = "SELECT a.block_number, a.block_hash FROM transaction_item i \
         JOIN attempt a ON a.transaction_id = i.transaction_id \
         WHERE i.settlement = $1 AND a.hash = $2 AND a.block_number IS NOT NULL LIMIT 1";
    let block = Statement::of(session.dialect(), block, [word.id.into(), transaction.into()]);
    let block = session.first(block).await?;
    let (number, hash) = match &block {
        Some(row) => (row.get::<Option<i64>, _>(0)?, row.get::<Option<&str>, _>(1)?),
        None => (None, None),
    };
    let settle = format!(
        "UPDATE settlement SET state = $1, final_transaction = $2, final_is_foreign = {}, final_block_number = $3, \
         final_block_hash = $4, unresolved_why = NULL, ended_at = $5, finalized_at = $5, updated_at = $5 \
         WHERE id = $6 AND state = 'unresolved'",
        is_foreign(session.dialect(), "$6", "$2")
    );
    let values = [
        Status::Settled.as_str().into(),
        transaction.into(),
        number.into(),
        hash.into(),
        time(word.at).into(),
        word.id.into(),
    ];
    Ok(session.run(Statement::of(session.dialect(), settle, values)).await? > 0)
}

/// As long as the payment's last step can be executed, the finality check
/// watches whether somebody does.
async fn fail(session: &mut Session<'_>, word: &OperatorWord) -> Result<bool, StoreError> {
    let fail = "UPDATE settlement SET state = $1, reason = $2, message = $3, executable_until = \
         (SELECT p.valid_before FROM step p WHERE p.settlement = settlement.id ORDER BY p.number DESC LIMIT 1), \
         unresolved_why = NULL, ended_at = $4, updated_at = $4 WHERE id = $5 AND state = 'unresolved'";
    let reason = chains_core::reason::ENDED_BY_OPERATOR.spelling(Version::V2);
    let values =
        [Status::Failed.as_str().into(), reason.into(), ENDED_BY_OPERATOR.into(), time(word.at).into(), word.id.into()];
    Ok(session.run(Statement::of(session.dialect(), fail, values)).await? > 0)
}

/// The same in a transaction of its own, on a connection beside the writer's.
pub(in crate::store::sql) async fn resolve_alone(
    connection: &mut Connection,
    word: &OperatorWord,
) -> Result<bool, StoreError> {
    let mut session = connection.session();
    session.begin().await?;
    match resolve_and_tell(&mut session, word).await {
        Ok(done) => {
            session.commit().await?;
            Ok(done)
        }
        Err(error) => {
            session.rollback().await?;
            Err(error)
        }
    }
}

async fn resolve_and_tell(session: &mut Session<'_>, word: &OperatorWord) -> Result<bool, StoreError> {
    let mut events = Events::default();
    let done = resolve(session, word, &mut events).await?;
    events.write(session).await?;
    Ok(done)
}
