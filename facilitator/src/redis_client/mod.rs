//! Redis, which several instances share: it may refuse and delay, and decides nothing.
//!
//! | module | what it holds |
//! |---|---|
//! | [`address`] | the URL: one server, Sentinel, Cluster; TLS; users |
//! | [`breaker`] | the rule by which Redis is left alone, a pure machine |
//! | [`link`] | a connection, and what a server says of itself |
//! | [`keeper`] | the task that connects, probes and checks |
//!
//! Each command has [`BUDGET`] and is sent once. What does not answer in time
//! counts as no Redis at all; after five such commands none is sent, and the
//! keeper alone asks until Redis answers again. So a Redis that is slow, full,
//! read-only, paused or gone costs a few requests the budget, and the others nothing.

pub mod address;
pub mod breaker;
mod keeper;
mod link;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use redis::{Cmd, FromRedisValue, RedisError, from_redis_value};
use tokio::{sync::Notify, time::timeout};
use uuid::Uuid;

use self::{
    address::Options,
    breaker::{Breaker, Outcome},
    link::{Link, Proven},
};
use crate::{lifecycle::Lifecycle, metrics};

pub use self::link::LinkError;

/// The time that one command may take.
pub const BUDGET: Duration = Duration::from_millis(20);

/// Every key that this service writes begins like this; a user of Redis needs no other.
pub const PREFIX: &str = "x402:";

/// The use of a command, by which it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Marks a payment as being verified.
    Mark,
    /// Takes such a mark back.
    Release,
    /// Notes that a success was given away.
    Deliver,
    /// Takes a request from its caller's rate.
    Rate,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mark, Self::Release, Self::Deliver, Self::Rate];

    /// Its label.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Mark => "mark",
            Self::Release => "release",
            Self::Deliver => "deliver",
            Self::Rate => "rate",
        }
    }
}

/// The reason why there is no answer. Each means: go on as if there were no Redis.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Redis is not used at present: nothing was sent.
    #[error("Redis is not used at present")]
    NotUsed,
    /// It did not answer within [`BUDGET`].
    #[error("Redis did not answer within {} ms", BUDGET.as_millis())]
    Late,
    /// It answered with an error, or the connection broke.
    #[error(transparent)]
    Failed(#[from] RedisError),
}

impl NoAnswer {
    /// The word for it in metrics.
    const fn word(&self) -> &'static str {
        match self {
            Self::NotUsed => "not_used",
            Self::Late => "timeout",
            Self::Failed(_) => "error",
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Failed(error) if is_broken(error) => Outcome::Broken,
            Self::NotUsed | Self::Late | Self::Failed(_) => Outcome::Failed,
        }
    }
}

/// Returns true for an error after which the connection, or its server, is of no more use.
fn is_broken(error: &RedisError) -> bool {
    error.is_connection_dropped() || error.is_unrecoverable_error()
}

/// The standing of Redis, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Commands are sent to it.
    Used,
    /// None are, for this reason.
    NotUsed(String),
}

/// Redis, as the rest of the service uses it: cheap to clone.
#[derive(Clone)]
pub struct RedisClient(Arc<Shared>);

struct Shared {
    options: Options,
    state: Mutex<State>,
    /// Tells the keeper that the breaker has opened.
    opened: Notify,
    instance: String,
}

struct State {
    link: Option<Link>,
    breaker: Breaker,
    /// The reason why Redis is not used, while it is not.
    trouble: Option<String>,
    /// The instances that there were when Redis was asked last.
    instances: u32,
}

/// Looks at a Redis once: connects, judges what it says of itself, and does what requests do.
/// Called by the doctor.
///
/// # Errors
/// It cannot be used.
pub async fn inspect(options: &Options) -> Result<Duration, LinkError> {
    let instance = Uuid::now_v7().simple().to_string();
    let Proven { link, .. } = link::prove(None, options, &instance).await?;
    // Once more on the same connection: the time that requests see.
    let began = Instant::now();
    link::prove(Some(link), options, &instance).await?;
    Ok(began.elapsed() / 2)
}

