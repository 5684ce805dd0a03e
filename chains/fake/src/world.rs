//! The chain itself: accounts, a pool of transactions, blocks.

use std::collections::{BTreeMap, HashMap, HashSet};

use chains_core::{observation::BlockRef, transaction::BroadcastResult};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    action::{Action, Transaction, Transfer},
    knobs::{Knobs, SendStep},
};

/// A transaction in a block.
#[derive(Clone, Debug)]
pub struct Mined {
    /// Its hash.
    pub hash: String,
    /// Its content.
    pub transaction: Transaction,
    /// For each of its actions, whether it succeeded.
    pub done: Vec<bool>,
}

/// A block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its name: another one each time a block is made, also at the same height.
    pub hash: String,
    /// Its transactions.
    pub transactions: Vec<Mined>,
    /// Its time.
    pub timestamp: u64,
}

/// An in-memory chain. Blocks come when [`mine`](Self::mine) is called.
#[derive(Debug)]
pub struct World {
    pub(crate) state: Mutex<State>,
    height: watch::Sender<u64>,
    pub(crate) investigations_held: watch::Sender<bool>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub balances: HashMap<String, u64>,
    used: HashSet<(String, String)>,
    nonces: BTreeMap<String, u64>,
    /// By hash.
    pub pool: BTreeMap<String, Transaction>,
    /// Everything that the pool ever took, in order.
    heard: Vec<(String, Transaction)>,
    blocks: Vec<Block>,
    blocks_made: u64,
    pub knobs: Knobs,
}

impl Default for World {
    fn default() -> Self {
        let mut state = State::default();
        state.append(Vec::new());
        Self { state: Mutex::new(state), height: watch::Sender::new(0), investigations_held: watch::Sender::new(false) }
    }
}

impl World {
    /// Makes a block of everything that can be executed at the network's price.
    pub fn mine(&self) {
        self.change(|state| {
            let mut mined = Vec::new();
            while let Some(hash) = state.next_executable() {
                let Some(transaction) = state.pool.remove(&hash) else { break };
                mined.push(state.execute(hash, transaction));
            }
            state.append(mined);
        });
    }

    /// Takes the newest block back, as a reorg does; its transactions return to the pool.
    pub fn unmine(&self) {
        self.change(State::take_back);
    }

