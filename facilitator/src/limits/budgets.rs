//! Gas lost to payments that failed on chain, within the last hour.
//!
//! A contract wallet can pass every check and fail on chain, at the gas
//! wallet's cost, and its owner can deploy as many of them as it likes. So what
//! such payments may cost is bounded whatever their number: what was lost
//! within the hour, what those under way may still lose, and the new one
//! together stay within the budgets of the network, of the API key and of the
//! wallets' code. A payer with a key alone is served beyond them, as long as
//! none of its payments has failed.
//!
//! On chains where any payer can make its payments fail, which a network's
//! [`Strangers`](chains_core::chain::Strangers) say, every payment counts. Those of payers that have
//! not paid here before, however many keys they use, share a part of the budget
//! and of the places; so much is left to the others. Beyond all budgets payers are served that have
//! paid many times as much as they may lose.

use std::collections::{HashMap, VecDeque};

use chains_core::{Amount, Identity, chain::LossBudget, clock::Millis};
use parking_lot::Mutex;

use super::{OverBudget, Scope, Share, payer_failures::Standing};
use crate::settlement::record::Loss;

/// The time for which a loss counts.
pub const WINDOW_MS: u64 = 3_600_000;

/// Losses are added up by minute, so that no number of them costs memory.
const BUCKET_MS: u64 = 60_000;

/// The time after which a stranger may ask again for one of the strangers' places.
const PLACE_WAIT_MS: u64 = 1_000;

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
    under_way: HashMap<Identity, Risk>,
    /// The money that strangers put at risk. What is lost of it is in the network's account.
    strangers: Account,
    strangers_under_way: usize,
}

/// The loss that one settlement may bring.
#[derive(Clone, Copy, Debug)]
struct Risk {
    amount: Amount,
    is_strangers: bool,
}

