//! The service on Solana beside the validator's own limit.

mod baseline;
mod purse;

use std::{sync::Arc, time::Duration};

use chains_svm::local::USDC;
use e2e::{
    proxy::{Fault, Proxy, Times},
    service::{Home, Service},
    validator::{TICKS_PER_SLOT, Validator, payee},
};
use serde_json::json;

pub(crate) use self::purse::{Kind, Purse};
use crate::{
    CALLERS, Counters, PAYMENTS, load,
    report::{Memory, Report, Row},
};

/// Lines of verifications, each after the validator's own of the same transactions.
const VERIFY: [(Kind, &str, &str); 3] = [
    (Kind::Plain, "Solana, the validator: simulateTransaction, 64 callers", "Solana, verify, 64 callers"),
    (
        Kind::Token2022,
        "Solana, the validator: simulateTransaction, Token-2022, 64 callers",
        "Solana, verify, Token-2022, 64 callers",
    ),
    (
        Kind::Guarded,
        "Solana, the validator: simulateTransaction, a guard, 64 callers",
        "Solana, verify, a guard, 64 callers",
    ),
];
/// Lines of settlements, and how many callers each has.
const DIRECTLY: [(&str, usize); 2] = [
    ("Solana, the validator: sent and confirmed, 16 callers", 16),
    ("Solana, the validator: sent and confirmed, 64 callers", 64),
];
const SETTLE: [(&str, usize); 2] = [("Solana, settle, 16 callers", 16), ("Solana, settle, 64 callers", 64)];
/// The same where a node drops every second transaction that it takes: one of two, and the only one.
const DROPPED: [(&str, bool); 2] = [
    ("Solana, settle, 16 callers, one of two nodes drops half", false),
    ("Solana, settle, 16 callers, the only node drops half", true),
];

/// Measures what is wanted.
pub(crate) async fn run(report: &mut Report, time: Duration, wanted: impl Fn(&str) -> bool) {
    let settles = DIRECTLY.iter().chain(&SETTLE).map(|(name, _)| *name);
    let verifies = VERIFY.iter().flat_map(|(_, direct, verify)| [*direct, *verify]);
    if !settles.chain(verifies).chain(DROPPED.map(|(name, _)| name)).any(&wanted) {
        return;
    }
    let validator = Validator::start_with(TICKS_PER_SLOT).await;
    let purse = Arc::new(Purse::open(&validator).await);
    let home = Home::on(&validator);
    let service = home.serve().await;
    let memory = Memory::idle("Solana", &service).await;

    // Side by side: each of ours after what it is compared with.
    for (kind, direct, verify) in VERIFY {
        if wanted(direct) {
            report.add(baseline::simulations(direct, kind, &validator, &purse, time).await);
        }
        if wanted(verify) {
            let bodies: Vec<_> = (0..PAYMENTS).map(|_| purse.body(kind)).collect();
            let before = Counters::read(&home, &service).await;
            let body = move |i: usize| bodies[i % PAYMENTS].clone();
            let run = load::closed_loop(&service.url, "/verify", CALLERS, time, body).await;
            report.add(before.since(&home, &service, verify, &run, time).await);
        }
    }
    for ((direct, callers), (settle, _)) in DIRECTLY.into_iter().zip(SETTLE) {
        if wanted(direct) {
            report.add(baseline::transactions(direct, callers, &validator, &purse, time).await);
        }
        if wanted(settle) {
            report.add(settles_of(settle, callers, (&validator, &home, &service), &purse, time).await);
        }
    }
    report.memory.push(memory.peak(&service));
    drop(service);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "the audit after the benchmark: {text}");
    for (name, is_only) in DROPPED {
        if wanted(name) {
            report.add(dropped(name, is_only, &validator, &purse, time).await);
        }
    }
}

/// Settles fresh payments in a closed loop.
async fn settles_of(
    name: &str,
    callers: usize,
    (validator, home, service): (&Validator, &Home, &Service),
    purse: &Arc<Purse>,
    time: Duration,
) -> Row {
    let before = (Counters::read(home, service).await, paid(validator).await);
    let fresh = Arc::clone(purse);
    let run = load::closed_loop(&service.url, "/settle", callers, time, move |_| fresh.body(Kind::Plain)).await;
    assert!(paid(validator).await - before.1 >= run.good * 10_000, "every success moved its money");
    before.0.since(home, service, name, &run, time).await
}

/// Settles by way of a node that says it took every transaction, and drops every second one.
async fn dropped(name: &str, is_only: bool, validator: &Validator, purse: &Arc<Purse>, time: Duration) -> Row {
    const CALLERS: usize = 16;
    let proxy = Proxy::before(validator.chain.url()).await;
    proxy.fail("sendTransaction", Fault::Pretend(json!("1".repeat(64))), Times::Every(2));
    let nodes = [proxy.url.as_str(), validator.chain.url()];
    let home = Home::on(validator).rpc(if is_only { &nodes[..1] } else { &nodes });
    let service = home.serve().await;
    let row = settles_of(name, CALLERS, (validator, &home, &service), purse, time).await;
    drop(service);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "the audit after the benchmark: {text}");
    row
}

async fn paid(validator: &Validator) -> u64 {
    validator.chain.token_balance(&payee().address(), &USDC).await.expect("a balance")
}
