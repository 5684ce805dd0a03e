//! The rule of leases, pure: which wallets of a network an instance takes, and
//! which it gives up.

use std::time::Duration;

/// A lease whose beat has not changed for so long, on the clock of whoever looks,
/// is over: its owner is gone, or stopped.
pub const LEASE: Duration = Duration::from_secs(10);

/// The time between two renewals.
pub const RENEW_EVERY: Duration = Duration::from_millis(2_500);

/// The time between two looks at everybody's leases.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The age of the last good renewal from which on a worker begins nothing: soon
/// somebody else may have the wallet. It only saves work; safety is the fence's.
pub const BEGIN_MAX: Duration = Duration::from_secs(8);

/// The shortest and the longest time between two wallets that an instance gives
/// up because it has more than its share.
pub const GIVE_UP_EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));

/// The holder of a lease, as an instance sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// This instance.
    Here,
    /// Nobody, for so long.
    Nobody(Duration),
    /// Another instance, whose beat has not changed for so long.
    Elsewhere(Duration),
    /// An earlier process of this instance's own name.
    Before,
}

/// A lease that an instance decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its holder.
    pub held: Held,
    /// True when this instance waits for it: its network is open here.
    pub wanted: bool,
    /// True for what is not a wallet but a duty: one instance does it, whichever.
    pub is_duty: bool,
}

/// An instance among those that serve a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The fewest wallets that any other instance has, of those that are alive and
    /// serve the network; `None` when this one is alone.
    pub fewest_elsewhere: Option<usize>,
    /// True when this one is about to end.
    pub is_leaving: bool,
    /// True when it may give a wallet up for the sake of the others now.
    pub may_give_up: bool,
}

/// An act of an instance upon a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Takes it.
    Take {
        /// Others have fewer: none of them has taken it for long.
        out_of_turn: bool,
    },
    /// Gives it up.
    GiveUp,
}

/// Decides about the leases of one network, in order: of each what is done, if anything.
///
/// Whoever has the fewest wallets takes one that is free, and whoever has two more
/// than another gives one up: so all come to an even share. A wallet that nobody
/// has taken for a whole lease time is taken by whoever sees it. Who leaves gives
/// everything up at once, if somebody is there to take it.
pub fn decide(leases: &[Lease], standing: Standing) -> Vec<Option<Act>> {
    let Standing { fewest_elsewhere, is_leaving, may_give_up } = standing;
    if is_leaving {
        let others = fewest_elsewhere.is_some();
        return leases.iter().map(|lease| (others && lease.held == Held::Here).then_some(Act::GiveUp)).collect();
    }
    let is_mine = |lease: &Lease| lease.held == Held::Here && !lease.is_duty;
    let mut mine = leases.iter().filter(|lease| is_mine(lease)).count();
    let mut acts: Vec<_> = leases.iter().map(|lease| take(lease, fewest_elsewhere, &mut mine)).collect();
    if may_give_up && acts.iter().all(Option::is_none) && fewest_elsewhere.is_some_and(|fewest| mine >= fewest + 2) {
        let last = leases.iter().rposition(is_mine);
        if let Some(act) = last.and_then(|place| acts.get_mut(place)) {
            *act = Some(Act::GiveUp);
        }
    }
    acts
}

