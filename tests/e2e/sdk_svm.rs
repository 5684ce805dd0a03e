//! The official packages get their paid resource on Solana with this service
//! as the only facilitator, unpatched: newer and older ones, and newer buyers
//! at older shops; tokens of both token programs.

use e2e::{sdk, service::Home, validator::Validator};

#[tokio::test(flavor = "multi_thread")]
async fn the_official_packages_pay_on_solana_in_every_way_they_know() {
    let validator = Validator::start().await;
    let home = Home::on(&validator);
    let service = home.serve().await;
    let (good, printed) = sdk::buy_on_solana(&[], &service.url, validator.chain.url()).await;
    assert!(good, "{printed}\n{}", home.log());
    assert_eq!(printed.lines().count(), 14, "{printed}");
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}
