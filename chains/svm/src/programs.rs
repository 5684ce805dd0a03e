//! The programs that a payment may call.

use solana_sdk::pubkey::Pubkey;

/// SPL Token.
pub const TOKEN: Pubkey = Pubkey::from_str_const("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
/// SPL Token-2022, whose mints may have extensions.
pub const TOKEN_2022: Pubkey = Pubkey::from_str_const("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");
/// Derives the one token account of an owner that everybody can find.
pub const ASSOCIATED_TOKEN: Pubkey = Pubkey::from_str_const("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");
/// Sets what a transaction may use and offers for its place in a block.
pub const COMPUTE_BUDGET: Pubkey = Pubkey::from_str_const("ComputeBudget111111111111111111111111111111");
/// Keeps lookup tables, from which transactions take accounts.
pub const ADDRESS_LOOKUP_TABLE: Pubkey = Pubkey::from_str_const("AddressLookupTab1e1111111111111111111111111");
/// Writes a text into the log.
pub const MEMO: Pubkey = Pubkey::from_str_const("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");
/// Assertions that wallets add; see [`guards`](crate::exact::guards).
pub const LIGHTHOUSE: Pubkey = Pubkey::from_str_const("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95");

/// Smart wallets that the official SDKs allow by default: Squads v4, Squads
/// Smart Account, Swig (two programs), SPL Governance, Metaplex Core.
pub const SMART_WALLETS: [Pubkey; 6] = [
    Pubkey::from_str_const("SQDS4ep65T869zMMBKyuUq6aD6EgTu8psMjkvj52pCf"),
    Pubkey::from_str_const("SMRTzfY6DfH5ik3TKiyLFfXexV8uSG3d2UksSCYdunG"),
    Pubkey::from_str_const("SWiGmQedKzMz1tiTqoJCWeGDnGXfNBp2PkXLkpCAtQo"),
    Pubkey::from_str_const("swigypWHEksbC64pWKwah1WTeh9JXwx8H1rJHLdbQMB"),
    Pubkey::from_str_const("GovER5Lthms3bLBqWub97yVrMmEogzX7xNjdXpPPCVZw"),
    Pubkey::from_str_const("CoREENxT6tW1HoK8ypY1SxRMZTcVPm7R94rH4PZNhX7d"),
];

/// Returns whether this is one of the two token programs.
pub fn is_token(program: &Pubkey) -> bool {
    *program == TOKEN || *program == TOKEN_2022
}
