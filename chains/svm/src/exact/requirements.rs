//! The requirements of the resource server. Pure; the checks of names
//! and what nobody may ask of us.

use std::collections::BTreeSet;

use chains_core::{Network, Payment, Rejection, reason::INVALID_PAYMENT_REQUIREMENTS};
use solana_sdk::pubkey::Pubkey;

use super::NAME;
use crate::{mint::Danger, reason};

/// A token that payments are accepted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its address.
    pub mint: Pubkey,
    /// Its symbol, for people.
    pub symbol: String,
    /// The smallest payment, in atomic units.
    pub amount_min: u64,
    /// Its decimals.
    pub decimals: u8,
    /// Dangerous extensions of its mint that the operator takes upon itself.
    pub extensions_allowed: BTreeSet<Danger>,
}

/// `paymentRequirements`, read, and what the buyer says it chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// The scheme.
    pub scheme: String,
    /// The buyer's scheme.
    pub chosen_scheme: String,
    /// The buyer's network; `None` when the text names none that we know of.
    pub chosen_network: Option<Network>,
    /// The token's mint.
    pub asset: Pubkey,
    /// The payee's account, of which the associated token account is paid.
    pub pay_to: Pubkey,
    /// Atomic units of the token.
    pub amount: u64,
    /// `extra.feePayer` as text; `None` when absent.
    pub fee_payer: Option<String>,
    /// `extra.memo`; `None` when absent or empty.
    pub memo: Option<String>,
}

impl Requirements {
    /// Reads the requirements.
    ///
    /// # Errors
    /// An address is none, or the amount is more than a token account holds.
    pub fn read(payment: &Payment) -> Result<Self, Rejection> {
        let bad = |message: String| Rejection::new(INVALID_PAYMENT_REQUIREMENTS, message);
        let address = |name: &str, text: &str| {
            text.parse::<Pubkey>().map_err(|_| bad(format!("{name} must be 32 bytes in base58")))
        };
        let amount = u64::try_from(payment.amount.to_u256());
        Ok(Self {
            scheme: payment.scheme.clone(),
            chosen_scheme: payment.chosen.scheme.clone(),
            chosen_network: payment.chosen.network.clone(),
            asset: address("asset", &payment.asset)?,
            pay_to: address("payTo", &payment.pay_to)?,
            amount: amount.map_err(|_| bad(format!("the amount is larger than {}", u64::MAX)))?,
            fee_payer: payment.extra_text("feePayer").map(str::to_owned),
            memo: payment.extra_text("memo").map(str::to_owned),
        })
    }

