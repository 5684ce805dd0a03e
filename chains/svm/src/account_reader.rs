//! Reads token accounts for many payments in one request.
//!
//! Those who want to read wait in a row, and one of them at a time gathers: it
//! asks for as many as fit into a request, all in one block. While nothing is
//! under way it asks at once, else when the request is full or others have had
//! a moment to join. A question that is given up half way is asked again by
//! those who waited for it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures::join;
use parking_lot::Mutex;
use solana_sdk::{account::Account, pubkey::Pubkey, signature::Signature};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, oneshot},
    task::yield_now,
    time::sleep,
};

use crate::rpc::{Rpc, error::CallError};

/// Accounts in one `getMultipleAccounts`: what nodes allow.
const ACCOUNTS_MAX: usize = 100;

/// Payments whose accounts fit into one request, whatever they are.
const PAYMENTS_MIN: usize = 33;

/// Requests at a time.
const REQUESTS_MAX: usize = 16;

/// The moment for which others may join while a request is under way.
const GATHER: Duration = Duration::from_millis(1);

/// The accounts of one payment: that which is paid, that which pays, and that
/// of whoever moves the tokens.
pub type Parties = [Pubkey; 3];

/// A payment's accounts as one block has them; `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The block's slot.
    pub slot: u64,
    /// The accounts in their order.
    pub accounts: [Option<Account>; 3],
    /// True when the transaction of the payment has been executed, by whomever.
    pub is_executed: bool,
}

type Answer = Result<Snapshot, CallError>;

struct Waiting {
    number: u64,
    parties: Parties,
    signature: Option<Signature>,
    answer: oneshot::Sender<Answer>,
}

/// Those who wait, in their order.
#[derive(Default)]
struct Row {
    /// The number of those who have ever joined it.
    joined: u64,
    waiting: Vec<Waiting>,
}

/// Those who share a request, and their addresses, each once.
struct Gathered<'a> {
    asked: Vec<Waiting>,
    addresses: Vec<Pubkey>,
    /// Held until the answer is there; places are never closed.
    _place: Option<SemaphorePermit<'a>>,
}

/// The row of those who want to read.
pub struct AccountReader {
    row: Mutex<Row>,
    /// The row fills a request.
    full: Notify,
    /// Held by the one who gathers.
    gathering: tokio::sync::Mutex<()>,
    places: Semaphore,
}

impl std::fmt::Debug for AccountReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountReader").field("waiting", &self.row.lock().waiting.len()).finish_non_exhaustive()
    }
}

impl Default for AccountReader {
    fn default() -> Self {
        let (full, gathering) = (Notify::new(), tokio::sync::Mutex::default());
        Self { row: Mutex::default(), full, gathering, places: Semaphore::new(REQUESTS_MAX) }
    }
}

