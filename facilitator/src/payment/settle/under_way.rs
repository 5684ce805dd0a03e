//! A payer's payments that other instances have under way: they take of the same
//! money, and of what only one payment may use at a time.
//!
//! The limits of this process count those that are under way here. The store knows
//! the rest, but for payments that are claimed in this very moment.

use chains_core::{Amount, transaction::Plan};

use super::{Call, Next};
use crate::{
    limits::Share,
    payment::Payments,
    settlement::{NotNow, SettlementId, record::UnderWay},
    store::StoreError,
};

/// The way in which a payment goes on beside those of other instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    /// It may be claimed.
    Free,
    /// One of them uses what it needs for itself.
    Taken,
    /// They leave too little: this one has to end first.
    Wait(SettlementId),
}

/// A payment under way, and whether it is counted in this process.
struct Other<'a> {
    payment: &'a UnderWay,
    /// It is under way here: what it uses for itself is taken here.
    is_here: bool,
    /// Its money is counted here.
    is_counted: bool,
}

/// Decides about a payment beside others. Their money is taken off what its payer has.
fn beside(others: &[Other<'_>], share: &mut Share, asset: &str, exclusive: impl Fn(&Plan) -> Option<String>) -> Beside {
    let is_taken = |other: &&Other<'_>| !other.is_here && exclusive(&other.payment.plan) == share.exclusive;
    if share.exclusive.is_some() && others.iter().any(|other| is_taken(&other)) {
        return Beside::Taken;
    }
    let Some(funds) = &mut share.funds else { return Beside::Free };
    let counts = |other: &&Other<'_>| !other.is_counted && other.payment.asset.eq_ignore_ascii_case(asset);
    let mut rest = others.iter().filter(counts).map(|other| other.payment).peekable();
    let Some(first) = rest.peek().map(|first| first.id) else { return Beside::Free };
    let sum = rest.fold(Amount::ZERO, |sum: Amount, other| sum.checked_add(other.amount).unwrap_or(Amount::MAX));
    funds.available = funds.available.checked_sub(sum).unwrap_or(Amount::ZERO);
    if share.amount > funds.available { Beside::Wait(first) } else { Beside::Free }
}

impl Payments {
    /// Counts what other instances have under way of the payer. `Next::Go` where the payment may be claimed now,
    /// `Next::Again` where the chain has to be asked again first.
    pub(super) async fn beside_others(&self, call: &Call<'_>, share: &mut Share) -> Result<Next<()>, StoreError> {
        if call.submitter.instances() < 2 {
            return Ok(Next::Go(()));
        }
        let under_way = self.store.under_way(&share.network, &share.payer).await?;
        let others = under_way.iter().filter(|payment| payment.identity != share.identity).map(|payment| {
            let entry = self.registry.find(&payment.identity);
            let is_counted = entry.as_ref().is_some_and(|entry| entry.share.funds.is_some());
            Other { payment, is_here: entry.is_some(), is_counted }
        });
        let others: Vec<_> = others.collect();
        let chain = call.submitter.chain();
        match beside(&others, share, &call.payment.asset, |plan| chain.exclusive(plan)) {
            Beside::Free => Ok(Next::Go(())),
            Beside::Taken => Ok(Next::unavailable(NotNow::PayerExclusive)),
            Beside::Wait(id) if self.ends_elsewhere(id, call.deadline).await? => Ok(Next::Again),
            Beside::Wait(_) => Ok(Next::unavailable(NotNow::PayerBusy)),
        }
    }
}

#[cfg(test)]
mod tests {
    use chains_core::{Identity, scheme::Funds};

    use super::*;

    fn payment(number: u8, asset: &str, amount: u64, plan: &str) -> UnderWay {
        let (id, identity) = (SettlementId::fresh(), Identity::of("test", &[&[number]]));
        UnderWay { id, identity, asset: asset.into(), amount: Amount::from(amount), plan: Plan::new(plan) }
    }

    #[test]
    fn money_and_names_that_other_instances_have_under_way_count_once() {
        let [first, second, other_token, alone] = [
            payment(1, "0xToken", 40, "{}"),
            payment(2, "0xTOKEN", 30, "{}"),
            payment(3, "0xOther", 999, "{}"),
            payment(4, "0xOther", 1, "{\"alone\":1}"),
        ];
        let elsewhere = |payment| Other { payment, is_here: false, is_counted: false };
        let here = |payment| Other { payment, is_here: true, is_counted: true };
        let received = |payment| Other { payment, is_here: true, is_counted: false };
        let (name, none) = (Some("name".to_owned()), None);
        let cases = [
            ("nothing", vec![], 100_u64, &none, Beside::Free, 100_u64),
            ("it fits", vec![elsewhere(&first), elsewhere(&second)], 30, &none, Beside::Free, 30),
            ("too much", vec![elsewhere(&first), elsewhere(&second)], 31, &none, Beside::Wait(first.id), 30),
            ("counted here", vec![here(&first), elsewhere(&second)], 70, &none, Beside::Free, 70),
            ("received here", vec![received(&first), here(&second)], 61, &none, Beside::Wait(first.id), 60),
            ("another token", vec![elsewhere(&other_token)], 100, &none, Beside::Free, 100),
            ("a name that is used", vec![elsewhere(&alone)], 1, &name, Beside::Taken, 100),
            ("used here", vec![here(&alone)], 1, &name, Beside::Free, 100),
            ("no name", vec![elsewhere(&alone)], 1, &none, Beside::Free, 100),
            ("another's name", vec![elsewhere(&other_token)], 1, &name, Beside::Free, 100),
        ];
        for (what, others, amount, exclusive, expected, left) in cases {
            let mut share = Share {
                identity: Identity::of("test", &[&[9]]),
                network: "eip155:1".parse().expect("CAIP-2"),
                tenant: String::new(),
                payer: "p".into(),
                payer_code: None,
                exclusive: exclusive.clone(),
                funds: Some(Funds { account: "a".into(), available: Amount::from(100_u64) }),
                amount: Amount::from(amount),
                at_risk: Amount::ZERO,
            };
            let name_of = |plan: &Plan| plan.body().contains("alone").then(|| "name".to_owned());
            assert_eq!(beside(&others, &mut share, "0xtoken", name_of), expected, "{what}");
            assert_eq!(share.funds.map(|funds| funds.available), Some(Amount::from(left)), "{what}");
        }
    }
}
