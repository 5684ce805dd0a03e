//! Payments that a smart wallet makes: its program moves the tokens, so the
//! transfer stands in no instruction of the transaction itself. Pure; what the
//! simulation shows comes in as data.
//!
//! A program may behave otherwise on chain than in the simulation. So only
//! named programs are called, our keys are out of their reach, and no word of
//! the simulation counts in the end: what a block includes must have raised the
//! payee's balance, as for every payment.

use chains_core::{Code, Rejection, reason::INVALID_PAYMENT_REQUIREMENTS};
use solana_sdk::pubkey::Pubkey;

use super::{
    guards,
    requirements::Requirements,
    rules::{self, Evaluated, Guards},
    transaction::{Instruction, Transaction},
};
use crate::{
    compute_budget::{ComputeBudget, Excess, Limits, Setting, Settings},
    programs, reason,
    token::{AssociatedAccounts, TransferChecked},
};

/// The operator's choices for smart wallets.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// All keys of ours on this network, whether they are announced or not.
    pub ours: &'a [Pubkey],
    /// Programs that may be called, beside memo, `ComputeBudget`, and Lighthouse's assertions.
    pub programs: &'a [Pubkey],
    /// The limits of units and fee.
    pub limits: Limits,
}

/// The official SDKs' caps for smart wallets; the total is that of all payments.
pub fn default_limits() -> Limits {
    Limits { units_max: 400_000, unit_price_max: 50_000, ..Limits::default() }
}

/// An instruction that a program called, from a simulation or a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerInstruction {
    /// The program that was called.
    pub program: Pubkey,
    /// Its accounts in order.
    pub accounts: Vec<Pubkey>,
    /// The bytes that it was given.
    pub data: Vec<u8>,
}

/// A transaction that may be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simulatable {
    /// The wallet's program.
    pub program: Pubkey,
    /// The fee payer: one of ours.
    pub fee_payer: Pubkey,
    /// The units and the price that the transaction sets.
    pub budget: ComputeBudget,
    /// The lamports that it costs us.
    pub fee: u64,
}

type Check<T> = Result<T, Rejection>;

/// Returns whether a refusal by [`rules::evaluate`] only says that the layout is another,
/// so that the payment may be a smart wallet's.
pub fn may_be_wallet(code: Code) -> bool {
    let [fourth, fifth, sixth, _] = reason::UNKNOWN_INSTRUCTION;
    let layout = [
        reason::EXCESSIVE_SIGNERS,
        reason::ALT_RESOLUTION_NOT_AVAILABLE,
        reason::INSTRUCTIONS_LENGTH,
        reason::COMPUTE_LIMIT_INSTRUCTION,
        reason::COMPUTE_PRICE_INSTRUCTION,
        reason::NO_TRANSFER_INSTRUCTION,
        fourth,
        fifth,
        sixth,
    ];
    layout.contains(&code)
}

/// Everything that can be refused before the simulation. What stands in lookup
/// tables is not known yet: see [`check_loaded`].
///
/// # Errors
/// The first check that fails.
pub fn check(
    transaction: &Transaction,
    requirements: &Requirements,
    fee_payer: Pubkey,
    policy: Policy<'_>,
) -> Check<Simulatable> {
    rules::check_signed(transaction, fee_payer)?;
    // No program can stand in a lookup table: a transaction with one there is not decoded.
    let instructions: Vec<_> = transaction.instructions(&[]).collect();
    if transaction.uses_durable_nonce() {
        return Err(Rejection::new(
            reason::WALLET_PROGRAM_NOT_ALLOWED,
            "a durable nonce may not stand for the blockhash",
        ));
    }
    let may_be_called = |found: &&Instruction<'_>| is_harmless(found) || policy.programs.contains(found.program);
    if let Some(found) = instructions.iter().find(|found| !may_be_called(found)) {
        let message = format!("the program {} is not one that payments may call so here", found.program);
        return Err(Rejection::new(reason::WALLET_PROGRAM_NOT_ALLOWED, message));
    }
    check_loaded(transaction, &[], policy.ours)?;
    let budget = compute_budget(&instructions)?;
    let fee = policy.limits.check(budget, transaction.signers().len()).map_err(|excess| {
        let code = match excess {
            Excess::Units { .. } => reason::WALLET_COMPUTE_UNITS_TOO_HIGH,
            Excess::UnitPrice { .. } | Excess::Fee { .. } => reason::WALLET_PRIORITY_FEE_TOO_HIGH,
        };
        Rejection::new(code, excess.to_string())
    })?;
    rules::check_memo(&instructions, requirements.memo.as_deref())?;
    let program = instructions.iter().find(|found| policy.programs.contains(found.program)).map(|found| *found.program);
    let program = program.ok_or_else(|| Rejection::new(reason::WALLET_NO_TRANSFER, "no wallet's program is called"))?;
    Ok(Simulatable { program, fee_payer, budget, fee })
}