    /// Puts one transaction of somebody else into a block of its own.
    pub(crate) fn mine_foreign(&self, hash: String, transaction: Transaction) {
        self.change(|state| {
            let mined = state.execute(hash, transaction);
            state.append(vec![mined]);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.tell_height();
    }

    /// Has everybody who follows the height look again.
    pub(crate) fn tell_height(&self) {
        let height = self.height();
        self.height.send_replace(height);
    }

    /// The newest height, followed.
    pub fn watch_height(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }

    /// The newest height.
    pub fn height(&self) -> u64 {
        self.state.lock().height()
    }

    /// A block by height.
    pub fn block(&self, height: u64) -> Option<Block> {
        self.state.lock().block(height).cloned()
    }

    /// The block that holds a transaction, and the transaction.
    pub fn find(&self, hash: &str) -> Option<(BlockRef, Mined)> {
        self.state.lock().mined().find(|(_, mined)| mined.hash == hash).map(|(block, mined)| (block, mined.clone()))
    }

    /// The block and the hash of the transaction that executed a payer's nonce.
    pub fn executed(&self, from: &str, nonce: &str) -> Option<(BlockRef, String)> {
        let executes = |mined: &Mined| {
            let mut actions = mined.transaction.actions.iter().zip(&mined.done);
            actions.any(|(action, done)| {
                *done && matches!(action, Action::Transfer(t) if t.from == from && t.nonce == nonce)
            })
        };
        self.state.lock().mined().find(|(_, mined)| executes(mined)).map(|(block, mined)| (block, mined.hash.clone()))
    }

    /// Returns whether a payer's nonce is used up.
    pub fn is_used(&self, from: &str, nonce: &str) -> bool {
        self.state.lock().used.contains(&(from.to_owned(), nonce.to_owned()))
    }

    /// A gas wallet's next nonce, `depth` blocks below the newest.
    pub fn nonce(&self, gas_wallet: &str, depth: u64) -> u64 {
        let state = self.state.lock();
        let settled = state.height().saturating_sub(depth);
        let newer = state.mined().filter(|(block, mined)| {
            block.number > settled && mined.transaction.gas_wallet == gas_wallet && mined.transaction.nonce.is_some()
        });
        let newer = u64::try_from(newer.count()).unwrap_or(u64::MAX);
        state.nonces.get(gas_wallet).copied().unwrap_or(0).saturating_sub(newer)
    }

    /// Takes a transaction, or does what the script says.
    pub fn receive(&self, hash: &str, transaction: Transaction) -> BroadcastResult {
        let mut state = self.state.lock();
        state.knobs.broadcasts += 1;
        match state.knobs.script.pop_front() {
            Some(SendStep::LoseAndAnswer(answer)) => answer,
            Some(SendStep::ArriveAndAnswer(answer)) => {
                state.receive(hash, transaction);
                answer
            }
            None => state.receive(hash, transaction),
        }
    }
}

/// Sends that come twice.
impl World {
    /// Gives the pool a transaction again that it took before, as a node does
    /// that was away, or a request that was sent twice. `pick` chooses one.
    pub fn echo(&self, pick: usize) {
        let mut state = self.state.lock();
        let again = state.heard.get(pick % state.heard.len().max(1)).cloned();
        if let Some((hash, transaction)) = again {
            state.receive(&hash, transaction);
        }
    }
}

impl State {
    pub fn height(&self) -> u64 {
        u64::try_from(self.blocks.len()).unwrap_or(u64::MAX).saturating_sub(1)
    }

    pub fn block(&self, height: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(height).ok()?)
    }

    fn mined(&self) -> impl Iterator<Item = (BlockRef, &Mined)> {
        (0..).zip(&self.blocks).flat_map(|(number, block)| {
            block.transactions.iter().map(move |mined| (BlockRef { number, hash: block.hash.clone() }, mined))
        })
    }

    fn append(&mut self, transactions: Vec<Mined>) {
        self.blocks_made += 1;
        let (hash, timestamp) = (format!("block-{}", self.blocks_made), self.blocks_made);
        self.blocks.push(Block { hash, transactions, timestamp });
    }

    /// Undoes the newest block; the first one stays.
    fn take_back(&mut self) {
        if self.blocks.len() <= 1 {
            return;
        }
        let Some(block) = self.blocks.pop() else { return };
        for Mined { hash, transaction, done } in block.transactions.into_iter().rev() {
            for (action, _) in transaction.actions.iter().zip(done).filter(|(_, done)| *done) {
                self.undo(action);
            }
            if transaction.nonce.is_some() {
                *self.nonces.entry(transaction.gas_wallet.clone()).or_default() -= 1;
            }
            *self.balances.entry(transaction.gas_wallet.clone()).or_default() += transaction.fee();
            self.pool.insert(hash, transaction);
        }
    }

    fn next_nonce(&self, gas_wallet: &str) -> u64 {
        self.nonces.get(gas_wallet).copied().unwrap_or(0)
    }

    fn next_executable(&self) -> Option<String> {
        let can_execute = |t: &Transaction| {
            let is_next = t.nonce.is_none_or(|nonce| nonce == self.next_nonce(&t.gas_wallet));
            is_next && t.price >= self.knobs.price
        };
        self.pool.iter().find(|(_, transaction)| can_execute(transaction)).map(|(hash, _)| hash.clone())
    }

    fn receive(&mut self, hash: &str, transaction: Transaction) -> BroadcastResult {
        let known = self.mined().any(|(_, mined)| mined.hash == hash);
        let next = self.next_nonce(&transaction.gas_wallet);
        match transaction.nonce {
            Some(nonce) if nonce < next => return BroadcastResult::NonceTooLow,
            None if known => return BroadcastResult::Accepted,
            None if self.knobs.expired.contains(hash) => return BroadcastResult::Unknown("it has expired".to_owned()),
            Some(_) | None => {}
        }
        if transaction.price < self.knobs.price {
            return BroadcastResult::Underpriced(format!("price {} below {}", transaction.price, self.knobs.price));
        }
        if self.balances.get(&transaction.gas_wallet).copied().unwrap_or(0) < transaction.fee() {
            return BroadcastResult::InsufficientFunds;
        }
        let rival = self.pool.iter().find(|(other, waiting)| {
            *other != hash
                && waiting.nonce.is_some()
                && (&waiting.gas_wallet, waiting.nonce) == (&transaction.gas_wallet, transaction.nonce)
        });
        if let Some((rival, waiting)) = rival {
            if waiting.price >= transaction.price {
                return BroadcastResult::NonceTaken;
            }
            let rival = rival.clone();
            self.pool.remove(&rival);
        }
        if self.heard.iter().all(|(heard, _)| heard != hash) {
            self.heard.push((hash.to_owned(), transaction.clone()));
        }
        self.pool.insert(hash.to_owned(), transaction);
        BroadcastResult::Accepted
    }

    fn execute(&mut self, hash: String, transaction: Transaction) -> Mined {
        let fee = transaction.fee();
        if transaction.nonce.is_some() {
            *self.nonces.entry(transaction.gas_wallet.clone()).or_default() += 1;
        }
        let gas_wallet = self.balances.entry(transaction.gas_wallet.clone()).or_default();
        *gas_wallet = gas_wallet.saturating_sub(fee);
        let done = transaction.actions.iter().map(|action| self.perform(action)).collect();
        Mined { hash, transaction, done }
    }

    fn perform(&mut self, action: &Action) -> bool {
        let Action::Transfer(transfer) = action else { return true };
        let key = (transfer.from.clone(), transfer.nonce.clone());
        let balance = self.balances.get(&transfer.from).copied().unwrap_or(0);
        let is_late = transfer.valid_before.is_some_and(|end| self.blocks_made + 1 >= end);
        if is_late || self.used.contains(&key) || balance < transfer.value {
            return false;
        }
        self.used.insert(key);
        *self.balances.entry(transfer.from.clone()).or_default() -= transfer.value;
        *self.balances.entry(transfer.to.clone()).or_default() += transfer.value;
        true
    }

    fn undo(&mut self, action: &Action) {
        let Action::Transfer(Transfer { from, to, value, nonce, .. }) = action else { return };
        self.used.remove(&(from.clone(), nonce.clone()));
        *self.balances.entry(from.clone()).or_default() += value;
        let payee = self.balances.entry(to.clone()).or_default();
        *payee = payee.saturating_sub(*value);
    }

    /// Uses up a payer's nonce without a transfer.
    pub fn cancel(&mut self, from: &str, nonce: &str) {
        self.used.insert((from.to_owned(), nonce.to_owned()));
    }
}
