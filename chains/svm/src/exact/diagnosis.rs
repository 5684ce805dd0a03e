//! Why a transfer would fail, in words that help: asked only when it would.

use chains_core::Rejection;
use solana_sdk::{account::Account, pubkey::Pubkey, transaction::TransactionError};

use super::{rules::Judged, transaction::Transaction};
use crate::{
    context::Context,
    failure, reason,
    token::TransferChecked,
    token_account::{self, AccountError, AccountView, Call},
};

/// Looks at the two token accounts, and says what is wrong with them; or else
/// what the node said.
pub(super) async fn find(
    context: &Context,
    transaction: &Transaction,
    judged: &Judged,
    pay_to: &Pubkey,
    error: &TransactionError,
) -> Rejection {
    let failed = |said: String| Rejection::new(reason::SIMULATION_FAILED, format!("Simulation failed: {said}"));
    if *error == TransactionError::AlreadyProcessed {
        return failed("the transaction has been executed already".to_owned());
    }
    let accounts = [judged.transfer.destination, judged.transfer.source];
    let asked = context.rpc.read(|client| {
        let accounts = &accounts;
        async move { client.get_multiple_accounts(accounts).await }
    });
    let found = asked.await.unwrap_or_default();
    let wrong = match found.as_slice() {
        [destination, source] => judge(&judged.transfer, pay_to, destination.as_ref(), source.as_ref()),
        _ => None,
    };
    wrong.unwrap_or_else(|| failed(failure::explain(error, transaction)))
}

/// What is wrong with the token accounts. Pure.
fn judge(
    transfer: &TransferChecked,
    pay_to: &Pubkey,
    destination: Option<&Account>,
    source: Option<&Account>,
) -> Option<Rejection> {
    let [destination, source] = [destination, source].map(|found| found.map(view));
    if let Err(error) = token_account::check_destination(destination, transfer, pay_to) {
        return Some(match error {
            AccountError::Missing => {
                let message = format!(
                    "the payee has no token account {} for {}: it must exist before the first payment",
                    transfer.destination, transfer.mint
                );
                Rejection::new(reason::DESTINATION_MISSING, message)
            }
            AccountError::OtherToken
            | AccountError::Frozen
            | AccountError::OtherOwner
            | AccountError::MemoRequired
            | AccountError::CpiGuarded
            | AccountError::TooLittle => error.rejection("payee"),
        });
    }
    token_account::check_source(source, transfer, pay_to, Call::Direct).err().map(|error| error.rejection("payer"))
}

fn view(account: &Account) -> AccountView<'_> {
    AccountView { owner: &account.owner, data: &account.data }
}