impl AccountReader {
    /// Reads the accounts of one payment, and whether a transaction with the
    /// signature has been executed, where there is one.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn read(&self, rpc: &Rpc, parties: Parties, signature: Option<Signature>) -> Answer {
        loop {
            let (number, mut told) = self.join(parties, signature);
            let answer = loop {
                tokio::select! {
                    biased;
                    answer = &mut told => break answer,
                    gathered = self.gather(number) => match gathered {
                        Some(gathered) => Self::ask(rpc, gathered).await,
                        None => break told.await,
                    }
                }
            };
            if let Ok(answer) = answer {
                return answer;
            }
        }
    }

    /// Joins the row; the number in it, and the answer to come.
    fn join(&self, parties: Parties, signature: Option<Signature>) -> (u64, oneshot::Receiver<Answer>) {
        let (answer, told) = oneshot::channel();
        let mut row = self.row.lock();
        let number = row.joined;
        row.joined += 1;
        row.waiting.push(Waiting { number, parties, signature, answer });
        if row.waiting.len() >= PAYMENTS_MIN {
            self.full.notify_one();
        }
        (number, told)
    }

    /// Waits for a place and for the moment to ask for those in the row; `None`
    /// for one who is asked for already.
    async fn gather(&self, number: u64) -> Option<Gathered<'_>> {
        let _gathering = self.gathering.lock().await;
        self.row.lock().waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()?;
        let is_alone = self.places.available_permits() == REQUESTS_MAX;
        let place = self.places.acquire().await;
        if !is_alone && self.row.lock().waiting.len() < PAYMENTS_MIN {
            tokio::select! {
                () = self.full.notified() => {}
                () = sleep(GATHER) => {}
            }
        }
        // Those who come at the same time as this one join its request.
        yield_now().await;
        let (asked, addresses) = self.take();
        Some(Gathered { asked, addresses, _place: place.ok() })
    }

    /// Asks for those who were gathered.
    async fn ask(rpc: &Rpc, Gathered { asked, addresses, _place }: Gathered<'_>) {
        let signatures: Vec<Signature> = asked.iter().filter_map(|waiting| waiting.signature).collect();
        let answer =
            match join!(rpc.read(|client| client.get_multiple_accounts(&addresses)), executed(rpc, &signatures)) {
                (Ok(read), Ok(executed)) => Ok((read.context.slot, read.value, executed)),
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        let by_address: HashMap<Pubkey, usize> = addresses.iter().copied().zip(0..).collect();
        for Waiting { parties, signature, answer: waiter, .. } in asked {
            let snapshot = answer.as_ref().map_err(Clone::clone).map(|(slot, accounts, executed)| {
                let account =
                    |address: &Pubkey| by_address.get(address).and_then(|at| accounts.get(*at)).cloned().flatten();
                let is_executed = signature.is_some_and(|signature| executed.contains(&signature));
                Snapshot { slot: *slot, accounts: parties.each_ref().map(account), is_executed }
            });
            // Whoever has gone away needs no answer.
            drop(waiter.send(snapshot));
        }
    }

    /// Those who are asked for now, and their addresses, each once.
    fn take(&self) -> (Vec<Waiting>, Vec<Pubkey>) {
        let row = &mut self.row.lock().waiting;
        row.retain(|waiting| !waiting.answer.is_closed());
        let mut addresses: Vec<Pubkey> = Vec::with_capacity(ACCOUNTS_MAX);
        let mut count = 0;
        for Waiting { parties, .. } in row.iter() {
            let new: Vec<Pubkey> = parties.iter().filter(|address| !addresses.contains(address)).copied().collect();
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
        let payments: Vec<Parties> = (0..200).map(|n| [address(9, 9), address(n, 1), address(n, 2)]).collect();
        let answers = join_all(payments.iter().map(|parties| reader.read(&rpc, *parties, None))).await;
        for (parties, answer) in payments.iter().zip(answers) {
            let snapshot = answer.expect("read");
            let lamports = snapshot.accounts.map(|account| account.map_or(0, |account| account.lamports));
            let own = u64::from(parties[1].as_ref()[0]);
            assert_eq!((snapshot.slot, lamports), (7, [9, own, own]));
        }
        let sizes = sizes.lock();
        assert!(sizes.len() <= 8 && sizes.iter().all(|size| *size <= ACCOUNTS_MAX), "{sizes:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_come_while_a_request_is_under_way_share_the_next_one() {
        let sizes: Arc<Mutex<Vec<usize>>> = Arc::default();
        let told = Arc::clone(&sizes);
        let node = FakeNode::new(move |_, params| {
            let count = params[0].as_array().map_or(0, Vec::len);
            told.lock().push(count);
            if told.lock().len() == 1 { Say::Hang } else { at(7, &json!(vec![Value::Null; count])) }
        });
        let (rpc, reader) = (fake_node::rpc(&[&node]), AccountReader::default());
        let read = |n: u8| reader.read(&rpc, [address(n, 1), address(n, 2), address(n, 3)], None);
        let mut first = Box::pin(read(1));
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut first).is_pending());
        let began = tokio::time::Instant::now();
        let answers = join_all((2..12).map(read)).await;
        assert!(answers.iter().all(Result::is_ok) && began.elapsed() <= 2 * GATHER);
        assert_eq!(*sizes.lock(), [3, 30]);
        // A full request waits for nobody.
        let before = tokio::time::Instant::now();
        assert!(join_all((2..35).map(read)).await.iter().all(Result::is_ok));
        assert_eq!((sizes.lock().len(), before.elapsed()), (3, Duration::ZERO));
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_takes_nobody_with_it() {
        let hang = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let hangs = Arc::clone(&hang);
        let node = FakeNode::new(move |_, _| {
            if hangs.load(std::sync::atomic::Ordering::Relaxed) {
                return Say::Hang;
            }
            at(7, &json!([null, null, null]))
        });
        let (rpc, reader) = (fake_node::rpc(&[&node]), AccountReader::default());
        let parties = [address(1, 1), address(2, 2), address(3, 3)];
        // The first one asks for both, and gives up.
        let mut first = Box::pin(reader.read(&rpc, parties, None));
        let mut second = Box::pin(reader.read(&rpc, parties, None));
        for _ in 0..2 {
            assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        }
        drop(first);
        hang.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(second.await.expect("read").accounts, [None, None, None]);
    }

    #[tokio::test]
    async fn a_node_that_fails_fails_everybody_who_waited_for_it() {
        let node = FakeNode::new(|_, _| Say::Error(-32005, "Node is behind"));
        let (rpc, reader) = (fake_node::rpc(&[&node]), AccountReader::default());
        let parties = [address(1, 1), address(2, 2), address(3, 3)];
        let answers = join_all((0..3).map(|_| reader.read(&rpc, parties, None))).await;
        assert!(answers.iter().all(Result::is_err));
    }
}
