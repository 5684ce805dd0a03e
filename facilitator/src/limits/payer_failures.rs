//! Payers whose payments failed on chain.
//!
//! A payment that is good when it is verified may fail on chain: the payer
//! spends the money elsewhere, cancels the authorization, or is a contract that
//! behaves otherwise there. The gas wallet pays all the same. One failure is
//! bad luck; a payer whose payments fail again and again is not served for a
//! while. A payer that runs code and has not paid yet may have no more under
//! way than it may fail; so may, where any payer can make its payments fail,
//! every payer, and one more for each that it has paid.
//!
//! The store knows the same failures: after a restart they are read again.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use chains_core::{Identity, Network, clock::Millis};
use parking_lot::Mutex;
use tokio::sync::{Notify, futures::OwnedNotified};

use super::Barred;

/// Payers that are remembered of a network, at most.
pub const PAYERS_MAX: usize = 65_536;

/// Requests that wait for others of one payer to end, at most: each asks the chain again when one has.
const WAITING_MAX: usize = 64;

/// The reason why one more payment of a payer is not admitted.
#[derive(Debug)]
pub enum NotAdmitted {
    /// As many are under way as may be. The future is done when one of them has ended.
    Wait(OwnedNotified),
    /// As many wait for that as may.
    Busy,
}

/// The failures that a payer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureLimit {
    /// Payments of one payer that may fail on chain within `window`; more are not taken.
    pub failures_max: usize,
    /// The time for which a failure counts.
    pub window: Duration,
}

/// Payments that failed on chain, by payer.
#[derive(Debug)]
pub struct PayerFailures {
    limit: FailureLimit,
    networks: Mutex<HashMap<Network, HashMap<String, Payer>>>,
}

/// The payments that a payer may have under way for those that it has paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credit {
    /// Any number, once it has paid.
    Any,
    /// One more for each. What it has paid is halved with every failure.
    AsPaid,
}

/// The record of a payer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// True when no failure of it counts.
    pub clean: bool,
    /// The payments that it has paid, those before a failure only in part.
    pub paid: usize,
    /// Its payments under way.
    pub under_way: usize,
}

impl Standing {
    /// Payments that a payer has paid for each that it can have fail, to be served whatever
    /// failures have cost: what those may cost is little beside what it has paid.
    const PAID_TO_ONE: usize = 16;

    /// Returns whether one more payment is one of a payer that has paid more than it has under way.
    pub const fn is_known(self) -> bool {
        self.clean && self.under_way < self.paid
    }

    /// Returns whether one more payment is served whatever failures have cost.
    pub const fn is_proven(self) -> bool {
        self.clean && self.under_way < self.paid / Self::PAID_TO_ONE
    }
}

#[derive(Debug, Default)]
struct Payer {
    failures: VecDeque<Millis>,
    paid: usize,
    under_way: HashSet<Identity>,
    released: Arc<Notify>,
}

impl Payer {
    fn last_failure(&self) -> Millis {
        self.failures.back().copied().unwrap_or(Millis(0))
    }

    /// A place among the requests that wait. Each of them holds what tells it.
    fn wait(&self) -> NotAdmitted {
        if Arc::strong_count(&self.released) > WAITING_MAX {
            return NotAdmitted::Busy;
        }
        NotAdmitted::Wait(Arc::clone(&self.released).notified_owned())
    }

    fn is_nothing(&self) -> bool {
        self.failures.is_empty() && self.paid == 0 && self.under_way.is_empty()
    }
}

impl PayerFailures {
    /// None yet.
    pub fn new(limit: FailureLimit) -> Self {
        Self { limit, networks: Mutex::default() }
    }

    /// The failures that a payer may have.
    pub const fn limit(&self) -> FailureLimit {
        self.limit
    }

