//! For tests: accounts made by the real Token-2022 program, in memory.

use litesvm::LiteSVM;
use solana_account::Account;
use solana_message::Message;
use solana_sdk::{
    instruction::Instruction,
    pubkey::Pubkey,
    signature::{Keypair, Signer},
};
use solana_transaction::Transaction;
use spl_token_2022_interface::{
    extension::ExtensionType,
    instruction as token_instruction,
    state::{Account as TokenAccount, Mint},
};

use crate::programs::TOKEN_2022;

/// The chain, and the one key that owns everything in it.
pub(crate) struct LocalChain {
    pub svm: LiteSVM,
    pub key: Keypair,
}

pub(crate) fn address(byte: u8) -> Pubkey {
    Pubkey::new_from_array([byte; 32])
}

impl LocalChain {
    pub fn new() -> Self {
        let (mut svm, key) = (LiteSVM::new(), Keypair::new_from_array([1; 32]));
        svm.airdrop(&key.pubkey(), 1_000_000_000).expect("lamports");
        Self { svm, key }
    }

    pub fn owner(&self) -> Pubkey {
        self.key.pubkey()
    }

    /// Runs the instructions in one transaction; whether it succeeded.
    pub fn run(&mut self, instructions: &[Instruction]) -> Result<(), String> {
        self.svm.expire_blockhash();
        let message = Message::new_with_blockhash(instructions, Some(&self.owner()), &self.svm.latest_blockhash());
        let mut transaction = Transaction::new_unsigned(message);
        transaction.sign(&[&self.key], self.svm.latest_blockhash());
        let done = self.svm.send_transaction(transaction);
        done.map(|_| ()).map_err(|failed| format!("{:?}: {}", failed.err, failed.meta.pretty_logs()))
    }

    pub fn account(&self, address: Pubkey) -> Account {
        self.svm.get_account(&address).expect("an account")
    }

    fn allocate(&mut self, address: Pubkey, length: usize) {
        let account =
            Account { lamports: 1_000_000_000, data: vec![0; length], owner: TOKEN_2022, ..Account::default() };
        self.svm.set_account(address, account).expect("an account");
    }

    /// A mint with extensions, which `initialise` prepares.
    pub fn mint(&mut self, address: Pubkey, extensions: &[ExtensionType], initialise: Vec<Instruction>) {
        let length = ExtensionType::try_calculate_account_len::<Mint>(extensions).expect("fixed lengths");
        self.allocate(address, length);
        let owner = self.owner();
        let last = token_instruction::initialize_mint2(&TOKEN_2022, &address, &owner, Some(&owner), 6);
        self.run(&[initialise, vec![last.expect("an instruction")]].concat()).expect("a mint");
    }

    /// A token account with extensions, which `enable` switches on.
    pub fn token_account(
        &mut self,
        address: Pubkey,
        mint: Pubkey,
        extensions: &[ExtensionType],
        enable: Vec<Instruction>,
    ) {
        let length = ExtensionType::try_calculate_account_len::<TokenAccount>(extensions).expect("fixed lengths");
        self.allocate(address, length);
        let first = token_instruction::initialize_account3(&TOKEN_2022, &address, &mint, &self.owner());
        self.run(&[vec![first.expect("an instruction")], enable].concat()).expect("a token account");
    }
}
