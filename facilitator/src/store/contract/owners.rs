//! Guarantees about gas wallets: their owners, their nonces, what they still follow.

use super::{Backend, build::*};
use crate::{
    settlement::{AttemptKind, Facts, SettlementId, State, Transaction, record::Followed},
    store::{ApplyError, Change, Fence, StoreError},
};

pub(crate) async fn each_owner_has_a_larger_epoch(backend: &impl Backend) {
    let store = backend.open().await;
    let mut epochs = Vec::new();
    for owner in ["first", "second", "second"] {
        epochs.push(store.own_wallet(&network(), "w", owner).await.expect("owned"));
    }
    store.close().await;
    let store = backend.open().await;
    epochs.push(store.own_wallet(&network(), "w", "after a restart").await.expect("owned"));
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
    assert_eq!(store.own_wallet(&network(), "v", "first").await.expect("owned"), epochs[0], "each wallet has its own");
    assert_eq!(store.own_wallet(&other_network(), "w", "first").await.expect("owned"), epochs[0]);
    store.close().await;
}

pub(crate) async fn a_carry_of_an_older_epoch_is_refused(backend: &impl Backend) {
    let store = owned(backend).await;
    let newer = store.own_wallet(&network(), "w", "another owner").await.expect("owned");
    let under = |epoch, carrier: Transaction| Transaction { epoch, ..carrier };
    let (first, nothing) = (begun_as(facts(1), 1), transaction("w", 1, &[]));
    let elsewhere = Facts { network: other_network(), ..facts(2) };
    let use_nonce = |transaction| Change::UseNonce { network: network(), transaction };
    let old = [
        ("a carry", vec![claim(&first.facts), Change::Carry(under(newer - 1, first.transaction.clone()))]),
        (
            "an epoch that was never given",
            vec![claim(&first.facts), Change::Carry(under(newer + 1, first.transaction.clone()))],
        ),
        ("a nonce", vec![use_nonce(under(newer - 1, nothing.clone()))]),
    ];
    for (what, changes) in old {
        let other_wallet = facts(10);
        let neighbour = vec![claim(&other_wallet), Change::Carry(transaction("v", 1, &[(other_wallet.id, 0)]))];
        let call = [neighbour, changes].concat();
        let refused = store.apply(call, AT).await;
        assert!(matches!(refused, Err(ApplyError::EpochOver)), "{what}: {refused:?}");
        assert!(store.record(other_wallet.id).await.expect("read").is_none(), "{what}: nothing of the call is stored");
    }
    assert_eq!(store.highest_nonce(&network(), "w").await.expect("read"), None);
    apply(&*store, vec![claim(&first.facts), Change::Carry(under(newer, first.transaction.clone()))]).await;
    apply(&*store, begin(&elsewhere, 1)).await;
    store.close().await;
}

/// A process that was stopped beyond its time, and goes on.
pub(crate) async fn whatever_a_worker_writes_is_refused_once_its_wallet_is_another_s(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one, two, three] = begun(&*store).await;
    let under = async |fence: &Fence, changes| store.apply_under(Some(fence), changes, AT).await;
    assert_eq!(under(&fence(1), vec![one.include(), one.settle()]).await.expect("it is ours"), [one.id()]);
    let epoch = store.own_wallet(&network(), "w", "another owner").await.expect("owned");
    let others = [
        ("an owner that was", fence(1)),
        ("another epoch", fence(epoch)),
        ("the epoch before", Fence { owner: "another owner".into(), ..fence(1) }),
        ("an epoch that was never given", Fence { owner: "another owner".into(), ..fence(epoch + 1) }),
        ("a wallet that nobody has", Fence { gas_wallet: "nobody's".into(), ..fence(1) }),
    ];
    let late = [
        ("nothing", vec![]),
        ("an end", vec![two.settle()]),
        ("a failure", vec![two.fail()]),
        ("an inclusion", vec![two.include()]),
        ("a death", vec![two.kill()]),
        ("a doubt", vec![two.unresolve("no proof")]),
        ("another attempt", vec![add(&two, "0xlate", AttemptKind::Bump)]),
        ("what stands", vec![Change::Finalize { id: one.id(), transfer: None }]),
    ];
    for (owner, fence) in &others {
        for (what, changes) in &late {
            let refused = under(fence, changes.clone()).await;
            assert!(matches!(refused, Err(ApplyError::EpochOver)), "{what} by {owner}: {refused:?}");
        }
    }
    assert_eq!(state(&*store, two.id()).await, State::Open);
    assert_eq!(timeline(&*store, two.id()).await.transactions[0].0, two.transaction, "as it was begun");
    let owner = Fence { owner: "another owner".into(), ..fence(epoch) };
    let (zombie, good) = (fence(1), vec![three.include(), three.settle()]);
    let (refused, ended) = tokio::join!(under(&zombie, vec![two.settle()]), under(&owner, good));
    assert!(matches!(refused, Err(ApplyError::EpochOver)), "{refused:?}");
    assert_eq!(ended.expect("its neighbour is stored"), [three.id()]);
    store.close().await;
}

