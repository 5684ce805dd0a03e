//! The calls that settlements take of a node: reads of one block are shared by everything in it.

use std::{collections::BTreeMap, sync::Arc};

use e2e::{
    anvil::{Anvil, GAS_WALLET, GAS_WALLET_KEY},
    payer::Draft,
    proxy::Proxy,
    service::{Answer, Home},
    stranger::SEND,
};
use futures::{StreamExt as _, stream};
use serde_json::json;

/// The second gas wallet, another of anvil's well-known accounts.
const SECOND_KEY: &str = "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba";
const SECOND: &str = "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc";

const ONE: &str = "eth_getTransactionReceipt";
const ALL: &str = "eth_getBlockReceipts";

const PAYMENTS: usize = 800;
const CALLERS: usize = 400;

/// Settles many payments by two gas wallets and a node without these methods; the calls that they took, by method.
async fn calls_of_many(without: &[&str]) -> BTreeMap<String, u64> {
    let chain = Anvil::start_with(&["--block-time", "1", "--gas-limit", "400000000"]).await;
    for wallet in [GAS_WALLET, SECOND] {
        chain.node.call("anvil_setBalance", json!([wallet, "0x3635c9adc5dea00000"])).await;
    }
    let proxy = Proxy::before(&chain.node.url).await;
    proxy.without(without);
    let home = Home::on(&chain)
        .wallets(&[GAS_WALLET_KEY, SECOND_KEY])
        .rpc(&[&proxy.url])
        .server("settle_wait", "1m")
        .server("connections_per_ip_max", 4096)
        .with_batch_contract();
    let service = Arc::new(home.serve().await);
    let bodies: Vec<_> = (0..PAYMENTS).map(|_| Draft::default().v2()).collect();
    let before = proxy.all_calls();
    let settled = stream::iter(bodies).map(|body| {
        let service = Arc::clone(&service);
        async move { service.post("/settle", &body).await }
    });
    let answers: Vec<Answer> = settled.buffer_unordered(CALLERS).collect().await;
    let bad: Vec<_> = answers.into_iter().filter(|answer| !answer.is_good()).collect();
    assert!(bad.is_empty(), "{bad:?}\n{}", home.log());
    let mut calls = proxy.all_calls();
    for (method, count) in before {
        calls.entry(method).and_modify(|after| *after -= count);
    }
    drop(service);
    home.assert_audit();
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn all_transactions_of_a_block_share_the_question_for_their_receipts_where_nodes_can_answer_it() {
    for (without, together) in [([].as_slice(), true), ([ALL].as_slice(), false)] {
        let calls = calls_of_many(without).await;
        let count = |method: &str| calls.get(method).copied().unwrap_or(0);
        let (transactions, receipts) = (count(SEND), count(ONE));
        let told = format!("{} calls for {PAYMENTS} settlements: {calls:?}", calls.values().sum::<u64>());
        assert!(transactions >= 32, "each gas wallet has used its places: {told}");
        if together {
            assert!(receipts * 2 < transactions && count(ALL) * 4 < transactions, "{told}");
        } else {
            assert!(receipts * 2 > transactions && count(ALL) == 1, "asked once, and not again: {told}");
        }
    }
}
