//! Guards: assertions of the Lighthouse program, which wallets add to what they
//! sign, so that a transaction fails when it would do more than they showed to
//! the user. Pure.
//!
//! A guard may stand anywhere. It may read, never write or move, and only what
//! stays as it is between the simulation and the block unless the payer moves
//! its own money: else a transaction could be made to fail at our cost and
//! nobody else's.
//!
//! | account | what may be asked of it |
//! |---|---|
//! | the payer's token account | anything |
//! | the payer | that it has no less than so much, and what no payment changes |
//! | the payee's token account, the mint | the same; of the mint not its supply |
//! | our fee payer | the same; the floor has to leave room for what is under way |
//!
//! Floors and no other comparisons, because anybody can send somebody more.
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
    /// The one that pays the fee: its balance changes with every payment.
    pub fee_payer: &'a Pubkey,
    /// The one whose tokens move.
    pub payer: &'a Pubkey,
    /// The payer's token account.
    pub source: &'a Pubkey,
    /// The payee's token account.
    pub destination: &'a Pubkey,
    /// The token.
    pub mint: &'a Pubkey,
}

/// One of the accounts that a guard may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    FeePayer,
    Payer,
    Source,
    Destination,
    Mint,
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
    /// It asks for what others change, or may change, before the payment lands.
    #[error("it asks for more than that a balance is not too low, of an account that others change too")]
    Changes,
    /// The bytes are not those of an assertion.
    #[error("its assertions cannot be read")]
    Unreadable,
}

/// The first byte of instructions that only read.
mod kind {
    use std::ops::RangeInclusive;

    /// `AssertAccountData` and the same of several places.
    pub const DATA: RangeInclusive<u8> = 2..=3;
    /// `AssertAccountDelta`, of two accounts.
    pub const DELTA: u8 = 4;
    /// `AssertAccountInfo` and the same of several.
    pub const INFO: RangeInclusive<u8> = 5..=6;
    /// `AssertMintAccount` and the same of several.
    pub const MINT: RangeInclusive<u8> = 7..=8;
    /// `AssertTokenAccount` and the same of several.
    pub const TOKEN: RangeInclusive<u8> = 9..=10;
    /// All of them.
    pub const READING: RangeInclusive<u8> = 2..=10;
    /// Those whose assertions are counted.
    pub const MULTI: [u8; 3] = [6, 8, 10];
}

/// Returns whether an instruction to Lighthouse only reads accounts, whatever they are.
pub fn only_reads(data: &[u8]) -> bool {
    data.first().is_some_and(|kind| kind::READING.contains(kind))
}

impl Subjects<'_> {
    fn find(&self, account: &Pubkey) -> Option<Subject> {
        let all = [
            (self.fee_payer, Subject::FeePayer),
            (self.source, Subject::Source),
            (self.destination, Subject::Destination),
            (self.mint, Subject::Mint),
            (self.payer, Subject::Payer),
        ];
        all.into_iter().find(|(address, _)| *address == account).map(|(_, subject)| subject)
    }
}

/// Reads an instruction to Lighthouse.
///
/// # Errors
/// See [`GuardError`].
pub fn read(instruction: &Instruction<'_>, subjects: Subjects<'_>) -> Result<Guard, GuardError> {
    let (kind, rest) = instruction.data.split_first().ok_or(GuardError::Unreadable)?;
    if !kind::READING.contains(kind) {
        return Err(GuardError::Kind);
    }
    let count = if *kind == kind::DELTA { 2 } else { 1 };
    if instruction.account_count() != count {
        return Err(GuardError::Subject);
    }
    let mut guard = Guard::default();
    for position in 0..count {
        let account = instruction.account(position).ok_or(GuardError::Subject)?;
        let subject = subjects.find(account).ok_or(GuardError::Subject)?;
        let floor = ask(*kind, rest, subject)?;
        if subject == Subject::FeePayer {
            guard.fee_payer_floor = floor;
        }
    }
    Ok(guard)
}

/// Checks what is asked of an account; the highest floor of its balance, if there is one.
fn ask(kind: u8, rest: &[u8], subject: Subject) -> Result<Option<u64>, GuardError> {
    let one: Assertion = match subject {
        Subject::Source => return Ok(None),
        // They have no data, and never will.
        Subject::FeePayer | Subject::Payer if kind::DATA.contains(&kind) => return Ok(None),
        _ if kind::INFO.contains(&kind) => account_info,
        Subject::Destination if kind::TOKEN.contains(&kind) => token_account,
        Subject::Mint if kind::MINT.contains(&kind) => mint,
        Subject::FeePayer | Subject::Payer | Subject::Destination | Subject::Mint => return Err(GuardError::Changes),
    };
    // The log level comes first.
    let assertions = rest.get(1..).ok_or(GuardError::Unreadable)?;
    if kind::MULTI.contains(&kind) { several(assertions, one) } else { one(assertions).map(|(floor, _)| floor) }
}

