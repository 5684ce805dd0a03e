use solana_sdk::{instruction::Instruction, program_pack::Pack};
use spl_token_2022_interface::{
    extension::{ExtensionType, cpi_guard, memo_transfer},
    instruction as token_instruction,
};

use super::*;
use crate::{
    local_chain::{LocalChain, address},
    programs::{MEMO, TOKEN, TOKEN_2022},
};

const AMOUNT: u64 = 100;

fn transfer(authority: Pubkey) -> TransferChecked {
    let [source, mint, destination] = [61, 60, 62].map(address);
    TransferChecked { program: TOKEN_2022, source, mint, destination, authority, amount: AMOUNT, decimals: 6 }
}

/// A mint and an account with extensions, with so many tokens in it.
fn chain(amount: u64, extensions: &[ExtensionType], enable: impl Fn(Pubkey) -> Vec<Instruction>) -> LocalChain {
    let mut chain = LocalChain::new();
    let (mint, account, owner) = (address(60), address(61), chain.owner());
    chain.mint(mint, &[], vec![]);
    chain.token_account(account, mint, extensions, enable(owner));
    let minted = token_instruction::mint_to(&TOKEN_2022, &mint, &account, &owner, &[], amount);
    chain.run(&[minted.expect("an instruction")]).expect("tokens");
    chain
}

fn destination(chain: &LocalChain, pay_to: Pubkey) -> Result<u64, AccountError> {
    let account = chain.account(address(61));
    let view = AccountView { owner: &account.owner, data: &account.data };
    check_destination(Some(view), &transfer(address(9)), &pay_to)
}

fn source(chain: &LocalChain, authority: Pubkey, pay_to: Pubkey, call: Call) -> Result<u64, AccountError> {
    let account = chain.account(address(61));
    let view = AccountView { owner: &account.owner, data: &account.data };
    check_source(Some(view), &transfer(authority), &pay_to, call)
}

#[test]
fn the_payees_account_can_take_the_transfer_or_says_why_not() {
    let none = |_| vec![];
    let mut plain = chain(7, &[], none);
    let owner = plain.owner();
    assert_eq!(destination(&plain, owner), Ok(7));
    assert_eq!(destination(&plain, address(9)), Err(AccountError::OtherOwner));
    let account = plain.account(address(61));
    let view = AccountView { owner: &account.owner, data: &account.data };
    for (amount, expected) in [(u64::MAX - 7, Ok(7)), (u64::MAX - 6, Err(AccountError::TooMuch))] {
        let transfer = TransferChecked { amount, ..transfer(address(9)) };
        assert_eq!(check_destination(Some(view), &transfer, &owner), expected, "{amount}");
    }
    assert_eq!(check_destination(None, &transfer(address(9)), &owner), Err(AccountError::Missing));

    let freeze = token_instruction::freeze_account(&TOKEN_2022, &address(61), &address(60), &owner, &[]);
    plain.run(&[freeze.expect("an instruction")]).expect("frozen");
    assert_eq!(destination(&plain, owner), Err(AccountError::Frozen));

    let memo = |owner| {
        let account = address(61);
        let enable = memo_transfer::instruction::enable_required_transfer_memos(&TOKEN_2022, &account, &owner, &[]);
        vec![enable.expect("an instruction")]
    };
    let with_memo = chain(0, &[ExtensionType::MemoTransfer], memo);
    assert_eq!(destination(&with_memo, owner), Err(AccountError::MemoRequired));
    let not_enabled = chain(0, &[ExtensionType::MemoTransfer], none);
    assert_eq!(destination(&not_enabled, owner), Ok(0));
}

