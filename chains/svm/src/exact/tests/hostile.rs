//! The inventions of hostile clients.

use proptest::{prelude::*, sample::Index};
use spl_token_2022_interface::instruction::{self as token_instruction, AuthorityType};

use super::{world::*, *};

fn system(tag: u32, arguments: &[u8], accounts: Vec<AccountMeta>) -> Instruction {
    Instruction::new_with_bytes(SYSTEM, &[&tag.to_le_bytes(), arguments].concat(), accounts)
}

fn create_associated(funder: Pubkey, owner: Pubkey, tag: u8) -> Instruction {
    let accounts = vec![
        AccountMeta::new(funder, true),
        AccountMeta::new(account_of(&owner), false),
        AccountMeta::new_readonly(owner, false),
        AccountMeta::new_readonly(mint(), false),
        AccountMeta::new_readonly(SYSTEM, false),
        AccountMeta::new_readonly(programs::TOKEN, false),
    ];
    Instruction::new_with_bytes(programs::ASSOCIATED_TOKEN, &[tag], accounts)
}

/// The token program's way to put an instruction into another.
fn batched(inner: &Instruction) -> Instruction {
    let size = |count: usize| u8::try_from(count).expect("short");
    let data = [&[255, size(inner.accounts.len()), size(inner.data.len())], inner.data.as_slice()].concat();
    Instruction { data, ..inner.clone() }
}

/// Instructions that would take something from us, if they got our signature.
pub(super) fn attacks() -> Vec<(&'static str, Instruction)> {
    let us = ours().pubkey();
    let thief = stranger().pubkey();
    let (from, to) = (account_of(&us), account_of(&thief));
    let (multisig, multisig_account) = our_multisig();
    let program = &programs::TOKEN;
    let sysvar = |name: &str| AccountMeta::new_readonly(name.parse().expect("a sysvar"), false);
    let sol = 1_000_000_000_u64.to_le_bytes();
    let nonce = AccountMeta::new(our_nonce(), false);
    let signs = AccountMeta::new_readonly(us, true);
    let withdrawal = vec![
        nonce.clone(),
        AccountMeta::new(thief, false),
        sysvar("SysvarRecentB1ockHashes11111111111111111111"),
        sysvar("SysvarRent111111111111111111111111111111111"),
        signs.clone(),
    ];
    let mut by_multisig = transfer(multisig_account, to, multisig, 5);
    by_multisig.accounts[3].is_signer = false;
    by_multisig.accounts.push(signs.clone());
    let new_account = [sol.as_slice(), &0_u64.to_le_bytes(), thief.as_ref()].concat();
    let signed = |built: Result<Instruction, _>| built.expect("an instruction");
    vec![
        ("lamports", system(2, &sol, vec![AccountMeta::new(us, true), AccountMeta::new(thief, false)])),
        (
            "an account at our cost",
            system(0, &new_account, vec![AccountMeta::new(us, true), AccountMeta::new(newcomer().pubkey(), true)]),
        ),
        ("our key to another program", system(1, thief.as_ref(), vec![AccountMeta::new(us, true)])),
        ("space in our account", system(8, &8_u64.to_le_bytes(), vec![AccountMeta::new(us, true)])),
        ("our nonce's lamports", system(5, &sol, withdrawal)),
        ("our nonce", system(7, thief.as_ref(), vec![nonce, signs])),
        ("a token account at our cost", create_associated(us, newcomer().pubkey(), 0)),
        ("the same, if there is none", create_associated(us, newcomer().pubkey(), 1)),
        ("tokens", transfer(from, to, us, 5)),
        ("tokens, in a batch", batched(&transfer(from, to, us, 5))),
        ("tokens of a multisig", by_multisig),
        ("an allowance", signed(token_instruction::approve(program, &from, &thief, &us, &[], 5))),
        (
            "a token account",
            signed(token_instruction::set_authority(
                program,
                &from,
                Some(&thief),
                AuthorityType::AccountOwner,
                &us,
                &[],
            )),
        ),
        (
            "the right to close",
            signed(token_instruction::set_authority(
                program,
                &from,
                Some(&thief),
                AuthorityType::CloseAccount,
                &us,
                &[],
            )),
        ),
        ("tokens into nothing", signed(token_instruction::burn(program, &from, &mint(), &us, &[], 5))),
        (
            "an empty account's lamports",
            signed(token_instruction::close_account(program, &our_empty_account(), &thief, &us, &[])),
        ),
        (
            "lamports above the rent",
            Instruction {
                data: vec![38],
                ..signed(token_instruction::close_account(program, &from, &thief, &us, &[]))
            },
        ),
    ]
}

