//! What the parts of one network's chain share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use alloy::primitives::{Address, B256, U256};
use chains_core::{
    Fingerprint, Memory,
    clock::Clock,
    scheme::{Funds, VerifiedPayment},
};
use tokio::sync::Semaphore;

use crate::{
    config::Config,
    gas_wallet::GasWallets,
    heads::Heads,
    lens::{self, Lens},
    permit2,
    plan::Method,
    rpc::Rpc,
    simulation::{Price, Simulator},
    sponsoring::ledger::Ledger,
    upgrades::Upgrades,
};

/// Approvals that are simulated at a time.
const SPONSORSHIPS_MAX: usize = 4;

/// Everything about one network. Holds nothing that must survive.
pub(crate) struct Context {
    pub config: Config,
    pub wallets: GasWallets,
    pub rpc: Rpc,
    pub heads: Heads,
    pub lens: Lens<lens::eip3009::Body>,
    /// One for each gas wallet, in their order; never empty.
    permit2_lenses: Vec<Lens<lens::permit2::Body>>,
    /// Permit2's EIP-712 domain separator.
    pub permit2_domain: B256,
    pub capabilities: Capabilities,
    pub clock: Arc<dyn Clock>,
    /// Payments found good a moment ago, with the height of the newest block
    /// then, so that a settle that follows its verify need not ask again.
    pub verified: Memory<Fingerprint, (u64, VerifiedPayment)>,
    /// What the tokens run.
    pub upgrades: Upgrades,
    /// What payers of this network are given for their approvals.
    pub ledger: Ledger,
    /// Places for simulations of approvals.
    pub sponsorships: Semaphore,
    /// How often the network was looked at, each time through another endpoint first.
    pub looks: AtomicUsize,
}

impl Context {
    pub fn new(config: Config, wallets: GasWallets, rpc: Rpc, clock: Arc<dyn Clock>) -> Self {
        let heads = Heads::new(config.block_time);
        let lens = Lens::new(wallets.first());
        let permit2_lenses = wallets.addresses().map(Lens::new).collect();
        let permit2_domain = permit2::abi::domain_separator(config.chain_id);
        let capabilities = Capabilities::default();
        let verified = Memory::new(config.block_time);
        let upgrades = Upgrades::new(config.network.clone(), config.token_upgrades);
        // A sponsored payment holds its share of a lane for three blocks and more.
        let under_way_max = (config.in_flight_max * wallets.names().len() / 2).max(1);
        let ledger = Ledger::new(config.sponsor_funding_per_hour_max, under_way_max);
        let sponsorships = Semaphore::new(SPONSORSHIPS_MAX);
        Self {
            config,
            wallets,
            rpc,
            heads,
            lens,
            permit2_lenses,
            permit2_domain,
            capabilities,
            clock,
            verified,
            upgrades,
            ledger,
            sponsorships,
            looks: AtomicUsize::new(0),
        }
    }

    /// The lens that asks about payments by Permit2 in the name of this gas
    /// wallet, or of any.
    pub fn permit2_lens(&self, sender: Option<Address>) -> &Lens<lens::permit2::Body> {
        let of_sender = self.permit2_lenses.iter().find(|lens| Some(lens.sender()) == sender);
        of_sender.unwrap_or(&self.permit2_lenses[0])
    }

    /// The payment, when it was found good less than a block ago; once.
    pub fn recall(&self, fingerprint: &Fingerprint, head: u64) -> Option<VerifiedPayment> {
        let (found_at, payment) = self.verified.take(fingerprint, Instant::now())?;
        (found_at == head).then_some(payment)
    }

    /// What a payer has of a token, of which so much can be taken.
    pub fn funds(&self, token: Address, payer: Address, available: U256) -> Funds {
        Funds { account: format!("{}/{token}/{payer}", self.config.network), available: available.into() }
    }

    /// What a transaction pays for gas now; `None` before the first block.
    pub fn price(&self) -> Option<Price> {
        self.heads.newest().map(|newest| Price::after(newest.base_fee, self.config.tip_per_gas))
    }

    /// Tries transactions out, at the price of the moment where nodes heed it.
    pub fn simulator(&self) -> Simulator<'_> {
        let price = self.capabilities.has_prices().then(|| self.price()).flatten();
        Simulator { rpc: &self.rpc, price }
    }

    /// The time that validity windows are judged by: the later one of the
    /// machine's clock and the chain's. A chain whose blocks are late will
    /// execute us at about the machine's time, one that runs ahead at its own.
    pub fn now_seconds(&self) -> u64 {
        self.clock.now().seconds().max(self.heads.timestamp())
    }
}

/// What the network was found to be able to when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Capabilities {
    permit2: AtomicBool,
    upto: AtomicBool,
    prices: AtomicBool,
}

impl Capabilities {
    /// Whether payments of this sort can be verified and settled.
    pub fn has(&self, method: Method) -> bool {
        match method {
            Method::Eip3009 => true,
            Method::Permit2 => self.permit2.load(Ordering::Relaxed),
            Method::Upto => self.upto.load(Ordering::Relaxed),
        }
    }

    /// Remembers what was found: whether the proxy of scheme `exact` works,
    /// and that of `upto`. Once found they stay: contracts do not go away, and
    /// a node that refuses a call may be busy.
    pub fn found(&self, permit2: bool, upto: bool) {
        self.permit2.fetch_or(permit2, Ordering::Relaxed);
        self.upto.fetch_or(upto, Ordering::Relaxed);
    }

    /// Whether simulations can be made at a transaction's price.
    pub fn has_prices(&self) -> bool {
        self.prices.load(Ordering::Relaxed)
    }

    /// Remembers whether the nodes heed the price of a simulation; what was
    /// known before.
    pub fn found_prices(&self, heeded: bool) -> bool {
        self.prices.swap(heeded, Ordering::Relaxed)
    }
}
