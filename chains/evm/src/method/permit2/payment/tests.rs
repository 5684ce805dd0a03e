//! Payments by Permit2 from their JSON to their verdict, against a node that
//! says what a test wants.

use std::sync::Arc;

use alloy::hex;
use chains_core::{
    Amount, Code,
    payment::Chosen,
    reason::{INVALID_PAYMENT_REQUIREMENTS, UNSUPPORTED_PAYLOAD_TYPE},
    scheme::Scheme,
};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    extension::sponsoring::eip2612,
    fake_node::{self, FakeNode, NOW, Say},
    local::{NETWORK, Payer, Permit2Order, PermitOrder, USDC},
    scheme::{exact::Exact, upto::Upto},
};

const SHOP: &str = "0x1111111111111111111111111111111111111111";
const GAS_WALLET: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

/// The lens's words on a settlement, and on one with a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lens {
    /// A payer with a key, enough money and allowance.
    Good,
    /// Nothing is allowed; with a permit it is good.
    NotAllowed,
    /// The nonce is used.
    Used,
    /// A payer whose contract accepts the signature.
    Wallet,
    /// A payer whose contract does not.
    StrangeWallet,
    Down,
}

/// Selectors of `settleWithPermit` in both proxies.
const WITH_PERMIT: [[u8; 4]; 2] = [[0xfa, 0x34, 0x03, 0x78], [0x01, 0x6c, 0x17, 0x48]];

fn record(lens: Lens, call: &[u8]) -> Vec<u8> {
    let with_permit = WITH_PERMIT.iter().any(|selector| call.starts_with(selector));
    let (known, enough) = (0x01 | 0x02 | 0x10 | 0x20, U256::MAX);
    let (flags, signature, allowance) = match lens {
        Lens::NotAllowed if with_permit => (known | 0x80, 0, U256::ZERO),
        Lens::NotAllowed => (known, 0, U256::ZERO),
        Lens::Used => (known | 0x40, 0, enough),
        Lens::Wallet => (known | 0x04 | 0x80, 1, enough),
        Lens::StrangeWallet => (known | 0x04, 2, enough),
        Lens::Good | Lens::Down => (known | 0x80, 0, enough),
    };
    let mut record = vec![flags, 0x01 | 0x02, signature, 1, 0, 1, 0, 0, 0];
    record.extend([0xff; 32]);
    record.extend(allowance.to_be_bytes::<32>());
    record
}

fn say(lens: Lens, params: &Value) -> Say {
    if lens == Lens::Down {
        return Say::Error(-32603, "internal error");
    }
    assert!(params[2].get(params[0]["to"].as_str().expect("text")).is_some(), "as the gas wallet itself");
    let data = hex::decode(params[0]["data"].as_str().expect("text")).expect("hex");
    let mut answer = vec![1, data[0]];
    let mut items = &data[1..];
    while !items.is_empty() {
        let size = usize::from(u16::from_be_bytes([items[181], items[182]]));
        let (item, rest) = items.split_at(185 + size);
        answer.extend(record(lens, &item[185..]));
        items = rest;
    }
    Say::Result(json!(hex::encode_prefixed(answer)))
}

struct World {
    node: FakeNode,
    context: Arc<Context>,
    lens: Arc<Mutex<Lens>>,
}

impl World {
    async fn new() -> Self {
        Self::with(true, true).await
    }

    /// Proxies of `exact` and of `upto` that were found, or not.
    async fn with(exact: bool, upto: bool) -> Self {
        let lens = Arc::new(Mutex::new(Lens::Good));
        let says = Arc::clone(&lens);
        let node = FakeNode::start(move |method, params| match method {
            "eth_getCode" => Say::Result(json!("0x6001")),
            _ => say(*says.lock(), params),
        })
        .await;
        let context = Arc::new(fake_node::context(&node));
        context.capabilities.found(exact, upto);
        Self { node, context, lens }
    }

    fn lens(&self, lens: Lens) {
        *self.lens.lock() = lens;
    }

    fn read(&self, payment: &Payment) -> Result<Box<dyn Authorization>, Code> {
        let context = || Arc::clone(&self.context);
        let upto = payment.payload.get("permit2Authorization").is_some_and(|a| a["witness"]["facilitator"].is_string());
        let read = if upto { Upto::new(context()).read(payment) } else { Exact::new(context()).read(payment) };
        read.map_err(|rejection| rejection.code)
    }

    async fn verdict(&self, payment: &Payment, occasion: Occasion) -> Result<VerifiedPayment, Option<Code>> {
        match self.read(payment).map_err(Some)?.verify(occasion).await {
            Verdict::Valid(verified) => Ok(verified),
            Verdict::Invalid(rejection) => Err(Some(rejection.code)),
            Verdict::Unavailable(_) => Err(None),
        }
    }

