//! The operators' view of a network: its gauges, its nodes, and what is still
//! wrong. Nothing is decided here.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chains_core::chain::NodeLook;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    status::{Trouble, WalletStatus},
};
use crate::{
    logging::reminders::Reminders,
    metrics::{self, NetworkGauges, WalletGauges},
};

/// The time between two looks for what is still wrong.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The time between two looks at the nodes: one call of each.
const NODES_EVERY: Duration = Duration::from_secs(10);

/// The nodes are looked at after this time even where the network has not opened.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(3);

/// A node that is so many blocks behind the best one is said to be.
const LAG_MAX: u64 = 10;

/// Seconds of gas money below which a wallet is low.
const RUNWAY_LOW: u64 = 24 * 3600;

/// Writes the gauges of a network and of its gas wallets.
pub(super) fn measure(context: &Context) {
    let (network, now) = (context.network(), context.now());
    let head = context.status.head();
    let mut gauges = NetworkGauges {
        open: context.status.is_open() && context.chain.trouble().is_none(),
        head_block: context.status.block_number(),
        head_age: head.age.unwrap_or_default(),
        clock_skew: head.skew.unwrap_or_default(),
        unresolved: context.status.unresolved(),
        ..NetworkGauges::default()
    };
    for wallet in context.status.wallets() {
        let state = wallet.state();
        gauges.queued += state.queued;
        gauges.signed += state.open.signed;
        gauges.broadcast += state.open.broadcast;
        let age = state.open.oldest.map(|at| Duration::from_millis(now.0.saturating_sub(at.0)));
        gauges.oldest_age = gauges.oldest_age.max(age.unwrap_or_default());
        metrics::wallet(network, &wallet.wallet, wallet_gauges(context, &wallet));
    }
    metrics::network(network, gauges);
}

fn wallet_gauges(context: &Context, wallet: &WalletStatus) -> WalletGauges {
    let (parameters, state) = (context.chain.parameters(), wallet.state());
    let minus = |a: chains_core::Amount, b| a.checked_sub(b).unwrap_or_default();
    let available = state.balance.map(|balance| minus(minus(balance, parameters.balance_min), state.open.need));
    let runway = available.and_then(|available| wallet.runway(available, Instant::now()));
    let twice = parameters.balance_min.checked_add(parameters.balance_min);
    let low = state.balance.is_some_and(|balance| twice.is_none_or(|twice| balance < twice));
    let word = match (wallet.retired, wallet.is_usable()) {
        (true, _) => "retiring",
        (false, false) if wallet.is_elsewhere() => "elsewhere",
        (false, false) => "closed",
        (false, true) if low || runway.is_some_and(|runway| runway < RUNWAY_LOW) => "low",
        (false, true) => "open",
    };
    WalletGauges {
        balance: state.balance,
        balance_min: parameters.balance_min,
        decimals: parameters.coin_decimals,
        in_flight: state.in_flight,
        in_flight_max: parameters.in_flight_max,
        runway,
        state: word,
        refused: state.refused.is_some(),
    }
}

/// The task that says again what is still wrong with a network.
pub(super) async fn remind(context: Arc<Context>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reminders = Reminders::default();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let network = context.network();
        for (trouble, lasted) in reminders.heed(troubles(&context), Instant::now()) {
            let Trouble { wallet, error, stops, words, .. } = trouble;
            let lasted_s = lasted.as_secs();
            if stops {
                tracing::error!(%network, wallet, error, lasted_s, "{words}");
            } else {
                tracing::warn!(%network, wallet, error, lasted_s, "{words}");
            }
        }
    }
}

