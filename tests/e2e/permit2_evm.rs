//! A payment by Permit2 in scheme `exact` is judged and settled as the protocol says.

use alloy::{
    primitives::{U256, uint},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use chains_core::Amount;
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, PAYER, USDC},
    eventually,
    node::parse_quantity,
    payer::{Draft, now},
    permit2::{EXACT_PROXY, PERMIT2, Permit2Draft, UPTO_PROXY, allow, allowance},
    service::{Answer, Home, config::permit2_asset},
};
use serde_json::{Value, json};

const OTHER: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

#[tokio::test(flavor = "multi_thread")]
async fn a_good_payment_is_verified_settled_and_paid_exactly_once() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let draft = Permit2Draft::default();
    allow(&chain, &draft.from, u128::MAX).await;
    let before = chain.node.token_balance(USDC, PAYEE).await;
    let body = draft.body();
    let verified = service.post("/verify", &body).await;
    assert_eq!((verified.status, verified.is_good()), (200, true), "{verified:?}\n{}", home.log());
    assert_eq!(verified.text("payer"), draft.from);
    let settled = service.post("/settle", &body).await;
    assert_eq!((settled.status, settled.is_good()), (200, true), "{settled:?}\n{}", home.log());
    assert_eq!((settled.text("amount"), settled.text("network")), ("10000", "eip155:84532"));
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, before + 10_000);
    let again = service.post("/verify", &body).await;
    assert_eq!(again.text("invalidReason"), "permit2_simulation_failed", "{again:?}");
    assert!(again.text("invalidMessage").contains("InvalidNonce"), "{again:?}");
    let twice = service.post("/settle", &body).await;
    assert_eq!(twice.text("errorReason"), "duplicate_settlement", "{twice:?}");
    assert_eq!(twice.text("transaction"), settled.text("transaction"));
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    // The first settlement also pays for storage that every later one finds.
    let second = service.post("/settle", &Permit2Draft::default().body()).await;
    assert!(second.is_good(), "{second:?}");
    let gas = gas_of(&chain, &second).await;
    assert!(gas <= 98_000, "{gas}");
    assert_eq!(home.audit().0, 0);
}

async fn gas_of(chain: &Anvil, settled: &Answer) -> u128 {
    let receipt = chain.node.call("eth_getTransactionReceipt", json!([settled.text("transaction")])).await;
    parse_quantity(&receipt["gasUsed"])
}

/// One wrong thing about a good payment, and the code that it gets.
struct Case {
    name: &'static str,
    spoil: fn(&mut Permit2Draft),
    alter: fn(&mut Value),
    code: &'static str,
}

const fn case(name: &'static str, spoil: fn(&mut Permit2Draft), alter: fn(&mut Value), code: &'static str) -> Case {
    Case { name, spoil, alter, code }
}

fn leave(_: &mut Permit2Draft) {}
fn keep(_: &mut Value) {}

fn requirements(body: &mut Value, key: &str, value: Value) {
    body["paymentRequirements"][key] = value;
}

fn authorization<'a>(body: &'a mut Value, pointer: &str) -> &'a mut Value {
    body.pointer_mut(&format!("/paymentPayload/payload/permit2Authorization{pointer}")).expect("a place")
}

fn high_s(body: &mut Value) {
    let order = uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
    let signature = &mut body["paymentPayload"]["payload"]["signature"];
    let mut bytes = hex::decode(&signature.as_str().expect("text")[2..]).expect("hex");
    let s = order - U256::from_be_slice(&bytes[32..64]);
    bytes[32..64].copy_from_slice(&s.to_be_bytes::<32>());
    bytes[64] = 55 - bytes[64];
    *signature = json!(format!("0x{}", hex::encode(bytes)));
}

