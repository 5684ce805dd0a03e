//! Guards: assertions of the Lighthouse program, which wallets add to what they
//! sign, so that a transaction fails when it would do more than they showed to
//! the user. Pure.
//!
//! A guard may stand anywhere. It may read, never write or move, and only what
//! nobody but the payer can change between the simulation and the block: else
//! a transaction could be made to fail at our cost and nobody else's. The
//! balance of our fee payer changes with every payment; a guard on it is a
//! floor, which has to leave room for what is under way.
//!
//! Instruction and assertion numbers: <https://github.com/Jac0xb/lighthouse>,
//! program `L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95`.

use solana_sdk::pubkey::Pubkey;

use super::transaction::Instruction;

/// Guards that a transaction may have.
pub const GUARDS_MAX: usize = 4;

/// Assertions in one guard, at most.
const ASSERTIONS_MAX: u8 = 32;

/// The accounts that a guard may read.
#[derive(Clone, Copy, Debug)]
pub struct Subjects<'a> {
    /// The one that pays the fee: only its balance changes, by fees.
    pub fee_payer: &'a Pubkey,
    /// Those that only the payer, or the payment itself, changes.
    pub payers: &'a [Pubkey],
}

/// The demands of a guard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// The lamports that the fee payer must keep.
    pub fee_payer_floor: Option<u64>,
}

/// The reason why a guard is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// An instruction that writes, calls another program, or looks at what
    /// changes by itself, such as the clock.
    #[error("only assertions about data, owner, balance, mint and token accounts are allowed")]
    Kind,
    /// It reads an account that somebody can change at no risk to the payment.
    #[error("it reads an account that is neither the payer's nor the payment's")]
    Subject,
    /// It asks of the fee payer's balance what the next payment breaks.
    #[error("it asks more of the fee payer's balance than that it is not too low")]
    FeePayerBalance,
    /// The bytes are not those of an assertion.
    #[error("its assertions cannot be read")]
    Unreadable,
}

/// The first bytes of instructions that only read.
mod kind {
    /// `AssertAccountData` and the same of several.
    pub const ACCOUNT_DATA: [u8; 2] = [2, 3];
    /// `AssertAccountDelta`, of two accounts.
    pub const ACCOUNT_DELTA: u8 = 4;
    /// `AssertAccountInfo`.
    pub const ACCOUNT_INFO: u8 = 5;
    /// `AssertAccountInfoMulti`.
    pub const ACCOUNT_INFO_MULTI: u8 = 6;
    /// `AssertMintAccount` to `AssertTokenAccountMulti`.
    pub const TOKENS: std::ops::RangeInclusive<u8> = 7..=10;
}

/// Returns whether an instruction to Lighthouse only reads accounts, whatever they are.
pub fn only_reads(data: &[u8]) -> bool {
    matches!(data.first(), Some(2..=10))
}

/// Reads an instruction to Lighthouse.
///
/// # Errors
/// See [`GuardError`].
pub fn read(instruction: &Instruction<'_>, subjects: Subjects<'_>) -> Result<Guard, GuardError> {
    let (kind, rest) = instruction.data.split_first().ok_or(GuardError::Unreadable)?;
    let accounts = match *kind {
        kind::ACCOUNT_DELTA => 2,
        kind::ACCOUNT_INFO | kind::ACCOUNT_INFO_MULTI => 1,
        kind if kind::ACCOUNT_DATA.contains(&kind) || kind::TOKENS.contains(&kind) => 1,
        _ => return Err(GuardError::Kind),
    };
    if instruction.account_count() != accounts {
        return Err(GuardError::Subject);
    }
    let mut of_fee_payer = false;
    for position in 0..accounts {
        let account = instruction.account(position).ok_or(GuardError::Subject)?;
        if account == subjects.fee_payer {
            of_fee_payer = true;
        } else if !subjects.payers.contains(account) {
            return Err(GuardError::Subject);
        }
    }
    if !of_fee_payer {
        return Ok(Guard::default());
    }
    // The log level comes first.
    let assertions = rest.get(1..).ok_or(GuardError::Unreadable)?;
    let fee_payer_floor = match *kind {
        kind::ACCOUNT_INFO => account_info(assertions)?.0,
        kind::ACCOUNT_INFO_MULTI => account_infos(assertions)?,
        // It has no data, and never will.
        kind if kind::ACCOUNT_DATA.contains(&kind) => None,
        _ => return Err(GuardError::FeePayerBalance),
    };
    Ok(Guard { fee_payer_floor })
}

/// Several assertions about the fee payer; the highest floor among them.
fn account_infos(bytes: &[u8]) -> Result<Option<u64>, GuardError> {
    let (count, mut rest) = bytes.split_first().ok_or(GuardError::Unreadable)?;
    if *count > ASSERTIONS_MAX {
        return Err(GuardError::Unreadable);
    }
    let mut highest = None;
    for _ in 0..*count {
        let (floor, after) = account_info(rest)?;
        highest = highest.max(floor);
        rest = after;
    }
    Ok(highest)
}

/// One assertion about the fee payer: the floor, and the bytes that follow.
/// All but its balance stays what it is.
fn account_info(bytes: &[u8]) -> Result<(Option<u64>, &[u8]), GuardError> {
    let (variant, rest) = bytes.split_first().ok_or(GuardError::Unreadable)?;
    let skip = |count: usize| rest.get(count..).map(|after| (None, after)).ok_or(GuardError::Unreadable);
    match variant {
        0 => lamports(rest),
        // DataLength and RentEpoch: a number and an operator.
        1 | 4 => skip(9),
        // Owner: an address and an operator.
        2 => skip(33),
        // KnownOwner, IsSigner, IsWritable, Executable.
        3 | 5..=7 => skip(2),
        _ => Err(GuardError::Unreadable),
    }
}

fn lamports(bytes: &[u8]) -> Result<(Option<u64>, &[u8]), GuardError> {
    /// `>`, and the largest number below it is the floor; `>=`.
    const GREATER: u8 = 2;
    const AT_LEAST: u8 = 4;
    let (value, rest) = bytes.split_first_chunk::<8>().ok_or(GuardError::Unreadable)?;
    let (operator, rest) = rest.split_first().ok_or(GuardError::Unreadable)?;
    let value = u64::from_le_bytes(*value);
    match *operator {
        GREATER => Ok((Some(value.saturating_add(1)), rest)),
        AT_LEAST => Ok((Some(value), rest)),
        _ => Err(GuardError::FeePayerBalance),
    }
}
