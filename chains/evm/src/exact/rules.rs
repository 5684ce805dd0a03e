//! What can be decided about an EIP-3009 payment without the chain. Pure; in
//! the order of `protocol.md` 2.4.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use chains_core::{Amount, Network, Rejection, reason::INVALID_PAYMENT_REQUIREMENTS};

use super::NAME;
use crate::{abi::TransferWithAuthorization, config::Asset, reason};

/// A transfer needs at least this long to get into a block: the reference's slack.
const EXPIRY_SLACK_SECONDS: u64 = 6;

/// What the resource server demands, and what the buyer says it chose.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    pub scheme: String,
    pub chosen_scheme: String,
    pub chosen_network: Option<Network>,
    pub asset: Address,
    pub pay_to: Address,
    pub amount: Amount,
    /// `extra.name` and `extra.version`, when both are there.
    pub domain: Option<(String, String)>,
}

impl Demand {
    /// Checks 1 to 3: scheme, domain, network.
    pub fn check_names(&self, network: &Network) -> Result<&(String, String), Rejection> {
        if self.scheme != NAME || self.chosen_scheme != NAME {
            return Err(Rejection::new(reason::SCHEME, "both sides must name the scheme `exact`"));
        }
        let domain = self.domain.as_ref().ok_or_else(|| {
            let message = "`extra.name` and `extra.version` must give the asset's EIP-712 domain";
            Rejection::new(reason::MISSING_EIP712_DOMAIN, message)
        })?;
        if self.chosen_network.as_ref() != Some(network) {
            let message = format!("the payment names another network than the requirements, {network}");
            return Err(Rejection::new(reason::NETWORK_MISMATCH, message));
        }
        Ok(domain)
    }

    /// What nobody may ask of us, whatever the payer signed.
    pub fn check_requirements<'a>(
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
        if self.amount.is_zero() {
            return bad("the amount is zero".to_owned());
        }
        if self.amount < asset.amount_min {
            return bad(format!("the amount {} is below the smallest payment, {}", self.amount, asset.amount_min));
        }
        Ok(asset)
    }

    /// Checks 6 to 8 and the domain: recipient, window, value, name, version.
    pub fn check_terms(
        &self,
        transfer: &TransferWithAuthorization,
        asset: &Asset,
        now: u64,
        valid_for_max: Option<Duration>,
    ) -> Result<(), Rejection> {
        let bad = |code, message: String| Err(Rejection::new(code, message));
        if transfer.to != self.pay_to {
            return bad(
                reason::RECIPIENT_MISMATCH,
                format!("the authorization pays {}, required is {}", transfer.to, self.pay_to),
            );
        }
        check_window(transfer, now, valid_for_max)?;
        if transfer.value != self.amount.to_u256() {
            return bad(
                reason::VALUE_MISMATCH,
                format!("the authorization moves {}, required is exactly {}", transfer.value, self.amount),
            );
        }
        let Some((name, version)) = &self.domain else { return Ok(()) };
        if *name != asset.name {
            return bad(
                reason::TOKEN_NAME_MISMATCH,
                format!("`extra.name` is not the name in the asset's EIP-712 domain, {:?}", asset.name),
            );
        }
        if *version != asset.version {
            return bad(
                reason::TOKEN_VERSION_MISMATCH,
                format!("`extra.version` is not the version in the asset's EIP-712 domain, {:?}", asset.version),
            );
        }
        Ok(())
    }
}

