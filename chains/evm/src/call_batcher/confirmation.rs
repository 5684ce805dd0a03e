//! Verdicts against a payer, which one endpoint alone never gives.

use chains_core::Rejection;
use chains_rpc::Agreement;

use super::{Batch, CallBatcher};
use crate::{
    rpc::{Rpc, error::CallError},
    scheme::verify_error::VerifyError,
    simulation::Simulator,
};

impl<B: Batch> CallBatcher<B> {
    /// Evaluates a record. When the result is a rejection, and there are
    /// other endpoints, two must say the same; where no two do, nobody can say.
    ///
    /// # Errors
    /// The rejection, or that there is no agreement.
    pub(crate) async fn confirmed<T>(
        &self,
        simulator: Simulator<'_>,
        item: &B::Item,
        record: B::Record,
        evaluate: impl Fn(&B::Record) -> Result<T, Rejection>,
    ) -> Result<(B::Record, T), VerifyError> {
        let with_value = |record: B::Record| {
            let value = evaluate(&record)?;
            Ok((record, value))
        };
        let rejection = match with_value(record) {
            Ok(evaluated) => return Ok(evaluated),
            Err(rejection) => rejection,
        };
        let ask = |rpc: Rpc| {
            let with_value = &with_value;
            async move { Ok(with_value(self.ask_alone(Simulator { rpc: &rpc, ..simulator }, item).await?)) }
        };
        // Seldom needed, and large.
        Box::pin(second_opinion(simulator.rpc, rejection, ask)).await
    }

    /// Asks for one payment in a call of its own.
    async fn ask_alone(&self, simulator: Simulator<'_>, item: &B::Item) -> Result<B::Record, CallError> {
        let mut batch = B::default();
        batch.push(item, 1, u64::MAX);
        let answer = simulator.run::<String>(&batch.simulation(self.sender())).await?;
        let bytes = answer.strip_prefix("0x").and_then(crate::parse::hex);
        let records = bytes.and_then(|bytes| B::read(&bytes, 1));
        records.and_then(|mut records| records.pop().flatten()).ok_or_else(CallError::unreadable)
    }
}

/// Returns what two endpoints say where one says this rejection. With one endpoint its
/// word stands; where no two say the same, nobody can say.
///
/// # Errors
/// The rejection, or that there is no agreement.
pub(crate) async fn second_opinion<T, F, A>(rpc: &Rpc, rejection: Rejection, ask: F) -> Result<T, VerifyError>
where
    F: Fn(Rpc) -> A,
    A: Future<Output = Result<Result<T, Rejection>, CallError>>,
{
    if rpc.endpoints().len() < 2 {
        return Err(rejection.into());
    }
    let code = |said: &Result<T, Rejection>| said.as_ref().err().map(|rejection| rejection.code);
    match rpc.agree(ask, code).await.map_err(|error| rpc.unavailable(error))? {
        Agreement::Agreed(said) | Agreement::Alone(said) => Ok(said?),
        Agreement::Disagreed(answers) => {
            let said = |(host, said): &(String, Result<T, Rejection>)| {
                let said = said.as_ref().map_or_else(|no| no.message.as_ref(), |_| "it is good");
                format!("{host}: {said}")
            };
            let said: Vec<String> = answers.iter().map(said).collect();
            let detail = format!("the endpoints do not agree about a payment; {}", said.join("; "));
            Err(rpc.unavailable(detail).into())
        }
    }
}