    /// Checks scheme, network and fee payer; returns the fee payer, one of ours.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check_names(&self, network: &Network, ours: &[Pubkey]) -> Result<Pubkey, Rejection> {
        if self.scheme != NAME || self.chosen_scheme != NAME {
            return Err(Rejection::new(reason::UNSUPPORTED_SCHEME, "both sides must name the scheme `exact`"));
        }
        if self.chosen_network.as_ref() != Some(network) {
            let message = format!("the payment names another network than the requirements, {network}");
            return Err(Rejection::new(reason::NETWORK_MISMATCH, message));
        }
        let text = self.fee_payer.as_ref().ok_or_else(|| {
            Rejection::new(
                reason::MISSING_FEE_PAYER,
                "`extra.feePayer` must name the fee payer that `/supported` announces",
            )
        })?;
        let named = text.parse::<Pubkey>().ok();
        named.filter(|key| ours.contains(key)).ok_or_else(|| {
            Rejection::new(reason::FEE_PAYER_NOT_MANAGED, "`extra.feePayer` is not a fee payer of this facilitator")
        })
    }

    /// Checks what nobody may ask of us, whatever the payer signed.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check_requirements(&self, assets: &[Asset]) -> Result<(), Rejection> {
        let bad = |message: String| Err(Rejection::new(INVALID_PAYMENT_REQUIREMENTS, message));
        let Some(asset) = assets.iter().find(|asset| asset.mint == self.asset) else {
            let accepted: Vec<_> = assets.iter().map(|a| format!("{} {}", a.symbol, a.mint)).collect();
            return bad(format!("asset {} is not accepted here, only {}", self.asset, accepted.join(", ")));
        };
        if self.pay_to == Pubkey::default() {
            return bad("payTo is the zero address".to_owned());
        }
        if self.pay_to == asset.mint {
            return bad("payTo is the asset's own account".to_owned());
        }
        if self.amount == 0 {
            return bad("the amount is zero".to_owned());
        }
        if self.amount < asset.amount_min {
            return bad(format!("the amount {} is below the smallest payment, {}", self.amount, asset.amount_min));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chains_core::{Amount, Code, payment::Chosen};
    use serde_json::json;

    use super::*;

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    fn network() -> Network {
        "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1".parse().expect("CAIP-2")
    }

    fn payment() -> Payment {
        let serde_json::Value::Object(extra) = json!({"feePayer": key(1).to_string(), "memo": "order 7"}) else {
            unreachable!("an object")
        };
        Payment {
            scheme: NAME.into(),
            network: network(),
            asset: key(3).to_string(),
            pay_to: key(2).to_string(),
            amount: Amount::from(10_000_u64),
            extra,
            chosen: Chosen { scheme: NAME.into(), network: Some(network()) },
            payload: serde_json::Map::new(),
            extensions: serde_json::Map::new(),
        }
    }

    fn read(change: impl Fn(&mut Payment)) -> Result<Requirements, Rejection> {
        let mut payment = payment();
        change(&mut payment);
        Requirements::read(&payment)
    }

    #[test]
    fn requirements_are_read_into_what_cannot_be_wrong() {
        let requirements = read(|_| {}).expect("good");
        assert_eq!((requirements.asset, requirements.pay_to, requirements.amount), (key(3), key(2), 10_000));
        assert_eq!(requirements.memo.as_deref(), Some("order 7"));
        let refused: [fn(&mut Payment); 4] = [
            |p| p.asset = "0x036CbD53842c5426634e7929541eC2318f3dCF7e".into(),
            |p| p.pay_to = "mints".into(),
            |p| p.pay_to = String::new(),
            |p| p.amount = "18446744073709551616".parse().expect("an amount"),
        ];
        for (i, change) in refused.into_iter().enumerate() {
            assert_eq!(read(change).map_err(|r| r.code), Err(INVALID_PAYMENT_REQUIREMENTS), "case {i}");
        }
        assert_eq!(read(|p| p.extra.clear()).map(|d| (d.fee_payer, d.memo)), Ok((None, None)));
    }

    #[test]
    fn names_are_checked_in_order() {
        type Change = fn(&mut Payment);
        let cases: [(Change, Result<Pubkey, Code>); 8] = [
            (|_| {}, Ok(key(1))),
            (|p| p.scheme = "upto".into(), Err(reason::UNSUPPORTED_SCHEME)),
            (|p| p.chosen = Chosen { scheme: "upto".into(), network: None }, Err(reason::UNSUPPORTED_SCHEME)),
            (
                |p| p.chosen.network = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".parse().ok(),
                Err(reason::NETWORK_MISMATCH),
            ),
            (|p| (p.chosen.network, p.extra) = (None, serde_json::Map::new()), Err(reason::NETWORK_MISMATCH)),
            (|p| p.extra["feePayer"] = json!(""), Err(reason::MISSING_FEE_PAYER)),
            (|p| p.extra["feePayer"] = json!(key(2).to_string()), Err(reason::FEE_PAYER_NOT_MANAGED)),
            (|p| p.extra["feePayer"] = json!("nobody"), Err(reason::FEE_PAYER_NOT_MANAGED)),
        ];
        for (i, (change, expected)) in cases.into_iter().enumerate() {
            let checked = read(change).expect("readable").check_names(&network(), &[key(9), key(1)]);
            assert_eq!(checked.map_err(|r| r.code), expected, "case {i}");
        }
    }

    #[test]
    fn requirements_that_nobody_may_ask_are_refused() {
        type Change = fn(&mut Requirements);
        let cases: [(Change, Option<&str>); 7] = [
            (|_| {}, None),
            (|d| d.amount = 1000, None),
            (|d| d.asset = key(4), Some("not accepted")),
            (|d| d.pay_to = Pubkey::default(), Some("zero address")),
            (|d| d.pay_to = key(3), Some("own account")),
            (|d| d.amount = 0, Some("zero")),
            (|d| d.amount = 999, Some("smallest payment")),
        ];
        let assets = [Asset {
            mint: key(3),
            symbol: "USDC".into(),
            amount_min: 1000,
            decimals: 6,
            extensions_allowed: BTreeSet::new(),
        }];
        for (change, expected) in cases {
            let mut requirements = read(|_| {}).expect("good");
            change(&mut requirements);
            let refused = requirements.check_requirements(&assets).err();
            assert_eq!(refused.as_ref().map(|r| r.code), expected.map(|_| INVALID_PAYMENT_REQUIREMENTS));
            let message = refused.map(|r| r.message.into_owned()).unwrap_or_default();
            assert!(message.contains(expected.unwrap_or_default()), "{message}");
        }
    }
}
