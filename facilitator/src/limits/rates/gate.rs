//! The rates and the requests under way of every caller.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;

use super::{
    Allowance, Rate,
    rate::{Spacing, decide},
};
use crate::redis_client::{PREFIX, Purpose, RedisClient};

/// The decision of [`decide`], by the clock of Redis: 0, or the wait in microseconds.
const DECIDE: &str = "local time = redis.call('TIME') \
     local now = time[1] * 1000000 + time[2] \
     local taken = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) \
     local wait = taken - now - ARGV[2] \
     if wait > 0 then return wait end \
     taken = taken + ARGV[1] \
     redis.call('SET', KEYS[1], string.format('%.0f', taken), 'PX', math.ceil((taken - now) / 1000) + 1) \
     return 0";

/// The reason why a request is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Its caller made too many; the next one may come after this time.
    Rate(Duration),
    /// Its caller has too many under way.
    InFlight,
}

impl Over {
    /// The word for it in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rate(_) => "rate",
            Self::InFlight => "in_flight",
        }
    }
}

/// A request that was let through; dropping it ends it.
#[derive(Debug, Default)]
pub struct Admitted(Option<Arc<AtomicU32>>);

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(under_way) = &self.0 {
            under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The rates and the requests under way of every caller. Callers are those of the configuration, so
/// that what is remembered has a bound.
pub struct Gate {
    redis: Option<RedisClient>,
    /// The instances that share the gas wallets, this one among them.
    sharing: Box<dyn Fn() -> u32 + Send + Sync>,
    started: Instant,
    taken: DashMap<(String, &'static str), u64>,
    under_way: DashMap<String, Arc<AtomicU32>>,
}

impl Gate {
    /// Nothing used up. Rates are shared by this Redis, where there is one; where there is none, or it does not
    /// answer, each of the instances has its part. `sharing`: those that share the gas wallets, this one among them.
    pub fn new(redis: Option<RedisClient>, sharing: impl Fn() -> u32 + Send + Sync + 'static) -> Self {
        let sharing = Box::new(sharing);
        Self { redis, sharing, started: Instant::now(), taken: DashMap::new(), under_way: DashMap::new() }
    }

    /// Lets a request of a caller through on a route, or says why not. Called before anything of it is read.
    ///
    /// # Errors
    /// The caller is over one of its limits.
    pub async fn admit(&self, caller: &str, route: &'static str, allowance: Allowance) -> Result<Admitted, Over> {
        let admitted = match allowance.in_flight_max {
            Some(max) => self.begin(caller, max)?,
            None => Admitted::default(),
        };
        if let Some(rate) = allowance.rate {
            self.take(caller, route, rate).await.map_err(Over::Rate)?;
        }
        Ok(admitted)
    }

    fn instances(&self) -> u32 {
        self.redis.as_ref().map_or(1, RedisClient::instances).max((self.sharing)())
    }

    fn begin(&self, caller: &str, max: u32) -> Result<Admitted, Over> {
        let part = (max / self.instances()).max(1);
        let under_way = Arc::clone(&self.under_way.entry(caller.to_owned()).or_default());
        let count = under_way.fetch_add(1, Ordering::Relaxed);
        // Counted either way until it is dropped.
        let admitted = Admitted(Some(under_way));
        if count < part { Ok(admitted) } else { Err(Over::InFlight) }
    }

    async fn take(&self, caller: &str, route: &'static str, rate: Rate) -> Result<(), Duration> {
        match &self.redis {
            Some(redis) => match Box::pin(shared(redis, caller, route, rate.spacing(1))).await {
                Some(decided) => decided,
                None => self.take_alone(caller, route, rate),
            },
            None => self.take_alone(caller, route, rate),
        }
    }

    fn take_alone(&self, caller: &str, route: &'static str, rate: Rate) -> Result<(), Duration> {
        let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut taken = self.taken.entry((caller.to_owned(), route)).or_default();
        *taken = decide(*taken, now, rate.spacing(self.instances()))?;
        Ok(())
    }
}

/// The decision of Redis; `None` without an answer.
async fn shared(redis: &RedisClient, caller: &str, route: &str, spacing: Spacing) -> Option<Result<(), Duration>> {
    let mut command = redis::cmd("EVAL");
    command.arg(DECIDE).arg(1).arg(format!("{PREFIX}r:{caller}:{route}")).arg(spacing.interval).arg(spacing.ahead);
    let wait = redis.ask::<u64>(Purpose::Rate, &command).await.ok()?;
    Some(if wait == 0 { Ok(()) } else { Err(Duration::from_micros(wait)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn callers_have_limits_of_their_own_and_what_ends_makes_room() {
        let gate = Gate::new(None, || 1);
        let allowance = |rate: Option<&str>, in_flight_max| Allowance {
            rate: rate.map(|rate| rate.parse().expect("a rate")),
            in_flight_max,
        };
        let limited = allowance(Some("1/h"), None);
        assert!(gate.admit("a", "settle", limited).await.is_ok());
        assert!(matches!(gate.admit("a", "settle", limited).await, Err(Over::Rate(wait)) if wait.as_secs() > 3_500));
        assert!(gate.admit("a", "verify", limited).await.is_ok(), "another route");
        assert!(gate.admit("b", "settle", limited).await.is_ok(), "another caller");
        let two = allowance(None, Some(2));
        let (first, second) = (gate.admit("c", "settle", two).await, gate.admit("c", "verify", two).await);
        assert!(first.is_ok() && second.is_ok());
        for _ in 0..3 {
            assert_eq!(gate.admit("c", "settle", two).await.err(), Some(Over::InFlight));
        }
        drop(first);
        assert!(gate.admit("c", "settle", two).await.is_ok());
        assert!(gate.admit("d", "settle", Allowance::default()).await.is_ok(), "no limits");
    }

    #[tokio::test]
    async fn each_instance_has_its_part_where_nothing_is_shared() {
        for (instances, expected) in [(1, 6), (2, 3), (3, 2), (9, 1)] {
            let gate = Gate::new(None, move || instances);
            let limited = Allowance { rate: Some("6/h".parse().expect("a rate")), in_flight_max: None };
            let mut taken = 0;
            while gate.admit("a", "settle", limited).await.is_ok() {
                taken += 1;
            }
            assert_eq!(taken, expected, "{instances} instances");
            let crowded = Allowance { rate: None, in_flight_max: Some(6) };
            let mut under_way = vec![];
            while let Ok(admitted) = gate.admit("b", "settle", crowded).await {
                under_way.push(admitted);
            }
            assert_eq!(under_way.len(), expected, "{instances} instances");
        }
    }
}