fn take(lease: &Lease, fewest_elsewhere: Option<usize>, mine: &mut usize) -> Option<Act> {
    // The time since anybody could have taken it; an instance takes its own at once.
    let free = match lease.held {
        Held::Here => return None,
        Held::Before => LEASE,
        Held::Nobody(idle) => idle,
        Held::Elsewhere(idle) => idle.checked_sub(LEASE)?,
    };
    let in_turn = lease.is_duty || fewest_elsewhere.is_none_or(|fewest| *mine <= fewest);
    if !lease.wanted || !in_turn && free < LEASE {
        return None;
    }
    *mine += usize::from(!lease.is_duty);
    Some(Act::Take { out_of_turn: !in_turn && lease.held != Held::Before })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(10);
    const TWICE: Duration = LEASE.saturating_mul(2);

    const fn wallet(held: Held) -> Lease {
        Lease { held, wanted: true, is_duty: false }
    }

    const fn duty(held: Held) -> Lease {
        Lease { is_duty: true, ..wallet(held) }
    }

    const fn beside(fewest: usize) -> Standing {
        Standing { fewest_elsewhere: Some(fewest), is_leaving: false, may_give_up: true }
    }

    /// The name of a case, what is seen, and what is done.
    type Case = (&'static str, Vec<Lease>, Standing, Vec<Option<Act>>);

    #[test]
    fn each_instance_takes_its_share_and_what_nobody_else_takes() {
        use Held::{Before, Elsewhere, Here, Nobody};
        const TAKE: Option<Act> = Some(Act::Take { out_of_turn: false });
        const LATE: Option<Act> = Some(Act::Take { out_of_turn: true });
        const GIVE: Option<Act> = Some(Act::GiveUp);
        let alone = Standing { fewest_elsewhere: None, ..beside(0) };
        let leaving = |standing| Standing { is_leaving: true, ..standing };
        let (free, mine, theirs) = (wallet(Nobody(MOMENT)), wallet(Here), wallet(Elsewhere(MOMENT)));
        let (dead, unclaimed) = (wallet(Elsewhere(LEASE)), wallet(Nobody(LEASE)));
        let just_gave = Standing { may_give_up: false, ..beside(0) };
        let not_wanted = Lease { wanted: false, ..unclaimed };
        let cases: [Case; 23] = [
            ("there is none", vec![], alone, vec![]),
            ("alone: all of them", vec![free, free], alone, vec![TAKE, TAKE]),
            ("beside one that has none yet", vec![free, free], beside(0), vec![TAKE, None]),
            ("beside one that has one", vec![free, free, theirs], beside(1), vec![TAKE, TAKE, None]),
            ("another's turn", vec![mine, free], beside(0), vec![None, None]),
            ("nobody takes its turn", vec![mine, unclaimed], beside(0), vec![None, LATE]),
            ("its owner is alive", vec![theirs], beside(1), vec![None]),
            ("its owner is gone", vec![dead, mine], alone, vec![TAKE, None]),
            ("its owner is gone: another's turn", vec![dead, mine], beside(0), vec![None, None]),
            ("nobody took that turn", vec![wallet(Elsewhere(TWICE)), mine], beside(0), vec![LATE, None]),
            ("its own, from before a restart", vec![wallet(Before), mine], beside(0), vec![TAKE, None]),
            ("its network is not open here", vec![not_wanted], alone, vec![None]),
            ("another instance has come", vec![mine, mine], beside(0), vec![None, GIVE]),
            ("one at a time", vec![mine, mine, mine, mine], beside(1), vec![None, None, None, GIVE]),
            ("not so soon after the last", vec![mine, mine], just_gave, vec![None, None]),
            ("as even as it gets", vec![mine, mine, theirs], beside(1), vec![None, None, None]),
            ("not the last one", vec![mine], beside(0), vec![None]),
            ("a duty counts for nobody", vec![duty(Here), mine, free], beside(0), vec![None, None, None]),
            ("a duty is whoever's comes first", vec![duty(Nobody(MOMENT)), mine], beside(0), vec![TAKE, None]),
            ("a duty is not given up", vec![mine, duty(Here)], beside(0), vec![None, None]),
            ("a duty whose owner is gone", vec![duty(Elsewhere(LEASE)), mine], beside(0), vec![TAKE, None]),
            ("it leaves the rest to others", vec![mine, free, duty(Here)], leaving(beside(1)), vec![GIVE, None, GIVE]),
            ("it leaves, and nobody is there", vec![mine, free], leaving(alone), vec![None, None]),
        ];
        for (name, leases, standing, expected) in cases {
            assert_eq!(decide(&leases, standing), expected, "{name}");
        }
    }

    /// Instances that see the same and act one after the other.
    #[test]
    fn whoever_comes_gets_an_even_share_and_then_nothing_changes_hands() {
        for (wallets, instances) in [(1, 1), (2, 2), (3, 2), (2, 3), (7, 3), (12, 5), (4, 4)] {
            let mut owners: Vec<Option<usize>> = vec![Some(0); wallets];
            let count = |owners: &[Option<usize>], one| owners.iter().filter(|owner| **owner == Some(one)).count();
            let mut changes = 0;
            for _ in 0..8 * wallets {
                changes = 0;
                for me in 0..instances {
                    let seen = owners.iter().map(|owner| match owner {
                        Some(owner) if *owner == me => wallet(Held::Here),
                        Some(_) => wallet(Held::Elsewhere(MOMENT)),
                        None => wallet(Held::Nobody(MOMENT)),
                    });
                    let others = (0..instances).filter(|other| *other != me);
                    let fewest_elsewhere = others.map(|other| count(&owners, other)).min();
                    let acts = decide(&seen.collect::<Vec<_>>(), Standing { fewest_elsewhere, ..beside(0) });
                    for (owner, act) in owners.iter_mut().zip(acts) {
                        match act {
                            None => continue,
                            Some(Act::Take { .. }) => *owner = Some(me),
                            Some(Act::GiveUp) => *owner = None,
                        }
                        changes += 1;
                    }
                }
            }
            let counts: Vec<_> = (0..instances).map(|one| count(&owners, one)).collect();
            let even = wallets / instances..=wallets.div_ceil(instances);
            assert!(changes == 0 && counts.iter().all(|count| even.contains(count)), "{wallets}: {counts:?}");
            assert_eq!(counts.iter().sum::<usize>(), wallets, "{counts:?}");
        }
    }
}
