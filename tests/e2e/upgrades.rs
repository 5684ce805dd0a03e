//! A token that becomes another one is noticed, and paid with no more until somebody has looked.

use alloy::primitives::Address;
use chains_svm::local::{self as svm, Pubkey};
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, PAYER, USDC},
    eventually,
    payer::Draft,
    permit2::{PERMIT2, Permit2Draft},
    proxy::{Fault, Proxy, Times},
    service::{
        Answer, Home, Service,
        config::{asset, table},
    },
    validator::Validator,
};
use serde_json::{Value, json};
use toml::Table;

/// A proxy by EIP-1967; what it delegates to is USDC's code here, or a copy of it there.
const PROXIED: &str = "0x00000000000000000000000000000000c0de1967";
const COPY: &str = "0x000000000000000000000000000000000000c09e";
const ENDLESS: &str = "0x0000000000000000000000000000000000e4d1e5";
const SLOT: &str = "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc";

async fn start() -> Anvil {
    let chain = Anvil::start().await;
    let proxy = include_str!("../contracts/out/UpgradeableUsdc.runtime.hex").trim_end();
    let token = include_str!("../../chains/evm/contracts/out/DemoUsdc.runtime.hex").trim_end();
    for (address, code) in [(PROXIED, proxy), (COPY, token)] {
        chain.node.call("anvil_setCode", json!([address, format!("0x{code}")])).await;
    }
    upgrade(&chain, USDC).await;
    let mint = format!("0x40c10f19{:0>64}{:064x}", &PAYER[2..], 1_000_000);
    let approve = format!("0x095ea7b3{:0>64}{}", &PERMIT2[2..], "f".repeat(64));
    for data in [mint, approve] {
        chain.send_and_mine(PAYER, PROXIED, &data).await;
    }
    chain
}

/// Upgrades the proxy, as whoever administers it may do at any time.
async fn upgrade(chain: &Anvil, implementation: &str) {
    let word = format!("0x{:0>64}", &implementation[2..]);
    chain.node.call("anvil_setStorageAt", json!([PROXIED, SLOT, word])).await;
}

/// A configuration that takes the proxied token, and USDC as well.
fn home(chain: &Anvil, proxied: Table) -> Home {
    Home::on(chain).network("recheck_interval", "1s").asset(proxied).asset(asset(USDC))
}

/// A payment in the proxied token, by EIP-3009.
fn by_eip3009() -> Value {
    let mut draft = Draft::default();
    draft.domain.verifying_contract = Some(PROXIED.parse::<Address>().expect("an address"));
    let mut body = draft.v2();
    for pointer in ["/paymentRequirements/asset", "/paymentPayload/accepted/asset"] {
        *body.pointer_mut(pointer).expect("a place") = json!(PROXIED);
    }
    body
}

/// The same by Permit2.
fn by_permit2() -> Value {
    let mut draft = Permit2Draft::default();
    PROXIED.clone_into(&mut draft.order.asset);
    draft.body()
}

async fn detail(service: &Service) -> String {
    service.get("/ready").await.body.to_string()
}

fn code(answer: &Answer) -> &str {
    answer.text(if answer.body["isValid"].is_boolean() { "invalidReason" } else { "errorReason" })
}

