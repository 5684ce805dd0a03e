//! Many gas wallets and many callers on a chain with large blocks: what the engine makes of its places, with many
//! settlements in a transaction and with one.

use std::{sync::Arc, time::Instant};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use e2e::{anvil::Anvil, node::parse_quantity, payer::Draft, service::Home};
use serde_json::json;

use crate::{Counters, load, report::Report};

/// Gas wallets.
const WALLETS: usize = 8;

/// Callers, each with its next payment once it has its answer.
const CALLERS: usize = 2000;

/// Payments in all.
const PAYMENTS: usize = 20_000;

/// Payers, and payees, that these are made by and to.
const PAYERS: usize = 100;
const PAYEES: usize = 25;

/// Measures what is wanted.
pub(crate) async fn run(report: &mut Report, wanted: impl Fn(&str) -> bool) {
    for batch in ["auto", "off"] {
        let name = format!("many: 8 wallets, 2,000 callers, batch = {batch}");
        if wanted(&name) {
            measure(report, batch, &name).await;
        }
    }
}

async fn measure(report: &mut Report, batch: &str, name: &str) {
    let chain = Anvil::start_with(&["--block-time", "1", "--gas-limit", "400000000"]).await;
    let keys: Vec<_> = (0..WALLETS).map(|_| PrivateKeySigner::random()).collect();
    for key in &keys {
        chain.node.call("anvil_setBalance", json!([key.address(), "0x3635c9adc5dea00000"])).await;
    }
    let secrets: Vec<_> = keys.iter().map(|key| format!("0x{}", hex::encode(key.to_bytes()))).collect();
    let home = Home::on(&chain)
        .wallets(&secrets.iter().map(String::as_str).collect::<Vec<_>>())
        .server("settle_wait", "1m")
        .server("connections_per_ip_max", 4096)
        .network("batch", batch);
    let home = if batch == "auto" { home.with_batch_contract() } else { home };
    let service = home.serve().await;
    let bodies = Arc::new(bodies(&chain).await);
    let (before, first) = (Counters::read(&home, &service).await, height(&chain).await);
    let began = Instant::now();
    let run = load::counted(&service.url, "/settle", CALLERS, PAYMENTS, move |i| bodies[i].clone()).await;
    let time = began.elapsed();
    report.add(before.since(&home, &service, name, &run, time).await);
    let mut gas = 0;
    for number in first + 1..=height(&chain).await {
        let block = chain.node.call("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await;
        gas += parse_quantity(&block["gasUsed"]);
    }
    report.gas.insert(name.to_owned(), gas / u128::from(run.good.max(1)));
    drop(service);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "the audit after the benchmark: {text}");
}

async fn height(chain: &Anvil) -> u128 {
    chain.node.quantity("eth_blockNumber", json!([])).await
}

/// Signed payments, made before the time counts.
async fn bodies(chain: &Anvil) -> Vec<String> {
    let payers: Vec<_> = (0..PAYERS).map(|_| PrivateKeySigner::random()).collect();
    for payer in &payers {
        chain.mint(&payer.address().to_checksum(None), 1_000_000_000).await;
    }
    let shops: Vec<_> = (0..PAYEES).map(|_| Address::from(rand::random::<[u8; 20]>())).collect();
    let body = |i: usize| {
        let draft = Draft { to: shops[i % PAYEES], ..Draft::of(payers[i % PAYERS].clone()) };
        draft.v2().to_string()
    };
    (0..PAYMENTS).map(body).collect()
}
