//! Evaluates a payment without the chain. Pure; the checks of the scheme's
//! specification in their order, hardened:
//!
//! * Our keys stand nowhere but as the first account, and only the payer signs
//!   beside us: nothing in the transaction can act in our name.
//! * Every instruction is one transfer, a setting of the compute budget, a memo
//!   or a guard, told apart by program and first byte, so nothing else can
//!   happen. Durable nonces, account creation, other token instructions and
//!   lookup tables all fall to that.
//! * No place has a meaning: wallets add instructions to what they sign, and put
//!   them into another order. Of guards see [`guards`].
//! * What it costs us is capped in total, not only by unit.

use chains_core::{Rejection, reason::INVALID_PAYMENT_REQUIREMENTS};
use solana_sdk::pubkey::Pubkey;

use super::{
    guards::{self, GUARDS_MAX, Guard, GuardError, Subjects},
    requirements::Requirements,
    transaction::{Instruction, Transaction},
};
use crate::{
    compute_budget::{ComputeBudget, Excess, Limits, Setting, Settings},
    programs, reason,
    token::{AssociatedAccounts, TransferChecked},
};

/// Fee payer and payer.
const SIGNERS_MAX: usize = 2;
/// Limit, price, transfer.
const INSTRUCTIONS_MIN: usize = 3;
/// Memos and other settings beside them.
const EXTRA_MAX: usize = reason::UNKNOWN_INSTRUCTION.len();

/// The operator's choices.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// All keys of ours on this network, whether they are announced or not.
    pub ours: &'a [Pubkey],
    /// The limits of units and fee.
    pub limits: Limits,
    /// True when a transfer may come without `ComputeBudget` instructions; the
    /// units that the runtime then grants count.
    pub without_compute_budget: bool,
    /// The addresses of token accounts.
    pub associated: &'a AssociatedAccounts,
}

/// A payment that only the chain can still refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// The fee payer: one of ours.
    pub fee_payer: Pubkey,
    /// The transfer; its authority is the payer.
    pub transfer: TransferChecked,
    /// The units and the price that the transaction sets.
    pub budget: ComputeBudget,
    /// The lamports that it costs us, whether it succeeds or fails.
    pub fee: u64,
    /// The demands of its guards; `None` when it has none.
    pub guard: Option<Guard>,
}

type Check<T> = Result<T, Rejection>;

/// Evaluates a transaction against the requirements. `fee_payer` is what
/// [`Requirements::check_names`] found.
///
/// # Errors
/// The first check that fails.
pub fn evaluate(
    transaction: &Transaction,
    requirements: &Requirements,
    fee_payer: Pubkey,
    policy: Policy<'_>,
) -> Check<Evaluated> {
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
    let (guards, others): (Vec<_>, Vec<_>) =
        (0..).zip(&instructions).partition(|(_, found)| *found.program == programs::LIGHTHOUSE);
    let layout: Vec<Instruction<'_>> = others.into_iter().map(|(_, found)| *found).collect();
    let (budget, mut rest) = compute_budget(layout, guards.len(), policy)?;
    let fee = policy.limits.check(budget, signers).map_err(|excess| {
        let code = match excess {
            Excess::Units { .. } => reason::COMPUTE_LIMIT_TOO_HIGH,
            Excess::UnitPrice { .. } | Excess::Fee { .. } => reason::COMPUTE_PRICE_TOO_HIGH,
        };
        Rejection::new(code, excess.to_string())
    })?;
    let transfer = take_transfer(&mut rest).ok_or_else(|| {
        let message = "no instruction is `TransferChecked` of a token program";
        Rejection::new(reason::NO_TRANSFER_INSTRUCTION, message)
    })?;
    check_authority(transaction, &transfer, policy.ours)?;
    check_transfer(&transfer, requirements, policy.associated)?;
    check_extra(&rest)?;
    let guard = check_guards(&guards, fee_payer, &transfer)?;
    check_memo(&rest, requirements.memo.as_deref())?;
    Ok(Evaluated { fee_payer, transfer, budget, fee, guard })
}

/// Takes the first transfer out of these instructions.
fn take_transfer(rest: &mut Vec<Instruction<'_>>) -> Option<TransferChecked> {
    let (place, transfer) =
        rest.iter().enumerate().find_map(|(place, found)| Some((place, TransferChecked::parse(found)?)))?;
    rest.remove(place);
    Some(transfer)
}

