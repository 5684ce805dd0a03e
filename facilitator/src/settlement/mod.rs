//! Pure data: one payment from its claim to its end.
//!
//! | module | what it holds |
//! |---|---|
//! | [`facts`] | everything about a settlement that never changes |
//! | [`caller`] | the request that began it |
//! | [`not_now`] | why a payment is not taken now |
//! | [`state`] | how far it is, and how it ended |
//! | [`step`] | its on-chain actions |
//! | [`transaction`] | places in a gas wallet's nonce sequence, and their signed forms |
//! | [`record`] | settlements as the store gives them back |
//!
//! A settlement is what one payment is owed. It never knows a nonce: its steps
//! are carried by transactions, nearly always one step by one transaction.
//! Imports nothing else of this crate.

pub mod caller;
pub mod facts;
pub mod not_now;
pub mod record;
pub mod state;
pub mod step;
pub mod transaction;

pub use caller::{Caller, Key, Recipient};
pub use facts::{Facts, SettlementId};
pub use not_now::NotNow;
pub use record::{Delivered, Record, Timeline};
pub use state::{Failed, Settled, State, Status};
pub use step::{Step, StepNumber, StepState};
pub use transaction::{Attempt, AttemptKind, Transaction, TransactionId, TransactionState};