fn check_window(t: &TransferWithAuthorization, now: u64, valid_for_max: Option<Duration>) -> Result<(), Rejection> {
    let bad = |code, message: String| Err(Rejection::new(code, message));
    if t.validBefore < U256::from(now.saturating_add(EXPIRY_SLACK_SECONDS)) {
        let message = format!("validBefore {} is less than {EXPIRY_SLACK_SECONDS} s after now, {now}", t.validBefore);
        return bad(reason::VALID_BEFORE, message);
    }
    let latest = valid_for_max.map(|max| U256::from(now.saturating_add(max.as_secs())));
    if latest.is_some_and(|latest| t.validBefore > latest) {
        let message = format!("validBefore {} is further away than authorizations here may be", t.validBefore);
        return bad(reason::VALID_BEFORE, message);
    }
    if t.validAfter > U256::from(now) {
        return bad(reason::VALID_AFTER, format!("validAfter {} is after now, {now}", t.validAfter));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;
    use chains_core::Code;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn network() -> Network {
        "eip155:84532".parse().expect("a network")
    }

    fn account(byte: u8) -> Address {
        Address::repeat_byte(byte)
    }

    fn asset() -> Asset {
        Asset {
            address: account(0xaa),
            symbol: "USDC".into(),
            name: "USDC".into(),
            version: "2".into(),
            domain: B256::ZERO,
            amount_min: Amount::from(1000_u64),
        }
    }

    fn demand() -> Demand {
        Demand {
            scheme: "exact".into(),
            chosen_scheme: "exact".into(),
            chosen_network: Some(network()),
            asset: account(0xaa),
            pay_to: account(2),
            amount: Amount::from(10_000_u64),
            domain: Some(("USDC".into(), "2".into())),
        }
    }

    fn transfer() -> TransferWithAuthorization {
        TransferWithAuthorization {
            from: account(1),
            to: account(2),
            value: U256::from(10_000),
            validAfter: U256::ZERO,
            validBefore: U256::from(NOW + 60),
            nonce: B256::ZERO,
        }
    }

    #[test]
    fn names_are_checked_in_order() {
        type Change = fn(&mut Demand);
        let cases: [(Change, Option<Code>); 5] = [
            (|_| {}, None),
            (|d| d.scheme = "upto".into(), Some(reason::SCHEME)),
            (|d| (d.chosen_scheme, d.domain) = ("upto".into(), None), Some(reason::SCHEME)),
            (|d| (d.domain, d.chosen_network) = (None, None), Some(reason::MISSING_EIP712_DOMAIN)),
            (|d| d.chosen_network = "eip155:8453".parse().ok(), Some(reason::NETWORK_MISMATCH)),
        ];
        for (i, (change, expected)) in cases.into_iter().enumerate() {
            let mut demand = demand();
            change(&mut demand);
            assert_eq!(demand.check_names(&network()).err().map(|r| r.code), expected, "case {i}");
        }
    }

    #[test]
    fn requirements_that_nobody_may_ask_are_refused() {
        type Change = fn(&mut Demand);
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
            let mut demand = demand();
            change(&mut demand);
            let result = demand.check_requirements(&[asset()], account(1), |a| a == account(9)).map(|_| ());
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
    fn terms_are_checked_in_order_and_to_the_second() {
        type Change = fn(&mut Demand, &mut TransferWithAuthorization);
        let cases: [(Change, Option<Code>); 13] = [
            (|_, _| {}, None),
            (|_, t| t.to = account(3), Some(reason::RECIPIENT_MISMATCH)),
            (|_, t| t.validBefore = U256::from(NOW + 6), None),
            (|_, t| t.validBefore = U256::from(NOW + 5), Some(reason::VALID_BEFORE)),
            (|_, t| t.validBefore = U256::from(NOW + 3600), None),
            (|_, t| t.validBefore = U256::from(NOW + 3601), Some(reason::VALID_BEFORE)),
            (|_, t| t.validBefore = U256::MAX, Some(reason::VALID_BEFORE)),
            (|_, t| t.validAfter = U256::from(NOW), None),
            (|_, t| t.validAfter = U256::from(NOW + 1), Some(reason::VALID_AFTER)),
            (|_, t| t.value += U256::from(1), Some(reason::VALUE_MISMATCH)),
            (|_, t| t.value -= U256::from(1), Some(reason::VALUE_MISMATCH)),
            (|d, _| d.domain = Some(("USD Coin".into(), "1".into())), Some(reason::TOKEN_NAME_MISMATCH)),
            (|d, _| d.domain = Some(("USDC".into(), "1".into())), Some(reason::TOKEN_VERSION_MISMATCH)),
        ];
        for (i, (change, expected)) in cases.into_iter().enumerate() {
            let (mut demand, mut transfer) = (demand(), transfer());
            change(&mut demand, &mut transfer);
            let result = demand.check_terms(&transfer, &asset(), NOW, Some(Duration::from_hours(1)));
            assert_eq!(result.err().map(|r| r.code), expected, "case {i}");
        }
        let mut forever = transfer();
        forever.validBefore = U256::MAX;
        assert_eq!(demand().check_terms(&forever, &asset(), NOW, None), Ok(()), "no limit configured");
    }
}
