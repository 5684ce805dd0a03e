//! Short stories of one payment, each told step by step: what random steps seldom
//! come to.

use std::sync::Arc;

use chains_core::clock::Millis;
use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    process::Process,
    scene::{Draft, Scene, WALLETS},
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

/// Times that a payment is asked for until it is settled.
const ROUNDS: usize = 40;

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

/// Asks for a payment until it is settled, while blocks are made.
fn settles(process: &Process, scene: &Scene, draft: &Draft) -> Result<(), String> {
    let mut last = None;
    for _ in 0..ROUNDS {
        let asked = process.ask(scene.request(draft), Some(format!("key-of-payment-{:08}", draft.nonce)));
        for _ in 0..6 {
            process.wait(scene, 100);
            scene.world.mine();
        }
        match process.answer(asked) {
            SettleOutcome::Settled { .. } => return Ok(()),
            outcome => last = Some(format!("{outcome:?}")),
        }
    }
    last.map_or(Ok(()), Err)
}

#[test]
fn a_settled_transaction_that_a_reorg_takes_back_is_bumped_once_the_price_is_above_it() {
    let mut scene = scene();
    let world = Arc::clone(&scene.world);
    world.set_nodes(1);
    world.set_final_lag(1_000);
    let [first, second] = [(); 2].map(|()| Draft { gas_wallet: Some(WALLETS[0]), ..scene.draw_good() });
    let process = Process::start(&scene);
    settles(&process, &scene, &first).expect("settled");
    while world.is_used(&first.payer, &first.nonce) {
        world.unmine();
    }
    world.set_price(3);
    settles(&process, &scene, &second).expect("what comes after it settles too");
    assert!(world.is_used(&first.payer, &first.nonce), "the payee has the money of both");
    let record = scene.disk.record(&scene.identity(&first)).expect("stored");
    assert!(scene.disk.tells(record.id(), "bumped"), "{:?}", scene.disk.story(record.id()));
}
