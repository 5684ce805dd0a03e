//! A smart wallet, honest or not: `programs/wallet.s`, which every validator
//! of the tests has, and payments that it is to make.

use std::path::Path;

use chains_svm::{
    local::{AccountMeta, Instruction, LocalChain, Payer, Pubkey, program_of},
    programs,
    token::associated_account,
};
use sbpf_assembler::{Assembler, AssemblerOption, SbpfArch};
use serde_json::{Map, Value};

use crate::svm::Draft;

/// The address of the program.
pub const PROGRAM: Pubkey = Pubkey::from_str_const("Wa11et1111111111111111111111111111111111111");

/// The account in which a program finds the time.
const CLOCK: Pubkey = Pubkey::from_str_const("SysvarC1ock11111111111111111111111111111111");

/// The compute units that the program needs, with another program's transfers: more than the
/// official clients ask for.
const UNIT_LIMIT: u32 = 100_000;

/// The place at which the data of an account begins, and that of the amount in a token account.
const DATA: u64 = 88;
const AMOUNT: u64 = DATA + 64;

/// Writes the program for `--bpf-program`.
///
/// # Panics
/// If the source has a mistake, or the disk is full.
pub fn write_program(path: &Path) {
    assemble(include_str!("../programs/wallet.s"), path);
}

/// Assembles a program into a file.
pub(crate) fn assemble(source: &str, path: &Path) {
    let assembler = Assembler::new(AssemblerOption::default().with_arch(SbpfArch::V0));
    let program = assembler.assemble(source);
    std::fs::write(path, program.unwrap_or_else(|errors| panic!("{errors:?}"))).expect("written");
}

/// The account whose tokens an owner's wallet moves, and what completes its seeds.
pub fn vault(owner: &Pubkey) -> (Pubkey, u8) {
    Pubkey::find_program_address(&[owner.as_ref()], &PROGRAM)
}

/// The account that a wallet looks at before it decides.
#[derive(Clone, Copy, Debug)]
pub struct Witness {
    account: Pubkey,
    at: u64,
    /// The most that it shows while the wallet does what it is asked for.
    pub limit: u64,
}

impl Witness {
    /// The chain, until it has passed a slot.
    pub const fn slot(last: u64) -> Self {
        Self { account: CLOCK, at: DATA, limit: last }
    }

    /// Somebody's tokens, until there are more than so many.
    pub fn tokens(owner: &Pubkey, mint: &Pubkey, limit: u64) -> Self {
        Self { account: associated_account(owner, mint, &program_of(mint)), at: AMOUNT, limit }
    }
}

/// A transfer that a wallet makes: the owner of the account that is paid, and how much.
pub type Transfer = (Pubkey, u64);

/// A payment to be that a wallet makes, with every field in reach of a test.
#[derive(Debug)]
pub struct Call {
    /// The signer, and the payment to make.
    pub draft: Draft,
    /// The account that it looks at.
    pub witness: Witness,
    /// The transfers as long as the witness shows no more than its limit.
    pub transfers: Vec<Transfer>,
    /// The transfers otherwise.
    pub otherwise: Vec<Transfer>,
}

impl Call {
    /// An honest wallet's payment: it does what it is asked for.
    pub fn honest(mut draft: Draft) -> Self {
        draft.order.unit_limit = UNIT_LIMIT;
        let transfers = vec![(draft.order.pay_to, draft.order.amount)];
        Self { draft, witness: Witness::slot(u64::MAX), transfers, otherwise: vec![] }
    }

    /// The vault that pays.
    pub fn vault(&self) -> Pubkey {
        vault(&self.draft.payer.address()).0
    }

    /// The instructions of a payment, with the wallet's in the transfer's place.
    pub fn instructions(&self) -> Vec<Instruction> {
        let mut instructions = self.draft.order.instructions(&self.draft.payer.address());
        instructions[2] = self.instruction();
        instructions
    }

    fn instruction(&self) -> Instruction {
        let (owner, mint) = (self.draft.payer.address(), self.draft.order.mint);
        let (vault, bump) = vault(&owner);
        let tokens_of = |owner: &Pubkey| associated_account(owner, &mint, &program_of(&mint));
        let mut accounts = vec![
            AccountMeta::new_readonly(owner, true),
            AccountMeta::new_readonly(vault, false),
            AccountMeta::new(tokens_of(&vault), false),
            AccountMeta::new_readonly(mint, false),
            AccountMeta::new_readonly(program_of(&mint), false),
            AccountMeta::new_readonly(self.witness.account, false),
        ];
        let counts = [&self.transfers, &self.otherwise].map(|list| number(list.len()));
        let mut words = vec![u64::from(bump), self.witness.limit, self.witness.at, counts[0], counts[1]];
        for (payee, amount) in self.transfers.iter().chain(&self.otherwise) {
            let account = AccountMeta::new(tokens_of(payee), false);
            let place = accounts.iter().position(|known| *known == account).unwrap_or(accounts.len());
            if place == accounts.len() {
                accounts.push(account);
            }
            words.extend([number(place), *amount]);
        }
        Instruction { program_id: PROGRAM, accounts, data: words.into_iter().flat_map(u64::to_le_bytes).collect() }
    }

    /// Signs with the newest blockhash and writes the body of `/verify` and
    /// `/settle`.
    ///
    /// # Panics
    /// If the chain does not answer.
    pub async fn body(&self, chain: &LocalChain) -> Value {
        self.draft.v2(&self.payload(chain).await)
    }

    /// The same, signed by another key too, which stands before the owner and only says something.
    ///
    /// # Panics
    /// If the chain does not answer.
    pub async fn body_signed_too(&self, chain: &LocalChain, other: &Payer) -> Value {
        let Draft { payer, order } = &self.draft;
        let mut instructions = self.instructions();
        let accounts = vec![AccountMeta::new(other.address(), true)];
        instructions.push(Instruction { program_id: programs::MEMO, accounts, data: b"I was here".to_vec() });
        let blockhash = chain.blockhash().await.expect("a blockhash");
        let signed = payer.sign_instructions(&order.fee_payer, &instructions, blockhash, order.legacy).expect("signed");
        self.draft.v2(&other.sign_too(&signed).expect("signed"))
    }

    async fn payload(&self, chain: &LocalChain) -> Map<String, Value> {
        let blockhash = chain.blockhash().await.expect("a blockhash");
        let Draft { payer, order } = &self.draft;
        payer.sign_instructions(&order.fee_payer, &self.instructions(), blockhash, order.legacy).expect("signed")
    }
}

fn number(small: usize) -> u64 {
    u64::try_from(small).expect("small")
}
