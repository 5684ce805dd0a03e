//! Payments from their JSON to their verdict, against a node that says what a
//! test wants.

mod chain_time;
mod wallets;

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use alloy::hex;
use chains_core::{
    Amount, Code, Payment,
    payment::Chosen,
    reason::{INVALID_PAYLOAD, INVALID_PAYMENT_REQUIREMENTS, UNSUPPORTED_PAYLOAD_TYPE},
    scheme::{Authorization, Occasion, Scheme, Verdict},
};
use serde_json::{Map, Value, json};

use crate::{
    context::Context,
    fake_node::{self, FakeNode, NOW, Say},
    local::{NETWORK, Order, Payer, USDC},
    reason,
    scheme::exact::Exact,
    tx::plan::TransferPlan,
};

const SHOP: &str = "0x1111111111111111111111111111111111111111";

/// The lens's words on every payment.
#[derive(Clone, Copy)]
enum Lens {
    /// A payer with a key and enough money.
    Good,
    /// The same, nonce used.
    Used,
    /// A payer whose contract accepts the signature.
    Wallet,
    /// A payer whose contract does not.
    StrangeWallet,
    /// A payer whose contract accepts it, and a transfer that fails without a word.
    MuteWallet,
    Down,
}

fn say(lens: Lens, params: &Value) -> Say {
    let (flags, signature) = match lens {
        Lens::Good => (0x01 | 0x02 | 0x10 | 0x20 | 0x80, 0),
        Lens::Used => (0x01 | 0x02 | 0x10 | 0x20 | 0x40, 0),
        Lens::Wallet => (0x01 | 0x02 | 0x04 | 0x10 | 0x20 | 0x80, 1),
        Lens::StrangeWallet => (0x01 | 0x02 | 0x04 | 0x10 | 0x20 | 0x80, 2),
        Lens::MuteWallet => (0x01 | 0x02 | 0x04 | 0x10 | 0x20, 1),
        Lens::Down => return Say::Error(-32603, "internal error"),
    };
    assert!(params[0]["to"].is_null(), "creation code has no recipient");
    let mut answer = vec![1, 1];
    answer.extend([0; 32]);
    answer.extend([flags, signature, 1, 0, 0, 0xea, 0x60, 0]);
    answer.extend([0xff; 32]);
    Say::Result(json!(hex::encode_prefixed(answer)))
}

struct World {
    node: FakeNode,
    exact: Exact,
    lens: Arc<AtomicU8>,
}

impl World {
    async fn new() -> Self {
        let lens = Arc::new(AtomicU8::new(0));
        let says = Arc::clone(&lens);
        let node = FakeNode::start(move |method, params| {
            if method == "eth_getCode" {
                return Say::Result(json!("0x6001"));
            }
            let all = [Lens::Good, Lens::Used, Lens::Wallet, Lens::StrangeWallet, Lens::Down, Lens::MuteWallet];
            say(all[usize::from(says.load(Ordering::Relaxed))], params)
        })
        .await;
        let context: Arc<Context> = Arc::new(fake_node::context(&node));
        Self { node, exact: Exact::new(context), lens }
    }

    fn lens(&self, lens: Lens) {
        let index = match lens {
            Lens::Good => 0,
            Lens::Used => 1,
            Lens::Wallet => 2,
            Lens::StrangeWallet => 3,
            Lens::Down => 4,
            Lens::MuteWallet => 5,
        };
        self.lens.store(index, Ordering::Relaxed);
    }

    fn read(&self, payment: &Payment) -> Result<Box<dyn Authorization>, Code> {
        self.exact.read(payment).map_err(|rejection| rejection.code)
    }

    async fn payer_code(&self, payment: &Payment) -> Option<String> {
        match self.read(payment).expect("read").verify(Occasion::Verify).await {
            Verdict::Valid(verified) => verified.payer_code,
            other => panic!("{other:?}"),
        }
    }

    async fn verdict(&self, payment: &Payment, occasion: Occasion) -> Result<TransferPlan, Option<Code>> {
        match self.read(payment).map_err(Some)?.verify(occasion).await {
            Verdict::Valid(verified) => Ok(TransferPlan::from_body(verified.plan.body()).expect("a plan")),
            Verdict::Invalid(rejection) => Err(Some(rejection.code)),
            Verdict::Unavailable(_) => Err(None),
        }
    }
}

fn order() -> Order {
    Order::usdc(SHOP, Amount::from(10_000_u64), NOW + 60, [7; 32])
}

fn payment(payload: Map<String, Value>) -> Payment {
    let extra = json!({ "name": "USDC", "version": "2" });
    Payment {
        scheme: "exact".into(),
        network: NETWORK.parse().expect("a network"),
        asset: USDC.into(),
        pay_to: SHOP.into(),
        amount: Amount::from(10_000_u64),
        extra: extra.as_object().expect("an object").clone(),
        chosen: Chosen { scheme: "exact".into(), network: NETWORK.parse().ok() },
        payload,
        extensions: Map::new(),
    }
}

