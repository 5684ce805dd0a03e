//! State that the parts of one network's chain share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256, U256};
use chains_core::{
    Code, Fingerprint, Rejection,
    chain::ChainUnavailable,
    clock::Clock,
    scheme::{Funds, Occasion, VerifiedPayment},
};
use chains_rpc::TtlCache;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{
    blocks::BlockTracker,
    call_batcher::{self, CallBatcher},
    config::{Config, ContractWallets},
    extension::sponsoring::ledger::Ledger,
    health::token_code::TokenCodeMonitor,
    method::permit2,
    observe::{BlockReceipts, Witnessed},
    rpc::Rpc,
    scheme::requirements::Timing,
    simulation::{BlockPlace, Price, Simulator},
    tx::{batch::Contract, plan::Method, price_floor::Floors},
    wallet::GasWallets,
};

/// Seconds for which a settlement waits to become valid, at most.
const WAIT_SECONDS_MAX: u64 = 5;

/// The pause between two looks at the time.
const WAIT_STEP: Duration = Duration::from_millis(50);

/// Approvals that are simulated at a time.
const SPONSORSHIPS_MAX: usize = 4;

/// The distance from the newest block at which something is tried out.
#[derive(Clone, Copy, Debug)]
enum BlocksAhead {
    One,
    Later,
}

/// Everything about one network. Holds nothing that must survive.
pub(crate) struct Context {
    pub config: Config,
    pub wallets: GasWallets,
    pub rpc: Rpc,
    pub blocks: BlockTracker,
    pub eip3009_batcher: CallBatcher<call_batcher::eip3009::Body>,
    /// The same, for calls in a later block.
    pub later_eip3009_batcher: CallBatcher<call_batcher::eip3009::Body>,
    /// One for each gas wallet, in their order; never empty.
    permit2_batchers: Vec<CallBatcher<call_batcher::permit2::Body>>,
    /// The same, for calls in a later block.
    later_permit2_batchers: Vec<CallBatcher<call_batcher::permit2::Body>>,
    /// Permit2's EIP-712 domain separator.
    pub permit2_domain: B256,
    pub capabilities: Capabilities,
    /// The contract by which a transaction carries many settlements, if it is there.
    pub batch_contract: Contract,
    pub clock: Arc<dyn Clock>,
    /// Payments found good a moment ago, with the name of the newest block
    /// then, so that a settle that follows its verify need not ask again.
    pub verified: TtlCache<Fingerprint, (Arc<str>, VerifiedPayment)>,
    /// The monitor of the code that the tokens run.
    pub token_code: TokenCodeMonitor,
    /// The ledger of gas money given to payers for their approvals.
    pub ledger: Ledger,
    /// Places for simulations of approvals.
    pub sponsorships: Semaphore,
    /// The least prices that nodes take.
    pub price_floors: Mutex<Floors>,
    /// The blocks whose inclusions need no second look as long as the chain has them.
    pub witnessed: Witnessed,
    /// The receipts of the newest block, as far as they were asked for together.
    pub block_receipts: BlockReceipts,
    /// The number of proofs so far; each goes through another endpoint first.
    pub looks: AtomicUsize,
}

