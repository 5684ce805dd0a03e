//! Follows the blocks of one network, and tells its workers.

use std::{sync::Arc, time::Duration};

use chains_core::{
    chain::ChainUnavailable,
    observation::{Block, Urgency},
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::context::Context;

/// Blocks that may wait for a worker.
const BLOCKS_MAX: usize = 64;

/// The shortest and the longest wait before a chain that did not answer is
/// asked for the next block again.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The workers that are told of every block. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Listeners(Arc<Mutex<Vec<Listener>>>);

struct Listener {
    blocks: mpsc::Sender<Arc<Block>>,
    missed: bool,
}

impl Listeners {
    /// Tells another worker of the blocks that come from now on, until it is gone.
    pub fn add(&self) -> mpsc::Receiver<Arc<Block>> {
        let (blocks_in, blocks) = mpsc::channel(BLOCKS_MAX);
        self.0.lock().push(Listener { blocks: blocks_in, missed: false });
        blocks
    }

    fn tell(&self, block: &Arc<Block>) {
        let mut listeners = self.0.lock();
        listeners.retain(|listener| !listener.blocks.is_closed());
        listeners.iter_mut().for_each(|listener| listener.tell(block));
    }
}

impl Listener {
    /// Tells of a block. A worker that is too busy misses it; the next block it
    /// is told of names no transactions, so that it looks for all of its own.
    fn tell(&mut self, block: &Arc<Block>) {
        let told = if self.missed && block.transactions.is_some() {
            Arc::new(Block { transactions: None, ..(**block).clone() })
        } else {
            Arc::clone(block)
        };
        self.missed = self.blocks.try_send(told).is_err();
    }
}

/// The task that follows a network, from the block that was seen last.
pub(super) async fn run(context: Arc<Context>, listeners: Listeners, stop: CancellationToken) {
    stop.run_until_cancelled(follow(&context, &listeners)).await;
}

/// Sees the newest block. Called before the network opens.
pub(super) async fn catch_up(context: &Context) -> Result<(), ChainUnavailable> {
    let block = context.chain.next_block(None, Urgency::Closely).await?;
    // Nobody knows how long it has been there.
    context.status.saw_block(Arc::new(block), None);
    Ok(())
}

async fn follow(context: &Context, listeners: &Listeners) {
    let mut open = context.status.watch_open();
    let mut last = context.status.block();
    let mut retry = RETRY.0;
    loop {
        let urgency = if *open.borrow_and_update() > 0 { Urgency::Closely } else { Urgency::Idly };
        let next = tokio::select! {
            next = context.chain.next_block(last.as_deref(), urgency) => next,
            () = another_urgency(&mut open, urgency) => continue,
        };
        match next {
            Ok(block) => {
                retry = RETRY.0;
                let block = Arc::new(block);
                last = Some(Arc::clone(&block));
                context.status.saw_block(Arc::clone(&block), Some(context.now()));
                listeners.tell(&block);
            }
            Err(error) => {
                if context.status.set_block_trouble(&error.to_string()) {
                    tracing::warn!(network = %context.network(), %error, "there is no next block; settlements under way wait for it");
                }
                tokio::time::sleep(retry).await;
                retry = retry.saturating_mul(2).min(RETRY.1);
            }
        }
    }
}

/// Returns when the next block is waited for in another way than `now`.
async fn another_urgency(open: &mut tokio::sync::watch::Receiver<usize>, now: Urgency) {
    let differs = |open: &usize| (*open > 0) != (now == Urgency::Closely);
    // The sender lives as long as the context.
    drop(open.wait_for(differs).await);
}