fn payer() -> Payer {
    Payer::numbered(1).expect("a payer")
}

fn good() -> Payment {
    payment(payer().sign(&order()).expect("signed"))
}

/// The good payment with one text of the payload replaced.
fn with(pointer: &str, value: Value) -> Payment {
    let mut payload = Value::Object(good().payload);
    *payload.pointer_mut(pointer).expect("a place") = value;
    payment(payload.as_object().expect("an object").clone())
}

#[tokio::test]
async fn a_good_payment_is_planned_as_one_exact_transfer() {
    let world = World::new().await;
    let plan = world.verdict(&good(), Occasion::Verify).await.expect("valid");
    assert_eq!((plan.gas_limit, plan.data.len()), (120_000, 292));
    assert_eq!(plan.data[..4], [0xe3, 0xee, 0x16, 0x0e]);
    assert_eq!((plan.to, plan.effect.token), (plan.effect.token, USDC.parse().expect("an address")));
    assert_eq!(plan.effect.to, SHOP.parse::<alloy::primitives::Address>().expect("an address"));
    assert_eq!(world.node.requests(), 1);
    assert_eq!(world.payer_code(&good()).await, None);
}

#[tokio::test]
async fn other_shapes_of_payload_are_refused() {
    let world = World::new().await;
    let long = format!("0x{}", "00".repeat(4097));
    let cases = [
        ("/signature", json!(1)),
        ("/signature", json!("0xzz")),
        ("/signature", json!(long)),
        ("/authorization", json!("x")),
        ("/authorization/from", json!(&USDC[2..])),
        ("/authorization/to", json!(format!("{SHOP}00"))),
        ("/authorization/value", json!(10_000)),
        ("/authorization/value", json!("0x2710")),
        ("/authorization/value", json!("+1")),
        ("/authorization/validAfter", json!("")),
        ("/authorization/validBefore", json!("01")),
        ("/authorization/nonce", json!(format!("0x{}", "07".repeat(31)))),
        ("/authorization/nonce", json!("07".repeat(32))),
    ];
    for (pointer, value) in cases {
        assert_eq!(world.read(&with(pointer, value.clone())).err(), Some(INVALID_PAYLOAD), "{pointer} {value}");
    }
    // C10.
    let mut other = good();
    other.payload.insert("delegationManager".into(), json!({}));
    assert_eq!(world.read(&other).err(), Some(UNSUPPORTED_PAYLOAD_TYPE));
    other.payload.remove("delegationManager");
    other.payload.insert("permit2Authorization".into(), json!({}));
    assert_eq!(world.read(&other).err(), Some(INVALID_PAYLOAD), "a payment by Permit2, and a malformed one");
    for change in [|p: &mut Payment| p.asset = "USDC".into(), |p: &mut Payment| p.pay_to = String::new()] {
        let mut other = good();
        change(&mut other);
        assert_eq!(world.read(&other).err(), Some(INVALID_PAYMENT_REQUIREMENTS));
    }
}

#[tokio::test]
async fn identity_is_what_was_signed_and_not_how_it_was_written() {
    let world = World::new().await;
    let first = world.read(&good()).expect("read");
    let upper = payer().address().to_uppercase().replace("0X", "0x");
    let mut same = with("/authorization/from", json!(upper));
    same.asset = USDC.to_lowercase();
    let signature = good().payload["signature"].as_str().expect("text").to_owned();
    let (head, v) = signature.split_at(signature.len() - 2);
    same.payload.insert("signature".into(), json!(format!("{head}{}", if v == "1b" { "00" } else { "01" })));
    let same = world.read(&same).expect("read");
    assert_eq!((first.identity(), first.fingerprint()), (same.identity(), same.fingerprint()));
    assert_eq!((first.payer(), first.nonce()), (same.payer(), same.nonce()));
    let other_amount = world.read(&with("/authorization/value", json!("10001"))).expect("read");
    assert_eq!(other_amount.identity(), first.identity());
    assert_ne!(other_amount.fingerprint(), first.fingerprint());
    let other_nonce = world.read(&with("/authorization/nonce", json!(format!("0x{}", "08".repeat(32))))).expect("read");
    assert_ne!(other_nonce.identity(), first.identity());
}