impl Context {
    pub fn new(config: Config, wallets: GasWallets, rpc: Rpc, clock: Arc<dyn Clock>) -> Self {
        let (network, websocket) = (config.network.clone(), config.websocket.clone());
        let blocks =
            BlockTracker::new(network, config.block_time, config.clock_skew_max, websocket, Arc::clone(&clock));
        let (eip3009_batcher, later_eip3009_batcher) =
            (CallBatcher::new(wallets.first()), CallBatcher::new(wallets.first()));
        let permit2_batchers = wallets.addresses().map(CallBatcher::new).collect();
        let later_permit2_batchers = wallets.addresses().map(CallBatcher::new).collect();
        let permit2_domain = permit2::abi::domain_separator(config.chain_id);
        let capabilities = Capabilities::default();
        let batch_contract = Contract::of(wallets.addresses());
        let verified = TtlCache::new(config.block_time);
        let token_code = TokenCodeMonitor::new(config.network.clone(), config.token_upgrades);
        // A sponsored payment takes several transactions of a gas wallet, over three blocks and more.
        let under_way_max = (config.in_flight_max * wallets.names().len() / 2).max(1);
        let ledger = Ledger::new(config.sponsor_funding_per_hour_max, under_way_max);
        let sponsorships = Semaphore::new(SPONSORSHIPS_MAX);
        Self {
            config,
            wallets,
            rpc,
            blocks,
            eip3009_batcher,
            later_eip3009_batcher,
            permit2_batchers,
            later_permit2_batchers,
            permit2_domain,
            capabilities,
            batch_contract,
            clock,
            verified,
            token_code,
            ledger,
            sponsorships,
            price_floors: Mutex::default(),
            witnessed: Witnessed::default(),
            block_receipts: BlockReceipts::default(),
            looks: AtomicUsize::new(0),
        }
    }

    /// The batcher that asks about payments by Permit2 in the name of this gas
    /// wallet, or of any.
    pub fn permit2_batcher(&self, sender: Option<Address>) -> &CallBatcher<call_batcher::permit2::Body> {
        named(&self.permit2_batchers, sender)
    }

    /// The same, for calls in a later block.
    pub fn later_permit2_batcher(&self, sender: Option<Address>) -> &CallBatcher<call_batcher::permit2::Body> {
        named(&self.later_permit2_batchers, sender)
    }

    /// The payment, when it was found good less than a block ago; once.
    pub fn recall(&self, fingerprint: &Fingerprint, block: &str) -> Option<VerifiedPayment> {
        let (found_at, payment) = self.verified.take(fingerprint, Instant::now())?;
        (*found_at == *block).then_some(payment)
    }

    /// The name of the newest block; empty before the first.
    pub fn newest_block(&self) -> Arc<str> {
        self.blocks.newest().map_or_else(|| Arc::from(""), |newest| newest.header.hash.as_str().into())
    }

    /// The funds of a payer in a token, of which so much can be taken.
    pub fn funds(&self, token: Address, payer: Address, available: U256) -> Funds {
        Funds { account: format!("{}/{token}/{payer}", self.config.network), available: available.into() }
    }

    /// The price of gas that a transaction pays now; `None` before the first block.
    pub fn price(&self) -> Option<Price> {
        self.blocks.newest().map(|newest| Price::after(newest.header.base_fee, self.config.tip_per_gas))
    }

