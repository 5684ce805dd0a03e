//! The faults of a schedule, brought about and ended.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::{sync::Mutex, time::Instant};

use super::{
    cluster::Instance,
    link::{Link, State},
    recorder::Recorder,
    schedule::{Fault, Lane, Schedule, To},
    solana,
    store::Observer,
};
use crate::{
    anvil::Anvil,
    postgres::Postgres,
    proxy::{Fault as Lost, Proxy, Times},
    redis::Redis,
    stranger::SEND,
};

/// Faults that come again and again come so often, so far apart.
const AGAIN: u32 = 10;
const AGAIN_EVERY: Duration = Duration::from_millis(100);

/// The base fee of the chain, and one above what is offered at it.
const BASE_FEE: &str = "0x3b9aca00";
const LEAPT: &str = "0xba43b7400";

/// Everything that a fault may hit.
pub struct World {
    /// The instances.
    pub instances: Vec<Arc<Instance>>,
    /// Redis.
    pub redis: Mutex<Redis>,
    /// The database's server.
    pub postgres: Arc<Postgres>,
    /// The look beside the instances.
    pub observer: Arc<Observer>,
    /// The chain.
    pub chain: Arc<Anvil>,
    /// The pen.
    pub recorder: Recorder,
    /// The story of the faults, for people.
    pub told: std::sync::Mutex<Vec<String>>,
}

impl World {
    /// Has the faults of a lane come until a moment; all of them are over then.
    ///
    /// Servers die with the thread that starts them: it is to be one that stays.
    pub async fn trouble(&self, seed: u64, lane: Lane, until: Instant) {
        for planned in Schedule::new(seed, lane) {
            if Instant::now() + planned.after >= until {
                return;
            }
            // The moments are the seed's.
            tokio::time::sleep(planned.after).await;
            self.tell(&format!("{:?} for {} ms", planned.fault, planned.lasts.as_millis()));
            self.begin(planned.fault).await;
            tokio::time::sleep(planned.lasts).await;
            self.end(planned.fault).await;
        }
    }

    fn tell(&self, what: &str) {
        let line = format!("{:>7} ms {what}", self.recorder.now());
        self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
    }

    fn instance(&self, number: usize) -> &Instance {
        self.instances.get(number).expect("an instance")
    }

    async fn begin(&self, fault: Fault) {
        match fault {
            Fault::Kill(one) => self.instance(one).kill(),
            Fault::Freeze(one) => self.instance(one).freeze(),
            Fault::Terminate(one) => self.instance(one).terminate(),
            Fault::ClockJump(one, seconds) => self.instance(one).clock.set(seconds),
            Fault::RedisFlush => self.again(async || self.redis(&["FLUSHALL"]).await).await,
            Fault::RedisPause => self.redis.lock().await.pause(),
            Fault::RedisKill => self.redis.lock().await.kill(),
            Fault::RedisFull => self.redis(&["CONFIG", "SET", "maxmemory", "1"]).await,
            Fault::RedisReadOnly => self.redis(&["REPLICAOF", "127.0.0.1", "9"]).await,
            Fault::DatabaseStop => self.postgres.stop(),
            Fault::DatabaseFreeze => self.postgres.freeze(),
            Fault::SessionsEnd => self.again(async || self.end_sessions().await).await,
            Fault::SlowDisk => self.commit_delay(100_000).await,
            Fault::Way(one, to, state) => self.way(one, to).set(state),
            Fault::AllWays(to, state) => self.instances.iter().for_each(|one| way_of(one, to).set(state)),
            Fault::LoseSends(one) => self.lose(one, SEND, Lost::LoseRequest),
            Fault::LoseAnswers(one) => self.lose(one, SEND, Lost::LoseAnswer),
            Fault::NodeFails(one) => self.lose(one, "*", Lost::Status(500)),
            Fault::Reorg(blocks) => self.chain_does("anvil_reorg", json!([blocks, []])).await,
            Fault::FeeLeap => self.base_fee(LEAPT).await,
            Fault::Steal => self.steal("").await,
            Fault::StealAndKeep => self.steal("a thief").await,
        }
    }

