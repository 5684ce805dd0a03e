//! Instructions count by what they do, wherever they stand.

use super::{
    table::{check, nonce_advance},
    *,
};
use crate::reason;

/// T2-30: wallets rebuild what they sign, and put their own settings into it.
#[test]
fn no_place_has_a_meaning() {
    fn arrange(case: &mut Case, order: &[usize]) {
        case.instructions = order.iter().map(|at| case.instructions[*at].clone()).collect();
    }
    check(&[
        ("price before limit", |c| arrange(c, &[1, 0, 2, 3]), None),
        ("memo first", |c| arrange(c, &[3, 0, 1, 2]), None),
        ("memo before the transfer", |c| arrange(c, &[0, 1, 3, 2]), None),
        ("settings last", |c| arrange(c, &[2, 3, 1, 0]), None),
        ("backwards", |c| arrange(c, &[3, 2, 1, 0]), None),
        (
            "a guard between the settings, and price first",
            |c| {
                arrange(c, &[1, 0, 2, 3]);
                c.instructions.insert(1, assertion(payer().pubkey()));
            },
            None,
        ),
        ("more memory", |c| c.instructions.insert(0, heap_frame(256 * 1024)), None),
        ("less of it, after the transfer", |c| c.instructions.push(heap_frame(32 * 1024)), None),
        (
            "the required memo first",
            |c| {
                c.requirements.memo = Some("order 7".into());
                c.instructions[3] = memo("order 7");
                arrange(c, &[3, 1, 0, 2]);
            },
            None,
        ),
        (
            "without a budget, the memo first",
            |c| {
                c.without_compute_budget = true;
                arrange(c, &[3, 2]);
            },
            None,
        ),
    ]);
}

/// The units that the runtime grants to guards count, where the transaction sets none.
#[test]
fn guards_use_units_too() {
    let guarded = |c: &mut Case| {
        c.without_compute_budget = true;
        c.instructions.drain(..2);
        c.instructions.push(assertion(payer().pubkey()));
    };
    check(&[("three instructions", guarded, Some(reason::COMPUTE_LIMIT_TOO_HIGH))]);
}

#[test]
fn the_layout_is_bound() {
    check(&[
        ("two", |c| c.instructions.truncate(2), Some(reason::INSTRUCTIONS_LENGTH)),
        (
            "eight",
            |c| c.instructions.extend([memo("a"), memo("b"), memo("c"), memo("d")]),
            Some(reason::INSTRUCTIONS_LENGTH),
        ),
        ("limit twice", |c| c.instructions[1] = unit_limit(1), Some(reason::COMPUTE_PRICE_INSTRUCTION)),
        ("heap frame", |c| c.instructions[0].data[0] = 1, Some(reason::COMPUTE_LIMIT_INSTRUCTION)),
        ("loaded data", |c| c.instructions[1].data[0] = 4, Some(reason::COMPUTE_PRICE_INSTRUCTION)),
        (
            "limit of another program",
            |c| c.instructions[0].program_id = programs::MEMO,
            Some(reason::COMPUTE_LIMIT_INSTRUCTION),
        ),
        (
            "price of another program",
            |c| c.instructions[1].program_id = programs::MEMO,
            Some(reason::COMPUTE_PRICE_INSTRUCTION),
        ),
        ("limit too long", |c| c.instructions[0].data.push(0), Some(reason::COMPUTE_LIMIT_INSTRUCTION)),
        ("price too short", |c| c.instructions[1].data.truncate(8), Some(reason::COMPUTE_PRICE_INSTRUCTION)),
        ("no transfer", |c| c.instructions.remove(2).accounts.clear(), Some(reason::NO_TRANSFER_INSTRUCTION)),
        (
            "transfer without check",
            |c| c.instructions[2].data = [[3].as_slice(), &AMOUNT.to_le_bytes()].concat(),
            Some(reason::NO_TRANSFER_INSTRUCTION),
        ),
        ("approve", |c| c.instructions[2].data[0] = 13, Some(reason::NO_TRANSFER_INSTRUCTION)),
        ("batch", |c| c.instructions[2].data[0] = 255, Some(reason::NO_TRANSFER_INSTRUCTION)),
        ("three accounts", |c| c.instructions[2].accounts.truncate(3), Some(reason::NO_TRANSFER_INSTRUCTION)),
        (
            "a multisig's co-signer",
            |c| {
                c.instructions[2].accounts.push(AccountMeta::new_readonly(ours().pubkey(), true));
            },
            Some(reason::NO_TRANSFER_INSTRUCTION),
        ),
        ("two transfers", |c| c.instructions[3] = c.instructions[2].clone(), Some(reason::UNKNOWN_INSTRUCTION[0])),
        ("durable nonce", |c| c.instructions.insert(0, nonce_advance()), Some(reason::UNKNOWN_INSTRUCTION[0])),
        (
            "a durable nonce before the transfer, in the middle",
            |c| c.instructions.insert(2, nonce_advance()),
            Some(reason::UNKNOWN_INSTRUCTION[0]),
        ),
        ("price twice, apart", |c| c.instructions.insert(0, unit_price(2)), Some(reason::UNKNOWN_INSTRUCTION[0])),
        (
            "memory twice",
            |c| c.instructions.extend([heap_frame(65_536), heap_frame(65_536)]),
            Some(reason::UNKNOWN_INSTRUCTION[1]),
        ),
        (
            "memory that the runtime does not grant",
            |c| c.instructions.push(heap_frame(65_537)),
            Some(reason::UNKNOWN_INSTRUCTION[1]),
        ),
    ]);
}

#[test]
fn only_memos_and_guards_stand_beside_the_transfer() {
    for (place, code) in reason::UNKNOWN_INSTRUCTION.into_iter().enumerate() {
        let unknown = [
            nonce_advance(),
            unit_price(1),
            Instruction::new_with_bytes(programs::TOKEN, &[9], vec![AccountMeta::new(payer().pubkey(), true)]),
            Instruction::new_with_bytes(programs::ASSOCIATED_TOKEN, &[], vec![]),
            Instruction { data: vec![0], ..assertion(key(1)) },
            Instruction { data: vec![1], ..assertion(key(1)) },
            Instruction { data: vec![15], ..assertion(key(1)) },
            Instruction { data: vec![], ..assertion(key(1)) },
        ];
        for instruction in unknown {
            let mut case = Case::good();
            case.instructions.truncate(3);
            case.instructions.extend((0..place).map(|_| memo("a")));
            case.instructions.push(instruction);
            let [message, _] = case.messages();
            let refused = case.evaluate(&decode(&case.sign(message)).expect("sound")).map_err(|r| r.code);
            assert_eq!(refused, Err(code));
        }
    }
}
