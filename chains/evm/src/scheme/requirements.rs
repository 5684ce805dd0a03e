//! The requirements of the resource server, and the buyer's choice: what
//! every way of paying on these chains checks alike. Pure.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use chains_core::{Amount, Code, Network, Payment, Rejection, reason::INVALID_PAYMENT_REQUIREMENTS};

use crate::{config::Asset, parse};

/// The requirements, as far as they are the same for every way of paying.
#[derive(Clone, Debug)]
pub(crate) struct Requirements {
    pub scheme: String,
    pub chosen_scheme: String,
    pub chosen_network: Option<Network>,
    pub asset: Address,
    pub pay_to: Address,
    pub amount: Amount,
}

impl Requirements {
    /// Reads the requirements.
    pub fn read(payment: &Payment) -> Result<Self, Rejection> {
        let address = |key: &str, text: &str| {
            let message = || format!("{key} must be 0x and 40 hex digits");
            parse::address(text).ok_or_else(|| Rejection::new(INVALID_PAYMENT_REQUIREMENTS, message()))
        };
        Ok(Self {
            scheme: payment.scheme.clone(),
            chosen_scheme: payment.chosen.scheme.clone(),
            chosen_network: payment.chosen.network.clone(),
            asset: address("asset", &payment.asset)?,
            pay_to: address("payTo", &payment.pay_to)?,
            amount: payment.amount,
        })
    }

    /// Both sides name this scheme.
    pub fn check_scheme(&self, name: &str, code: Code) -> Result<(), Rejection> {
        if self.scheme == name && self.chosen_scheme == name {
            return Ok(());
        }
        Err(Rejection::new(code, format!("both sides must name the scheme `{name}`")))
    }

    /// Both sides name this network.
    pub fn check_network(&self, network: &Network, code: Code) -> Result<(), Rejection> {
        if self.chosen_network.as_ref() == Some(network) {
            return Ok(());
        }
        let message = format!("the payment names another network than the requirements, {network}");
        Err(Rejection::new(code, message))
    }

    /// Refuses what nobody may ask of us, whatever the payer signed.
    pub fn check_parties<'a>(
        &self,
        assets: &'a [Asset],
        payer: Address,
        is_gas_wallet: impl Fn(Address) -> bool,
    ) -> Result<&'a Asset, Rejection> {
        let bad = |message: String| Err(Rejection::new(INVALID_PAYMENT_REQUIREMENTS, message));
        let Some(asset) = assets.iter().find(|asset| asset.address == self.asset) else {
            let accepted: Vec<_> = assets.iter().map(|a| format!("{} {}", a.symbol, a.address)).collect();
            return bad(format!("asset {} is not accepted here, only {}", self.asset, accepted.join(", ")));
        };
        if self.pay_to.is_zero() {
            return bad("payTo is the zero address".to_owned());
        }
        if self.pay_to == asset.address {
            return bad("payTo is the asset's own contract".to_owned());
        }
        if is_gas_wallet(self.pay_to) {
            return bad("payTo is a gas wallet of this facilitator".to_owned());
        }
        if self.pay_to == payer {
            return bad("payer and payTo are the same account".to_owned());
        }
        Ok(asset)
    }
}

/// Neither nothing nor dust.
pub(crate) fn check_amount(amount: Amount, asset: &Asset) -> Result<(), Rejection> {
    let bad = |message: String| Err(Rejection::new(INVALID_PAYMENT_REQUIREMENTS, message));
    if amount.is_zero() {
        return bad("the amount is zero".to_owned());
    }
    if amount < asset.amount_min {
        return bad(format!("the amount {amount} is below the smallest payment, {}", asset.amount_min));
    }
    Ok(())
}

/// The time that validity is evaluated at, and how much of it is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// The time of the block to come, in seconds.
    pub now: u64,
    /// Seconds after it for which an authorization must still be valid.
    pub slack: u64,
    /// The longest that it may still be valid.
    pub valid_for_max: Option<Duration>,
}

