//! Sends bytes that the store holds, and nothing else. Where transactions have
//! nonces: one send at a time and in order, so that lower ones arrive first.

use std::{collections::VecDeque, sync::Arc};

use chains_core::transaction::{BroadcastResult, SignedTransaction};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};

use super::super::context::Context;
use crate::{
    settlement::{SettlementId, Transaction},
    store::SendNote,
};

/// Transactions in one send: one request to each endpoint.
const SEND_MAX: usize = 64;

/// Sends under way at a time where no nonce asks for an order: an endpoint
/// that hangs holds up none of the others.
const SENDS_MAX: usize = 8;

/// Bytes to send, which the store holds.
#[derive(Clone, Debug)]
pub struct Outgoing {
    settlements: Vec<SettlementId>,
    signed: SignedTransaction,
}

impl From<&Transaction> for Outgoing {
    fn from(transaction: &Transaction) -> Self {
        let settlements = transaction.items.iter().map(|(id, _)| *id).collect();
        Self { settlements, signed: transaction.newest().clone() }
    }
}

/// The answers to one send: hash and answer of each transaction.
pub type Sent = Vec<(String, BroadcastResult)>;

/// The sends of one gas wallet.
pub struct Outbox {
    context: Arc<Context>,
    waiting: VecDeque<Outgoing>,
    under_way: FuturesUnordered<BoxFuture<'static, Sent>>,
    ordered: bool,
}

impl Outbox {
    /// Nothing to send. `ordered`: transactions have nonces.
    pub fn new(context: Arc<Context>, ordered: bool) -> Self {
        Self { context, waiting: VecDeque::new(), under_way: FuturesUnordered::new(), ordered }
    }

    /// Sends when it is its turn. One that waits for its turn is not added twice.
    pub fn push(&mut self, outgoing: Outgoing) {
        if self.waiting.iter().all(|waiting| waiting.signed.hash != outgoing.signed.hash) {
            self.waiting.push_back(outgoing);
        }
        self.start();
    }

    /// The answers to the next send that ends; never returns when none is under way.
    pub async fn next(&mut self) -> Sent {
        let sent = match self.under_way.next().await {
            Some(sent) => sent,
            None => std::future::pending().await,
        };
        self.start();
        sent
    }

    fn start(&mut self) {
        let sends_max = if self.ordered { 1 } else { SENDS_MAX };
        while self.under_way.len() < sends_max && !self.waiting.is_empty() {
            let group: Vec<_> = self.waiting.drain(..self.waiting.len().min(SEND_MAX)).collect();
            self.under_way.push(send(Arc::clone(&self.context), group).boxed());
        }
    }
}

async fn send(context: Arc<Context>, group: Vec<Outgoing>) -> Sent {
    let transactions: Vec<_> = group.iter().map(|outgoing| outgoing.signed.clone()).collect();
    let answers = context.chain.broadcast(&transactions).await;
    let at = context.now();
    let (mut notes, mut sent) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
    for (Outgoing { settlements, signed }, answer) in group.into_iter().zip(answers) {
        let (hash, detail) = (signed.hash.clone(), answer.detail().to_owned());
        notes.push(SendNote { settlements, hash, answer: answer.word(), detail, at });
        sent.push((signed.hash, answer));
    }
    context.store.note_sent(notes);
    sent
}
