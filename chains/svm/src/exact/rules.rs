//! What can be decided about a payment without the chain. Pure; checks 6 to 19
//! of `protocol.md` 4.2 in their order, hardened as its notes say:
//!
//! * Our keys stand nowhere but as the first account, and only the payer signs
//!   beside us: nothing in the transaction can act in our name.
//! * Every instruction is one of five, told apart by program and first byte, so
//!   nothing else can happen. Durable nonces, account creation, other token
//!   instructions and lookup tables all fall to that.
//! * What it costs us is capped in total, not only by unit.

use chains_core::{Rejection, reason::INVALID_PAYMENT_REQUIREMENTS};
use solana_sdk::pubkey::Pubkey;

use super::{
    demand::Demand,
    transaction::{Instruction, Transaction},
};
use crate::{
    compute_budget::{ComputeBudget, Excess, Limits, Setting},
    programs, reason,
    token::{self, TransferChecked},
};

/// Fee payer and payer.
const SIGNERS_MAX: usize = 2;
/// Limit, price, transfer.
const INSTRUCTIONS_MIN: usize = 3;
/// Memo and assertions after the transfer.
const EXTRA_MAX: usize = reason::UNKNOWN_INSTRUCTION.len();

/// What the operator allows.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// All keys of ours on this network, whether they are announced or not.
    pub ours: &'a [Pubkey],
    /// What a payment may use and cost.
    pub limits: Limits,
    /// Whether a transfer may come without `ComputeBudget` instructions; the
    /// units that the runtime then grants count.
    pub without_compute_budget: bool,
}

/// A payment that only the chain can still refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Who pays the fee: one of ours.
    pub fee_payer: Pubkey,
    /// The transfer; its authority is the payer.
    pub transfer: TransferChecked,
    /// What the transaction may use and offers.
    pub budget: ComputeBudget,
    /// What it costs us, in lamports, whether it succeeds or fails.
    pub fee: u64,
}

type Check<T> = Result<T, Rejection>;

/// Judges a transaction against the demand. `fee_payer` is what
/// [`Demand::check_names`] found.
///
/// # Errors
/// The first check that fails.
pub fn judge(transaction: &Transaction, demand: &Demand, fee_payer: Pubkey, policy: Policy<'_>) -> Check<Judged> {
    let signers = transaction.signers().len();
    if signers > SIGNERS_MAX {
        let message = format!("{signers} signatures are asked for: only the fee payer and the payer may sign");
        return Err(Rejection::new(reason::EXCESSIVE_SIGNERS, message));
    }
    check_signed(transaction, fee_payer)?;
    if !transaction.lookups().is_empty() {
        let message = "every account must stand in the transaction itself: lookup tables are not allowed";
        return Err(Rejection::new(reason::ALT_RESOLUTION_NOT_AVAILABLE, message));
    }
    let instructions: Vec<_> = transaction.instructions(&[]).collect();
    let (budget, rest) = compute_budget(&instructions, policy)?;
    let fee = policy.limits.check(budget, signers).map_err(|excess| {
        let code = match excess {
            Excess::Units { .. } => reason::COMPUTE_LIMIT_TOO_HIGH,
            Excess::UnitPrice { .. } | Excess::Fee { .. } => reason::COMPUTE_PRICE_TOO_HIGH,
        };
        Rejection::new(code, excess.to_string())
    })?;
    let transfer = rest.first().and_then(TransferChecked::parse).ok_or_else(|| {
        let message = "`TransferChecked` of a token program must stand after the compute budget";
        Rejection::new(reason::NO_TRANSFER_INSTRUCTION, message)
    })?;
    check_authority(transaction, &transfer, policy.ours)?;
    check_transfer(&transfer, demand)?;
    let extra = rest.get(1..).unwrap_or_default();
    check_extra(extra)?;
    check_memo(extra, demand.memo.as_deref())?;
    Ok(Judged { fee_payer, transfer, budget, fee })
}

/// Checks 7 and 8: who pays the fee, and whether all others have signed.
pub(super) fn check_signed(transaction: &Transaction, fee_payer: Pubkey) -> Check<()> {
    if transaction.fee_payer() != Some(&fee_payer) {
        let message = format!("the first account must be the fee payer, {fee_payer}");
        return Err(Rejection::new(reason::FEE_PAYER_MISMATCH, message));
    }
    if !transaction.clients_signed() {
        return Err(Rejection::new(reason::SIGNATURE_INVALID, "the payer's signature is missing or wrong"));
    }
    Ok(())
}

