//! What the rules are for: whatever they accept costs us its fee and nothing
//! else, and pays the payee. Proven by execution.

use std::cell::Cell;

use litesvm::LiteSVM;
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{TestCaseError, TestRunner},
};
use solana_account::Account;
use spl_token_2022_interface::instruction::{self as token_instruction, AuthorityType};

use super::{world::*, *};
use crate::exact::rules::Judged;

/// Where a token account holds its amount.
const AMOUNT_AT: std::ops::Range<usize> = 64..72;

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

/// What would take something from us, if it got our signature.
fn attacks() -> Vec<(&'static str, Instruction)> {
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

/// Signatures of everybody, ours as well: as if nothing were checked.
fn signed_by_all(case: &Case, message: VersionedMessage) -> VersionedTransaction {
    let signers = vec![ours(), also_ours(), payer(), stranger(), newcomer()];
    Case { signers, instructions: vec![], demand: case.demand.clone(), ..Case::good() }.sign(message)
}

fn our_losses(svm: &LiteSVM, after: &[(Pubkey, Account)], fee: u64) -> Vec<Pubkey> {
    let taken = |address: &Pubkey| {
        let mut expected = before(svm, address);
        if *address == ours().pubkey() {
            expected.lamports -= fee;
        }
        after.iter().any(|(key, account)| key == address && differs(account, &expected))
    };
    possessions().into_iter().filter(taken).collect()
}

#[test]
fn every_attack_would_succeed_and_is_refused() {
    let svm = world();
    for (name, attack) in attacks() {
        for place in [3, 4] {
            let mut case = Case::good();
            case.blockhash = svm.latest_blockhash();
            case.instructions[0] = unit_limit(200_000);
            case.instructions.insert(place, attack.clone());
            let [message, _] = case.messages();
            let transaction = signed_by_all(&case, message);
            let refused = case.judge(&decode(&transaction).expect("sound"));
            assert!(refused.is_err(), "{name}: accepted");
            let done = execute(&svm, transaction);
            let accounts = done.accounts.unwrap_or_else(|| panic!("{name}: does not work, so it shows nothing"));
            assert_ne!(our_losses(&svm, &accounts, done.fee), [], "{name}: takes nothing, so it shows nothing");
        }
    }
}

/// Keys that a hostile client would try in some place or other.
fn pool() -> Vec<Pubkey> {
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
        assertion(pays),
        Instruction { accounts: vec![], ..assertion(pays) },
        Instruction { accounts: vec![AccountMeta::new(pays, true)], ..assertion(pays) },
        Instruction { data: vec![0, 0, 0], ..assertion(pays) },
        unit_limit(1_400_000),
        unit_price(5_000_000),
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
enum Twist {
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
    Raw(Index, u8),
}

fn twist() -> impl Strategy<Value = Twist> {
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
        3 => (i(), any::<u8>()).prop_map(|(a, b)| Twist::Raw(a, b)),
    ]
}

fn of<'a, T>(list: &'a mut [T], index: &Index) -> Option<&'a mut T> {
    if list.is_empty() { None } else { Some(index.get_mut(list)) }
}

impl Twist {
    /// Changes the payment before it becomes a message.
    fn apply(&self, case: &mut Case) {
        let key = |index: &Index| *index.get(&pool());
        let addition = |index: &Index| index.get(&additions()).clone();
        let list = &mut case.instructions;
        match self {
            Self::Insert(place, what) => {
                let at = place.index(list.len() + 1);
                list.insert(at, addition(what));
            }
            Self::Replace(place, what) => of(list, place).into_iter().for_each(|found| *found = addition(what)),
            Self::Remove(place) if !list.is_empty() => {
                let at = place.index(list.len());
                list.remove(at);
            }
            Self::Swap(one, other) if !list.is_empty() => {
                let length = list.len();
                list.swap(one.index(length), other.index(length));
            }
            Self::Account(place, account, with) => {
                let found = of(list, place).and_then(|found| of(&mut found.accounts, account));
                found.into_iter().for_each(|meta| meta.pubkey = key(with));
            }
            Self::MoreAccounts(place, with, is_signer, is_writable) => {
                let meta = AccountMeta { pubkey: key(with), is_signer: *is_signer, is_writable: *is_writable };
                of(list, place).into_iter().for_each(|found| found.accounts.push(meta.clone()));
            }
            Self::FewerAccounts(place) => of(list, place).into_iter().for_each(|found| drop(found.accounts.pop())),
            Self::Flags(place, account, is_signer, is_writable) => {
                let found = of(list, place).and_then(|found| of(&mut found.accounts, account));
                found.into_iter().for_each(|meta| (meta.is_signer, meta.is_writable) = (*is_signer, *is_writable));
            }
            Self::Byte(place, at, byte) => {
                let found = of(list, place).and_then(|found| of(&mut found.data, at));
                found.into_iter().for_each(|found| *found = *byte);
            }
            Self::MoreBytes(place, byte) => of(list, place).into_iter().for_each(|found| found.data.push(*byte)),
            Self::UnitLimit(units) => list.first_mut().into_iter().for_each(|found| *found = unit_limit(*units)),
            Self::UnitPrice(price) => list.get_mut(1).into_iter().for_each(|found| *found = unit_price(*price)),
            Self::FeePayer(index) => case.fee_payer = key(index),
            Self::Payee(index) => {
                case.demand.pay_to = key(index);
                let account = account_of(&case.demand.pay_to);
                list.get_mut(2)
                    .and_then(|found| found.accounts.get_mut(2))
                    .into_iter()
                    .for_each(|m| m.pubkey = account);
            }
            Self::Amount(amount) => {
                case.demand.amount = *amount;
                let bytes = list.get_mut(2).and_then(|found| found.data.get_mut(1..9));
                bytes.into_iter().for_each(|bytes| bytes.copy_from_slice(&amount.to_le_bytes()));
            }
            Self::Memo(text) => case.demand.memo = Some(text.clone()).filter(|text| !text.is_empty()),
            Self::Remove(_) | Self::Swap(..) | Self::Raw(..) => {}
        }
    }

