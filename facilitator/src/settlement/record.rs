//! What the store keeps of a settlement.

use chains_core::{
    Amount, Fingerprint, Identity, Network,
    chain::{BlockRef, PlannedTransaction, SignedTransaction},
    clock::Millis,
};

use super::{SettlementId, State};

/// Who asked for a settlement, as far as it matters for asking again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The name of the API key; empty in open mode.
    pub tenant: String,
    /// The name that the request gave to its settlement, when it gave one.
    pub key: Option<Key>,
}

/// A request's own name for its settlement: of one tenant, one key names one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The `Idempotency-Key` header. The server chose it: who repeats it with
    /// the same payment is the same caller, and gets the same answer.
    Server(String),
    /// The `payment-identifier` extension. The payer chose it, so it proves
    /// nothing about who asks, and shares no success.
    Payer(String),
}

impl Key {
    const PAYER: &str = "payment-identifier:";

    /// Whether a text can be a key: 16 to 128 of `[A-Za-z0-9_-]`.
    pub fn is_sane(text: &str) -> bool {
        let sane = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        (16..=128).contains(&text.len()) && text.bytes().all(sane)
    }

    /// As the store keeps it. Unambiguous: no key contains a colon.
    pub fn stored(&self) -> String {
        match self {
            Self::Server(key) => key.clone(),
            Self::Payer(id) => format!("{}{id}", Self::PAYER),
        }
    }

    /// From the store's text.
    pub fn from_stored(text: String) -> Self {
        match text.strip_prefix(Self::PAYER) {
            Some(id) => Self::Payer(id.to_owned()),
            None => Self::Server(text),
        }
    }
}

impl Caller {
    /// Whether a request of `other` is this caller's again, so that both get
    /// the same answer.
    pub fn is_again(&self, other: &Self) -> bool {
        matches!(self.key, Some(Key::Server(_))) && self == other
    }
}

/// A settlement at the moment it is first stored: claimed, signed, not sent.
#[derive(Clone, Debug)]
pub struct NewSettlement {
    /// Its public name.
    pub id: SettlementId,
    /// The payment's one name; unique in the store for ever.
    pub identity: Identity,
    /// What a request must match to join it.
    pub fingerprint: Fingerprint,
    /// Who asked.
    pub caller: Caller,
    /// The chain.
    pub network: Network,
    /// The scheme's name.
    pub scheme: String,
    /// Who pays.
    pub payer: String,
    /// Who receives.
    pub pay_to: String,
    /// The token.
    pub asset: String,
    /// What moves.
    pub amount: Amount,
    /// The payer's number for this payment.
    pub nonce: String,
    /// The head's height when the payment was claimed.
    pub claimed_at: u64,
    /// What is to happen on chain.
    pub plan: PlannedTransaction,
    /// The bytes that make it happen; `None` where there is nothing to send:
    /// then it is stored as settled, and as given to the request that asks.
    pub signed: Option<SignedTransaction>,
    /// When it was claimed.
    pub created_at: Millis,
}

/// How a settlement ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The transfer is on chain.
    Settled {
        /// The transaction that did it; not always ours.
        transaction: String,
        /// Its block.
        block: BlockRef,
    },
    /// The payment asked for nothing (`upto` with amount 0); no transaction.
    NothingToSend,
    /// It did not happen and no longer can.
    Failed {
        /// The code, in the spelling of protocol v2.
        reason: String,
        /// The same for people.
        message: String,
        /// The transaction that failed, or the foreign one that used the
        /// authorization up.
        transaction: Option<String>,
        /// Its block.
        block: Option<BlockRef>,
    },
}

impl Outcome {
    /// The final state it stands for.
    pub const fn state(&self) -> State {
        match self {
            Self::Settled { .. } | Self::NothingToSend => State::Settled,
            Self::Failed { .. } => State::Failed,
        }
    }
}

/// A settlement's end, to be stored.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Which.
    pub id: SettlementId,
    /// How.
    pub outcome: Outcome,
    /// Our attempt that landed, when one did.
    pub landed: Option<LandedAttempt>,
    /// Whether a request is waiting for it and will be told in this process:
    /// the success is thereby given away.
    pub delivered: bool,
    /// When.
    pub at: Millis,
}

/// A payment that failed in a block, at the gas wallet's cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose.
    pub payer: String,
    /// When the settlement ended.
    pub at: Millis,
}

/// The next step of a settlement whose last transaction did its part, to be stored.
#[derive(Clone, Debug)]
pub struct Advanced {
    /// Which.
    pub id: SettlementId,
    /// The attempt that did its part.
    pub landed: LandedAttempt,
    /// What is to happen now.
    pub plan: PlannedTransaction,
    /// The bytes that make it happen.
    pub signed: SignedTransaction,
    /// When.
    pub at: Millis,
}

/// What the chain charged for the attempt that landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandedAttempt {
    /// Which.
    pub transaction: String,
    /// Its block.
    pub block: BlockRef,
    /// What the gas wallet paid, in the coin's atomic units.
    pub fee_paid: Amount,
    /// The gas it used.
    pub gas_used: u64,
}

/// One answer to one send.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The settlement.
    pub id: SettlementId,
    /// The attempt.
    pub transaction: String,
    /// What the endpoints said, as a word: `accepted`, `unknown`, …
    pub answer: &'static str,
    /// Their text, where it says more.
    pub detail: String,
    /// When.
    pub at: Millis,
}

/// A settlement as stored, without its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its public name.
    pub id: SettlementId,
    /// The payment's one name.
    pub identity: Identity,
    /// What a request must match to join it.
    pub fingerprint: Fingerprint,
    /// Who asked first.
    pub caller: Caller,
    /// How far it is.
    pub state: State,
    /// The chain.
    pub network: Network,
    /// The scheme's name.
    pub scheme: String,
    /// Who pays.
    pub payer: String,
    /// Who receives.
    pub pay_to: String,
    /// The token.
    pub asset: String,
    /// What moves.
    pub amount: Amount,
    /// The payer's number for this payment.
    pub nonce: String,
    /// The head's height when it was claimed.
    pub claimed_at: u64,
    /// What is to happen on chain.
    pub plan: PlannedTransaction,
    /// The transaction that callers are told: the winning one, else the newest attempt.
    pub transaction: String,
    /// Set once it is final.
    pub outcome: Option<Outcome>,
    /// When a request was given the success; `None` as long as nobody was.
    pub delivered_at: Option<Millis>,
    /// When it was claimed.
    pub created_at: Millis,
    /// When it last changed.
    pub updated_at: Millis,
}

/// One signed form of a settlement's transaction, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The bytes and what they offer.
    pub signed: SignedTransaction,
    /// Whether the settlement hangs on it, or on another form in its place; an
    /// earlier step's does not.
    pub live: bool,
    /// When it was signed.
    pub created_at: Millis,
    /// What the chain charged, when this is the one that landed.
    pub landed: Option<LandedAttempt>,
    /// How often it was sent.
    pub sends_total: u64,
    /// The answers to the first sends, oldest first; the store bounds how many it keeps.
    pub sends: Vec<StoredSend>,
}

/// One stored answer to one send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSend {
    /// `accepted`, `unknown`, …
    pub answer: String,
    /// The endpoints' text.
    pub detail: String,
    /// When.
    pub at: Millis,
}

/// A settlement with everything that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// The settlement.
    pub record: Record,
    /// Every signed form, oldest first.
    pub attempts: Vec<Attempt>,
}
