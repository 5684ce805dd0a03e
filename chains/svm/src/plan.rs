//! The body of a planned transaction: what is stored, signed and proven.

use chains_core::Amount;
use serde::{Deserialize, Serialize};

/// The payer's transaction and the effect that it must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The payer's transaction with the fee payer's signature missing, base64.
    pub transaction: String,
    /// The most compute units it may use.
    pub unit_limit: u32,
    /// The height of the last block that may include it; an upper bound.
    pub last_valid_block_height: u64,
    /// What must have happened for the payment to count.
    pub effect: Credit,
}

/// Tokens that arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// The token, base58.
    pub mint: String,
    /// The token account that is paid, base58.
    pub destination: String,
    /// Whose tokens they were, base58.
    pub authority: String,
    /// Atomic units.
    pub amount: Amount,
}

impl Plan {
    /// As stored.
    pub fn to_body(&self) -> String {
        // Only maps with keys that are no strings fail, and there are none.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a stored body.
    ///
    /// # Errors
    /// It is not one of ours.
    pub fn from_body(body: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_body_is_read_back_by_every_later_version() {
        let body = r#"{"transaction":"AQID","unit_limit":20000,"last_valid_block_height":150,"effect":{"mint":"m","destination":"d","authority":"a","amount":"10000"}}"#;
        let plan = Plan::from_body(body).expect("read");
        assert_eq!((plan.effect.amount, plan.last_valid_block_height), (Amount::from(10_000_u64), 150));
        assert_eq!(plan.to_body(), body, "the stored form does not change");
        assert!(Plan::from_body("{}").is_err());
    }
}
