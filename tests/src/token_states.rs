//! Token accounts on Solana in states of all kinds, byte by byte: those that programs leave behind, and those that
//! none ever would.

use chains_svm::{
    local::{Genesis, Pubkey},
    programs,
};
use rand::{Rng, rngs::StdRng};

/// Bytes of a token account of SPL Token.
const ACCOUNT_LEN: usize = 165;
/// Bytes of a multisig.
const MULTISIG_LEN: usize = 355;
/// Bytes of a mint.
const MINT_LEN: usize = 82;
/// The lamports that a token account must hold to exist.
const RENT: u64 = 2_039_280;
/// The most that a native account holds here: its lamports have to be there.
const NATIVE_MAX: u64 = 1_000_000_000;

/// The token whose accounts hold lamports.
pub const NATIVE_MINT: Pubkey = Pubkey::from_str_const("So11111111111111111111111111111111111111112");
/// Its decimals.
pub const NATIVE_DECIMALS: u8 = 9;

/// The side of a payment that a token account is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It pays.
    Source,
    /// It is paid.
    Destination,
}

/// A token account, or something in its place.
#[derive(Clone, Debug)]
pub struct TokenState {
    /// False when there is no account.
    exists: bool,
    program: Pubkey,
    length: usize,
    lamports: u64,
    mint: Pubkey,
    owner: Pubkey,
    amount: u64,
    delegate: Option<(Pubkey, u64)>,
    /// 0: not initialised, 1: initialised, 2: frozen; more: nothing.
    state: u8,
    is_native: bool,
    /// The tag of the close authority: 0: none, 1: there is one; more: nothing.
    close_tag: u32,
}

impl TokenState {
    /// An account that can pay, or be paid.
    pub fn good(mint: Pubkey, owner: Pubkey, amount: u64) -> Self {
        let (program, length, lamports) = (programs::TOKEN, ACCOUNT_LEN, RENT);
        let (delegate, is_native, close_tag) = (None, mint == NATIVE_MINT, 0);
        Self { exists: true, program, length, lamports, mint, owner, amount, delegate, state: 1, is_native, close_tag }
    }

    /// Changes one thing about it. `amount` is about that of the payments.
    pub fn twist(&mut self, side: Side, amount: u64, others: &[Pubkey], rng: &mut StdRng) {
        let other = others[rng.random_range(0..others.len())];
        let around = [0, amount - 1, amount, amount + 1, u64::MAX];
        let about = around[rng.random_range(0..around.len())];
        match rng.random_range(0..13) {
            0 if side == Side::Destination => {
                self.amount = [u64::MAX, u64::MAX - amount, u64::MAX - amount + 1][rng.random_range(0..3)];
            }
            0 | 1 => self.amount = about,
            2 => self.state = 2,
            3 => self.state = [0, 3, 255][rng.random_range(0..3)],
            4 => self.owner = other,
            5 => self.delegate = Some((self.owner, about)),
            6 => self.delegate = Some((other, about)),
            7 => (self.delegate, self.owner) = (Some((self.owner, about)), other),
            8 => self.mint = other,
            9 => self.program = [programs::TOKEN_2022, Pubkey::default(), programs::MEMO][rng.random_range(0..3)],
            10 => self.length = [0, MINT_LEN, 164, 166, 170, MULTISIG_LEN][rng.random_range(0..6)],
            11 => self.exists = rng.random(),
            _ => (self.close_tag, self.lamports) = ([0, 1, 2][rng.random_range(0..3)], RENT / 2),
        }
    }

    fn data(&self) -> Vec<u8> {
        let tag = |is_there: bool| u32::from(is_there).to_le_bytes();
        let (delegate, allowance) = self.delegate.unwrap_or_default();
        let native = if self.is_native { RENT } else { 0 };
        let parts: [&[u8]; 11] = [
            self.mint.as_ref(),
            self.owner.as_ref(),
            &self.holds().to_le_bytes(),
            &tag(self.delegate.is_some()),
            delegate.as_ref(),
            &[self.state],
            &tag(self.is_native),
            &native.to_le_bytes(),
            &allowance.to_le_bytes(),
            &self.close_tag.to_le_bytes(),
            self.owner.as_ref(),
        ];
        let mut data = parts.concat();
        // Of an account of Token-2022 with extensions this would be its kind.
        data.resize(self.length.max(ACCOUNT_LEN), 2);
        data.truncate(self.length);
        data
    }

    fn holds(&self) -> u64 {
        if self.is_native { self.amount.min(NATIVE_MAX) } else { self.amount }
    }

    /// Puts it into a ledger.
    pub fn put(&self, genesis: &mut Genesis, address: &Pubkey) {
        let lamports = if self.is_native { RENT + self.holds() } else { self.lamports };
        if self.exists {
            genesis.account(address, lamports, &self.program, &self.data());
        }
    }
}

/// The mint of lamports, which a local ledger lacks.
pub fn put_native_mint(genesis: &mut Genesis) {
    let (no_authority, initialized) = ([0; 36], 1);
    let data = [&no_authority[..], &[0; 8], &[NATIVE_DECIMALS, initialized], &no_authority[..]].concat();
    genesis.account(&NATIVE_MINT, RENT, &programs::TOKEN, &data);
}

/// The things that can stand at the address of somebody who signs, by turns: nothing, coins, multisigs that are good
/// or not, token accounts, mints, data of other programs.
pub fn put_signer(genesis: &mut Genesis, address: &Pubkey, turn: usize) {
    let member = [7_u8; 32];
    let mut multisig = [&[1, 1, 1][..], &member].concat();
    multisig.resize(MULTISIG_LEN, 0);
    let token = TokenState::good(NATIVE_MINT, *address, 0).data();
    match turn % 9 {
        0 => {}
        1 => genesis.coins(address, RENT),
        2 => genesis.account(address, RENT * 2, &programs::TOKEN, &multisig),
        3 => genesis.account(address, RENT * 2, &programs::TOKEN, &[0; MULTISIG_LEN]),
        4 => genesis.account(address, RENT * 2, &programs::TOKEN_2022, &multisig),
        5 => genesis.account(address, RENT * 2, &programs::TOKEN, &token),
        6 => genesis.account(address, RENT * 2, &programs::TOKEN, &[0; MINT_LEN]),
        7 => genesis.account(address, RENT * 2, &Pubkey::default(), &multisig),
        _ => genesis.account(address, RENT * 2, &programs::TOKEN, &multisig[..MULTISIG_LEN - 1]),
    }
}
