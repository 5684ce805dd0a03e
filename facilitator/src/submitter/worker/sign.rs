//! Signs work that is to be begun: one step a transaction, or several.

use chains_core::{
    Amount, Rejection,
    chain::SignError,
    transaction::{Plan, Purpose, SignedTransaction},
};

use super::Worker;
use crate::{
    settlement::{Attempt, AttemptKind, NotNow, Transaction, TransactionId, TransactionState},
    submitter::job::Work,
};

/// The work of one transaction, and its signed form.
pub(super) struct Signed {
    /// The steps that it carries, in order. Never empty.
    pub works: Vec<Work>,
    /// The transaction.
    pub transaction: Transaction,
}

/// The reason why work was not begun.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// Nobody waits for it any more.
    Unwanted,
    /// It is not good any more.
    Rejected(Rejection),
    /// Not now.
    Unavailable(NotNow),
}

/// Work with the reason why it was not begun.
type Refused = (Work, Refusal);

impl Worker {
    /// Signs groups in order, each for one transaction. Work that cannot be
    /// begun takes no nonce, and comes back with the reason.
    pub(super) fn sign(&self, groups: Vec<Vec<Work>>) -> (Vec<Signed>, Vec<Refused>) {
        let (mut nonce, mut need) = (self.next_nonce, self.tracked.need());
        let (mut signed, mut refused) = (Vec::with_capacity(groups.len()), vec![]);
        for group in groups {
            let Some((works, transaction)) = self.sign_group(group, nonce, need, &mut refused) else { continue };
            nonce = transaction.nonce.map(|taken| taken + 1).or(nonce);
            need = need.checked_add(transaction.fee.amount_max).unwrap_or(Amount::MAX);
            let transaction = self.transaction(&works, transaction);
            signed.push(Signed { works, transaction });
        }
        (signed, refused)
    }

    /// Signs one transaction for as much of a group as can be begun.
    fn sign_group(
        &self,
        group: Vec<Work>,
        nonce: Option<u64>,
        need: Amount,
        refused: &mut Vec<Refused>,
    ) -> Option<(Vec<Work>, SignedTransaction)> {
        let mut works = self.take_valid(group, refused);
        while !works.is_empty() {
            match self.sign_one(&works, nonce, need) {
                Ok(transaction) => {
                    let (wanted, unwanted): (Vec<_>, Vec<_>) = std::mem::take(&mut works)
                        .into_iter()
                        .partition(|work| work.stored || work.entry.start_storing(&transaction.hash));
                    let complete = unwanted.is_empty();
                    refused.extend(unwanted.into_iter().map(|work| (work, Refusal::Unwanted)));
                    if complete {
                        return Some((wanted, transaction));
                    }
                    // The others are signed anew without those whose callers have left.
                    works = wanted;
                }
                // The gas wallet may be able to pay for fewer.
                Err(why @ Refusal::Unavailable(NotNow::NoGasWallet)) if works.len() > 1 => {
                    let rest = works.split_off(works.len() / 2);
                    refused.extend(rest.into_iter().map(|work| (work, why.clone())));
                }
                Err(why) => refused.extend(works.drain(..).map(|work| (work, why.clone()))),
            }
        }
        None
    }

    /// Of several that are to go together, those that are still valid: one that
    /// is not would cost gas, and is no reason against the others.
    fn take_valid(&self, group: Vec<Work>, refused: &mut Vec<Refused>) -> Vec<Work> {
        if group.len() == 1 {
            return group;
        }
        let mut valid = Vec::with_capacity(group.len());
        for work in group {
            match self.context.chain.check_valid(&work.plan) {
                Ok(()) => valid.push(work),
                Err(why) => refused.push((work, Refusal::Rejected(why))),
            }
        }
        valid
    }

    fn sign_one(&self, works: &[Work], nonce: Option<u64>, need: Amount) -> Result<SignedTransaction, Refusal> {
        if self.status.retired || self.status.state().closed.is_some() {
            return Err(Refusal::Unavailable(NotNow::GasWalletClosed));
        }
        if !self.holding.may_begin() {
            return Err(Refusal::Unavailable(NotNow::GasWalletTaken));
        }
        let plans: Vec<Plan> = works.iter().map(|work| work.plan.clone()).collect();
        let (chain, purpose) = (&self.context.chain, Purpose::Steps(&plans));
        let fee = chain.quote(purpose).map_err(|error| {
            each(works, |id, request_id| {
                tracing::warn!(%request_id, settlement_id = %id, %error, "a transaction cannot be priced now");
            });
            Refusal::Unavailable(NotNow::Price)
        })?;
        if !self.upkeep.can_pay(need, fee.amount_max) {
            return Err(Refusal::Unavailable(NotNow::NoGasWallet));
        }
        chain.sign(&self.status.wallet, nonce, purpose, &fee).map_err(|error| match error {
            SignError::Void(why) => Refusal::Rejected(why),
            SignError::NoKey(_) | SignError::Plan(_) => {
                each(works, |id, request_id| {
                    tracing::error!(%request_id, settlement_id = %id, %error, "a transaction cannot be signed");
                });
                Refusal::Unavailable(NotNow::CannotSign)
            }
        })
    }

    fn transaction(&self, works: &[Work], signed: SignedTransaction) -> Transaction {
        let now = self.context.now();
        Transaction {
            id: TransactionId::fresh(),
            gas_wallet: self.status.wallet.clone(),
            nonce: signed.nonce,
            epoch: self.holding.fence().epoch,
            items: works.iter().map(|work| (work.entry.facts.id, work.number)).collect(),
            attempts: vec![Attempt { signed, kind: AttemptKind::First, created_at: now, inclusion: None }],
            state: TransactionState::Open,
            created_at: now,
        }
    }
}

/// Tells the log of each piece of work.
fn each(works: &[Work], tell: impl Fn(crate::settlement::SettlementId, &str)) {
    for work in works {
        tell(work.entry.facts.id, &work.entry.facts.request_id);
    }
}
