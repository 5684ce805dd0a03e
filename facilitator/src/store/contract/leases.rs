//! Guarantees about leases: taken by one, kept by their owner, given back.

use super::{Backend, build::*};
use crate::store::{ApplyError, Fence, Instance, Lease, Store};

pub(crate) fn instance(id: &str, beat: u64) -> Instance {
    Instance {
        id: id.into(),
        name: format!("name of {id}"),
        version: "1.2.3".into(),
        networks: vec![network(), other_network()],
        beat,
        started_at: AT,
        renewed_at: AT,
    }
}

fn never_taken(wallet: &str) -> Lease {
    let (owner, owner_name) = (String::new(), String::new());
    Lease { network: network(), gas_wallet: wallet.into(), owner, owner_name, epoch: 0, beat: 0, renewed_at: AT }
}

async fn lease(store: &dyn Store, wallet: &str) -> Lease {
    let all = store.leases().await.expect("read");
    all.into_iter().find(|lease| lease.gas_wallet == wallet).expect("taken once")
}

pub(crate) async fn a_lease_is_taken_by_whoever_saw_it_as_it_is(backend: &impl Backend) {
    let store = backend.open().await;
    let (first, second) = (instance("first", 1), instance("second", 1));
    assert_eq!(store.take_lease(&never_taken("w"), &first).await.expect("asked"), Some(1));
    assert_eq!(store.take_lease(&never_taken("w"), &second).await.expect("asked"), None, "somebody was faster");
    let seen = lease(&*store, "w").await;
    assert_eq!((seen.owner.as_str(), seen.owner_name.as_str(), seen.epoch), ("first", "name of first", 1));
    store.renew_leases(&first).await.expect("renewed");
    assert_eq!(store.take_lease(&seen, &second).await.expect("asked"), None, "its owner lives");
    let seen = lease(&*store, "w").await;
    let (one, other) = tokio::join!(store.take_lease(&seen, &first), store.take_lease(&seen, &second));
    let epochs = [one.expect("asked"), other.expect("asked")];
    assert!(epochs.contains(&Some(2)) && epochs.contains(&None), "one of two: {epochs:?}");
    assert_eq!(lease(&*store, "w").await.beat, 0);
    store.close().await;
}

pub(crate) async fn an_instance_renews_what_it_has_and_learns_what_it_has_not(backend: &impl Backend) {
    let store = backend.open().await;
    let (first, second) = (instance("first", 1), instance("second", 1));
    for wallet in ["v", "w"] {
        store.take_lease(&never_taken(wallet), &first).await.expect("asked").expect("free");
    }
    let before = [lease(&*store, "v").await, lease(&*store, "w").await];
    store.take_lease(&before[1], &second).await.expect("asked").expect("as it was seen");
    let kept = store.renew_leases(&first).await.expect("renewed");
    assert_eq!(kept.iter().map(|kept| (kept.gas_wallet.as_str(), kept.epoch)).collect::<Vec<_>>(), [("v", 1)]);
    assert_ne!(lease(&*store, "v").await.beat, before[0].beat);
    let others = lease(&*store, "w").await;
    assert_eq!((others.owner.as_str(), others.epoch, others.beat), ("second", 2, 0), "nobody else's is renewed");
    store.close().await;
}

pub(crate) async fn a_lease_is_given_back_by_its_owner_alone_and_what_was_written_under_it_is_over(
    backend: &impl Backend,
) {
    let store = backend.open().await;
    let (first, second) = (instance("first", 1), instance("second", 1));
    let epoch = store.take_lease(&never_taken("w"), &first).await.expect("asked").expect("free");
    let fence = Fence { owner: "first".into(), ..fence(epoch) };
    let one = begun_as(facts(1), 1);
    store.apply_under(Some(&fence), one.begin(), AT).await.expect("it is ours");
    assert!(!store.release_lease(&network(), "w", "second").await.expect("asked"));
    assert!(store.release_lease(&network(), "w", "first").await.expect("asked"));
    assert!(!store.release_lease(&network(), "w", "first").await.expect("asked"), "once");
    let late = store.apply_under(Some(&fence), vec![one.settle()], AT).await;
    assert!(matches!(late, Err(ApplyError::EpochOver)), "{late:?}");
    assert_eq!(store.renew_leases(&first).await.expect("renewed"), []);
    let free = lease(&*store, "w").await;
    assert_eq!((free.owner.as_str(), free.epoch), ("", 1));
    assert_eq!(store.take_lease(&free, &second).await.expect("asked"), Some(2));
    store.close().await;
}

pub(crate) async fn an_instance_is_known_by_its_newest_beat_until_it_says_good_bye(backend: &impl Backend) {
    let store = backend.open().await;
    for (id, beat) in [("first", 1), ("second", 1), ("first", 2)] {
        store.renew_leases(&instance(id, beat)).await.expect("told");
    }
    assert_eq!(store.instances().await.expect("read"), [instance("first", 2), instance("second", 1)]);
    store.forget_instance("first").await.expect("told");
    assert_eq!(store.instances().await.expect("read"), [instance("second", 1)]);
    store.close().await;
}