fn cases() -> Vec<Case> {
    let signature = "invalid_permit2_signature";
    vec![
        case(
            "scheme of the buyer",
            leave,
            |b| b["paymentPayload"]["accepted"]["scheme"] = json!("upto"),
            "unsupported_payload_type",
        ),
        case(
            "network of the buyer",
            leave,
            |b| b["paymentPayload"]["accepted"]["network"] = json!("eip155:8453"),
            "invalid_exact_evm_network_mismatch",
        ),
        case("spender", leave, |b| *authorization(b, "/spender") = json!(UPTO_PROXY), "invalid_permit2_spender"),
        case(
            "B01 payTo of the requirements",
            leave,
            |b| requirements(b, "payTo", json!(OTHER)),
            "invalid_permit2_recipient_mismatch",
        ),
        case("expired", |d| d.order.deadline = now() - 1, keep, "permit2_deadline_expired"),
        case("about to expire", |d| d.order.deadline = now() + 3, keep, "permit2_deadline_expired"),
        case("not valid yet", |d| d.order.valid_after = now() + 600, keep, "permit2_not_yet_valid"),
        case("amount differs", |d| d.amount = Some(9_999), keep, "permit2_amount_mismatch"),
        case(
            "B02 another token",
            leave,
            |b| *authorization(b, "/permitted/token") = json!(OTHER),
            "permit2_token_mismatch",
        ),
        case("C04 nonce changed after signing", leave, |b| *authorization(b, "/nonce") = json!("7"), signature),
        case(
            "C04 deadline changed after signing",
            leave,
            |b| *authorization(b, "/deadline") = json!((now() + 7200).to_string()),
            signature,
        ),
        case("C04 payer changed after signing", leave, |b| *authorization(b, "/from") = json!(OTHER), signature),
        case("C04 another chain", |d| d.order.chain_id = 8453, keep, signature),
        case("C01 high s", leave, high_s, signature),
        case(
            "C04 a byte behind",
            leave,
            |b| {
                let signature = &mut b["paymentPayload"]["payload"]["signature"];
                *signature = json!(format!("{}00", signature.as_str().expect("text")));
            },
            signature,
        ),
        case(
            "more than the balance",
            |d| d.order.amount = Amount::from(2_000_000_000_000_u64),
            keep,
            "permit2_insufficient_balance",
        ),
        case(
            "nothing allowed",
            |d| *d = d.clone().of(&PrivateKeySigner::from_slice(&[0x42; 32]).expect("a key")),
            keep,
            "permit2_allowance_required",
        ),
        case("B04 nothing", |d| d.order.amount = Amount::ZERO, keep, "invalid_payment_requirements"),
        case("B05 dust", |d| d.order.amount = Amount::from(1_u64), keep, "invalid_payment_requirements"),
        case("B05 to oneself", |d| d.order.pay_to = d.from.clone(), keep, "invalid_payment_requirements"),
        case("B05 to the token", |d| d.order.pay_to = USDC.into(), keep, "invalid_payment_requirements"),
        case("B05 to a gas wallet", |d| d.order.pay_to = GAS_WALLET.into(), keep, "invalid_payment_requirements"),
        case(
            "B02 D01 asset not allowed",
            leave,
            |b| requirements(b, "asset", json!(OTHER)),
            "invalid_payment_requirements",
        ),
        case("no witness", leave, |b| *authorization(b, "/witness") = json!(null), "invalid_payload"),
        case(
            "A09 nonce of 33 bytes",
            leave,
            |b| *authorization(b, "/nonce") = json!(format!("0x{}", "1".repeat(66))),
            "invalid_payload",
        ),
        case(
            "C11 endless signature",
            leave,
            |b| b["paymentPayload"]["payload"]["signature"] = json!(format!("0x{}", "11".repeat(5000))),
            "invalid_payload",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_payment_gets_the_protocol_s_code_and_spends_nothing() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    allow(&chain, PAYER, u128::MAX).await;
    let poor = PrivateKeySigner::from_slice(&[0x42; 32]).expect("a key");
    chain.mint(&poor.address().to_checksum(None), 1_000_000).await;
    for case in cases() {
        let mut draft = Permit2Draft::default();
        (case.spoil)(&mut draft);
        let mut body = draft.body();
        (case.alter)(&mut body);
        let verified = service.post("/verify", &body).await;
        assert_eq!(verified.status, 200, "{}: {verified:?}", case.name);
        assert_eq!(verified.text("invalidReason"), case.code, "{}: {verified:?}", case.name);
        assert!(verified.body["payer"].is_string() && !verified.text("invalidMessage").is_empty());
        // B11: settle judges for itself.
        let settled = service.post("/settle", &body).await;
        assert_eq!(settled.status, 200, "{}: {settled:?}", case.name);
        assert_eq!(settled.text("errorReason"), case.code, "{}: {settled:?}", case.name);
        assert_eq!(settled.body["transaction"], "", "{}", case.name);
    }
    let mut v1 = Draft::default().v1();
    v1["paymentPayload"]["payload"] = Permit2Draft::default().payload();
    let verified = service.post("/verify", &v1).await;
    assert_eq!(verified.text("invalidReason"), "unsupported_payload_type", "v1 knows no Permit2: {verified:?}");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0, "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_that_comes_along_is_the_allowance() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let body = Permit2Draft::default().with_permit().body();
    let verified = service.post("/verify", &body).await;
    assert!(verified.is_good(), "{verified:?}");
    let settled = service.post("/settle", &body).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
    assert!(allowance(&chain, PAYER).await.is_zero(), "nothing is left behind");
    // The permit is spent: the next payment with it has no allowance.
    let late = Permit2Draft::default().with_permit().body();
    assert_eq!(service.post("/verify", &late).await.text("invalidReason"), "permit2_allowance_required");
    assert_eq!(home.audit().0, 0);
}

/// D10.
#[tokio::test(flavor = "multi_thread")]
async fn a_permit_spent_by_somebody_else_is_no_hindrance() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let draft = Permit2Draft::default().with_permit();
    chain.send_and_mine(OTHER, USDC, &draft.permit_calldata()).await;
    assert_eq!(allowance(&chain, PAYER).await, draft.order.amount);
    let body = draft.body();
    assert!(service.post("/verify", &body).await.is_good());
    let settled = service.post("/settle", &body).await;
    assert!(settled.is_good(), "{settled:?}");
    let sent = chain.node.call("eth_getTransactionByHash", json!([settled.text("transaction")])).await;
    assert!(sent["input"].as_str().is_some_and(|input| input.starts_with("0x13cd3b53")), "plain `settle`");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_permit_gets_its_code_and_spends_nothing() {
    type Change = fn(&mut Value);
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let cases: [(Change, &str); 8] = [
        (|info| info["from"] = json!(OTHER), "eip2612_from_mismatch"),
        (|info| info["asset"] = json!(OTHER), "eip2612_asset_mismatch"),
        (|info| info["spender"] = json!(EXACT_PROXY), "eip2612_spender_not_permit2"),
        (|info| info["deadline"] = json!("1"), "eip2612_deadline_expired"),
        (|info| info["amount"] = json!("10001"), "permit2_2612_amount_mismatch"),
        (|info| info["signature"] = json!("0x12"), "invalid_eip2612_extension_format"),
        (|info| info["signature"] = json!(format!("0x{}1b", "11".repeat(64))), "permit2_allowance_required"),
        (|info| info["version"] = json!(""), "permit2_allowance_required"),
    ];
    for (change, code) in cases {
        let mut body = Permit2Draft::default().with_permit().body();
        change(&mut body["paymentPayload"]["extensions"]["eip2612GasSponsoring"]["info"]);
        assert_eq!(service.post("/verify", &body).await.text("invalidReason"), code);
        assert_eq!(service.post("/settle", &body).await.text("errorReason"), code);
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0);
    let home = Home::on(&chain).network("sponsor_eip2612", false);
    let service = home.serve().await;
    let refused = service.post("/verify", &Permit2Draft::default().with_permit().body()).await;
    assert_eq!(refused.text("invalidReason"), "permit2_allowance_required", "the operator sponsors nothing");
    assert!(!service.get("/supported").await.body["extensions"].to_string().contains("eip2612"));
}

/// E01: the same settlement, sent by somebody else with a higher tip, as it is and among other calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_executed_by_a_stranger_after_our_claim_is_our_success_once() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = std::sync::Arc::new(home.serve().await);
    allow(&chain, PAYER, u128::MAX).await;
    for wrapped in [false, true] {
        let before = chain.node.token_balance(USDC, PAYEE).await;
        chain.node.stop_blocks().await;
        let draft = Permit2Draft::default();
        let waiting = tokio::spawn({
            let (service, body) = (std::sync::Arc::clone(&service), draft.body());
            async move { service.post("/settle", &body).await }
        });
        pending_transaction(&chain).await;
        let data = draft.settle_calldata();
        let (to, data) = if wrapped { (MULTICALL3, among_others(&data)) } else { (EXACT_PROXY, data) };
        let copy = json!([{
            "from": OTHER, "to": to, "data": data, "gas": "0x200000",
            "maxFeePerGas": "0x174876e800", "maxPriorityFeePerGas": "0x174876e800",
        }]);
        let foreign = chain.node.call("eth_sendTransaction", copy).await;
        chain.node.mine().await;
        chain.node.resume_blocks().await;
        let settled = waiting.await.expect("no panic");
        assert!(settled.is_good(), "wrapped {wrapped}: {settled:?}\n{}", home.log());
        assert_eq!(json!(settled.text("transaction")), foreign, "with the transaction that did it");
        let again = service.post("/settle", &draft.body()).await;
        assert_eq!(again.text("errorReason"), "duplicate_settlement");
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, before + 10_000);
    }
    assert_eq!(home.audit().0, 0);
}

