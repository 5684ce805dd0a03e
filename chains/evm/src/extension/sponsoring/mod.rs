//! Transactions and permits that are taken to the chain for a payer, besides the payment.
//!
//! | module | what it holds |
//! |---|---|
//! | [`eip2612`] | a permit, sent along in the settlement's own transaction |
//! | [`erc20_approval`] | the payer's own approval, a transaction of its own that goes first |
//! | [`account`] | whether the payer's account can send it now, and what gas money it lacks |
//! | [`ledger`] | whom gas money was given to, and how much in an hour |
//! | [`steps`] | the chain of transactions: gas money, approval, settlement |
//! | [`sponsorship`] | the verification of all of it |

pub(crate) mod account;
pub(crate) mod eip2612;
pub(crate) mod erc20_approval;
mod info;
pub(crate) mod ledger;
pub(crate) mod sponsorship;
pub(crate) mod steps;