/// A token that is not what the configuration says is no reason against the others.
#[tokio::test(flavor = "multi_thread")]
async fn one_asset_s_flaw_suspends_that_asset_and_no_other() {
    let chain = Anvil::start().await;
    // There is nothing at one address; another answers nothing but zeros; and one never ends.
    for (address, code) in [(COPY, "60206000f3"), (ENDLESS, "5b600056")] {
        chain.node.call("anvil_setCode", json!([address, format!("0x{code}")])).await;
    }
    let home = Home::on(&chain).network("recheck_interval", "200ms");
    let home = [PROXIED, USDC, COPY, ENDLESS].into_iter().fold(home, |home, address| home.asset(asset(address)));
    let service = home.serve().await;
    let ready = service.get("/ready").await;
    let said = ready.body.to_string();
    assert!(ready.status == 200 && said.contains("has no code") && said.contains("DOMAIN_SEPARATOR"), "{ready:?}");
    let refused = service.post("/settle", &by_eip3009()).await;
    assert_eq!(code(&refused), "asset_suspended", "{refused:?}");
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good(), "the other one is as before");

    let token = include_str!("../../chains/evm/contracts/out/DemoUsdc.runtime.hex").trim_end();
    chain.node.call("anvil_setCode", json!([PROXIED, format!("0x{token}")])).await;
    eventually("the asset is what the configuration says", || async {
        let answer = service.post("/verify", &by_eip3009()).await;
        (code(&answer) != "asset_suspended").then_some(())
    })
    .await;
}

/// The other mint does not exist for a while, in the eyes of every node.
#[tokio::test(flavor = "multi_thread")]
async fn one_mint_s_flaw_suspends_that_mint_and_no_other_on_solana() {
    let validator = Validator::start().await;
    let proxy = Proxy::before(validator.chain.url()).await;
    let mint =
        |mint: Pubkey| table([("mint", mint.to_string().into()), ("symbol", "T".into()), ("decimals", 6.into())]);
    let home = Home::on(&validator).rpc(&[&proxy.url]).network("recheck_interval", "200ms");
    let home = home.asset(mint(svm::USDC)).asset(mint(svm::PYUSD));
    let pay = async |service: &Service, mint| {
        let mut draft = e2e::svm::Draft::default();
        draft.order.mint = mint;
        service.post("/settle", &draft.body(&validator.chain, 2).await).await
    };
    proxy.lie("getMultipleAccounts", |params, mut honest| {
        let is_look = params[0].as_array().is_some_and(|asked| asked.contains(&json!(svm::PYUSD.to_string())));
        if is_look && params[0].as_array().is_some_and(|asked| asked.len() == 2) {
            honest["value"][1] = Value::Null;
        }
        honest
    });
    let service = home.serve().await;
    let ready = service.get("/ready").await;
    assert!(ready.status == 200 && ready.body.to_string().contains("does not exist"), "{ready:?}\n{}", home.log());
    let refused = pay(&service, svm::PYUSD).await;
    assert_eq!((refused.status, code(&refused)), (200, "asset_suspended"), "{refused:?}");
    assert!(pay(&service, svm::USDC).await.is_good(), "the other one is as before");
    assert!(home.metric("asset_suspended").await >= 1.0);

    proxy.heal();
    eventually("the mint is what the configuration says", || async {
        pay(&service, svm::PYUSD).await.is_good().then_some(())
    })
    .await;
    assert!(home.metric("asset_suspended").await < 1.0);
    home.assert_audit();
}

/// A node may run a call for seconds and give up: geth does so by its clock, not by gas.
#[tokio::test(flavor = "multi_thread")]
async fn an_asset_about_which_no_node_answers_is_suspended_alone_until_one_does() {
    let chain = start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    proxy.refuse_when("eth_call", |params| {
        let is_about_it = params[0]["to"].as_str().is_some_and(|to| to.eq_ignore_ascii_case(PROXIED));
        is_about_it.then(|| (-32000, "execution aborted (timeout = 5s)".to_owned()))
    });
    let home = home(&chain, asset(PROXIED)).rpc(&[&proxy.url]).network("recheck_interval", "200ms");
    let service = home.serve().await;
    let ready = service.get("/ready").await;
    assert!(ready.status == 200 && ready.body.to_string().contains("no node answers"), "{ready:?}");
    assert_eq!(code(&service.post("/settle", &by_eip3009()).await), "asset_suspended", "{}", home.log());
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good(), "the other one is paid with");
    proxy.heal();
    eventually("the asset is paid with", || async {
        service.post("/settle", &by_eip3009()).await.is_good().then_some(())
    })
    .await;
}

