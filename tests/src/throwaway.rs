//! Keys on Solana that are used for a few payments and thrown away.

use chains_svm::local::{Genesis, Payer, USDC};

use crate::wallet;

/// The number of the first of them.
const FIRST: u64 = 10_000;

/// The first balance of each, in lamports: a few fees.
const COINS: u64 = 2_000_000;

/// The first tokens of each, and of its wallet: a few payments.
pub const TOKENS: u64 = 1_000_000;

/// The key of a number.
pub fn key(number: u64) -> Payer {
    Payer::numbered(FIRST + number)
}

/// Gives so many of them a little money.
pub fn fund(genesis: &mut Genesis, count: u64) {
    for key in (0..count).map(|number| key(number).address()) {
        genesis.coins(&key, COINS);
        genesis.tokens(&key, &USDC, TOKENS);
        genesis.tokens(&wallet::vault(&key).0, &USDC, TOKENS);
    }
}
