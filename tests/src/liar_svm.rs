//! A node of Solana that lies about one thing, or cannot tell it, whatever it is asked.

use serde_json::{Value, json};

use crate::proxy::{Fault, Proxy, Times};

/// Slots and blocks by which a node pretends to be ahead.
const AHEAD: u64 = 1_000_000;

/// The thing that a node lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SvmLie {
    /// No transaction has a status.
    NoStatus,
    /// Every transaction has failed.
    Failed,
    /// Every transaction that nobody knows has been confirmed.
    Confirmed,
    /// Slots and blocks are a million further.
    Ahead,
    /// The chain has stood still at slot 1.
    Behind,
    /// No blockhash is valid.
    DeadBlockhashes,
    /// It keeps no history of transactions (-32011).
    NoHistory,
    /// No transaction is found in any block.
    NoTransaction,
    /// Nobody's token account has changed by any transaction.
    NoBalances,
    /// It takes every transaction and keeps it to itself.
    Sends,
}

impl SvmLie {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NoStatus,
        Self::Failed,
        Self::Confirmed,
        Self::Ahead,
        Self::Behind,
        Self::DeadBlockhashes,
        Self::NoHistory,
        Self::NoTransaction,
        Self::NoBalances,
        Self::Sends,
    ];
}

impl Proxy {
    /// Tells a lie from now on.
    pub fn tell_svm(&self, lie: SvmLie) {
        match lie {
            SvmLie::NoStatus => self.lie_about_statuses(|_, _| Value::Null),
            SvmLie::Failed => self.lie_about_statuses(|_, honest| failed(honest)),
            SvmLie::Confirmed => {
                self.lie_about_statuses(|slot, honest| if honest.is_null() { confirmed(slot) } else { honest });
            }
            SvmLie::Ahead => self.lie_about_numbers(|number| number + AHEAD),
            SvmLie::Behind => self.lie_about_numbers(|_| 1),
            SvmLie::DeadBlockhashes => self.lie("isBlockhashValid", |_, mut honest| {
                honest["value"] = json!(false);
                honest
            }),
            SvmLie::NoHistory => {
                for method in ["getTransaction", "getFirstAvailableBlock", "getBlock"] {
                    let words = "Transaction history is not available from this node";
                    self.fail(method, Fault::Refuse(-32011, words), Times::Always);
                }
            }
            SvmLie::NoTransaction => self.fail("getTransaction", Fault::Replace(Value::Null), Times::Always),
            SvmLie::NoBalances => self.lie("getTransaction", |_, mut honest| {
                if honest.is_object() {
                    honest["meta"]["postTokenBalances"] = honest["meta"]["preTokenBalances"].clone();
                }
                honest
            }),
            SvmLie::Sends => self.fail("sendTransaction", Fault::Pretend(json!("1".repeat(64))), Times::Always),
        }
    }

    /// The closure gets the slot of the answer and one status of it.
    fn lie_about_statuses(&self, change: impl Fn(&Value, Value) -> Value + Send + Sync + 'static) {
        self.lie("getSignatureStatuses", move |_, mut honest| {
            let slot = honest["context"]["slot"].clone();
            for status in honest["value"].as_array_mut().into_iter().flatten() {
                *status = change(&slot, status.take());
            }
            honest
        });
    }

    fn lie_about_numbers(&self, change: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static) {
        for method in ["getSlot", "getBlockHeight", "getEpochInfo", "getLatestBlockhash", "getSignatureStatuses"] {
            self.lie(method, move |_, mut honest| {
                for pointer in ["", "/absoluteSlot", "/blockHeight", "/context/slot", "/value/lastValidBlockHeight"] {
                    if let Some(number) = honest.pointer_mut(pointer)
                        && let Some(honest) = number.as_u64()
                    {
                        *number = json!(change(honest));
                    }
                }
                honest
            });
        }
    }
}

fn failed(mut status: Value) -> Value {
    if status.is_object() {
        let error = json!({ "InstructionError": [2, { "Custom": 1 }] });
        status["status"] = json!({ "Err": error });
        status["err"] = error;
    }
    status
}

fn confirmed(slot: &Value) -> Value {
    json!({ "slot": slot, "confirmations": 8, "err": null, "status": { "Ok": null }, "confirmationStatus": "confirmed" })
}
