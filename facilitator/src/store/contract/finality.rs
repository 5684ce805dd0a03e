//! Guarantees about settlements that are looked at after their end.

use chains_core::{Amount, clock::Millis};

use super::{Backend, build::*};
use crate::{
    settlement::{
        Facts, Failed, SettlementId, State,
        record::{Due, Followed},
    },
    store::{Change, Store},
};

fn ids(followed: &[Followed]) -> Vec<SettlementId> {
    followed.iter().map(|followed| followed.facts.id).collect()
}

async fn due(store: &dyn Store, block_number: u64, limit: u32) -> Vec<SettlementId> {
    let due = store.due_for_finality(&network(), block_number, limit).await.expect("read");
    due.into_iter().map(|due| due.id).collect()
}

fn executable(begun: &Begun, until: u64) -> Change {
    Change::Fail { id: begun.id(), failed: Failed { executable_until: Some(until), ..failed() } }
}

pub(crate) async fn what_is_settled_and_not_final_is_due_by_its_block(backend: &impl Backend) {
    let store = owned(backend).await;
    let [high, low, bad, open] = begun(&*store).await;
    let elsewhere = begun_as(Facts { network: other_network(), ..facts(9) }, 9);
    apply(&*store, elsewhere.begin()).await;
    let ends = vec![settle(high.id(), "0xforeign", 30), settle(low.id(), low.hash(), 20), bad.fail()];
    apply(&*store, ends).await;
    apply(&*store, vec![elsewhere.settle(), open.include()]).await;
    let cases = [
        ("before the first", 19, 9, vec![]),
        ("the first", 20, 9, vec![low.id()]),
        ("both, the lowest first", u64::MAX, 9, vec![low.id(), high.id()]),
        ("as many as asked for", 30, 1, vec![low.id()]),
    ];
    for (what, number, limit, expected) in cases {
        assert_eq!(due(&*store, number, limit).await, expected, "{what}");
    }
    let expected = Due {
        id: high.id(),
        request_id: high.facts.request_id.clone(),
        transaction: "0xforeign".into(),
        block: block(30),
        taken_back: false,
    };
    assert_eq!(store.due_for_finality(&network(), 30, 9).await.expect("read").remove(1), expected);
    let unknown = SettlementId::fresh();
    let mut followed = store.followed(&[high.id(), unknown, low.id()]).await.expect("read");
    assert_eq!(ids(&followed), [high.id(), low.id()], "the oldest first");
    let followed = followed.remove(0);
    assert_eq!((&*followed.facts, &followed.state), (&high.facts, &State::Settled(settled("0xforeign", 30))));
    assert_eq!((followed.steps[0].plan.body(), &followed.transactions), (plan().body(), &vec![high.transaction]));
    store.close().await;
}

pub(crate) async fn a_finalized_settlement_is_not_due_any_more(backend: &impl Backend) {
    let store = owned(backend).await;
    let [same, moved, overtaken, open] = begun(&*store).await;
    apply(&*store, vec![same.settle(), moved.settle(), overtaken.settle()]).await;
    let finalize = |one: &Begun, transfer| Change::Finalize { id: one.id(), transfer };
    let now = |hash: &str, number| Some((hash.to_owned(), block(number)));
    let changes = vec![
        finalize(&same, None),
        finalize(&moved, now(moved.hash(), 15)),
        finalize(&overtaken, now("0xforeign", 16)),
        finalize(&open, None),
    ];
    assert_eq!(store.apply(changes.clone(), Millis(7_000)).await.expect("applied"), [], "it ends nothing");
    store.apply(changes, Millis(9_000)).await.expect("no effect");
    assert_eq!(due(&*store, u64::MAX, 9).await, []);
    for (one, hash, number) in [(&same, same.hash(), 12), (&moved, moved.hash(), 15), (&overtaken, "0xforeign", 16)] {
        let record = record(&*store, one.id()).await;
        assert_eq!(record.state, State::Settled(settled(hash, number)));
        assert_eq!(record.finalized_at, Some(Millis(7_000)), "once");
        assert_eq!(story(&*store, one.id()).await, ["signed", "settled", "finalized"]);
    }
    assert_eq!(record(&*store, open.id()).await.finalized_at, None, "what has not ended is not final");
    store.close().await;
}

