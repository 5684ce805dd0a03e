//! Guarantees about how payments and their transactions are begun.

use std::sync::Arc;

use chains_core::{Amount, transaction::Plan};
use futures::future::join_all;

use super::{Backend, build::*};
use crate::{
    settlement::{Caller, Facts, Key, Recipient, Record, Settled, State, Status, StepState},
    store::{ApplyError, Change, Query, StoreError},
};

pub(crate) async fn one_payment_is_one_row_under_200_concurrent_claims(backend: &impl Backend) {
    let store = owned(backend).await;
    let tries: Vec<_> = (0..200).map(|nonce| begun_as(facts(1), nonce)).collect();
    let results = join_all(tries.iter().map(|one| store.apply(one.begin(), AT))).await;
    let (won, lost): (Vec<_>, Vec<_>) = tries.iter().zip(results).partition(|(_, result)| result.is_ok());
    assert_eq!(won.len(), 1, "one of them begins it");
    for (one, result) in lost {
        assert_eq!(claimed(result), [one.id()], "the others are told which of theirs is claimed");
    }
    let all = store.find(&Query { limit: 1000, ..Query::default() }).await.expect("read");
    assert_eq!(all.iter().map(Record::id).collect::<Vec<_>>(), [won[0].0.id()]);
    let highest = store.highest_nonce(&network(), "w").await.expect("read");
    assert_eq!(highest, won[0].0.transaction.nonce, "who lost took no nonce");
    store.close().await;
}

pub(crate) async fn a_claimed_payment_does_not_fail_its_neighbours(backend: &impl Backend) {
    let store = owned(backend).await;
    let first = facts(0);
    apply(&*store, begin(&first, 0)).await;
    let requests: Vec<_> = (0..64).map(facts).collect();
    let calls = (1..).zip(&requests).map(|(nonce, request)| begin(request, nonce));
    let results = join_all(calls.map(|changes| store.apply(changes, AT))).await;
    for (request, result) in requests.iter().zip(results) {
        let there = store.record(request.id).await.expect("read").is_some();
        if request.identity == first.identity {
            assert_eq!(claimed(result), [request.id]);
            assert!(!there);
        } else {
            result.expect("a payment of its own");
            assert!(there);
        }
    }
    let mixed = [facts(100), facts(5), facts(102)];
    let call = |facts: &[Facts]| (101..).zip(facts).flat_map(|(nonce, facts)| begin(facts, nonce)).collect();
    assert_eq!(claimed(store.apply(call(&mixed), AT).await), [mixed[1].id]);
    assert!(store.record(mixed[0].id).await.expect("read").is_none(), "a call is stored whole or not at all");
    let [good, _, other] = mixed;
    apply(&*store, call(&[good, other])).await;
    store.close().await;
}

pub(crate) async fn a_key_names_one_payment_of_one_tenant(backend: &impl Backend) {
    let store = owned(backend).await;
    let first = keyed(1, "shop", "key");
    apply(&*store, begin(&first, 1)).await;
    let other = keyed(2, "shop", "key");
    assert_eq!(claimed(store.apply(begin(&other, 2), AT).await), [other.id]);
    apply(&*store, begin(&keyed(3, "bakery", "key"), 3)).await;
    let mut payers = keyed(6, "shop", "");
    payers.caller.key = Some(Key::Payer("key".into()));
    apply(&*store, [begin(&facts(4), 4), begin(&facts(5), 5), begin(&payers, 6)].concat()).await;
    let found = store.by_key(&first.caller).await.expect("read").expect("stored");
    assert_eq!(found.id(), first.id);
    assert_eq!(store.by_key(&payers.caller).await.expect("read").expect("stored").id(), payers.id);
    assert_eq!(store.by_key(&Caller::default()).await.expect("read"), None);
    let stranger = Caller { tenant: "stranger".into(), ..first.caller };
    assert_eq!(store.by_key(&stranger).await.expect("read"), None);
    store.close().await;
}

pub(crate) async fn a_call_that_claims_a_payment_twice_stores_nothing(backend: &impl Backend) {
    let store = owned(backend).await;
    let (first, second) = (facts(1), facts(1));
    let twice = [begin(&first, 1), begin(&second, 2)].concat();
    assert_eq!(claimed(store.apply(twice, AT).await), [second.id]);
    assert_eq!(store.by_identity(&first.identity).await.expect("read"), None);
    assert!(!store.knows(&first.identity).await.expect("read"));
    assert_eq!(store.highest_nonce(&network(), "w").await.expect("read"), None);
    store.close().await;
}

