//! Every rule, with the code that it gives.

use chains_core::{Code, protocol::Version, reason::INVALID_PAYMENT_REQUIREMENTS};
use proptest::prelude::*;
use solana_message::v0::MessageAddressTableLookup;
use solana_sdk::instruction::{AccountMeta, Instruction};

use super::*;
use crate::{
    compute_budget::{ComputeBudget, Limits},
    reason,
};

const SYSTEM: Pubkey = Pubkey::new_from_array([0; 32]);

pub(super) type Change = fn(&mut Case);

/// Evaluates the changed payment in both versions of the message.
pub(super) fn check(cases: &[(&str, Change, Option<Code>)]) {
    for (name, change, expected) in cases {
        let mut case = Case::good();
        change(&mut case);
        for message in case.messages() {
            let transaction = decode(&case.sign(message)).expect(name);
            assert_eq!(case.evaluate(&transaction).err().map(|r| r.code), *expected, "{name}");
        }
    }
}

fn set_transfer(case: &mut Case, source: Pubkey, destination: Pubkey, authority: Pubkey, amount: u64) {
    case.instructions[2] = transfer(source, destination, authority, amount);
}

fn our_transfer(case: &mut Case, from: &Keypair) {
    set_transfer(case, account_of(&from.pubkey()), account_of(&merchant()), from.pubkey(), AMOUNT);
}

pub(super) fn nonce_advance() -> Instruction {
    let accounts = vec![
        AccountMeta::new(key(70), false),
        AccountMeta::new_readonly(key(71), false),
        AccountMeta::new_readonly(payer().pubkey(), true),
    ];
    Instruction::new_with_bytes(SYSTEM, &[4, 0, 0, 0], accounts)
}

#[test]
fn what_official_clients_and_wallets_send_is_accepted() {
    check(&[
        ("four instructions", |_| {}, None),
        ("version 1 clients send no memo", |c| c.instructions.truncate(3), None),
        ("assertions of a wallet", |c| c.instructions.extend([assertion(payer().pubkey()), assertion(mint())]), None),
        ("seven", |c| c.instructions.extend([memo("a"), memo("b"), assertion(account_of(&merchant()))]), None),
        (
            "the payee is a fee payer",
            |c| {
                c.requirements.pay_to = ours().pubkey();
                set_transfer(c, account_of(&payer().pubkey()), account_of(&ours().pubkey()), payer().pubkey(), AMOUNT);
            },
            None,
        ),
        (
            "at every limit",
            |c| {
                c.limits = Limits { units_max: 20_000, unit_price_max: 1_000_000, fee_max: 30_000 };
                c.instructions[1] = unit_price(1_000_000);
            },
            None,
        ),
    ]);
}

#[test]
fn an_evaluated_payment_is_what_the_payer_signed() {
    let case = Case::good();
    for message in case.messages() {
        let transaction = decode(&case.sign(message)).expect("sound");
        let evaluated = case.evaluate(&transaction).expect("good");
        let pays = payer().pubkey();
        let transfer = token::TransferChecked {
            program: programs::TOKEN,
            source: account_of(&pays),
            mint: mint(),
            destination: account_of(&merchant()),
            authority: pays,
            amount: AMOUNT,
            decimals: DECIMALS,
        };
        let budget = ComputeBudget { unit_limit: 20_000, unit_price: 1 };
        assert_eq!(evaluated, Evaluated { fee_payer: ours().pubkey(), transfer, budget, fee: 10_001, guard: None });
        assert_eq!(transaction.payer(), Some(&pays));
    }
}

/// F15.
#[test]
fn signers_and_fee_payer_are_bound() {
    check(&[
        (
            "a third signer",
            |c| {
                c.instructions[3].accounts.push(AccountMeta::new_readonly(stranger().pubkey(), true));
                c.signers.push(stranger());
            },
            Some(reason::EXCESSIVE_SIGNERS),
        ),
        (
            "a stranger pays the fee",
            |c| {
                c.fee_payer = stranger().pubkey();
                c.signers.push(stranger());
            },
            Some(reason::FEE_PAYER_MISMATCH),
        ),
        ("another of ours pays the fee", |c| c.fee_payer = also_ours().pubkey(), Some(reason::FEE_PAYER_MISMATCH)),
        ("not signed", |c| c.signers.clear(), Some(reason::SIGNATURE_INVALID)),
        (
            "the fee payer alone signs, and the authority is no signer",
            |c| {
                c.instructions[2].accounts[3].is_signer = false;
            },
            Some(reason::SIGNATURE_INVALID),
        ),
        (
            "a stranger signs instead of the authority",
            |c| {
                c.instructions[2].accounts[3].is_signer = false;
                c.instructions[3].accounts.push(AccountMeta::new_readonly(stranger().pubkey(), true));
                c.signers = vec![stranger()];
            },
            Some(reason::SIGNATURE_INVALID),
        ),
    ]);
}

