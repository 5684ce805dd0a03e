//! A sponsored settlement's transactions, one after the other: gas money for
//! the payer if it lacks any, the payer's approval, the settlement. Each one's
//! stored body holds all that come after it.

use alloy::primitives::{Bytes, U256};
use chains_core::{
    Amount,
    chain::SignError,
    transaction::{Fee, Plan, SignedTransaction},
};
use serde::{Deserialize, Serialize};

use super::erc20_approval::ApprovalTransaction;
use crate::tx::{fees::Terms, gas::BASE_GAS, plan::TransferPlan};

/// Seconds of chain time that an approval may wait for its block. Giving it up
/// is always safe: nothing of ours that comes after it is signed yet.
const APPROVAL_WAIT_SECONDS: u64 = 60;

/// The stored text of a transaction's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Body {
    /// A payment: the last step, or the only one.
    Settle(TransferPlan),
    /// A step before it.
    Step(Step),
}

/// A step before the payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum Step {
    /// Gas money for the payer.
    Fund(Fund),
    /// The payer's own approval.
    Approve(Approve),
}

/// Gas money for the payer, who is `settle.effect.from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fund {
    /// Wei.
    pub value: U256,
    /// The most gas that the transfer may use.
    pub gas_limit: u64,
    /// The payer's approval, signed.
    pub approval: Bytes,
    /// The settlement in the end.
    pub settle: TransferPlan,
}

/// The payer's own approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Approve {
    /// The payer's approval, signed.
    pub approval: Bytes,
    /// The chain time, in seconds, at which it is given up.
    pub until: u64,
    /// The settlement in the end.
    pub settle: TransferPlan,
}

impl Body {
    /// Reads a stored body.
    ///
    /// # Errors
    /// It is not one of ours.
    pub fn read(body: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(body)
    }

    fn to_body(&self) -> String {
        // Only maps with keys that are no strings fail, and there are none.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Step {
    /// The first step to a settlement, as stored. `funding`: wei that the payer
    /// lacks; `now`: chain time in seconds.
    pub fn first(
        approval: &ApprovalTransaction,
        funding: U256,
        gas_extra: u64,
        settle: TransferPlan,
        now: u64,
    ) -> String {
        let approval = approval.raw.clone();
        let step = if funding.is_zero() {
            Self::Approve(Approve::from_now(approval, settle, now))
        } else {
            let gas_limit = BASE_GAS.saturating_add(gas_extra);
            Self::Fund(Fund { value: funding, gas_limit, approval, settle })
        };
        Body::Step(step).to_body()
    }

    /// The payment that it is for.
    pub const fn settle(&self) -> &TransferPlan {
        match self {
            Self::Fund(Fund { settle, .. }) | Self::Approve(Approve { settle, .. }) => settle,
        }
    }

    /// Wei that the payer is given by it.
    pub const fn funding(&self) -> U256 {
        match self {
            Self::Fund(fund) => fund.value,
            Self::Approve(_) => U256::ZERO,
        }
    }

    /// The transaction that comes next, for the same wallet and with the same end.
    pub fn next(&self, this: &Plan, now: u64) -> Plan {
        let body = match self {
            Self::Fund(fund) => {
                let approve = Approve::from_now(fund.approval.clone(), fund.settle.clone(), now);
                Body::Step(Self::Approve(approve))
            }
            Self::Approve(approve) => Body::Settle(approve.settle.clone()),
        };
        Plan::new(body.to_body()).sent_by(this.gas_wallet.clone()).valid_before(this.valid_before)
    }
}

impl Approve {
    fn from_now(approval: Bytes, settle: TransferPlan, now: u64) -> Self {
        Self { approval, until: now.saturating_add(APPROVAL_WAIT_SECONDS), settle }
    }

    /// The approval, read.
    ///
    /// # Errors
    /// The stored bytes are none.
    pub fn transaction(&self) -> Result<ApprovalTransaction, String> {
        ApprovalTransaction::parse(&self.approval).map_err(|rejection| rejection.message.into_owned())
    }