/// The demands of all guards together.
fn check_guards(
    guards: &[(usize, &Instruction<'_>)],
    fee_payer: Pubkey,
    transfer: &TransferChecked,
) -> Check<Option<Guard>> {
    if guards.len() > GUARDS_MAX {
        let message = format!("{} guards: at most {GUARDS_MAX} are allowed", guards.len());
        return Err(Rejection::new(reason::INSTRUCTIONS_LENGTH, message));
    }
    let TransferChecked { authority: payer, source, destination, mint, .. } = transfer;
    let subjects = Subjects { fee_payer: &fee_payer, payer, source, destination, mint };
    let mut all: Option<Guard> = None;
    for (place, found) in guards {
        let guard = guards::read(found, subjects).map_err(|error| refused_guard(*place, error))?;
        let floor = all.and_then(|all| all.fee_payer_floor).max(guard.fee_payer_floor);
        all = Some(Guard { fee_payer_floor: floor });
    }
    Ok(all)
}

fn refused_guard(place: usize, error: GuardError) -> Rejection {
    let [first, .., last] = reason::UNKNOWN_INSTRUCTION;
    let code = match place.checked_sub(INSTRUCTIONS_MIN) {
        None => first,
        Some(extra) => reason::UNKNOWN_INSTRUCTION.get(extra).copied().unwrap_or(last),
    };
    Rejection::new(code, format!("the guard in instruction {} is not allowed: {error}", place.saturating_add(1)))
}

/// Checks that the fee payer is the named one, and that all others have signed.
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

/// Checks the number of instructions, guards left out, and reads the compute budget; returns the
/// others in their order. A second setting of a kind is one of those.
fn compute_budget<'t>(
    instructions: Vec<Instruction<'t>>,
    guards: usize,
    policy: Policy<'_>,
) -> Check<(ComputeBudget, Vec<Instruction<'t>>)> {
    let count = instructions.len();
    let (settings, rest) = settings(instructions);
    let unset = settings.unit_limit.is_none() && settings.unit_price.is_none();
    let bare = policy.without_compute_budget && unset;
    let least = if bare { 1 } else { INSTRUCTIONS_MIN };
    if !(least..=least + EXTRA_MAX).contains(&count) {
        let message = format!("{count} instructions: {least} to {} are allowed", least + EXTRA_MAX);
        return Err(Rejection::new(reason::INSTRUCTIONS_LENGTH, message));
    }
    if bare {
        return Ok((ComputeBudget::implied(rest.len() + guards), rest));
    }
    let missing = |code, name| Rejection::new(code, format!("one instruction must be `{name}`, whole and only once"));
    let unit_limit =
        settings.unit_limit.ok_or_else(|| missing(reason::COMPUTE_LIMIT_INSTRUCTION, "SetComputeUnitLimit"))?;
    let unit_price =
        settings.unit_price.ok_or_else(|| missing(reason::COMPUTE_PRICE_INSTRUCTION, "SetComputeUnitPrice"))?;
    Ok((ComputeBudget { unit_limit, unit_price }, rest))
}

/// The first setting of each kind, and all that is none.
fn settings(instructions: Vec<Instruction<'_>>) -> (Settings, Vec<Instruction<'_>>) {
    let (mut settings, mut rest) = (Settings::default(), vec![]);
    for found in instructions {
        let setting = Some(&found).filter(|found| *found.program == programs::COMPUTE_BUDGET);
        let setting = setting.and_then(|found| Setting::parse(found.data));
        if !setting.is_some_and(|setting| settings.take(setting)) {
            rest.push(found);
        }
    }
    (settings, rest)
}

/// Checks that the payer, and nobody else, acts.
fn check_authority(transaction: &Transaction, transfer: &TransferChecked, ours: &[Pubkey]) -> Check<()> {
    if ours.contains(&transfer.authority) {
        let message = "the transfer's authority is a fee payer of this facilitator";
        return Err(Rejection::new(reason::FEE_PAYER_TRANSFERRING_FUNDS, message));
    }
    check_isolated(transaction, &[], ours, Guards::MayRead, reason::FEE_PAYER_INCLUDED)?;
    if transaction.signers().get(1) != Some(&transfer.authority) {
        let message = "the transfer's authority must sign the transaction itself";
        return Err(Rejection::new(reason::SIGNATURE_INVALID, message));
    }
    Ok(())
}

/// The right of guards to mention the fee payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guards {
    /// They may read it; what they ask of it is looked at by itself.
    MayRead,
    /// They may not.
    MayNot,
}

/// Our keys stand nowhere but as the first account, which no instruction
/// mentions but guards that read it.
pub(super) fn check_isolated(
    transaction: &Transaction,
    loaded: &[Pubkey],
    ours: &[Pubkey],
    guards: Guards,
    code: chains_core::Code,
) -> Check<()> {
    let mut others = transaction.accounts().iter().skip(1).chain(loaded);
    let stands = others.any(|account| ours.contains(account));
    let is_guard = |found: &Instruction<'_>| {
        guards == Guards::MayRead && *found.program == programs::LIGHTHOUSE && guards::only_reads(found.data)
    };
    let mut instructions = transaction.instructions(loaded).filter(|found| !is_guard(found));
    if stands || instructions.any(|found| ours.iter().any(|key| found.mentions(key))) {
        return Err(Rejection::new(code, "a fee payer of this facilitator may only pay the fee"));
    }
    Ok(())
}

/// Checks the token, the payee and the amount.
fn check_transfer(
    transfer: &TransferChecked,
    requirements: &Requirements,
    associated: &AssociatedAccounts,
) -> Check<()> {
    let bad = |code, message: String| Err(Rejection::new(code, message));
    if transfer.mint != requirements.asset {
        return bad(
            reason::MINT_MISMATCH,
            format!("the transfer moves the token {}, required is {}", transfer.mint, requirements.asset),
        );
    }
    let destination = associated.of(&requirements.pay_to, &requirements.asset, &transfer.program);
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
    if transfer.authority == requirements.pay_to {
        return bad(INVALID_PAYMENT_REQUIREMENTS, "payer and payTo are the same account".to_owned());
    }
    if transfer.amount != requirements.amount {
        let message = format!("the transfer moves {}, required is exactly {}", transfer.amount, requirements.amount);
        return bad(reason::AMOUNT_MISMATCH, message);
    }
    Ok(())
}

/// Checks that only memos stand beside the transfer, settings and guards left out.
fn check_extra(extra: &[Instruction<'_>]) -> Check<()> {
    let unknown = extra.iter().zip(reason::UNKNOWN_INSTRUCTION).find(|(found, _)| *found.program != programs::MEMO);
    let Some((found, code)) = unknown else { return Ok(()) };
    let message =
        format!("only memos and guards may stand beside the transfer, not this instruction to {}", found.program);
    Err(Rejection::new(code, message))
}

/// Checks that the memo that the resource server asks for stands there once.
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
