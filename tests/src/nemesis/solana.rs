//! A second network of a run: a validator, a few callers, and the count of what they have paid.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chains_svm::local::{LocalChain, NETWORK, Payer, USDC};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    callers::{AGAIN_AFTER, ANSWER_MAX, answer},
    history::Answer,
    store::Observer,
};
use crate::{
    proxy::Proxy,
    service::{Home, config::LocalNetwork as _},
    svm::Draft,
    validator::{PAYERS, Validator, payee},
};

/// Callers at a time.
pub const CALLERS: u64 = 2;

/// The amount of each payment.
const AMOUNT: u64 = 10_000;

/// The method that sends a signed transaction.
pub const SEND: &str = "sendTransaction";

/// The network and the answers of its callers.
pub struct Solana {
    validator: Validator,
    chain: LocalChain,
    client: reqwest::Client,
    /// For each payment, the number of times that somebody was told of its success.
    successes: Mutex<Vec<u64>>,
}

impl Solana {
    /// Starts a validator.
    pub async fn start() -> Arc<Self> {
        let validator = Validator::start().await;
        let chain = LocalChain::at(validator.chain.url());
        Arc::new(Self { validator, chain, client: crate::http_client(), successes: Mutex::default() })
    }

    /// Has a home serve this network as well, by a node of its own.
    pub async fn serve_too(&self, home: Home) -> (Home, Proxy) {
        let proxy = Proxy::before(self.validator.chain.url()).await;
        let mut table = self.validator.table();
        table.insert("rpc".to_owned(), vec![proxy.url.as_str()].into());
        (home.more(NETWORK, table), proxy)
    }

    /// Settles one payment after the other at these instances until a moment.
    pub async fn call(self: Arc<Self>, instances: Vec<String>, seed: u64, until: Instant) {
        let mut draw = StdRng::seed_from_u64(seed);
        while Instant::now() < until {
            let payer = Payer::numbered(draw.random_range(0..PAYERS));
            let body = Draft::of(payer).body(&self.chain, 2).await;
            let successes = self.settle(&body, &instances, &mut draw, until).await;
            self.successes.lock().unwrap_or_else(PoisonError::into_inner).push(successes);
        }
    }

    /// Asks until the payment is decided, or for as long as its blockhash lasts; then once more each instance.
    async fn settle(&self, body: &Value, instances: &[String], draw: &mut StdRng, until: Instant) -> u64 {
        let mut successes = 0;
        while Instant::now() < until {
            let one = &instances[draw.random_range(0..instances.len())];
            match self.ask(one, body).await {
                Answer::Success(_) => successes += 1,
                Answer::Duplicate(_) | Answer::Failed(_) | Answer::Invalid(_) => {}
                Answer::Pending | Answer::Refused | Answer::NotAwaited | Answer::Nothing(_) => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                    continue;
                }
            }
            for one in instances {
                successes += u64::from(matches!(self.ask(one, body).await, Answer::Success(_)));
            }
            return successes;
        }
        successes
    }

    async fn ask(&self, url: &str, body: &Value) -> Answer {
        let asked = async {
            let answered = self.client.post(format!("{url}/settle")).json(body).send().await?;
            let status = answered.status().as_u16();
            Ok::<_, reqwest::Error>(answer(status, &answered.text().await?))
        };
        let answered: Result<_, Duration> = tokio::time::timeout(ANSWER_MAX, asked).await.map_err(|_| ANSWER_MAX);
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Nothing(error.to_string()),
            Err(_) => Answer::NotAwaited,
        }
    }

    /// Judges the network: what the store calls settled was paid, once; nobody was told twice.
    ///
    /// # Panics
    /// If that does not hold, or nothing was paid.
    pub async fn judge(&self, observer: &Observer) {
        let settled = observer.settled(NETWORK).await;
        let paid = self.chain.token_balance(&payee().address(), &USDC).await.expect("a balance");
        assert_eq!(paid, settled * AMOUNT, "what is settled is paid once, and nothing else");
        let successes = self.successes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(successes.iter().all(|successes| *successes <= 1), "somebody was told twice: {successes:?}");
        let told: u64 = successes.iter().sum();
        assert!(told > 0 && told <= settled, "{told} successes of {settled} settlements");
    }
}
