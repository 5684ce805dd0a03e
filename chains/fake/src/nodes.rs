//! The nodes before a world, each with a fault of its own. They are asked as
//! every family asks its endpoints: through [`chains_rpc`].

use std::{fmt, sync::Arc, time::Duration};

use chains_core::{
    Network,
    observation::BlockRef,
    transaction::{BroadcastResult, SignedTransaction},
};
use chains_rpc::{Endpoint, NodeError, Pool, Standing};

use crate::{
    action::Transaction,
    world::{Block, Mined, World},
};

/// The time after which another node is asked too; these answer at once.
const HEDGE_AFTER: Duration = Duration::from_secs(1);

/// Blocks that a node which lies about the height invents, and nonces that one invents.
const INVENTED: u64 = 100;

/// The hash of a transaction that is on no chain.
const NO_TRANSACTION: &str = "invented";

/// The fault of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeFault {
    /// None.
    #[default]
    None,
    /// It stands so many blocks behind the world.
    Lags(u64),
    /// It answers nothing.
    Silent,
    /// It lies.
    Lies(Lie),
}

/// The thing that a node lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The newest block has every transaction, with all that it was to do; what
    /// is asked about without one was done by somebody else.
    AllDone,
    /// No block has any transaction, and nobody's nonce is used.
    NothingDone,
    /// Other transactions have used the gas wallets' nonces.
    AllReplaced,
    /// The chain is much higher, and what is in its blocks much deeper.
    High,
    /// It takes every transaction, and keeps it to itself.
    KeepsSends,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::AllDone, Self::NothingDone, Self::AllReplaced, Self::High, Self::KeepsSends];
}

/// The reason why a node does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The world is broken for all.
    Broken,
    /// This node is silent.
    Silent,
    /// It has not got that block.
    NoBlock,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "the world is broken",
            Self::Silent => "it is silent",
            Self::NoBlock => "it has not got this block",
        })
    }
}

impl NodeError for Silence {
    fn is_answer(&self) -> bool {
        false
    }
}

pub(crate) type CallError = chains_rpc::CallError<Silence>;

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    host: String,
    standing: Standing,
    world: Arc<World>,
    place: usize,
}

impl Endpoint for Node {
    fn host(&self) -> &str {
        &self.host
    }

    fn standing(&self) -> &Standing {
        &self.standing
    }
}

/// The nodes of a world.
pub(crate) fn pool(network: Network, world: &Arc<World>) -> Pool<Node> {
    let node = |place| {
        let node =
            Node { host: format!("node-{place}"), standing: Standing::default(), world: Arc::clone(world), place };
        node.standing.prove();
        node
    };
    Pool::new(network, (0..world.nodes()).map(node).collect(), HEDGE_AFTER)
}

impl Node {
    /// The world as this node shows it.
    ///
    /// # Errors
    /// It shows nothing.
    pub fn sight(&self, confirmations: u64) -> Result<Sight<'_>, CallError> {
        let fault = self.world.fault(self.place);
        let silence = if self.world.is_broken() { Some(Silence::Broken) } else { None };
        let silence = silence.or_else(|| (fault == NodeFault::Silent).then_some(Silence::Silent));
        match silence {
            Some(error) => Err(self.error(error)),
            None => Ok(Sight { world: &self.world, fault, confirmations }),
        }
    }

    fn error(&self, error: Silence) -> CallError {
        CallError::Node { host: self.host.clone(), error }
    }

    /// The transactions of a block.
    ///
    /// # Errors
    /// It has not got it.
    pub fn block(&self, number: u64) -> Result<Block, CallError> {
        self.sight(1)?.block(number).ok_or_else(|| self.error(Silence::NoBlock))
    }

    /// Takes a transaction, and passes it on.
    pub fn receive(&self, sent: &SignedTransaction) -> BroadcastResult {
        let transaction: Transaction = match serde_json::from_slice(&sent.raw) {
            Ok(transaction) => transaction,
            Err(error) => return BroadcastResult::Rejected(error.to_string()),
        };
        match self.sight(1) {
            Err(error) => BroadcastResult::Unknown(error.to_string()),
            Ok(sight) if sight.fault == NodeFault::Lies(Lie::KeepsSends) => BroadcastResult::Accepted,
            Ok(_) => self.world.receive(&sent.hash, transaction),
        }
    }
}

