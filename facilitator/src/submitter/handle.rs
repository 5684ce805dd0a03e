//! The submitter of one network, as requests see it.

use std::sync::Arc;

use chains_core::{chain::Chain, transaction::Plan};

use super::{
    context::Context,
    dispatch::{Busy, Dispatcher},
    job::{Job, Work},
    network,
    status::{Condition, WalletStatus},
    watch,
};
use crate::lifecycle::Lifecycle;

/// Settles the payments of one network.
pub struct Submitter {
    context: Arc<Context>,
    dispatcher: Arc<Dispatcher>,
}

impl Submitter {
    /// Starts settling: recovers what the store holds, then opens the network.
    /// Its tasks end when the lifecycle stops.
    pub fn start(context: Arc<Context>, lifecycle: &Lifecycle) -> Self {
        let dispatcher = Arc::new(Dispatcher::default());
        for wallet in context.chain.gas_wallets() {
            let status = WalletStatus::new(wallet, false);
            context.status.add_wallet(Arc::clone(&status));
            dispatcher.add(status);
        }
        let name = format!("network {}", context.network());
        let opening = network::run(Arc::clone(&context), Arc::clone(&dispatcher), lifecycle.clone());
        lifecycle.supervise(name, opening);
        let stop = || lifecycle.stop.clone();
        let reminders = format!("reminders of {}", context.network());
        lifecycle.supervise(reminders, watch::remind(Arc::clone(&context), stop()));
        let nodes = format!("looks at the nodes of {}", context.network());
        lifecycle.supervise(nodes, watch::look_at_nodes(Arc::clone(&context), stop()));
        Self { context, dispatcher }
    }

    /// Hands a claimed payment to the best worker: one that is well, and has the least to do.
    ///
    /// # Errors
    /// Nothing was begun; the caller hands the payment over, or gives the claim back.
    pub fn submit(&self, job: Job) -> Result<(), (Busy, Plan)> {
        let work = Work::begin(job, self.context.now().seconds());
        self.dispatcher.hand_over(Box::new(work)).map_err(|(busy, work)| (busy, work.plan))
    }

    /// The instances that share the gas wallets, this one among them.
    pub fn instances(&self) -> u32 {
        self.context.ownership.instances()
    }

    /// Returns true where other instances may share the store, seen alive lately or not.
    pub fn may_have_others(&self) -> bool {
        self.context.ownership.instance().is_some()
    }

    /// The id of this instance, where another one has a gas wallet that may send this
    /// payment, or any payment.
    pub fn hands_over(&self, plan: Option<&Plan>) -> Option<&str> {
        let wanted = plan.and_then(|plan| plan.gas_wallet.as_deref());
        let may = |wallet: &WalletStatus| wanted.is_none_or(|wanted| wallet.wallet == wanted) && wallet.is_elsewhere();
        let instance = self.context.ownership.instance()?;
        self.dispatcher.wallets().iter().any(|wallet| may(wallet)).then_some(instance)
    }

    /// Returns why no payment can be begun now; `None` when one can. Asked
    /// before anything is done for a payment.
    pub fn busy(&self) -> Option<Busy> {
        self.dispatcher.busy()
    }

    /// Writes the gauges of the network and of its gas wallets. Called before metrics are read.
    pub fn measure(&self) {
        watch::measure(&self.context);
    }

    /// The network.
    pub fn chain(&self) -> &Arc<dyn Chain> {
        &self.context.chain
    }

    /// Returns the condition: open or closed to payments.
    pub fn condition(&self) -> Condition {
        self.context.status.condition()
    }

    /// Returns the reason why no payment is verified or settled now; `None` when they are.
    pub fn closed_because(&self) -> Option<String> {
        match self.context.status.condition() {
            Condition::Closed(why) => Some(why),
            Condition::Open => self.context.chain.trouble(),
        }
    }

    /// Returns `ok` when a payment could be settled now, or what an operator should
    /// know all the same. For `/ready`.
    ///
    /// # Errors
    /// No payment can be settled now; the text is for operators.
    pub fn readiness(&self) -> Result<String, String> {
        let Context { chain, status, .. } = &*self.context;
        if let Some(trouble) = status.trouble(chain.parameters().block_time).or_else(|| chain.trouble()) {
            return Err(trouble);
        }
        let warnings: Vec<_> = status.warnings().into_iter().chain(chain.warnings()).collect();
        Ok(if warnings.is_empty() { "ok".to_owned() } else { warnings.join("; ") })
    }

    /// Returns true when a payment may be claimed, here or by another instance: the
    /// network is open and some gas wallet can pay. A silent chain refuses nothing:
    /// the claim waits.
    pub fn takes_payments(&self) -> bool {
        self.closed_because().is_none() && self.dispatcher.wallets().iter().any(|wallet| is_offered(wallet))
    }

    /// The gas wallet to announce in the given turn: of those that can pay now,
    /// here or elsewhere, one after the other. `None` when no payment can be taken.
    pub fn announced(&self, turn: usize) -> Option<&str> {
        if !self.context.status.is_open() {
            return None;
        }
        let wallets = self.dispatcher.wallets();
        let offered: Vec<_> = wallets.iter().filter(|wallet| is_offered(wallet)).collect();
        let announced = &offered.get(turn.checked_rem(offered.len())?)?.wallet;
        self.context.chain.gas_wallets().iter().find(|wallet| *wallet == announced).map(String::as_str)
    }

    /// The height of the newest block that was seen.
    pub fn block_number(&self) -> u64 {
        self.context.status.block_number()
    }

    /// The most that the gas wallet loses should this payment fail on chain, in
    /// the coin's atomic units; zero when it cannot be said now.
    pub fn at_risk(&self, plan: &Plan) -> chains_core::Amount {
        self.context.at_risk(plan)
    }
}

/// Returns true for a gas wallet that payments may be bound to. Another instance
/// knows whether its own can pay.
fn is_offered(wallet: &WalletStatus) -> bool {
    wallet.is_usable() || wallet.is_elsewhere()
}
