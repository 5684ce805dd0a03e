//! Notices between the processes of a database: something has ended.
//!
//! A notice is a statement of its own after the commit: one inside would take a
//! lock of the whole server until that commit is on the disk, and others could not
//! share a flush with it. It may get lost, and then costs time only.

use std::{sync::Arc, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::server::Way;
use crate::store::Notice;

/// The channel.
const DONE: &str = "x402_done";

/// The statement that gives notice.
const NOTIFY: &str = "NOTIFY x402_done";

/// Wait before the server is asked again for its notices.
const RETRY: Duration = Duration::from_secs(1);

/// One connection listens, and one tells.
const CONNECTIONS: u32 = 2;

/// Gives notice whenever `ended` says so, and passes everybody's notices on, until `stop`.
pub(super) fn start(
    way: Way,
    ended: Arc<Notify>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> watch::Receiver<Notice> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(RETRY).connect_lazy_with(way.options);
    let (told, notices) = watch::channel(Notice::default());
    tasks.spawn(async move {
        let both = async { tokio::join!(tell(&pool, &ended), listen(&pool, &told)) };
        let _: Option<_> = stop.run_until_cancelled(both).await;
        pool.close().await;
    });
    notices
}

async fn tell(pool: &PgPool, ended: &Notify) {
    loop {
        ended.notified().await;
        if let Err(error) = sqlx::raw_sql(NOTIFY).execute(pool).await {
            tracing::debug!(%error, "no notice is given; others find out by themselves");
        }
    }
}

async fn listen(pool: &PgPool, told: &watch::Sender<Notice>) {
    loop {
        if let Err(error) = pass_on(pool, told).await {
            tracing::debug!(%error, "there are no notices; the store is asked more often");
        }
        told.send_modify(|notice| notice.gives_notice = false);
        tokio::time::sleep(RETRY).await;
    }
}

/// Passes notices on until the connection fails.
async fn pass_on(pool: &PgPool, told: &watch::Sender<Notice>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(DONE).await?;
    loop {
        // Also after a connection that was made again: what came meanwhile is lost.
        told.send_modify(|notice| *notice = Notice { number: notice.number + 1, gives_notice: true });
        drop(listener.try_recv().await?);
    }
}
