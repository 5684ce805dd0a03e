//! Limits on what payers may hold and what their failures may cost.
//!
//! | module | what it holds |
//! |---|---|
//! | [`spending`] | the parts of payers' balances that settlements under way take |
//! | [`payer_failures`] | payers whose payments failed on chain |
//! | [`exclusive`] | what only one settlement may use at a time |
//! | [`budgets`] | gas lost to failures, per network, API key and payer's code |
//! | [`local`] | all of these in this process |
//! | [`rates`] | the requests of API keys in a time, and under way; shared by Redis |
//!
//! [`Limits`] is the seam. They are kept in memory; what was lost before a restart, or
//! at another instance, is read from the store. An empty memory loses no money: the
//! chain still judges.

pub mod budgets;
pub mod exclusive;
pub mod local;
pub mod payer_failures;
pub mod rates;
pub mod spending;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use chains_core::{Amount, Identity, Network, clock::Millis, scheme::Funds};
use tokio::sync::futures::OwnedNotified;

use crate::settlement::record::Loss;

/// The share of the limits that one settlement takes while it is under way.
#[derive(Clone, Debug)]
pub struct Share {
    /// The payment's one name.
    pub identity: Identity,
    /// The chain.
    pub network: Network,
    /// The name of the API key; empty in open mode.
    pub tenant: String,
    /// The account that pays.
    pub payer: String,
    /// Names the code that decides about the payer's signature, if there is any.
    pub payer_code: Option<String>,
    /// The name that no other settlement may use meanwhile.
    pub exclusive: Option<String>,
    /// The balance it is paid from; `None` where the chain did not tell, and
    /// after a restart.
    pub funds: Option<Funds>,
    /// The amount that moves, in the token's atomic units.
    pub amount: Amount,
    /// The most that the gas wallet loses should the payment fail on chain, in
    /// the coin's atomic units.
    pub at_risk: Amount,
}

/// The reason why a settlement may not begin now.
#[derive(Debug)]
pub enum Refused {
    /// Another settlement uses what this one needs for itself.
    Taken,
    /// Other payments of this payer leave too little, or are too many for a
    /// payer that has not paid yet. The future is done when one of them has
    /// ended: then the chain is asked again.
    Wait(OwnedNotified),
    /// As many of this payer's payments wait as may.
    Busy,
    /// Failures have used a budget up.
    Budget(OverBudget),
}

/// A budget of gas lost to failures has no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// Whose budget.
    pub scope: Scope,
    /// The time from which enough of it may be free again.
    pub until: Millis,
}

/// Whose losses a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of a network.
    Network,
    /// Those of one API key.
    Key,
    /// Those of payers that run the same code.
    Code,
    /// Those of payers without a record, all together.
    Strangers,
}

/// The bar on a payer whose payments failed too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barred {
    /// Until when.
    pub until: Millis,
    /// The number of its payments that failed.
    pub failures: usize,
}

/// Other payments use up the payer's balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpokenFor;

/// The limits of one service.
#[async_trait]
pub trait Limits: Send + Sync {
    /// The time for which losses matter: those of before a restart are read from the
    /// store.
    fn memory(&self) -> Duration;

    /// Returns why nothing is taken from a payer now; `None` when it is
    /// served. Called before the chain is asked.
    async fn barred(&self, network: &Network, payer: &str, now: Millis) -> Option<Barred>;

    /// Takes everything that a settlement uses besides its identity, or nothing.
    ///
    /// # Errors
    /// It may not begin now.
    async fn take(&self, share: &Share, now: Millis) -> Result<(), Refused>;

    /// Takes up what a settlement from before a restart uses. Never refused.
    async fn resume(&self, share: &Share);

    /// Gives back what a settlement took: it has ended.
    async fn give_back(&self, share: &Share);

    /// Holds a verified payment's part of its payer's balance for a while.
    ///
    /// # Errors
    /// Others under way, or held, leave too little.
    async fn hold(
        &self,
        funds: &Funds,
        identity: Identity,
        amount: Amount,
        wait: Duration,
        now: Instant,
    ) -> Result<(), SpokenFor>;

    /// Returns true where payments that payers have paid before matter; those of before a restart are read from the
    /// store.
    fn counts_strangers(&self, network: &Network) -> bool;

    /// Notes the payers of payments that were settled before a restart, one for each payment. Called before losses
    /// are noted.
    async fn paid_before(&self, network: &Network, payers: &[String]);

    /// Notes that a payment failed on chain, at the gas wallet's cost, here or at another
    /// instance. Each settlement's loss counts once.
    async fn lost(&self, network: &Network, loss: &Loss);

    /// Notes that a payment of this payer was settled.
    async fn paid(&self, network: &Network, payer: &str);
}