const MULTICALL3: &str = "0xcA11bde05977b3631167028862bE2a173976CA11";

/// Calldata by which Multicall3 makes this call of the proxy, after one that fails.
fn among_others(data: &str) -> String {
    alloy::sol! {
        struct Call { address target; bytes callData; }
        function tryAggregate(bool requireSuccess, Call[] calls) external;
    }
    let target = EXACT_PROXY.parse().expect("an address");
    let calls = ["", &data[2..]].map(|data| Call { target, callData: hex::decode(data).expect("hex").into() });
    let call = tryAggregateCall { requireSuccess: false, calls: calls.into() };
    format!("0x{}", hex::encode(call.abi_encode()))
}

/// D12: the payer takes back the nonce, the allowance or the money in the same block, before us.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_taken_back_before_its_block_is_failed_with_its_reason() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = std::sync::Arc::new(home.serve().await);
    allow(&chain, PAYER, u128::MAX).await;
    for (name, code) in [("nonce", "permit2_invalid_nonce"), ("allowance", "invalid_exact_evm_transaction_failed")] {
        let draft = Permit2Draft::default();
        let (to, data) = match name {
            "nonce" => (PERMIT2, draft.invalidate_calldata()),
            _ => (USDC, format!("0x095ea7b3{:0>64}{:064}", &PERMIT2[2..], 0)),
        };
        chain.node.stop_blocks().await;
        let waiting = tokio::spawn({
            let (service, body) = (std::sync::Arc::clone(&service), draft.body());
            async move { service.post("/settle", &body).await }
        });
        pending_transaction(&chain).await;
        let first = json!([{
            "from": PAYER, "to": to, "data": data, "gas": "0x200000", "maxFeePerGas": "0x174876e800",
            "maxPriorityFeePerGas": "0x174876e800",
        }]);
        chain.node.call("eth_sendTransaction", first).await;
        chain.node.mine().await;
        chain.node.resume_blocks().await;
        let settled = waiting.await.expect("no panic");
        assert_eq!(settled.text("errorReason"), code, "{name}: {settled:?}\n{}", home.log());
        assert_eq!(settled.text("transaction").len(), 66, "{name}: it did land");
    }
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 0);
    assert_eq!(home.audit().0, 0);
}

