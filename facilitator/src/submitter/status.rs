//! The state of a network as `/ready`, the dispatcher and metrics see it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chains_core::{Amount, clock::Millis, observation::Block};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::forecast::Spending;

/// Time without a new block after which a network counts as not ready, in
/// usual block times, and at least.
const SILENCE_BLOCKS: u32 = 10;
const SILENCE_MIN: Duration = Duration::from_secs(30);

/// The time for which a foreign use of a gas wallet's key is told.
const FOREIGN_TOLD: Duration = Duration::from_hours(1);

/// The condition of a network: open or closed to payments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Not yet, or not any more, and why.
    Closed(String),
    /// It does.
    Open,
}

/// The state of one network.
#[derive(Default)]
pub struct NetworkStatus {
    condition: RwLock<Condition>,
    blocks: Mutex<Blocks>,
    number: AtomicU64,
    wallets: RwLock<Vec<Arc<WalletStatus>>>,
    open_transactions: watch::Sender<usize>,
    unresolved: AtomicU64,
    /// A settlement was settled in this process.
    pub(super) settled: Notify,
    /// A settlement became unresolved in this process.
    pub(super) became_unresolved: Notify,
}

#[derive(Default)]
struct Blocks {
    newest: Option<Arc<Block>>,
    seen: Option<Instant>,
    trouble: Option<String>,
    skew: Option<i64>,
}

/// The newest block, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Time since it was seen.
    pub age: Option<Duration>,
    /// This clock minus its time when it came, in seconds; `None` before one came.
    pub skew: Option<i64>,
}

/// Something that is wrong with a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// A sentence of the log, one for each kind of trouble.
    pub words: &'static str,
    /// The gas wallet that it is about.
    pub wallet: Option<String>,
    /// The finding.
    pub error: String,
    /// True when it keeps payments from being settled.
    pub stops: bool,
}

impl Default for Condition {
    fn default() -> Self {
        Self::Closed("starting".into())
    }
}

impl NetworkStatus {
    /// Returns the condition: open or closed to payments.
    pub fn condition(&self) -> Condition {
        self.condition.read().clone()
    }

    /// Returns true when payments are taken.
    pub fn is_open(&self) -> bool {
        *self.condition.read() == Condition::Open
    }

    /// Changes the condition; returns true when it was another.
    pub(super) fn set_condition(&self, condition: Condition) -> bool {
        let mut there = self.condition.write();
        let news = *there != condition;
        *there = condition;
        news
    }

    /// The height of the newest block that was seen; 0 before the first.
    pub fn block_number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// The newest block that was seen.
    pub fn block(&self) -> Option<Arc<Block>> {
        self.blocks.lock().newest.clone()
    }

    /// Notes a block. `came_at`: this machine's time, where the block came just now.
    pub(super) fn saw_block(&self, block: Arc<Block>, came_at: Option<Millis>) {
        self.number.store(block.number, Ordering::Relaxed);
        let mut blocks = self.blocks.lock();
        let skew = came_at.map(|at| signed(at.seconds()).saturating_sub(signed(block.timestamp)));
        blocks.skew = skew.or(blocks.skew);
        (blocks.newest, blocks.seen, blocks.trouble) = (Some(block), Some(Instant::now()), None);
    }

    /// The newest block, as far as it is known.
    pub(super) fn head(&self) -> Head {
        let blocks = self.blocks.lock();
        Head { age: blocks.seen.map(|seen| seen.elapsed()), skew: blocks.skew }
    }

    /// Notes why there is no next block; returns true when that is news.
    pub(super) fn set_block_trouble(&self, trouble: &str) -> bool {
        let mut blocks = self.blocks.lock();
        let news = blocks.trouble.as_deref() != Some(trouble);
        blocks.trouble = Some(trouble.to_owned());
        news
    }

    /// The gas wallets, the configured ones first.
    pub fn wallets(&self) -> Vec<Arc<WalletStatus>> {
        self.wallets.read().clone()
    }

    pub(super) fn add_wallet(&self, wallet: Arc<WalletStatus>) {
        self.wallets.write().push(wallet);
    }

    /// The number of transactions that wait for a block, followed.
    pub(super) fn watch_open(&self) -> watch::Receiver<usize> {
        self.open_transactions.subscribe()
    }