    async fn code(&self, payment: &Payment, occasion: Occasion) -> Option<Code> {
        self.verdict(payment, occasion).await.err().map(|code| code.expect("a verdict"))
    }
}

fn payer() -> Payer {
    Payer::numbered(1).expect("a payer")
}

fn exact() -> Permit2Order {
    Permit2Order::usdc(SHOP, Amount::from(10_000_u64), NOW + 60, [7; 32])
}

fn upto() -> Permit2Order {
    exact().upto(GAS_WALLET)
}

fn payment(order: &Permit2Order) -> Payment {
    let scheme = if order.facilitator.is_some() { "upto" } else { "exact" };
    Payment {
        scheme: scheme.into(),
        network: NETWORK.parse().expect("a network"),
        asset: USDC.into(),
        pay_to: SHOP.into(),
        amount: Amount::from(10_000_u64),
        extra: Map::new(),
        chosen: Chosen { scheme: scheme.into(), network: NETWORK.parse().ok() },
        payload: payer().sign_permit2(order).expect("signed"),
        extensions: Map::new(),
    }
}

fn charged(amount: u64) -> Payment {
    Payment { amount: Amount::from(amount), ..payment(&upto()) }
}

fn permitted(order: &Permit2Order) -> Payment {
    let permit = PermitOrder::usdc(order.amount, 0, NOW + 60);
    Payment { extensions: payer().sign_permit(&permit).expect("signed"), ..payment(order) }
}

fn plan(verified: &VerifiedPayment) -> TransferPlan {
    TransferPlan::from_body(verified.plan.body()).expect("a plan")
}

#[tokio::test]
async fn a_good_payment_is_planned_as_one_call_of_its_proxy() {
    let world = World::new().await;
    for (order, proxy, selector, method, wallet) in [
        (exact(), abi::EXACT_PROXY, [0x13, 0xcd, 0x3b, 0x53], Method::Permit2, None),
        (upto(), abi::UPTO_PROXY, [0xff, 0x11, 0xe7, 0xb4], Method::Upto, Some(GAS_WALLET.to_owned())),
    ] {
        let verified = world.verdict(&payment(&order), Occasion::Verify).await.expect("valid");
        let plan = plan(&verified);
        assert_eq!((plan.to, &plan.data[..4], plan.gas_limit), (proxy, &selector[..], 140_000));
        assert_eq!((plan.effect.value, plan.effect.method), (U256::from(10_000), method));
        assert_eq!(plan.effect.nonce, B256::repeat_byte(7));
        assert_eq!((verified.plan.gas_wallet, verified.plan.valid_before), (wallet, Some(NOW + 61)));
        assert!(!verified.nothing_to_send);
    }
    assert_eq!(world.node.requests(), 2, "one each");
}

#[tokio::test]
async fn a_charge_is_a_part_of_what_was_signed() {
    let world = World::new().await;
    let verified = world.verdict(&charged(1234), Occasion::Settle).await.expect("valid");
    assert_eq!((verified.amount, plan(&verified).effect.value), (Amount::from(1234_u64), U256::from(1234)));
    let settled = abi::settled(abi::UPTO_PROXY, &plan(&verified).data).expect("a settlement");
    assert_eq!(settled.amount, U256::from(1234));
    assert!(world.verdict(&charged(1), Occasion::Settle).await.is_ok(), "dust is a charge like any other");
    let nothing = world.verdict(&charged(0), Occasion::Settle).await.expect("valid");
    assert!(nothing.nothing_to_send && nothing.amount.is_zero());
    let settled = abi::settled(abi::UPTO_PROXY, &plan(&nothing).data).expect("a settlement");
    assert!(settled.amount.is_zero(), "what is stored could not move anything");
    assert_eq!(world.code(&charged(10_001), Occasion::Settle).await, Some(reason::UPTO_EXCEEDS_AMOUNT));
    assert_eq!(world.code(&charged(9_999), Occasion::Verify).await, Some(reason::PERMIT2_AMOUNT_MISMATCH));
    let exact = Payment { amount: Amount::from(9_999_u64), ..payment(&exact()) };
    assert_eq!(world.code(&exact, Occasion::Settle).await, Some(reason::PERMIT2_AMOUNT_MISMATCH));
}

#[tokio::test]
async fn a_charge_of_nothing_is_verified_in_full() {
    let world = World::new().await;
    let forged = |amount: u64| {
        let stranger = Payer::numbered(2).expect("a payer");
        let payload = stranger.sign_permit2_for(&upto(), &payer().address()).expect("signed");
        Payment { payload, ..charged(amount) }
    };
    for amount in [0, 1234, 10_001] {
        assert_eq!(world.code(&forged(amount), Occasion::Settle).await, Some(reason::PERMIT2_SIGNATURE), "{amount}");
    }
    world.lens(Lens::Used);
    assert_eq!(world.code(&charged(0), Occasion::Settle).await, Some(reason::PERMIT2_INVALID_NONCE));
    assert_eq!(world.code(&charged(10_000), Occasion::Verify).await, Some(reason::PERMIT2_SIMULATION_FAILED));
}

