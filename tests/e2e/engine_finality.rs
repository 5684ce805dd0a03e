//! A settlement is final when the chain says so of its block, and that is looked at for every one.

use std::sync::Arc;

use e2e::{
    anvil::{Anvil, PAYEE, USDC},
    eventually,
    payer::Draft,
    service::{Home, Service, Stored},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

/// More than a process keeps in mind.
const PAYMENTS: usize = 320;

/// Returns every settlement, page by page.
async fn all(service: &Service) -> Vec<Value> {
    let (mut rows, mut path) = (vec![], "/settlements?limit=100".to_owned());
    loop {
        let page = service.get(&path).await;
        rows.extend(page.body["settlements"].as_array().cloned().unwrap_or_default());
        match page.body["cursor"].as_str() {
            Some(cursor) => path = format!("/settlements?limit=100&cursor={cursor}"),
            None => return rows,
        }
    }
}

fn are_final(rows: &[Value]) -> usize {
    rows.iter().filter(|row| !row["finalizedAt"].is_null()).count()
}

/// K12: the block is final two epochs of 64 slots later, and not 64 blocks later as elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn every_settlement_becomes_final_when_the_chain_says_so_also_after_a_restart() {
    every_settlement_becomes_final_when_the_chain_says_so_also_after_a_restart_in(Stored::of_environment()).await;
}

pub async fn every_settlement_becomes_final_when_the_chain_says_so_also_after_a_restart_in(stored: Stored) {
    let chain = Anvil::start_with(&["--block-time", "1", "--slots-in-an-epoch", "64"]).await;
    let home = Home::on(&chain).stored_in(stored).network("in_flight_max", 64);
    let service = Arc::new(home.serve().await);
    let payments = stream::iter(0..PAYMENTS).map(|_| {
        let service = Arc::clone(&service);
        async move { service.decided(&Draft::default().v2()).await }
    });
    let answers: Vec<_> = payments.buffer_unordered(64).collect().await;
    assert!(answers.iter().all(e2e::service::Answer::is_good), "{answers:?}");
    assert_eq!(are_final(&all(&service).await), 0, "no block of theirs is final yet");
    Arc::into_inner(service).expect("nobody asks any more").kill();

    let service = home.serve().await;
    assert_eq!(are_final(&all(&service).await), 0, "a restart makes nothing final");
    let settled_in = chain.node.quantity("eth_blockNumber", json!([])).await;
    chain.node.mine_blocks(70).await;
    eventually("the blocks are seen", || async {
        let seen = home.metric("head_block").await;
        (seen >= f64::from(u32::try_from(settled_in).expect("a short chain") + 70)).then_some(())
    })
    .await;
    assert_eq!(are_final(&all(&service).await), 0, "64 blocks are not two epochs");
    chain.node.mine_blocks(80).await;
    let rows = eventually("all are final", || async {
        let rows = all(&service).await;
        (are_final(&rows) == PAYMENTS).then_some(rows)
    })
    .await;
    assert!(rows.iter().all(|row| row["state"] == "settled"), "{rows:?}");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 3_200_000);
    home.assert_audit();
}