/// The way in which a settlement counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// Not at all.
    Not,
    /// Only refused when losses alone have used a budget up.
    WhenItFails,
    /// With all that it may lose, until it ends.
    AtOnce { is_strangers: bool },
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

    /// True where any payer can make its payments fail.
    pub const fn counts_strangers(&self) -> bool {
        self.limits.strangers.is_some()
    }

    /// Admits a settlement of a payer with this record. One that counts at once counts what it may lose until it
    /// ends; others are only refused when losses alone have used a budget up and the payer's record is not clean.
    ///
    /// # Errors
    /// A budget has no room.
    pub fn take(&self, share: &Share, standing: Standing, now: Millis) -> Result<(), OverBudget> {
        let mut state = self.state.lock();
        let is_strangers = match self.counted(share, standing) {
            Counted::Not => return Ok(()),
            Counted::WhenItFails => return self.check(&mut state, share, None, now),
            Counted::AtOnce { is_strangers } => is_strangers,
        };
        let checked = self.check(&mut state, share, Some(share.at_risk), now);
        let checked =
            checked.and_then(|()| if is_strangers { self.check_strangers(&state, share, now) } else { Ok(()) });
        match checked {
            Err(_) if self.counts_strangers() && standing.is_proven() => Ok(()),
            Err(over) => Err(over),
            Ok(()) => {
                state.risk(share, is_strangers);
                Ok(())
            }
        }
    }

    /// Counts a settlement from before a restart. Never refused.
    pub fn resume(&self, share: &Share) {
        if self.counts_strangers() || share.payer_code.is_some() {
            self.state.lock().risk(share, false);
        }
    }

    fn counted(&self, share: &Share, standing: Standing) -> Counted {
        match (self.counts_strangers(), share.payer_code.is_some(), standing.clean) {
            (true, _, _) => Counted::AtOnce { is_strangers: !standing.is_known() },
            (false, true, _) => Counted::AtOnce { is_strangers: false },
            (false, false, true) => Counted::Not,
            (false, false, false) => Counted::WhenItFails,
        }
    }

    /// Checks the budgets of the network, the key and the code. `None` at risk: losses alone count.
    fn check(&self, state: &mut State, share: &Share, at_risk: Option<Amount>, now: Millis) -> Result<(), OverBudget> {
        let names = [
            Some((Scope::Network, "")),
            Some((Scope::Key, share.tenant.as_str())),
            share.payer_code.as_deref().map(|code| (Scope::Code, code)),
        ];
        for (scope, name) in names.into_iter().flatten() {
            let limit = self.limit(scope);
            let Some(account) = state.existing(scope, name) else {
                if at_risk.is_some_and(|at_risk| at_risk > limit) {
                    return Err(OverBudget { scope, until: Millis(now.0 + WINDOW_MS) });
                }
                continue;
            };
            account.forget(now);
            let fits = match at_risk {
                Some(at_risk) => account.sum().checked_add(at_risk).is_some_and(|sum| sum <= limit),
                None => account.lost_sum() < limit,
            };
            if !fits {
                return Err(OverBudget { scope, until: account.free_at(now) });
            }
        }
        Ok(())
    }

    /// Checks what strangers may take, of money and of places.
    fn check_strangers(&self, state: &State, share: &Share, now: Millis) -> Result<(), OverBudget> {
        let Some(limits) = self.limits.strangers else { return Ok(()) };
        let scope = Scope::Strangers;
        if state.strangers_under_way >= limits.under_way_max {
            return Err(OverBudget { scope, until: Millis(now.0 + PLACE_WAIT_MS) });
        }
        let sum = add(add(state.network.lost_sum(), state.strangers.at_risk), share.at_risk);
        if sum > limits.lost_max {
            return Err(OverBudget { scope, until: state.network.free_at(now) });
        }
        Ok(())
    }

    /// Gives back what a settlement put at risk: it has ended.
    pub fn release(&self, share: &Share) {
        let mut state = self.state.lock();
        let Some(Risk { amount, is_strangers }) = state.under_way.remove(&share.identity) else { return };
        state.each(share.tenant.as_str(), share.payer_code.as_deref(), |account| account.unrisk(amount));
        if is_strangers {
            state.strangers.unrisk(amount);
            state.strangers_under_way = state.strangers_under_way.saturating_sub(1);
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

    fn limit(&self, scope: Scope) -> Amount {
        match scope {
            Scope::Network => self.limits.network,
            Scope::Key => self.limits.key,
            Scope::Code => self.limits.code,
            Scope::Strangers => self.limits.strangers.map_or(Amount::MAX, |strangers| strangers.lost_max),
        }
    }
}

impl State {
    fn existing(&mut self, scope: Scope, name: &str) -> Option<&mut Account> {
        match scope {
            Scope::Network => Some(&mut self.network),
            Scope::Key => self.keys.get_mut(name),
            Scope::Code => self.codes.get_mut(name),
            Scope::Strangers => Some(&mut self.strangers),
        }
    }

    /// Counts what a settlement may lose.
    fn risk(&mut self, share: &Share, is_strangers: bool) {
        let amount = share.at_risk;
        self.each(share.tenant.as_str(), share.payer_code.as_deref(), |account| account.risk(amount));
        if is_strangers {
            self.strangers.risk(amount);
            self.strangers_under_way += 1;
        }
        self.under_way.insert(share.identity, Risk { amount, is_strangers });
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
    use chains_core::chain::Strangers;

    use super::*;
    use crate::settlement::SettlementId;

    const CLEAN: Standing = Standing { clean: true, paid: 0, under_way: 0 };
    const FAILED: Standing = Standing { clean: false, ..CLEAN };

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
        Budgets::new(LossBudget { network: amount(100), key: amount(60), code: amount(30), strangers: None })
    }

    fn loss(share: &Share, at: u64) -> Loss {
        let (payer, tenant, payer_code) = (share.payer.clone(), share.tenant.clone(), share.payer_code.clone());
        Loss { id: SettlementId::fresh(), payer, tenant, payer_code, fee_paid: share.at_risk, at: Millis(at) }
    }

    #[test]
    fn lost_at_risk_and_new_together_stay_within_every_budget() {
        let budgets = budgets();
        let take = |share: &Share| budgets.take(share, CLEAN, Millis(0)).map_err(|over| over.scope);
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
        let over = budgets.take(&wallet, CLEAN, Millis(2_000)).expect_err("all is lost");
        assert_eq!(over, OverBudget { scope: Scope::Code, until: Millis(BUCKET_MS + WINDOW_MS) });
        assert!(budgets.take(&wallet, CLEAN, Millis(over.until.0 - 1)).is_err());
        assert!(budgets.take(&wallet, CLEAN, over.until).is_ok());
    }

    #[test]
    fn beyond_the_budgets_keys_with_a_clean_record_are_served_and_no_others() {
        let budgets = budgets();
        (0..4).for_each(|n| budgets.lost(&loss(&share(n, "k", Some(&n.to_string()), 25), 0)));
        let key = share(9, "l", None, 25);
        assert!(budgets.take(&key, CLEAN, Millis(0)).is_ok());
        assert_eq!(budgets.take(&key, FAILED, Millis(0)).map_err(|over| over.scope), Err(Scope::Network));
        assert_eq!(budgets.lost_sum(Millis(0)), Amount::from(100_u64));
    }

    const fn has_paid(paid: usize) -> Standing {
        Standing { paid, ..CLEAN }
    }

    /// Half of the network's budget, and four places.
    fn with_strangers() -> Budgets {
        let strangers = Some(Strangers { lost_max: Amount::from(50_u64), under_way_max: 4 });
        Budgets::new(LossBudget { strangers, ..budgets().limits })
    }

    #[test]
    fn no_number_of_keys_without_a_record_escapes_the_strangers_budget_and_places() {
        let (budgets, take) = (with_strangers(), |budgets: &Budgets, n, at_risk, standing| {
            budgets.take(&share(n, &n.to_string(), None, at_risk), standing, Millis(0)).map_err(|over| over.scope)
        });
        assert_eq!(take(&budgets, 0, 51, CLEAN), Err(Scope::Strangers));
        assert!((0..4).all(|n| take(&budgets, n, 10, CLEAN).is_ok()));
        assert_eq!(take(&budgets, 4, 1, CLEAN), Err(Scope::Strangers), "four places");
        assert_eq!(take(&budgets, 5, 10, has_paid(1)), Ok(()), "who has paid is no stranger");
        for n in 0..4 {
            budgets.lost(&loss(&share(n, "k", None, 10), 0));
            budgets.release(&share(n, &n.to_string(), None, 10));
        }
        assert_eq!(take(&budgets, 6, 11, FAILED), Err(Scope::Strangers), "what is lost counts");
        assert_eq!(take(&budgets, 7, 11, Standing { under_way: 1, ..has_paid(1) }), Err(Scope::Strangers));
        assert_eq!(take(&budgets, 8, 10, CLEAN), Ok(()));
        assert_eq!(take(&budgets, 9, 41, has_paid(9)), Err(Scope::Network));
        assert_eq!(take(&budgets, 9, 40, has_paid(9)), Ok(()));
    }

    #[test]
    fn beyond_all_budgets_those_are_served_who_have_paid_many_times_as_much() {
        let budgets = with_strangers();
        (0..4).for_each(|n| budgets.lost(&loss(&share(n, "k", None, 30), 0)));
        for (paid, served) in [(0, false), (15, false), (16, true), (1_000, true)] {
            let taken = budgets.take(&share(9, "k", None, 10), has_paid(paid), Millis(0));
            assert_eq!(taken.is_ok(), served, "{paid}");
        }
        assert!(budgets.take(&share(9, "k", None, 10), Standing { paid: 99, ..FAILED }, Millis(0)).is_err());
    }

    #[test]
    fn what_was_under_way_before_a_restart_is_at_risk_after_it() {
        let budgets = with_strangers();
        let before = share(1, "k", None, 60);
        budgets.resume(&before);
        assert!(budgets.take(&share(2, "l", None, 41), has_paid(1), Millis(0)).is_err());
        budgets.release(&before);
        assert!(budgets.take(&share(2, "l", None, 41), has_paid(1), Millis(0)).is_ok());
    }

    #[test]
    fn no_number_of_codes_escapes_the_network_s_budget_or_grows_the_memory() {
        let budgets = Budgets::new(LossBudget {
            network: Amount::from(9_000_u64),
            key: Amount::MAX,
            code: Amount::MAX,
            strangers: None,
        });
        let admitted = (0..10_000).filter(|n| {
            let wallet = share(*n, "k", Some(&n.to_string()), 1);
            budgets.take(&wallet, CLEAN, Millis(0)).is_ok()
        });
        assert_eq!(admitted.count(), 9_000);
        assert!(budgets.state.lock().codes.len() <= NAMES_MAX + 1);
    }
}