    /// Tries transactions out in the block to come, at the price of the
    /// moment, as far as nodes heed either.
    pub fn simulator(&self) -> Simulator<'_> {
        self.simulator_in(BlocksAhead::One)
    }

    /// Tries transactions out in a block that comes later than expected: what
    /// code answers there must not differ.
    pub fn later_simulator(&self) -> Simulator<'_> {
        self.simulator_in(BlocksAhead::Later)
    }

    fn simulator_in(&self, ahead: BlocksAhead) -> Simulator<'_> {
        let price = self.capabilities.has_prices().then(|| self.price()).flatten();
        let place = self.capabilities.has_block_overrides().then(|| self.place(ahead)).flatten();
        Simulator { rpc: &self.rpc, price, place }
    }

    fn place(&self, ahead: BlocksAhead) -> Option<BlockPlace> {
        let number = self.blocks.newest()?.header.number;
        let next = self.blocks.next_timestamp();
        Some(match ahead {
            BlocksAhead::One => BlockPlace { number: number.saturating_add(1), timestamp: next },
            BlocksAhead::Later => BlockPlace {
                number: number.saturating_add(2),
                timestamp: next.saturating_add(self.config.block_seconds()),
            },
        })
    }

    /// The time that validity windows are evaluated at: that of the block to come.
    pub fn now_seconds(&self) -> u64 {
        self.blocks.next_timestamp()
    }

    /// Refuses payers with code where they may not pay, or could fool a simulation.
    ///
    /// # Errors
    /// In the words and with the code of the payment's method.
    pub fn check_contract_wallets(&self, code: Code) -> Result<(), Rejection> {
        match self.config.contract_wallets {
            ContractWallets::Unsimulated => Ok(()),
            ContractWallets::Simulated if self.capabilities.has_block_overrides() => Ok(()),
            ContractWallets::Simulated => {
                let message = "payers with code are not accepted on this network now: its nodes cannot simulate in \
                               the block to come";
                Err(Rejection::new(code, message))
            }
            ContractWallets::Refused => Err(Rejection::new(code, "payers with code are not accepted here")),
        }
    }

    /// That nobody can say which payments are valid now, where that is so.
    ///
    /// # Errors
    /// This machine's clock and the chain's cannot both be right.
    pub fn check_clocks(&self) -> Result<(), ChainUnavailable> {
        self.blocks.trouble().map_or(Ok(()), |trouble| Err(self.rpc.unavailable(trouble)))
    }

    /// That time, with what is asked of it.
    pub fn timing(&self) -> Timing {
        let config = &self.config;
        Timing { now: self.now_seconds(), slack: config.expiry_slack(), valid_for_max: config.valid_for_max }
    }

    /// Waits for what becomes valid in a moment, until a simulation can show
    /// it: at this chain time. Nothing is waited for that is further away.
    pub async fn wait_until_valid(&self, valid_after: U256, occasion: Occasion) {
        let Ok(valid_after) = u64::try_from(valid_after) else { return };
        let ahead = match occasion {
            Occasion::Verify => 0,
            Occasion::Settle => WAIT_SECONDS_MAX,
        };
        if valid_after > self.now_seconds().saturating_add(ahead) {
            return;
        }
        let shown =
            || if self.capabilities.has_block_overrides() { self.now_seconds() } else { self.blocks.timestamp() };
        let deadline = Instant::now() + Duration::from_secs(WAIT_SECONDS_MAX + 2 * self.config.block_seconds());
        // Before the first block nothing tells the chain's time.
        while self.blocks.newest().is_some() && shown() <= valid_after && Instant::now() < deadline {
            tokio::time::sleep(WAIT_STEP).await;
        }
    }
}

fn named(
    batchers: &[CallBatcher<call_batcher::permit2::Body>],
    sender: Option<Address>,
) -> &CallBatcher<call_batcher::permit2::Body> {
    batchers.iter().find(|batcher| Some(batcher.sender()) == sender).unwrap_or(&batchers[0])
}

/// The abilities that the network was found to have.
#[derive(Debug, Default)]
pub(crate) struct Capabilities {
    permit2: AtomicBool,
    upto: AtomicBool,
    prices: AtomicBool,
    block_overrides: AtomicBool,
    batch: AtomicBool,
}

impl Capabilities {
    /// Returns whether payments of this sort can be verified and settled.
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

    /// Returns whether simulations can be made at a transaction's price.
    pub fn has_prices(&self) -> bool {
        self.prices.load(Ordering::Relaxed)
    }

    /// Remembers whether the nodes heed the price of a simulation; what was
    /// known before.
    pub fn found_prices(&self, heeded: bool) -> bool {
        self.prices.swap(heeded, Ordering::Relaxed)
    }

    /// Returns whether transactions may carry several settlements.
    pub fn has_batch(&self) -> bool {
        self.batch.load(Ordering::Relaxed)
    }

    /// Remembers whether they may; what was known before.
    pub fn found_batch(&self, there: bool) -> bool {
        self.batch.swap(there, Ordering::Relaxed)
    }

    /// Returns whether simulations can be made in the block to come.
    pub fn has_block_overrides(&self) -> bool {
        self.block_overrides.load(Ordering::Relaxed)
    }

    /// Remembers whether the nodes heed the block that a simulation names;
    /// what was known before.
    pub fn found_block_overrides(&self, heeded: bool) -> bool {
        self.block_overrides.swap(heeded, Ordering::Relaxed)
    }
}
