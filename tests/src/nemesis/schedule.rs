//! The faults of a run, drawn by a seed.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::link::State;

/// The instances of a run.
pub const INSTANCES: usize = 3;

/// A fault, as it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and a new start at the end.
    Kill(usize),
    /// Stopped where it is, until the end.
    Freeze(usize),
    /// Told to stop; it starts again when it has.
    Terminate(usize),
    /// Its wall clock shows so many seconds more until the end.
    ClockJump(usize, i64),
    /// Every key of Redis goes, again and again.
    RedisFlush,
    /// Redis answers nothing until the end.
    RedisPause,
    /// Redis is killed, and starts again at the end, empty.
    RedisKill,
    /// Redis has no memory left until the end.
    RedisFull,
    /// Redis takes no writes until the end.
    RedisReadOnly,
    /// The database's server stops in the middle of what it does, and starts again at the end.
    DatabaseStop,
    /// It answers nothing until the end.
    DatabaseFreeze,
    /// Half of the instances' sessions are ended by the server, again and again.
    SessionsEnd,
    /// Each commit takes a tenth of a second longer until the end.
    SlowDisk,
    /// The way of an instance.
    Way(usize, To, State),
    /// The way of all instances.
    AllWays(To, State),
    /// Sends to an instance's node get lost until the end.
    LoseSends(usize),
    /// Answers to them do.
    LoseAnswers(usize),
    /// An instance's node answers with an error until the end.
    NodeFails(usize),
    /// The chain takes so many blocks back.
    Reorg(u32),
    /// The base fee leaps above what was offered, and falls again at the end.
    FeeLeap,
    /// A gas wallet is nobody's, in the middle of its owner's work.
    Steal,
    /// A gas wallet is somebody's who is not there.
    StealAndKeep,
}

/// The other end of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The database.
    Database,
    /// Redis.
    Redis,
    /// The node.
    Node,
}

/// Faults that come one after the other; those of several lanes come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Of the instances themselves.
    Processes,
    /// Of the database and Redis.
    Stores,
    /// Between them.
    Ways,
    /// Of the chain.
    Chain,
    /// Of leases.
    Leases,
    /// Of wall clocks.
    Clocks,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Processes, Self::Stores, Self::Ways, Self::Chain, Self::Leases, Self::Clocks];
}

/// A fault and its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The time without a fault of this lane before it.
    pub after: Duration,
    /// The fault.
    pub fault: Fault,
    /// The time until its end.
    pub lasts: Duration,
}

/// True when the chain of a run takes blocks back. Payments that are over soon, or that their payers take back, are
/// in the other runs: with its block a chain may take them back for good.
pub const fn has_reorgs(seed: u64) -> bool {
    seed % 2 == 1
}

/// The jump of a wall clock, in seconds.
const HOUR: i64 = 3_600;

/// Longer than a lease lasts.
const BEYOND_LEASE: (u64, u64) = (11_000, 14_000);
const SHORT: (u64, u64) = (200, 4_000);
/// Nothing waits for the end.
const NOTHING: (u64, u64) = (0, 1);

/// The faults of a lane without end: each kind once before any comes again.
pub struct Schedule {
    draw: StdRng,
    lane: Lane,
    has_reorgs: bool,
    bag: Vec<(Fault, (u64, u64))>,
}

impl Schedule {
    /// The same for the same seed.
    pub fn new(seed: u64, lane: Lane) -> Self {
        let place = Lane::ALL.iter().position(|other| *other == lane).and_then(|place| u64::try_from(place).ok());
        let draw = StdRng::seed_from_u64(seed.wrapping_mul(8).wrapping_add(place.unwrap_or_default()));
        Self { draw, lane, has_reorgs: has_reorgs(seed), bag: vec![] }
    }

    fn kinds(&mut self) -> Vec<(Fault, (u64, u64))> {
        let one = self.draw.random_range(0..INSTANCES);
        let (second, third) = ((one + 1) % INSTANCES, (one + 2) % INSTANCES);
        match self.lane {
            Lane::Processes => vec![
                (Fault::Kill(one), SHORT),
                (Fault::Kill(second), BEYOND_LEASE),
                (Fault::Freeze(third), BEYOND_LEASE),
                (Fault::Freeze(one), SHORT),
                (Fault::Terminate(second), NOTHING),
            ],
            Lane::Stores => vec![
                (Fault::RedisFlush, NOTHING),
                (Fault::RedisPause, SHORT),
                (Fault::RedisKill, SHORT),
                (Fault::RedisFull, SHORT),
                (Fault::RedisReadOnly, SHORT),
                (Fault::DatabaseStop, SHORT),
                (Fault::DatabaseFreeze, SHORT),
                (Fault::SessionsEnd, NOTHING),
                (Fault::SlowDisk, SHORT),
            ],
            Lane::Ways => self.ways(),
            Lane::Chain => {
                let mut kinds = vec![
                    (Fault::LoseSends(one), SHORT),
                    (Fault::LoseAnswers(second), SHORT),
                    (Fault::NodeFails(third), SHORT),
                    (Fault::FeeLeap, SHORT),
                ];
                kinds.extend(self.has_reorgs.then_some((Fault::Reorg(self.draw.random_range(1..=3)), NOTHING)));
                kinds
            }
            Lane::Clocks => vec![(Fault::ClockJump(one, HOUR), SHORT), (Fault::ClockJump(second, -HOUR), SHORT)],
            Lane::Leases => vec![(Fault::Steal, NOTHING), (Fault::Steal, NOTHING), (Fault::StealAndKeep, NOTHING)],
        }
    }

    fn ways(&mut self) -> Vec<(Fault, (u64, u64))> {
        let mut ways = vec![(Fault::AllWays(To::Database, State::Cut), SHORT)];
        for to in [To::Database, To::Redis, To::Node] {
            let slow = State::Slow(Duration::from_millis(self.draw.random_range(5..100)));
            for state in [slow, State::Silent, State::Deaf, State::Cut] {
                ways.push((Fault::Way(self.draw.random_range(0..INSTANCES), to, state), SHORT));
            }
        }
        ways.push((Fault::Way(self.draw.random_range(0..INSTANCES), To::Database, State::Silent), BEYOND_LEASE));
        ways
    }
}

impl Iterator for Schedule {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if self.bag.is_empty() {
            self.bag = self.kinds();
            self.bag.shuffle(&mut self.draw);
        }
        let (fault, (least, most)) = self.bag.pop()?;
        let mut time = |least, most| Duration::from_millis(self.draw.random_range(least..most));
        Some(Planned { after: time(300, 3_000), fault, lasts: time(least, most) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_again_and_every_kind_of_them() {
        for lane in Lane::ALL {
            let drawn = |seed| Schedule::new(seed, lane).take(200).collect::<Vec<_>>();
            assert_eq!(drawn(7), drawn(7));
            assert_ne!(drawn(7), drawn(8), "{lane:?}");
        }
        let processes: Vec<_> = Schedule::new(1, Lane::Processes).take(300).map(|planned| planned.fault).collect();
        for instance in 0..INSTANCES {
            for fault in [Fault::Kill(instance), Fault::Freeze(instance), Fault::Terminate(instance)] {
                assert!(processes.contains(&fault), "{fault:?}");
            }
        }
    }
}