/// D07.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_token_is_suspended_alone_until_it_is_what_it_was() {
    let chain = start().await;
    let home = home(&chain, asset(PROXIED));
    let service = home.serve().await;
    for body in [by_eip3009(), by_permit2()] {
        assert!(service.post("/settle", &body).await.is_good(), "{}", home.log());
    }
    let sent = chain.node.transactions_of(GAS_WALLET).await;
    upgrade(&chain, COPY).await;
    eventually("the upgrade is noticed", || async { detail(&service).await.contains("upgraded").then_some(()) }).await;
    for body in [by_eip3009(), by_permit2()] {
        for path in ["/verify", "/settle"] {
            let refused = service.post(path, &body).await;
            assert_eq!((refused.status, code(&refused)), (200, "asset_suspended"), "{path}: {refused:?}");
        }
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, sent, "no gas is spent");
    assert_eq!(service.get("/ready").await.status, 200, "the network works");
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good(), "another token still pays");
    for part in [COPY, USDC, "restart"] {
        assert!(detail(&service).await.to_lowercase().contains(&part.to_lowercase()), "{part}");
    }
    assert!(home.metric("asset_suspended").await >= 1.0 && home.log().contains("was upgraded"));

    upgrade(&chain, USDC).await;
    eventually("it is what it was", || async { (!detail(&service).await.contains("upgraded")).then_some(()) }).await;
    assert!(service.post("/settle", &by_eip3009()).await.is_good());
    assert!(home.metric("asset_suspended").await < 1.0);
    assert_eq!(home.audit().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_wants_a_warning_gets_one_and_payments_go_on() {
    let chain = start().await;
    let home = home(&chain, asset(PROXIED)).network("token_upgrades", "warn");
    let service = home.serve().await;
    upgrade(&chain, COPY).await;
    eventually("the upgrade is noticed", || async { detail(&service).await.contains("upgraded").then_some(()) }).await;
    assert!(service.post("/settle", &by_eip3009()).await.is_good());
}

/// One node that shows something else does not suspend a token.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lies_about_a_token_is_not_believed_alone() {
    let chain = start().await;
    let liar = Proxy::before(&chain.node.url).await;
    let home = home(&chain, asset(PROXIED)).rpc(&[&chain.node.url, &liar.url]);
    let service = home.serve().await;
    liar.fail("eth_getStorageAt", Fault::Replace(json!(format!("0x{:0>64}", &COPY[2..]))), Times::Always);
    eventually("the looks differ", || async { home.log().contains("do not agree").then_some(()) }).await;
    assert!(!detail(&service).await.contains("upgraded"));
    assert!(service.post("/settle", &by_eip3009()).await.is_good());
}

/// An upgrade while the service is down.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_the_one_that_was_looked_at_is_not_paid_with() {
    let chain = start().await;
    let mut pinned = asset(PROXIED);
    pinned.insert("implementation".to_owned(), COPY.into());
    let home = home(&chain, pinned);
    let service = home.serve().await;
    let named = detail(&service).await.to_lowercase();
    assert!(named.contains(&USDC.to_lowercase()) && named.contains(COPY), "{named}");
    let refused = service.post("/settle", &by_eip3009()).await;
    assert_eq!(code(&refused), "asset_suspended", "{refused:?}");
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good(), "another token pays");
    let doctor = home.run(&["doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.status.code() == Some(2) && text.contains(&format!("implementation = \"{USDC}\"")), "{text}");
    upgrade(&chain, COPY).await;
    eventually("it is the one", || async { (!detail(&service).await.contains("upgraded")).then_some(()) }).await;
    assert!(service.post("/settle", &by_eip3009()).await.is_good());
    assert_eq!(chain.node.token_balance(PROXIED, PAYEE).await, 10_000);
}
