//! Payments, transactions and changes for the guarantees.

use std::sync::Arc;

use chains_core::{
    Amount, Fingerprint, Identity, Network,
    clock::Millis,
    observation::{BlockRef, Inclusion},
    transaction::{Fee, Plan, SignedTransaction},
};

use super::Backend;
use crate::{
    settlement::{
        Attempt, AttemptKind, Caller, Facts, Failed, Key, Record, Settled, SettlementId, State, StepNumber, Timeline,
        Transaction, TransactionId, TransactionState,
    },
    store::{ApplyError, Change, Fence, OperatorWord, SendNote, Store},
};

/// The time of the calls.
pub(crate) const AT: Millis = Millis(5_000);

pub(crate) fn network() -> Network {
    "eip155:84532".parse().expect("CAIP-2")
}

pub(crate) fn other_network() -> Network {
    "eip155:1".parse().expect("CAIP-2")
}

/// A store whose wallets `w` and `v` are owned, on both networks, under epoch 1.
pub(crate) async fn owned(backend: &impl Backend) -> Arc<dyn Store> {
    let store = backend.open().await;
    for network in [network(), other_network()] {
        for wallet in ["w", "v"] {
            assert_eq!(store.own_wallet(&network, wallet, "the test").await.expect("owned"), 1);
        }
    }
    store
}

/// The right of the test to write for wallet `w`.
pub(crate) fn fence(epoch: u64) -> Fence {
    Fence { network: network(), gas_wallet: "w".into(), owner: "the test".into(), epoch }
}

/// The facts of a payment, told apart by its number.
pub(crate) fn facts(number: u64) -> Facts {
    let bytes = number.to_be_bytes();
    Facts {
        id: SettlementId::fresh(),
        identity: Identity::of("test", &[&bytes]),
        fingerprint: Fingerprint::of("test", &[&bytes]),
        caller: Caller::default(),
        request_id: format!("r-{number}"),
        network: network(),
        scheme: "exact".into(),
        payer: format!("0xPayer{number}"),
        payer_code: None,
        pay_to: "0xPayee".into(),
        asset: "0xToken".into(),
        amount: Amount::from(u128::MAX),
        nonce: format!("0xABC{number}"),
        claimed_block: 7,
        created_at: Millis(1_000 + number),
    }
}

/// The facts of a payment under a key of a tenant.
pub(crate) fn keyed(number: u64, tenant: &str, key: &str) -> Facts {
    let caller = Caller { tenant: tenant.into(), key: Some(Key::Server(key.into())) };
    Facts { caller, ..facts(number) }
}

pub(crate) fn plan() -> Plan {
    Plan::new("{\"first\":1}").valid_before(Some(99))
}

pub(crate) fn attempt(wallet: &str, nonce: Option<u64>, hash: &str, kind: AttemptKind) -> Attempt {
    let fee = Fee { amount_max: Amount::from(u128::MAX), terms: "{\"tip\":\"1\"}".into() };
    let (hash, gas_wallet) = (hash.to_owned(), wallet.to_owned());
    let signed = SignedTransaction { hash, raw: vec![2, 0, 255], gas_wallet, nonce, fee };
    Attempt { signed, kind, created_at: Millis(2_000), inclusion: None }
}

/// A transaction at a place of a wallet, whose attempt is named after both.
pub(crate) fn transaction(wallet: &str, nonce: u64, items: &[(SettlementId, StepNumber)]) -> Transaction {
    let first = attempt(wallet, Some(nonce), &format!("0x{wallet}{nonce}"), AttemptKind::First);
    Transaction {
        id: TransactionId::fresh(),
        gas_wallet: wallet.to_owned(),
        nonce: Some(nonce),
        epoch: 1,
        items: items.to_vec(),
        attempts: vec![first],
        state: TransactionState::Open,
        created_at: Millis(2_000),
    }
}

/// The claim of a payment.
pub(crate) fn claim(facts: &Facts) -> Change {
    Change::Claim { facts: Arc::new(facts.clone()), plan: Some(plan()) }
}

/// The changes that begin a payment with a transaction of wallet `w`.
pub(crate) fn begin(facts: &Facts, nonce: u64) -> Vec<Change> {
    vec![claim(facts), Change::Carry(transaction("w", nonce, &[(facts.id, 0)]))]
}

/// A payment that was begun with a transaction.
pub(crate) struct Begun {
    pub facts: Facts,
    pub transaction: Transaction,
}

impl Begun {
    pub fn id(&self) -> SettlementId {
        self.facts.id
    }

