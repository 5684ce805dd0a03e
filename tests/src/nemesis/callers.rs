//! The callers of a run: they sign payments, and settle them in the ways that callers have.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy::{primitives::U256, signers::local::PrivateKeySigner};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    history::{Answer, Request},
    recorder::Recorder,
};
use crate::{
    anvil::{Anvil, USDC},
    payer::{Draft, cancel_calldata, now},
    stranger::STRANGER,
};

/// Callers at a time.
pub const CALLERS: u64 = 8;

/// The longest that a caller waits who does not go away by its own will.
pub(super) const ANSWER_MAX: Duration = Duration::from_mins(1);

/// The time until a caller asks again.
pub(super) const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The behaviour of a caller towards one payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Asks once, and leaves it at that.
    Once,
    /// Asks again until it is decided.
    Patient,
    /// Goes away soon, and asks somebody else.
    Hasty,
    /// Asks everybody at once, and again until it is decided.
    Everywhere,
    /// Takes the payment back on chain meanwhile.
    Cancelling,
}

/// A payment that a caller wants settled.
#[derive(Clone, Debug)]
pub struct Payment {
    name: String,
    amount: u128,
    body: Value,
    key: Option<String>,
}

/// The places that callers ask, and the pen.
pub struct Desk {
    /// The URLs of the instances, in order.
    pub instances: Vec<String>,
    /// The URL of the balancer before them.
    pub balancer: String,
    /// The chain.
    pub chain: Arc<Anvil>,
    /// The payers.
    pub payers: Vec<PrivateKeySigner>,
    /// The pen.
    pub recorder: Recorder,
    /// True when every payment is good for an hour, and no payer takes one back.
    lasting: bool,
    client: reqwest::Client,
    undecided: Mutex<Vec<Payment>>,
}

impl Desk {
    /// Nobody has asked yet.
    pub fn new(
        instances: Vec<String>,
        balancer: String,
        chain: Arc<Anvil>,
        payers: Vec<PrivateKeySigner>,
        recorder: Recorder,
        lasting: bool,
    ) -> Self {
        let (client, undecided) = (crate::http_client(), Mutex::default());
        Self { instances, balancer, chain, payers, recorder, lasting, client, undecided }
    }

    /// Settles one payment after the other until a moment.
    pub async fn call(self: Arc<Self>, seed: u64, until: Instant) {
        let mut draw = StdRng::seed_from_u64(seed);
        while Instant::now() < until {
            self.one(&mut draw, until).await;
            tokio::time::sleep(Duration::from_millis(draw.random_range(0..600))).await;
        }
    }

    async fn one(&self, draw: &mut StdRng, until: Instant) {
        let manner = match draw.random_range(0..20) {
            0..3 => Manner::Once,
            3..9 => Manner::Patient,
            9..13 => Manner::Hasty,
            18.. if !self.lasting => Manner::Cancelling,
            _ => Manner::Everywhere,
        };
        let (payment, draft) = self.draw(draw);
        let decided = match manner {
            Manner::Once => {
                self.ask(&payment, self.somebody(draw), ANSWER_MAX).await;
                return;
            }
            Manner::Patient => false,
            Manner::Hasty => {
                let patience = Duration::from_millis(draw.random_range(20..1_500));
                self.ask(&payment, self.somebody(draw), patience).await.is_decided()
            }
            Manner::Everywhere => {
                let asked = (0..self.instances.len()).map(|one| self.ask(&payment, Some(one), ANSWER_MAX));
                futures::future::join_all(asked).await.iter().any(Answer::is_decided)
            }
            Manner::Cancelling => {
                let patience = Duration::from_millis(draw.random_range(20..1_500));
                let asked = self.ask(&payment, self.somebody(draw), patience).await.is_decided();
                let transaction =
                    json!([{"from": STRANGER, "to": USDC, "data": cancel_calldata(&draft), "gas": "0x7a120"}]);
                // The chain may refuse it; then nothing was taken back.
                drop(self.chain.node.try_call("eth_sendTransaction", transaction).await);
                asked
            }
        };
        if !decided && !self.decide(&payment, draw, until).await {
            self.undecided.lock().unwrap_or_else(PoisonError::into_inner).push(payment);
        }
    }

