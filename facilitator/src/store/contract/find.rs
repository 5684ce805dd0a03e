//! Guarantees about look-ups of operators and tenants.

use chains_core::clock::Millis;

use super::{Backend, build::*};
use crate::{
    settlement::{Facts, Record, Status},
    store::{Change, Query, archive::ArchivedName},
};

pub(crate) async fn find_narrows_by_every_filter(backend: &impl Backend) {
    let store = owned(backend).await;
    let shop = begun_as(keyed(1, "shop", "k"), 1);
    let bakery = begun_as(keyed(2, "bakery", "k"), 2);
    let (settled, sent) = (begun_as(facts(3), 3), begun_as(facts(4), 4));
    let stuck = begun_as(Facts { network: other_network(), ..facts(5) }, 5);
    let all = [&shop, &bakery, &settled, &sent, &stuck];
    apply(&*store, all.into_iter().flat_map(Begun::begin).collect()).await;
    store.note_sent(vec![sent.sent("unknown", 3_000)]);
    let changes = vec![settle(settled.id(), "0xforeign", 12), bakery.fail(), stuck.unresolve("no proof")];
    apply(&*store, changes).await;
    let everything = all.map(Begun::id).into_iter().rev().collect::<Vec<_>>();
    let all = || Query { limit: 10, ..Query::default() };
    let text = |text: &str| Some(text.to_owned());
    let status = |status| Query { status: Some(status), ..all() };
    let cases = [
        ("everything, newest first", all(), everything),
        ("an attempt", Query { transaction: text("0xw1"), ..all() }, vec![shop.id()]),
        ("an attempt that lost", Query { transaction: text("0xw3"), ..all() }, vec![settled.id()]),
        ("the deciding transaction", Query { transaction: text("0xforeign"), ..all() }, vec![settled.id()]),
        ("an unknown transaction", Query { transaction: text("0x"), ..all() }, vec![]),
        ("the network", Query { network: Some(other_network()), ..all() }, vec![stuck.id()]),
        ("no network", Query { network: Some("eip155:10".parse().expect("CAIP-2")), ..all() }, vec![]),
        ("the payer", Query { network: Some(network()), payer: text("0xpAYER1"), ..all() }, vec![shop.id()]),
        ("a payer elsewhere", Query { network: Some(other_network()), payer: text("0xPayer1"), ..all() }, vec![]),
        ("the nonce", Query { nonce: text("0xabc2"), ..all() }, vec![bakery.id()]),
        ("the nonce of a payer", Query { payer: text("0xPayer2"), nonce: text("0xabc2"), ..all() }, vec![bakery.id()]),
        ("a request", Query { request_id: text("r-2"), ..all() }, vec![bakery.id()]),
        ("a request of another tenant", Query { tenant: text("shop"), request_id: text("r-2"), ..all() }, vec![]),
        ("another nonce", Query { payer: text("0xPayer2"), nonce: text("0xabc1"), ..all() }, vec![]),
        ("signed", status(Status::Signed), vec![shop.id()]),
        ("broadcast", status(Status::Broadcast), vec![sent.id()]),
        ("settled", status(Status::Settled), vec![settled.id()]),
        ("failed", status(Status::Failed), vec![bakery.id()]),
        ("unresolved", status(Status::Unresolved), vec![stuck.id()]),
        ("the time", Query { from: Some(Millis(1_004)), ..all() }, vec![stuck.id(), sent.id()]),
        ("the tenant", Query { tenant: text("shop"), ..all() }, vec![shop.id()]),
        ("a tenant on a network", Query { tenant: text("shop"), network: Some(network()), ..all() }, vec![shop.id()]),
        ("a tenant elsewhere", Query { tenant: text("shop"), network: Some(other_network()), ..all() }, vec![]),
        ("no tenant", Query { tenant: text(""), ..all() }, vec![stuck.id(), sent.id(), settled.id()]),
        ("a stranger", Query { tenant: text("shop"), transaction: text("0xw2"), ..all() }, vec![]),
        ("a page", Query { limit: 1, ..all() }, vec![stuck.id()]),
        ("the next page", Query { limit: 1, before: Some(stuck.id()), ..all() }, vec![sent.id()]),
    ];
    for (what, query, expected) in cases {
        let found: Vec<_> = store.find(&query).await.expect(what).into_iter().map(|record| record.id()).collect();
        assert_eq!(found, expected, "{what}");
    }
    store.close().await;
}

pub(crate) async fn find_pages_through_everything_once(backend: &impl Backend) {
    let store = owned(backend).await;
    // Several of the same moment, so that the time alone is no cursor.
    let payments: Vec<_> = (0..23).map(|n| Facts { created_at: Millis((1_000 + n) / 5), ..facts(n) }).collect();
    let changes: Vec<Change> = (0..).zip(&payments).flat_map(|(nonce, facts)| begin(facts, nonce)).collect();
    apply(&*store, changes).await;
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store.find(&Query { before, limit: 5, ..Query::default() }).await.expect("read");
        before = page.last().map(Record::id);
        seen.extend(page.into_iter().map(|record| (record.facts.created_at, record.id())));
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), payments.len());
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
    store.close().await;
}

/// Every settle makes some of these, and many at a time wait for a connection.
pub(crate) async fn a_look_up_under_way_takes_little_memory(backend: &impl Backend) {
    let (store, facts) = (owned(backend).await, facts(1));
    let sizes = [
        ("knows", size_of_val(&*store.knows(&facts.identity))),
        ("by_identity", size_of_val(&*store.by_identity(&facts.identity))),
        ("by_key", size_of_val(&*store.by_key(&facts.caller))),
        ("open_of", size_of_val(&*store.open_of(&[facts.id]))),
        ("under_way", size_of_val(&*store.under_way(&facts.network, &facts.payer))),
        ("hand_over", size_of_val(&*store.handed_over(&facts.identity))),
        ("archived", size_of_val(&*store.archived(ArchivedName::Identity(&facts.identity)))),
    ];
    for (what, size) in sizes {
        assert!(size <= 2_000, "{what} takes {size} bytes");
    }
}
