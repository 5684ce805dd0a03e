//! `/verify`: says whether a payment is good. Writes nothing, on chain or in the store.

use std::time::{Duration, Instant};

use chains_core::{
    Rejection,
    protocol::Request,
    reason,
    scheme::{Authorization, Occasion, Verdict, VerifiedPayment},
};

use super::{Asked, Payments, VerifyOutcome, identifier, outcome::Unavailable};
use crate::{limits::SpokenFor, settlement::NotNow};

impl Payments {
    /// Checks a payment as it stands now. An advice: only a settle moves money.
    pub async fn verify(&self, request: Request, tenant: &str, request_id: &str) -> (Asked, VerifyOutcome) {
        let mut asked = self.asked(&request);
        let read = request.payment.and_then(|payment| {
            identifier::of(&payment)?;
            let (submitter, authorization) = self.read(&payment)?;
            Ok((submitter, authorization, self.pause.covers(&payment, tenant)))
        });
        let (submitter, authorization, paused) = match read {
            Ok(read) => read,
            Err(rejection) => return (asked, VerifyOutcome::Invalid(rejection)),
        };
        authorization.payer().clone_into(&mut asked.payer);
        if paused {
            return (asked, VerifyOutcome::Unavailable(Unavailable::now(NotNow::Paused)));
        }
        if submitter.closed_because().is_some() {
            let why = Unavailable::now(NotNow::NetworkClosed);
            return (asked, VerifyOutcome::Unavailable(why));
        }
        if let Err(rejection) = self.check_barred(submitter.chain().network(), authorization.payer()).await {
            return (asked, VerifyOutcome::Invalid(rejection));
        }
        let outcome = match authorization.verify(Occasion::Verify).await {
            Verdict::Valid(verified) => {
                verified.payer.clone_into(&mut asked.payer);
                let network = submitter.chain().network();
                let checked = match self.check_verified(&*authorization, &verified, network).await {
                    Ok(()) => self.hold(&*authorization, &verified).await,
                    Err(rejection) => Err(rejection),
                };
                checked.map_or_else(VerifyOutcome::Invalid, |()| VerifyOutcome::Valid)
            }
            Verdict::Invalid(rejection) => VerifyOutcome::Invalid(rejection),
            Verdict::Unavailable(error) => {
                tracing::debug!(request_id, %error, "a payment could not be verified");
                VerifyOutcome::Unavailable(Unavailable::now(NotNow::ChainUnavailable))
            }
        };
        (asked, outcome)
    }

    /// Holds the payment's part of its payer's balance, where the operator wants
    /// that: for as long as the operator says, or the authorization is valid.
    async fn hold(&self, authorization: &dyn Authorization, verified: &VerifiedPayment) -> Result<(), Rejection> {
        let wait = self.waits.verified_hold;
        let Some(funds) = verified.funds.as_ref().filter(|_| !wait.is_zero()) else { return Ok(()) };
        let valid_for = verified.plan.valid_before.map(|end| end.saturating_sub(self.clock.now().seconds()));
        let wait = valid_for.map_or(wait, |seconds| wait.min(Duration::from_secs(seconds)));
        let limits = self.registry.limits();
        let held = limits.hold(funds, authorization.identity(), verified.amount, wait, Instant::now()).await;
        held.map_err(|SpokenFor| {
            let message = "other payments of this payer, verified or under way, use up what it has";
            Rejection::new(reason::INSUFFICIENT_FUNDS, message)
        })
    }
}