/// The time in which an authorization is valid, in seconds since the epoch, in the words
/// and with the codes of its method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub from: U256,
    pub until: U256,
    /// The payload's word for `from`, and the code for being too early.
    pub early: (&'static str, Code),
    /// The payload's word for `until`, and the code for being too late.
    pub late: (&'static str, Code),
}

impl Window {
    /// Checks that a transfer can be made in it, in the block to come.
    pub fn check(&self, timing: Timing) -> Result<(), Rejection> {
        let Timing { now, slack, valid_for_max } = timing;
        let ((from, early), (until, late)) = (self.early, self.late);
        let bad = |code, message: String| Err(Rejection::new(code, message));
        if self.until < U256::from(now.saturating_add(slack)) {
            let message = format!("{until} {} is less than {slack} s after the block to come, {now}", self.until);
            return bad(late, message);
        }
        let latest = valid_for_max.map(|max| U256::from(now.saturating_add(max.as_secs())));
        if latest.is_some_and(|latest| self.until > latest) {
            return bad(late, format!("{until} {} is further away than authorizations here may be", self.until));
        }
        if self.from > U256::from(now) {
            return bad(early, format!("{from} {} is after the block to come, {now}", self.from));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use alloy::primitives::B256;

    use super::*;
    use crate::config::Domain;

    pub(crate) const NOW: u64 = 1_700_000_000;

    pub(crate) fn timing() -> Timing {
        Timing { now: NOW, slack: 6, valid_for_max: Some(Duration::from_hours(1)) }
    }

    pub(crate) fn network() -> Network {
        "eip155:84532".parse().expect("a network")
    }

    pub(crate) fn account(byte: u8) -> Address {
        Address::repeat_byte(byte)
    }

    pub(crate) fn asset() -> Asset {
        Asset {
            address: account(0xaa),
            symbol: "USDC".into(),
            decimals: 6,
            amount_min: Amount::from(1000_u64),
            eip3009: Some(Domain { name: "USDC".into(), version: "2".into(), separator: B256::ZERO }),
            eip2612: true,
            implementation: None,
        }
    }

    pub(crate) fn requirements() -> Requirements {
        Requirements {
            scheme: "exact".into(),
            chosen_scheme: "exact".into(),
            chosen_network: Some(network()),
            asset: account(0xaa),
            pay_to: account(2),
            amount: Amount::from(10_000_u64),
        }
    }

    #[test]
    fn requirements_that_nobody_may_ask_are_refused() {
        type Change = fn(&mut Requirements);
        let cases: [(Change, Option<&str>); 9] = [
            (|_| {}, None),
            (|d| d.amount = Amount::from(1000_u64), None),
            (|d| d.asset = account(0xab), Some("not accepted")),
            (|d| d.pay_to = Address::ZERO, Some("zero address")),
            (|d| d.pay_to = account(0xaa), Some("own contract")),
            (|d| d.pay_to = account(9), Some("gas wallet")),
            (|d| d.pay_to = account(1), Some("same account")),
            (|d| d.amount = Amount::ZERO, Some("zero")),
            (|d| d.amount = Amount::from(999_u64), Some("smallest payment")),
        ];
        for (change, expected) in cases {
            let mut requirements = requirements();
            change(&mut requirements);
            let assets = [asset()];
            let result = requirements.check_parties(&assets, account(1), |a| a == account(9));
            let result = result.and_then(|asset| check_amount(requirements.amount, asset));
            match expected {
                None => assert_eq!(result, Ok(())),
                Some(part) => {
                    let rejection = result.expect_err(part);
                    assert_eq!(rejection.code, INVALID_PAYMENT_REQUIREMENTS);
                    assert!(rejection.message.contains(part), "{}", rejection.message);
                }
            }
        }
    }

    #[test]
    fn windows_are_judged_to_the_second() {
        const EARLY: Code = Code::new("early");
        const LATE: Code = Code::new("late");
        let cases = [
            (U256::ZERO, U256::from(NOW + 6), None),
            (U256::ZERO, U256::from(NOW + 5), Some(LATE)),
            (U256::ZERO, U256::from(NOW + 3600), None),
            (U256::ZERO, U256::from(NOW + 3601), Some(LATE)),
            (U256::ZERO, U256::MAX, Some(LATE)),
            (U256::from(NOW), U256::from(NOW + 60), None),
            (U256::from(NOW + 1), U256::from(NOW + 60), Some(EARLY)),
            (U256::MAX, U256::ZERO, Some(LATE)),
        ];
        for (from, until, expected) in cases {
            let window = Window { from, until, early: ("validAfter", EARLY), late: ("validBefore", LATE) };
            let result = window.check(timing());
            assert_eq!(result.err().map(|r| r.code), expected, "{from} {until}");
        }
        let forever = Window { from: U256::ZERO, until: U256::MAX, early: ("", EARLY), late: ("", LATE) };
        assert_eq!(forever.check(Timing { valid_for_max: None, ..timing() }), Ok(()), "no limit configured");
        let slow = Timing { slack: 24, ..timing() };
        for (until, valid) in [(NOW + 23, false), (NOW + 24, true)] {
            let window = Window { until: U256::from(until), ..forever };
            assert_eq!(window.check(slow).is_ok(), valid, "two blocks of a slow chain: {until}");
        }
    }
}
