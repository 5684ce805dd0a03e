//! The plan of a payment, which is stored, signed and proven.

use std::sync::Arc;

use chains_core::{
    Amount,
    chain::SignError,
    transaction::{Fee, Plan},
};
use serde::{Deserialize, Serialize};

use crate::exact::transaction::Transaction;

/// The stored text of a plan, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanBody {
    /// The payer's transaction with the fee payer's signature missing, base64.
    pub transaction: String,
    /// The price that the payer has written into the transaction.
    pub terms: Terms,
    /// The fee that the transaction costs, in lamports, whether it succeeds or fails.
    pub fee: u64,
    /// The height by which the blockhash was known, at most: a finalized block
    /// at or above it that does not know the blockhash proves that no block
    /// can include the transaction any more.
    pub known_height: u64,
    /// The height of the last block that may include it, at most.
    pub last_valid_block_height: u64,
    /// The evidence that proves the payment.
    pub proof: Proof,
    /// The effect that must have happened for the payment to count.
    pub effect: Credit,
}

/// The terms of a transaction's fee: its offer for a place in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The most compute units that it may use.
    pub unit_limit: u32,
    /// Millionths of a lamport for each of them.
    pub unit_price: u64,
}

/// The evidence that proves a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The status of the transaction: SPL Token's transfer stands in it, and
    /// either everything in a transaction happens or nothing.
    Status,
    /// The token balances before and after it: a program makes the transfer,
    /// or the token has extensions.
    Balances,
}

/// Tokens that arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// The token, base58.
    pub mint: String,
    /// The token account that is paid, base58.
    pub destination: String,
    /// The account that the token account must belong to, base58.
    pub pay_to: String,
    /// The account whose tokens they were, base58.
    pub authority: String,
    /// Atomic units.
    pub amount: Amount,
}

/// A plan, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferPlan {
    /// The stored text.
    pub body: PlanBody,
    /// The transaction in it.
    pub transaction: Transaction,
}

impl TransferPlan {
    /// Reads a plan; its clones share what was read.
    ///
    /// # Errors
    /// The text is not one that this build writes.
    pub fn of(plan: &Plan) -> Result<Arc<Self>, SignError> {
        plan.typed(|text| {
            let body: PlanBody = serde_json::from_str(text).map_err(|error| SignError::Plan(error.to_string()))?;
            let transaction =
                Transaction::decode(&body.transaction).map_err(|error| SignError::Plan(error.to_string()))?;
            Ok(Self { body, transaction })
        })
    }

    /// The fee that the payer has fixed.
    ///
    /// # Errors
    /// The terms cannot be written as JSON.
    pub fn fee(&self) -> Result<Fee, SignError> {
        let terms = serde_json::to_string(&self.body.terms).map_err(|error| SignError::Plan(error.to_string()))?;
        Ok(Fee { amount_max: Amount::from(self.body.fee), terms })
    }
}

impl PlanBody {
    /// The plan as it is stored, bound to the fee payer that the payer has named.
    pub fn plan(&self, fee_payer: String) -> Plan {
        // Only maps with keys that are no strings fail, and there are none.
        Plan::new(serde_json::to_string(self).unwrap_or_default()).sent_by(Some(fee_payer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_body_is_read_back_by_every_later_version() {
        let body = r#"{"transaction":"AQID","terms":{"unit_limit":20000,"unit_price":1},"fee":10001,"known_height":1,"last_valid_block_height":150,"proof":"status","effect":{"mint":"m","destination":"d","pay_to":"p","authority":"a","amount":"10000"}}"#;
        let read: PlanBody = serde_json::from_str(body).expect("read");
        assert_eq!((read.effect.amount, read.last_valid_block_height), (Amount::from(10_000_u64), 150));
        let plan = read.plan("f".to_owned());
        assert_eq!((plan.body(), plan.gas_wallet.as_deref()), (body, Some("f")), "the stored form does not change");
        assert!(TransferPlan::of(&plan).is_err(), "three bytes are no transaction");
        assert!(TransferPlan::of(&Plan::new("{}")).is_err());
    }
}