    pub(super) fn add_open(&self, added: usize, removed: usize) {
        if added != removed {
            self.open_transactions.send_modify(|open| *open = (*open + added).saturating_sub(removed));
        }
    }

    pub(super) fn set_unresolved(&self, count: u64) {
        self.unresolved.store(count, Ordering::Relaxed);
    }

    /// The number of settlements whose proof is withheld.
    pub fn unresolved(&self) -> u64 {
        self.unresolved.load(Ordering::Relaxed)
    }

    /// Returns the reason why the network cannot settle a payment now; `None` when nothing
    /// does. `block_time`: the usual time between blocks.
    pub fn trouble(&self, block_time: Duration) -> Option<String> {
        if let Condition::Closed(why) = self.condition() {
            return Some(why);
        }
        let wallets = self.wallets();
        let in_use: Vec<_> = wallets.iter().filter(|wallet| !wallet.retired).collect();
        let troubles: Vec<_> = in_use.iter().filter_map(|wallet| wallet.trouble()).collect();
        if troubles.len() == in_use.len() {
            return Some(troubles.join("; "));
        }
        self.silence(block_time)
    }

    /// Everything that is wrong now. `block_time`: the usual time between blocks.
    pub(super) fn troubles(&self, block_time: Duration) -> Vec<Trouble> {
        let trouble = |words, error, stops| Trouble { words, wallet: None, error, stops };
        let mut troubles = vec![];
        if let Condition::Closed(why) = self.condition() {
            troubles.push(trouble("the network still takes no payments", why, true));
        } else if let Some(why) = self.silence(block_time) {
            troubles.push(trouble("there is still no next block; settlements under way wait for it", why, true));
        }
        let unresolved = self.unresolved();
        if unresolved > 0 {
            let error = format!("{unresolved} settlements have no proof");
            troubles.push(trouble(
                "settlements are still unresolved; end them by `facilitator settlement`",
                error,
                false,
            ));
        }
        troubles.extend(self.wallets().iter().flat_map(|wallet| wallet.troubles(self.is_open())));
        troubles
    }

    /// Returns the reason why no next block is known.
    fn silence(&self, block_time: Duration) -> Option<String> {
        let blocks = self.blocks.lock();
        if let Some(trouble) = &blocks.trouble {
            return Some(trouble.clone());
        }
        let silence_max = block_time.saturating_mul(SILENCE_BLOCKS).max(SILENCE_MIN);
        match blocks.seen {
            Some(seen) if seen.elapsed() <= silence_max => None,
            Some(seen) => Some(format!("no new block for {} s", seen.elapsed().as_secs())),
            None => Some("no block seen yet".into()),
        }
    }

    /// Returns how many of the gas wallets are here, where other instances have some.
    fn whereabouts(&self) -> Option<String> {
        let (elsewhere, here): (Vec<_>, Vec<_>) = self.wallets().into_iter().partition(|wallet| wallet.is_elsewhere());
        let told = || format!("gas wallets here: {}, elsewhere: {}", here.len(), elsewhere.len());
        (!elsewhere.is_empty()).then(told)
    }

    /// Returns warnings for operators about a network that settles payments.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<_> = self.whereabouts().into_iter().collect();
        warnings
            .extend(self.wallets().iter().filter(|wallet| !wallet.is_elsewhere()).flat_map(|wallet| wallet.warnings()));
        let unresolved = self.unresolved();
        if unresolved > 0 {
            warnings.push(format!(
                "{unresolved} settlements are unresolved: no endpoint gives the proof of what happened. See \
                 /settlements?state=unresolved; end one by `facilitator settlement ID --resolve settled:TX|failed \
                 --reason TEXT`"
            ));
        }
        warnings
    }
}

/// The state of one gas wallet.
#[derive(Debug)]
pub struct WalletStatus {
    /// Its address.
    pub wallet: String,
    /// True when it is in the store and no longer in the configuration: its
    /// transactions are followed, and it takes no new ones.
    pub retired: bool,
    placed: CancellationToken,
    state: Mutex<WalletState>,
    spending: Mutex<Spending>,
}

/// The fitness of a gas wallet for new payments, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fitness {
    /// Its transactions get on.
    Well,
    /// It can pay, but its transactions do not get on: no node takes them, or
    /// the oldest offers less than the next block asks for.
    Ailing,
    /// It takes no payment: closed, short of money, or above its price limit.
    Unfit,
}