/// Returns whether an instruction may stand beside any wallet's call.
fn is_harmless(found: &Instruction<'_>) -> bool {
    let asserts = *found.program == programs::LIGHTHOUSE && guards::only_reads(found.data);
    asserts || *found.program == programs::COMPUTE_BUDGET || *found.program == programs::MEMO
}

/// Our keys are out of reach by lookup tables, too. `loaded` are their
/// accounts, in the runtime's order.
///
/// # Errors
/// One of our keys is among them.
pub fn check_loaded(transaction: &Transaction, loaded: &[Pubkey], ours: &[Pubkey]) -> Check<()> {
    rules::check_isolated(transaction, loaded, ours, Guards::MayNot, reason::WALLET_FEE_PAYER_NOT_ISOLATED)
}

fn compute_budget(instructions: &[Instruction<'_>]) -> Check<ComputeBudget> {
    let bad = |code, message: &'static str| Err(Rejection::new(code, message));
    let mut settings = Settings::default();
    let is_setting = |found: &&Instruction<'_>| *found.program == programs::COMPUTE_BUDGET;
    for found in instructions.iter().filter(is_setting) {
        let first = match (Setting::parse(found.data), found.data.first()) {
            (Some(setting), _) => settings.take(setting),
            (None, None) => return bad(reason::WALLET_MALFORMED_COMPUTE_BUDGET, "a compute budget without content"),
            (None, Some(2)) => {
                return bad(reason::WALLET_MALFORMED_COMPUTE_LIMIT, "`SetComputeUnitLimit` is malformed");
            }
            (None, Some(3)) => {
                return bad(reason::WALLET_MALFORMED_COMPUTE_PRICE, "`SetComputeUnitPrice` is malformed");
            }
            (None, Some(_)) => {
                let message = "a compute budget that the runtime does not know, or does not grant";
                return bad(reason::WALLET_UNSUPPORTED_COMPUTE_BUDGET, message);
            }
        };
        if !first {
            return bad(reason::WALLET_MALFORMED_COMPUTE_BUDGET, "a compute budget stands twice");
        }
    }
    let others = instructions.iter().filter(|found| !is_setting(found)).count();
    let implied = ComputeBudget::implied(others);
    let Settings { unit_limit, unit_price, .. } = settings;
    Ok(ComputeBudget {
        unit_limit: unit_limit.unwrap_or(implied.unit_limit),
        unit_price: unit_price.unwrap_or_default(),
    })
}

/// The one transfer that pays the requirements, among all that programs called.
///
/// # Errors
/// None, more than one, or one of our tokens.
pub fn find_transfer(
    inner: &[InnerInstruction],
    requirements: &Requirements,
    ours: &[Pubkey],
    associated: &AssociatedAccounts,
) -> Check<TransferChecked> {
    let bad = |code, message: &'static str| Err(Rejection::new(code, message));
    let transfers: Vec<_> = inner.iter().filter_map(transfer).collect();
    if transfers.iter().any(|transfer| ours.contains(&transfer.authority)) {
        let message = "a transfer's authority is a fee payer of this facilitator";
        return bad(reason::FEE_PAYER_TRANSFERRING_FUNDS, message);
    }
    let pays = |transfer: &&TransferChecked| {
        let account = associated.of(&requirements.pay_to, &requirements.asset, &transfer.program);
        let payee = transfer.destination == account && transfer.source != account;
        transfer.mint == requirements.asset && payee && transfer.amount >= requirements.amount
    };
    let matching: Vec<_> = transfers.iter().filter(pays).collect();
    match (matching.as_slice(), transfers.as_slice()) {
        ([transfer], _) => Ok(**transfer),
        ([], []) => bad(reason::WALLET_NO_TRANSFER, "the transaction would transfer no tokens"),
        ([], _) => bad(reason::WALLET_TRANSFER_MISMATCH, "no transfer pays the required amount to payTo"),
        ([_, _, ..], _) => bad(reason::WALLET_MULTIPLE_TRANSFERS, "more than one transfer pays payTo"),
    }
}

/// A called transfer; what follows its four accounts are a multisig's signers.
fn transfer(inner: &InnerInstruction) -> Option<TransferChecked> {
    let accounts = inner.accounts.first_chunk::<4>()?;
    TransferChecked::of(inner.program, *accounts, &inner.data)
}

impl Simulatable {
    /// The verdict, with the transfer that the simulation showed.
    ///
    /// # Errors
    /// As [`find_transfer`].
    pub fn evaluate(
        self,
        inner: &[InnerInstruction],
        requirements: &Requirements,
        ours: &[Pubkey],
        associated: &AssociatedAccounts,
    ) -> Check<Evaluated> {
        let transfer = find_transfer(inner, requirements, ours, associated)?;
        if transfer.authority == requirements.pay_to {
            return Err(Rejection::new(INVALID_PAYMENT_REQUIREMENTS, "payer and payTo are the same account"));
        }
        Ok(Evaluated { fee_payer: self.fee_payer, transfer, budget: self.budget, fee: self.fee, guard: None })
    }
}
