//! A payment that is wrong by itself is refused with the right code before any node is asked.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use e2e::{proxy::Proxy, service::Service, svm::Draft, validator::Validator};
use serde_json::{Map, Value};

use super::{AFTER_SIGNATURES, CLIENT_SIGNATURE, FEE_PAYER_SIGNATURE, serve};

const UNDECODABLE: &str = "invalid_exact_svm_payload_transaction_could_not_be_decoded";
const UNSIGNED: &str = "invalid_exact_svm_payload_signature_invalid";

/// The methods that ask a node about a payment.
const ABOUT_PAYMENTS: [&str; 8] = [
    "simulateTransaction",
    "sendTransaction",
    "getSignatureStatuses",
    "getTransaction",
    "getAccountInfo",
    "getMultipleAccounts",
    "isBlockhashValid",
    "getLatestBlockhash",
];

/// The places of things in the message of the official clients' payments.
struct Layout {
    first_key: usize,
    first_program: usize,
    transfer_accounts: usize,
}

impl Layout {
    /// Counts are below 128, hence one byte each.
    fn of(wire: &[u8]) -> Self {
        let keys_at = AFTER_SIGNATURES + 4;
        let after_blockhash = keys_at + 1 + 32 * usize::from(wire[keys_at]) + 32;
        let first_program = after_blockhash + 1;
        let end = |program: usize| {
            let data = program + 2 + usize::from(wire[program + 1]);
            data + 1 + usize::from(wire[data])
        };
        Self { first_key: keys_at + 1, first_program, transfer_accounts: end(end(first_program)) + 2 }
    }
}

type Change = fn(&mut Vec<u8>, &Layout);

const CHANGES: [(&str, Change, &str); 14] = [
    ("F04 the client's signature is random", |wire, _| rand::fill(&mut wire[CLIENT_SIGNATURE]), UNSIGNED),
    ("F04 the client's signature is zero", |wire, _| wire[CLIENT_SIGNATURE].fill(0), UNSIGNED),
    ("F04 the client's signature is of another amount", |wire, at| wire[at.transfer_accounts + 5] ^= 1, UNSIGNED),
    (
        "F04 the client has signed in the fee payer's place",
        |wire, _| {
            wire.copy_within(CLIENT_SIGNATURE, FEE_PAYER_SIGNATURE.start);
            wire[CLIENT_SIGNATURE].fill(0);
        },
        UNSIGNED,
    ),
    ("F01 a program's index past the end", |wire, at| wire[at.first_program] = 200, UNDECODABLE),
    ("F01 the fee payer as program", |wire, at| wire[at.first_program] = 0, UNDECODABLE),
    ("F01 an account's index past the end", |wire, at| wire[at.transfer_accounts] = 255, UNDECODABLE),
    ("F01 no signer", |wire, _| wire[AFTER_SIGNATURES + 1] = 0, UNDECODABLE),
    ("F01 more signers than accounts", |wire, _| wire[AFTER_SIGNATURES + 1] = 127, UNDECODABLE),
    ("F01 more accounts than there are", |wire, at| wire[at.first_key - 1] = 127, UNDECODABLE),
    (
        "F01 the payer twice",
        |wire, at| wire.copy_within(at.first_key + 32..at.first_key + 64, at.first_key),
        UNDECODABLE,
    ),
    ("an unknown version", |wire, _| wire[AFTER_SIGNATURES] = 0x81, UNDECODABLE),
    ("too long", |wire, _| wire.resize(1233, 0), UNDECODABLE),
    ("nothing", |wire, _| wire.clear(), UNDECODABLE),
];

fn transaction(wire: &[u8]) -> Map<String, Value> {
    [("transaction".to_owned(), Value::from(BASE64_STANDARD.encode(wire)))].into_iter().collect()
}

async fn refused(service: &Service, what: &str, draft: &Draft, wire: &[u8], code: &str) {
    let payload = transaction(wire);
    for (path, body) in
        [("/verify", draft.v2(&payload)), ("/settle", draft.v2(&payload)), ("/settle", draft.v1(&payload))]
    {
        let answer = service.post(path, &body).await;
        let said = answer.text(if path == "/verify" { "invalidReason" } else { "errorReason" });
        assert_eq!((answer.status, said), (200, code), "{what} {path}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f28_what_is_wrong_by_itself_gets_its_code_and_asks_no_node() {
    let validator = Validator::start().await;
    let proxy = Proxy::before(validator.chain.url()).await;
    let (home, service) = serve(&validator, &proxy.url).await;
    let draft = Draft::default();
    let payload = draft.payload(&validator.chain).await;
    let wire = BASE64_STANDARD.decode(payload["transaction"].as_str().expect("a text")).expect("base64");
    let asked = || ABOUT_PAYMENTS.map(|method| proxy.calls(method));
    let before = asked();

    for (what, change, code) in CHANGES {
        let mut changed = wire.clone();
        change(&mut changed, &Layout::of(&wire));
        refused(&service, what, &draft, &changed, code).await;
    }
    for length in 0..wire.len() {
        refused(&service, &format!("F01 cut after {length} bytes"), &draft, &wire[..length], UNDECODABLE).await;
    }

    assert_eq!(asked(), before, "{ABOUT_PAYMENTS:?}");
    assert!(home.metric("panics_total").await < 1.0);
    let answer = service.post("/settle", &draft.v2(&payload)).await;
    assert!(answer.is_good(), "what is right is settled after all that: {answer:?}\n{}", home.log());
}
