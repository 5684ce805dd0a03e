//! Payments to evaluate, made the way clients make them.

mod guards;
mod hostile;
mod layout;
mod money;
mod table;
mod wallets;
mod world;

use chains_core::Rejection;
use solana_message::{Message, VersionedMessage, v0};
use solana_sdk::{
    hash::Hash,
    instruction::{AccountMeta, Instruction},
    pubkey::Pubkey,
    signature::{Keypair, Signer},
};
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;

use super::{
    NAME,
    requirements::Requirements,
    rules::{self, Evaluated, Policy},
    transaction::{DecodeError, Transaction},
};
use crate::{
    compute_budget::Limits,
    programs,
    token::{self, AssociatedAccounts},
};

pub(super) const AMOUNT: u64 = 10_000;
pub(super) const DECIMALS: u8 = 6;

pub(super) fn key(byte: u8) -> Pubkey {
    Pubkey::new_from_array([byte; 32])
}

pub(super) fn ours() -> Keypair {
    Keypair::new_from_array([1; 32])
}

/// A second fee payer of ours, which another kind announces.
pub(super) fn also_ours() -> Keypair {
    Keypair::new_from_array([2; 32])
}

pub(super) fn payer() -> Keypair {
    Keypair::new_from_array([3; 32])
}

pub(super) fn stranger() -> Keypair {
    Keypair::new_from_array([4; 32])
}

pub(super) fn merchant() -> Pubkey {
    Keypair::new_from_array([5; 32]).pubkey()
}

pub(super) fn mint() -> Pubkey {
    key(60)
}

pub(super) fn account_of(owner: &Pubkey) -> Pubkey {
    token::associated_account(owner, &mint(), &programs::TOKEN)
}

pub(super) fn unit_limit(units: u32) -> Instruction {
    Instruction::new_with_bytes(programs::COMPUTE_BUDGET, &[[2].as_slice(), &units.to_le_bytes()].concat(), vec![])
}

pub(super) fn unit_price(price: u64) -> Instruction {
    Instruction::new_with_bytes(programs::COMPUTE_BUDGET, &[[3].as_slice(), &price.to_le_bytes()].concat(), vec![])
}

pub(super) fn heap_frame(bytes: u32) -> Instruction {
    Instruction::new_with_bytes(programs::COMPUTE_BUDGET, &[[1].as_slice(), &bytes.to_le_bytes()].concat(), vec![])
}

pub(super) fn loaded_data_limit(bytes: u32) -> Instruction {
    Instruction::new_with_bytes(programs::COMPUTE_BUDGET, &[[4].as_slice(), &bytes.to_le_bytes()].concat(), vec![])
}

pub(super) fn memo(text: &str) -> Instruction {
    Instruction::new_with_bytes(programs::MEMO, text.as_bytes(), vec![])
}

/// `AssertAccountInfoMulti`: the account belongs to the system program.
pub(super) fn assertion(account: Pubkey) -> Instruction {
    guard(account, &[6, 4, 1, 3, 0, 0])
}

/// `AssertAccountInfo`: the account has lamports, compared by an operator.
pub(super) fn lamports_guard(account: Pubkey, value: u64, operator: u8) -> Instruction {
    guard(account, &[[5, 0, 0].as_slice(), &value.to_le_bytes(), &[operator]].concat())
}

/// An instruction to Lighthouse that gets one account.
pub(super) fn guard(account: Pubkey, data: &[u8]) -> Instruction {
    Instruction::new_with_bytes(programs::LIGHTHOUSE, data, vec![AccountMeta::new_readonly(account, false)])
}

pub(super) fn transfer(source: Pubkey, destination: Pubkey, authority: Pubkey, amount: u64) -> Instruction {
    let accounts = vec![
        AccountMeta::new(source, false),
        AccountMeta::new_readonly(mint(), false),
        AccountMeta::new(destination, false),
        AccountMeta::new_readonly(authority, true),
    ];
    let data = [[12].as_slice(), &amount.to_le_bytes(), &[DECIMALS]].concat();
    Instruction::new_with_bytes(programs::TOKEN, &data, accounts)
}

/// A payment in the making: everything that decides the verdict.
pub(super) struct Case {
    pub instructions: Vec<Instruction>,
    pub fee_payer: Pubkey,
    pub blockhash: Hash,
    /// The keys that sign, where the message asks for them.
    pub signers: Vec<Keypair>,
    pub requirements: Requirements,
    pub limits: Limits,
    pub without_compute_budget: bool,
}

impl Case {
    /// As the official clients make it: limit, price, transfer, memo.
    pub fn good() -> Self {
        let pays = payer().pubkey();
        let instructions = vec![
            unit_limit(20_000),
            unit_price(1),
            transfer(account_of(&pays), account_of(&merchant()), pays, AMOUNT),
            memo("0123456789abcdef0123456789abcdef"),
        ];
        let network = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1".parse().expect("CAIP-2");
        let requirements = Requirements {
            scheme: NAME.into(),
            chosen_scheme: NAME.into(),
            chosen_network: Some(network),
            asset: mint(),
            pay_to: merchant(),
            amount: AMOUNT,
            fee_payer: Some(ours().pubkey().to_string()),
            memo: None,
        };
        Self {
            instructions,
            fee_payer: ours().pubkey(),
            blockhash: Hash::new_from_array([9; 32]),
            signers: vec![payer()],
            requirements,
            limits: Limits::default(),
            without_compute_budget: false,
        }
    }

    /// Both versions that a client can send.
    pub fn messages(&self) -> [VersionedMessage; 2] {
        let message = Message::new_with_blockhash(&self.instructions, Some(&self.fee_payer), &self.blockhash);
        let (header, account_keys, instructions) =
            (message.header, message.account_keys.clone(), message.instructions.clone());
        let recent_blockhash = self.blockhash;
        let v0 = v0::Message { header, account_keys, recent_blockhash, instructions, address_table_lookups: vec![] };
        [VersionedMessage::Legacy(message), VersionedMessage::V0(v0)]
    }

    /// The message with the signatures of `signers`; other places stay empty.
    pub fn sign(&self, message: VersionedMessage) -> VersionedTransaction {
        let bytes = message.serialize();
        let needed = usize::from(message.header().num_required_signatures);
        let sign = |account: &Pubkey| {
            let signer = self.signers.iter().find(|signer| signer.pubkey() == *account);
            signer.map_or_else(Signature::default, |signer| signer.sign_message(&bytes))
        };
        let signatures = message.static_account_keys().iter().take(needed).map(sign).collect();
        VersionedTransaction { signatures, message }
    }

    pub fn evaluate(&self, transaction: &Transaction) -> Result<Evaluated, Rejection> {
        let keys = [also_ours().pubkey(), ours().pubkey()];
        let network = self.requirements.chosen_network.clone().expect("a network");
        let fee_payer = self.requirements.check_names(&network, &keys)?;
        let policy = Policy {
            ours: &keys,
            limits: self.limits,
            without_compute_budget: self.without_compute_budget,
            associated: &AssociatedAccounts::default(),
        };
        rules::evaluate(transaction, &self.requirements, fee_payer, policy)
    }
}

pub(super) fn decode(transaction: &VersionedTransaction) -> Result<Transaction, DecodeError> {
    Transaction::from_wire(wincode::serialize(transaction).expect("a transaction has bytes"))
}
