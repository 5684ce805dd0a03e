//! A look into the database beside the instances, by no way that a fault closes.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, postgres::PgRow};
use tokio::sync::Mutex;

use super::history::{Attempt, Event, Place, Settlement, Tables};

/// The longest that an answer is waited for.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// The same for whole tables.
const TABLE_MAX: Duration = Duration::from_secs(20);

/// A session that is made again whenever it is needed.
pub struct Observer {
    url: Mutex<String>,
    session: Mutex<Option<PgConnection>>,
}

impl Observer {
    /// Looks into the database of this URL.
    pub fn of(url: String) -> Self {
        Self { url: Mutex::new(url), session: Mutex::new(None) }
    }

    /// Looks into another one from now on.
    pub async fn move_to(&self, url: String) {
        *self.url.lock().await = url;
        *self.session.lock().await = None;
    }

    /// Runs a statement; `None` when the server does not answer in time, or refuses.
    pub async fn ask(&self, sql: &str) -> Option<Vec<PgRow>> {
        self.ask_within(sql, ANSWER_MAX).await
    }

    async fn ask_within(&self, sql: &str, time: Duration) -> Option<Vec<PgRow>> {
        let url = self.url.lock().await.clone();
        let mut place = self.session.lock().await;
        let session = place.take();
        let asked = async {
            let mut session = match session {
                Some(session) => session,
                None => PgConnection::connect(&url).await?,
            };
            let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut session).await?;
            Ok::<_, sqlx::Error>((session, rows))
        };
        let (session, rows) = tokio::time::timeout(time, asked).await.ok()?.ok()?;
        *place = Some(session);
        Some(rows)
    }

    /// True when the store has these bytes; `None` when it does not answer.
    pub async fn has_attempt(&self, hash: &str) -> Option<bool> {
        let rows = self.ask(&format!("SELECT 1 FROM attempt a WHERE a.hash = '{hash}'")).await?;
        Some(!rows.is_empty())
    }

    /// The number of settlements and transactions that have not ended, and of payments that were handed over and not
    /// begun; `None` when it does not answer.
    pub async fn unfinished(&self) -> Option<i64> {
        let sql = "SELECT (SELECT count(*) FROM settlement s WHERE s.state NOT IN ('settled', 'failed')) \
             + (SELECT count(*) FROM wallet_transaction t WHERE t.state = 'open') + (SELECT count(*) FROM handed_over)";
        self.ask(sql).await?.first()?.try_get(0).ok()
    }

    /// The number of settlements that the chain may still take back; `None` when it does not answer.
    pub async fn unfinalized(&self) -> Option<i64> {
        let sql = "SELECT count(*) FROM settlement s WHERE s.state = 'settled' AND s.finalized_at IS NULL";
        self.ask(sql).await?.first()?.try_get(0).ok()
    }

    /// The number of settled settlements of a network.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn settled(&self, network: &str) -> u64 {
        let sql = format!("SELECT count(*) FROM settlement s WHERE s.network = '{network}' AND s.state = 'settled'");
        let rows = self.ask_within(&sql, TABLE_MAX).await.expect("an answer");
        number(rows.first().expect("a row"), 0)
    }

    /// Reads all tables; `None` when the server does not answer.
    pub async fn tables(&self) -> Option<Tables> {
        let settlements = "SELECT s.id::text, lower(s.payer || '/' || s.nonce), s.amount, s.state, s.final_transaction, s.finalized_at IS NOT NULL \
             FROM settlement s ORDER BY s.id";
        let places = "SELECT t.id::text, lower(t.network || ' ' || t.gas_wallet), t.nonce, t.epoch, t.state \
             FROM wallet_transaction t ORDER BY t.id";
        let attempts = "SELECT a.transaction_id::text, a.hash FROM attempt a ORDER BY a.transaction_id, a.number";
        let events =
            "SELECT e.settlement::text, e.number, e.kind, e.detail FROM event e ORDER BY e.settlement, e.number";
        let handed_over = "SELECT h.id::text FROM handed_over h ORDER BY h.id";
        Some(Tables {
            settlements: self.table(settlements, settlement).await?,
            places: self.table(places, place).await?,
            attempts: self.table(attempts, attempt).await?,
            events: self.table(events, event).await?,
            handed_over: self.table(handed_over, |row| text(row, 0)).await?,
        })
    }

    async fn table<T>(&self, sql: &str, read: fn(&PgRow) -> T) -> Option<Vec<T>> {
        Some(self.ask_within(sql, TABLE_MAX).await?.iter().map(read).collect())
    }
}

fn text(row: &PgRow, column: usize) -> String {
    row.get(column)
}

fn number(row: &PgRow, column: usize) -> u64 {
    u64::try_from(row.get::<i64, _>(column)).expect("not negative")
}

fn settlement(row: &PgRow) -> Settlement {
    let amount = text(row, 2).parse().expect("an amount");
    Settlement {
        id: text(row, 0),
        payment: text(row, 1),
        amount,
        state: text(row, 3),
        transaction: row.get(4),
        finalized: row.get(5),
    }
}

fn place(row: &PgRow) -> Place {
    let nonce: Option<i64> = row.get(2);
    let nonce = nonce.map(|nonce| u64::try_from(nonce).expect("not negative"));
    Place { id: text(row, 0), wallet: text(row, 1), nonce, epoch: number(row, 3), state: text(row, 4) }
}

fn attempt(row: &PgRow) -> Attempt {
    Attempt { place: text(row, 0), hash: text(row, 1) }
}

fn event(row: &PgRow) -> Event {
    Event { settlement: text(row, 0), number: number(row, 1), kind: text(row, 2), detail: text(row, 3) }
}
