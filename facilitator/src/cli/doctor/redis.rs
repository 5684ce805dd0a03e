//! The doctor's finding about Redis: the service's own connection, tried once.

use std::time::Duration;

use chains_core::diagnostic::{Finding, Severity};

use crate::redis_client::{BUDGET, address::Options, inspect};

const CHECK: &str = "redis";

/// An answer that takes longer leaves little of the budget for a busy moment.
const SLOW: Duration = Duration::from_millis(5);

/// Redis, as the service would find it.
pub(super) async fn check(options: &Options) -> Finding {
    let subject = options.shown();
    match inspect(options).await {
        Ok(took) if took > SLOW => {
            let seen = format!("it answers after {} ms", took.as_millis());
            let meaning = format!("a command is given up after {} ms, and then Redis is not used", BUDGET.as_millis());
            let fix = "run Redis in the same network as the instances";
            Finding::new(Severity::Warning, CHECK, subject, seen, meaning, fix)
        }
        Ok(took) => Finding::fine(
            CHECK,
            subject,
            format!("it answers after {} us, and keeps what it is given", took.as_micros()),
        ),
        Err(error) if error.is_configuration() => {
            let (meaning, fix) = ("the service refuses to start", "as it says");
            Finding::new(Severity::Error, CHECK, subject, error.to_string(), meaning, fix)
        }
        Err(error) => {
            let meaning = "the service starts and goes on without it: each instance verifies a repeated payment itself";
            let fix = "check that it runs, and that `redis.url`, its user and its password are right";
            Finding::new(Severity::Warning, CHECK, subject, error.to_string(), meaning, fix)
        }
    }
}
