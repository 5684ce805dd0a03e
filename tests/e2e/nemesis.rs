//! Several instances under faults of every kind at once: nothing is lost, nothing is paid twice, nobody is told
//! anything untrue.
//!
//! `NEMESIS_SECONDS` sets the length of the faults, `NEMESIS_SEED` draws them, `NEMESIS_SOLANA=1` has payments on Solana
//! beside those on EVM.

use std::time::Duration;

use e2e::{
    nemesis::{replica, run::Run, schedule::Lane, solana::Solana},
    postgres::Postgres,
};

/// The length of the faults unless told otherwise, in seconds, and their seed: a run that fails can be made again.
const SECONDS: u64 = 75;
const SEED: u64 = 6;

/// The time from the beginning of the calls to the failover's beginning, and from its end to theirs.
const FAIL_OVER_AFTER: Duration = Duration::from_secs(8);

/// The number of times that the replica stands still, and the time for calls before each.
const STANDSTILLS: u32 = 4;
const CALLS: Duration = Duration::from_secs(2);

/// The time for which the replica stands still: longer than the answer to a commit is waited for.
const STANDSTILL: Duration = Duration::from_secs(7);

fn seed() -> u64 {
    setting("NEMESIS_SEED").unwrap_or(SEED)
}

fn seconds() -> Duration {
    Duration::from_secs(setting("NEMESIS_SECONDS").unwrap_or(SECONDS))
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_paid_twice_by_three_instances_under_every_fault() {
    let solana =
        if setting("NEMESIS_SOLANA").is_some_and(|wanted| wanted > 0) { Some(Solana::start().await) } else { None };
    let run = Run::start(seed(), solana).await;
    run.suffer(&Lane::ALL, seconds(), async {}).await;
}

/// A run on a server whose commits wait for a replica.
async fn with_replica() -> (Run, Postgres) {
    let run = Run::start(seed(), None).await;
    let replica = replica::follow(&run.world.postgres.url("postgres"));
    replica::need_quorum(&run.world.postgres);
    (run, replica)
}

/// Commits hang as long as no replica has them, and are seen by nobody meanwhile; then they are there.
async fn stand_still(replica: &Postgres) {
    replica.freeze();
    tokio::time::sleep(STANDSTILL).await;
    replica.wake();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_paid_twice_while_commits_hang() {
    let (run, replica) = with_replica().await;
    let meanwhile = async {
        for _ in 0..STANDSTILLS {
            tokio::time::sleep(CALLS).await;
            stand_still(&replica).await;
        }
    };
    run.suffer(&[Lane::Leases], STANDSTILLS * (CALLS + STANDSTILL), meanwhile).await;
}

/// The database fails over to a replica that had every commit that was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_paid_twice_when_the_database_fails_over_to_a_replica_with_every_commit() {
    let (run, replica) = with_replica().await;
    let meanwhile = async {
        tokio::time::sleep(FAIL_OVER_AFTER).await;
        stand_still(&replica).await;
        tokio::time::sleep(FAIL_OVER_AFTER).await;
        run.fail_over(&replica).await;
    };
    run.suffer(&[Lane::Ways, Lane::Chain], 3 * FAIL_OVER_AFTER + STANDSTILL, meanwhile).await;
}
