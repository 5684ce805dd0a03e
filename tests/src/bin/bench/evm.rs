//! The service on EVM beside the chain's own limit.

mod baseline;

use std::{sync::Arc, time::Duration};

use e2e::{
    anvil::{Anvil, PAYEE, PAYER, USDC},
    eventually,
    payer::Draft,
    permit2::{Permit2Draft, allow},
    service::{Home, Service},
};

use crate::{
    CALLERS, Counters, PAYMENTS, load,
    report::{Memory, Report, Row},
};

/// Arrivals a second of the open-loop run.
const ARRIVALS: u32 = 60;

/// The first words of the lines that measure the chain alone.
const CHAIN: &str = "the chain";

/// A way of paying, and its name in the table.
#[derive(Clone, Copy)]
enum Method {
    Eip3009,
    Permit2,
    Upto,
}

impl Method {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Eip3009, "exact by EIP-3009"), (Self::Permit2, "exact by Permit2"), (Self::Upto, "upto")];

    /// A request with a payment that nobody has seen.
    fn body(self) -> String {
        match self {
            Self::Eip3009 => Draft::default().v2(),
            Self::Permit2 => Permit2Draft::default().body(),
            Self::Upto => Permit2Draft::upto(10_000).body(),
        }
        .to_string()
    }
}

/// Measures what is wanted.
pub(crate) async fn run(report: &mut Report, time: Duration, wanted: impl Fn(&str) -> bool) {
    let verifies = Method::ALL.map(|(method, name)| (format!("verify {name}, 64 callers"), method));
    let mut settles = vec![("settle exact by EIP-3009, arrivals at 60/s".to_owned(), Method::Eip3009, true)];
    settles.extend(Method::ALL.map(|(method, name)| (format!("settle {name}, 64 callers"), method, false)));
    let names = verifies.iter().map(|(name, _)| name).chain(settles.iter().map(|(name, ..)| name));
    if !wanted(CHAIN) && !names.into_iter().any(|name| wanted(name)) {
        return;
    }
    let chain = Anvil::start().await;
    allow(&chain, PAYER, u128::MAX).await;

    if wanted(CHAIN) {
        report.add(baseline::calls(&chain, time).await);
        report.add(baseline::transactions(&chain, time).await);
    }

    let home = Home::on(&chain).network("in_flight_max", 256);
    let service = home.serve().await;
    let memory = Memory::idle("EVM", &service).await;

    for (name, method) in verifies.into_iter().filter(|(name, _)| wanted(name)) {
        report.add(verify(&home, &service, time, method, name).await);
    }
    for (name, method, open) in settles.into_iter().filter(|(name, ..)| wanted(name)) {
        let before = Counters::read(&home, &service).await;
        let paid = chain.node.token_balance(USDC, PAYEE).await;
        let fresh = move |_| method.body();
        let run = if open {
            load::open_loop(&service.url, "/settle", ARRIVALS, time, fresh).await
        } else {
            load::closed_loop(&service.url, "/settle", CALLERS, time, fresh).await
        };
        let moved = chain.node.token_balance(USDC, PAYEE).await - paid;
        assert!(moved >= u128::from(run.good) * 10_000, "every success moved its money");
        report.add(before.since(&home, &service, &name, &run, time).await);
    }
    report.memory.push(memory.peak(&service));
    for (method, name) in Method::ALL {
        report.gas.insert(name.into(), gas_of_a_settlement(&chain, &home, method).await);
    }
    drop(service);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "the audit after the benchmark: {text}");
}

async fn verify(home: &Home, service: &Service, time: Duration, method: Method, name: String) -> Row {
    let bodies: Arc<Vec<_>> = Arc::new((0..PAYMENTS).map(|_| method.body()).collect());
    let before = Counters::read(home, service).await;
    let body = move |i: usize| bodies[i % PAYMENTS].clone();
    let verify = load::closed_loop(&service.url, "/verify", CALLERS, time, body).await;
    before.since(home, service, &name, &verify, time).await
}

async fn gas_of_a_settlement(chain: &Anvil, home: &Home, method: Method) -> u128 {
    let client = e2e::http_client();
    let settled: serde_json::Value = client
        .post(format!("{}/settle", home.url))
        .header("content-type", "application/json")
        .body(method.body())
        .send()
        .await
        .expect("answered")
        .json()
        .await
        .expect("JSON");
    let receipt = eventually("a receipt", || async {
        chain.node.try_call("eth_getTransactionReceipt", serde_json::json!([settled["transaction"]])).await
    })
    .await;
    e2e::node::parse_quantity(&receipt["gasUsed"])
}
