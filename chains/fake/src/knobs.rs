//! The knobs that make a world misbehave: everything that the engine has to
//! survive can be provoked here.

use std::collections::{HashSet, VecDeque};

use chains_core::transaction::BroadcastResult;

use crate::{
    action::{Action, Transaction, Transfer},
    nodes::NodeFault,
    world::World,
};

/// The fate of the next transaction that is sent, instead of acceptance.
#[derive(Clone, Debug)]
pub enum SendStep {
    /// It arrives, and the sender hears this.
    ArriveAndAnswer(BroadcastResult),
    /// It is lost, and the sender hears this.
    LoseAndAnswer(BroadcastResult),
}

/// The difficulty of proving an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clarity {
    /// Receipts show it.
    #[default]
    AtOnce,
    /// Only an investigation shows it.
    ByInvestigation,
    /// Nothing shows it.
    Never,
}

/// The positions of all knobs.
#[derive(Debug)]
pub(crate) struct Knobs {
    pub script: VecDeque<SendStep>,
    /// The fault of each node.
    pub nodes: Vec<NodeFault>,
    pub is_broken: bool,
    pub mismatch: Option<String>,
    pub trouble: Option<String>,
    pub warnings: Vec<String>,
    pub clarity: Clarity,
    pub batch_max: usize,
    pub final_lag: u64,
    pub price: u64,
    /// Hashes of transactions that no block can include any more.
    pub expired: HashSet<String>,
    /// The height of the first block that nodes still have.
    pub history_from: u64,
    pub broadcasts: u64,
    pub investigations: u64,
    foreign: u64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            script: VecDeque::new(),
            nodes: vec![NodeFault::None],
            is_broken: false,
            mismatch: None,
            trouble: None,
            warnings: Vec::new(),
            clarity: Clarity::AtOnce,
            batch_max: 1,
            final_lag: 4,
            price: 1,
            expired: HashSet::new(),
            history_from: 0,
            broadcasts: 0,
            investigations: 0,
            foreign: 0,
        }
    }
}

/// Accounts.
impl World {
    /// Gives an account money.
    pub fn fund(&self, account: &str, value: u64) {
        *self.state.lock().balances.entry(account.to_owned()).or_default() += value;
    }

    /// Takes an account's money away.
    pub fn drain(&self, account: &str) {
        self.state.lock().balances.remove(account);
    }

    /// An account's money.
    pub fn balance(&self, account: &str) -> u64 {
        self.state.lock().balances.get(account).copied().unwrap_or(0)
    }
}

/// Sends and the pool.
impl World {
    /// Scripts what happens to the next sends, first to last.
    pub fn script(&self, steps: impl IntoIterator<Item = SendStep>) {
        self.state.lock().knobs.script.extend(steps);
    }

    /// Forgets the script: the next sends arrive.
    pub fn unscript(&self) {
        self.state.lock().knobs.script.clear();
    }

    /// The hashes of the transactions that wait for a block.
    pub fn waiting(&self) -> Vec<String> {
        self.state.lock().pool.keys().cloned().collect()
    }

    /// Sets how many steps a transaction may carry.
    pub fn set_batch_max(&self, steps: usize) {
        self.state.lock().knobs.batch_max = steps;
    }

    /// The number of transactions that were sent, repeats counted.
    pub fn broadcasts(&self) -> u64 {
        self.state.lock().knobs.broadcasts
    }

    /// Empties the pool: what waits in it is lost until it is sent again.
    pub fn lose_pool(&self) {
        self.state.lock().pool.clear();
    }

    /// Sets the price below which nothing is accepted or included.
    pub fn set_price(&self, price: u64) {
        self.state.lock().knobs.price = price;
    }

    /// The price below which nothing is accepted or included.
    pub fn price(&self) -> u64 {
        self.state.lock().knobs.price
    }

    /// Makes a transaction void for ever, as an old blockhash does: no block
    /// can include it.
    pub fn expire(&self, hash: &str) {
        let mut state = self.state.lock();
        state.pool.remove(hash);
        state.knobs.expired.insert(hash.to_owned());
    }
}

/// Other people's transactions.
impl World {
    /// Executes a transfer on behalf of somebody else, in a block of its own.
    /// The hash of that transaction is returned.
    pub fn execute_elsewhere(&self, transfer: Transfer) -> String {
        self.foreign("stranger", None, vec![Action::Transfer(transfer)])
    }

    /// Cancels a payer's nonce: its transfer can no longer happen.
    pub fn cancel(&self, from: &str, nonce: &str) {
        self.state.lock().cancel(from, nonce);
    }

