//! The chain itself, and the knobs that make it misbehave.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use chains_core::chain::Broadcast;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// A transfer as the plan's body and the raw bytes describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Who pays.
    pub from: String,
    /// Who receives.
    pub to: String,
    /// How much.
    pub value: u64,
    /// The payer's number for it; each executes once.
    pub nonce: String,
}

/// A transaction of a gas wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Who pays the gas.
    pub gas_wallet: String,
    /// Its place in the gas wallet's sequence.
    pub sequence: u64,
    /// What it does.
    pub transfer: Transfer,
}

/// A block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its transactions by name, and whether each did its transfer.
    pub transactions: Vec<(String, Transaction, bool)>,
    /// Its time.
    pub timestamp: u64,
}

/// An in-memory chain. Blocks come when [`mine`](Self::mine) is called.
#[derive(Debug)]
pub struct World {
    state: Mutex<State>,
    height: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    balances: HashMap<String, u64>,
    used: HashSet<(String, String)>,
    sequences: BTreeMap<String, u64>,
    pool: BTreeMap<(String, u64), (String, Transaction)>,
    blocks: Vec<Block>,
    script: VecDeque<Step>,
    broken: bool,
    broadcasts: u64,
}

/// What happens to the next transaction that is sent, instead of acceptance.
#[derive(Clone, Debug)]
pub enum Step {
    /// It arrives, and the sender hears this.
    ArriveAndAnswer(Broadcast),
    /// It is lost, and the sender hears this.
    LoseAndAnswer(Broadcast),
}