/// The transactions of a gas wallet that are not at their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Steps of settlements whose bytes no node is known to have.
    pub signed: usize,
    /// Steps of settlements that a node has accepted.
    pub broadcast: usize,
    /// The time at which the oldest that holds a place was signed.
    pub oldest: Option<Millis>,
    /// The most that those that hold a place may take out of the gas wallet.
    pub need: Amount,
}

/// The state of one gas wallet, as its worker writes it.
#[derive(Clone, Debug, Default)]
pub struct WalletState {
    /// The reason why its worker is closed; `None` while it is open.
    pub closed: Option<String>,
    /// The instance that has it, while that is another one.
    pub elsewhere: Option<String>,
    /// The reason why it cannot pay for one more transaction.
    pub unfunded: Option<String>,
    /// The reason why its oldest transaction waits for another that offers more.
    pub behind: Option<String>,
    /// The reason why its oldest transaction cannot be included at the present
    /// price, and may not offer more.
    pub underpriced: Option<String>,
    /// The answer of the nodes while none of them takes its transactions.
    pub refused: Option<String>,
    /// The reason why the fate of a transaction is unknown.
    pub unknown: Option<String>,
    /// The moment at which somebody else was seen to use its key.
    pub foreign: Option<Instant>,
    /// Payments and steps that wait for a place.
    pub queued: usize,
    /// Transactions that wait for a block.
    pub in_flight: usize,
    /// Transactions that are not at their end.
    pub open: Open,
    /// Its balance in the coin's atomic units, when it was last read.
    pub balance: Option<Amount>,
}

impl WalletState {
    const fn fitness(&self) -> Fitness {
        let is_closed = self.closed.is_some() || self.elsewhere.is_some();
        if is_closed || self.unfunded.is_some() || self.underpriced.is_some() {
            Fitness::Unfit
        } else if self.refused.is_some() || self.behind.is_some() {
            Fitness::Ailing
        } else {
            Fitness::Well
        }
    }
}

impl WalletStatus {
    pub(super) fn new(wallet: &str, retired: bool) -> Arc<Self> {
        let state = WalletState { closed: Some("not open yet".into()), ..WalletState::default() };
        let spending = Mutex::new(Spending::since(Instant::now()));
        let (placed, state) = (CancellationToken::new(), Mutex::new(state));
        Arc::new(Self { wallet: wallet.to_owned(), retired, placed, state, spending })
    }

    /// Its state now.
    pub fn state(&self) -> WalletState {
        self.state.lock().clone()
    }

    pub(super) fn update<R>(&self, change: impl FnOnce(&mut WalletState) -> R) -> R {
        change(&mut self.state.lock())
    }

    /// Notes a fee that the chain took.
    pub(super) fn spent(&self, fee: Amount) {
        self.spending.lock().note(fee, Instant::now());
    }

    /// Seconds for which `available` lasts at the present rate of spending; `None` while nothing is spent.
    pub(super) fn runway(&self, available: Amount, now: Instant) -> Option<u64> {
        self.spending.lock().runway(available, now)
    }

