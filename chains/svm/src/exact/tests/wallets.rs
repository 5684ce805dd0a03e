//! Smart wallets: the refusals before the simulation, and the transfer in
//! it is the payment.

use chains_core::{Code, reason::INVALID_PAYMENT_REQUIREMENTS};
use solana_message::v0::MessageAddressTableLookup;

use super::{world::SYSTEM, *};
use crate::{
    compute_budget::{ComputeBudget, UNITS_PER_INSTRUCTION},
    exact::smart_wallet::{self, InnerInstruction, Policy, Simulatable},
    reason,
    token::TransferChecked,
};

fn wallet() -> Pubkey {
    programs::SMART_WALLETS[0]
}

/// The wallet's own key, which no private key belongs to.
fn vault() -> Pubkey {
    key(50)
}

/// A call of the wallet, with what it needs to transfer.
fn call() -> Instruction {
    let accounts = vec![
        AccountMeta::new(payer().pubkey(), true),
        AccountMeta::new_readonly(vault(), false),
        AccountMeta::new(account_of(&vault()), false),
        AccountMeta::new(account_of(&merchant()), false),
        AccountMeta::new_readonly(programs::TOKEN, false),
    ];
    Instruction::new_with_bytes(wallet(), &[1, 2, 3], accounts)
}

fn good() -> Case {
    Case { instructions: vec![unit_limit(150_000), unit_price(1), call(), memo("a")], ..Case::good() }
}

fn check(case: &Case, message: VersionedMessage) -> Result<Simulatable, Code> {
    let ours = [also_ours().pubkey(), ours().pubkey()];
    let policy = Policy { ours: &ours, programs: &programs::SMART_WALLETS, limits: smart_wallet::default_limits() };
    let transaction = decode(&case.sign(message)).expect("sound");
    smart_wallet::check(&transaction, &case.requirements, ours[1], policy).map_err(|r| r.code)
}

#[test]
fn a_wallets_payment_may_be_simulated() {
    let case = good();
    for message in case.messages() {
        let transaction = decode(&case.sign(message.clone())).expect("sound");
        let refused = case.evaluate(&transaction).expect_err("no transfer at the top");
        assert!(smart_wallet::may_be_wallet(refused.code));
        let budget = ComputeBudget { unit_limit: 150_000, unit_price: 1 };
        assert_eq!(
            check(&case, message),
            Ok(Simulatable { program: wallet(), fee_payer: ours().pubkey(), budget, fee: 10_001 })
        );
    }
}

#[test]
fn only_another_layout_leads_to_the_wallets_rules() {
    let others = [
        reason::SIGNATURE_INVALID,
        reason::FEE_PAYER_MISMATCH,
        reason::COMPUTE_LIMIT_TOO_HIGH,
        reason::COMPUTE_PRICE_TOO_HIGH,
        reason::FEE_PAYER_INCLUDED,
        reason::FEE_PAYER_TRANSFERRING_FUNDS,
        reason::MINT_MISMATCH,
        reason::RECIPIENT_MISMATCH,
        reason::AMOUNT_MISMATCH,
        reason::UNKNOWN_INSTRUCTION[3],
        reason::MEMO_COUNT,
        reason::MEMO_MISMATCH,
    ];
    assert!(others.into_iter().all(|code| !smart_wallet::may_be_wallet(code)));
}