    /// Notes that a payment of this payer was included and failed.
    pub fn record(&self, network: &Network, payer: &str, at: Millis) {
        let mut networks = self.networks.lock();
        let there = self.payer(&mut networks, network, payer, at);
        // One of another instance may come late.
        let place = there.failures.partition_point(|other| *other <= at);
        there.failures.insert(place, at);
        there.paid /= 2;
        while there.failures.len() > self.limit.failures_max {
            there.failures.pop_front();
        }
        if there.failures.len() == self.limit.failures_max {
            let (failures, window) = (there.failures.len(), humantime::format_duration(self.limit.window));
            tracing::warn!(
                %network, payer, failures, %window,
                "payments of this payer fail on chain: nothing is taken from it for a while"
            );
        }
    }

    /// Notes that a payment of this payer was settled.
    pub fn paid(&self, network: &Network, payer: &str) {
        let mut networks = self.networks.lock();
        if let Some(payer) = networks.get_mut(network).and_then(|payers| payers.get_mut(payer)) {
            payer.paid = payer.paid.saturating_add(1);
            payer.released.notify_waiters();
        }
    }

    /// Notes payments that were settled before a restart, by their payers.
    pub fn paid_before(&self, network: &Network, payers: &[String]) {
        let mut networks = self.networks.lock();
        for payer in payers {
            let there = self.payer(&mut networks, network, payer, Millis(0));
            there.paid = there.paid.saturating_add(1);
        }
    }

    /// Returns why nothing is taken from the payer; `None` when it is served.
    pub fn barred(&self, network: &Network, payer: &str, now: Millis) -> Option<Barred> {
        let networks = self.networks.lock();
        let failures = &networks.get(network)?.get(payer)?.failures;
        let first = failures.front().filter(|_| failures.len() >= self.limit.failures_max)?;
        let barred = Barred { until: self.end_of(*first), failures: failures.len() };
        (!self.is_over(*first, now)).then_some(barred)
    }

    /// The record of this payer.
    pub fn standing(&self, network: &Network, payer: &str, now: Millis) -> Standing {
        let networks = self.networks.lock();
        let Some(there) = networks.get(network).and_then(|payers| payers.get(payer)) else {
            return Standing { clean: true, ..Standing::default() };
        };
        let clean = there.failures.back().is_none_or(|last| self.is_over(*last, now));
        Standing { clean, paid: there.paid, under_way: there.under_way.len() }
    }

    /// Counts a settlement of a payer.
    ///
    /// # Errors
    /// Its failures and payments under way are as many as may fail, and as it has credit for.
    pub fn admit(
        &self,
        network: &Network,
        payer: &str,
        identity: Identity,
        credit: Credit,
        now: Millis,
    ) -> Result<(), NotAdmitted> {
        let mut networks = self.networks.lock();
        let there = self.payer(&mut networks, network, payer, now);
        let failed = there.failures.iter().filter(|at| !self.is_over(**at, now)).count();
        let credit = match credit {
            Credit::Any if there.paid > 0 => usize::MAX,
            Credit::Any => 0,
            Credit::AsPaid => there.paid,
        };
        if there.under_way.len() + failed >= self.limit.failures_max.saturating_add(credit) {
            return Err(there.wait());
        }
        there.under_way.insert(identity);
        Ok(())
    }

    /// The wait for one of the payments that a payer has under way; `None` when it has none, or has not paid yet.
    pub fn next_end(&self, network: &Network, payer: &str) -> Option<NotAdmitted> {
        let networks = self.networks.lock();
        let there = networks.get(network)?.get(payer)?;
        (there.paid > 0 && !there.under_way.is_empty()).then(|| there.wait())
    }

    /// Ends a settlement of a payer.
    pub fn release(&self, network: &Network, payer: &str, identity: &Identity) {
        let mut networks = self.networks.lock();
        let Some(payers) = networks.get_mut(network) else { return };
        let Some(there) = payers.get_mut(payer) else { return };
        if there.under_way.remove(identity) {
            there.released.notify_waiters();
            if there.is_nothing() {
                payers.remove(payer);
            }
        }
    }

