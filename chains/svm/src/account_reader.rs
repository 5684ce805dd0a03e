//! Reads token accounts for many payments in one request.
//!
//! Whoever wants to read waits in a row; whoever gets one of the few places
//! asks for as many of those who wait as fit into a request, all in one block.
//! A question that is given up half way is asked again by those who waited for it.

use std::collections::{HashMap, HashSet};

use futures::join;
use parking_lot::Mutex;
use solana_sdk::{account::Account, pubkey::Pubkey, signature::Signature};
use tokio::{
    sync::{Semaphore, oneshot},
    task::yield_now,
};

use crate::rpc::{Rpc, error::CallError};

/// Accounts in one `getMultipleAccounts`: what nodes allow.
const ACCOUNTS_MAX: usize = 100;

/// Requests at a time: while they are under way, the next ones fill.
const REQUESTS_MAX: usize = 4;

/// The accounts of one payment: that which is paid, and that which pays.
pub type Pair = [Pubkey; 2];

/// Two accounts as one block has them; `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The block's slot.
    pub slot: u64,
    /// The accounts in their order.
    pub accounts: [Option<Account>; 2],
    /// True when the transaction of the payment has been executed, by whomever.
    pub is_executed: bool,
}

type Answer = Result<Snapshot, CallError>;

struct Waiting {
    pair: Pair,
    signature: Option<Signature>,
    answer: oneshot::Sender<Answer>,
}

/// The row of those who want to read.
pub struct AccountReader {
    row: Mutex<Vec<Waiting>>,
    places: Semaphore,
}

impl std::fmt::Debug for AccountReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountReader").field("waiting", &self.row.lock().len()).finish_non_exhaustive()
    }
}

impl Default for AccountReader {
    fn default() -> Self {
        Self { row: Mutex::default(), places: Semaphore::new(REQUESTS_MAX) }
    }
}

impl AccountReader {
    /// Reads the accounts of one payment, and whether a transaction with the
    /// signature has been executed, where there is one.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn read(&self, rpc: &Rpc, pair: Pair, signature: Option<Signature>) -> Answer {
        loop {
            let (answer, mut told) = oneshot::channel();
            self.row.lock().push(Waiting { pair, signature, answer });
            tokio::select! {
                biased;
                told = &mut told => if let Ok(answer) = told { return answer },
                place = self.places.acquire() => {
                    self.ask(rpc).await;
                    drop(place);
                    if let Ok(answer) = told.await {
                        return answer;
                    }
                }
            }
        }
    }

    /// Asks for those who wait, as many as fit.
    async fn ask(&self, rpc: &Rpc) {
        // Those who come at the same time as this one join its request.
        yield_now().await;
        let (asked, addresses) = self.take();
        if asked.is_empty() {
            return;
        }
        let signatures: Vec<Signature> = asked.iter().filter_map(|waiting| waiting.signature).collect();
        let answer =
            match join!(rpc.read(|client| client.get_multiple_accounts(&addresses)), executed(rpc, &signatures)) {
                (Ok(read), Ok(executed)) => Ok((read.context.slot, read.value, executed)),
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        let by_address: HashMap<Pubkey, usize> = addresses.iter().copied().zip(0..).collect();
        for Waiting { pair, signature, answer: waiter } in asked {
            let snapshot = answer.as_ref().map_err(Clone::clone).map(|(slot, accounts, executed)| {
                let account =
                    |address: &Pubkey| by_address.get(address).and_then(|at| accounts.get(*at)).cloned().flatten();
                let is_executed = signature.is_some_and(|signature| executed.contains(&signature));
                Snapshot { slot: *slot, accounts: [account(&pair[0]), account(&pair[1])], is_executed }
            });
            // Whoever has gone away needs no answer.
            drop(waiter.send(snapshot));
        }
    }

    /// Those who are asked for now, and their addresses, each once.
    fn take(&self) -> (Vec<Waiting>, Vec<Pubkey>) {
        let mut row = self.row.lock();
        row.retain(|waiting| !waiting.answer.is_closed());
        let mut addresses: Vec<Pubkey> = Vec::with_capacity(ACCOUNTS_MAX);
        let mut count = 0;
        for Waiting { pair, .. } in row.iter() {
            let new: Vec<Pubkey> = pair.iter().filter(|address| !addresses.contains(address)).copied().collect();
            if addresses.len() + new.len() > ACCOUNTS_MAX {
                break;
            }
            addresses.extend(new);
            count += 1;
        }
        (row.drain(..count).collect(), addresses)
    }
}