/// Everything that is wrong now, by its subject.
fn troubles(context: &Context) -> Vec<((&'static str, Option<String>), Trouble)> {
    let Context { chain, status, .. } = context;
    let mut troubles = status.troubles(chain.parameters().block_time);
    let warnings = chain.warnings();
    let warnings = (!warnings.is_empty()).then(|| warnings.join("; "));
    for (words, error, stops) in [
        ("the network still takes no payments", chain.trouble(), true),
        ("a warning about this network still holds", warnings, false),
    ] {
        troubles.extend(error.map(|error| Trouble { words, wallet: None, error, stops }));
    }
    troubles.into_iter().map(|trouble| ((trouble.words, trouble.wallet.clone()), trouble)).collect()
}

/// Waits until the nodes have had the time to show which chain they serve: before, none is well.
async fn until_asked(context: &Context) {
    let asked = async {
        while !context.status.is_open() {
            tokio::time::sleep(LOOK_EVERY / 10).await;
        }
    };
    // Where the network does not open, the nodes may be why.
    let _: Result<(), _> = tokio::time::timeout(FIRST_LOOK_AFTER, asked).await;
}

/// The task that looks at the nodes of a network, each by itself.
pub(super) async fn look_at_nodes(context: Arc<Context>, stop: CancellationToken) {
    if stop.run_until_cancelled(until_asked(&context)).await.is_none() {
        return;
    }
    let mut ticks = tokio::time::interval(NODES_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut known, mut reminders) = (BTreeMap::new(), Reminders::default());
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(looks) = stop.run_until_cancelled(context.chain.look_at_nodes()).await else { return };
        let found = judge(looks);
        for (node, lag) in &found {
            metrics::node(context.network(), node, lag.as_ref().ok().copied());
        }
        say(&context, &found, &mut known);
        let wrong = found.into_iter().filter_map(|(node, lag)| Some((node.clone(), (node, fault(&lag)?))));
        for ((node, error), lasted) in reminders.heed(wrong.collect(), Instant::now()) {
            let (network, lasted_s) = (context.network(), lasted.as_secs());
            tracing::warn!(%network, node, error, lasted_s, "a node is still not well");
        }
    }
}

/// The lag of each node behind the best one, or the reason why it is down. Endpoints
/// of the same host count as one, which is as well as the worst of them.
fn judge(looks: Vec<NodeLook>) -> BTreeMap<String, Result<u64, String>> {
    let best = looks.iter().filter_map(|look| look.height.as_ref().ok()).max().copied().unwrap_or_default();
    let mut found: BTreeMap<String, Result<u64, String>> = BTreeMap::new();
    for NodeLook { node, height } in looks {
        let lag = height.map(|height| best.saturating_sub(height));
        let worse = match (found.get(&node), &lag) {
            (Some(Err(_)), _) => false,
            (Some(Ok(known)), Ok(lag)) => lag > known,
            (Some(Ok(_)), Err(_)) | (None, _) => true,
        };
        if worse {
            found.insert(node, lag);
        }
    }
    found
}

/// The fault of a node, where it has one.
fn fault(lag: &Result<u64, String>) -> Option<String> {
    match lag {
        Ok(lag) if *lag <= LAG_MAX => None,
        Ok(lag) => Some(format!("it is {lag} blocks behind the best node")),
        Err(why) => Some(why.clone()),
    }
}

/// Says what has changed since the last look.
fn say(context: &Context, found: &BTreeMap<String, Result<u64, String>>, known: &mut BTreeMap<String, bool>) {
    let network = context.network();
    for (node, lag) in found {
        let fault = fault(lag);
        let was_well = known.insert(node.clone(), fault.is_none()).unwrap_or(true);
        match fault {
            Some(error) if was_well => {
                tracing::warn!(%network, node, error, "a node is not well; the others are asked");
            }
            None if !was_well => tracing::info!(%network, node, "a node is well again"),
            Some(_) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_as_well_as_the_worst_endpoint_of_its_host() {
        let look = |node: &str, height: Result<u64, &str>| NodeLook {
            node: node.to_owned(),
            height: height.map_err(str::to_owned),
        };
        let found = judge(vec![
            look("a", Ok(100)),
            look("b", Ok(89)),
            look("c", Err("no answer in time")),
            look("d", Ok(100)),
            look("d", Ok(99)),
            look("e", Ok(100)),
            look("e", Err("cannot connect")),
        ]);
        let faults: Vec<_> = found.iter().map(|(node, lag)| (node.as_str(), fault(lag))).collect();
        let expected = [
            ("a", None),
            ("b", Some("it is 11 blocks behind the best node".to_owned())),
            ("c", Some("no answer in time".to_owned())),
            ("d", None),
            ("e", Some("cannot connect".to_owned())),
        ];
        assert_eq!(faults, expected);
        assert_eq!(found["d"], Ok(1));
        assert!(judge(vec![]).is_empty());
    }
}