impl Default for World {
    fn default() -> Self {
        let genesis = Block { transactions: Vec::new(), timestamp: 1 };
        let state = State { blocks: vec![genesis], ..State::default() };
        Self { state: Mutex::new(state), height: watch::Sender::new(0) }
    }
}

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

    /// Scripts what happens to the next sends, first to last.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) {
        self.state.lock().script.extend(steps);
    }

    /// Makes every question fail, or answer again.
    pub fn set_broken(&self, broken: bool) {
        self.state.lock().broken = broken;
    }

    /// Whether questions fail.
    pub fn is_broken(&self) -> bool {
        self.state.lock().broken
    }

    /// How many transactions were sent, repeats counted.
    pub fn broadcasts(&self) -> u64 {
        self.state.lock().broadcasts
    }

    /// Executes a transfer on behalf of somebody else, in a block of its own.
    pub fn execute_elsewhere(&self, transfer: Transfer) {
        let stranger = Transaction { gas_wallet: "stranger".into(), sequence: 0, transfer };
        let mut state = self.state.lock();
        let done = state.execute(&stranger.transfer);
        let name = format!("foreign-{}", stranger.transfer.nonce);
        let timestamp = state.blocks.len().try_into().unwrap_or(u64::MAX);
        state.blocks.push(Block { transactions: vec![(name, stranger, done)], timestamp });
        let height = state.height();
        drop(state);
        self.height.send_replace(height);
    }

    /// Makes a block of everything that can be executed.
    pub fn mine(&self) {
        let mut state = self.state.lock();
        let mut transactions = Vec::new();
        while let Some((key, (name, transaction))) = state.next_executable() {
            state.pool.remove(&key);
            *state.sequences.entry(key.0).or_default() += 1;
            let done = state.execute(&transaction.transfer);
            transactions.push((name, transaction, done));
        }
        let timestamp = state.blocks.len().try_into().unwrap_or(u64::MAX);
        state.blocks.push(Block { transactions, timestamp });
        let height = state.height();
        drop(state);
        self.height.send_replace(height);
    }

    /// Takes the newest block back; its transactions return to the pool.
    pub fn unmine(&self) {
        let mut state = self.state.lock();
        let Some(block) = state.blocks.pop() else { return };
        for (name, transaction, done) in block.transactions.into_iter().rev() {
            if done {
                state.undo(&transaction.transfer);
            }
            *state.sequences.entry(transaction.gas_wallet.clone()).or_default() -= 1;
            state.pool.insert((transaction.gas_wallet.clone(), transaction.sequence), (name, transaction));
        }
        let height = state.height();
        drop(state);
        self.height.send_replace(height);
    }

    /// The newest height, followed.
    pub fn watch_height(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }

    /// A block by height.
    pub fn block(&self, height: u64) -> Option<Block> {
        self.state.lock().blocks.get(usize::try_from(height).ok()?).cloned()
    }

    /// The height of the block that holds a transaction, and whether it did its transfer.
    pub fn find(&self, name: &str) -> Option<(u64, bool)> {
        let state = self.state.lock();
        let with_height = (0..).zip(&state.blocks);
        let mut all = with_height.flat_map(|(height, block)| block.transactions.iter().map(move |t| (height, t)));
        all.find(|(_, (there, _, _))| there == name).map(|(height, (_, _, done))| (height, *done))
    }

    /// The height and name of the transaction that executed a payer's nonce.
    pub fn executed(&self, from: &str, nonce: &str) -> Option<(u64, String)> {
        let state = self.state.lock();
        let with_height = (0..).zip(&state.blocks);
        let mut all = with_height.flat_map(|(height, block)| block.transactions.iter().map(move |t| (height, t)));
        all.find(|(_, (_, t, done))| *done && t.transfer.from == from && t.transfer.nonce == nonce)
            .map(|(height, (name, _, _))| (height, name.clone()))
    }

    /// Whether a payer's nonce is used up.
    pub fn is_used(&self, from: &str, nonce: &str) -> bool {
        self.state.lock().used.contains(&(from.to_owned(), nonce.to_owned()))
    }

    /// A gas wallet's next sequence.
    pub fn sequence(&self, gas_wallet: &str) -> u64 {
        self.state.lock().sequences.get(gas_wallet).copied().unwrap_or(0)
    }

    /// Takes a transaction, or does what the script says.
    pub fn receive(&self, name: &str, transaction: Transaction) -> Broadcast {
        let mut state = self.state.lock();
        state.broadcasts += 1;
        let step = state.script.pop_front();
        if let Some(Step::LoseAndAnswer(answer)) = step {
            return answer;
        }
        let next = state.sequences.get(&transaction.gas_wallet).copied().unwrap_or(0);
        let answer = if transaction.sequence < next {
            Broadcast::SequenceConsumed
        } else {
            let key = (transaction.gas_wallet.clone(), transaction.sequence);
            state.pool.insert(key, (name.to_owned(), transaction));
            Broadcast::Accepted
        };
        if let Some(Step::ArriveAndAnswer(scripted)) = step { scripted } else { answer }
    }
}

impl State {
    fn height(&self) -> u64 {
        u64::try_from(self.blocks.len()).unwrap_or(u64::MAX).saturating_sub(1)
    }

    fn next_executable(&self) -> Option<((String, u64), (String, Transaction))> {
        let next = |wallet: &str| self.sequences.get(wallet).copied().unwrap_or(0);
        let mut pool = self.pool.iter();
        pool.find(|((wallet, sequence), _)| next(wallet) == *sequence).map(|(k, v)| (k.clone(), v.clone()))
    }

    fn execute(&mut self, transfer: &Transfer) -> bool {
        let key = (transfer.from.clone(), transfer.nonce.clone());
        let balance = self.balances.get(&transfer.from).copied().unwrap_or(0);
        if self.used.contains(&key) || balance < transfer.value {
            return false;
        }
        self.used.insert(key);
        *self.balances.entry(transfer.from.clone()).or_default() -= transfer.value;
        *self.balances.entry(transfer.to.clone()).or_default() += transfer.value;
        true
    }

    fn undo(&mut self, transfer: &Transfer) {
        self.used.remove(&(transfer.from.clone(), transfer.nonce.clone()));
        *self.balances.entry(transfer.from.clone()).or_default() += transfer.value;
        *self.balances.entry(transfer.to.clone()).or_default() -= transfer.value;
    }
}