pub(crate) async fn a_transfer_that_was_taken_back_stays_settled_and_comes_last(backend: &impl Backend) {
    let store = owned(backend).await;
    let [gone, kept] = begun(&*store).await;
    apply(&*store, vec![settle(gone.id(), gone.hash(), 20), settle(kept.id(), kept.hash(), 30)]).await;
    let take_back = |at| {
        let change = Change::TakeBack { id: gone.id(), why: "its block is gone".into() };
        store.apply(vec![change], Millis(at))
    };
    take_back(7_000).await.expect("applied");
    take_back(9_000).await.expect("no effect");
    let found = record(&*store, gone.id()).await;
    assert_eq!((found.state, found.reorged_at), (State::Settled(settled(gone.hash(), 20)), Some(Millis(7_000))));
    assert_eq!(story(&*store, gone.id()).await, ["signed", "settled", "reorged"]);
    assert_eq!(due(&*store, 30, 9).await, [kept.id(), gone.id()]);
    let listed = store.due_for_finality(&network(), 30, 9).await.expect("read");
    assert_eq!(listed.iter().map(|due| due.taken_back).collect::<Vec<_>>(), [false, true]);
    assert_eq!(due(&*store, 30, 1).await, [kept.id()], "it is in nobody's way");
    apply(&*store, vec![Change::Finalize { id: gone.id(), transfer: Some((gone.hash().into(), block(25))) }]).await;
    assert_eq!(due(&*store, 30, 9).await, [kept.id()]);
    assert_eq!(record(&*store, gone.id()).await.reorged_at, Some(Millis(7_000)), "it is not forgotten");
    store.close().await;
}

pub(crate) async fn an_executable_failure_is_listed_until_it_is_final(backend: &impl Backend) {
    let store = owned(backend).await;
    let [first, second, void, open] = begun(&*store).await;
    apply(&*store, vec![executable(&second, 99), executable(&first, u64::MAX), void.fail()]).await;
    let listed = async |after, limit| ids(&store.executable(&network(), after, limit).await.expect("read"));
    assert_eq!(listed(None, 9).await, [first.id(), second.id()], "oldest first");
    assert_eq!(listed(None, 1).await, [first.id()]);
    assert_eq!(listed(Some(first.id()), 9).await, [second.id()]);
    assert_eq!(ids(&store.executable(&other_network(), None, 9).await.expect("read")), []);
    apply(&*store, vec![Change::Finalize { id: first.id(), transfer: None }]).await;
    assert_eq!(listed(None, 9).await, [second.id()]);
    let followed = store.executable(&network(), None, 9).await.expect("read").remove(0);
    assert_eq!(followed.state, State::Failed(Failed { executable_until: Some(99), ..failed() }));
    assert_eq!(followed.steps.len(), 1);
    assert_eq!(record(&*store, open.id()).await.state, State::Open);
    store.close().await;
}

pub(crate) async fn a_failure_by_a_block_is_listed_until_it_is_final(backend: &impl Backend) {
    let store = owned(backend).await;
    let [first, second, executable_one, blockless] = begun(&*store).await;
    let by_block = |one: &Begun| Change::Fail { id: one.id(), failed: Failed { block: Some(block(20)), ..failed() } };
    let without = Change::Fail { id: blockless.id(), failed: Failed { block: None, ..failed() } };
    apply(&*store, vec![by_block(&second), by_block(&first), executable(&executable_one, 99), without]).await;
    let listed =
        async |since, after, limit| ids(&store.failed_by_block(&network(), since, after, limit).await.expect("read"));
    assert_eq!(listed(AT, None, 9).await, [first.id(), second.id()], "oldest first");
    assert_eq!(listed(AT, None, 1).await, [first.id()]);
    assert_eq!(listed(AT, Some(first.id()), 9).await, [second.id()]);
    assert_eq!(listed(Millis(AT.0 + 1), None, 9).await, [], "not what failed long ago");
    assert_eq!(ids(&store.failed_by_block(&other_network(), AT, None, 9).await.expect("read")), []);
    apply(&*store, vec![Change::Finalize { id: first.id(), transfer: None }]).await;
    assert_eq!(listed(AT, None, 9).await, [second.id()]);
    store.close().await;
}

pub(crate) async fn a_payment_executed_elsewhere_counts_as_final(backend: &impl Backend) {
    let store = owned(backend).await;
    let [bad, good] = begun(&*store).await;
    apply(&*store, vec![executable(&bad, 99), good.settle()]).await;
    let elsewhere = |one: &Begun| Change::ExecutedElsewhere { id: one.id(), hash: "0xforeign".into() };
    apply(&*store, vec![elsewhere(&bad), elsewhere(&bad), elsewhere(&good)]).await;
    assert_eq!(ids(&store.executable(&network(), None, 9).await.expect("read")), []);
    let found = timeline(&*store, bad.id()).await;
    assert_eq!(found.record.finalized_at, Some(AT));
    assert!(matches!(found.record.state, State::Failed(_)), "our answer was right when it was given");
    let told: Vec<_> = found.events.iter().map(|event| (event.kind.as_str(), event.detail.as_str())).collect();
    assert_eq!(told[1..], [("failed", "invalid_transaction_state: it reverted"), ("executed_elsewhere", "0xforeign")]);
    assert_eq!(story(&*store, good.id()).await, ["signed", "settled"], "a success is no failure");
    store.close().await;
}

