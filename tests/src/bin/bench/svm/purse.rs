//! Payments that were never there before.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use chains_svm::local::{Hash, LocalChain, PYUSD, Payer};
use e2e::{
    guard,
    svm::Draft,
    validator::{PAYERS, TOKENS, Validator},
};
use serde_json::{Map, Value};
use tokio::sync::watch;

/// The time between two blockhashes: each counts for a minute.
const BLOCKHASH_PAUSE: Duration = Duration::from_secs(5);

/// Compute units of a payment with a guard.
const GUARDED_UNITS: u32 = 60_000;

/// The kind of a payment, by what it takes to verify it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SPL Token.
    Plain,
    /// Token-2022.
    Token2022,
    /// SPL Token, with an assertion about the payer's tokens as wallets add it.
    Guarded,
}

/// Makes payments by turns of all payers.
pub(crate) struct Purse {
    blockhash: watch::Receiver<Hash>,
    made: AtomicU64,
}

impl Purse {
    /// A purse that keeps up with the chain's blockhashes.
    pub async fn open(validator: &Validator) -> Self {
        let chain = LocalChain::at(validator.chain.url());
        let (sender, blockhash) = watch::channel(chain.blockhash().await.expect("a blockhash"));
        tokio::spawn(async move {
            while !sender.is_closed() {
                tokio::time::sleep(BLOCKHASH_PAUSE).await;
                if let Ok(newer) = chain.blockhash().await {
                    sender.send_replace(newer);
                }
            }
        });
        Self { blockhash, made: AtomicU64::new(0) }
    }

    /// A draft and its signed payload.
    pub fn payment(&self, kind: Kind) -> (Draft, Map<String, Value>) {
        let mut draft = Draft::of(Payer::numbered(self.made.fetch_add(1, Ordering::Relaxed) % PAYERS));
        let blockhash = *self.blockhash.borrow();
        if kind == Kind::Token2022 {
            draft.order.mint = PYUSD;
        }
        if kind == Kind::Guarded {
            draft.order.unit_limit = GUARDED_UNITS;
        }
        let Draft { payer, order } = &draft;
        let mut instructions = order.instructions(&payer.address());
        if kind == Kind::Guarded {
            let source = instructions[2].accounts[0].pubkey;
            instructions.push(guard::tokens(source, guard::AT_LEAST, TOKENS / 2));
        }
        let payload = payer.sign_instructions(&order.fee_payer, &instructions, blockhash, order.legacy);
        let payload = payload.expect("signed");
        (draft, payload)
    }

    /// The body of a request.
    pub fn body(&self, kind: Kind) -> String {
        let (draft, payload) = self.payment(kind);
        draft.v2(&payload).to_string()
    }
}
