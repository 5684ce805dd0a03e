//! Guards: what wallets add, and what strangers would.

use chains_core::Code;

use super::*;
use crate::{exact::guards::Guard, reason};

fn evaluate(instructions: Vec<Instruction>) -> Result<Option<Guard>, Code> {
    let case = Case { instructions, ..Case::good() };
    let [legacy, version_0] = case.messages().map(|message| {
        let transaction = decode(&case.sign(message)).expect("sound");
        case.evaluate(&transaction).map(|evaluated| evaluated.guard).map_err(|refused| refused.code)
    });
    assert_eq!(legacy, version_0);
    legacy
}

/// A payment with guards before and after its transfer.
fn with_guards(before: &[Instruction], after: &[Instruction]) -> Vec<Instruction> {
    let Case { instructions, .. } = Case::good();
    [&instructions[..2], before, &instructions[2..], after].concat()
}

fn source() -> Pubkey {
    account_of(&payer().pubkey())
}

/// `AssertTokenAccountMulti`: the amount is at least this, and there is no delegate.
fn token_guard(account: Pubkey) -> Instruction {
    guard(account, &[[10, 0, 2, 2].as_slice(), &5_u64.to_le_bytes(), &[4, 3, 0, 0]].concat())
}

/// `AssertTokenAccount`: the amount, compared by an operator.
fn amount(account: Pubkey, operator: u8) -> Instruction {
    guard(account, &[[9, 0, 2].as_slice(), &5_u64.to_le_bytes(), &[operator]].concat())
}

/// `AssertMintAccountMulti`: nobody may mint, somebody may freeze, the decimals, and that it is a token.
fn mint_guard() -> Vec<u8> {
    [[8, 0, 4, 0, 0, 0, 4, 1].as_slice(), &[7; 32], &[0, 2, DECIMALS, 0, 3, 1, 0]].concat()
}

/// `AssertAccountInfo` with an account more than it takes.
fn two_accounts(account: Pubkey) -> Instruction {
    Instruction { data: vec![5, 0, 3, 0, 0], ..delta(account, account) }
}

/// `AssertAccountDelta` of two accounts.
fn delta(one: Pubkey, other: Pubkey) -> Instruction {
    let accounts = [one, other].map(|account| AccountMeta::new_readonly(account, false)).to_vec();
    Instruction::new_with_bytes(programs::LIGHTHOUSE, &[4, 0, 0], accounts)
}

const EQUAL: u8 = 0;
const AT_LEAST: u8 = 4;
const AT_MOST: u8 = 5;

#[test]
fn what_wallets_send_is_accepted() {
    let (ours, payer) = (ours().pubkey(), payer().pubkey());
    let floor = |fee_payer_floor| Ok(Some(Guard { fee_payer_floor }));
    let owner_and_balance =
        guard(ours, &[[6, 4, 2, 0].as_slice(), &1_000_u64.to_le_bytes(), &[AT_LEAST, 3, 0, 0]].concat());
    let cases = [
        ("Backpack and Ledger: as the client made it", with_guards(&[], &[]), Ok(None)),
        ("Phantom in spring: one after the transfer", with_guards(&[], &[token_guard(source())]), floor(None)),
        ("Solflare: two after the transfer", with_guards(&[], &[assertion(ours), token_guard(source())]), floor(None)),
        (
            "Phantom since summer: three before, one after",
            with_guards(
                &[owner_and_balance.clone(), token_guard(source()), assertion(payer)],
                &[token_guard(account_of(&merchant()))],
            ),
            floor(Some(1_000)),
        ),
        ("one before the compute budget", [vec![assertion(payer)], with_guards(&[], &[])].concat(), floor(None)),
        ("one reads the fee payer's balance", with_guards(&[lamports_guard(ours, 7, AT_LEAST)], &[]), floor(Some(7))),
        ("more than", with_guards(&[lamports_guard(ours, 7, 2)], &[lamports_guard(ours, 3, 2)]), floor(Some(8))),
        ("the fee payer's data", with_guards(&[guard(ours, &[2, 0, 0, 0, 0, 0])], &[]), floor(None)),
        ("the token's authorities", with_guards(&[guard(mint(), &mint_guard())], &[]), floor(None)),
        ("the payer keeps so much", with_guards(&[lamports_guard(payer, 7, AT_LEAST)], &[]), floor(None)),
        ("exactly so many of the payer's tokens", with_guards(&[], &[amount(source(), EQUAL)]), floor(None)),
        (
            "at least so many of the payee's",
            with_guards(&[], &[amount(account_of(&merchant()), AT_LEAST)]),
            floor(None),
        ),
        ("the payer's tokens, byte by byte", with_guards(&[guard(source(), &[2, 0, 64, 7, 0, 0])], &[]), floor(None)),
        ("their change", with_guards(&[], &[delta(source(), source())]), floor(None)),
    ];
    for (wallet, instructions, expected) in cases {
        assert_eq!(evaluate(instructions), expected, "{wallet}");
    }
}