    /// The fee of the payer's bytes: what they offer, and nothing from the gas wallet.
    pub fn fee(&self) -> Result<Fee, SignError> {
        self.transaction().map(|approval| fee(&approval)).map_err(SignError::Plan)
    }

    /// The payer's bytes, as if signed by the gas wallet; they take none of its nonces.
    pub fn signed(&self, gas_wallet: &str) -> Result<SignedTransaction, SignError> {
        let approval = self.transaction().map_err(SignError::Plan)?;
        Ok(SignedTransaction {
            hash: alloy::hex::encode_prefixed(approval.hash),
            raw: approval.raw.to_vec(),
            gas_wallet: gas_wallet.to_owned(),
            nonce: None,
            fee: fee(&approval),
        })
    }
}

fn fee(approval: &ApprovalTransaction) -> Fee {
    let terms = Terms {
        gas_limit: approval.gas_limit,
        max_fee_per_gas: approval.fee_per_gas_max,
        max_priority_fee_per_gas: approval.tip_per_gas_max,
    };
    Fee { amount_max: Amount::ZERO, ..terms.fee(U256::ZERO) }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256};

    use super::*;
    use crate::{
        extension::sponsoring::erc20_approval::tests::Signed,
        tx::plan::{Method, Transfer},
    };

    fn settle() -> TransferPlan {
        let effect = Transfer {
            token: Address::repeat_byte(0xaa),
            from: Address::repeat_byte(1),
            to: Address::repeat_byte(2),
            value: U256::from(1),
            nonce: B256::ZERO,
            method: Method::Upto,
        };
        TransferPlan { to: Address::repeat_byte(3), data: Bytes::from_static(&[1, 2]), gas_limit: 140_000, effect }
    }

    #[test]
    fn each_body_holds_what_comes_after_it_and_the_last_is_a_payment_like_any_other() {
        let approval = Signed::default().transaction();
        let body = Step::first(&approval, U256::from(7), 5, settle(), 1000);
        assert!(body.starts_with(r#"{"step":"fund","value":"0x7","gas_limit":21005,"approval":"0x02"#), "{body}");
        let gas_wallet = Some("0xabc".to_owned());
        let plan = Plan::new(body).sent_by(gas_wallet.clone()).valid_before(Some(2000));
        let Ok(Body::Step(fund)) = Body::read(plan.body()) else { panic!("a step") };
        let plan = fund.next(&plan, 1100);
        assert!(plan.body().starts_with(r#"{"step":"approve","approval":"0x02"#), "{}", plan.body());
        let Ok(Body::Step(Step::Approve(approve))) = Body::read(plan.body()) else { panic!("a step") };
        assert_eq!((approve.until, &approve.approval), (1160, &approval.raw));
        let plan = Step::Approve(approve).next(&plan, 1200);
        assert_eq!(plan.body(), settle().to_body());
        assert_eq!((&plan.gas_wallet, plan.valid_before), (&gas_wallet, Some(2000)));
        assert_eq!(Body::read(plan.body()).ok(), Some(Body::Settle(settle())));
    }

    #[test]
    fn who_lacks_nothing_is_given_nothing() {
        let body = Step::first(&Signed::default().transaction(), U256::ZERO, 0, settle(), 1000);
        let Ok(Body::Step(Step::Approve(approve))) = Body::read(&body) else { panic!("an approval") };
        assert_eq!((approve.until, approve.settle), (1060, settle()));
    }

    #[test]
    fn an_approval_is_sent_as_the_payer_signed_it() {
        let approval = Signed::default().transaction();
        let signed = Approve::from_now(approval.raw.clone(), settle(), 0).signed("0xabc").expect("read");
        assert_eq!((signed.raw.as_slice(), signed.nonce), (&approval.raw[..], None));
        assert_eq!(signed.hash, alloy::hex::encode_prefixed(approval.hash));
        assert_eq!((signed.gas_wallet.as_str(), signed.fee.amount_max), ("0xabc", Amount::ZERO));
        assert!(matches!(Approve::from_now(Bytes::new(), settle(), 0).signed("0xabc"), Err(SignError::Plan(_))));
        assert!(Body::read("{}").is_err());
    }
}