    /// Sets one reason; logs when it comes and when it goes. Returns true when
    /// it has come.
    pub(super) fn set(
        &self,
        field: impl FnOnce(&mut WalletState) -> &mut Option<String>,
        reason: Option<String>,
        (came, went): (&'static str, &'static str),
    ) -> bool {
        let before = self.update(|state| std::mem::replace(field(state), reason.clone()));
        match (before, reason) {
            (None, Some(error)) => {
                tracing::error!(wallet = self.wallet, error, "{came}");
                return true;
            }
            (Some(_), None) => tracing::info!(wallet = self.wallet, "{went}"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        false
    }

    /// Notes which other instance has it; `None`: none that is known.
    pub(super) fn set_elsewhere(&self, owner: Option<String>) {
        if owner.is_some() {
            self.placed.cancel();
        }
        self.update(|state| state.elsewhere = owner);
    }

    /// Notes that its worker is open here, or why it is here and stays closed.
    pub(super) fn set_here(&self, closed: Option<String>) {
        self.placed.cancel();
        self.update(|state| (state.closed, state.elsewhere) = (closed, None));
    }

    /// Waits until it has been here or elsewhere once.
    pub(super) async fn placed(&self) {
        self.placed.cancelled().await;
    }

    /// Returns true while another instance has it.
    pub fn is_elsewhere(&self) -> bool {
        self.state.lock().elsewhere.is_some()
    }

    /// Returns true when it takes new work.
    pub fn is_usable(&self) -> bool {
        self.fitness() != Fitness::Unfit
    }

    /// Its fitness for new payments.
    pub fn fitness(&self) -> Fitness {
        if self.retired { Fitness::Unfit } else { self.state.lock().fitness() }
    }

    /// Its payments in the queue and transactions in flight.
    pub fn load(&self) -> usize {
        let state = self.state.lock();
        state.queued + state.in_flight
    }

    /// Returns the reason why it settles nothing now, for operators.
    pub fn trouble(&self) -> Option<String> {
        let WalletState { closed, elsewhere, unfunded, underpriced, refused, .. } = self.state();
        if elsewhere.is_some() {
            return None;
        }
        let why: Vec<_> = [closed, unfunded, underpriced, refused].into_iter().flatten().collect();
        (!why.is_empty()).then(|| format!("gas wallet {}: {}", self.wallet, why.join("; ")))
    }

    /// Everything that is wrong now; while its network opens, a wallet that is not open yet is nothing wrong.
    fn troubles(&self, network_is_open: bool) -> Vec<Trouble> {
        let WalletState { closed, elsewhere, unfunded, underpriced, refused, unknown, .. } = self.state();
        if elsewhere.is_some() {
            return vec![];
        }
        let kinds = [
            ("the gas wallet is still closed", closed.filter(|_| network_is_open), true),
            ("the gas wallet is still short of gas money; send it gas money", unfunded, true),
            ("the price is still above the oldest transaction of this gas wallet", underpriced, true),
            ("still no node takes this gas wallet's transactions", refused, true),
            ("it still cannot be said what became of a transaction; it stays pending", unknown, false),
        ];
        let trouble = |(words, error, stops): (_, Option<String>, _)| {
            Some(Trouble { words, wallet: Some(self.wallet.clone()), error: error?, stops })
        };
        kinds.into_iter().filter_map(trouble).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let state = self.state();
        let mut warnings = vec![];
        if self.retired {
            warnings.push(format!(
                "gas wallet {} is no longer configured, and {} of its transactions are not decided: they are followed, \
                 and none is replaced. Configure it again until its settlements are final",
                self.wallet,
                state.in_flight + state.queued,
            ));
        } else {
            warnings.extend(self.trouble());
        }
        if state.foreign.is_some_and(|seen| seen.elapsed() < FOREIGN_TOLD) {
            warnings.push(format!(
                "gas wallet {}: somebody else has used its key, and a nonce with it, within the hour; the payments that \
                 this displaced are sent anew. Use a key in one service only",
                self.wallet
            ));
        }
        let price = state.behind.filter(|_| !self.retired);
        warnings.extend(price.map(|why| format!("gas wallet {}: {why}", self.wallet)));
        warnings.extend(state.unknown.map(|why| format!("gas wallet {}: {why}", self.wallet)));
        warnings
    }
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that may be known of a wallet.
    type Field = fn(&mut WalletState) -> &mut Option<String>;

    #[test]
    fn a_wallet_is_as_fit_as_the_worst_that_is_known_of_it() {
        let because = || Some("because".to_owned());
        let cases: [(&str, Field, Fitness); 6] = [
            ("closed", |state| &mut state.closed, Fitness::Unfit),
            ("short of money", |state| &mut state.unfunded, Fitness::Unfit),
            ("above its price limit", |state| &mut state.underpriced, Fitness::Unfit),
            ("no node takes anything", |state| &mut state.refused, Fitness::Ailing),
            ("waits for a dearer attempt", |state| &mut state.behind, Fitness::Ailing),
            ("a proof is withheld", |state| &mut state.unknown, Fitness::Well),
        ];
        assert_eq!(WalletState::default().fitness(), Fitness::Well);
        for (name, field, expected) in cases {
            let mut state = WalletState::default();
            *field(&mut state) = because();
            assert_eq!(state.fitness(), expected, "{name}");
            state.unfunded = because();
            assert_eq!(state.fitness(), Fitness::Unfit, "{name}, and short of money");
        }
        assert_eq!(WalletStatus::new("w", true).fitness(), Fitness::Unfit, "no longer configured");
    }
}