#[tokio::test]
async fn what_can_be_decided_here_costs_no_request() {
    type Change = fn(&mut Payment);
    let world = World::new().await;
    let cases: [(Change, Code); 8] = [
        (|p| p.chosen.scheme = "upto".into(), reason::SCHEME),
        (|p| p.extra.clear(), reason::MISSING_EIP712_DOMAIN),
        (|p| p.chosen.network = None, reason::NETWORK_MISMATCH),
        (|p| p.asset = SHOP.into(), INVALID_PAYMENT_REQUIREMENTS),
        (|p| p.pay_to = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".into(), INVALID_PAYMENT_REQUIREMENTS),
        (|p| p.pay_to = payer().address(), INVALID_PAYMENT_REQUIREMENTS),
        (|p| p.pay_to = format!("0x{}", "22".repeat(20)), reason::RECIPIENT_MISMATCH),
        (|p| p.amount = Amount::from(20_000_u64), reason::VALUE_MISMATCH),
    ];
    for (i, (change, expected)) in cases.into_iter().enumerate() {
        let mut payment = good();
        change(&mut payment);
        assert_eq!(world.verdict(&payment, Occasion::Verify).await, Err(Some(expected)), "case {i}");
    }
    let expired = Order { valid_before: NOW + 5, ..order() };
    let expired = payment(payer().sign(&expired).expect("signed"));
    assert_eq!(world.verdict(&expired, Occasion::Verify).await, Err(Some(reason::VALID_BEFORE)));
    let stranger = Payer::numbered(2).expect("a payer");
    let nobodys = stranger.sign_for(&Order { valid_before: 1000, ..order() }, &payer().address()).expect("signed");
    assert_eq!(world.verdict(&payment(nobodys), Occasion::Verify).await, Err(Some(reason::VALID_BEFORE)), "J9");
    let mut misnamed = payment(payer().sign(&Order { name: "USD Coin".into(), ..order() }).expect("signed"));
    misnamed.extra.insert("name".into(), json!("USD Coin"));
    assert_eq!(world.verdict(&misnamed, Occasion::Verify).await, Err(Some(reason::TOKEN_NAME_MISMATCH)));
    assert_eq!(world.node.requests(), 0);
}

#[tokio::test]
async fn the_payers_code_decides_over_its_signature() {
    let world = World::new().await;
    let foreign = payment(Payer::numbered(2).expect("a payer").sign_for(&order(), &payer().address()).expect("signed"));
    assert_eq!(world.verdict(&foreign, Occasion::Verify).await, Err(Some(reason::SIGNATURE)));
    assert_eq!(world.node.requests(), 1, "a forged signature costs one read");
    world.lens(Lens::Wallet);
    let plan = world.verdict(&foreign, Occasion::Verify).await.expect("the wallet accepts it");
    assert_eq!(plan.data[..4], [0xcf, 0x09, 0x29, 0x95], "the form that asks the wallet");
    let code = alloy::primitives::keccak256([0x60, 0x01]).to_string();
    assert_eq!(world.payer_code(&foreign).await, Some(code), "what failures of this code may cost is limited");
    world.lens(Lens::StrangeWallet);
    for payment in [foreign, good()] {
        assert_eq!(world.verdict(&payment, Occasion::Verify).await, Err(Some(reason::SIGNATURE)));
    }
}

#[tokio::test]
async fn an_undeployed_wallet_is_not_deployed_for_it() {
    use alloy::{
        primitives::{Address, Bytes},
        sol_types::SolValue,
    };
    let world = World::new().await;
    let inner = hex::decode(good().payload["signature"].as_str().expect("text")).expect("hex");
    let body = (Address::repeat_byte(1), Bytes::from_static(&[1]), Bytes::from(inner)).abi_encode_params();
    let wrapped = with("/signature", json!(format!("{}{}", hex::encode_prefixed(body), "6492".repeat(16))));
    assert_eq!(world.verdict(&wrapped, Occasion::Verify).await, Err(Some(reason::FACTORY_NOT_ALLOWED)));
    world.lens(Lens::Wallet);
    let plan = world.verdict(&wrapped, Occasion::Verify).await.expect("deployed meanwhile");
    assert!(!hex::encode(&plan.data).contains("64926492"), "the token sees the inner signature");
}

#[tokio::test]
async fn a_settle_right_after_its_verify_asks_nothing() {
    let world = World::new().await;
    let plan = world.verdict(&good(), Occasion::Verify).await.expect("valid");
    assert_eq!(world.verdict(&good(), Occasion::Settle).await.as_ref(), Ok(&plan));
    assert_eq!(world.node.requests(), 1);
    world.lens(Lens::Used);
    assert_eq!(world.verdict(&good(), Occasion::Settle).await, Err(Some(reason::NONCE_ALREADY_USED)), "once only");
    world.lens(Lens::Good);
    let mut other = good();
    other.amount = Amount::from(10_001_u64);
    assert_eq!(world.verdict(&other, Occasion::Settle).await, Err(Some(reason::VALUE_MISMATCH)));
}

#[tokio::test]
async fn a_node_that_fails_makes_nothing_invalid() {
    let world = World::new().await;
    world.lens(Lens::Down);
    assert_eq!(world.verdict(&good(), Occasion::Verify).await, Err(None));
    assert_eq!(world.verdict(&good(), Occasion::Settle).await, Err(None));
}

#[tokio::test]
async fn a_verification_under_way_takes_little_memory() {
    let world = World::new().await;
    let read = world.read(&payment(payer().sign(&order()).expect("signed"))).expect("read");
    let size = size_of_val(&*read.verify(Occasion::Settle));
    assert!(size <= 2_000, "{size} bytes");
}