    async fn end(&self, fault: Fault) {
        match fault {
            Fault::Kill(one) => self.instance(one).revive(),
            Fault::Freeze(one) => self.instance(one).thaw(),
            Fault::ClockJump(one, _) => self.instance(one).clock.set(0),
            Fault::RedisPause => self.redis.lock().await.resume(),
            Fault::RedisKill => self.redis.lock().await.restart().await,
            Fault::RedisFull => self.redis(&["CONFIG", "SET", "maxmemory", "64mb"]).await,
            Fault::RedisReadOnly => self.redis(&["REPLICAOF", "NO", "ONE"]).await,
            Fault::DatabaseStop => self.postgres.go_on(),
            Fault::DatabaseFreeze => self.postgres.wake(),
            Fault::SlowDisk => self.commit_delay(0).await,
            Fault::Way(one, to, _) => self.way(one, to).set(State::Open),
            Fault::AllWays(to, _) => self.instances.iter().for_each(|one| way_of(one, to).set(State::Open)),
            Fault::LoseSends(one) | Fault::LoseAnswers(one) | Fault::NodeFails(one) => {
                self.instance(one).ways.proxy.heal();
                self.instance(one).ways.solana.iter().for_each(Proxy::heal);
            }
            Fault::FeeLeap => self.base_fee(BASE_FEE).await,
            Fault::Terminate(_)
            | Fault::RedisFlush
            | Fault::SessionsEnd
            | Fault::Reorg(_)
            | Fault::Steal
            | Fault::StealAndKeep => {}
        }
    }

    async fn again(&self, happens: impl AsyncFn()) {
        for _ in 0..AGAIN {
            happens().await;
            tokio::time::sleep(AGAIN_EVERY).await;
        }
    }

    async fn redis(&self, command: &[&str]) {
        drop(self.redis.lock().await.ask(command));
    }

    async fn end_sessions(&self) {
        let sql = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a \
             WHERE a.application_name LIKE 'facilitator%' AND random() < 0.5";
        drop(self.observer.ask(sql).await);
    }

    async fn commit_delay(&self, microseconds: u32) {
        for sql in [&format!("ALTER SYSTEM SET commit_delay = {microseconds}"), "SELECT pg_reload_conf()"] {
            drop(self.observer.ask(sql).await);
        }
    }

    fn way(&self, one: usize, to: To) -> &Link {
        way_of(self.instance(one), to)
    }

    fn lose(&self, one: usize, method: &str, lost: Lost) {
        self.instance(one).ways.proxy.fail(method, lost.clone(), Times::Always);
        if let Some(proxy) = &self.instance(one).ways.solana {
            proxy.fail(if method == SEND { solana::SEND } else { method }, lost, Times::Always);
        }
    }

    async fn chain_does(&self, method: &str, parameters: serde_json::Value) {
        drop(self.chain.node.try_call(method, parameters).await);
    }

    async fn base_fee(&self, base_fee: &str) {
        self.chain_does("anvil_setNextBlockBaseFeePerGas", json!([base_fee])).await;
        self.chain.node.mine().await;
    }

    async fn steal(&self, owner: &str) {
        let sql = format!(
            "UPDATE wallet_owner SET owner = '{owner}', owner_name = '{owner}', epoch = epoch + 1 \
             WHERE (network, gas_wallet) = (SELECT o.network, o.gas_wallet FROM wallet_owner o ORDER BY random() LIMIT 1)"
        );
        drop(self.observer.ask(&sql).await);
    }
}

fn way_of(instance: &Instance, to: To) -> &Link {
    match to {
        To::Database => &instance.ways.database,
        To::Redis => &instance.ways.redis,
        To::Node => &instance.ways.node,
    }
}
