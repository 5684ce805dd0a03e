//! The texts of plans, raw bytes and fee terms: the family's own JSON.

use chains_core::{
    Amount,
    chain::SignError,
    transaction::{Fee, Plan},
};
use serde::{Deserialize, Serialize};

/// The gas that every transaction uses.
pub const GAS: u64 = 21_000;

/// One payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The account that pays.
    pub from: String,
    /// The account that is paid.
    pub to: String,
    /// The amount that moves.
    pub value: u64,
    /// The payer's number for it; each executes once.
    pub nonce: String,
    /// The chain time from which on it no longer executes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_before: Option<u64>,
}

/// One step of a settlement: the body of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Moves the money.
    Transfer(Transfer),
    /// Comes before a transfer, which is the next step.
    Approve(Transfer),
}

impl Action {
    /// The action of a plan.
    ///
    /// # Errors
    /// The plan's text is of another build.
    pub fn of(plan: &Plan) -> Result<std::sync::Arc<Self>, SignError> {
        plan.typed(|text| serde_json::from_str(text)).map_err(|error| unreadable(&error))
    }

    /// The transfer that it makes or prepares.
    pub const fn transfer(&self) -> &Transfer {
        match self {
            Self::Transfer(transfer) | Self::Approve(transfer) => transfer,
        }
    }

    /// The plan that is stored for it.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn plan(&self, gas_wallet: Option<String>) -> Result<Plan, SignError> {
        let body = serde_json::to_string(self).map_err(|error| unreadable(&error))?;
        Ok(Plan::new(body).sent_by(gas_wallet).valid_before(self.transfer().valid_before))
    }
}

/// The raw bytes of a transaction, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The wallet that pays the gas.
    pub gas_wallet: String,
    /// Its place in the gas wallet's nonce sequence; `None` on a chain without nonces.
    pub nonce: Option<u64>,
    /// The price of one unit of gas.
    pub price: u64,
    /// The steps that it carries; none in one that only uses up its nonce.
    pub actions: Vec<Action>,
}

impl Transaction {
    /// The price of all its gas.
    pub const fn fee(&self) -> u64 {
        self.price.saturating_mul(GAS)
    }
}

/// The terms of a [`Fee`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The price of one unit of gas.
    pub price: u64,
}

impl Terms {
    /// The fee that offers these terms.
    ///
    /// # Errors
    /// They cannot be written as JSON.
    pub fn fee(self) -> Result<Fee, SignError> {
        let amount_max = Amount::from(self.price.saturating_mul(GAS));
        Ok(Fee { amount_max, terms: serde_json::to_string(&self).map_err(|error| unreadable(&error))? })
    }

    /// The terms of a stored fee.
    ///
    /// # Errors
    /// The text is of another build.
    pub fn of(fee: &Fee) -> Result<Self, SignError> {
        serde_json::from_str(&fee.terms).map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &serde_json::Error) -> SignError {
    SignError::Plan(error.to_string())
}
