//! Instances that share the gas wallets of a network.

use std::time::Duration;

use chains_core::{
    chain::Chain,
    clock::Millis,
    diagnostic::{Finding, Severity},
};

use crate::store::{Instance, Store};

/// An instance whose last beat is older, by the clocks of both, counts as gone.
const GONE: Duration = Duration::from_mins(1);

/// Warns where there are fewer gas wallets than instances.
pub(super) async fn check(chain: &dyn Chain, store: &dyn Store, now: Millis) -> Option<Finding> {
    let instances = store.instances().await.ok()?;
    let serving = instances.iter().filter(|one| one.networks.contains(chain.network()) && is_there(one, now));
    finding(chain.gas_wallets().len(), serving.count())
}

fn is_there(instance: &Instance, now: Millis) -> bool {
    u128::from(now.0.saturating_sub(instance.renewed_at.0)) < GONE.as_millis()
}

fn finding(wallets: usize, instances: usize) -> Option<Finding> {
    (wallets < instances).then(|| {
        let seen = format!("{instances} instances share {wallets}");
        let meaning =
            "some have none: they hand each payment over, which costs two commits more, and is begun by another";
        let fix = "configure at least as many gas wallets as there are instances, at all of them";
        Finding::new(Severity::Warning, "wallets_and_instances", "gas_wallets", seen, meaning, fix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_gas_wallets_than_instances_are_a_warning() {
        for (wallets, instances, warns) in [(1, 0, false), (1, 1, false), (3, 2, false), (1, 2, true), (2, 3, true)] {
            assert_eq!(finding(wallets, instances).is_some(), warns, "{wallets} wallets, {instances} instances");
        }
    }

    #[test]
    fn an_instance_that_has_shown_nothing_for_a_minute_is_gone() {
        let instance = |renewed_at| Instance {
            id: "i".into(),
            name: "one".into(),
            version: "1".into(),
            networks: vec![],
            beat: 1,
            started_at: Millis(0),
            renewed_at: Millis(renewed_at),
        };
        for (renewed_at, is_here) in [(100_000, true), (40_001, true), (40_000, false), (200_000, true)] {
            assert_eq!(is_there(&instance(renewed_at), Millis(100_000)), is_here, "{renewed_at}");
        }
    }
}
