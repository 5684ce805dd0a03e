//! The x402 facilitator: verifies payments and settles each of them exactly once.
//!
//! Code map. Arrows point at what a module may import:
//! `cli → app → http → payment → submitter → in_flight → replay_guard | limits | store → redis_client → settlement →
//! chains-core`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`settlement`] | pure data: facts, state, steps, transactions |
//! | [`store`] | what must survive |
//! | [`limits`] | what payers may hold, and what their failures may cost |
//! | [`replay_guard`], [`redis_client`] | repeated payments between instances; Redis, with a budget |
//! | [`in_flight`] | the requests that wait for settlements under way |
//! | [`submitter`] | from a verified payment to exactly one transfer |
//! | [`payment`] | the use cases: verify, settle, supported |
//! | [`http`] | the outside over HTTP |
//! | [`config`], [`families`] | the configuration, and who reads its networks |
//! | [`app`], [`cli`] | the composition root; the command line |
//! | [`archive`], [`audit`] | old settlements into a file; the store against the chain |
//! | [`metrics`] | every metric, with its name and description |
//! | [`lifecycle`] | the end of the process |
//! | [`logging`] | the log, which neither waits nor fails |
//! | [`machine`] | what the machine lacks, seen at the start |
//!
//! For tests alone: `simulation` runs the engine in memory against everything at once.

/// True in a test that makes this mistake on purpose, to show that the
/// simulation finds it; false in the program.
macro_rules! mistake {
    ($mutant:ident) => {{
        #[cfg(test)]
        let is_made = $crate::simulation::mutant::Mutant::$mutant.is_made();
        #[cfg(not(test))]
        let is_made = false;
        is_made
    }};
}

pub mod app;
pub mod archive;
pub mod audit;
pub mod cli;
pub mod config;
pub mod families;
pub mod http;
pub mod in_flight;
pub mod lifecycle;
pub mod limits;
pub mod logging;
pub mod machine;
pub mod metrics;
pub mod payment;
pub mod redis_client;
pub mod replay_guard;
pub mod settlement;
#[cfg(test)]
mod simulation;
pub mod store;
pub mod submitter;
