//! The official SDKs get their paid resource with this service as the only
//! facilitator, unpatched.

use e2e::{
    anvil::{Anvil, GAS_WALLET_KEY, PAYEE, PAYER, PERMIT_ERC20, PLAIN_ERC20, USDC, WALLET_FACTORY},
    permit2::allow,
    sdk,
    service::{
        Home,
        config::{asset, permit2_asset},
    },
};

async fn official_client_pays(protocol: &str) {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let (received, printed) = sdk::pay(protocol, &service.url, &chain.node.url).await;
    assert!(received, "{printed}\n{}", home.log());
    assert!(chain.node.token_balance(USDC, PAYEE).await > 0, "the payee is paid: {printed}");
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn official_v2_client_pays_official_v2_server() {
    official_client_pays("v2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn official_v1_client_pays_official_v1_server() {
    official_client_pays("v1").await;
}

/// The official v2 packages buy in these ways, each with an effect on the chain that they are to have.
async fn official_packages_pay(ways: &[&str]) {
    let chain = Anvil::start_with(&[]).await;
    let home = Home::on(&chain).asset(asset(USDC)).asset(permit2_asset(PERMIT_ERC20));
    let service = home.serve().await;
    let (good, printed) = sdk::buy(ways, &service.url, &chain.node.url, &[]).await;
    assert!(good, "{printed}\n{}", home.log());
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smart_wallet_pays() {
    official_packages_pay(&["eip1271-eip3009", "eip1271-permit2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_who_approved_permit2_pays_with_any_token() {
    official_packages_pay(&["permit2", "permit2-no-allowance"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_signs_a_ceiling_and_pays_what_was_used() {
    official_packages_pay(&["upto", "upto-all", "upto-nothing", "upto-no-allowance"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_stands_in_for_the_approval() {
    official_packages_pay(&["permit2-eip2612", "permit2-eip2612-alone", "upto-eip2612"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_buyer_and_seller_understand_is_in_nobody_s_way() {
    official_packages_pay(&["payment-identifier"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn official_python_client_pays_official_python_server() {
    let chain = Anvil::start_with(&[]).await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    allow(&chain, PAYER, u128::MAX).await;
    let arguments: [&[&str]; 3] = [&[], &["--permit2-asset", USDC], &["--permit2-asset", USDC, "--scheme", "upto"]];
    for more in arguments {
        let before = chain.node.token_balance(USDC, PAYEE).await;
        let (received, printed) = sdk::pay_in_python(&service.url, &chain.node.url, more).await;
        assert!(received, "{more:?}: {printed}\n{}", home.log());
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, before + 10_000, "{more:?}: {printed}");
    }
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_answers_are_given() {
    let runs: [(Vec<&str>, &[&str]); 2] = [(vec![], &[]), (vec![WALLET_FACTORY], &["--factory-allowed"])];
    for (factories, more) in runs {
        let chain = Anvil::start_with(&[]).await;
        let home = Home::on(&chain).network("erc6492_factories", factories);
        let service = home.serve().await;
        let (good, printed) = sdk::golden(&service.url, &chain.node.url, GAS_WALLET_KEY, more).await;
        assert!(good, "{more:?}: {printed}\n{}", home.log());
        let (code, text) = home.audit();
        assert_eq!(code, 0, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_is_deployed_by_its_first_payment_and_the_builders_are_named() {
    let chain = Anvil::start().await;
    let home =
        Home::on(&chain).network("erc6492_factories", vec![WALLET_FACTORY]).network("builder_code", "our_wallet");
    let service = home.serve().await;
    let more = ["--facilitator-code", "our_wallet"];
    let (good, printed) = sdk::buy(&["eip6492", "builder-code"], &service.url, &chain.node.url, &more).await;
    assert!(good, "{printed}\n{}", home.log());
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_without_gas_money_pays_with_a_token_that_knows_approvals_only() {
    let chain = Anvil::start().await;
    let mut plain = permit2_asset(PLAIN_ERC20);
    plain.insert("eip2612".to_owned(), false.into());
    let home = Home::on(&chain)
        .network("sponsor_erc20_approval", true)
        .network("sponsor_funding_max", "1000000000000000")
        .network("sponsor_funding_per_hour_max", "10000000000000000")
        .asset(plain);
    let service = home.serve().await;
    let ways = ["permit2-erc20-approval", "permit2-erc20-approval-no-gas-money", "upto-erc20-approval-no-gas-money"];
    let (good, printed) = sdk::buy(&ways, &service.url, &chain.node.url, &[]).await;
    assert!(good, "{printed}\n{}", home.log());
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}
