//! The seam to a payment scheme.

use async_trait::async_trait;

use crate::{Amount, Fingerprint, Identity, Payment, Rejection, chain::ChainUnavailable, transaction::Plan};

/// A way of paying on one chain, for example `exact` on Base.
pub trait Scheme: Send + Sync {
    /// The specification's word for it.
    fn name(&self) -> &'static str;

    /// Reads the scheme's payload. Pure: no I/O, no clock. Called first, for
    /// every verify and settle.
    ///
    /// # Errors
    /// A payload of another shape, or requirements that do not fit the scheme.
    fn read(&self, payment: &Payment) -> Result<Box<dyn Authorization>, Rejection>;
}

/// A payer's authorization, read and not yet believed.
#[async_trait]
pub trait Authorization: Send + Sync {
    /// The account that pays, in the family's canonical spelling.
    fn payer(&self) -> &str;

    /// The payment's one name. Needs no verification.
    fn identity(&self) -> Identity;

    /// The hash that a request must match to join the settlement of another.
    fn fingerprint(&self) -> Fingerprint;

    /// The number that the payer drew for this payment, as the specification
    /// spells it, for people who look a settlement up by payer and nonce.
    fn nonce(&self) -> &str;

    /// Makes every check of the scheme, in the specification's order. Reads
    /// only: nothing on chain and nothing in the store changes. Called for
    /// every verify, and for every settle before anything is claimed.
    async fn verify(&self, occasion: Occasion) -> Verdict;
}

/// The request that a verification belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// `/verify`: an advice.
    Verify,
    /// `/settle`: money is spent on the strength of it. What a `/verify` found
    /// less than a block ago may be used again.
    Settle,
}

/// Three answers, never two.
#[derive(Debug)]
pub enum Verdict {
    /// Every check passed.
    Valid(VerifiedPayment),
    /// A check failed; asking again will not help.
    Invalid(Rejection),
    /// We could not find out.
    Unavailable(ChainUnavailable),
}

/// The proof that every check passed, and the only input to a settlement.
#[derive(Clone, Debug)]
pub struct VerifiedPayment {
    /// The account that pays, in the family's canonical spelling. Usually
    /// [`Authorization::payer`]; another where only the checks tell.
    pub payer: String,
    /// The amount that moves to the payee.
    pub amount: Amount,
    /// The action that moves it.
    pub plan: Plan,
    /// The payment is good and asks for nothing (`upto` with amount 0): it is
    /// stored as settled, and no transaction is sent.
    pub nothing_to_send: bool,
    /// The balance that it is paid from; `None` where the chain did not tell.
    pub funds: Option<Funds>,
    /// Names the code that decides about the payer's signature, the same for
    /// all payers that run the same code; `None` for a payer with a key alone,
    /// whose payments fail on chain only by the payer's own transactions.
    pub payer_code: Option<String>,
}

/// The balance that a payment is paid from, as the chain showed it. Each
/// payment alone may be good against it and all of them together not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funds {
    /// Names what holds the money, unlike any other of any network: payments
    /// with the same name compete for it.
    pub account: String,
    /// The most that can be taken out of it, in the asset's atomic units: what
    /// the payer has, or what it allows to be taken where that is less.
    pub available: Amount,
}
