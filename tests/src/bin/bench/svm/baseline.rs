//! The validator's own figures, without a facilitator.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use e2e::{
    node::Node,
    validator::{Validator, fee_payer},
};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinSet};

use super::{Kind, Purse};
use crate::{
    CALLERS, PAYMENTS,
    load::{Run, merged},
    report::Row,
};

/// Signatures in one `getSignatureStatuses`: what nodes allow.
const STATUSES_MAX: usize = 256;

/// The pause between two looks for what is confirmed.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// One `simulateTransaction` for each payment, as verifying needs it.
pub(crate) async fn simulations(name: &str, kind: Kind, validator: &Validator, purse: &Purse, time: Duration) -> Row {
    let node = Node::at(validator.chain.url());
    let payments: Arc<Vec<Value>> =
        Arc::new((0..PAYMENTS).map(|_| purse.payment(kind).1["transaction"].clone()).collect());
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for caller in 0..CALLERS {
        let (node, payments) = (node.clone(), Arc::clone(&payments));
        tasks.spawn(async move {
            let mut run = Run::new();
            for payment in payments.iter().cycle().skip(caller * (PAYMENTS / CALLERS)) {
                let options = json!({"encoding": "base64", "sigVerify": false, "commitment": "confirmed"});
                let asked = Instant::now();
                let answer = node.call("simulateTransaction", json!([payment, options])).await;
                run.record(asked.elapsed(), &json!({"isValid": answer["value"]["err"].is_null()}).to_string());
                if Instant::now() >= end {
                    break;
                }
            }
            run
        });
    }
    Row::of(name, &merged(tasks).await, time)
}

/// The transactions that wait for their signatures to be confirmed.
#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<HashMap<String, oneshot::Sender<bool>>>>);

impl Waiting {
    /// Looks for all of them again and again, as long as anybody else has this.
    async fn look(self, node: Node) {
        while Arc::strong_count(&self.0) > 1 {
            tokio::time::sleep(LOOK_PAUSE).await;
            let asked: Vec<String> = self.0.lock().expect("no panic").keys().take(STATUSES_MAX).cloned().collect();
            if asked.is_empty() {
                continue;
            }
            let statuses = node.call("getSignatureStatuses", json!([asked])).await;
            for (signature, status) in asked.iter().zip(statuses["value"].as_array().expect("a list")) {
                if matches!(status["confirmationStatus"].as_str(), Some("confirmed" | "finalized")) {
                    let waiting = self.0.lock().expect("no panic").remove(signature);
                    waiting.expect("it waits").send(status["err"].is_null()).expect("it waits");
                }
            }
        }
    }

    fn add(&self, signature: String) -> oneshot::Receiver<bool> {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().expect("no panic").insert(signature, sender);
        receiver
    }
}

/// The same transactions, signed by both and sent to the validator directly:
/// the time until each is confirmed.
pub(crate) async fn transactions(
    name: &str,
    callers: usize,
    validator: &Validator,
    purse: &Arc<Purse>,
    time: Duration,
) -> Row {
    let node = Node::at(validator.chain.url());
    let waiting = Waiting::default();
    let looking = tokio::spawn(waiting.clone().look(node.clone()));
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (node, waiting, purse) = (node.clone(), waiting.clone(), Arc::clone(purse));
        tasks.spawn(async move {
            let mut run = Run::new();
            while Instant::now() < end {
                let wire = fee_payer().cosign(&purse.payment(Kind::Plain).1).expect("a transaction");
                let options = json!({"encoding": "base64", "skipPreflight": true});
                let asked = Instant::now();
                let sent = node.call("sendTransaction", json!([BASE64_STANDARD.encode(wire), options])).await;
                let confirmed = waiting.add(sent.as_str().expect("a signature").to_owned());
                let success = confirmed.await.expect("looked for");
                run.record(asked.elapsed(), &json!({"success": success}).to_string());
            }
            run
        });
    }
    drop(waiting);
    let run = merged(tasks).await;
    looking.await.expect("no panic");
    Row::of(name, &run, time)
}
