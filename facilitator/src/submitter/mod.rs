//! From a verified payment to exactly one transfer: one [`Submitter`] a network,
//! one worker a gas wallet.
//!
//! ```text
//! payment ─► Submitter::submit ─► worker (one per gas wallet) ── store.apply ──► broadcast
//!                                   ▲   │ decide
//! block tracker: blocks ────────────┤   └─► registry: everybody who waits
//! investigations: proofs, bounded ──┘
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`decide`] | the rules, pure: what follows from an answer or an observation |
//! | [`handle`] | the submitter as requests see it |
//! | `dispatch` | the choice of the worker that begins a payment |
//! | `handed_over` | payments that other instances have handed over |
//! | `network` | the task that opens a network, and starts everything else of it |
//! | `wallet` | the life of a gas wallet here: waited for, worked with, given back |
//! | `recovery` | settlements from before a restart, or of another owner's |
//! | `tracker` | follows the blocks of one network |
//! | `worker` | owns the transactions of one gas wallet |
//! | `effects` | from verdicts to stored ends |
//! | `investigation` | bounded questions with backoff |
//! | `unresolved` | settlements whose proof is withheld |
//! | `finality` | the look at settled transfers when they can no longer be taken back |
//! | `proof` | the proof that a network is as configured, made again and again |
//! | [`ownership`] | the right to use a gas wallet's nonces |
//! | [`lease`] | that right where several instances share the wallets |
//! | [`status`] | what `/ready` and metrics see |
//! | `watch` | gauges, the looks at the nodes, and what is said again while it lasts |
//! | `forecast` | how long gas money lasts |
//! | `losses` | what failures have cost, before a restart and at other instances |
//! | `context`, `job`, `mail`, `trouble`, `view` | what they share |
//!
//! Invariant: no bytes are sent that [`Store::apply`](crate::store::Store::apply)
//! has not made durable. One endpoint's word ends nothing. A place in a gas
//! wallet's sequence is held by its transaction until its nonce is used, no
//! matter what is still unknown about the payment.

mod context;
pub mod decide;
mod dispatch;
mod effects;
mod finality;
mod forecast;
mod handed_over;
pub mod handle;
mod investigation;
mod job;
pub mod lease;
mod losses;
mod mail;
mod network;
pub mod ownership;
mod proof;
mod recovery;
pub mod status;
mod tracker;
mod trouble;
mod unresolved;
pub mod view;
mod wallet;
mod watch;
mod worker;

pub use context::{Context, PutOff};
pub use dispatch::Busy;
pub use handle::Submitter;
pub use job::Job;
