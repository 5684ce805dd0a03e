//! What the parts of one network's chain share.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chains_core::{Fingerprint, Memory, Rejection, clock::Clock, scheme::VerifiedPayment};
use parking_lot::RwLock;
use solana_sdk::pubkey::Pubkey;

use crate::{config::Config, gas_wallet::GasWallets, heads::Heads, logs::Logs, rpc::Rpc};

/// How long a payment that was found good need not be looked at again.
const VERIFIED_AGE_MAX: Duration = Duration::from_secs(2);

/// How long a transaction that was found bad is refused unseen.
const REFUSED_AGE_MAX: Duration = Duration::from_mins(1);

/// Everything about one network. Holds nothing that must survive.
pub(crate) struct Context {
    pub config: Config,
    pub wallets: GasWallets,
    pub rpc: Rpc,
    pub heads: Heads,
    pub logs: Logs,
    pub clock: Arc<dyn Clock>,
    /// Mints that were found to be what the configuration says, with their
    /// token programs. What was looked at cannot change any more.
    pub mints: RwLock<HashMap<Pubkey, Pubkey>>,
    pub verified: Memory<Fingerprint, VerifiedPayment>,
    /// By the hash of the transaction's message.
    pub refused: Memory<[u8; 32], Rejection>,
}

impl Context {
    pub fn new(config: Config, wallets: GasWallets, rpc: Rpc, clock: Arc<dyn Clock>) -> Self {
        let heads = Heads::new(config.block_time);
        let logs = Logs::new(config.websocket.clone(), wallets.names().to_vec());
        let mints = RwLock::default();
        let (verified, refused) = (Memory::new(VERIFIED_AGE_MAX), Memory::new(REFUSED_AGE_MAX));
        Self { config, wallets, rpc, heads, logs, clock, mints, verified, refused }
    }
}