#[test]
fn a_signature_of_another_message_is_refused() {
    let case = Case::good();
    let [message, _] = case.messages();
    let mut transaction = case.sign(message);
    transaction.signatures[1] = payer().sign_message(b"another message");
    let refused = case.evaluate(&decode(&transaction).expect("sound")).map_err(|r| r.code);
    assert_eq!(refused, Err(reason::SIGNATURE_INVALID));
}

/// F16.
#[test]
fn lookup_tables_are_refused() {
    let case = Case::good();
    let [_, mut message] = case.messages();
    let VersionedMessage::V0(v0) = &mut message else { panic!("version 0 comes second") };
    v0.address_table_lookups =
        vec![MessageAddressTableLookup { account_key: key(80), writable_indexes: vec![0], readonly_indexes: vec![] }];
    let transaction = decode(&case.sign(message)).expect("sound");
    assert_eq!(case.evaluate(&transaction).map_err(|r| r.code), Err(reason::ALT_RESOLUTION_NOT_AVAILABLE));
}

/// F13.
#[test]
fn what_it_costs_is_capped_in_parts_and_in_total() {
    check(&[
        ("units", |c| c.instructions[0] = unit_limit(400_001), Some(reason::COMPUTE_LIMIT_TOO_HIGH)),
        (
            "units beyond the runtime's",
            |c| c.instructions[0] = unit_limit(u32::MAX),
            Some(reason::COMPUTE_LIMIT_TOO_HIGH),
        ),
        ("price", |c| c.instructions[1] = unit_price(5_000_001), Some(reason::COMPUTE_PRICE_TOO_HIGH)),
        ("price of all there is", |c| c.instructions[1] = unit_price(u64::MAX), Some(reason::COMPUTE_PRICE_TOO_HIGH)),
        (
            "both within, the product not",
            |c| {
                (c.instructions[0], c.instructions[1]) = (unit_limit(400_000), unit_price(5_000_000));
            },
            Some(reason::COMPUTE_PRICE_TOO_HIGH),
        ),
        ("one lamport too much", |c| c.limits.fee_max = 10_000, Some(reason::COMPUTE_PRICE_TOO_HIGH)),
    ]);
}

/// F10.
#[test]
fn our_keys_act_nowhere() {
    check(&[
        ("our tokens", |c| our_transfer(c, &ours()), Some(reason::FEE_PAYER_TRANSFERRING_FUNDS)),
        (
            "in an instruction of Lighthouse that writes",
            |c| c.instructions[3] = guard(ours().pubkey(), &[0, 0, 0]),
            Some(reason::FEE_PAYER_INCLUDED),
        ),
        (
            "in a memo",
            |c| {
                c.instructions[3].accounts.push(AccountMeta::new_readonly(ours().pubkey(), true));
            },
            Some(reason::FEE_PAYER_INCLUDED),
        ),
        (
            "as the source",
            |c| {
                set_transfer(c, ours().pubkey(), account_of(&merchant()), payer().pubkey(), AMOUNT);
            },
            Some(reason::FEE_PAYER_INCLUDED),
        ),
        (
            "another key of ours",
            |c| c.instructions[3] = assertion(also_ours().pubkey()),
            Some(reason::FEE_PAYER_INCLUDED),
        ),
        (
            "in an unknown instruction",
            |c| {
                let accounts = vec![AccountMeta::new(ours().pubkey(), true), AccountMeta::new(payer().pubkey(), true)];
                c.instructions[3] =
                    Instruction::new_with_bytes(SYSTEM, &[2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], accounts);
            },
            Some(reason::FEE_PAYER_INCLUDED),
        ),
    ]);
    let mut case = Case::good();
    our_transfer(&mut case, &also_ours());
    case.signers.push(also_ours());
    let [message, _] = case.messages();
    let refused = case.evaluate(&decode(&case.sign(message)).expect("sound")).map_err(|r| r.code);
    assert_eq!(refused, Err(reason::FEE_PAYER_TRANSFERRING_FUNDS), "even when that key has signed");
}

#[test]
fn token_payee_and_amount_are_exactly_the_required_ones() {
    check(&[
        ("another token", |c| c.instructions[2].accounts[1].pubkey = key(61), Some(reason::MINT_MISMATCH)),
        ("another payee", |c| c.requirements.pay_to = stranger().pubkey(), Some(reason::RECIPIENT_MISMATCH)),
        ("payTo itself", |c| c.instructions[2].accounts[2].pubkey = merchant(), Some(reason::RECIPIENT_MISMATCH)),
        (
            "the account of the other program",
            |c| c.instructions[2].program_id = programs::TOKEN_2022,
            Some(reason::RECIPIENT_MISMATCH),
        ),
        (
            "from the payee's account to itself",
            |c| {
                set_transfer(c, account_of(&merchant()), account_of(&merchant()), payer().pubkey(), AMOUNT);
            },
            Some(reason::RECIPIENT_MISMATCH),
        ),
        (
            "to the payer",
            |c| {
                c.requirements.pay_to = payer().pubkey();
                set_transfer(c, key(90), account_of(&payer().pubkey()), payer().pubkey(), AMOUNT);
            },
            Some(INVALID_PAYMENT_REQUIREMENTS),
        ),
        ("one less", |c| c.requirements.amount = AMOUNT + 1, Some(reason::AMOUNT_MISMATCH)),
        ("one more", |c| c.requirements.amount = AMOUNT - 1, Some(reason::AMOUNT_MISMATCH)),
    ]);
}