#[test]
fn wallets_are_refused_before_the_simulation() {
    type Change = fn(&mut Case);
    let cases: [(&str, Change, Option<Code>); 24] = [
        ("an assertion", |c| c.instructions.push(assertion(vault())), None),
        (
            "Lighthouse that writes",
            |c| {
                c.instructions.push(assertion(vault()));
                c.instructions[4].data[0] = 0;
            },
            Some(reason::WALLET_PROGRAM_NOT_ALLOWED),
        ),
        (
            "Lighthouse that looks at the clock",
            |c| {
                c.instructions.push(assertion(vault()));
                c.instructions[4].data[0] = 15;
            },
            Some(reason::WALLET_PROGRAM_NOT_ALLOWED),
        ),
        ("no wallet", |c| drop(c.instructions.remove(2)), Some(reason::WALLET_NO_TRANSFER)),
        ("no budget", |c| drop(c.instructions.drain(..2)), None),
        (
            "a third signer",
            |c| {
                c.instructions[2].accounts.push(AccountMeta::new_readonly(stranger().pubkey(), true));
                c.signers.push(stranger());
            },
            None,
        ),
        (
            "the third has not signed",
            |c| {
                c.instructions[2].accounts.push(AccountMeta::new_readonly(stranger().pubkey(), true));
            },
            Some(reason::SIGNATURE_INVALID),
        ),
        ("another fee payer", |c| c.fee_payer = also_ours().pubkey(), Some(reason::FEE_PAYER_MISMATCH)),
        (
            "a token program",
            |c| {
                c.instructions[3] = transfer(account_of(&payer().pubkey()), key(9), payer().pubkey(), 1);
            },
            Some(reason::WALLET_PROGRAM_NOT_ALLOWED),
        ),
        ("the system program", |c| c.instructions[3].program_id = key(0), Some(reason::WALLET_PROGRAM_NOT_ALLOWED)),
        (
            "our key for the wallet",
            |c| {
                c.instructions[2].accounts[0].pubkey = ours().pubkey();
                c.signers.clear();
            },
            Some(reason::WALLET_FEE_PAYER_NOT_ISOLATED),
        ),
        (
            "another of ours",
            |c| c.instructions[2].accounts[1].pubkey = also_ours().pubkey(),
            Some(reason::WALLET_FEE_PAYER_NOT_ISOLATED),
        ),
        (
            "our key in a memo",
            |c| {
                c.instructions[3].accounts.push(AccountMeta::new_readonly(ours().pubkey(), true));
            },
            Some(reason::WALLET_FEE_PAYER_NOT_ISOLATED),
        ),
        ("empty budget", |c| c.instructions[0].data.clear(), Some(reason::WALLET_MALFORMED_COMPUTE_BUDGET)),
        ("limit twice", |c| c.instructions[1] = unit_limit(1), Some(reason::WALLET_MALFORMED_COMPUTE_BUDGET)),
        ("price twice", |c| c.instructions[0] = unit_price(1), Some(reason::WALLET_MALFORMED_COMPUTE_BUDGET)),
        ("short limit", |c| c.instructions[0].data.truncate(4), Some(reason::WALLET_MALFORMED_COMPUTE_LIMIT)),
        ("long price", |c| c.instructions[1].data.push(0), Some(reason::WALLET_MALFORMED_COMPUTE_PRICE)),
        ("heap frame", |c| c.instructions[0].data[0] = 1, Some(reason::WALLET_UNSUPPORTED_COMPUTE_BUDGET)),
        ("units", |c| c.instructions[0] = unit_limit(400_001), Some(reason::WALLET_COMPUTE_UNITS_TOO_HIGH)),
        (
            "units that are granted",
            |c| {
                c.instructions.remove(0);
                c.instructions.push(memo("b"));
            },
            Some(reason::WALLET_COMPUTE_UNITS_TOO_HIGH),
        ),
        ("price", |c| c.instructions[1] = unit_price(50_001), Some(reason::WALLET_PRIORITY_FEE_TOO_HIGH)),
        (
            "no required memo",
            |c| {
                c.requirements.memo = Some("a".into());
                c.instructions.truncate(3);
            },
            Some(reason::MEMO_COUNT),
        ),
        ("another memo", |c| c.requirements.memo = Some("b".into()), Some(reason::MEMO_MISMATCH)),
    ];
    for (name, change, expected) in cases {
        let mut case = good();
        change(&mut case);
        for message in case.messages() {
            assert_eq!(check(&case, message).err(), expected, "{name}");
        }
    }
}

#[test]
fn without_a_limit_the_granted_units_count() {
    let mut case = good();
    case.instructions.remove(0);
    let [message, _] = case.messages();
    let granted = check(&case, message).map(|checked| checked.budget.unit_limit);
    assert_eq!(granted, Ok(2 * UNITS_PER_INSTRUCTION), "the wallet's and the memo's");
}

#[test]
fn durable_nonces_are_refused_even_where_the_system_program_is_allowed() {
    let mut case = good();
    let accounts = vec![
        AccountMeta::new(key(70), false),
        AccountMeta::new_readonly(key(71), false),
        AccountMeta::new_readonly(payer().pubkey(), true),
    ];
    case.instructions.insert(0, Instruction::new_with_bytes(SYSTEM, &[4, 0, 0, 0], accounts));
    let [message, _] = case.messages();
    let transaction = decode(&case.sign(message)).expect("sound");
    let policy = Policy { ours: &[], programs: &[SYSTEM, wallet()], limits: smart_wallet::default_limits() };
    let checked = smart_wallet::check(&transaction, &case.requirements, ours().pubkey(), policy);
    assert_eq!(checked.map_err(|r| r.code), Err(reason::WALLET_PROGRAM_NOT_ALLOWED));
}

