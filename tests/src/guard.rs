//! Guards: assertions of Lighthouse that wallets, and strangers, add to payments. The program is
//! `programs/lighthouse.s`, which stands in for the one on public clusters.

use std::path::Path;

use chains_svm::{
    local::{AccountMeta, Instruction, LocalChain, Pubkey},
    programs,
};
use serde_json::Value;

use crate::{svm::Draft, wallet};

/// The address of the program.
pub const PROGRAM: Pubkey = programs::LIGHTHOUSE;

/// Operators of assertions.
pub const EQUAL: u8 = 0;
/// See [`EQUAL`].
pub const AT_LEAST: u8 = 4;

/// The compute units that a payment needs with a few guards, more than the official clients ask for.
const UNIT_LIMIT: u32 = 60_000;

/// Writes the program for `--bpf-program`.
///
/// # Panics
/// If the source has a mistake, or the disk is full.
pub fn write_program(path: &Path) {
    wallet::assemble(include_str!("../programs/lighthouse.s"), path);
}

/// An instruction to the program that reads these accounts.
pub fn reading(accounts: &[Pubkey], data: &[u8]) -> Instruction {
    let accounts = accounts.iter().map(|account| AccountMeta::new_readonly(*account, false)).collect();
    Instruction { program_id: PROGRAM, accounts, data: data.to_vec() }
}

/// `AssertAccountInfo`: an account's lamports, compared by an operator.
pub fn lamports(account: Pubkey, operator: u8, value: u64) -> Instruction {
    reading(&[account], &[[5, 0, 0].as_slice(), &value.to_le_bytes(), &[operator]].concat())
}

/// `AssertTokenAccount`: the tokens in an account, compared by an operator.
pub fn tokens(account: Pubkey, operator: u8, value: u64) -> Instruction {
    reading(&[account], &[[9, 0, 2].as_slice(), &value.to_le_bytes(), &[operator]].concat())
}

/// Signs a payment whose transfer stands behind some guards, with the newest blockhash, and writes the body of
/// `/verify` and `/settle`.
///
/// # Panics
/// If the chain does not answer.
pub async fn body(mut draft: Draft, guards: &[Instruction], chain: &LocalChain) -> Value {
    draft.order.unit_limit = UNIT_LIMIT;
    let blockhash = chain.blockhash().await.expect("a blockhash");
    let Draft { payer, order } = &draft;
    let mut instructions = order.instructions(&payer.address());
    instructions.splice(2..2, guards.iter().cloned());
    let payload = payer.sign_instructions(&order.fee_payer, &instructions, blockhash, order.legacy).expect("signed");
    draft.v2(&payload)
}
