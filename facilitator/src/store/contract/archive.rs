//! Settlements leave the store for a file, and their payments stay refused.

use chains_core::clock::Millis;
use uuid::Uuid;

use super::{Backend, build::*};
use crate::{
    settlement::{Failed, Recipient, SettlementId},
    store::{
        Change, Store,
        archive::{Archive, Archived, ArchivedEnd, ArchivedName, ArchivedNonces, Bounds, Departure, FAILED_AGE_MIN},
    },
};

/// Everything that is over by then; [`AT`] and the finalities are before it.
const BEFORE: Millis = Millis(10_000);

fn bounds() -> Bounds {
    Bounds { settled_before: BEFORE, failed_before: BEFORE }
}

async fn file(store: &dyn Store) -> Archive {
    let (id, path) = (Uuid::now_v7(), "/archives/one.jsonl".to_owned());
    let archive = Archive { id, path, length: 100, settlements: 0, created_at: AT };
    store.begin_archive(archive.clone()).await.expect("begun");
    archive
}

fn departure(archive: &Archive, ids: &[SettlementId], bytes: (u64, u64)) -> Departure {
    let (path, ids) = (archive.path.clone(), ids.to_vec());
    Departure { archive: archive.id, path, bytes, ids, bounds: bounds() }
}

fn finalize(one: &Begun) -> Change {
    Change::Finalize { id: one.id(), transfer: None }
}

/// Settles, gives the success away, and makes it final.
async fn over(store: &dyn Store, payments: &[&Begun]) {
    for one in payments {
        apply(store, vec![one.include(), one.settle()]).await;
        assert!(store.deliver(one.id(), Recipient::Other, AT).await.expect("delivered"));
        apply(store, vec![finalize(one)]).await;
    }
}

async fn departing(store: &dyn Store) -> Vec<SettlementId> {
    let found = store.departing(bounds(), None, 100).await.expect("read");
    found.iter().map(|timeline| timeline.record.id()).collect()
}

async fn archived(store: &dyn Store, one: &Begun) -> Option<Archived> {
    store.archived(ArchivedName::Identity(&one.facts.identity)).await.expect("read")
}

pub(crate) async fn only_what_is_over_for_good_may_leave(backend: &impl Backend) {
    let store = owned(backend).await;
    let [open, settled, undelivered, final_one, unresolved, executable, lost, late] = begun::<8>(&*store).await;
    apply(&*store, vec![settled.include(), settled.settle(), undelivered.include(), undelivered.settle()]).await;
    assert!(store.deliver(settled.id(), Recipient::Other, AT).await.expect("delivered"));
    apply(&*store, vec![finalize(&undelivered), unresolved.unresolve("no proof")]).await;
    over(&*store, &[&final_one]).await;
    let dangerous = Failed { executable_until: Some(99), ..failed() };
    apply(&*store, vec![executable.include(), Change::Fail { id: executable.id(), failed: dangerous }]).await;
    apply(&*store, vec![lost.include(), lost.fail()]).await;
    apply(&*store, vec![late.include(), late.settle()]).await;
    assert!(store.deliver(late.id(), Recipient::Other, AT).await.expect("delivered"));
    store.apply(vec![finalize(&late)], BEFORE).await.expect("applied");

    assert_eq!(departing(&*store).await, [final_one.id(), lost.id()]);
    let strict = Bounds::before(BEFORE, Millis(FAILED_AGE_MIN));
    let found = store.departing(strict, None, 100).await.expect("read");
    assert_eq!(found.len(), 1, "failed ones stay as long as losses count");
    assert_eq!(store.staying(bounds()).await.expect("read"), 8);

    let operator = backend.operate().await;
    let archive = file(&*operator).await;
    for one in [&open, &settled, &undelivered, &unresolved, &executable, &late] {
        let stays = departure(&archive, &[final_one.id(), one.id()], (100, 200));
        assert!(!operator.depart(&stays).await.expect("asked"), "{:?}", one.facts.nonce);
        assert!(store.record(final_one.id()).await.expect("read").is_some(), "all or nothing");
    }
}

pub(crate) async fn an_archived_payment_is_refused_for_ever(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one, two, left] = begun::<3>(&*store).await;
    over(&*store, &[&one, &left]).await;
    apply(&*store, vec![two.include(), two.fail()]).await;
    let operator = backend.operate().await;
    let archive = file(&*operator).await;
    assert!(operator.depart(&departure(&archive, &[one.id(), two.id()], (100, 300))).await.expect("left"));

    let check = async |store: &dyn Store| {
        for gone in [&one, &two] {
            assert_eq!(store.by_identity(&gone.facts.identity).await.expect("read"), None);
            assert!(store.knows(&gone.facts.identity).await.expect("read"));
            assert_eq!(store.timeline(gone.id()).await.expect("read"), None);
            let again = facts_of(gone);
            assert_eq!(claimed(store.apply(vec![claim(&again)], AT).await), [again.id]);
        }
        let known = Archive { length: 300, settlements: 2, ..archive.clone() };
        let settled = ArchivedEnd::Settled { transaction: one.hash().to_owned() };
        assert_eq!(archived(store, &one).await, Some(Archived { id: one.id(), end: settled, archive: known.clone() }));
        let by_id = store.archived(ArchivedName::Id(two.id())).await.expect("read").expect("known");
        assert_eq!(by_id.end, ArchivedEnd::Failed(failed()));
        assert_eq!(archived(store, &left).await, None);
        assert_eq!(store.archives().await.expect("read"), [known]);
        assert_eq!(story(store, left.id()).await, ["signed", "settled", "delivered", "finalized"], "others stay whole");
    };
    check(&*store).await;
    store.close().await;
    operator.close().await;
    let store = backend.open().await;
    check(&*store).await;
    store.close().await;
}