/// Reads one assertion: the floor that it asks for, and the bytes that follow.
type Assertion = fn(&[u8]) -> Result<(Option<u64>, &[u8]), GuardError>;

fn several(bytes: &[u8], one: Assertion) -> Result<Option<u64>, GuardError> {
    let (count, mut rest) = bytes.split_first().ok_or(GuardError::Unreadable)?;
    if *count > ASSERTIONS_MAX {
        return Err(GuardError::Unreadable);
    }
    let mut highest = None;
    for _ in 0..*count {
        let (floor, after) = one(rest)?;
        highest = highest.max(floor);
        rest = after;
    }
    Ok(highest)
}

/// The bytes of an operator, of a small value, of a number and of an address.
const OPERATOR: usize = 1;
const SMALL: usize = 1;
const NUMBER: usize = 8;
const ADDRESS: usize = 32;

fn account_info(bytes: &[u8]) -> Result<(Option<u64>, &[u8]), GuardError> {
    let (variant, rest) = bytes.split_first().ok_or(GuardError::Unreadable)?;
    match variant {
        0 => floor(rest),
        // DataLength and RentEpoch.
        1 | 4 => skip(rest, NUMBER),
        // Owner.
        2 => skip(rest, ADDRESS),
        // KnownOwner, IsSigner, IsWritable, Executable.
        3 | 5..=7 => skip(rest, SMALL),
        _ => Err(GuardError::Unreadable),
    }
}

fn token_account(bytes: &[u8]) -> Result<(Option<u64>, &[u8]), GuardError> {
    let (variant, rest) = bytes.split_first().ok_or(GuardError::Unreadable)?;
    match variant {
        // Mint and Owner.
        0 | 1 => skip(rest, ADDRESS),
        // Amount.
        2 => floor(rest),
        // Delegate and CloseAuthority.
        3 | 7 => skip_option(rest, ADDRESS),
        // State.
        4 => skip(rest, SMALL),
        // IsNative.
        5 => skip_option(rest, NUMBER),
        // DelegatedAmount.
        6 => skip(rest, NUMBER),
        // TokenAccountOwnerIsDerived.
        8 => Ok((None, rest)),
        _ => Err(GuardError::Unreadable),
    }
}

fn mint(bytes: &[u8]) -> Result<(Option<u64>, &[u8]), GuardError> {
    let (variant, rest) = bytes.split_first().ok_or(GuardError::Unreadable)?;
    match variant {
        // MintAuthority and FreezeAuthority.
        0 | 4 => skip_option(rest, ADDRESS),
        // Supply.
        1 => Err(GuardError::Changes),
        // Decimals and IsInitialized.
        2 | 3 => skip(rest, SMALL),
        _ => Err(GuardError::Unreadable),
    }
}

/// A value of so many bytes and its operator.
fn skip(bytes: &[u8], value: usize) -> Result<(Option<u64>, &[u8]), GuardError> {
    bytes.get(value + OPERATOR..).map(|after| (None, after)).ok_or(GuardError::Unreadable)
}

/// The same of a value that may be absent.
fn skip_option(bytes: &[u8], value: usize) -> Result<(Option<u64>, &[u8]), GuardError> {
    match bytes.split_first().ok_or(GuardError::Unreadable)? {
        (0, rest) => skip(rest, 0),
        (1, rest) => skip(rest, value),
        _ => Err(GuardError::Unreadable),
    }
}

/// A balance and its operator.
fn floor(bytes: &[u8]) -> Result<(Option<u64>, &[u8]), GuardError> {
    /// `>`, and the largest number below it is the floor; `>=`.
    const GREATER: u8 = 2;
    const AT_LEAST: u8 = 4;
    let (value, rest) = bytes.split_first_chunk::<NUMBER>().ok_or(GuardError::Unreadable)?;
    let (operator, rest) = rest.split_first().ok_or(GuardError::Unreadable)?;
    let value = u64::from_le_bytes(*value);
    match *operator {
        GREATER => Ok((Some(value.saturating_add(1)), rest)),
        AT_LEAST => Ok((Some(value), rest)),
        _ => Err(GuardError::Changes),
    }
}