#[test]
fn our_keys_are_out_of_reach_by_lookup_tables_too() {
    let case = good();
    let [_, mut message] = case.messages();
    let VersionedMessage::V0(v0) = &mut message else { panic!("version 0 comes second") };
    let named = u8::try_from(v0.account_keys.len()).expect("few");
    v0.instructions[2].accounts.extend([named, named + 1]);
    v0.address_table_lookups =
        vec![MessageAddressTableLookup { account_key: key(80), writable_indexes: vec![0], readonly_indexes: vec![1] }];
    assert!(check(&case, message.clone()).is_ok(), "what a table holds is not known yet");
    let transaction = decode(&case.sign(message)).expect("sound");
    let ours = [also_ours().pubkey(), ours().pubkey()];
    let with = |loaded: [Pubkey; 2]| smart_wallet::check_loaded(&transaction, &loaded, &ours).map_err(|r| r.code);
    assert_eq!(with([key(81), key(82)]), Ok(()));
    assert_eq!(with([key(81), ours[1]]), Err(reason::WALLET_FEE_PAYER_NOT_ISOLATED));
    assert_eq!(with([ours[0], key(82)]), Err(reason::WALLET_FEE_PAYER_NOT_ISOLATED));
}

fn inner(source: Pubkey, destination: Pubkey, authority: Pubkey, amount: u64) -> InnerInstruction {
    let Instruction { program_id, accounts, data } = transfer(source, destination, authority, amount);
    InnerInstruction { program: program_id, accounts: accounts.into_iter().map(|meta| meta.pubkey).collect(), data }
}

#[test]
fn exactly_one_transfer_is_the_payment() {
    let (from, to) = (account_of(&vault()), account_of(&merchant()));
    let pays = || inner(from, to, vault(), AMOUNT);
    let elsewhere = || inner(from, key(99), vault(), AMOUNT);
    let noise = || InnerInstruction { program: wallet(), accounts: vec![], data: vec![1] };
    let co_signed = || InnerInstruction { accounts: [pays().accounts, vec![key(7)]].concat(), ..pays() };
    let cases: [(&str, Vec<InnerInstruction>, Result<u64, Code>); 14] = [
        ("alone", vec![pays()], Ok(AMOUNT)),
        ("among others", vec![noise(), elsewhere(), pays()], Ok(AMOUNT)),
        ("more than required", vec![inner(from, to, vault(), AMOUNT + 1)], Ok(AMOUNT + 1)),
        ("by a multisig", vec![co_signed()], Ok(AMOUNT)),
        ("nothing", vec![], Err(reason::WALLET_NO_TRANSFER)),
        ("no transfer", vec![noise()], Err(reason::WALLET_NO_TRANSFER)),
        ("of another program", vec![InnerInstruction { program: wallet(), ..pays() }], Err(reason::WALLET_NO_TRANSFER)),
        ("elsewhere", vec![elsewhere()], Err(reason::WALLET_TRANSFER_MISMATCH)),
        ("one less", vec![inner(from, to, vault(), AMOUNT - 1)], Err(reason::WALLET_TRANSFER_MISMATCH)),
        (
            "another token",
            vec![InnerInstruction { accounts: vec![from, key(61), to, vault()], ..pays() }],
            Err(reason::WALLET_TRANSFER_MISMATCH),
        ),
        ("to itself", vec![inner(to, to, vault(), AMOUNT)], Err(reason::WALLET_TRANSFER_MISMATCH)),
        ("twice", vec![pays(), pays()], Err(reason::WALLET_MULTIPLE_TRANSFERS)),
        (
            "our tokens",
            vec![pays(), inner(from, key(99), ours().pubkey(), 1)],
            Err(reason::FEE_PAYER_TRANSFERRING_FUNDS),
        ),
        ("the payee's", vec![inner(from, to, merchant(), AMOUNT)], Err(INVALID_PAYMENT_REQUIREMENTS)),
    ];
    let case = good();
    let [message, _] = case.messages();
    let checked = check(&case, message).expect("good");
    for (name, inner, expected) in cases {
        let evaluated = checked.evaluate(
            &inner,
            &case.requirements,
            &[also_ours().pubkey(), ours().pubkey()],
            &token::AssociatedAccounts::default(),
        );
        let transfer: Result<TransferChecked, Code> = evaluated.map(|evaluated| evaluated.transfer).map_err(|r| r.code);
        assert_eq!(transfer.map(|transfer| transfer.amount), expected, "{name}");
    }
}
