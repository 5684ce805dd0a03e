//! Sends what the store holds. Takes its work from a lane that has stored it,
//! or from the watcher that sends it again; decides nothing.

use std::sync::Arc;

use chains_core::chain::{Broadcast, SignedTransaction};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Submitter, decide, lane::Lane, watcher::ToWatcher};
use crate::settlement::{SettlementId, record::Sent};

/// Transactions in one send: one request to each endpoint.
const SEND_MAX: usize = 64;

/// Bytes to send, which the store holds.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub id: SettlementId,
    pub signed: SignedTransaction,
}

/// Sends under way at a time where no sequence asks for an order: an endpoint
/// that hangs holds up none of the others.
const SENDS_MAX: usize = 8;

/// The sending task of a lane. Where transactions have sequences: one send at
/// a time and in order, so that lower ones arrive first.
pub(super) struct Sender {
    pub submitter: Arc<Submitter>,
    pub lane: Arc<Lane>,
    pub watcher: mpsc::Sender<ToWatcher>,
}

impl Sender {
    /// Sends what comes, until `stop`.
    pub async fn run(self, mut outgoing: mpsc::Receiver<Outgoing>, stop: CancellationToken) {
        let (mut sending, mut ordered, mut group) = (FuturesUnordered::new(), false, Vec::new());
        loop {
            let sends_max = if ordered { 1 } else { SENDS_MAX };
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = sending.next() => {}
                received = outgoing.recv_many(&mut group, SEND_MAX), if sending.len() < sends_max => {
                    if received == 0 {
                        return;
                    }
                    ordered = group.iter().any(|outgoing: &Outgoing| outgoing.signed.sequence.is_some());
                    sending.push(self.send(std::mem::take(&mut group)));
                }
            }
        }
    }

    async fn send(&self, group: Vec<Outgoing>) {
        let transactions: Vec<_> = group.iter().map(|outgoing| outgoing.signed.clone()).collect();
        let answers = self.submitter.deps.chain.broadcast(&transactions).await;
        let at = self.submitter.deps.clock.now();
        let mut notes = Vec::with_capacity(group.len());
        for (Outgoing { id, signed }, answer) in group.iter().zip(answers) {
            let after = decide::after_send(&answer);
            self.report(*id, signed, &answer, after).await;
            let transaction = signed.transaction.clone();
            notes.push(Sent { id: *id, transaction, answer: decide::word(&answer), detail: detail(answer), at });
        }
        self.submitter.deps.store.note_sent(notes);
    }

    async fn report(&self, id: SettlementId, signed: &SignedTransaction, answer: &Broadcast, after: decide::AfterSend) {
        let (settlement, transaction, wallet) = (&id, &signed.transaction, self.lane.wallet());
        match after {
            decide::AfterSend::Watch => return,
            decide::AfterSend::SendAgain | decide::AfterSend::LookNow => {
                tracing::debug!(%settlement, transaction, wallet, ?answer, "sent without a clear answer");
            }
            decide::AfterSend::WalletEmpty => self.lane.set_funded(false),
            decide::AfterSend::Alarm => {
                tracing::error!(
                    %settlement, transaction, wallet, ?answer,
                    "no endpoint takes this transaction; its sequence stays reserved for it and it is sent again \
                     with each block; compare the gas wallet's sequence with the store (`facilitator audit`)"
                );
            }
        }
        // Fails only when the process stops.
        drop(self.watcher.send(ToWatcher::Sent { transaction: signed.transaction.clone(), after }).await);
    }
}

/// An endpoint's text as kept in the timeline, bounded.
fn detail(answer: Broadcast) -> String {
    const DETAIL_MAX: usize = 200;
    match answer {
        Broadcast::Unknown(text) | Broadcast::Refused(text) => text.chars().take(DETAIL_MAX).collect(),
        Broadcast::Accepted
        | Broadcast::SequenceConsumed
        | Broadcast::SequenceGap
        | Broadcast::SequenceTaken
        | Broadcast::Underpriced
        | Broadcast::GasWalletEmpty
        | Broadcast::PoolFull => String::new(),
    }
}
