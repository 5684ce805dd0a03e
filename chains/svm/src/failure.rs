//! The meaning of a transaction's failure, executed or simulated, for the payment. Pure.

use solana_sdk::{instruction::InstructionError, transaction::TransactionError};

use crate::{exact::transaction::Transaction, programs};

/// The cause of a transaction's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The payment's: asking again will not help.
    Payment,
    /// The blockhash is not one of the last 150: too old, of another cluster,
    /// or too new for this node.
    Blockhash,
    /// A lookup table's that cannot be used, or not yet.
    Tables,
    /// Ours or the cluster's: it may pass.
    Passing,
}

/// The cause that an error names.
pub(crate) fn fault(error: &TransactionError) -> Fault {
    match error {
        TransactionError::BlockhashNotFound => Fault::Blockhash,
        TransactionError::AddressLookupTableNotFound
        | TransactionError::InvalidAddressLookupTableOwner
        | TransactionError::InvalidAddressLookupTableData
        | TransactionError::InvalidAddressLookupTableIndex => Fault::Tables,
        TransactionError::InsufficientFundsForFee
        | TransactionError::AccountNotFound
        | TransactionError::InsufficientFundsForRent { account_index: 0 }
        | TransactionError::AccountInUse
        | TransactionError::ClusterMaintenance
        | TransactionError::WouldExceedMaxBlockCostLimit
        | TransactionError::WouldExceedMaxAccountCostLimit
        | TransactionError::WouldExceedMaxVoteCostLimit
        | TransactionError::WouldExceedAccountDataBlockLimit
        | TransactionError::ProgramExecutionTemporarilyRestricted { .. } => Fault::Passing,
        _ => Fault::Payment,
    }
}

/// The sentence for people.
pub(crate) fn explain(error: &TransactionError, transaction: &Transaction) -> String {
    if let TransactionError::InstructionError(index, InstructionError::Custom(number)) = error {
        let instruction = transaction.instructions(&[]).nth(usize::from(*index));
        let is_token = instruction.is_some_and(|found| programs::is_token(found.program));
        if let Some(known) = token_error(*number).filter(|_| is_token) {
            return known.to_owned();
        }
    }
    error.to_string()
}

/// The token programs' error numbers that a transfer meets; see `TokenError`
/// of `spl-token-interface` and `spl-token-2022-interface`.
const fn token_error(number: u32) -> Option<&'static str> {
    match number {
        1 => Some("the payer's token account does not hold the amount"),
        3 => Some("a token account is of another mint"),
        4 => Some("the payer does not own the token account and has no allowance for the amount"),
        17 => Some("the payer's or the payee's token account is frozen"),
        18 => Some("the decimals in the transfer are not the mint's"),
        36 => Some("the payee's token account asks for a memo before the transfer"),
        _ => None,
    }
}