async fn pending_transaction(chain: &Anvil) {
    eventually("our transaction waits for its block", || async {
        let pool = chain.node.call("txpool_status", json!([])).await;
        (parse_quantity(&pool["pending"]) == 1).then_some(())
    })
    .await;
}

/// C07, C08, D08: payers with code, honest and not.
#[tokio::test(flavor = "multi_thread")]
async fn a_smart_wallet_pays_when_it_accepts_the_signature() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let wallets = [
        ("OwnerWallet", include_str!("../contracts/out/OwnerWallet.hex"), ""),
        ("RevertingWallet", include_str!("../contracts/out/RevertingWallet.hex"), "invalid_permit2_signature"),
        ("GasBurnerWallet", include_str!("../contracts/out/GasBurnerWallet.hex"), "invalid_permit2_signature"),
        ("ReturnBombWallet", include_str!("../contracts/out/ReturnBombWallet.hex"), ""),
    ];
    for (name, code, expected) in wallets {
        let wallet = chain.deploy(&format!("{}{:0>64}", code.trim_end(), &PAYER[2..])).await;
        chain.mint(&wallet, 1_000_000).await;
        allow(&chain, &wallet, u128::MAX).await;
        let draft = Permit2Draft { from: wallet, ..Permit2Draft::default() };
        let verified = service.post("/verify", &draft.body()).await;
        assert_eq!(verified.text("invalidReason"), expected, "{name}: {verified:?}");
        let settled = service.post("/settle", &draft.body()).await;
        assert_eq!(settled.text("errorReason"), expected, "{name}: {settled:?}");
        let foreign = Permit2Draft { from: draft.from, ..Permit2Draft::default().of(&PrivateKeySigner::random()) };
        let verified = service.post("/verify", &foreign.body()).await;
        let foreign_expected = if name == "ReturnBombWallet" { "" } else { "invalid_permit2_signature" };
        assert_eq!(verified.text("invalidReason"), foreign_expected, "{name} of another owner: {verified:?}");
    }
    let delegated = PrivateKeySigner::random();
    let account = delegated.address().to_checksum(None);
    chain.mint(&account, 1_000_000).await;
    allow(&chain, &account, u128::MAX).await;
    let delegate = chain.deploy(include_str!("../contracts/out/Eip7702Delegate.hex").trim_end()).await;
    chain.node.call("anvil_setCode", json!([account, format!("0xef0100{}", &delegate[2..])])).await;
    let draft = Permit2Draft::default().of(&delegated);
    assert!(service.post("/settle", &draft.body()).await.is_good(), "C08");
    assert_eq!(home.audit().0, 0);
}

