//! The service on Solana beside the validator's own limit.

mod baseline;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chains_svm::local::{Hash, LocalChain, Payer, USDC};
use e2e::{
    service::Home,
    svm::Draft,
    validator::{PAYERS, TICKS_PER_SLOT, Validator, payee},
};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::{
    CALLERS, Counters, PAYMENTS, load,
    report::{Memory, Report},
};

const SIMULATIONS: &str = "Solana, the validator: simulateTransaction, 64 callers";
const VERIFY: &str = "Solana, verify, 64 callers";
/// Lines of settlements, and how many callers each has.
const DIRECTLY: [(&str, usize); 2] = [
    ("Solana, the validator: sent and confirmed, 16 callers", 16),
    ("Solana, the validator: sent and confirmed, 64 callers", 64),
];
const SETTLE: [(&str, usize); 2] = [("Solana, settle, 16 callers", 16), ("Solana, settle, 64 callers", 64)];

/// The time between two blockhashes: each counts for a minute.
const BLOCKHASH_PAUSE: Duration = Duration::from_secs(5);

/// Makes payments that were never there before, by turns of all payers.
pub(crate) struct Purse {
    blockhash: watch::Receiver<Hash>,
    made: AtomicU64,
}

impl Purse {
    async fn open(validator: &Validator) -> Self {
        let chain = LocalChain::at(validator.chain.url());
        let (sender, blockhash) = watch::channel(chain.blockhash().await.expect("a blockhash"));
        tokio::spawn(async move {
            while !sender.is_closed() {
                tokio::time::sleep(BLOCKHASH_PAUSE).await;
                if let Ok(newer) = chain.blockhash().await {
                    sender.send_replace(newer);
                }
            }
        });
        Self { blockhash, made: AtomicU64::new(0) }
    }

    /// A draft and its signed payload.
    pub fn payment(&self) -> (Draft, Map<String, Value>) {
        let draft = Draft::of(Payer::numbered(self.made.fetch_add(1, Ordering::Relaxed) % PAYERS));
        let blockhash = *self.blockhash.borrow();
        let payload = draft.payer.sign(&draft.order, blockhash).expect("signed");
        (draft, payload)
    }

    fn body(&self) -> String {
        let (draft, payload) = self.payment();
        draft.v2(&payload).to_string()
    }
}

/// Measures what is wanted.
pub(crate) async fn run(report: &mut Report, time: Duration, wanted: impl Fn(&str) -> bool) {
    let settles = DIRECTLY.iter().chain(&SETTLE).map(|(name, _)| *name);
    if !settles.chain([SIMULATIONS, VERIFY]).any(&wanted) {
        return;
    }
    let validator = Validator::start_with(TICKS_PER_SLOT).await;
    let purse = Arc::new(Purse::open(&validator).await);
    let home = Home::on(&validator);
    let service = home.serve().await;
    let memory = Memory::idle("Solana", &service).await;

    if wanted(SIMULATIONS) {
        report.add(baseline::simulations(SIMULATIONS, &validator, &purse, time).await);
    }
    if wanted(VERIFY) {
        let bodies: Vec<_> = (0..PAYMENTS).map(|_| purse.body()).collect();
        let before = Counters::read(&home, &service).await;
        let body = move |i: usize| bodies[i % PAYMENTS].clone();
        let run = load::closed_loop(&service.url, "/verify", CALLERS, time, body).await;
        report.add(before.since(&home, &service, VERIFY, &run, time).await);
    }
    // Side by side: each of ours after what it is compared with.
    for ((direct, callers), (settle, _)) in DIRECTLY.into_iter().zip(SETTLE) {
        if wanted(direct) {
            report.add(baseline::transactions(direct, callers, &validator, &purse, time).await);
        }
        if wanted(settle) {
            let before = (Counters::read(&home, &service).await, paid(&validator).await);
            let fresh = Arc::clone(&purse);
            let run = load::closed_loop(&service.url, "/settle", callers, time, move |_| fresh.body()).await;
            assert!(paid(&validator).await - before.1 >= run.good * 10_000, "every success moved its money");
            report.add(before.0.since(&home, &service, settle, &run, time).await);
        }
    }
    report.memory.push(memory.peak(&service));
    drop(service);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "the audit after the benchmark: {text}");
}

async fn paid(validator: &Validator) -> u64 {
    validator.chain.token_balance(&payee().address(), &USDC).await.expect("a balance")
}
