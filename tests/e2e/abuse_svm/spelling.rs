//! One signed message can be written in many ways. They are one payment.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE},
};
use chains_svm::local::{LocalChain, USDC};
use e2e::{
    service::Home,
    svm::Draft,
    validator::{Validator, fee_payer, payee},
};
use futures::future::{join, join_all};
use serde_json::{Map, Value, json};

use super::{AFTER_SIGNATURES, CLIENT_SIGNATURE, FEE, FEE_PAYER_SIGNATURE, post_text, serve};

/// The number of callers that ask for the one message at a time.
const CALLERS: usize = 100;

/// The fee payer's place holds whatever the sender likes: it is no part of
/// what the payer signs.
const WIRES: [fn(&mut [u8]); 4] = [
    |_| (),
    |wire| wire[FEE_PAYER_SIGNATURE].fill(0xff),
    |wire| rand::fill(&mut wire[FEE_PAYER_SIGNATURE]),
    |wire| wire.copy_within(CLIENT_SIGNATURE, FEE_PAYER_SIGNATURE.start),
];

const TEXTS: [fn(&[u8]) -> String; 2] =
    [|wire| BASE64_STANDARD.encode(wire), |wire| BASE64_STANDARD_NO_PAD.encode(wire)];

const BODIES: [fn(&Value) -> String; 5] = [
    Value::to_string,
    |body| serde_json::to_string_pretty(body).expect("JSON"),
    |body| rewritten(body, true, &|text| Value::from(text).to_string()),
    |body| rewritten(body, false, &escaped),
    |body| format!("\r\n\t {} \n", with_strange_members(body)),
];

/// JSON with its members in this or the other order and its texts written in a certain way.
fn rewritten(value: &Value, backwards: bool, text: &impl Fn(&str) -> String) -> String {
    match value {
        Value::Object(members) => {
            let member =
                |(key, value): (&String, &Value)| format!("{}:{}", text(key), rewritten(value, backwards, text));
            let mut members: Vec<_> = members.iter().map(member).collect();
            if backwards {
                members.reverse();
            }
            format!("{{{}}}", members.join(","))
        }
        Value::String(value) => text(value),
        other => other.to_string(),
    }
}

fn escaped(text: &str) -> String {
    let units: Vec<_> = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
    format!("\"{}\"", units.concat())
}

fn with_strange_members(body: &Value) -> Value {
    let mut body = body.clone();
    for place in ["", "/paymentPayload", "/paymentPayload/payload", "/paymentRequirements/extra"] {
        body.pointer_mut(place).expect("an object")["strange"] = json!([1, {"a": null}]);
    }
    body
}

/// A signed payment whose base64 has padding, which can then be left out.
async fn signed(chain: &LocalChain) -> (Draft, Vec<u8>) {
    let mut draft = Draft::default();
    loop {
        let wire = wire(&draft.payload(chain).await);
        if wire.len() % 3 == 1 {
            return (draft, wire);
        }
        draft.order.memo.as_mut().expect("a memo").push('x');
    }
}

fn wire(payload: &Map<String, Value>) -> Vec<u8> {
    BASE64_STANDARD.decode(payload["transaction"].as_str().expect("a text")).expect("base64")
}

fn body(draft: &Draft, version: u8, transaction: &str) -> Value {
    let payload = json!({"transaction": transaction});
    let payload = payload.as_object().expect("an object");
    if version == 1 { draft.v1(payload) } else { draft.v2(payload) }
}

/// All ways to write it that mean the same, of both protocol versions.
fn same(draft: &Draft, wire: &[u8]) -> Vec<String> {
    let mut spellings = vec![];
    for change in WIRES {
        let mut wire = wire.to_vec();
        change(&mut wire);
        for text in TEXTS {
            for version in [1, 2] {
                let body = body(draft, version, &text(&wire));
                spellings.extend(BODIES.map(|spelt| spelt(&body)));
            }
        }
    }
    spellings
}

