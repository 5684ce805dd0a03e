//! What the parts of one network's chain share.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy::primitives::{Address, B256, U256};

use chains_core::{
    Fingerprint,
    clock::Clock,
    scheme::{Funds, VerifiedPayment},
};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};

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

/// Verified payments that are remembered, at most.
const REMEMBERED_MAX: usize = 16_384;

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
    pub verified: Verified,
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
        let verified = Verified::new(config.block_time);
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

/// Payments found good a moment ago, so that a settle that follows its
/// verify need not ask the chain again before it sends.
pub(crate) struct Verified {
    kept: Mutex<Kept>,
    age_max: Duration,
}

#[derive(Default)]
struct Kept {
    by_fingerprint: HashMap<Fingerprint, Seen>,
    in_order: VecDeque<(Instant, Fingerprint)>,
}

struct Seen {
    at: Instant,
    head: u64,
    payment: VerifiedPayment,
}

impl Verified {
    /// Remembers for less than one block.
    pub fn new(block_time: Duration) -> Self {
        Self { kept: Mutex::default(), age_max: block_time }
    }

    /// Remembers a payment that was read good at `now`, while `head` was the newest block.
    pub fn keep(&self, fingerprint: Fingerprint, head: u64, payment: VerifiedPayment, now: Instant) {
        let mut kept = self.kept.lock();
        while let Some((at, old)) = kept.in_order.front().copied() {
            let full = kept.in_order.len() >= REMEMBERED_MAX;
            if !full && now.duration_since(at) < self.age_max {
                break;
            }
            kept.in_order.pop_front();
            // Kept anew since: then the newer entry stays.
            if kept.by_fingerprint.get(&old).is_some_and(|seen| seen.at == at) {
                kept.by_fingerprint.remove(&old);
            }
        }
        kept.in_order.push_back((now, fingerprint));
        kept.by_fingerprint.insert(fingerprint, Seen { at: now, head, payment });
    }

    /// The payment, when it was read good less than a block ago.
    pub fn take(&self, fingerprint: &Fingerprint, head: u64, now: Instant) -> Option<VerifiedPayment> {
        let seen = self.kept.lock().by_fingerprint.remove(fingerprint)?;
        (seen.head == head && now.duration_since(seen.at) < self.age_max).then_some(seen.payment)
    }
}

#[cfg(test)]
mod tests {
    use chains_core::{Amount, chain::PlannedTransaction};

    use super::*;

    fn payment() -> VerifiedPayment {
        let plan = PlannedTransaction { gas_wallet: None, body: String::new(), valid_before: None };
        VerifiedPayment { amount: Amount::ZERO, plan, nothing_to_send: false, funds: None }
    }

    #[test]
    fn a_good_payment_is_remembered_for_one_block_and_one_use() {
        let verified = Verified::new(Duration::from_secs(2));
        let print = |n: u8| Fingerprint::from_bytes([n; 32]);
        let now = Instant::now();
        verified.keep(print(1), 7, payment(), now);
        assert!(verified.take(&print(2), 7, now).is_none(), "another payment");
        assert!(verified.take(&print(1), 7, now + Duration::from_millis(1999)).is_some());
        assert!(verified.take(&print(1), 7, now).is_none(), "used");
        verified.keep(print(1), 7, payment(), now);
        assert!(verified.take(&print(1), 8, now).is_none(), "another block came");
        verified.keep(print(1), 7, payment(), now);
        assert!(verified.take(&print(1), 7, now + Duration::from_secs(2)).is_none(), "too old");
    }

    #[test]
    fn memory_is_bounded() {
        let verified = Verified::new(Duration::from_secs(2));
        let now = Instant::now();
        for n in 0..40_000_u32 {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            verified.keep(Fingerprint::from_bytes(bytes), 7, payment(), now);
        }
        assert_eq!(verified.kept.lock().by_fingerprint.len(), REMEMBERED_MAX);
        verified.keep(Fingerprint::from_bytes([9; 32]), 7, payment(), now + Duration::from_secs(3));
        assert_eq!(verified.kept.lock().by_fingerprint.len(), 1);
    }
}