    fn draw(&self, draw: &mut StdRng) -> (Payment, Draft) {
        let payer = self.payers.get(draw.random_range(0..self.payers.len())).expect("a payer").clone();
        let amount: u128 = draw.random_range(1_000..20_000);
        let mut draft = Draft { value: U256::from(amount), ..Draft::of(payer) };
        if draw.random_range(0..10) == 0 && !self.lasting {
            draft.valid_before = now() + draw.random_range(8..20);
        }
        let name = format!("{}/{}", draft.from, draft.nonce).to_lowercase();
        let key = draw.random::<bool>().then(|| format!("key of {name}"));
        (Payment { name, amount, body: draft.v2(), key }, draft)
    }

    /// An instance, or the balancer.
    fn somebody(&self, draw: &mut StdRng) -> Option<usize> {
        let one = draw.random_range(0..=self.instances.len());
        (one < self.instances.len()).then_some(one)
    }

    /// Asks until the payment is decided, at most until a moment.
    async fn decide(&self, payment: &Payment, draw: &mut StdRng, until: Instant) -> bool {
        while Instant::now() < until {
            if self.ask(payment, self.somebody(draw), ANSWER_MAX).await.is_decided() {
                return true;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        false
    }

    /// Asks for everything that was left undecided; returns those that still are.
    pub async fn ask_again(&self, seed: u64, until: Instant) -> Vec<String> {
        let left = std::mem::take(&mut *self.undecided.lock().unwrap_or_else(PoisonError::into_inner));
        let asked = (0..).zip(&left).map(|(number, payment)| async move {
            let mut draw = StdRng::seed_from_u64(seed.wrapping_add(number));
            (!self.decide(payment, &mut draw, until).await).then(|| payment.name.clone())
        });
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    }

    async fn ask(&self, payment: &Payment, instance: Option<usize>, patience: Duration) -> Answer {
        let url = instance.map_or(&self.balancer, |one| self.instances.get(one).expect("an instance"));
        let mut request = self.client.post(format!("{url}/settle")).json(&payment.body);
        if let Some(key) = &payment.key {
            request = request.header("idempotency-key", key);
        }
        let started = self.recorder.now();
        let answered = async {
            let answer = request.send().await?;
            let status = answer.status().as_u16();
            Ok::<_, reqwest::Error>((status, answer.text().await?))
        };
        let answer = match tokio::time::timeout(patience, answered).await {
            Err(_) if patience < ANSWER_MAX => Answer::NotAwaited,
            Err(_) => Answer::Nothing("nothing for a minute".to_owned()),
            Ok(Err(error)) => Answer::Nothing(format!("{error:?}")),
            Ok(Ok((status, text))) => answer(status, &text),
        };
        let ended = self.recorder.now();
        self.recorder.request(Request {
            payment: payment.name.clone(),
            amount: payment.amount,
            key: payment.key.clone(),
            instance,
            started,
            ended,
            answer: answer.clone(),
        });
        answer
    }
}

impl Answer {
    /// True for an answer after which nobody asks again.
    const fn is_decided(&self) -> bool {
        matches!(self, Self::Success(_) | Self::Duplicate(_) | Self::Failed(_) | Self::Invalid(_))
    }
}

/// Reads an answer to `/settle`.
pub(super) fn answer(status: u16, text: &str) -> Answer {
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let member = |name: &str| body[name].as_str().unwrap_or("").to_owned();
    let is_begun = body["extra"]["settlementId"].is_string();
    match (status, member("errorReason").as_str()) {
        (503, _) => Answer::Refused,
        (200, _) if body["success"] == true => Answer::Success(member("transaction")),
        (200, "settlement_pending") => Answer::Pending,
        (200, "duplicate_settlement") => Answer::Duplicate(member("transaction")),
        (200, reason) if is_begun => Answer::Failed(reason.to_owned()),
        (200 | 400, reason) if !reason.is_empty() => Answer::Invalid(reason.to_owned()),
        _ => Answer::Nothing(format!("{status} {text}")),
    }
}