/// The same payment, asked for again.
fn facts_of(one: &Begun) -> crate::settlement::Facts {
    crate::settlement::Facts { id: SettlementId::fresh(), ..one.facts.clone() }
}

pub(crate) async fn a_nonce_of_an_archived_transaction_is_known_for_ever(backend: &impl Backend) {
    let store = owned(backend).await;
    let payments = begun::<5>(&*store).await;
    over(&*store, &payments.iter().collect::<Vec<_>>()).await;
    let operator = backend.operate().await;
    let archive = file(&*operator).await;
    let ids: Vec<_> = payments.iter().map(Begun::id).collect();
    let ranges = async |expected: &[(u64, u64)]| {
        let stored = store.archived_nonces(&network()).await.expect("read");
        let wallet = |(first, last): &(u64, u64)| ArchivedNonces { gas_wallet: "w".into(), nonces: *first..=*last };
        assert_eq!(stored, expected.iter().map(wallet).collect::<Vec<_>>());
    };
    for (left, bytes, expected) in [
        (&ids[4..], (100, 200), &[(5, 5)][..]),
        (&ids[..1], (200, 300), &[(1, 1), (5, 5)]),
        (&ids[2..4], (300, 400), &[(1, 1), (3, 5)]),
        (&ids[1..2], (400, 500), &[(1, 5)]),
    ] {
        assert!(operator.depart(&departure(&archive, left, bytes)).await.expect("left"));
        ranges(expected).await;
        assert_eq!(store.highest_nonce(&network(), "w").await.expect("read"), Some(5));
    }
    for nonce in [1, 3, 5] {
        let error = store.apply(begin(&facts(100 + nonce), nonce), AT).await.expect_err("the nonce is used");
        assert!(error.to_string().contains("archived"), "{error}");
    }
    apply(&*store, begin(&facts(200), 6)).await;
    assert_eq!(store.highest_nonce(&network(), "w").await.expect("read"), Some(6));
}

pub(crate) async fn settlements_that_share_a_transaction_leave_when_all_are_over(backend: &impl Backend) {
    let store = owned(backend).await;
    let (one, two) = (facts(1), facts(2));
    let shared = transaction("w", 9, &[(one.id, 0), (two.id, 0)]);
    apply(&*store, vec![claim(&one), claim(&two), Change::Carry(shared.clone())]).await;
    let hash = shared.newest().hash.clone();
    apply(&*store, vec![include(shared.id, &hash), settle(one.id, &hash, 12)]).await;
    assert!(store.deliver(one.id, Recipient::Other, AT).await.expect("delivered"));
    apply(&*store, vec![Change::Finalize { id: one.id, transfer: None }]).await;
    assert_eq!(departing(&*store).await, [], "its neighbour is open");

    apply(&*store, vec![settle(two.id, &hash, 12), Change::Finalize { id: two.id, transfer: None }]).await;
    assert!(store.deliver(two.id, Recipient::Other, AT).await.expect("delivered"));
    let operator = backend.operate().await;
    let archive = file(&*operator).await;
    assert!(operator.depart(&departure(&archive, &[one.id], (100, 200))).await.expect("left"));
    assert_eq!(store.transactions_at(&network(), "w", 9..10).await.expect("read").len(), 1, "the other has it still");
    assert_eq!(store.archived_nonces(&network()).await.expect("read"), []);
    assert!(operator.depart(&departure(&archive, &[two.id], (200, 300))).await.expect("left"));
    assert_eq!(store.transactions_at(&network(), "w", 9..10).await.expect("read"), []);
    assert_eq!(store.archived_nonces(&network()).await.expect("read").len(), 1);
}

pub(crate) async fn a_place_that_may_still_be_used_keeps_its_settlement(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one] = begun::<1>(&*store).await;
    // Somebody else's transaction paid: the nonce of ours is not used yet.
    apply(&*store, vec![settle(one.id(), "0xforeign", 12), finalize(&one)]).await;
    assert!(store.deliver(one.id(), Recipient::Other, AT).await.expect("delivered"));
    assert_eq!(departing(&*store).await, []);
    apply(&*store, vec![one.include()]).await;
    assert_eq!(departing(&*store).await, [one.id()]);
}

pub(crate) async fn a_departure_happens_once_and_only_at_the_files_end(backend: &impl Backend) {
    let store = owned(backend).await;
    let [one, two] = begun::<2>(&*store).await;
    over(&*store, &[&one, &two]).await;
    let operator = backend.operate().await;
    let archive = file(&*operator).await;
    let first = departure(&archive, &[one.id()], (100, 200));
    assert!(operator.depart(&first).await.expect("left"));
    assert!(!operator.depart(&first).await.expect("asked"), "it has left");
    for bytes in [(100, 300), (300, 400)] {
        let elsewhere = departure(&archive, &[two.id()], bytes);
        assert!(!operator.depart(&elsewhere).await.expect("asked"), "the file ends at 200");
    }
    let unknown = Archive { id: Uuid::now_v7(), ..archive.clone() };
    assert!(!operator.depart(&departure(&unknown, &[two.id()], (100, 200))).await.expect("asked"));
    assert!(operator.depart(&departure(&archive, &[two.id()], (200, 250))).await.expect("left"));
    assert!(store.depart(&first).await.is_err(), "the owner of the store archives nothing");
}
