//! One process owns the database.
//!
//! An advisory lock belongs to a session and ends with it, so it cannot outlive
//! its process, and whoever has it knows that the session which had it before is
//! over, whatever that session was in the middle of.

use std::time::{Duration, Instant};

use super::server::OpenError;
use crate::store::{
    StoreError,
    sql::{
        database::{Connection, Owned},
        statement::{Dialect, Statement},
    },
};

/// The lock's name: one for each schema of a database.
const NAME: &str = "hashtext('facilitator'), hashtext(current_schema())";

/// The session that has the lock.
const HOLDER: &str = "SELECT l.pid::bigint, coalesce(nullif(a.application_name, ''), 'a session'), \
     coalesce(host(a.client_addr), 'this machine') FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE l.locktype = 'advisory' AND l.granted \
     AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) \
     AND l.classid::bigint = hashtext('facilitator')::bigint & 4294967295 \
     AND l.objid::bigint = hashtext(current_schema())::bigint & 4294967295 LIMIT 1";

/// The longest that a start waits for the lock: the session of a process that
/// has just died ends as soon as the server sees it.
const TAKE_MAX: Duration = Duration::from_secs(5);

/// Tries are this far apart.
const TAKE_EVERY: Duration = Duration::from_millis(50);

/// Takes the lock for a connection, and waits a little for the last owner's end.
pub(super) async fn take_in_time(connection: &mut Connection) -> Result<(), OpenError> {
    let started = Instant::now();
    loop {
        match take(connection).await {
            Err(OpenError::Owned { .. }) if started.elapsed() < TAKE_MAX => tokio::time::sleep(TAKE_EVERY).await,
            taken => return taken,
        }
    }
}

/// Takes the lock for a connection, or says which process has it.
pub(super) async fn take(connection: &mut Connection) -> Result<(), OpenError> {
    let take = Statement::new(Dialect::Postgres, format!("SELECT pg_try_advisory_lock({NAME})"));
    let taken = connection.session().first(take).await?.map(|row| row.get(0)).transpose().map_err(StoreError::from)?;
    if taken == Some(true) {
        return Ok(());
    }
    let holder = holder(connection).await?.unwrap_or_else(|| "another process".to_owned());
    Err(OpenError::Owned { holder })
}

/// The process that has the lock.
pub(super) async fn holder(connection: &mut Connection) -> Result<Option<String>, StoreError> {
    let Some(row) = connection.session().first(Statement::new(Dialect::Postgres, HOLDER)).await? else {
        return Ok(None);
    };
    let (pid, name, host): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(Some(format!("{name} on {host} (server process {pid})")))
}

/// Makes sure that nobody has had one of these wallets since they were taken.
pub(super) async fn check_owners(connection: &mut Connection, owned: &Owned) -> Result<(), StoreError> {
    if owned.is_empty() {
        return Ok(());
    }
    let owners = "SELECT o.network, o.gas_wallet, o.owner FROM wallet_owner o";
    for row in connection.session().all(Statement::new(Dialect::Postgres, owners)).await? {
        let (wallet, name): (_, String) = ((row.get(0)?, row.get(1)?), row.get(2)?);
        if owned.get(&wallet).is_some_and(|ours| *ours != name) {
            return Err(StoreError::Taken(name));
        }
    }
    Ok(())
}
