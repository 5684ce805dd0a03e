//! Notices between the processes of a database: something has ended, or something
//! is to be taken.
//!
//! A notice is a statement of its own after the commit: one inside would take a
//! lock of the whole server until that commit is on the disk, and others could not
//! share a flush with it. It may get lost, and then costs time only.

use std::{sync::Arc, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::server::Way;
use crate::store::{Notice, Notices, sql::writer::News};

/// The channels: something has ended, something is to be taken.
const CHANNELS: [&str; 2] = ["x402_done", "x402_work"];

/// The statements that give notice.
const NOTIFY: [&str; 2] = ["NOTIFY x402_done", "NOTIFY x402_work"];

/// Wait before the server is asked again for its notices.
const RETRY: Duration = Duration::from_secs(1);

/// One connection listens, and one tells.
const CONNECTIONS: u32 = 2;

/// Gives notice whenever there are news, and passes everybody's notices on, until `stop`.
pub(super) fn start(way: Way, news: Arc<News>, tasks: &TaskTracker, stop: CancellationToken) -> Notices {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(RETRY).connect_lazy_with(way.options);
    let (ended, ended_notices) = watch::channel(Notice::default());
    let (work, work_notices) = watch::channel(Notice::default());
    let told = [ended, work];
    tasks.spawn(async move {
        let both = async { tokio::join!(tell(&pool, &news), listen(&pool, &told)) };
        let _: Option<_> = stop.run_until_cancelled(both).await;
        pool.close().await;
    });
    Notices { ended: ended_notices, work: work_notices }
}

async fn tell(pool: &PgPool, news: &News) {
    loop {
        let notify = tokio::select! {
            () = news.ended.notified() => NOTIFY[0],
            () = news.work.notified() => NOTIFY[1],
        };
        if let Err(error) = sqlx::raw_sql(notify).execute(pool).await {
            tracing::debug!(%error, "no notice is given; others find out by themselves");
        }
    }
}

async fn listen(pool: &PgPool, told: &[watch::Sender<Notice>; 2]) {
    loop {
        if let Err(error) = pass_on(pool, told).await {
            tracing::debug!(%error, "there are no notices; the store is asked more often");
        }
        for told in told {
            told.send_modify(|notice| notice.gives_notice = false);
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Passes notices on until the connection fails.
async fn pass_on(pool: &PgPool, told: &[watch::Sender<Notice>; 2]) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all(CHANNELS).await?;
    // At first, and after a connection that was made again, of everything: what came meanwhile is lost.
    let mut channel: Option<String> = None;
    loop {
        for (told, name) in told.iter().zip(CHANNELS) {
            if channel.as_deref().is_none_or(|channel| channel == name) {
                told.send_modify(|notice| *notice = Notice { number: notice.number + 1, gives_notice: true });
            }
        }
        channel = listener.try_recv().await?.map(|notice| notice.channel().to_owned());
    }
}