/// Checks 10 and 11: how many instructions, and the first two of them; the
/// instructions from the transfer on.
fn compute_budget<'i, 't>(
    instructions: &'i [Instruction<'t>],
    policy: Policy<'_>,
) -> Check<(ComputeBudget, &'i [Instruction<'t>])> {
    let count = instructions.len();
    let bare =
        instructions.first().is_some_and(|first| policy.without_compute_budget && programs::is_token(first.program));
    let least = if bare { 1 } else { INSTRUCTIONS_MIN };
    if !(least..=least + EXTRA_MAX).contains(&count) {
        let message = format!("{count} instructions: {least} to {} are allowed", least + EXTRA_MAX);
        return Err(Rejection::new(reason::INSTRUCTIONS_LENGTH, message));
    }
    if bare {
        return Ok((ComputeBudget::implied(count), instructions));
    }
    let setting = |position: usize| {
        let found = instructions.get(position).filter(|found| *found.program == programs::COMPUTE_BUDGET);
        found.and_then(|found| Setting::parse(found.data))
    };
    let Some(Setting::UnitLimit(unit_limit)) = setting(0) else {
        let message = "the first instruction must be `SetComputeUnitLimit`";
        return Err(Rejection::new(reason::COMPUTE_LIMIT_INSTRUCTION, message));
    };
    let Some(Setting::UnitPrice(unit_price)) = setting(1) else {
        let message = "the second instruction must be `SetComputeUnitPrice`";
        return Err(Rejection::new(reason::COMPUTE_PRICE_INSTRUCTION, message));
    };
    Ok((ComputeBudget { unit_limit, unit_price }, instructions.get(2..).unwrap_or_default()))
}

/// Check 14 and what follows of it: the payer, and nobody else, acts.
fn check_authority(transaction: &Transaction, transfer: &TransferChecked, ours: &[Pubkey]) -> Check<()> {
    if ours.contains(&transfer.authority) {
        let message = "the transfer's authority is a fee payer of this facilitator";
        return Err(Rejection::new(reason::FEE_PAYER_TRANSFERRING_FUNDS, message));
    }
    check_isolated(transaction, &[], ours, reason::FEE_PAYER_INCLUDED)?;
    if transaction.signers().get(1) != Some(&transfer.authority) {
        let message = "the transfer's authority must sign the transaction itself";
        return Err(Rejection::new(reason::SIGNATURE_INVALID, message));
    }
    Ok(())
}

/// Our keys stand nowhere but as the first account, which no instruction mentions.
pub(super) fn check_isolated(
    transaction: &Transaction,
    loaded: &[Pubkey],
    ours: &[Pubkey],
    code: chains_core::Code,
) -> Check<()> {
    let mut others = transaction.accounts().iter().skip(1).chain(loaded);
    let stands = others.any(|account| ours.contains(account));
    let mentioned = transaction.instructions(loaded).any(|found| ours.iter().any(|key| found.mentions(key)));
    if stands || mentioned {
        return Err(Rejection::new(code, "a fee payer of this facilitator may only pay the fee"));
    }
    Ok(())
}

/// Checks 15 to 17: the token, the payee, the amount.
fn check_transfer(transfer: &TransferChecked, demand: &Demand) -> Check<()> {
    let bad = |code, message: String| Err(Rejection::new(code, message));
    if transfer.mint != demand.asset {
        return bad(
            reason::MINT_MISMATCH,
            format!("the transfer moves the token {}, required is {}", transfer.mint, demand.asset),
        );
    }
    let destination = token::associated_account(&demand.pay_to, &demand.asset, &transfer.program);
    if transfer.destination != destination {
        let message = format!(
            "the transfer pays {}, required is {destination}, the associated token account of payTo",
            transfer.destination
        );
        return bad(reason::RECIPIENT_MISMATCH, message);
    }
    // It would succeed and move nothing.
    if transfer.source == destination {
        return bad(reason::RECIPIENT_MISMATCH, "the transfer pays the account that it takes from".to_owned());
    }
    if transfer.authority == demand.pay_to {
        return bad(INVALID_PAYMENT_REQUIREMENTS, "payer and payTo are the same account".to_owned());
    }
    if transfer.amount != demand.amount {
        let message = format!("the transfer moves {}, required is exactly {}", transfer.amount, demand.amount);
        return bad(reason::AMOUNT_MISMATCH, message);
    }
    Ok(())
}

/// Check 18: after the transfer only memos and assertions.
fn check_extra(extra: &[Instruction<'_>]) -> Check<()> {
    let harmless = |found: &Instruction<'_>| {
        *found.program == programs::MEMO
            || (*found.program == programs::LIGHTHOUSE && programs::is_lighthouse_assertion(found.data))
    };
    let unknown = extra.iter().zip(reason::UNKNOWN_INSTRUCTION).find(|(found, _)| !harmless(found));
    let Some((found, code)) = unknown else { return Ok(()) };
    let message = format!("only memos and assertions may follow the transfer, not an instruction to {}", found.program);
    Err(Rejection::new(code, message))
}

/// Check 19: the memo that the resource server asks for, once.
pub(super) fn check_memo(instructions: &[Instruction<'_>], memo: Option<&str>) -> Check<()> {
    let Some(memo) = memo else { return Ok(()) };
    let mut memos = instructions.iter().filter(|found| *found.program == programs::MEMO);
    let (Some(found), None) = (memos.next(), memos.next()) else {
        return Err(Rejection::new(reason::MEMO_COUNT, "`extra.memo` must stand in exactly one memo"));
    };
    if found.data != memo.as_bytes() {
        return Err(Rejection::new(reason::MEMO_MISMATCH, "the memo is not `extra.memo`"));
    }
    Ok(())
}
