//! The receipts of the newest block, asked for once at each endpoint by all who
//! look for a transaction in it.
//!
//! A receipt does not change as long as its block is part of the chain, and that
//! is asked anew by each look: what another look was told a moment ago is as
//! good as what this one would be told.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::OnceCell, time::Instant};

use super::receipt::Receipt;
use crate::{
    context::Context,
    rpc::{
        Rpc,
        error::CallError,
        method::{At, Call},
    },
};

/// Receipts of one look from which on those of the whole block are asked for.
const WANTED_MIN: usize = 4;

/// The time for which an endpoint is not asked that has not got the method.
const LACKING: Duration = Duration::from_hours(1);

/// Receipts by the hash of their transaction, in lower case.
pub(super) type ByHash = Arc<HashMap<String, Receipt>>;

/// The answer of one endpoint about one block; empty while it is being asked.
#[derive(Debug, Default)]
struct Told {
    block_hash: String,
    receipts: OnceCell<Option<ByHash>>,
}

/// The receipts of the newest block, by the endpoint that told them.
#[derive(Debug, Default)]
pub(crate) struct BlockReceipts {
    told: Mutex<HashMap<String, Arc<Told>>>,
    lacking: Mutex<HashMap<String, Instant>>,
}

impl BlockReceipts {
    /// The receipts of the newest block as the pinned endpoint has them, when
    /// so many are wanted that its block is about ours; `None` when they are
    /// few, or it does not tell.
    pub async fn newest(&self, context: &Context, rpc: &Rpc, wanted: usize) -> Option<ByHash> {
        let newest = context.blocks.newest()?;
        let is_ours = is_ours(wanted, context.wallets.names().len(), newest.transactions);
        let host = rpc.host().filter(|_| is_ours)?;
        self.told_of(rpc, host, &newest.header.hash, newest.header.number).await
    }

    /// The receipts of a block as this endpoint has them.
    async fn told_of(&self, rpc: &Rpc, host: &str, block_hash: &str, number: u64) -> Option<ByHash> {
        if self.lacking.lock().get(host).is_some_and(|until| Instant::now() < *until) {
            return None;
        }
        let told = self.of(host, block_hash);
        let receipts = told.receipts.get_or_init(|| self.ask(rpc, host, number));
        receipts.await.clone()
    }

    /// The place of an endpoint's answer about a block.
    fn of(&self, host: &str, block_hash: &str) -> Arc<Told> {
        let mut all = self.told.lock();
        if let Some(told) = all.get(host).filter(|told| told.block_hash == block_hash) {
            return Arc::clone(told);
        }
        let told = Arc::new(Told { block_hash: block_hash.to_owned(), receipts: OnceCell::new() });
        all.insert(host.to_owned(), Arc::clone(&told));
        told
    }

    async fn ask(&self, rpc: &Rpc, host: &str, number: u64) -> Option<ByHash> {
        match rpc.call::<Option<Vec<Receipt>>>(Call::block_receipts(At::Number(number))).await {
            Ok(receipts) => {
                let by_hash = receipts?.into_iter().map(|receipt| (receipt.transaction_hash.to_lowercase(), receipt));
                Some(Arc::new(by_hash.collect()))
            }
            Err(CallError::Node { .. }) => {
                self.lacking.lock().insert(host.to_owned(), Instant::now() + LACKING);
                None
            }
            Err(CallError::Transport { .. } | CallError::NoEndpoint | CallError::OneWitness { .. }) => None,
        }
    }
}

/// Pure: returns whether the transactions of a block are ours for the most part,
/// when each of these gas wallets has about as many in it as one look wants.
fn is_ours(wanted: usize, wallets: usize, transactions: usize) -> bool {
    wanted >= WANTED_MIN && wanted.saturating_mul(wallets).saturating_mul(2) >= transactions
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use serde_json::{Value, json};

    use super::*;
    use crate::fake_node::{self, FakeNode, Say};

    #[test]
    fn the_whole_block_is_asked_for_when_about_half_of_it_is_ours() {
        // Transactions that a look wants, gas wallets, transactions of the block.
        let cases = [
            ((16, 1, 16), true),
            ((16, 1, 32), true),
            ((16, 1, 33), false),
            ((5, 8, 40), true),
            ((5, 8, 200), false),
            ((3, 8, 3), false),
            ((usize::MAX, 8, usize::MAX), true),
        ];
        for ((wanted, wallets, transactions), expected) in cases {
            assert_eq!(is_ours(wanted, wallets, transactions), expected, "{wanted} {wallets} {transactions}");
        }
    }

    fn receipt(hash: &str) -> Value {
        json!({
            "transactionHash": hash, "blockNumber": "0x10", "blockHash": "0xb10c", "status": "0x1", "gasUsed": "0x1",
        })
    }

    #[tokio::test]
    async fn looks_at_one_block_share_an_answer_and_an_endpoint_without_the_method_is_asked_once() {
        let cases = [
            ("it has them", Say::Result(json!([receipt("0xAB")])), Some(1), 1),
            ("it has not got the block", Say::Result(Value::Null), None, 1),
            ("it has not got the method", Say::Error(-32601, "the method is not available"), None, 1),
        ];
        for (name, say, expected, questions) in cases {
            let asked = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&asked);
            let node = FakeNode::start(move |method, _| match method {
                "eth_getBlockReceipts" => {
                    counter.fetch_add(1, Relaxed);
                    say.clone()
                }
                _ => Say::Result(Value::Null),
            });
            let context = fake_node::context(&node.await);
            let receipts = BlockReceipts::default();
            let rpc = context.rpc.pinned(&context.rpc.endpoints()[0]);
            let look = async |block: &str| {
                let told = receipts.told_of(&rpc, "host", block, 16).await;
                told.map(|by_hash| by_hash.keys().filter(|hash| *hash == "0xab").count())
            };
            let (one, other) = futures::join!(look("0xb10c"), look("0xb10c"));
            assert_eq!([one, other, look("0xb10c").await], [expected; 3], "{name}");
            assert_eq!(asked.load(Relaxed), questions, "{name}");
            look("0xa407").await;
            let again = usize::from(!name.ends_with("method"));
            assert_eq!(asked.load(Relaxed), questions + again, "{name}: another block");
        }
    }
}
