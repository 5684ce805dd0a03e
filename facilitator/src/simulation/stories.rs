//! Short stories of one payment, each told step by step: what random steps seldom
//! come to.

use std::sync::Arc;

use chains_core::clock::Millis;
use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    process::Process,
    scene::{Draft, Scene},
};
use crate::{
    in_flight::{Dropped, Waiter, registry::Claim},
    limits::Share,
    payment::SettleOutcome,
    settlement::{Caller, Facts, Recipient, Settled, SettlementId},
    store::{Change, Store as _, memory::MemoryStore},
};

/// Claims that come to nothing, one after the other.
const CLAIMS: usize = 50;

fn scene() -> Scene {
    Scene::new(&mut StdRng::seed_from_u64(1))
}

/// The facts of a payment that another instance has verified.
fn facts(scene: &Scene, draft: &Draft) -> Arc<Facts> {
    let payment = scene.request(draft).payment.expect("a payment");
    let authorization = scene.chain().schemes()[0].read(&payment).expect("it can be read");
    Arc::new(Facts {
        id: SettlementId::fresh(),
        identity: authorization.identity(),
        fingerprint: authorization.fingerprint(),
        caller: Caller::default(),
        request_id: "another request".to_owned(),
        network: payment.network.clone(),
        scheme: payment.scheme.clone(),
        payer: authorization.payer().to_owned(),
        payer_code: None,
        pay_to: payment.pay_to.clone(),
        asset: payment.asset.clone(),
        amount: payment.amount,
        nonce: authorization.nonce().to_owned(),
        claimed_block: 0,
        created_at: Millis(0),
    })
}

#[test]
fn who_waits_for_a_claim_of_what_the_store_has_is_answered_by_the_store_whoever_claims_it_next() {
    let mut scene = scene();
    let draft = scene.draw_good();
    let (begun_elsewhere, process) = (facts(&scene, &draft), Process::start(&scene));
    let claim = || {
        let facts = facts(&scene, &draft);
        let share = Share {
            identity: facts.identity,
            network: facts.network.clone(),
            tenant: String::new(),
            payer: facts.payer.clone(),
            payer_code: None,
            exclusive: None,
            funds: None,
            amount: facts.amount,
            at_risk: chains_core::Amount::ZERO,
        };
        match process.run(process.registry.claim(facts, share, Millis(0))) {
            Claim::New(waiter) => waiter,
            refused => panic!("not claimed: {refused:?}"),
        }
    };
    let mut claimed: Waiter = claim();
    let asked = process.ask(scene.request(&draft), None);
    process.turn(1);
    let store = MemoryStore::open(scene.disk.clone());
    let id = begun_elsewhere.id;
    let settle = Change::Settle { id, settled: Settled { proof: None }, delivered: Some(Recipient::Caller) };
    let stored = vec![Change::Claim { facts: begun_elsewhere, plan: None }, settle];
    process.run(store.apply(stored, Millis(0))).expect("stored");
    for _ in 0..CLAIMS {
        process.run(process.registry.give_back(claimed.entry(), Dropped::KnownToStore));
        claimed = claim();
        process.turn(3);
    }
    assert!(asked.is_finished(), "it waits for another claim");
    let outcome = process.answer(asked);
    assert!(matches!(&outcome, SettleOutcome::Duplicate { id: told, .. } if *told == id), "{outcome:?}");
}
