//! Gas lost to payments that failed on chain, within the last hour.
//!
//! A contract wallet can pass every check and fail on chain, at the gas
//! wallet's cost, and its owner can deploy as many of them as it likes. So what
//! such payments may cost is bounded whatever their number: what was lost
//! within the hour, what those under way may still lose, and the new one
//! together stay within the budgets of the network, of the API key and of the
//! wallets' code. A payer with a key alone is served beyond them, as long as
//! none of its payments has failed.

use std::collections::{HashMap, VecDeque};

use chains_core::{Amount, Identity, chain::LossBudget, clock::Millis};
use parking_lot::Mutex;

use super::{OverBudget, Scope, Share};
use crate::settlement::record::Loss;

/// The time for which a loss counts.
pub const WINDOW_MS: u64 = 3_600_000;

/// Losses are added up by minute, so that no number of them costs memory.
const BUCKET_MS: u64 = 60_000;

/// Keys and codes that are remembered, at most. Beyond, the network's budget
/// alone bounds them.
const NAMES_MAX: usize = 4_096;

/// The losses of one network.
#[derive(Debug)]
pub struct Budgets {
    limits: LossBudget,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    network: Account,
    keys: HashMap<String, Account>,
    codes: HashMap<String, Account>,
    under_way: HashMap<Identity, Amount>,
}

/// Losses by minute, and what is at risk.
#[derive(Debug, Default)]
struct Account {
    lost: VecDeque<(u64, Amount)>,
    at_risk: Amount,
}

impl Budgets {
    /// Nothing lost yet.
    pub fn new(limits: LossBudget) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Admits a settlement. One whose payer runs code counts what it may lose
    /// until it ends; others are only refused when losses alone have used a
    /// budget up and the payer's record is not clean.
    ///
    /// # Errors
    /// A budget has no room.
    pub fn take(&self, share: &Share, clean: bool, now: Millis) -> Result<(), OverBudget> {
        let mut state = self.state.lock();
        let with_code = share.payer_code.is_some();
        if !with_code && clean {
            return Ok(());
        }
        let at_risk = if with_code { share.at_risk } else { Amount::ZERO };
        let names = [
            Some((Scope::Network, "")),
            Some((Scope::Key, share.tenant.as_str())),
            share.payer_code.as_deref().map(|code| (Scope::Code, code)),
        ];
        for (scope, name) in names.into_iter().flatten() {
            let limit = self.limit(scope);
            let Some(account) = state.existing(scope, name) else {
                if with_code && at_risk > limit {
                    return Err(OverBudget { scope, until: Millis(now.0 + WINDOW_MS) });
                }
                continue;
            };
            account.forget(now);
            let sum = account.sum().checked_add(at_risk);
            let fits = sum.is_some_and(|sum| if with_code { sum <= limit } else { account.lost_sum() < limit });
            if !fits {
                return Err(OverBudget { scope, until: account.free_at(now) });
            }
        }
        if with_code {
            state.each(share.tenant.as_str(), share.payer_code.as_deref(), |account| account.risk(at_risk));
            state.under_way.insert(share.identity, at_risk);
        }
        Ok(())
    }

    /// Gives back what a settlement put at risk: it has ended.
    pub fn release(&self, share: &Share) {
        let mut state = self.state.lock();
        if let Some(at_risk) = state.under_way.remove(&share.identity) {
            state.each(share.tenant.as_str(), share.payer_code.as_deref(), |account| account.unrisk(at_risk));
        }
    }

    /// Counts a loss.
    pub fn lost(&self, loss: &Loss) {
        let mut state = self.state.lock();
        state.each(&loss.tenant, loss.payer_code.as_deref(), |account| account.lose(loss.at, loss.fee_paid));
    }

    /// The sum lost within the last hour, on the whole network.
    pub fn lost_sum(&self, now: Millis) -> Amount {
        let mut state = self.state.lock();
        state.network.forget(now);
        state.network.lost_sum()
    }

    const fn limit(&self, scope: Scope) -> Amount {
        match scope {
            Scope::Network => self.limits.network,
            Scope::Key => self.limits.key,
            Scope::Code => self.limits.code,
        }
    }
}

impl State {
    fn existing(&mut self, scope: Scope, name: &str) -> Option<&mut Account> {
        match scope {
            Scope::Network => Some(&mut self.network),
            Scope::Key => self.keys.get_mut(name),
            Scope::Code => self.codes.get_mut(name),
        }
    }

    /// Changes the accounts that a settlement of this key and code counts in.
    fn each(&mut self, key: &str, code: Option<&str>, change: impl Fn(&mut Account)) {
        change(&mut self.network);
        change(of(&mut self.keys, key));
        if let Some(code) = code {
            change(of(&mut self.codes, code));
        }
    }
}

/// The account of a name; the one of all that find no room is the last resort.
fn of<'a>(accounts: &'a mut HashMap<String, Account>, name: &str) -> &'a mut Account {
    const OTHERS: &str = "*";
    let name = if accounts.len() < NAMES_MAX || accounts.contains_key(name) { name } else { OTHERS };
    accounts.entry(name.to_owned()).or_default()
}

impl Account {
    fn lost_sum(&self) -> Amount {
        self.lost.iter().fold(Amount::ZERO, |sum, (_, lost)| add(sum, *lost))
    }

    fn sum(&self) -> Amount {
        add(self.lost_sum(), self.at_risk)
    }