#[test]
fn a_guard_that_can_be_made_to_fail_for_nothing_is_refused() {
    let (ours, payer) = (ours().pubkey(), payer().pubkey());
    let [fourth, .., seventh] = reason::UNKNOWN_INSTRUCTION;
    let clock = Instruction::new_with_bytes(programs::LIGHTHOUSE, &[15, 0, 0], vec![]);
    let before = |one: Instruction| with_guards(&[one], &[]);
    let payees = account_of(&merchant());
    let cases = [
        ("the clock", with_guards(&[], std::slice::from_ref(&clock)), reason::UNKNOWN_INSTRUCTION[1]),
        ("the clock, first", [vec![clock.clone()], with_guards(&[], &[])].concat(), fourth),
        ("the clock, last", with_guards(&[], &[memo("a"), memo("b"), memo("c"), clock]), seventh),
        ("a merkle tree", with_guards(&[], &[guard(source(), &[16, 0])]), reason::UNKNOWN_INSTRUCTION[1]),
        ("a stake account", with_guards(&[], &[guard(source(), &[11, 0])]), reason::UNKNOWN_INSTRUCTION[1]),
        ("writes", with_guards(&[guard(source(), &[0, 0, 0])], &[]), fourth),
        ("another account", with_guards(&[], &[assertion(stranger().pubkey())]), reason::UNKNOWN_INSTRUCTION[1]),
        ("another token account", with_guards(&[token_guard(account_of(&stranger().pubkey()))], &[]), fourth),
        ("a delta with another", before(delta(source(), key(99))), fourth),
        ("a delta with our balance", before(delta(source(), ours)), fourth),
        ("a delta with the payee's", before(delta(source(), payees)), fourth),
        ("one account too many", before(two_accounts(payer)), fourth),
        ("our balance is exactly", before(lamports_guard(ours, 7, EQUAL)), fourth),
        ("our balance is at most", before(lamports_guard(ours, 7, AT_MOST)), fourth),
        ("our token account", before(guard(ours, &[9, 0, 0])), fourth),
        // Anybody can send more.
        ("the payer's balance is exactly", before(lamports_guard(payer, 7, EQUAL)), fourth),
        ("the payer's balance is at most", before(lamports_guard(payer, 7, AT_MOST)), fourth),
        ("the payee's tokens are exactly", before(amount(payees, EQUAL)), fourth),
        ("the payee's tokens are at most", before(amount(payees, AT_MOST)), fourth),
        ("the payee's tokens, byte by byte", before(guard(payees, &[2, 0, 64, 7, 0, 0])), fourth),
        ("the payee's tokens, in several places", before(guard(payees, &[3, 0, 1, 64, 7, 0, 0])), fourth),
        // The issuer mints all the time.
        ("the token's supply", before(guard(mint(), &[[7, 0, 1].as_slice(), &[0; 9]].concat())), fourth),
        ("the token, byte by byte", before(guard(mint(), &[2, 0, 36, 7, 0, 0])), fourth),
        ("cut short", with_guards(&[guard(ours, &[6, 0, 2, 3, 0, 0])], &[]), fourth),
        ("an unknown assertion", with_guards(&[guard(ours, &[5, 0, 9])], &[]), fourth),
        ("no bytes", with_guards(&[guard(ours, &[5])], &[]), fourth),
        ("neither there nor absent", before(guard(payees, &[9, 0, 3, 2, 0])), fourth),
        (
            "five",
            with_guards(
                &[assertion(payer), assertion(payer), assertion(payer), assertion(payer), assertion(payer)],
                &[],
            ),
            reason::INSTRUCTIONS_LENGTH,
        ),
    ];
    for (name, instructions, code) in cases {
        assert_eq!(evaluate(instructions), Err(code), "{name}");
    }
}

#[test]
fn guards_do_not_stand_for_what_is_missing() {
    let Case { instructions, .. } = Case::good();
    let only = |kept: &[usize]| -> Vec<Instruction> {
        let kept = kept.iter().map(|at| instructions[*at].clone());
        kept.chain([assertion(payer().pubkey()), assertion(payer().pubkey())]).collect()
    };
    assert_eq!(evaluate(only(&[0, 1])), Err(reason::INSTRUCTIONS_LENGTH));
    assert_eq!(evaluate(only(&[0, 1, 3])), Err(reason::NO_TRANSFER_INSTRUCTION));
    assert_eq!(evaluate(only(&[0, 3, 2])), Err(reason::COMPUTE_PRICE_INSTRUCTION));
}
