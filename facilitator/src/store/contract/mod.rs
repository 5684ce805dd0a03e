//! What every store guarantees, as one suite of tests.
//!
//! A store implements [`Backend`] for its tests and writes
//! `store_contract!(MyBackend::fresh())`: each guarantee is one test there.
//! [`writes`] holds those about what is stored, [`reads`] those about what comes back.

pub(crate) mod reads;
pub(crate) mod writes;

use std::sync::Arc;

use async_trait::async_trait;
use chains_core::{
    Amount, Fingerprint, Identity, Network,
    chain::{BlockRef, Fees, PlannedTransaction, SignedTransaction},
    clock::Millis,
};
use futures::future::join_all;
use uuid::Uuid;

use super::{BeginError, Query, Store};
use crate::settlement::{
    SettlementId, State,
    record::{Advanced, Caller, Finished, Key, LandedAttempt, NewSettlement, Outcome, Sent},
};

/// One database, empty at first, for as long as this value lives.
#[async_trait]
pub(crate) trait Backend: Sync {
    /// Opens it; again only after the store opened before was closed.
    async fn open(&self) -> Arc<dyn Store>;
}

/// Makes a test of each guarantee.
macro_rules! store_contract {
    ($backend:expr) => {
        $crate::store::contract::store_contract! { $backend =>
            writes {
                one_payment_is_one_row_under_200_concurrent_begins,
                a_claimed_payment_does_not_fail_its_neighbours,
                a_key_names_one_payment_of_one_tenant,
                a_call_that_claims_a_payment_twice_stores_nothing,
                what_was_begun_reads_back_as_it_was,
                a_sequence_is_given_out_once,
                what_ended_never_changes,
                a_success_is_delivered_exactly_once,
                a_success_that_finish_gave_away_is_not_delivered_again,
                what_has_nothing_to_send_is_settled_and_given_at_once,
                a_step_replaces_what_is_live_and_keeps_what_was,
                settlements_may_share_bytes_that_somebody_else_signed,
            }
            reads {
                the_timeline_shows_every_send,
                a_send_makes_signed_broadcast_and_nothing_else,
                what_is_live_comes_back_by_wallet_and_sequence,
                sequence_max_counts_ended_settlements_too,
                what_took_a_sequence_is_found_by_it,
                who_failed_at_our_cost_is_remembered,
                everything_survives_a_reopening,
                find_narrows_by_every_filter,
                find_pages_through_everything_once,
                a_closed_store_says_so,
            }
        }
    };
    ($backend:expr => $($part:ident { $($guarantee:ident,)* })*) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $guarantee() {
                $crate::store::contract::$part::$guarantee(&$backend).await;
            }
        )*)*
    };
}
pub(crate) use store_contract;

pub(crate) fn network() -> Network {
    "eip155:84532".parse().expect("CAIP-2")
}

/// A payment, told apart by its number, that takes this sequence of `wallet`.
pub(crate) fn payment(number: u64, wallet: &str, sequence: u64) -> NewSettlement {
    let bytes = number.to_be_bytes();
    NewSettlement {
        id: SettlementId(Uuid::now_v7()),
        identity: Identity::of("test", &[&bytes]),
        fingerprint: Fingerprint::of("test", &[&bytes]),
        caller: Caller::default(),
        network: network(),
        scheme: "exact".into(),
        payer: format!("0xPayer{number}"),
        pay_to: "0xPayee".into(),
        asset: "0xToken".into(),
        amount: Amount::from(u128::MAX),
        nonce: format!("0xABC{number}"),
        claimed_at: 7,
        plan: PlannedTransaction { gas_wallet: None, body: "{}".into(), valid_before: Some(99) },
        signed: Some(SignedTransaction {
            transaction: format!("0x{wallet}{sequence}"),
            raw: vec![2, 0, 255],
            gas_wallet: wallet.into(),
            sequence: Some(sequence),
            gas_limit: 120_000,
            fees: Fees { per_gas_max: u128::MAX, tip_per_gas: 1 },
        }),
        created_at: Millis(1_000 + number),
    }
}

/// The bytes of a settlement that has some.
pub(crate) fn signed(payment: &NewSettlement) -> &SignedTransaction {
    payment.signed.as_ref().expect("it has bytes")
}

fn keyed(mut payment: NewSettlement, tenant: &str, key: &str) -> NewSettlement {
    payment.caller = Caller { tenant: tenant.into(), key: Some(Key::Server(key.into())) };
    payment
}

fn block() -> BlockRef {
    BlockRef { number: 12, hash: "0xblock".into() }
}

fn landed(transaction: &str) -> LandedAttempt {
    let transaction = transaction.to_owned();
    LandedAttempt { transaction, block: block(), fee_paid: Amount::from(5_u64), gas_used: 85_000 }
}

/// The next step of a payment, with the bytes of another.
fn step(payment: &NewSettlement, next: &NewSettlement) -> Advanced {
    let plan = PlannedTransaction { gas_wallet: Some("w".into()), body: "next".into(), valid_before: None };
    let landed = landed(&signed(payment).transaction);
    Advanced { id: payment.id, landed, plan, signed: signed(next).clone(), at: Millis(3_000) }
}

fn settled(payment: &NewSettlement, delivered: bool) -> Finished {
    let transaction = signed(payment).transaction.clone();
    let landed = landed(&transaction);
    let outcome = Outcome::Settled { transaction, block: block() };
    Finished { id: payment.id, outcome, landed: Some(landed), delivered, at: Millis(5_000) }
}

fn failed(payment: &NewSettlement) -> Finished {
    let outcome = Outcome::Failed {
        reason: "invalid_transaction_state".into(),
        message: "it reverted".into(),
        transaction: None,
        block: None,
    };
    Finished { id: payment.id, outcome, landed: None, delivered: true, at: Millis(6_000) }
}

fn sent(payment: &NewSettlement, answer: &'static str, at: u64) -> Sent {
    let transaction = signed(payment).transaction.clone();
    Sent { id: payment.id, transaction, answer, detail: "its words".into(), at: Millis(at) }
}

async fn begun(store: &dyn Store, payments: &[NewSettlement]) {
    store.begin(payments.to_vec()).await.expect("begun");
}

async fn state(store: &dyn Store, payment: &NewSettlement) -> State {
    store.timeline(payment.id).await.expect("read").expect("stored").record.state
}

fn claimed(result: Result<(), BeginError>) -> Vec<SettlementId> {
    match result {
        Err(BeginError::Claimed(ids)) => ids,
        other => panic!("{other:?}"),
    }
}