/// Keys that a hostile client would try in some place or other.
pub(super) fn pool() -> Vec<Pubkey> {
    let people = [ours(), also_ours(), payer(), stranger(), newcomer()].map(|keypair| keypair.pubkey());
    let mut keys = people.to_vec();
    keys.extend(people.iter().map(account_of));
    keys.extend(possessions());
    keys.extend([merchant(), account_of(&merchant()), mint(), SYSTEM, programs::TOKEN, programs::TOKEN_2022]);
    keys.extend([programs::MEMO, programs::LIGHTHOUSE, programs::COMPUTE_BUDGET, programs::ASSOCIATED_TOKEN]);
    keys
}

/// Instructions that a hostile client would add.
fn additions() -> Vec<Instruction> {
    let pays = payer().pubkey();
    let thief = account_of(&stranger().pubkey());
    let mut found: Vec<_> = attacks().into_iter().map(|(_, attack)| attack).collect();
    found.extend([
        memo("a"),
        memo(""),
        memo("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        Instruction { data: vec![0xff, 0xfe], ..memo("") },
        Instruction { accounts: vec![AccountMeta::new_readonly(pays, true)], ..memo("a") },
        assertion(pays),
        assertion(ours().pubkey()),
        lamports_guard(ours().pubkey(), 5, 4),
        Instruction { accounts: vec![], ..assertion(pays) },
        Instruction { accounts: vec![AccountMeta::new(pays, true)], ..assertion(pays) },
        Instruction { data: vec![0, 0, 0], ..assertion(pays) },
        unit_limit(1_400_000),
        unit_price(5_000_000),
        heap_frame(32 * 1024),
        heap_frame(256 * 1024),
        heap_frame(1),
        loaded_data_limit(1),
        loaded_data_limit(64 * 1024 * 1024),
        transfer(account_of(&pays), thief, pays, 5),
        transfer(account_of(&pays), account_of(&merchant()), pays, AMOUNT),
        transfer(account_of(&merchant()), account_of(&merchant()), pays, AMOUNT),
        create_associated(pays, newcomer().pubkey(), 1),
        system(2, &5_u64.to_le_bytes(), vec![AccountMeta::new(pays, true), AccountMeta::new(ours().pubkey(), false)]),
    ]);
    found
}

/// One thing that a client does otherwise than it should.
#[derive(Clone, Debug)]
pub(super) enum Twist {
    Insert(Index, Index),
    Replace(Index, Index),
    Remove(Index),
    Swap(Index, Index),
    Account(Index, Index, Index),
    MoreAccounts(Index, Index, bool, bool),
    FewerAccounts(Index),
    Flags(Index, Index, bool, bool),
    Byte(Index, Index, u8),
    MoreBytes(Index, u8),
    UnitLimit(u32),
    UnitPrice(u64),
    FeePayer(Index),
    Payee(Index),
    Amount(u64),
    Memo(String),
    WithoutComputeBudget,
    Raw(Index, u8),
}

pub(super) fn twist() -> impl Strategy<Value = Twist> {
    let i = any::<Index>;
    let flag = any::<bool>;
    prop_oneof![
        4 => (i(), i()).prop_map(|(a, b)| Twist::Insert(a, b)),
        2 => (i(), i()).prop_map(|(a, b)| Twist::Replace(a, b)),
        1 => i().prop_map(Twist::Remove),
        1 => (i(), i()).prop_map(|(a, b)| Twist::Swap(a, b)),
        3 => (i(), i(), i()).prop_map(|(a, b, c)| Twist::Account(a, b, c)),
        2 => (i(), i(), flag(), flag()).prop_map(|(a, b, c, d)| Twist::MoreAccounts(a, b, c, d)),
        1 => i().prop_map(Twist::FewerAccounts),
        2 => (i(), i(), flag(), flag()).prop_map(|(a, b, c, d)| Twist::Flags(a, b, c, d)),
        2 => (i(), i(), any::<u8>()).prop_map(|(a, b, c)| Twist::Byte(a, b, c)),
        1 => (i(), any::<u8>()).prop_map(|(a, b)| Twist::MoreBytes(a, b)),
        2 => prop_oneof![0_u32..450_000, any::<u32>()].prop_map(Twist::UnitLimit),
        2 => prop_oneof![0_u64..6_000_000, any::<u64>()].prop_map(Twist::UnitPrice),
        1 => i().prop_map(Twist::FeePayer),
        2 => i().prop_map(Twist::Payee),
        2 => prop_oneof![1_u64..2_000_000_000, any::<u64>()].prop_map(Twist::Amount),
        1 => "[a-z]{0,8}".prop_map(Twist::Memo),
        1 => Just(Twist::WithoutComputeBudget),
        3 => (i(), any::<u8>()).prop_map(|(a, b)| Twist::Raw(a, b)),
    ]
}

fn of<T>(list: &mut [T], index: Index) -> Option<&mut T> {
    if list.is_empty() { None } else { Some(index.get_mut(list)) }
}

impl Twist {
    /// Changes the payment before it becomes a message; nothing where the
    /// place that it is about is not there.
    pub fn apply(&self, case: &mut Case) {
        self.try_apply(case).unwrap_or_default();
    }

    fn try_apply(&self, case: &mut Case) -> Option<()> {
        let key = |index: Index| *index.get(&pool());
        let addition = |index: Index| index.get(&additions()).clone();
        let list = &mut case.instructions;
        let count = list.len();
        match self {
            Self::Insert(place, what) => list.insert(place.index(count + 1), addition(*what)),
            Self::Replace(place, what) => *of(list, *place)? = addition(*what),
            Self::Remove(place) => *list = without(list, *place)?,
            Self::Swap(one, other) if count > 0 => list.swap(one.index(count), other.index(count)),
            Self::Account(place, account, with) => of(&mut of(list, *place)?.accounts, *account)?.pubkey = key(*with),
            Self::MoreAccounts(place, with, is_signer, is_writable) => {
                let meta = AccountMeta { pubkey: key(*with), is_signer: *is_signer, is_writable: *is_writable };
                of(list, *place)?.accounts.push(meta);
            }
            Self::FewerAccounts(place) => of(list, *place)?.accounts.pop().map(|_| ())?,
            Self::Flags(place, account, is_signer, is_writable) => {
                let meta = of(&mut of(list, *place)?.accounts, *account)?;
                (meta.is_signer, meta.is_writable) = (*is_signer, *is_writable);
            }
            Self::Byte(place, at, byte) => *of(&mut of(list, *place)?.data, *at)? = *byte,
            Self::MoreBytes(place, byte) => of(list, *place)?.data.push(*byte),
            Self::UnitLimit(units) => *list.first_mut()? = unit_limit(*units),
            Self::UnitPrice(price) => *list.get_mut(1)? = unit_price(*price),
            Self::FeePayer(index) => case.fee_payer = key(*index),
            Self::Payee(index) => {
                case.requirements.pay_to = key(*index);
                list.get_mut(2)?.accounts.get_mut(2)?.pubkey = account_of(&case.requirements.pay_to);
            }
            Self::Amount(amount) => {
                case.requirements.amount = *amount;
                list.get_mut(2)?.data.get_mut(1..9)?.copy_from_slice(&amount.to_le_bytes());
            }
            Self::Memo(text) => case.requirements.memo = Some(text.clone()).filter(|text| !text.is_empty()),
            Self::WithoutComputeBudget => {
                case.without_compute_budget = true;
                list.retain(|found| found.program_id != programs::COMPUTE_BUDGET);
            }
            Self::Swap(..) | Self::Raw(..) => {}
        }
        Some(())
    }

    /// Changes the message behind its maker's back, before it is signed.
    pub fn damage(&self, message: &mut [u8]) {
        if let Self::Raw(at, byte) = self {
            *at.get_mut(message) = *byte;
        }
    }
}

fn without(list: &[Instruction], place: Index) -> Option<Vec<Instruction>> {
    let at = if list.is_empty() { None } else { Some(place.index(list.len())) }?;
    Some([&list[..at], &list[at + 1..]].concat())
}
