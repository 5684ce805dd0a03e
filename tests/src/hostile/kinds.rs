//! The requests of strangers, a kind each.

use std::time::Duration;

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use serde_json::{Value, json};

use super::wire::request;
use crate::payer::{Draft, now};

/// The stock of requests that is made beforehand, so that making them does not slow the load.
#[derive(Debug)]
pub struct Stock {
    good: Value,
    settled: String,
    many_values: String,
    large: String,
    signed: Vec<String>,
    wallets: Vec<Address>,
    burners: Vec<Address>,
}

impl Stock {
    /// Makes it; `settled` is the body of a payment that has been settled.
    pub fn new(settled: String) -> Self {
        let good = Draft::default().v2();
        let mut many = good.clone();
        many["paymentPayload"]["extensions"] = json!({"x": {"info": vec![json!({"a": 1}); 20_000]}});
        let large = format!("{}{}", good, " ".repeat(240_000));
        let signed = (0..500).map(|_| Draft::default().v2().to_string()).collect();
        let (wallets, burners) = (vec![], vec![]);
        Self { good, settled, many_values: many.to_string(), large, signed, wallets, burners }
    }

    /// Adds contracts as payers: some that fail by chance, and some that use all gas that they get.
    #[must_use]
    pub fn with_wallets(self, wallets: Vec<Address>, burners: Vec<Address>) -> Self {
        Self { wallets, burners, ..self }
    }

    /// Returns the good body with another value somewhere.
    fn with(&self, path: &str, value: Value) -> String {
        let mut body = self.good.clone();
        if let Some(place) = body.pointer_mut(path) {
            *place = value;
        }
        body.to_string()
    }
}

/// The action of a stranger.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// Reads the answer.
    Reads,
    /// Is gone after a while.
    Leaves(Duration),
}

/// A kind of request.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// The fate of the connection.
    pub manner: Manner,
    /// Anybody may ask for it, so it is answered and not refused.
    pub served: bool,
    /// The bytes of the request, given a number that changes.
    pub bytes: fn(&Stock, usize) -> Vec<u8>,
}

const fn kind(name: &'static str, bytes: fn(&Stock, usize) -> Vec<u8>) -> Kind {
    Kind { name, manner: Manner::Reads, served: false, bytes }
}

const fn served(name: &'static str, bytes: fn(&Stock, usize) -> Vec<u8>) -> Kind {
    Kind { served: true, ..kind(name, bytes) }
}

const HOST: &str = "host: 127.0.0.1";
const JSON: &str = "content-type: application/json";

fn post(path: &str, body: &str) -> Vec<u8> {
    request(&format!("POST {path}"), &[HOST, JSON, "connection: close"], body).into_bytes()
}

fn get(path: &str) -> Vec<u8> {
    request(&format!("GET {path}"), &[HOST, "connection: close"], "").into_bytes()
}

fn nonce(n: usize) -> Value {
    json!(format!("0x{n:064x}"))
}

const AUTHORIZATION: &str = "/paymentPayload/payload/authorization";

/// Every kind.
pub const KINDS: [Kind; 18] = [
    kind("no HTTP", |_, n| format!("hello {n}\r\n\r\n").into_bytes()),
    kind("a head of 380 KiB", |_, _| format!("GET / HTTP/1.1\r\n{}", "x-a: bbbbbbbb\r\n".repeat(26_000)).into_bytes()),
    kind("another host", |_, _| b"GET /supported HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n".to_vec()),
    kind("no such path", |_, n| get(&format!("/{n}"))),
    served("readiness", |_, _| get("/ready")),
    served("a list", |_, _| get("/settlements?limit=100")),
    kind("no JSON", |_, _| post("/settle", "hello")),
    kind("another media type", |stock, _| {
        request("POST /settle", &[HOST, "content-type: text/plain", "connection: close"], &stock.settled).into_bytes()
    }),
    kind("20,000 objects", |stock, _| post("/settle", &stock.many_values)),
    kind("240 KiB of blanks", |stock, _| post("/verify", &stock.large)),
    kind("a key twice", |stock, _| {
        post("/verify", &stock.settled.replacen("\"payTo\"", "\"payTo\":\"\",\"payTo\"", 1))
    }),
    kind("another network", |stock, _| post("/verify", &stock.with("/paymentRequirements/network", json!("eip155:1")))),
    kind("another amount", |stock, _| post("/settle", &stock.with(&format!("{AUTHORIZATION}/value"), json!("1")))),
    kind("a signature of nobody", |stock, n| post("/settle", &stock.with(&format!("{AUTHORIZATION}/nonce"), nonce(n)))),
    kind("a signature of 60 KiB", |stock, n| {
        post("/verify", &stock.with("/paymentPayload/payload/signature", json!(format!("0x{n:060000x}"))))
    }),
    kind("long expired", |stock, _| {
        post("/settle", &stock.with(&format!("{AUTHORIZATION}/validBefore"), json!("1000")))
    }),
    kind("settled already", |stock, _| post("/settle", &stock.settled)),
    Kind {
        name: "good, and gone after 60 ms",
        manner: Manner::Leaves(Duration::from_millis(60)),
        served: true,
        bytes: |stock, n| post("/verify", &stock.signed[n % stock.signed.len()]),
    },
];

/// Payments that only the chain can judge, or time: each is new and signed.
pub const JUDGED: [Kind; 4] = [
    kind("a wallet that fails by chance", |stock, n| of_wallet(&stock.wallets, n)),
    kind("a wallet that uses all gas", |stock, n| of_wallet(&stock.burners, n)),
    kind("valid for some seconds", |_, n| {
        let valid_before = now() + 2 + u64::try_from(n % 8).unwrap_or_default();
        post("/settle", &Draft { valid_before, ..Draft::of(PrivateKeySigner::random()) }.v2().to_string())
    }),
    kind("no money", |_, _| post("/settle", &Draft::of(PrivateKeySigner::random()).v2().to_string())),
];

fn of_wallet(wallets: &[Address], n: usize) -> Vec<u8> {
    let from = wallets[n / JUDGED.len() % wallets.len()];
    post("/settle", &Draft { from, ..Draft::default() }.v2().to_string())
}