    fn risk(&mut self, amount: Amount) {
        self.at_risk = add(self.at_risk, amount);
    }

    fn unrisk(&mut self, amount: Amount) {
        self.at_risk = self.at_risk.checked_sub(amount).unwrap_or(Amount::ZERO);
    }

    fn lose(&mut self, at: Millis, amount: Amount) {
        let bucket = at.0 / BUCKET_MS;
        match self.lost.back_mut() {
            Some((last, sum)) if *last >= bucket => *sum = add(*sum, amount),
            Some(_) | None => self.lost.push_back((bucket, amount)),
        }
        self.forget(at);
    }

    fn forget(&mut self, now: Millis) {
        let over = |bucket: u64| (bucket + 1).saturating_mul(BUCKET_MS).saturating_add(WINDOW_MS) <= now.0;
        while self.lost.front().is_some_and(|(bucket, _)| over(*bucket)) {
            self.lost.pop_front();
        }
    }

    /// The time from which the oldest loss no longer counts.
    fn free_at(&self, now: Millis) -> Millis {
        let oldest =
            self.lost.front().map(|(bucket, _)| (bucket + 1).saturating_mul(BUCKET_MS).saturating_add(WINDOW_MS));
        Millis(oldest.unwrap_or(now.0 + BUCKET_MS))
    }
}

fn add(a: Amount, b: Amount) -> Amount {
    a.checked_add(b).unwrap_or(Amount::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(number: u64, tenant: &str, code: Option<&str>, at_risk: u64) -> Share {
        Share {
            identity: Identity::of("test", &[&number.to_be_bytes()]),
            network: "eip155:1".parse().expect("CAIP-2"),
            tenant: tenant.into(),
            payer: format!("p{number}"),
            payer_code: code.map(str::to_owned),
            exclusive: None,
            funds: None,
            amount: Amount::from(1_u64),
            at_risk: Amount::from(at_risk),
        }
    }

    fn budgets() -> Budgets {
        let amount = |n: u64| Amount::from(n);
        Budgets::new(LossBudget { network: amount(100), key: amount(60), code: amount(30) })
    }

    fn loss(share: &Share, at: u64) -> Loss {
        let (payer, tenant, payer_code) = (share.payer.clone(), share.tenant.clone(), share.payer_code.clone());
        Loss { payer, tenant, payer_code, fee_paid: share.at_risk, at: Millis(at) }
    }

    #[test]
    fn lost_at_risk_and_new_together_stay_within_every_budget() {
        let budgets = budgets();
        let take = |share: &Share| budgets.take(share, true, Millis(0)).map_err(|over| over.scope);
        assert_eq!(take(&share(0, "k", Some("a"), 31)), Err(Scope::Code), "one alone is too much");
        let first = share(1, "k", Some("a"), 20);
        assert_eq!(take(&first), Ok(()));
        assert_eq!(take(&share(2, "k", Some("a"), 11)), Err(Scope::Code));
        assert_eq!(take(&share(3, "k", Some("b"), 30)), Ok(()), "another code");
        assert_eq!(take(&share(4, "k", Some("c"), 11)), Err(Scope::Key));
        assert_eq!(take(&share(5, "l", Some("c"), 30)), Ok(()), "another key");
        assert_eq!(take(&share(6, "l", Some("d"), 21)), Err(Scope::Network));
        budgets.lost(&loss(&first, 0));
        budgets.release(&first);
        assert_eq!(take(&share(2, "m", Some("a"), 11)), Err(Scope::Code), "it is lost now");
        assert_eq!(take(&share(2, "m", Some("a"), 10)), Ok(()));
    }

    #[test]
    fn a_loss_counts_for_an_hour() {
        let budgets = budgets();
        let wallet = share(1, "k", Some("a"), 30);
        budgets.lost(&loss(&wallet, 1_000));
        let over = budgets.take(&wallet, true, Millis(2_000)).expect_err("all is lost");
        assert_eq!(over, OverBudget { scope: Scope::Code, until: Millis(BUCKET_MS + WINDOW_MS) });
        assert!(budgets.take(&wallet, true, Millis(over.until.0 - 1)).is_err());
        assert!(budgets.take(&wallet, true, over.until).is_ok());
    }

    #[test]
    fn beyond_the_budgets_keys_with_a_clean_record_are_served_and_no_others() {
        let budgets = budgets();
        (0..4).for_each(|n| budgets.lost(&loss(&share(n, "k", Some(&n.to_string()), 25), 0)));
        let key = share(9, "l", None, 25);
        assert!(budgets.take(&key, true, Millis(0)).is_ok());
        assert_eq!(budgets.take(&key, false, Millis(0)).map_err(|over| over.scope), Err(Scope::Network));
        assert_eq!(budgets.lost_sum(Millis(0)), Amount::from(100_u64));
    }

    #[test]
    fn no_number_of_codes_escapes_the_network_s_budget_or_grows_the_memory() {
        let budgets =
            Budgets::new(LossBudget { network: Amount::from(9_000_u64), key: Amount::MAX, code: Amount::MAX });
        let admitted = (0..10_000).filter(|n| {
            let wallet = share(*n, "k", Some(&n.to_string()), 1);
            budgets.take(&wallet, true, Millis(0)).is_ok()
        });
        assert_eq!(admitted.count(), 9_000);
        assert!(budgets.state.lock().codes.len() <= NAMES_MAX + 1);
    }
}
