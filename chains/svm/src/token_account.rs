//! Checks that a token account can be paid, and can pay. Pure: reads an account's bytes.

use chains_core::Rejection;
use solana_sdk::{program_option::COption, program_pack::Pack, pubkey::Pubkey};
use spl_token_2022_interface::{
    extension::{BaseStateWithExtensions, StateWithExtensions, cpi_guard::CpiGuard, memo_transfer::MemoTransfer},
    state::{Account, AccountState, Multisig},
};

use crate::{programs, reason, token::TransferChecked};

/// The reason why a token account cannot take part in a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The account does not exist. None is created: its rent would be at our cost.
    #[error("does not exist")]
    Missing,
    /// Another program's, not initialised, or of another mint.
    #[error("is not an account of this token")]
    OtherToken,
    /// Nobody can move tokens into or out of it.
    #[error("is frozen")]
    Frozen,
    /// The payee's account is not payTo's, or who signs may not spend from the payer's.
    #[error("belongs to somebody else")]
    OtherOwner,
    /// It takes only transfers that follow a memo, and the layout has the memo last.
    #[error("takes only transfers that follow a memo")]
    MemoRequired,
    /// Its owner has forbidden transfers by other programs, as smart wallets make them.
    #[error("forbids transfers by programs")]
    CpiGuarded,
    /// Less than the amount, or less of it may be spent.
    #[error("holds too little")]
    TooLittle,
    /// More than a token account can hold would be in it.
    #[error("holds too much to take the amount")]
    TooMuch,
    /// A multisig moves its tokens: the program asks for its members, and the layout has no place for them.
    #[error("is moved by a multisig, whose members would have to sign")]
    Multisig,
}

/// The caller of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// By an instruction of the transaction itself.
    Direct,
    /// By a program that the transaction calls.
    ByProgram,
}

/// An account as the chain has it; the owner is the program that it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct AccountView<'a> {
    /// The program.
    pub owner: &'a Pubkey,
    /// Its bytes.
    pub data: &'a [u8],
}

/// Checks that the payee's account can take the transfer, and returns what it holds now.
///
/// # Errors
/// See [`AccountError`].
pub fn check_destination(
    account: Option<AccountView<'_>>,
    transfer: &TransferChecked,
    pay_to: &Pubkey,
) -> Result<u64, AccountError> {
    let state = read(account, transfer)?;
    if state.base.owner != *pay_to {
        return Err(AccountError::OtherOwner);
    }
    if state.get_extension::<MemoTransfer>().is_ok_and(|found| found.require_incoming_transfer_memos.into()) {
        return Err(AccountError::MemoRequired);
    }
    if state.base.amount.checked_add(transfer.amount).is_none() {
        return Err(AccountError::TooMuch);
    }
    Ok(state.base.amount)
}

/// Checks that the account of whoever moves the tokens is none of a multisig:
/// its key may sign a transaction, and the program does not take that for its
/// members. The length decides: releases of the program differ in whether they
/// look at the account's own program.
///
/// # Errors
/// [`AccountError::Multisig`].
pub fn check_authority(account: Option<AccountView<'_>>) -> Result<(), AccountError> {
    let is_multisig = account.is_some_and(|found| found.data.len() == Multisig::LEN);
    if is_multisig { Err(AccountError::Multisig) } else { Ok(()) }
}

/// Checks that the payer can make the transfer, as the account's owner or its
/// delegate, but not with the payee's own tokens; what it may spend now.
///
/// # Errors
/// See [`AccountError`].
pub fn check_source(
    account: Option<AccountView<'_>>,
    transfer: &TransferChecked,
    pay_to: &Pubkey,
    call: Call,
) -> Result<u64, AccountError> {
    let state = read(account, transfer)?;
    let spendable = spendable(&state.base, transfer, pay_to)?;
    let guarded = || state.get_extension::<CpiGuard>().is_ok_and(|found| found.lock_cpi.into());
    if call == Call::ByProgram && guarded() {
        return Err(AccountError::CpiGuarded);
    }
    if spendable < transfer.amount {
        return Err(AccountError::TooLittle);
    }
    Ok(spendable)
}

/// The tokens that the payer may spend of an account; `None` when it cannot pay from it.
pub fn available(account: AccountView<'_>, transfer: &TransferChecked, pay_to: &Pubkey) -> Option<u64> {
    let state = read(Some(account), transfer).ok()?;
    spendable(&state.base, transfer, pay_to).ok()
}

/// The program looks at the delegate first: an owner that is its own delegate
/// spends its allowance and no more.
fn spendable(account: &Account, transfer: &TransferChecked, pay_to: &Pubkey) -> Result<u64, AccountError> {
    let is_owner = account.owner == transfer.authority;
    let is_delegate = account.delegate == COption::Some(transfer.authority);
    if is_delegate && (is_owner || account.owner != *pay_to) {
        Ok(account.amount.min(account.delegated_amount))
    } else if is_owner {
        Ok(account.amount)
    } else {
        Err(AccountError::OtherOwner)
    }
}

fn read<'a>(
    account: Option<AccountView<'a>>,
    transfer: &TransferChecked,
) -> Result<StateWithExtensions<'a, Account>, AccountError> {
    let account = account.ok_or(AccountError::Missing)?;
    if *account.owner != transfer.program {
        return Err(AccountError::OtherToken);
    }
    // The accounts of SPL Token have no extensions.
    if transfer.program == programs::TOKEN && account.data.len() != Account::LEN {
        return Err(AccountError::OtherToken);
    }
    let state = StateWithExtensions::<Account>::unpack(account.data).map_err(|_| AccountError::OtherToken)?;
    if state.base.mint != transfer.mint {
        return Err(AccountError::OtherToken);
    }
    match state.base.state {
        AccountState::Initialized => Ok(state),
        AccountState::Frozen => Err(AccountError::Frozen),
        AccountState::Uninitialized => Err(AccountError::OtherToken),
    }
}

impl AccountError {
    /// The refusal that says so: the transfer would fail, and this is why.
    pub fn rejection(self, whose: &str) -> Rejection {
        Rejection::new(reason::SIMULATION_FAILED, format!("the {whose}'s token account {self}"))
    }
}

#[cfg(test)]
mod tests;