pub(crate) async fn the_payers_of_what_is_settled_are_known_after_a_restart(backend: &impl Backend) {
    let store = owned(backend).await;
    let [paid, failed, open, twice] = begun(&*store).await;
    let elsewhere = begun_as(Facts { network: other_network(), ..facts(14) }, 14);
    let again = begun_as(Facts { payer: twice.facts.payer.clone(), ..facts(15) }, 15);
    let begin = [&elsewhere, &again].into_iter().flat_map(Begun::begin);
    apply(&*store, begin.collect()).await;
    let included = [&paid, &failed, &twice, &elsewhere, &again].map(Begun::include);
    apply(&*store, included.into_iter().collect()).await;
    let ends = vec![paid.settle(), failed.fail(), twice.settle(), elsewhere.settle(), again.settle()];
    apply(&*store, ends).await;
    let since = async |since: Millis| {
        let mut payers = store.payers(&network(), since).await.expect("read");
        payers.sort();
        payers
    };
    let payer = |begun: &Begun| begun.facts.payer.clone();
    let mut expected = vec![payer(&paid), payer(&twice), payer(&twice)];
    expected.sort();
    assert_eq!(since(Millis(0)).await, expected, "not {}", open.facts.payer);
    let later = Millis(again.facts.created_at.0 + 1_000_000);
    assert_eq!(since(later).await, Vec::<String>::new());
    store.close().await;
}

/// Every inclusion costs 600.
pub(crate) async fn losses_are_the_shares_of_the_fees_that_were_paid(backend: &impl Backend) {
    let store = owned(backend).await;
    let [alone, free, paid, twice] = begun(&*store).await;
    let shared = [keyed(11, "shop", "a"), Facts { payer_code: Some("0xcode".into()), ..facts(12) }, facts(13)];
    let batch = transaction("w", 11, &shared.each_ref().map(|facts| (facts.id, 0)));
    let elsewhere = begun_as(Facts { network: other_network(), ..facts(14) }, 14);
    let claims = shared.iter().chain([&elsewhere.facts]).map(claim);
    let carries = [&batch, &elsewhere.transaction].map(|carrier| Change::Carry(carrier.clone()));
    apply(&*store, claims.chain(carries).collect()).await;
    let second = transaction("w", 12, &[(twice.id(), 1)]);
    let next = Change::NextStep { id: twice.id(), done: 0, plan: plan() };
    apply(&*store, vec![next, Change::Carry(second.clone())]).await;
    let included = [&alone, &paid, &twice, &elsewhere].map(Begun::include);
    let included = included.into_iter().chain([include(batch.id, "0xw11"), include(second.id, "0xw12")]);
    apply(&*store, included.collect()).await;
    let fail = |id| Change::Fail { id, failed: failed() };
    let ends = vec![fail(shared[0].id), fail(shared[1].id), settle(shared[2].id, "0xw11", 12), paid.settle()];
    store.apply(ends, Millis(5_000)).await.expect("applied");
    let ends = vec![alone.fail(), free.fail(), twice.fail(), elsewhere.fail()];
    store.apply(ends, Millis(6_000)).await.expect("applied");
    // A later word about them moves no loss in time.
    store.apply(vec![Change::Finalize { id: alone.id(), transfer: None }], Millis(9_000)).await.expect("applied");
    let since = async |since| {
        let losses = store.losses(&network(), Millis(since)).await.expect("read").into_iter();
        let mut losses: Vec<_> =
            losses.map(|loss| (loss.at.0, loss.payer, loss.tenant, loss.payer_code, loss.fee_paid)).collect();
        assert!(losses.is_sorted_by_key(|loss| loss.0), "oldest first");
        losses.sort();
        losses
    };
    let loss = |at, facts: &Facts, fee: u64| {
        (at, facts.payer.clone(), facts.caller.tenant.clone(), facts.payer_code.clone(), Amount::from(fee))
    };
    let mut late = vec![loss(6_000, &alone.facts, 600), loss(6_000, &twice.facts, 1_200)];
    late.sort();
    let mut all = [vec![loss(5_000, &shared[0], 200), loss(5_000, &shared[1], 200)], late.clone()].concat();
    all.sort();
    assert_eq!((since(5_000).await, since(5_001).await), (all, late));
    store.close().await;
}