pub(crate) async fn what_was_begun_reads_back_as_it_was(backend: &impl Backend) {
    let store = owned(backend).await;
    let bound = plan().sent_by(Some("w".into()));
    let contract = Facts { payer_code: Some("0xcode".into()), ..facts(2) };
    let payments = [
        ("with a key", keyed(1, "shop", "key"), bound, Some(1)),
        ("without a nonce, and for ever", contract, Plan::new("{}"), None),
    ];
    for (what, facts, plan, nonce) in payments {
        let mut carrier = transaction("w", 0, &[(facts.id, 0)]);
        carrier.nonce = nonce;
        carrier.attempts[0].signed.nonce = nonce;
        let claim = Change::Claim { facts: Arc::new(facts.clone()), plan: Some(plan.clone()) };
        apply(&*store, vec![claim, Change::Carry(carrier.clone())]).await;
        let found = timeline(&*store, facts.id).await;
        assert_eq!(*found.record.facts, facts, "{what}");
        assert_eq!((&found.record.state, found.record.status), (&State::Open, Status::Signed), "{what}");
        assert_eq!(found.record.transaction, "0xw0", "{what}");
        assert_eq!((found.record.accepted, found.record.updated_at), (false, facts.created_at), "{what}");
        let step = &found.steps[0];
        assert_eq!((step.number, &step.plan, &step.state), (0, &plan, &StepState::Carried(carrier.id)), "{what}");
        assert_eq!(found.transactions.len(), 1, "{what}");
        assert_eq!(found.transactions[0].0, carrier, "{what}");
        assert!(store.knows(&facts.identity).await.expect("read"), "{what}");
        let by_identity = store.by_identity(&facts.identity).await.expect("read").expect("stored");
        assert_eq!(by_identity, found.record, "{what}");
        assert_eq!(record(&*store, facts.id).await, found.record, "{what}");
    }
    store.close().await;
}

pub(crate) async fn a_claim_without_a_transaction_waits(backend: &impl Backend) {
    let store = owned(backend).await;
    let facts = facts(1);
    apply(&*store, vec![claim(&facts)]).await;
    let found = timeline(&*store, facts.id).await;
    assert_eq!((found.record.transaction.as_str(), &found.steps[0].state), ("", &StepState::Waiting));
    assert_eq!((found.transactions.len(), story(&*store, facts.id).await), (0, vec!["claimed".to_owned()]));
    let carrier = transaction("w", 1, &[(facts.id, 0)]);
    apply(&*store, vec![Change::Carry(carrier.clone())]).await;
    assert_eq!(timeline(&*store, facts.id).await.steps[0].state, StepState::Carried(carrier.id));
    assert_eq!(story(&*store, facts.id).await, ["claimed", "signed"]);
    store.close().await;
}

pub(crate) async fn a_payment_that_asks_for_nothing_is_settled_and_given_at_once(backend: &impl Backend) {
    let store = owned(backend).await;
    let nothing = Facts { amount: Amount::ZERO, ..facts(1) };
    let claim = Change::Claim { facts: Arc::new(nothing.clone()), plan: None };
    // Beside one with bytes, in the same commit.
    let ended = apply(&*store, [begin(&facts(2), 2), vec![claim]].concat()).await;
    assert_eq!(ended, [], "no `Settle` of the call ended it");
    let found = timeline(&*store, nothing.id).await;
    assert_eq!(found.record.state, State::Settled(Settled { proof: None }));
    assert_eq!((found.record.transaction.as_str(), found.steps.len(), found.transactions.len()), ("", 0, 0));
    let times = [found.record.delivered.map(|delivered| delivered.at), found.record.finalized_at];
    assert_eq!(times, [Some(nothing.created_at); 2], "nobody can take it back");
    assert_eq!(story(&*store, nothing.id).await, ["settled"]);
    assert!(!store.deliver(nothing.id, Recipient::Caller, AT).await.expect("an answer"), "given away already");
    let again = facts(1);
    assert_eq!(claimed(store.apply(begin(&again, 3), AT).await), [again.id], "the payment is claimed for ever");
    assert_eq!(store.open_settlements(&network()).await.expect("read").len(), 1);
    store.close().await;
}

pub(crate) async fn a_nonce_is_given_out_once(backend: &impl Backend) {
    let store = owned(backend).await;
    apply(&*store, begin(&facts(1), 7)).await;
    let second = facts(2);
    let neighbours: Vec<_> = (10..20).map(facts).collect();
    let calls = (10..).zip(&neighbours).map(|(nonce, facts)| store.apply(begin(facts, nonce), AT));
    let (refused, rest) = tokio::join!(store.apply(begin(&second, 7), AT), join_all(calls));
    assert!(matches!(refused, Err(ApplyError::Store(_))), "{refused:?}");
    assert!(store.record(second.id).await.expect("read").is_none());
    assert!(rest.iter().all(Result::is_ok), "{rest:?}");
    store.close().await;
}

