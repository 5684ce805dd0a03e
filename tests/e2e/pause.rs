//! I10: the operator pauses payments while the service runs.

use e2e::{
    anvil::{Anvil, GAS_WALLET, USDC},
    eventually,
    payer::Draft,
    service::{Answer, Home, Service},
};

/// The base of the chain's names.
const NETWORK: &str = "eip155:84532";

fn is_paused(answer: &Answer) -> bool {
    answer.status == 503 && answer.body.to_string().contains("has paused such payments")
}

/// Waits until a payment that nobody has seen is refused, or is not.
async fn refuses(service: &Service, refused: bool) {
    eventually(&format!("payments are refused: {refused}"), || async {
        (is_paused(&service.post("/verify", &Draft::default().v2()).await) == refused).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paused_is_refused_before_anything_is_done_and_what_is_under_way_goes_on() {
    let chain = Anvil::start().await;
    let mut home = Home::on(&chain).section("server", "settle_wait", "1s");
    let service = home.serve().await;
    chain.node.stop_blocks().await;
    let begun = Draft::default().v2();
    assert_eq!(service.post("/settle", &begun).await.text("errorReason"), "settlement_pending");
    let sent = chain.node.transactions_of(GAS_WALLET).await;

    let other_asset = format!("{NETWORK}/0x00000000000000000000000000000000000000aa");
    let asset = format!("{NETWORK}/{}", USDC.to_lowercase());
    let pauses = [("everything", None), ("networks", Some(NETWORK)), ("assets", Some(asset.as_str()))];
    for (what, name) in pauses {
        home = match name {
            None => home.section("paused", what, true),
            Some(name) => home.section("paused", what, vec![name]),
        };
        refuses(&service, true).await;
        let refused = service.post("/settle", &Draft::default().v2()).await;
        assert!(is_paused(&refused), "{what}: {refused:?}");
        let again = service.post("/settle", &begun).await;
        assert_eq!(again.text("errorReason"), "settlement_pending", "{what}: it was begun before");
        service.ready_says(&["some payments are paused"]).await;
        assert!(home.metric("paused").await > 0.0, "{what}");
        home = match name {
            None => home.section("paused", what, false),
            Some(_) => home.section("paused", what, Vec::<String>::new()),
        };
        refuses(&service, false).await;
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, sent, "nothing was sent for what was refused");

    // A pause of something else, or with a mistake, changes nothing, and the mistake is told.
    home = home.section("paused", "assets", vec![other_asset]);
    refuses(&service, false).await;
    home = home.section("paused", "networks", vec!["eip155:1"]);
    eventually("the mistake is told", || async { home.log().contains("the pause cannot be read again").then_some(()) })
        .await;
    refuses(&service, false).await;

    home = home.section("paused", "networks", Vec::<String>::new());
    chain.node.resume_blocks().await;
    let settled = eventually("it settles", || async {
        let answer = service.post("/settle", &begun).await;
        answer.is_good().then_some(answer)
    })
    .await;
    assert_eq!(settled.body["success"], true);
    assert!(service.decided(&Draft::default().v2()).await.is_good(), "payments are taken again");
    assert_eq!(home.metric("paused").await.to_string(), "1", "the other asset");
    drop(home);
}