/// The group's order, little-endian: a scalar plus it means the same to careless verifiers.
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn with_other_scalar(wire: &[u8]) -> Vec<u8> {
    let mut wire = wire.to_vec();
    let mut carry = 0;
    for (byte, order) in wire[CLIENT_SIGNATURE].iter_mut().skip(32).zip(GROUP_ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    wire
}

/// Ways to write it that a careless reader takes for the same.
fn unsound(draft: &Draft, wire: &[u8]) -> Vec<(&'static str, Value, &'static str)> {
    let undecodable = "invalid_exact_svm_payload_transaction_could_not_be_decoded";
    let text = BASE64_STANDARD.encode(wire);
    let long_count = [&[0x82, 0x00], &wire[1..]].concat();
    let last_bits = {
        let last = text.trim_end_matches('=').len() - 1;
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let position = alphabet.find(&text[last..=last]).expect("a letter of base64");
        format!("{}{}==", &text[..last], &alphabet[position + 1..position + 2])
    };
    let more_signatures = [&[3], &wire[1..AFTER_SIGNATURES], &[0; 64], &wire[AFTER_SIGNATURES..]].concat();
    let cases = [
        ("the other alphabet", BASE64_URL_SAFE.encode([wire, &[0xff; 5]].concat()), undecodable),
        ("bits that are left over", last_bits, undecodable),
        ("a line break", format!("{}\n{}", &text[..76], &text[76..]), undecodable),
        ("a byte more", BASE64_STANDARD.encode([wire, &[0]].concat()), undecodable),
        ("the signatures' count in two bytes", BASE64_STANDARD.encode(long_count), undecodable),
        ("a signature more", BASE64_STANDARD.encode(more_signatures), undecodable),
        (
            "the other scalar",
            BASE64_STANDARD.encode(with_other_scalar(wire)),
            "invalid_exact_svm_payload_signature_invalid",
        ),
    ];
    let both = |(name, text, code): (&'static str, String, &'static str)| {
        [1, 2].map(|version| (name, body(draft, version, &text), code))
    };
    cases.into_iter().flat_map(both).collect()
}

async fn lamports(validator: &Validator) -> u64 {
    validator.chain.coin_balance(&fee_payer().address()).await.expect("a balance")
}

async fn paid(validator: &Validator) -> u64 {
    validator.chain.token_balance(&payee().address(), &USDC).await.expect("a balance")
}

fn assert_audited(home: &Home) {
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

/// Scenario 30.
#[tokio::test(flavor = "multi_thread")]
async fn f05_one_message_in_eighty_spellings_is_one_success() {
    let validator = Validator::start().await;
    let (home, service) = serve(&validator, validator.chain.url()).await;
    let before = lamports(&validator).await;
    let (draft, wire) = signed(&validator.chain).await;
    let spellings = same(&draft, &wire);
    assert_eq!(spellings.len(), 80);
    let unsound = unsound(&draft, &wire);
    for (name, body, code) in &unsound {
        let answer = service.post("/verify", body).await;
        assert_eq!((answer.status, answer.text("invalidReason")), (200, *code), "{name}: {answer:?}");
    }
    let asked = (0..CALLERS).map(|i| post_text(&service, "/settle", spellings[i % spellings.len()].clone()));
    let asked_unsound = unsound.iter().map(|(_, body, _)| post_text(&service, "/settle", body.to_string()));
    let (answers, refused) = join(join_all(asked), join_all(asked_unsound)).await;

    assert!(refused.iter().all(|answer| answer.status == 200 && !answer.is_good()), "{refused:?}");
    let successes: Vec<_> = answers.iter().filter(|answer| answer.is_good()).collect();
    assert_eq!(successes.len(), 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| !answer.is_good()) {
        assert_eq!(answer.text("errorReason"), "duplicate_settlement", "{answer:?}");
        assert_eq!(answer.text("transaction"), successes[0].text("transaction"), "{answer:?}");
    }
    assert_eq!(paid(&validator).await, 10_000);
    assert_eq!(before - lamports(&validator).await, FEE);
    assert_audited(&home);
}
