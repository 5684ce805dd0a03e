//! Connections that read the file.
//!
//! sqlx's own pool asks each connection after its use whether it is still
//! there: for a file in this process that is a second trip to the connection's
//! thread for each look-up. Here a connection goes back by itself once its
//! answer is whole, and is ended when it is not.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::store::StoreError;

/// A fixed number of connections, made when they are first needed; the one that
/// was used last is used next.
#[derive(Clone)]
pub(in crate::store) struct SqliteReaders(Arc<Shared>);

struct Shared {
    options: SqliteConnectOptions,
    /// The longest that a look-up waits for a connection.
    wait_max: Duration,
    free: Mutex<Vec<SqliteConnection>>,
    places: Arc<Semaphore>,
}

impl fmt::Debug for SqliteReaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteReaders").field("places", &self.0.places.available_permits()).finish_non_exhaustive()
    }
}

impl SqliteReaders {
    /// At most this many connections at a time.
    pub(super) fn new(options: SqliteConnectOptions, connections: u32, wait_max: Duration) -> Self {
        let places = Arc::new(Semaphore::new(usize::try_from(connections).unwrap_or(1)));
        Self(Arc::new(Shared { options, wait_max, free: Mutex::default(), places }))
    }

    /// Takes a connection, and waits for one.
    ///
    /// # Errors
    /// The readers are closed, none came free in time, or none can be made.
    pub async fn take(&self) -> Result<SqliteReader, StoreError> {
        let place = tokio::time::timeout(self.0.wait_max, Arc::clone(&self.0.places).acquire_owned()).await;
        let place = place.map_err(|_| StoreError::NoAnswer)?.map_err(|_| StoreError::Closed)?;
        let free = self.0.free.lock().pop();
        let connection = match free {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.0.options).await?,
        };
        Ok(SqliteReader { connection, readers: Arc::clone(&self.0), _place: place })
    }

    /// Ends the connections. A look-up under way ends its own.
    pub async fn close(&self) {
        self.0.places.close();
        let free = std::mem::take(&mut *self.0.free.lock());
        for connection in free {
            drop(connection.close().await);
        }
    }
}

/// A connection that is in use. Dropped, it is ended: it may be in the middle
/// of an answer.
pub(in crate::store) struct SqliteReader {
    /// The connection.
    pub connection: SqliteConnection,
    readers: Arc<Shared>,
    _place: OwnedSemaphorePermit,
}

impl fmt::Debug for SqliteReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteReader")
    }
}

impl SqliteReader {
    /// Gives it back: its last answer is whole, and it is in no transaction.
    pub fn give_back(self) {
        // Those that come after `close` are dropped with the list.
        if !self.readers.places.is_closed() {
            self.readers.free.lock().push(self.connection);
        }
    }
}