pub(crate) async fn a_step_is_carried_by_one_live_transaction(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one] = begun(&*store).await;
    let second = Change::Carry(transaction("w", 2, &[(one.id(), 0)]));
    let neighbour = facts(3);
    let (refused, kept) = tokio::join!(store.apply(vec![second], AT), store.apply(begin(&neighbour, 3), AT));
    assert!(matches!(refused, Err(ApplyError::Store(_))), "{refused:?}");
    kept.expect("a neighbour is not harmed");
    let found = timeline(&*store, one.id()).await;
    assert_eq!((found.steps[0].state.clone(), found.transactions.len()), (StepState::Carried(one.transaction.id), 1));
    store.close().await;
}

pub(crate) async fn settlements_may_share_bytes_that_somebody_else_signed(backend: &impl Backend) {
    let store = owned(backend).await;
    let mut carriers = Vec::new();
    for number in 1..=2 {
        let facts = facts(number);
        let mut carrier = transaction("w", 0, &[(facts.id, 0)]);
        (carrier.nonce, carrier.attempts[0].signed.nonce) = (None, None);
        carrier.attempts[0].signed.hash = "0xapproval".into();
        apply(&*store, vec![claim(&facts), Change::Carry(carrier.clone())]).await;
        carriers.push((facts, carrier));
    }
    let (first, second) = (&carriers[0], &carriers[1]);
    apply(&*store, vec![include(second.1.id, "0xapproval")]).await;
    for ((facts, carrier), included) in [(first, false), (second, true)] {
        let found = timeline(&*store, facts.id).await;
        assert_eq!((found.record.transaction.as_str(), found.transactions[0].0.id), ("0xapproval", carrier.id));
        assert_eq!(found.transactions[0].0.attempts[0].inclusion.is_some(), included);
    }
    store.close().await;
}

pub(crate) async fn a_transaction_may_carry_several_steps_in_order(backend: &impl Backend) {
    let store = owned(backend).await;
    let payments = [facts(1), facts(2), facts(3)];
    let items = [2, 0, 1].map(|n: usize| (payments[n].id, 0));
    let carrier = transaction("w", 1, &items);
    let claims = payments.iter().map(claim);
    apply(&*store, claims.chain([Change::Carry(carrier.clone())]).collect()).await;
    for facts in &payments {
        let found = timeline(&*store, facts.id).await;
        assert_eq!(found.transactions[0].0, carrier);
        assert_eq!(story(&*store, facts.id).await, ["signed"]);
    }
    let elsewhere = Facts { network: other_network(), ..facts(4) };
    let mixed = transaction("w", 2, &[(payments[0].id, 0), (elsewhere.id, 0)]);
    let refused = store.apply(vec![claim(&elsewhere), Change::Carry(mixed)], AT).await;
    assert!(matches!(refused, Err(ApplyError::Store(StoreError::Contradiction(_)))), "two networks: {refused:?}");
    store.close().await;
}

pub(crate) async fn a_transaction_that_carries_nothing_uses_its_nonce_up(backend: &impl Backend) {
    let store = owned(backend).await;
    let empty = transaction("w", 4, &[]);
    apply(&*store, vec![Change::UseNonce { network: network(), transaction: empty.clone() }]).await;
    assert_eq!(store.transactions_at(&network(), "w", 0..9).await.expect("read"), std::slice::from_ref(&empty));
    apply(&*store, vec![include(empty.id, "0xw4")]).await;
    assert_eq!(store.highest_nonce(&network(), "w").await.expect("read"), Some(4));
    let taken = store.apply(begin(&facts(1), 4), AT).await;
    assert!(matches!(taken, Err(ApplyError::Store(_))), "{taken:?}");
    store.close().await;
}

pub(crate) async fn a_carry_of_nothing_stored_is_refused(backend: &impl Backend) {
    let store = owned(backend).await;
    let stored = facts(1);
    apply(&*store, vec![claim(&stored)]).await;
    let cases = [
        ("no item", transaction("w", 1, &[])),
        ("a settlement that is not there", transaction("w", 1, &[(facts(2).id, 0)])),
        ("a step that is not there", transaction("w", 1, &[(stored.id, 1)])),
    ];
    for (what, carrier) in cases {
        let refused = store.apply(vec![Change::Carry(carrier)], AT).await;
        assert!(matches!(refused, Err(ApplyError::Store(_))), "{what}: {refused:?}");
    }
    assert_eq!(store.highest_nonce(&network(), "w").await.expect("read"), None);
    store.close().await;
}

pub(crate) async fn a_nonce_beyond_the_column_is_refused(backend: &impl Backend) {
    let store = owned(backend).await;
    let refused = store.apply(begin(&facts(1), u64::MAX), AT).await;
    assert!(matches!(refused, Err(ApplyError::Store(StoreError::TooLarge { .. }))), "{refused:?}");
    store.close().await;
}
