//! `/verify`: is this payment good? Writes nothing, anywhere.

use chains_core::{
    protocol::Request,
    scheme::{Purpose, Verdict},
};

use super::{Payments, VerifyOutcome, answer, identifier};
use crate::submitter::Condition;

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
        match authorization.verify(Purpose::Verify).await {
            Verdict::Valid(_) => answer::valid(payer),
            Verdict::Invalid(rejection) => answer::invalid(version, rejection, payer),
            Verdict::Unavailable(error) => {
                tracing::warn!(%error, "a payment could not be verified");
                answer::cannot_verify("the chain could not be asked", payer)
            }
        }
    }
}
