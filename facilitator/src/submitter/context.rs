//! The context that every part of a submitter shares.

use std::sync::Arc;

use chains_core::{
    Amount, Network,
    chain::Chain,
    clock::{Clock, Millis},
    transaction::{Plan, Purpose},
};

use parking_lot::Mutex;

use super::{ownership::Ownership, status::NetworkStatus};
use crate::{
    in_flight::Registry,
    limits::Share,
    settlement::{Facts, SettlementId},
    store::Store,
};

/// The context that every part of a submitter shares.
pub struct Context {
    /// The network.
    pub chain: Arc<dyn Chain>,
    /// The store, to which everything goes first.
    pub store: Arc<dyn Store>,
    /// The requests that wait.
    pub registry: Arc<Registry>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The right to use the gas wallets.
    pub ownership: Arc<dyn Ownership>,
    /// The status that `/ready` and metrics see.
    pub status: NetworkStatus,
    /// Payments that were handed over to this process and that it could not begin.
    pub put_off: PutOff,
    /// Go on although the chain is further than the store: the operator has
    /// looked, and says that the foreign transactions are explained.
    pub accept_foreign_nonces: bool,
}

/// Payments that are left to others a while after they could not be begun here.
#[derive(Debug, Default)]
pub struct PutOff(Mutex<Vec<SettlementId>>);

impl PutOff {
    pub(super) fn push(&self, id: SettlementId) {
        self.0.lock().push(id);
    }

    pub(super) fn take(&self) -> Vec<SettlementId> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Context {
    /// The network's identifier.
    pub fn network(&self) -> &Network {
        self.chain.network()
    }

    /// The time now.
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The share of the limits that a payment takes which was verified before, or elsewhere.
    pub fn share(&self, facts: &Facts, plan: &Plan) -> Share {
        Share {
            identity: facts.identity,
            network: facts.network.clone(),
            tenant: facts.caller.tenant.clone(),
            payer: facts.payer.clone(),
            payer_code: facts.payer_code.clone(),
            exclusive: self.chain.exclusive(plan),
            funds: None,
            amount: facts.amount,
            at_risk: self.at_risk(plan),
        }
    }

    /// The most that the gas wallet loses should this payment fail on chain, in
    /// the coin's atomic units; zero when it cannot be said now.
    pub fn at_risk(&self, plan: &Plan) -> Amount {
        let quote = self.chain.quote(Purpose::Steps(std::slice::from_ref(plan)));
        quote.map(|fee| fee.amount_max).unwrap_or_default()
    }
}