#[tokio::test]
async fn what_can_be_decided_here_costs_no_request() {
    type Change = fn(&mut Payment);
    let world = World::new().await;
    let both = |code| (code, code);
    let cases: [(Change, (Code, Code)); 10] = [
        (|p| p.chosen.scheme = "other".into(), (UNSUPPORTED_PAYLOAD_TYPE, reason::UPTO_SCHEME)),
        (|p| p.chosen.network = None, (reason::NETWORK_MISMATCH, reason::UPTO_NETWORK_MISMATCH)),
        (|p| p.asset = SHOP.into(), both(INVALID_PAYMENT_REQUIREMENTS)),
        (|p| p.pay_to = GAS_WALLET.into(), both(INVALID_PAYMENT_REQUIREMENTS)),
        (|p| p.pay_to = payer().address(), both(INVALID_PAYMENT_REQUIREMENTS)),
        (|p| p.amount = Amount::ZERO, both(INVALID_PAYMENT_REQUIREMENTS)),
        (|p| p.amount = Amount::from(999_u64), both(INVALID_PAYMENT_REQUIREMENTS)),
        (|p| p.pay_to = format!("0x{}", "22".repeat(20)), both(reason::PERMIT2_RECIPIENT_MISMATCH)),
        (|p| p.amount = Amount::from(20_000_u64), both(reason::PERMIT2_AMOUNT_MISMATCH)),
        (|p| p.payload["permit2Authorization"]["spender"] = json!(SHOP), both(reason::PERMIT2_SPENDER)),
    ];
    for (i, (change, expected)) in cases.into_iter().enumerate() {
        for (order, expected) in [(exact(), expected.0), (upto(), expected.1)] {
            let mut payment = payment(&order);
            change(&mut payment);
            assert_eq!(world.code(&payment, Occasion::Verify).await, Some(expected), "case {i}");
        }
    }
    let foreign = payment(&exact().upto(SHOP));
    assert_eq!(world.code(&foreign, Occasion::Verify).await, Some(reason::UPTO_FACILITATOR_MISMATCH));
    assert_eq!(world.node.requests(), 0);
    for (world, order) in [(World::with(true, false).await, upto()), (World::with(false, true).await, exact())] {
        assert_eq!(world.code(&payment(&order), Occasion::Verify).await, Some(reason::PERMIT2_PROXY_NOT_DEPLOYED));
        assert_eq!(world.node.requests(), 0);
    }
}

#[tokio::test]
async fn payloads_of_another_kind_are_told_from_malformed_ones() {
    let world = World::new().await;
    let read = |payment: &Payment| Upto::new(Arc::clone(&world.context)).read(payment).err().map(|r| r.code);
    let mut other = payment(&upto());
    other.payload = json!({ "signature": "0x", "authorization": {} }).as_object().expect("an object").clone();
    assert_eq!(read(&other), Some(UNSUPPORTED_PAYLOAD_TYPE), "EIP-3009");
    assert_eq!(read(&payment(&exact())), Some(UNSUPPORTED_PAYLOAD_TYPE), "no facilitator");
    let mut malformed = payment(&upto());
    malformed.payload["permit2Authorization"]["witness"]["to"] = json!("0x1");
    assert_eq!(read(&malformed), Some(INVALID_PAYLOAD));
}

#[tokio::test]
async fn the_payers_code_decides_over_its_signature() {
    let world = World::new().await;
    let stranger = Payer::numbered(2).expect("a payer");
    for order in [exact(), upto()] {
        let payload = stranger.sign_permit2_for(&order, &payer().address()).expect("signed");
        let foreign = Payment { payload, ..payment(&order) };
        world.lens(Lens::Good);
        let before = world.node.requests();
        assert_eq!(world.code(&foreign, Occasion::Verify).await, Some(reason::PERMIT2_SIGNATURE));
        assert_eq!(world.node.requests(), before + 1, "a forged signature costs one read");
        world.lens(Lens::Wallet);
        let verified = world.verdict(&foreign, Occasion::Verify).await.expect("the wallet accepts it");
        assert!(verified.payer_code.is_some(), "what failures of this code may cost is limited");
        assert!(plan(&verified).gas_limit < 250_000, "as measured");
        world.lens(Lens::StrangeWallet);
        for payment in [foreign, payment(&order)] {
            assert_eq!(world.code(&payment, Occasion::Verify).await, Some(reason::PERMIT2_SIGNATURE));
        }
    }
}