/// The world as one node shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight<'a> {
    pub world: &'a World,
    fault: NodeFault,
    /// Those that make a block count.
    pub confirmations: u64,
}

impl Sight<'_> {
    fn lies(&self, lie: Lie) -> bool {
        self.fault == NodeFault::Lies(lie)
    }

    const fn lag(&self) -> u64 {
        match self.fault {
            NodeFault::Lags(blocks) => blocks,
            NodeFault::None | NodeFault::Silent | NodeFault::Lies(_) => 0,
        }
    }

    /// The height of the newest block that it has.
    fn newest(&self) -> u64 {
        self.world.height().saturating_sub(self.lag())
    }

    /// The height that it tells of.
    pub fn height(&self) -> u64 {
        self.newest().saturating_add(if self.lies(Lie::High) { INVENTED } else { 0 })
    }

    /// The newest height that has the configured confirmations.
    pub fn confirmed_height(&self) -> u64 {
        self.height().saturating_sub(self.confirmations.saturating_sub(1))
    }

    /// The height of the newest block that it calls final.
    pub fn final_height(&self) -> u64 {
        self.world.final_height().saturating_sub(self.lag()) + (self.height() - self.newest())
    }

    /// The time of the newest block that has the configured confirmations.
    pub fn confirmed_time(&self) -> u64 {
        let known = self.confirmed_height().min(self.newest());
        self.world.block(known).map_or(0, |block| block.timestamp)
    }

    fn block(&self, number: u64) -> Option<Block> {
        let mut block = self.world.block(number).filter(|_| number <= self.newest())?;
        if self.lies(Lie::NothingDone) || self.lies(Lie::AllReplaced) {
            block.transactions.clear();
        }
        Some(block)
    }

    fn newest_block(&self) -> BlockRef {
        let number = self.newest();
        BlockRef { number, hash: self.world.block(number).map_or_else(String::new, |block| block.hash) }
    }

    /// The first of these transactions that a block has, and that block.
    pub fn find(&self, attempts: &[SignedTransaction]) -> Option<(BlockRef, Mined)> {
        match self.fault {
            NodeFault::Lies(Lie::NothingDone | Lie::AllReplaced) => None,
            NodeFault::Lies(Lie::AllDone) => {
                let newest = attempts.last()?;
                let transaction: Transaction = serde_json::from_slice(&newest.raw).ok()?;
                let done = vec![true; transaction.actions.len()];
                Some((self.newest_block(), Mined { hash: newest.hash.clone(), transaction, done }))
            }
            NodeFault::Lies(Lie::High | Lie::KeepsSends) | NodeFault::None | NodeFault::Lags(_) | NodeFault::Silent => {
                let found = attempts.iter().find_map(|attempt| self.world.find(&attempt.hash));
                found.filter(|(block, _)| block.number <= self.newest())
            }
        }
    }

    /// The block and the hash of the transaction that executed a payer's nonce.
    pub fn executed(&self, from: &str, nonce: &str) -> Option<(BlockRef, String)> {
        match self.fault {
            NodeFault::Lies(Lie::NothingDone) => None,
            NodeFault::Lies(Lie::AllDone) => Some((self.newest_block(), NO_TRANSACTION.to_owned())),
            NodeFault::Lies(Lie::AllReplaced | Lie::High | Lie::KeepsSends)
            | NodeFault::None
            | NodeFault::Lags(_)
            | NodeFault::Silent => self.world.executed(from, nonce).filter(|(block, _)| block.number <= self.newest()),
        }
    }

    /// Returns whether a payer's nonce is used up.
    pub fn is_used(&self, from: &str, nonce: &str) -> bool {
        let came_later = || self.world.executed(from, nonce).is_some_and(|(block, _)| block.number > self.newest());
        !self.lies(Lie::NothingDone) && self.world.is_used(from, nonce) && !came_later()
    }

    /// A gas wallet's next nonce, `depth` blocks below the newest.
    pub fn nonce(&self, gas_wallet: &str, depth: u64) -> u64 {
        let nonce = self.world.nonce(gas_wallet, depth.saturating_add(self.lag()));
        nonce.saturating_add(if self.lies(Lie::AllReplaced) { INVENTED } else { 0 })
    }
}
