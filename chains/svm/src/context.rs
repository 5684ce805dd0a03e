//! The state that the parts of one network's chain share.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use chains_core::{Fingerprint, Rejection, clock::Clock, scheme::VerifiedPayment};
use chains_rpc::TtlCache;
use solana_sdk::pubkey::Pubkey;
use tokio::sync::Semaphore;

use crate::{
    account_reader::AccountReader, blockhashes::Blockhashes, blocks::Blocks, config::Config, exact::plain::Sample,
    gas_wallet::GasWallets, logs::Logs, mints::Mints, prices::Prices, resends::Resends, rpc::Rpc,
    token::AssociatedAccounts,
};

/// Slots for which a transaction that was found bad is refused unseen.
const REFUSED_SLOTS: u32 = 2;

/// The time for which nothing is remembered of a payer whose transaction failed on chain.
const FAILED_FOR: Duration = Duration::from_hours(1);

/// Payments that wait at a time for a blockhash that no node knows.
const BLOCKHASH_WAITS_MAX: usize = 16;

/// Everything about one network. Holds nothing that must survive.
pub(crate) struct Context {
    pub config: Config,
    pub wallets: GasWallets,
    pub rpc: Rpc,
    pub blocks: Blocks,
    pub logs: Logs,
    pub clock: Arc<dyn Clock>,
    pub mints: Mints,
    /// Looks at the mints so far: each begins with another endpoint.
    pub looks: AtomicUsize,
    pub accounts: AccountReader,
    pub blockhashes: Blockhashes,
    /// Places for payments that wait for their blockhash to be known: a stranger can invent blockhashes.
    pub blockhash_waits: Semaphore,
    pub prices: Prices,
    pub associated: AssociatedAccounts,
    pub resends: Resends,
    /// The findings of verify, with the newest slot then.
    pub verified: TtlCache<Fingerprint, (u64, VerifiedPayment)>,
    /// By the hash of the transaction's message.
    pub refused: TtlCache<[u8; 32], Rejection>,
    /// The payers whose transactions failed on chain: what a verify has found
    /// of theirs counts for nothing when they settle.
    pub failed: TtlCache<Pubkey, ()>,
    pub sample: Sample,
}

impl Context {
    pub fn new(config: Config, wallets: GasWallets, rpc: Rpc, clock: Arc<dyn Clock>) -> Self {
        let blocks = Blocks::new(config.block_time);
        let logs = Logs::new(config.websocket.clone(), wallets.names().to_vec());
        let refused = TtlCache::new(config.block_time.saturating_mul(REFUSED_SLOTS));
        let verified = TtlCache::new(config.block_time.saturating_mul(REFUSED_SLOTS));
        Self {
            config,
            wallets,
            rpc,
            blocks,
            logs,
            clock,
            mints: Mints::default(),
            looks: AtomicUsize::new(0),
            accounts: AccountReader::default(),
            blockhashes: Blockhashes::default(),
            blockhash_waits: Semaphore::new(BLOCKHASH_WAITS_MAX),
            prices: Prices::default(),
            associated: AssociatedAccounts::default(),
            resends: Resends::default(),
            verified,
            refused,
            failed: TtlCache::new(FAILED_FOR),
            sample: Sample::default(),
        }
    }
}