#[tokio::test]
async fn a_permit_is_sent_along_only_when_it_is_needed() {
    let world = World::new().await;
    for order in [exact(), upto()] {
        let with_permit = |plan: &TransferPlan| WITH_PERMIT.iter().any(|selector| plan.data.starts_with(selector));
        world.lens(Lens::NotAllowed);
        assert_eq!(world.code(&payment(&order), Occasion::Verify).await, Some(reason::PERMIT2_ALLOWANCE_REQUIRED));
        let before = world.node.requests();
        let verified = world.verdict(&permitted(&order), Occasion::Settle).await.expect("valid");
        assert!(with_permit(&plan(&verified)));
        assert_eq!(world.node.requests(), before + 1, "both forms are asked at once");
        world.lens(Lens::Good);
        let verified = world.verdict(&permitted(&order), Occasion::Settle).await.expect("valid");
        assert!(!with_permit(&plan(&verified)), "D10: a permit spent by somebody else is not missed");
    }
}

#[tokio::test]
async fn a_permit_for_something_else_is_refused_unless_there_is_nothing_to_sponsor() {
    let world = World::new().await;
    let sign = |permit: &PermitOrder| payer().sign_permit(permit).expect("signed");
    let mut other = permitted(&exact());
    other.extensions = sign(&PermitOrder::usdc(Amount::from(10_001_u64), 0, NOW + 60));
    let before = world.node.requests();
    assert_eq!(world.code(&other, Occasion::Verify).await, Some(reason::PERMIT2_2612_AMOUNT_MISMATCH));
    assert_eq!(world.node.requests(), before);
    let stranger = Payer::numbered(2).expect("a payer");
    other.payload = stranger.sign_permit2_for(&exact(), &payer().address()).expect("signed");
    assert_eq!(world.code(&other, Occasion::Verify).await, Some(reason::PERMIT2_SIGNATURE), "comes first");
    let mut unfilled = payment(&exact());
    unfilled.extensions.insert(eip2612::KEY.to_owned(), json!({ "info": { "description": "", "version": "1" } }));
    assert!(world.verdict(&unfilled, Occasion::Verify).await.is_ok());
}

#[tokio::test]
async fn identity_is_the_payers_nonce_and_nothing_else() {
    let world = World::new().await;
    let read = |payment: &Payment| world.read(payment).expect("read");
    let first = read(&payment(&exact()));
    assert_eq!(first.payer(), payer().address());
    assert_eq!(first.nonce(), U256::from_be_bytes([7; 32]).to_string());
    let mut hex = payment(&exact());
    hex.payload["permit2Authorization"]["nonce"] = json!(format!("0x{}", "07".repeat(32)));
    assert_eq!((read(&hex).identity(), read(&hex).fingerprint()), (first.identity(), first.fingerprint()));
    let others = [payment(&upto()), charged(1234), permitted(&exact()), permitted(&upto())];
    let mut fingerprints = vec![first.fingerprint()];
    for other in &others {
        assert_eq!(read(other).identity(), first.identity(), "C09: one nonce is one payment");
        assert!(!fingerprints.contains(&read(other).fingerprint()));
        fingerprints.push(read(other).fingerprint());
    }
    let other_nonce = payment(&Permit2Order { nonce: [8; 32], ..exact() });
    assert_ne!(read(&other_nonce).identity(), first.identity());
}

#[tokio::test]
async fn a_settle_right_after_its_verify_asks_nothing_unless_it_charges_less() {
    let world = World::new().await;
    let plan_of = |verified: VerifiedPayment| verified.plan;
    for order in [exact(), upto()] {
        let before = world.node.requests();
        let verified = plan_of(world.verdict(&payment(&order), Occasion::Verify).await.expect("valid"));
        let settled = plan_of(world.verdict(&payment(&order), Occasion::Settle).await.expect("valid"));
        assert_eq!((verified, world.node.requests()), (settled, before + 1));
    }
    world.verdict(&payment(&upto()), Occasion::Verify).await.expect("valid");
    world.lens(Lens::Used);
    assert_eq!(world.code(&charged(1234), Occasion::Settle).await, Some(reason::PERMIT2_INVALID_NONCE));
}

#[tokio::test]
async fn a_node_that_fails_makes_nothing_invalid() {
    let world = World::new().await;
    world.lens(Lens::Down);
    for order in [exact(), upto()] {
        for occasion in [Occasion::Verify, Occasion::Settle] {
            assert_eq!(world.verdict(&payment(&order), occasion).await.err(), Some(None));
        }
    }
}

#[tokio::test]
async fn a_verification_under_way_takes_little_memory() {
    let world = World::new().await;
    let read = world.read(&payment(&exact())).expect("read");
    let size = size_of_val(&*read.verify(Occasion::Settle));
    assert!(size <= 3_500, "{size} bytes");
}