pub(crate) async fn a_wallet_that_nobody_owns_carries_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let refused = store.apply(begin(&facts(1), 1), AT).await;
    assert!(matches!(refused, Err(ApplyError::EpochOver)), "{refused:?}");
    store.close().await;
}

pub(crate) async fn the_highest_nonce_counts_ended_settlements_too(backend: &impl Backend) {
    let store = owned(backend).await;
    let highest = async |network, wallet| store.highest_nonce(&network, wallet).await.expect("read");
    assert_eq!(highest(network(), "w").await, None);
    let (ended, dead, other) = (begun_as(facts(1), 7), begun_as(facts(2), 8), facts(3));
    let others = transaction("v", 9, &[(other.id, 0)]);
    apply(&*store, [ended.begin(), dead.begin(), vec![claim(&other), Change::Carry(others)]].concat()).await;
    apply(&*store, vec![ended.settle(), dead.kill()]).await;
    assert_eq!(highest(network(), "w").await, Some(8));
    assert_eq!(highest(network(), "v").await, Some(9));
    assert_eq!(highest(other_network(), "w").await, None);
    store.close().await;
}

pub(crate) async fn transactions_are_found_by_their_nonces(backend: &impl Backend) {
    let store = owned(backend).await;
    let payments = [9, 7, 8].map(|nonce| begun_as(facts(nonce), nonce));
    let other = facts(4);
    let others = transaction("v", 8, &[(other.id, 0)]);
    let begins = payments.iter().flat_map(Begun::begin);
    apply(&*store, begins.chain([claim(&other), Change::Carry(others.clone())]).collect()).await;
    apply(&*store, vec![payments[2].settle()]).await;
    let at = async |wallet, nonces| store.transactions_at(&network(), wallet, nonces).await.expect("read");
    let [nine, seven, eight] = payments.map(|one| one.transaction);
    assert_eq!(at("w", 7..9).await, [seven.clone(), eight.clone()], "ended or not, in order");
    assert_eq!(at("w", 0..u64::MAX).await, [seven, eight, nine]);
    assert_eq!(at("v", 0..9).await, [others]);
    assert_eq!(at("w", 10..20).await, []);
    assert_eq!(store.transactions_at(&other_network(), "w", 0..99).await.expect("read"), []);
    store.close().await;
}

fn ids(followed: &[Followed]) -> Vec<SettlementId> {
    followed.iter().map(|followed| followed.facts.id).collect()
}

pub(crate) async fn open_settlements_come_back_oldest_first(backend: &impl Backend) {
    let store = owned(backend).await;
    let [first, second, settled, failed, unresolved] = begun(&*store).await;
    let waiting = facts(10);
    let elsewhere = Facts { network: other_network(), ..facts(11) };
    apply(&*store, [vec![claim(&waiting)], begin(&elsewhere, 11)].concat()).await;
    apply(&*store, vec![settled.settle(), failed.fail(), unresolved.unresolve("no proof"), second.include()]).await;
    store.note_sent(vec![first.sent("accepted", 3_000)]);
    flush(&*store).await;
    let open = store.open_settlements(&network()).await.expect("read");
    assert_eq!(ids(&open), [first.id(), second.id(), waiting.id], "signed, broadcast, included, waiting");
    assert_eq!(open[0].transactions, [first.transaction]);
    assert!(open[1].transactions[0].attempts[0].inclusion.is_some());
    assert_eq!((open[2].transactions.len(), open[2].steps.len()), (0, 1));
    assert_eq!(ids(&store.open_settlements(&other_network()).await.expect("read")), [elsewhere.id]);
    store.close().await;
}

