//! `/verify`: is this payment good? Writes nothing, on chain or in the store.

use std::time::{Duration, Instant};

use chains_core::{
    Rejection,
    protocol::Request,
    reason,
    scheme::{Authorization, Purpose, Verdict, VerifiedPayment},
};

use super::{Payments, VerifyOutcome, answer, identifier};
use crate::{settlement::reservations::SpokenFor, submitter::Condition};

impl Payments {
    /// Checks a payment as it stands now. An advice: only a settle moves money.
    pub async fn verify(&self, request: Request) -> VerifyOutcome {
        let version = request.version;
        let read = request.payment.and_then(|payment| {
            identifier::of(&payment)?;
            self.read(&payment)
        });
        let (submitter, authorization) = match read {
            Ok(read) => read,
            Err(rejection) => return answer::invalid(version, rejection, String::new()),
        };
        let payer = authorization.payer().to_owned();
        if submitter.condition() != Condition::Open {
            return answer::cannot_verify("this network is not open yet", payer);
        }
        if let Err(rejection) = self.check_barred(submitter.chain().network(), &payer) {
            return answer::invalid(version, rejection, payer);
        }
        match authorization.verify(Purpose::Verify).await {
            Verdict::Valid(verified) => match self.hold(&*authorization, &verified) {
                Ok(()) => answer::valid(payer),
                Err(rejection) => answer::invalid(version, rejection, payer),
            },
            Verdict::Invalid(rejection) => answer::invalid(version, rejection, payer),
            Verdict::Unavailable(error) => {
                tracing::warn!(%error, "a payment could not be verified");
                answer::cannot_verify("the chain could not be asked", payer)
            }
        }
    }

    /// Holds the payment's part of what its payer has, where the operator wants
    /// that: for as long as the operator says, or the authorization is valid.
    fn hold(&self, authorization: &dyn Authorization, verified: &VerifiedPayment) -> Result<(), Rejection> {
        let wait = self.waits.verified_hold;
        let Some(funds) = verified.funds.as_ref().filter(|_| !wait.is_zero()) else { return Ok(()) };
        let valid_for = verified.plan.valid_before.map(|end| end.saturating_sub(self.clock.now().seconds()));
        let wait = valid_for.map_or(wait, |seconds| wait.min(Duration::from_secs(seconds)));
        let held =
            self.guard.reservations().hold(funds, authorization.identity(), verified.amount, wait, Instant::now());
        held.map_err(|SpokenFor| {
            let message = "other payments of this payer, verified or under way, use up what it has";
            Rejection::new(reason::INSUFFICIENT_FUNDS, message)
        })
    }
}