#[test]
fn accounts_of_another_token_or_program_are_refused() {
    let chain = chain(7, &[], |_| vec![]);
    let account = chain.account(address(61));
    let check = |owner: &Pubkey, data: &[u8], transfer: TransferChecked| {
        check_destination(Some(AccountView { owner, data }), &transfer, &chain.owner())
    };
    let right = transfer(address(9));
    assert_eq!(check(&TOKEN_2022, &account.data, right), Ok(7));
    assert_eq!(check(&TOKEN, &account.data, right), Err(AccountError::OtherToken));
    assert_eq!(check(&MEMO, &account.data, right), Err(AccountError::OtherToken));
    assert_eq!(
        check(&TOKEN_2022, &account.data, TransferChecked { mint: address(8), ..right }),
        Err(AccountError::OtherToken)
    );
    assert_eq!(check(&TOKEN_2022, &[], right), Err(AccountError::OtherToken));
    let of_2020 = TransferChecked { program: TOKEN, ..right };
    let extended = [account.data.as_slice(), &[2]].concat();
    assert_eq!(check(&TOKEN, &account.data, of_2020), Ok(7));
    assert_eq!(check(&TOKEN_2022, &extended, right), Ok(7));
    assert_eq!(check(&TOKEN, &extended, of_2020), Err(AccountError::OtherToken), "SPL Token knows no extensions");
    assert_eq!(check(&TOKEN_2022, &[0; Account::LEN], right), Err(AccountError::OtherToken), "not initialised");
    assert_eq!(check(&TOKEN_2022, &chain.account(address(60)).data, right), Err(AccountError::OtherToken), "a mint");
}

#[test]
fn the_payer_spends_what_is_its_own_or_what_it_was_allowed() {
    let (merchant, delegate) = (address(8), address(9));
    let mut chain = chain(AMOUNT, &[], |_| vec![]);
    let owner = chain.owner();
    assert_eq!(source(&chain, owner, merchant, Call::Direct), Ok(AMOUNT));
    assert_eq!(source(&chain, delegate, merchant, Call::Direct), Err(AccountError::OtherOwner));
    let mut allow = |amount| {
        let allowance = token_instruction::approve(&TOKEN_2022, &address(61), &delegate, &owner, &[], amount);
        chain.run(&[allowance.expect("an instruction")]).expect("an allowance");
        let spends = |pay_to| source(&chain, delegate, pay_to, Call::Direct);
        [spends(merchant), spends(owner)]
    };
    assert_eq!(allow(AMOUNT), [Ok(AMOUNT), Err(AccountError::OtherOwner)], "not with the payee's own tokens");
    assert_eq!(allow(AMOUNT - 1)[0], Err(AccountError::TooLittle));
    assert_eq!(allow(AMOUNT + 1)[0], Ok(AMOUNT));
}

/// The program counts the allowance down, whoever else the delegate is.
#[test]
fn an_owner_that_is_its_own_delegate_spends_its_allowance_and_no_more() {
    let mut chain = chain(AMOUNT, &[], |_| vec![]);
    let owner = chain.owner();
    for (allowance, spends) in
        [(0, Err(AccountError::TooLittle)), (AMOUNT - 1, Err(AccountError::TooLittle)), (AMOUNT, Ok(AMOUNT))]
    {
        let allowed = token_instruction::approve(&TOKEN_2022, &address(61), &owner, &owner, &[], allowance);
        chain.run(&[allowed.expect("an instruction")]).expect("an allowance");
        assert_eq!(source(&chain, owner, address(8), Call::Direct), spends, "{allowance}");
    }
}

#[test]
fn the_key_of_a_multisig_moves_nothing() {
    let cases = [(Multisig::LEN, Err(AccountError::Multisig)), (Multisig::LEN - 1, Ok(())), (0, Ok(()))];
    for (length, expected) in cases {
        for owner in [TOKEN, TOKEN_2022, Pubkey::default()] {
            let data = vec![0; length];
            let view = AccountView { owner: &owner, data: &data };
            assert_eq!(check_authority(Some(view)), expected, "{owner} {length}");
        }
    }
    assert_eq!(check_authority(None), Ok(()));
}

#[test]
fn a_payer_with_too_little_or_a_guard_is_refused() {
    let poor = chain(AMOUNT - 1, &[], |_| vec![]);
    assert_eq!(source(&poor, poor.owner(), address(8), Call::Direct), Err(AccountError::TooLittle));
    let guard = |owner| {
        let enable = cpi_guard::instruction::enable_cpi_guard(&TOKEN_2022, &address(61), &owner, &[]);
        vec![enable.expect("an instruction")]
    };
    let guarded = chain(AMOUNT, &[ExtensionType::CpiGuard], guard);
    let owner = guarded.owner();
    assert_eq!(source(&guarded, owner, address(8), Call::Direct), Ok(AMOUNT));
    assert_eq!(source(&guarded, owner, address(8), Call::ByProgram), Err(AccountError::CpiGuarded));
    let rejection = AccountError::CpiGuarded.rejection("payer");
    assert_eq!(rejection.message, "the payer's token account forbids transfers by programs");
}
