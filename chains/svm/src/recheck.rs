//! Checks that payments that waited would still succeed.

use chains_core::{Rejection, observation::Recheck, transaction::Plan};
use futures::{
    FutureExt,
    stream::{self, StreamExt},
};
use solana_commitment_config::CommitmentConfig;
use solana_sdk::{pubkey::Pubkey, transaction::TransactionError};

use crate::{
    context::Context,
    exact::simulation::{self, Ask},
    failure::{self, Fault},
    observe::Credited,
    plan::{Proof, TransferPlan},
    reason,
    token::TransferChecked,
    token_account::{self, AccountView, Call},
};

/// Payments that are looked at at a time.
const AT_A_TIME: usize = 64;

/// See [`Execution::recheck`](chains_core::chain::Execution::recheck).
pub(crate) async fn recheck(context: &Context, plans: &[Plan]) -> Vec<Recheck> {
    // Boxed: the compiler cannot see through the borrowed closures otherwise.
    let rechecks = plans.iter().map(|plan| one(context, plan).boxed());
    stream::iter(rechecks.collect::<Vec<_>>()).buffered(AT_A_TIME).collect().await
}

async fn one(context: &Context, plan: &Plan) -> Recheck {
    let plan = match TransferPlan::of(plan) {
        Ok(plan) => plan,
        Err(error) => return Recheck::Unknown(error.to_string()),
    };
    let height = context.blocks.newest().map_or(0, |newest| newest.height);
    if plan.body.last_valid_block_height <= height {
        return Recheck::Bad(Rejection::new(reason::BLOCKHASH_EXPIRING, "the transaction's blockhash has expired"));
    }
    let direct = plan.transaction.instructions(&[]).find_map(|found| TransferChecked::parse(&found));
    match (plan.body.proof, direct, plan.body.effect.pay_to.parse::<Pubkey>()) {
        (Proof::Status, Some(transfer), Ok(pay_to)) => by_accounts(context, &transfer, &pay_to).await,
        _ => by_simulation(context, &plan).await,
    }
}

async fn by_accounts(context: &Context, transfer: &TransferChecked, pay_to: &Pubkey) -> Recheck {
    let Context { accounts, rpc, .. } = context;
    let parties = [transfer.destination, transfer.source, transfer.authority];
    let accounts = match accounts.read(rpc, parties, None).await {
        Ok(snapshot) => snapshot.accounts,
        Err(error) => return Recheck::Unknown(error.to_string()),
    };
    let [destination, source, authority] = accounts
        .each_ref()
        .map(|account| account.as_ref().map(|found| AccountView { owner: &found.owner, data: &found.data }));
    if let Err(error) = token_account::check_destination(destination, transfer, pay_to) {
        return Recheck::Bad(error.rejection("payee"));
    }
    let checked = token_account::check_source(source, transfer, pay_to, Call::Direct);
    match checked.and_then(|_| token_account::check_authority(authority)) {
        Ok(()) => Recheck::Good,
        Err(error) => Recheck::Bad(error.rejection("payer")),
    }
}

async fn by_simulation(context: &Context, plan: &TransferPlan) -> Recheck {
    let confirmed = CommitmentConfig::confirmed();
    let simulated = match simulation::simulate(context, &plan.transaction, Ask::Nothing, confirmed).await {
        Ok(simulated) => simulated,
        Err(error) => return Recheck::Unknown(error.to_string()),
    };
    if let Some(error) = &simulated.error {
        let said = failure::explain(error, &plan.transaction);
        let is_payments = failure::fault(error) == Fault::Payment && *error != TransactionError::AlreadyProcessed;
        return if is_payments {
            Recheck::Bad(Rejection::new(reason::SIMULATION_FAILED, format!("Simulation failed: {said}")))
        } else {
            Recheck::Unknown(said)
        };
    }
    // The accounts of lookup tables are not asked for: where the payee's is one
    // of them, that nothing fails has to do.
    let credited = simulated.balances().map(|found| found.show(&plan.body.effect, plan.transaction.accounts()));
    let is_own = plan.transaction.accounts().iter().any(|account| account.to_string() == plan.body.effect.destination);
    match credited {
        Some(Credited::No(why)) if is_own => Recheck::Bad(Rejection::new(reason::SIMULATION_FAILED, why)),
        Some(Credited::Yes | Credited::No(_)) => Recheck::Good,
        Some(Credited::Unknown) | None => Recheck::Unknown("the node tells no token balances".to_owned()),
    }
}