    pub fn hash(&self) -> &str {
        &self.transaction.newest().hash
    }

    pub fn begin(&self) -> Vec<Change> {
        vec![claim(&self.facts), Change::Carry(self.transaction.clone())]
    }

    pub fn include(&self) -> Change {
        include(self.transaction.id, self.hash())
    }

    pub fn kill(&self) -> Change {
        Change::Kill { transaction: self.transaction.id, why: "its nonce is used".into() }
    }

    pub fn settle(&self) -> Change {
        settle(self.id(), self.hash(), 12)
    }

    pub fn fail(&self) -> Change {
        Change::Fail { id: self.id(), failed: failed() }
    }

    pub fn unresolve(&self, why: &str) -> Change {
        Change::Unresolve { id: self.id(), why: why.into() }
    }

    pub fn word(&self, settled_by: Option<&str>) -> OperatorWord {
        let settled_by = settled_by.map(str::to_owned);
        OperatorWord { id: self.id(), settled_by, reason: "seen in the explorer".into(), at: Millis(8_000) }
    }

    pub fn sent(&self, answer: &'static str, at: u64) -> SendNote {
        let (settlements, hash) = (vec![self.id()], self.hash().to_owned());
        SendNote { settlements, hash, answer, detail: "its words".into(), at: Millis(at) }
    }
}

/// Another attempt of a payment's transaction.
pub(crate) fn add(begun: &Begun, hash: &str, kind: AttemptKind) -> Change {
    let attempt = attempt("w", begun.transaction.nonce, hash, kind);
    Change::AddAttempt { transaction: begun.transaction.id, attempt }
}

/// Begins payments with numbers from 1, each with the nonce of its number.
pub(crate) async fn begun<const N: usize>(store: &dyn Store) -> [Begun; N] {
    let mut number = 0;
    let payments = [(); N].map(|()| {
        number += 1;
        begun_as(facts(number), number)
    });
    apply(store, payments.iter().flat_map(Begun::begin).collect()).await;
    payments
}

pub(crate) fn begun_as(facts: Facts, nonce: u64) -> Begun {
    let transaction = transaction("w", nonce, &[(facts.id, 0)]);
    Begun { facts, transaction }
}

pub(crate) fn block(number: u64) -> BlockRef {
    BlockRef { number, hash: format!("0xblock{number}") }
}

pub(crate) fn inclusion(hash: &str) -> Inclusion {
    let (hash, fee_paid) = (hash.to_owned(), Amount::from(600_u64));
    Inclusion { hash, block: block(12), timestamp: Some(1_800_000_000), confirmed: true, fee_paid, gas_used: 85_000 }
}

pub(crate) fn include(transaction: TransactionId, hash: &str) -> Change {
    Change::Include { transaction, inclusion: inclusion(hash) }
}

pub(crate) fn settled(hash: &str, number: u64) -> Settled {
    Settled::by(hash.to_owned(), block(number))
}

pub(crate) fn settle(id: SettlementId, hash: &str, number: u64) -> Change {
    Change::Settle { id, settled: settled(hash, number), delivered: None }
}

pub(crate) fn failed() -> Failed {
    Failed {
        reason: "invalid_transaction_state".into(),
        message: "it reverted".into(),
        transaction: None,
        block: None,
        executable_until: None,
    }
}

pub(crate) async fn apply(store: &dyn Store, changes: Vec<Change>) -> Vec<SettlementId> {
    store.apply(changes, AT).await.expect("applied")
}

/// Waits until the notes that were given before are written.
pub(crate) async fn flush(store: &dyn Store) {
    assert_eq!(apply(store, Vec::new()).await, []);
}

pub(crate) async fn timeline(store: &dyn Store, id: SettlementId) -> Timeline {
    store.timeline(id).await.expect("read").expect("stored")
}

pub(crate) async fn record(store: &dyn Store, id: SettlementId) -> Record {
    store.record(id).await.expect("read").expect("stored")
}

pub(crate) async fn state(store: &dyn Store, id: SettlementId) -> State {
    record(store, id).await.state
}

/// The kinds of a settlement's events, oldest first.
pub(crate) async fn story(store: &dyn Store, id: SettlementId) -> Vec<String> {
    timeline(store, id).await.events.into_iter().map(|event| event.kind).collect()
}

pub(crate) fn claimed<T: std::fmt::Debug>(result: Result<T, ApplyError>) -> Vec<SettlementId> {
    match result {
        Err(ApplyError::Claimed(ids)) => ids,
        other => panic!("{other:?}"),
    }
}