/// Those of the signatures whose transactions are in a block, of any commitment.
async fn executed(rpc: &Rpc, signatures: &[Signature]) -> Result<HashSet<Signature>, CallError> {
    if signatures.is_empty() {
        return Ok(HashSet::new());
    }
    let answer = rpc.read(|client| client.get_signature_statuses(signatures)).await?;
    let found = signatures.iter().zip(answer.value).filter(|(_, status)| status.is_some());
    Ok(found.map(|(signature, _)| *signature).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::join_all;
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_node::{self, FakeNode, Say, at};

    /// A node whose accounts hold as many lamports as the first byte of their address says.
    fn node(sizes: &Arc<Mutex<Vec<usize>>>) -> FakeNode {
        let sizes = Arc::clone(sizes);
        FakeNode::new(move |_, params| {
            let addresses: Vec<Pubkey> = serde_json::from_value::<Vec<String>>(params[0].clone())
                .expect("addresses")
                .iter()
                .map(|address| address.parse().expect("an address"))
                .collect();
            sizes.lock().push(addresses.len());
            let account = |address: &Pubkey| match address.as_ref()[0] {
                0 => Value::Null,
                lamports => json!({"lamports": lamports, "data": ["", "base64"], "executable": false,
                    "owner": Pubkey::default().to_string(), "rentEpoch": 0, "space": 0}),
            };
            at(7, &json!(addresses.iter().map(account).collect::<Vec<_>>()))
        })
    }

    fn address(first: u8, second: u8) -> Pubkey {
        let mut bytes = [0; 32];
        (bytes[0], bytes[1]) = (first, second);
        Pubkey::new_from_array(bytes)
    }

    #[tokio::test]
    async fn many_payments_share_a_request_and_each_gets_its_own_accounts() {
        let sizes: Arc<Mutex<Vec<usize>>> = Arc::default();
        let node = node(&sizes);
        let (rpc, reader) = (fake_node::rpc(&[&node]), AccountReader::default());
        let payments: Vec<Pair> = (0..200).map(|n| [address(9, 9), address(n, 1)]).collect();
        let answers = join_all(payments.iter().map(|pair| reader.read(&rpc, *pair, None))).await;
        for (pair, answer) in payments.iter().zip(answers) {
            let snapshot = answer.expect("read");
            let lamports = snapshot.accounts.map(|account| account.map_or(0, |account| account.lamports));
            assert_eq!((snapshot.slot, lamports), (7, [9, u64::from(pair[1].as_ref()[0])]));
        }
        let sizes = sizes.lock();
        assert!(sizes.len() <= 6 && sizes.iter().all(|size| *size <= ACCOUNTS_MAX), "{sizes:?}");
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_takes_nobody_with_it() {
        let hang = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let hangs = Arc::clone(&hang);
        let node = FakeNode::new(move |_, _| {
            if hangs.load(std::sync::atomic::Ordering::Relaxed) {
                return Say::Hang;
            }
            at(7, &json!([null, null]))
        });
        let (rpc, reader) = (fake_node::rpc(&[&node]), AccountReader::default());
        let pair = [address(1, 1), address(2, 2)];
        // The first one asks for both, and gives up.
        let mut first = Box::pin(reader.read(&rpc, pair, None));
        let mut second = Box::pin(reader.read(&rpc, pair, None));
        for _ in 0..2 {
            assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        }
        drop(first);
        hang.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(second.await.expect("read").accounts, [None, None]);
    }

    #[tokio::test]
    async fn a_node_that_fails_fails_everybody_who_waited_for_it() {
        let node = FakeNode::new(|_, _| Say::Error(-32005, "Node is behind"));
        let (rpc, reader) = (fake_node::rpc(&[&node]), AccountReader::default());
        let pair = [address(1, 1), address(2, 2)];
        let answers = join_all((0..3).map(|_| reader.read(&rpc, pair, None))).await;
        assert!(answers.iter().all(Result::is_err));
    }
}