/// D02, D04: tokens that do not do what they say, allowed by a careless operator.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_moves_another_amount_is_found_out_before_it_is_paid_for() {
    let chain = Anvil::start().await;
    let tokens = [
        ("FeeOnTransferUsdc", include_str!("../contracts/out/FeeOnTransferUsdc.runtime.hex")),
        ("IdleUsdc", include_str!("../contracts/out/IdleUsdc.runtime.hex")),
        ("FakeEventUsdc", include_str!("../contracts/out/FakeEventUsdc.runtime.hex")),
        ("ShortUsdc", include_str!("../contracts/out/ShortUsdc.runtime.hex")),
    ];
    let (mut home, mut addresses) = (Home::on(&chain), vec![]);
    for (i, (name, code)) in tokens.into_iter().enumerate() {
        let address = format!("0x00000000000000000000000000000000000bad{i:02x}");
        chain.node.call("anvil_setCode", json!([address, format!("0x{}", code.trim_end())])).await;
        let mint = format!("0x40c10f19{:0>64}{:064x}", &PAYER[2..], 1_000_000);
        chain.send_and_mine(OTHER, &address, &mint).await;
        let approve = format!("0x095ea7b3{:0>64}{}", &PERMIT2[2..], "f".repeat(64));
        chain.send_and_mine(PAYER, &address, &approve).await;
        home = home.asset(permit2_asset(&address));
        addresses.push((name, address));
    }
    let service = home.serve().await;
    for (name, address) in addresses {
        let mut draft = Permit2Draft::default();
        draft.order.asset = address;
        for answer in [service.post("/verify", &draft.body()).await, service.post("/settle", &draft.body()).await] {
            let reason = [answer.text("invalidReason"), answer.text("errorReason")].concat();
            let lies = ["invalid_exact_evm_transfer_event_mismatch", "permit2_simulation_failed"];
            assert!(lies.contains(&reason.as_str()), "{name}: {answer:?}");
        }
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_eip3009_is_paid_with_by_permit2_only() {
    let chain = Anvil::start().await;
    let token = "0x00000000000000000000000000000000000e2000";
    let code = include_str!("../contracts/out/PlainErc20.runtime.hex");
    chain.node.call("anvil_setCode", json!([token, format!("0x{}", code.trim_end())])).await;
    let mint = format!("0x40c10f19{:0>64}{:064x}", &PAYER[2..], 1_000_000);
    chain.send_and_mine(OTHER, token, &mint).await;
    let approve = format!("0x095ea7b3{:0>64}{}", &PERMIT2[2..], "f".repeat(64));
    chain.send_and_mine(PAYER, token, &approve).await;
    let mut plain = permit2_asset(token);
    plain.insert("eip2612".to_owned(), false.into());
    let home = Home::on(&chain).asset(plain);
    let service = home.serve().await;
    let mut draft = Permit2Draft::default();
    draft.order.asset = token.to_owned();
    assert!(service.post("/settle", &draft.body()).await.is_good());
    assert_eq!(chain.node.token_balance(token, PAYEE).await, 10_000);
    let mut by_eip3009 = Draft::default().v2();
    by_eip3009["paymentRequirements"]["asset"] = json!(token);
    let refused = service.post("/verify", &by_eip3009).await;
    assert_eq!(refused.text("invalidReason"), "invalid_exact_evm_eip3009_not_supported", "{refused:?}");
    let kinds = service.get("/supported").await.body["kinds"].clone();
    let named: Vec<_> = kinds.as_array().expect("kinds").iter().map(|k| (&k["x402Version"], &k["scheme"])).collect();
    assert_eq!(named, [(&json!(2), &json!("exact")), (&json!(2), &json!("upto"))], "v1 knows EIP-3009 only");
}

/// D14.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_on_the_chain_is_not_announced_and_refused() {
    let chain = Anvil::start().await;
    for address in [EXACT_PROXY, UPTO_PROXY] {
        chain.node.call("anvil_setCode", json!([address, "0x"])).await;
    }
    let home = Home::on(&chain);
    let service = home.serve().await;
    let supported = service.get("/supported").await.body;
    let kinds = supported["kinds"].as_array().expect("kinds");
    assert!(kinds.iter().all(|kind| kind["scheme"] == "exact") && kinds.len() == 2, "{supported}");
    assert!(!supported["extensions"].to_string().contains("eip2612"), "{supported}");
    for draft in [Permit2Draft::default(), Permit2Draft::upto(10_000)] {
        let refused = service.post("/settle", &draft.body()).await;
        assert_eq!(refused.text("errorReason"), "permit2_proxy_not_deployed", "{refused:?}");
    }
    assert!(service.post("/settle", &Draft::default().v2()).await.is_good(), "EIP-3009 needs none of it");
}
