//! The token programs' transfer, and where a token account lives.

use std::collections::HashMap;

use parking_lot::Mutex;
use solana_sdk::pubkey::Pubkey;

use crate::{exact::transaction::Instruction, programs};

/// An instruction `TransferChecked` of one of the two token programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferChecked {
    /// The token program that is called.
    pub program: Pubkey,
    /// The token account that pays.
    pub source: Pubkey,
    /// The token.
    pub mint: Pubkey,
    /// The token account that is paid.
    pub destination: Pubkey,
    /// The payer, who moves the tokens: the source's owner or its delegate.
    pub authority: Pubkey,
    /// Atomic units of the token.
    pub amount: u64,
    /// The token's decimals as the payer wrote them; the program checks them.
    pub decimals: u8,
}

impl TransferChecked {
    /// Reads an instruction of exactly this shape: 12, u64, u8 and four
    /// accounts. More accounts would be the co-signers of a multisig or those
    /// of a transfer hook, and neither pays here.
    pub fn parse(instruction: &Instruction<'_>) -> Option<Self> {
        if instruction.account_count() != 4 {
            return None;
        }
        let account = |position| instruction.account(position).copied();
        let accounts = [account(0)?, account(1)?, account(2)?, account(3)?];
        Self::of(*instruction.program, accounts, instruction.data)
    }

    /// The same of parts: the program, its first four accounts, its data.
    pub fn of(program: Pubkey, accounts: [Pubkey; 4], data: &[u8]) -> Option<Self> {
        let (12, rest) = data.split_first().filter(|_| programs::is_token(&program))? else { return None };
        let (amount, &[decimals]) = rest.split_first_chunk::<8>()? else { return None };
        let [source, mint, destination, authority] = accounts;
        let amount = u64::from_le_bytes(*amount);
        Some(Self { program, source, mint, destination, authority, amount, decimals })
    }
}

/// The associated token account of an owner.
pub fn associated_account(owner: &Pubkey, mint: &Pubkey, token_program: &Pubkey) -> Pubkey {
    let seeds = [owner.as_array().as_slice(), token_program.as_array().as_slice(), mint.as_array().as_slice()];
    Pubkey::find_program_address(&seeds, &programs::ASSOCIATED_TOKEN).0
}

/// Addresses that are remembered, at most: then all are forgotten.
const ASSOCIATED_MAX: usize = 16_384;

/// The associated token accounts of owners, each derived once: that takes
/// longer than everything else that is done with a payment.
#[derive(Debug, Default)]
pub struct AssociatedAccounts(Mutex<HashMap<[Pubkey; 3], Pubkey>>);

impl AssociatedAccounts {
    /// The associated token account of an owner.
    pub fn of(&self, owner: &Pubkey, mint: &Pubkey, token_program: &Pubkey) -> Pubkey {
        let key = [*owner, *mint, *token_program];
        if let Some(known) = self.0.lock().get(&key) {
            return *known;
        }
        let derived = associated_account(owner, mint, token_program);
        let mut known = self.0.lock();
        if known.len() >= ASSOCIATED_MAX {
            known.clear();
        }
        known.insert(key, derived);
        derived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: [u8; 10] = [12, 0x10, 0x27, 0, 0, 0, 0, 0, 0, 6];

    fn accounts() -> [Pubkey; 4] {
        [1, 2, 3, 4].map(|byte| Pubkey::new_from_array([byte; 32]))
    }

    #[test]
    fn only_transfer_checked_of_the_token_programs_is_a_transfer() {
        let parse = |program, data: &[u8]| TransferChecked::of(program, accounts(), data);
        let [source, mint, destination, authority] = accounts();
        for program in [programs::TOKEN, programs::TOKEN_2022] {
            let read = TransferChecked { program, source, mint, destination, authority, amount: 10_000, decimals: 6 };
            assert_eq!(parse(program, &DATA), Some(read));
        }
        assert_eq!(parse(programs::MEMO, &DATA), None);
        assert_eq!(parse(programs::TOKEN, &DATA[..9]), None);
        assert_eq!(parse(programs::TOKEN, &[DATA.as_slice(), &[0]].concat()), None);
        assert_eq!(parse(programs::TOKEN, &[]), None);
        for tag in (0..=u8::MAX).filter(|tag| *tag != 12) {
            let mut data = DATA;
            data[0] = tag;
            assert_eq!(parse(programs::TOKEN, &data), None, "instruction {tag}");
        }
    }

    /// As `@solana/kit` derives them of the clock's address and mainnet's USDC.
    #[test]
    fn the_associated_account_depends_on_owner_mint_and_program() {
        let owner = Pubkey::from_str_const("SysvarC1ock11111111111111111111111111111111");
        let mint = Pubkey::from_str_const("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v");
        let account = |program| associated_account(&owner, &mint, program).to_string();
        assert_eq!(account(&programs::TOKEN), "GdNkbX8yeLqhDQZnF9KszuMNyiKoU68SMUB3rncKZqmA");
        assert_eq!(account(&programs::TOKEN_2022), "EnCM9U3QSYqSWK5L1EYGH2PcPBQEEmMPNvMdNen86vZV");
        assert_ne!(associated_account(&mint, &owner, &programs::TOKEN).to_string(), account(&programs::TOKEN));
    }

    #[test]
    fn a_derived_address_is_remembered_and_memory_is_bounded() {
        let accounts = AssociatedAccounts::default();
        let [owner, mint] = [Pubkey::new_from_array([1; 32]), Pubkey::new_from_array([2; 32])];
        let derived = associated_account(&owner, &mint, &programs::TOKEN);
        for _ in 0..2 {
            assert_eq!(accounts.of(&owner, &mint, &programs::TOKEN), derived);
        }
        accounts.0.lock().extend((0..ASSOCIATED_MAX).map(|_| ([Pubkey::new_unique(); 3], mint)));
        assert_ne!(accounts.of(&mint, &owner, &programs::TOKEN), derived);
        assert_eq!(accounts.0.lock().len(), 1);
    }
}