pub(crate) async fn it_is_told_which_of_some_settlements_are_open(backend: &impl Backend) {
    let store = owned(backend).await;
    let [signed, sent, settled, failed, unresolved] = begun(&*store).await;
    apply(&*store, vec![settled.settle(), failed.fail(), unresolved.unresolve("no proof"), sent.include()]).await;
    let all = [&settled, &signed, &unresolved, &sent, &failed].map(Begun::id);
    let mut open = store.open_of(&[&all[..], &[SettlementId::fresh()]].concat()).await.expect("read");
    open.sort_unstable();
    let mut expected = [signed.id(), sent.id()];
    expected.sort_unstable();
    assert_eq!(open, expected);
    assert_eq!(store.open_of(&[]).await.expect("read"), []);
    store.close().await;
}

pub(crate) async fn unresolved_settlements_come_in_pages(backend: &impl Backend) {
    let store = owned(backend).await;
    let payments: [_; 7] = begun(&*store).await;
    let elsewhere = begun_as(Facts { network: other_network(), ..facts(11) }, 11);
    apply(&*store, elsewhere.begin()).await;
    let (open, rest) = payments.split_last().expect("seven");
    let all = rest.iter().chain([&elsewhere]);
    apply(&*store, all.map(|one| one.unresolve("no proof")).collect()).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.unresolved(&network(), after, 4).await.expect("read");
        let Some(last) = page.last() else { break };
        after = Some(last.facts.id);
        assert!(page.iter().all(|followed| followed.transactions.len() == 1));
        seen.extend(ids(&page));
    }
    assert_eq!(seen, rest.iter().map(Begun::id).collect::<Vec<_>>(), "oldest first, each once");
    assert!(!seen.contains(&open.id()));
    store.close().await;
}

pub(crate) async fn a_reader_beside_the_owner_sees_commits_and_writes_nothing(backend: &impl Backend) {
    let store = owned(backend).await;
    let reader = backend.read().await;
    let [one] = begun(&*store).await;
    apply(&*store, vec![one.unresolve("no proof")]).await;
    assert!(reader.timeline(one.id()).await.expect("read").is_some());
    let refused = reader.apply(begin(&facts(2), 2), AT).await;
    assert!(matches!(refused, Err(ApplyError::Store(StoreError::Closed))), "{refused:?}");
    assert!(matches!(reader.resolve(one.word(None)).await, Err(StoreError::Closed)));
    store.close().await;
    assert!(reader.timeline(one.id()).await.expect("read").is_some());
    reader.close().await;
    let alone = backend.read().await;
    assert!(alone.timeline(one.id()).await.expect("read without an owner").is_some());
    alone.close().await;
}

pub(crate) async fn a_raised_epoch_ends_the_one_before_and_only_its_owner_raises_it(backend: &impl Backend) {
    let store = owned(backend).await;
    assert_eq!(store.raise_epoch(&network(), "w", "somebody else").await.expect("asked"), None);
    assert_eq!(store.raise_epoch(&network(), "never owned", "the test").await.expect("asked"), None);
    let raised = store.raise_epoch(&network(), "w", "the test").await.expect("asked").expect("still ours");
    assert_eq!(raised, 2);
    let one = begun_as(facts(1), 1);
    let late = store.apply(one.begin(), AT).await;
    assert!(matches!(late, Err(ApplyError::EpochOver)), "{late:?}");
    let again = Change::Carry(Transaction { epoch: raised, ..one.transaction.clone() });
    apply(&*store, vec![claim(&one.facts), again]).await;
    assert_eq!(store.raise_epoch(&other_network(), "w", "the test").await.expect("asked"), Some(2), "each has its own");
    store.close().await;
}
