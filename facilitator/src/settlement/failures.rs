//! Who has cost us gas for nothing.
//!
//! What is good when it is verified may fail on chain: the payer spends the
//! money elsewhere, cancels the authorization, or is a contract that behaves
//! otherwise there. The gas wallet pays all the same. Once is bad luck; whose
//! payments fail again and again is not served for a while.
//!
//! The store knows the same failures: after a restart they are read again.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use chains_core::{Network, clock::Millis};
use parking_lot::Mutex;

/// Payers that are remembered, at most.
pub const PAYERS_MAX: usize = 65_536;

/// What payers may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Payments of one payer that may fail on chain within `window`; more are not taken.
    pub failures_max: usize,
    /// How long a failure counts.
    pub window: Duration,
}

/// The payments that landed and failed, by payer.
#[derive(Debug)]
pub struct Failures {
    patience: Patience,
    payers: Mutex<HashMap<Network, HashMap<String, VecDeque<Millis>>>>,
}

impl Failures {
    /// None yet.
    pub fn new(patience: Patience) -> Self {
        Self { patience, payers: Mutex::default() }
    }

    /// What payers may cost.
    pub const fn patience(&self) -> Patience {
        self.patience
    }

    /// Notes that a payment of this payer has landed and failed. In the order of time.
    pub fn record(&self, network: &Network, payer: &str, at: Millis) {
        let mut networks = self.payers.lock();
        let payers = networks.entry(network.clone()).or_default();
        if payers.len() >= PAYERS_MAX && !payers.contains_key(payer) {
            forget(payers, |last| self.is_over(last, at));
        }
        let times = payers.entry(payer.to_owned()).or_default();
        times.push_back(at);
        while times.len() > self.patience.failures_max {
            times.pop_front();
        }
        if times.len() == self.patience.failures_max {
            let (failures, window) = (times.len(), humantime::format_duration(self.patience.window));
            tracing::warn!(%network, payer, failures, %window, "payments of this payer fail on chain: none is taken for a while");
        }
    }

    /// Until when nothing is taken from the payer; `None` when it is served.
    pub fn barred_until(&self, network: &Network, payer: &str, now: Millis) -> Option<Millis> {
        let networks = self.payers.lock();
        let times = networks.get(network)?.get(payer)?;
        let first = times.front().filter(|_| times.len() >= self.patience.failures_max)?;
        (!self.is_over(*first, now)).then(|| self.end_of(*first))
    }

    fn end_of(&self, at: Millis) -> Millis {
        Millis(at.0.saturating_add(u64::try_from(self.patience.window.as_millis()).unwrap_or(u64::MAX)))
    }

    fn is_over(&self, at: Millis, now: Millis) -> bool {
        self.end_of(at) <= now
    }
}

/// Makes room: forgets all whose last failure counts no more, or else the one
/// whose last failure is the oldest.
fn forget(payers: &mut HashMap<String, VecDeque<Millis>>, is_over: impl Fn(Millis) -> bool) {
    payers.retain(|_, times| times.back().is_some_and(|last| !is_over(*last)));
    if payers.len() >= PAYERS_MAX {
        let oldest = payers.iter().min_by_key(|(_, times)| times.back().copied()).map(|(payer, _)| payer.clone());
        oldest.and_then(|oldest| payers.remove(&oldest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures() -> Failures {
        Failures::new(Patience { failures_max: 3, window: Duration::from_mins(1) })
    }

    fn network(text: &str) -> Network {
        text.parse().expect("CAIP-2")
    }

    #[test]
    fn who_fails_too_often_is_not_served_until_the_oldest_of_the_last_failures_is_over() {
        let (failures, here, there) = (failures(), network("eip155:1"), network("eip155:2"));
        let record = |at| failures.record(&here, "a", Millis(at));
        let barred = |now| failures.barred_until(&here, "a", Millis(now)).map(|until| until.0);
        record(1_000);
        record(2_000);
        assert_eq!(barred(2_000), None, "twice is bad luck");
        record(50_000);
        assert_eq!(barred(50_000), Some(61_000));
        assert_eq!(failures.barred_until(&here, "b", Millis(50_000)), None, "another payer");
        assert_eq!(failures.barred_until(&there, "a", Millis(50_000)), None, "another network");
        assert_eq!(barred(61_000), None);
        record(61_500);
        assert_eq!(barred(61_500), Some(62_000), "2, 50 and 61.5 s are within one minute");
        assert_eq!(barred(62_000), None);
    }

    #[test]
    fn memory_is_bounded_and_keeps_who_failed_last() {
        let (failures, here) = (failures(), network("eip155:1"));
        let full = u64::try_from(PAYERS_MAX).expect("small");
        for n in 0..full {
            failures.record(&here, &n.to_string(), Millis(n % 2));
        }
        for at in [1, 2, 3] {
            failures.record(&here, "new", Millis(at));
        }
        assert!(failures.barred_until(&here, "new", Millis(3)).is_some());
        assert_eq!(failures.payers.lock()[&here].len(), PAYERS_MAX);
        failures.record(&here, "last", Millis(60_001));
        assert_eq!(failures.payers.lock()[&here].len(), 2, "all others' failures are over");
    }
}
