//! The processes that use the database: instances that share it, or one that has
//! it for itself.
//!
//! An advisory lock belongs to a session and ends with it, so it cannot outlive
//! its process. It keeps a command that needs the database for itself, and a
//! release that knows no instances beside it, from running beside instances. Which
//! of them owns a gas wallet is a lease's affair.

use std::time::{Duration, Instant};

use super::server::OpenError;
use crate::store::{
    StoreError,
    sql::{
        database::Connection,
        statement::{Dialect, Statement},
    },
};

/// The lock's name: one for each schema of a database.
const NAME: &str = "hashtext('facilitator'), hashtext(current_schema())";

/// The use that a process makes of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// No other process uses it.
    Alone,
    /// Others that share it may, too.
    Shared,
}

/// The sessions that have the lock.
const HOLDERS: &str = "SELECT l.pid::bigint, coalesce(nullif(a.application_name, ''), 'a session'), \
     coalesce(host(a.client_addr), 'this machine') FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE l.locktype = 'advisory' AND l.granted \
     AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) \
     AND l.classid::bigint = hashtext('facilitator')::bigint & 4294967295 \
     AND l.objid::bigint = hashtext(current_schema())::bigint & 4294967295 ORDER BY l.pid";

/// The longest that a start waits for the lock: the session of a process that
/// has just died ends as soon as the server sees it.
const TAKE_MAX: Duration = Duration::from_secs(5);

/// Tries are this far apart.
const TAKE_EVERY: Duration = Duration::from_millis(50);

/// Takes the lock for a connection, and waits a little for the last owner's end.
pub(super) async fn take_in_time(connection: &mut Connection, hold: Hold) -> Result<(), OpenError> {
    let started = Instant::now();
    loop {
        match take(connection, hold).await {
            Err(OpenError::Owned { .. }) if started.elapsed() < TAKE_MAX => tokio::time::sleep(TAKE_EVERY).await,
            taken => return taken,
        }
    }
}

/// Takes the lock for a connection, or says which process has it.
pub(super) async fn take(connection: &mut Connection, hold: Hold) -> Result<(), OpenError> {
    let function = match hold {
        Hold::Alone => "pg_try_advisory_lock",
        Hold::Shared => "pg_try_advisory_lock_shared",
    };
    let take = Statement::new(Dialect::Postgres, format!("SELECT {function}({NAME})"));
    let taken = connection.session().first(take).await?.map(|row| row.get(0)).transpose().map_err(StoreError::from)?;
    if taken == Some(true) {
        return Ok(());
    }
    let holder = holder(connection).await?.unwrap_or_else(|| "another process".to_owned());
    Err(OpenError::Owned { holder })
}

/// The processes that have the lock.
pub(super) async fn holder(connection: &mut Connection) -> Result<Option<String>, StoreError> {
    let mut holders = vec![];
    for row in connection.session().all(Statement::new(Dialect::Postgres, HOLDERS)).await? {
        let (pid, name, host): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        holders.push(format!("{name} on {host} (server process {pid})"));
    }
    Ok((!holders.is_empty()).then(|| holders.join("; ")))
}
