//! The limits of one process.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chains_core::{Amount, Identity, Network, chain::LossBudget, clock::Millis, scheme::Funds};

use parking_lot::Mutex;

use super::{
    Barred, Limits, Refused, Share, SpokenFor,
    budgets::{Budgets, WINDOW_MS},
    exclusive::Exclusive,
    payer_failures::{Credit, FailureLimit, NotAdmitted, PayerFailures},
    spending::Spending,
};
use crate::settlement::{SettlementId, record::Loss};

/// The limits of one process.
#[derive(Debug)]
pub struct LocalLimits {
    spending: Spending,
    failures: PayerFailures,
    exclusive: Exclusive,
    budgets: HashMap<Network, Budgets>,
    /// The settlements whose losses were counted, the newest of them.
    counted: Mutex<BTreeSet<SettlementId>>,
}

/// Settlements whose losses are remembered as counted: as many as the store tells of.
const COUNTED_MAX: usize = 65_536;

impl LocalLimits {
    /// Nothing taken, nothing lost. The budgets are those of each network.
    pub fn new(limit: FailureLimit, budgets: impl IntoIterator<Item = (Network, LossBudget)>) -> Self {
        let budgets = budgets.into_iter().map(|(network, limits)| (network, Budgets::new(limits))).collect();
        let (spending, failures, exclusive) = (Spending::default(), PayerFailures::new(limit), Exclusive::default());
        Self { spending, failures, exclusive, budgets, counted: Mutex::default() }
    }

    fn try_take(&self, share: &Share, now: Millis) -> Result<(), Refused> {
        let Share { identity, exclusive, funds, .. } = share;
        if exclusive.as_ref().is_some_and(|name| !self.exclusive.take(name, *identity)) {
            return Err(Refused::Taken);
        }
        let (network, payer) = (&share.network, &share.payer);
        let budgets = self.budgets.get(network);
        if let Some(budgets) = budgets {
            budgets.take(share, self.failures.standing(network, payer, now), now).map_err(Refused::Budget)?;
        }
        let counts_strangers = budgets.is_some_and(Budgets::counts_strangers);
        if counts_strangers || share.payer_code.is_some() {
            let credit = if counts_strangers { Credit::AsPaid } else { Credit::Any };
            self.failures.admit(network, payer, *identity, credit, now)?;
        }
        match funds {
            Some(funds) => self.spending.reserve(funds, *identity, share.amount).map_err(Refused::Wait),
            None => Ok(()),
        }
    }

    /// Returns true the first time that a settlement's loss is told.
    fn counts(&self, id: SettlementId) -> bool {
        let mut counted = self.counted.lock();
        let is_new = counted.insert(id);
        if counted.len() > COUNTED_MAX {
            counted.pop_first();
        }
        is_new
    }

    /// A payer that has paid here before, and has others under way, waits for those instead.
    fn or_wait(&self, refused: Refused, share: &Share) -> Refused {
        let counts_strangers = self.budgets.get(&share.network).is_some_and(Budgets::counts_strangers);
        match refused {
            Refused::Budget(over) if counts_strangers => {
                let next_end = self.failures.next_end(&share.network, &share.payer);
                next_end.map_or(Refused::Budget(over), Refused::from)
            }
            Refused::Budget(_) | Refused::Taken | Refused::Wait(_) | Refused::Busy => refused,
        }
    }

    fn release(&self, share: &Share) {
        if let Some(name) = &share.exclusive {
            self.exclusive.release(name, &share.identity);
        }
        self.failures.release(&share.network, &share.payer, &share.identity);
        if let Some(budgets) = self.budgets.get(&share.network) {
            budgets.release(share);
        }
        if let Some(funds) = &share.funds {
            self.spending.release(&funds.account, &share.identity);
        }
    }
}

impl From<NotAdmitted> for Refused {
    fn from(refused: NotAdmitted) -> Self {
        match refused {
            NotAdmitted::Wait(ended) => Self::Wait(ended),
            NotAdmitted::Busy => Self::Busy,
        }
    }
}

#[async_trait]
impl Limits for LocalLimits {
    fn memory(&self) -> Duration {
        self.failures.limit().window.max(Duration::from_millis(WINDOW_MS))
    }

    async fn barred(&self, network: &Network, payer: &str, now: Millis) -> Option<Barred> {
        self.failures.barred(network, payer, now)
    }

    async fn take(&self, share: &Share, now: Millis) -> Result<(), Refused> {
        self.try_take(share, now).map_err(|refused| {
            self.release(share);
            self.or_wait(refused, share)
        })
    }

    async fn resume(&self, share: &Share) {
        if let Some(name) = &share.exclusive {
            self.exclusive.take(name, share.identity);
        }
        if let Some(budgets) = self.budgets.get(&share.network) {
            budgets.resume(share);
        }
    }

    async fn give_back(&self, share: &Share) {
        self.release(share);
    }

    async fn hold(
        &self,
        funds: &Funds,
        identity: Identity,
        amount: Amount,
        wait: Duration,
        now: Instant,
    ) -> Result<(), SpokenFor> {
        self.spending.hold(funds, identity, amount, wait, now)
    }

    fn counts_strangers(&self, network: &Network) -> bool {
        self.budgets.get(network).is_some_and(Budgets::counts_strangers)
    }

    async fn paid_before(&self, network: &Network, payers: &[String]) {
        self.failures.paid_before(network, payers);
    }

    async fn lost(&self, network: &Network, loss: &Loss) {
        if !self.counts(loss.id) {
            return;
        }
        self.failures.record(network, &loss.payer, loss.at);
        if let Some(budgets) = self.budgets.get(network) {
            budgets.lost(loss);
        }
    }

    async fn paid(&self, network: &Network, payer: &str) {
        self.failures.paid(network, payer);
    }
}