    /// Changes the message behind its maker's back, before it is signed.
    fn damage(&self, message: &mut Vec<u8>) {
        if let Self::Raw(at, byte) = self {
            *at.get_mut(message.as_mut_slice()) = *byte;
        }
    }
}

/// How often what happened, so that a run that shows nothing is seen.
#[derive(Default)]
struct Counts {
    judged: Cell<u32>,
    accepted: Cell<u32>,
    executed: Cell<u32>,
}

fn count(counter: &Cell<u32>) {
    counter.set(counter.get() + 1);
}

fn check(svm: &LiteSVM, twists: &[Twist], v0: bool, counts: &Counts) -> Result<(), TestCaseError> {
    let mut case = Case::good();
    case.blockhash = svm.latest_blockhash();
    case.signers = vec![payer(), stranger(), newcomer()];
    twists.iter().for_each(|twist| twist.apply(&mut case));
    let [legacy, version_0] = case.messages();
    let mut bytes = if v0 { version_0 } else { legacy }.serialize();
    twists.iter().for_each(|twist| twist.damage(&mut bytes));
    let Ok(message) = wincode::deserialize_exact::<VersionedMessage>(&bytes) else { return Ok(()) };
    let Ok(transaction) = decode(&case.sign(message)) else { return Ok(()) };
    count(&counts.judged);
    let Ok(judged) = case.judge(&transaction) else { return Ok(()) };
    count(&counts.accepted);
    let wire = transaction.cosigned(&ours().sign_message(transaction.message()));
    let after = execute(svm, wincode::deserialize_exact(&wire).expect("decoded before"));
    prop_assert!(judged.fee <= case.limits.fee_max);
    prop_assert!(
        after.fee == judged.fee || (after.fee == 0 && after.accounts.is_none()),
        "{} is not {}",
        after.fee,
        judged.fee
    );
    let Some(accounts) = after.accounts else { return Ok(()) };
    count(&counts.executed);
    check_effect(svm, &accounts, &judged)
}

/// The payee has the amount, the fee payer has paid the fee, and of ours
/// nothing else has changed.
fn check_effect(svm: &LiteSVM, after: &[(Pubkey, Account)], judged: &Judged) -> Result<(), TestCaseError> {
    let paid = judged.transfer.destination;
    let watched = possessions().into_iter().filter(|address| *address != paid).chain([paid]);
    for address in watched {
        let Some((_, account)) = after.iter().find(|(key, _)| *key == address) else { continue };
        let mut expected = before(svm, &address);
        if address == judged.fee_payer {
            expected.lamports -= judged.fee;
        }
        if address == paid {
            let had = u64::from_le_bytes(expected.data[AMOUNT_AT].try_into().expect("eight bytes"));
            expected.data[AMOUNT_AT].copy_from_slice(&(had + judged.transfer.amount).to_le_bytes());
        }
        prop_assert!(!differs(account, &expected), "{address} is {account:?}, not {expected:?}");
    }
    prop_assert!(after.iter().any(|(key, _)| *key == paid), "the payee's account is not even touched");
    Ok(())
}

/// `PROPTEST_CASES=100000` makes it long; a case is a handful of transactions.
#[test]
fn whatever_is_accepted_costs_its_fee_and_nothing_else() {
    let (svm, counts) = (world(), Counts::default());
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let strategy = prop::collection::vec((prop::collection::vec(twist(), 0..4), any::<bool>()), 8);
    let run = runner
        .run(&strategy, |payments| payments.iter().try_for_each(|(twists, v0)| check(&svm, twists, *v0, &counts)));
    run.unwrap_or_else(|failure| panic!("{failure}"));
    let Counts { judged, accepted, executed } = counts;
    let (judged, accepted, executed) = (judged.get(), accepted.get(), executed.get());
    assert!(
        executed * 20 > judged,
        "{judged} judged, {accepted} accepted, {executed} executed: too few to show anything"
    );
    assert!(accepted * 2 < judged, "{judged} judged, {accepted} accepted: not hostile enough");
}
