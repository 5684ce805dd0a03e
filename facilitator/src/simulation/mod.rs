//! The whole engine against everything at once, in memory and in no time.
//!
//! The submitter, the registry and the use case are the ones of the service.
//! The chain is the fake family's, the store is in memory, the clock is
//! tokio's paused one: so a crash at any await, a reorg, a lost send and a lost
//! commit answer cost microseconds, and thousands of episodes fit into a test.
//! One node of several lags, lies or is silent; transactions come back long
//! after they were sent; the machine's clock jumps.
//!
//! | module | what it holds |
//! |---|---|
//! | [`scene`] | a chain, a disk, payers, and payments to make |
//! | [`process`] | one life of the service, which ends by a crash |
//! | [`episode`] | random steps, then peace, then the verdict |
//! | [`instances`] | the same with several instances that share the disk, stop, and go on |
//! | [`stories`] | single payments, told step by step |
//! | [`verdict`] | the promises that must hold, and a sentence for one that does not |
//! | [`mutant`] | mistakes that are made on purpose: each must be found |
//!
//! `SIMULATION_STEPS` and `SIMULATION_SEED` set how long it goes on and where it begins.

mod episode;
mod instances;
pub(crate) mod mutant;
mod process;
mod scene;
mod stories;
mod verdict;

use self::{
    episode::Episode,
    mutant::{MUTANTS, Mutant},
};

/// Steps of an ordinary run.
const STEPS: u64 = 1_000_000;

/// Episodes in which a mistake must be found.
const EPISODES_MAX: u64 = 3_000;

fn number(variable: &str, otherwise: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a parameter of a test, not of the service")]
    let text = std::env::var(variable);
    text.ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn no_promise_is_broken_in_a_million_steps() {
    let (steps, mut seed) = (number("SIMULATION_STEPS", STEPS), number("SIMULATION_SEED", 1));
    let mut made = 0;
    while made < steps {
        let (count, broken) = Episode::new(seed).run();
        if let Some(sentence) = broken {
            panic!("episode {seed}, after {made} steps: {sentence}");
        }
        made += count;
        seed += 1;
    }
}

#[test]
fn each_mistake_that_is_made_on_purpose_is_found() {
    let found = |mutant: Mutant| {
        let _seeded = mutant.seed();
        (1..=EPISODES_MAX).find_map(|seed| Episode::new(seed).run().1)
    };
    let missed: Vec<_> = MUTANTS.into_iter().filter(|mutant| found(*mutant).is_none()).collect();
    assert_eq!(missed, [], "mistakes that no episode finds");
}