impl RedisClient {
    /// Connects, and keeps the connection until the service stops. A Redis that does not answer is tried
    /// again for ever: the service goes on without it.
    ///
    /// # Errors
    /// It answers, and must not be used as it is configured.
    pub async fn start(options: Options, lifecycle: &Lifecycle) -> Result<Self, LinkError> {
        // Tells this process from every other one.
        let instance = Uuid::now_v7().simple().to_string();
        let state = match link::prove(None, &options, &instance).await {
            Ok(Proven { link, instances }) => {
                State { link: Some(link), breaker: Breaker::CLOSED, trouble: None, instances }
            }
            Err(error) if error.is_configuration() => return Err(error),
            Err(error) => State { link: None, breaker: Breaker::OPEN, trouble: Some(error.to_string()), instances: 1 },
        };
        metrics::instances(state.instances);
        let state = Mutex::new(state);
        let client = Self(Arc::new(Shared { options, state, opened: Notify::new(), instance }));
        client.tell_start();
        let (keeper, stop) = (client.clone(), lifecycle.stop.clone());
        lifecycle.supervise("redis", async move { keeper.keep(stop).await });
        Ok(client)
    }

    /// Tells this process from every other one that shares this Redis.
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// The instances that shared this Redis when it was asked last, this one among them.
    pub fn instances(&self) -> u32 {
        self.0.state.lock().instances
    }

    /// The standing of Redis now.
    pub fn standing(&self) -> Standing {
        let state = self.0.state.lock();
        match (state.breaker.is_closed(), &state.trouble) {
            (true, _) => Standing::Used,
            (false, trouble) => Standing::NotUsed(trouble.clone().unwrap_or_default()),
        }
    }

    /// Sends a command, and waits for its answer no longer than [`BUDGET`].
    ///
    /// # Errors
    /// There is no answer: the caller goes on as if there were no Redis. The command may
    /// have been carried out all the same, or be carried out later.
    pub async fn ask<T: FromRedisValue>(&self, purpose: Purpose, command: &Cmd) -> Result<T, NoAnswer> {
        let Some(mut link) = self.link() else {
            metrics::redis_command(purpose.word(), NoAnswer::NotUsed.word(), None);
            return Err(NoAnswer::NotUsed);
        };
        let began = Instant::now();
        let answered = match timeout(BUDGET, link.send(command)).await {
            Ok(Ok(value)) => from_redis_value::<T>(value).map_err(|error| NoAnswer::Failed(error.into())),
            Ok(Err(error)) => Err(NoAnswer::Failed(error)),
            Err(_) => Err(NoAnswer::Late),
        };
        let word = answered.as_ref().map_or_else(NoAnswer::word, |_| "ok");
        metrics::redis_command(purpose.word(), word, Some(began.elapsed()));
        self.note(answered.as_ref().err());
        answered
    }

    fn link(&self) -> Option<Link> {
        let state = self.0.state.lock();
        if state.breaker.is_closed() { state.link.clone() } else { None }
    }

    /// Notes how a command ended; wakes the keeper when that opens the breaker.
    fn note(&self, failure: Option<&NoAnswer>) {
        let mut state = self.0.state.lock();
        let was_closed = state.breaker.is_closed();
        state.breaker = state.breaker.after_command(failure.map_or(Outcome::Answered, NoAnswer::outcome));
        if let Some(failure) = failure.filter(|_| was_closed && !state.breaker.is_closed()) {
            state.trouble = Some(failure.to_string());
            drop(state);
            metrics::redis_breaker(true);
            tracing::warn!(error = %failure, "Redis is not used until it answers again; payments go on without it");
            self.0.opened.notify_one();
        }
    }

    fn tell_start(&self) {
        metrics::redis_breaker(self.standing() != Standing::Used);
        let address = self.0.options.shown();
        match self.standing() {
            Standing::Used => tracing::info!(redis = address, "Redis is used as the guard between instances"),
            Standing::NotUsed(error) => {
                tracing::warn!(redis = address, error, "Redis is not used yet; payments go on without it");
            }
        }
    }
}