    /// The payer's entry; makes room for it if there is none.
    fn payer<'a>(
        &self,
        networks: &'a mut HashMap<Network, HashMap<String, Payer>>,
        network: &Network,
        payer: &str,
        now: Millis,
    ) -> &'a mut Payer {
        let payers = networks.entry(network.clone()).or_default();
        if payers.len() >= PAYERS_MAX && !payers.contains_key(payer) {
            forget(payers, |last| self.is_over(last, now));
        }
        payers.entry(payer.to_owned()).or_default()
    }

    fn end_of(&self, at: Millis) -> Millis {
        Millis(at.0.saturating_add(u64::try_from(self.limit.window.as_millis()).unwrap_or(u64::MAX)))
    }

    fn is_over(&self, at: Millis, now: Millis) -> bool {
        self.end_of(at) <= now
    }
}

/// Makes room: forgets all with nothing under way that have hardly paid and whose last failure
/// counts no more, or else the one of them that has paid least, and failed first.
fn forget(payers: &mut HashMap<String, Payer>, is_over: impl Fn(Millis) -> bool) {
    let matters = |payer: &Payer| payer.paid >= Standing::PAID_TO_ONE || !is_over(payer.last_failure());
    payers.retain(|_, payer| !payer.under_way.is_empty() || matters(payer));
    if payers.len() >= PAYERS_MAX {
        let idle = payers.iter().filter(|(_, payer)| payer.under_way.is_empty());
        let least = idle.min_by_key(|(_, payer)| (payer.paid, payer.last_failure())).map(|(name, _)| name.clone());
        least.and_then(|least| payers.remove(&least));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn failures() -> PayerFailures {
        PayerFailures::new(FailureLimit { failures_max: 3, window: Duration::from_mins(1) })
    }

    fn network(text: &str) -> Network {
        text.parse().expect("CAIP-2")
    }

    fn payment(n: u64) -> Identity {
        Identity::of("test", &[&n.to_be_bytes()])
    }

    #[test]
    fn a_payer_that_fails_too_often_is_not_served_until_the_oldest_of_its_failures_is_over() {
        let (failures, here, there) = (failures(), network("eip155:1"), network("eip155:2"));
        let record = |at| failures.record(&here, "a", Millis(at));
        let barred = |now| failures.barred(&here, "a", Millis(now)).map(|barred| barred.until.0);
        record(1_000);
        record(2_000);
        assert_eq!(barred(2_000), None, "twice is bad luck");
        let is_clean = |payer: &str| failures.standing(&here, payer, Millis(2_000)).clean;
        assert!(!is_clean("a") && is_clean("b"));
        record(50_000);
        assert_eq!(barred(50_000), Some(61_000));
        assert_eq!(failures.barred(&here, "b", Millis(50_000)), None, "another payer");
        assert_eq!(failures.barred(&there, "a", Millis(50_000)), None, "another network");
        assert_eq!(barred(61_000), None);
        record(61_500);
        assert_eq!(barred(61_500), Some(62_000), "2, 50 and 61.5 s are within one minute");
        assert_eq!(barred(62_000), None);
    }

    #[test]
    fn code_that_has_not_paid_yet_has_no_more_under_way_than_it_may_fail() {
        let (failures, here) = (failures(), network("eip155:1"));
        let admit = |n| failures.admit(&here, "a", payment(n), Credit::Any, Millis(0));
        failures.record(&here, "a", Millis(0));
        assert!(admit(1).is_ok() && admit(2).is_ok());
        let waiting = match admit(3).expect_err("one failed and two are under way") {
            NotAdmitted::Wait(waiting) => waiting,
            NotAdmitted::Busy => panic!("nobody waits"),
        };
        failures.release(&here, "a", &payment(1));
        assert!(waiting.now_or_never().is_some(), "it is told");
        assert!(admit(3).is_ok() && admit(4).is_err());
        failures.paid(&here, "a");
        assert!((4..100).all(|n| admit(n).is_ok()), "it has shown that it pays");
    }

    #[test]
    fn credit_grows_with_what_a_payer_has_paid_and_is_halved_with_each_failure() {
        let (failures, here) = (failures(), network("solana:x"));
        let admit = |n| failures.admit(&here, "a", payment(n), Credit::AsPaid, Millis(0)).is_ok();
        assert!((0..3).all(admit) && !admit(3));
        let is_known = || failures.standing(&here, "a", Millis(0)).is_known();
        for n in 0..20 {
            failures.paid(&here, "a");
            assert!(admit(3 + n) && !admit(100), "one more for each that is paid: {n}");
        }
        (0..4).for_each(|n| failures.release(&here, "a", &payment(n)));
        assert!(is_known());
        failures.record(&here, "a", Millis(0));
        let standing = failures.standing(&here, "a", Millis(0));
        assert_eq!(standing, Standing { clean: false, paid: 10, under_way: 19 });
        assert!(!is_known() && !admit(200), "half of its credit is gone");
    }

    #[test]
    fn what_was_paid_before_a_restart_counts_after_it() {
        let (failures, here) = (failures(), network("solana:x"));
        failures.paid_before(&here, &["a".to_owned(), "b".to_owned(), "a".to_owned()]);
        let paid = |payer| failures.standing(&here, payer, Millis(0)).paid;
        assert_eq!((paid("a"), paid("b"), paid("c")), (2, 1, 0));
    }

    #[test]
    fn no_more_requests_wait_for_a_payer_than_may() {
        let (failures, here) = (failures(), network("solana:x"));
        let admit = |n| failures.admit(&here, "a", payment(n), Credit::AsPaid, Millis(0));
        (0..3).for_each(|n| admit(n).expect("admitted"));
        let mut waiting: Vec<_> = (0..64).map(|n| admit(10 + n).expect_err("three are under way")).collect();
        assert!(waiting.iter().all(|refused| matches!(refused, NotAdmitted::Wait(_))));
        assert!(matches!(admit(99), Err(NotAdmitted::Busy)));
        waiting.pop();
        assert!(matches!(admit(99), Err(NotAdmitted::Wait(_))), "one has given up");
    }

    #[test]
    fn one_in_sixteen_is_served_whatever_failures_have_cost() {
        let cases = [(15, 0, false), (16, 0, true), (16, 1, false), (320, 19, true), (320, 20, false)];
        for (paid, under_way, proven) in cases {
            assert_eq!(Standing { clean: true, paid, under_way }.is_proven(), proven, "{paid} {under_way}");
            assert!(!Standing { clean: false, paid, under_way }.is_proven());
        }
    }

    #[test]
    fn a_failure_that_is_over_takes_no_place_and_who_has_done_nothing_is_forgotten() {
        let (failures, here) = (failures(), network("solana:x"));
        (0..3).for_each(|_| failures.record(&here, "a", Millis(0)));
        let admit = |now| failures.admit(&here, "a", payment(1), Credit::AsPaid, Millis(now)).is_ok();
        assert!(!admit(59_999) && admit(60_000));
        assert!(failures.admit(&here, "b", payment(2), Credit::AsPaid, Millis(0)).is_ok());
        failures.release(&here, "b", &payment(2));
        assert!(!failures.networks.lock()[&here].contains_key("b"));
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_payers_that_failed_last() {
        let (failures, here) = (failures(), network("eip155:1"));
        let full = u64::try_from(PAYERS_MAX).expect("small");
        for n in 0..full {
            failures.record(&here, &n.to_string(), Millis(n % 2));
        }
        for at in [1, 2, 3] {
            failures.record(&here, "new", Millis(at));
        }
        assert!(failures.barred(&here, "new", Millis(3)).is_some());
        assert_eq!(failures.networks.lock()[&here].len(), PAYERS_MAX);
        failures.record(&here, "last", Millis(60_001));
        assert_eq!(failures.networks.lock()[&here].len(), 2, "all others' failures are over");
    }
}