    /// Uses up the next nonce of a gas wallet with a transaction that nobody
    /// here knows, in a block of its own. Its hash is returned.
    pub fn take_nonce(&self, gas_wallet: &str) -> String {
        let nonce = self.nonce(gas_wallet, 0);
        self.foreign(gas_wallet, Some(nonce), vec![])
    }

    fn foreign(&self, gas_wallet: &str, nonce: Option<u64>, actions: Vec<Action>) -> String {
        let hash = {
            let mut state = self.state.lock();
            state.knobs.foreign += 1;
            format!("foreign-{}", state.knobs.foreign)
        };
        let transaction = Transaction { gas_wallet: gas_wallet.to_owned(), nonce, price: 0, actions };
        self.mine_foreign(hash.clone(), transaction);
        hash
    }
}

/// The nodes before it.
impl World {
    /// Puts so many nodes without a fault before it; one at first. A chain asks
    /// those that are there when it is made.
    pub fn set_nodes(&self, count: usize) {
        self.state.lock().knobs.nodes = vec![NodeFault::None; count];
    }

    /// The number of nodes.
    pub fn nodes(&self) -> usize {
        self.state.lock().knobs.nodes.len()
    }

    /// Gives a node another fault.
    pub fn set_fault(&self, node: usize, fault: NodeFault) {
        if let Some(known) = self.state.lock().knobs.nodes.get_mut(node) {
            *known = fault;
        }
        // It may show other blocks now.
        self.tell_height();
    }

    pub(crate) fn fault(&self, node: usize) -> NodeFault {
        self.state.lock().knobs.nodes.get(node).copied().unwrap_or_default()
    }
}

/// Questions and their answers.
impl World {
    /// Makes every question fail, or answer again.
    pub fn set_broken(&self, broken: bool) {
        self.state.lock().knobs.is_broken = broken;
    }

    /// Returns whether questions fail.
    pub fn is_broken(&self) -> bool {
        self.state.lock().knobs.is_broken
    }

    /// Makes the network another one than the configuration says, or the same again.
    pub fn set_mismatch(&self, detail: Option<&str>) {
        self.state.lock().knobs.mismatch = detail.map(str::to_owned);
    }

    /// Keeps the network from taking payments although it is proven.
    pub fn set_trouble(&self, detail: Option<&str>) {
        self.state.lock().knobs.trouble = detail.map(str::to_owned);
    }

    /// Gives operators something to know.
    pub fn set_warnings(&self, warnings: &[&str]) {
        self.state.lock().knobs.warnings = warnings.iter().map(ToString::to_string).collect();
    }

    /// Sets how hard it is to prove an effect.
    pub fn set_clarity(&self, clarity: Clarity) {
        self.state.lock().knobs.clarity = clarity;
    }

    /// Makes investigations wait, or go on.
    pub fn hold_investigations(&self, hold: bool) {
        self.investigations_held.send_replace(hold);
    }

    /// The number of investigations that were begun.
    pub fn investigations(&self) -> u64 {
        self.state.lock().knobs.investigations
    }

    /// Lets nodes forget all blocks below a height: what is not found in the
    /// others is unknown.
    pub fn forget_below(&self, height: u64) {
        self.state.lock().knobs.history_from = height;
    }

    /// Sets how many blocks stay on top of the newest final one.
    pub fn set_final_lag(&self, blocks: u64) {
        self.state.lock().knobs.final_lag = blocks;
    }

    /// The height of the newest block that cannot be taken back.
    pub fn final_height(&self) -> u64 {
        let state = self.state.lock();
        state.height().saturating_sub(state.knobs.final_lag)
    }
}

/// The positions of the knobs, for the chain.
impl World {
    pub(crate) fn batch_max(&self) -> usize {
        self.state.lock().knobs.batch_max
    }

    pub(crate) fn clarity(&self) -> Clarity {
        self.state.lock().knobs.clarity
    }

    pub(crate) fn history_from(&self) -> u64 {
        self.state.lock().knobs.history_from
    }

    pub(crate) fn is_expired(&self, hash: &str) -> bool {
        self.state.lock().knobs.expired.contains(hash)
    }

    pub(crate) fn mismatch(&self) -> Option<String> {
        self.state.lock().knobs.mismatch.clone()
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.state.lock().knobs.trouble.clone()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.state.lock().knobs.warnings.clone()
    }

    /// Counts an investigation, and waits while they are held.
    pub(crate) async fn begin_investigation(&self) {
        self.state.lock().knobs.investigations += 1;
        let mut held = self.investigations_held.subscribe();
        // The sender lives as long as the world.
        drop(held.wait_for(|held| !held).await);
    }
}
