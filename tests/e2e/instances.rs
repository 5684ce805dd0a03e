//! Several processes on one PostgreSQL database: each gas wallet has one owner, and whoever is none any more writes
//! nothing.

use e2e::{
    anvil::{Anvil, GAS_WALLET},
    payer::Draft,
    service::{Home, Stored},
    stranger::settle_without_blocks,
};

/// Gives every gas wallet to an owner who is not there.
const THEFT: &str = "UPDATE wallet_owner SET owner = 'a thief', epoch = epoch + 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_wallet_is_another_s_sends_nothing_new_and_answers_what_is_true() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Postgres).server("settle_wait", "1s");
    let service = home.serve().await;
    let under_way = Draft::default().v2();
    let (id, _) = settle_without_blocks(&chain, &service, &under_way).await;
    home.postgres().execute(THEFT);

    let refused = service.post("/settle", &Draft::default().v2()).await;
    assert_eq!(refused.status, 503, "nothing was begun: {refused:?}");
    let asked_again = service.post("/settle", &under_way).await;
    assert_eq!(asked_again.text("errorReason"), "settlement_pending", "{asked_again:?}");
    assert_eq!(asked_again.settlement_id(), id);
    chain.node.resume_blocks().await;
    chain.node.mine_blocks(3).await;
    let late = service.post("/settle", &under_way).await;
    assert_eq!(late.text("errorReason"), "settlement_pending", "the end is the new owner's to find: {late:?}");
    assert_eq!(service.settlement(&id).await.text("state"), "broadcast");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1, "no transaction of its own");
}
