//! Marks in Redis: one command for each settle request.

use async_trait::async_trait;
use chains_core::Identity;
use redis::Cmd;
use tokio_util::task::TaskTracker;

use super::{Answer, ReplayGuard, mark};
use crate::{
    metrics,
    redis_client::{PREFIX, Purpose, RedisClient, Standing},
    settlement::SettlementId,
};

/// The life of a mark of an instance that verifies: longer than a verification takes, and no longer
/// than a caller of another instance waits when this one dies.
const VERIFYING_MS: u64 = 5_000;

/// The life of the mark of a success that was given away: repeated payments come within minutes,
/// and the store knows the others.
const DELIVERED_MS: u64 = 300_000;

/// Deletes a mark if it is still ours. `GET` and `DEL` apart would delete one that another instance has
/// set between them.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// The guard of instances that share a Redis.
pub struct RedisGuard {
    client: RedisClient,
    mark: String,
    tasks: TaskTracker,
}

impl RedisGuard {
    /// The guard over this Redis; what nobody waits for runs among these tasks.
    pub fn new(client: RedisClient, tasks: TaskTracker) -> Self {
        let mark = mark::verifying(client.instance());
        Self { client, mark, tasks }
    }

    /// Sends a command that nobody waits for. It ends within the budget of every command.
    fn send(&self, purpose: Purpose, command: Cmd) {
        let client = self.client.clone();
        self.tasks.spawn(async move {
            // Without an answer the mark ends by itself.
            drop(client.ask::<redis::Value>(purpose, &command).await);
        });
    }
}

fn key(identity: &Identity) -> String {
    format!("{PREFIX}m:{identity}")
}

#[async_trait]
impl ReplayGuard for RedisGuard {
    async fn mark(&self, identity: &Identity) -> Answer {
        let mut command = redis::cmd("SET");
        command.arg(key(identity)).arg(&self.mark).arg("NX").arg("GET").arg("PX").arg(VERIFYING_MS);
        let before = self.client.ask::<Option<String>>(Purpose::Mark, &command).await;
        let answer = before.map_or(Answer::Unknown, |before| mark::read(before.as_deref(), self.client.instance()));
        metrics::payment_marked(answer.word());
        answer
    }

    fn release(&self, identity: &Identity) {
        let mut command = redis::cmd("EVAL");
        command.arg(RELEASE).arg(1).arg(key(identity)).arg(&self.mark);
        self.send(Purpose::Release, command);
    }

    fn deliver(&self, identity: &Identity, settlement: SettlementId, transaction: &str) {
        let Some(mark) = mark::delivered(settlement, transaction) else { return };
        let mut command = redis::cmd("SET");
        command.arg(key(identity)).arg(mark).arg("PX").arg(DELIVERED_MS);
        self.send(Purpose::Deliver, command);
    }

    fn standing(&self) -> Option<Result<String, String>> {
        Some(match self.client.standing() {
            Standing::Used => Ok("ok".to_owned()),
            Standing::NotUsed(why) => Err(why),
        })
    }
}