#[test]
fn token_2022_is_paid_to_its_own_associated_account() {
    let mut case = Case::good();
    case.instructions[2].program_id = programs::TOKEN_2022;
    case.instructions[2].accounts[2].pubkey = token::associated_account(&merchant(), &mint(), &programs::TOKEN_2022);
    let [message, _] = case.messages();
    let evaluated = case.evaluate(&decode(&case.sign(message)).expect("sound"));
    assert_eq!(evaluated.map(|evaluated| evaluated.transfer.program), Ok(programs::TOKEN_2022));
}

#[test]
fn a_required_memo_stands_exactly_once() {
    fn require(case: &mut Case) {
        case.requirements.memo = Some("order 7".into());
    }
    check(&[
        ("there", |c| (require(c), c.instructions[3] = memo("order 7")).1, None),
        (
            "among assertions",
            |c| {
                require(c);
                c.instructions.splice(3.., [assertion(mint()), memo("order 7"), assertion(mint())]);
            },
            None,
        ),
        ("none", |c| (require(c), c.instructions.truncate(3)).1, Some(reason::MEMO_COUNT)),
        (
            "twice",
            |c| {
                require(c);
                c.instructions.splice(3.., [memo("order 7"), memo("order 7")]);
            },
            Some(reason::MEMO_COUNT),
        ),
        ("another", require, Some(reason::MEMO_MISMATCH)),
    ]);
}

#[test]
fn a_transfer_without_compute_budget_is_an_operators_choice() {
    fn bare(case: &mut Case) {
        case.instructions.drain(..2);
        case.without_compute_budget = true;
    }
    check(&[
        ("with a memo", bare, None),
        ("alone", |c| (bare(c), c.instructions.truncate(1)).1, None),
        ("complete all the same", |c| c.without_compute_budget = true, None),
        ("not allowed", |c| (bare(c), c.without_compute_budget = false).1, Some(reason::INSTRUCTIONS_LENGTH)),
        (
            "the units that are granted count",
            |c| {
                bare(c);
                c.instructions.push(memo("a"));
            },
            Some(reason::COMPUTE_LIMIT_TOO_HIGH),
        ),
        ("signatures count", |c| (bare(c), c.limits.fee_max = 9_999).1, Some(reason::COMPUTE_PRICE_TOO_HIGH)),
        (
            "half of it",
            |c| (c.instructions.remove(0), c.without_compute_budget = true).1,
            Some(reason::COMPUTE_LIMIT_INSTRUCTION),
        ),
        ("unknown", |c| (bare(c), c.instructions[1] = nonce_advance()).1, Some(reason::UNKNOWN_INSTRUCTION[0])),
        (
            "too many",
            |c| {
                bare(c);
                c.limits.units_max = u32::MAX;
                c.instructions.extend([memo("a"), memo("b"), memo("c"), memo("d")]);
            },
            Some(reason::INSTRUCTIONS_LENGTH),
        ),
        ("nothing", |c| (bare(c), c.instructions.clear(), c.signers.clear()).1, Some(reason::INSTRUCTIONS_LENGTH)),
    ]);
}

#[test]
fn version_1_spells_some_codes_in_its_own_way() {
    let spellings = [
        (reason::UNSUPPORTED_SCHEME, "unsupported_scheme"),
        (reason::NETWORK_MISMATCH, "network_mismatch"),
        (reason::FEE_PAYER_NOT_MANAGED, "fee_payer_not_managed_by_facilitator"),
        (reason::SIMULATION_FAILED, "transaction_simulation_failed"),
        (reason::TRANSACTION_FAILED, "transaction_failed"),
    ];
    for (code, v1) in spellings {
        assert_eq!(code.spelling(Version::V1), v1);
        assert_eq!(code.spelling(Version::V2), format!("invalid_exact_svm_{v1}"));
    }
    for code in [reason::MISSING_FEE_PAYER, reason::MINT_MISMATCH, reason::UNKNOWN_INSTRUCTION[3]] {
        assert_eq!(code.spelling(Version::V1), code.spelling(Version::V2));
    }
}

proptest! {
    /// Whatever stands in the bytes, there is a verdict, and never for less
    /// than a signature of the payer's.
    #[test]
    fn damaged_transactions_are_evaluated_and_refused(
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4), version in 0_usize..2
    ) {
        let case = Case::good();
        let good = wincode::serialize(&case.sign(case.messages()[version].clone())).expect("bytes");
        let mut damaged = good.clone();
        for (at, byte) in changes {
            let length = damaged.len();
            damaged[at % length] = byte;
        }
        let signatures = 1 + 64;
        let Ok(transaction) = Transaction::from_wire(damaged.clone()) else { return Ok(()) };
        let evaluated = case.evaluate(&transaction);
        prop_assert_eq!(evaluated.is_ok(), damaged[signatures..] == good[signatures..], "{:?}", evaluated);
    }
}
