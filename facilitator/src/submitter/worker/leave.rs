//! The end of a worker: with the service, or because its gas wallet belongs to
//! another owner.

use tokio::sync::mpsc;

use super::{Mail, Worker, sign::Refusal};
use crate::{
    in_flight::{Dropped, Entry, Progress},
    settlement::{NotNow, SettlementId},
    store::{ApplyError, Change},
    submitter::{context::Context, effects::Batch, handed_over::give_back, job::Work},
};

/// The reason why a worker is closed whose wallet belongs to another owner.
const TAKEN: &str = "the gas wallet belongs to another owner now";

impl Worker {
    /// Stores changes in one commit, as long as the wallet is this worker's. A
    /// refusal for want of the wallet ends the worker.
    pub(super) async fn store(&mut self, changes: Vec<Change>) -> Result<Vec<SettlementId>, ApplyError> {
        let stored = self.context.store.apply_under(Some(&self.holding.fence()), changes, self.context.now()).await;
        self.heed_refusal(stored)
    }

    /// The same, and everybody who waits is told.
    pub(super) async fn commit(&mut self, batch: Batch) -> Result<(), ApplyError> {
        let stored = batch.commit(&self.context, Some(&self.holding.fence())).await;
        self.heed_refusal(stored)
    }

    fn heed_refusal<T>(&mut self, stored: Result<T, ApplyError>) -> Result<T, ApplyError> {
        if let Err(ApplyError::EpochOver) = &stored {
            self.lose_wallet();
        }
        stored
    }

    /// Another owner has the wallet: this worker writes and signs nothing more.
    pub(super) fn lose_wallet(&mut self) {
        if std::mem::replace(&mut self.is_lost, true) {
            return;
        }
        let (network, wallet, epoch) = (self.context.network(), &self.status.wallet, self.holding.fence().epoch);
        tracing::error!(%network, wallet, epoch, error = TAKEN, "the worker ends: what is under way is the new owner's");
        self.status.update(|state| state.closed = Some(TAKEN.into()));
    }

    /// Ends after `stop`: gives back what is still queued and not stored;
    /// everything else is in the store.
    pub(super) async fn close(mut self, mail: mpsc::Receiver<Mail>) {
        self.status.update(|state| state.closed = Some("the service is stopping".into()));
        self.take_rest(mail);
        for work in self.queue.drain().into_iter().filter(|work| !work.stored) {
            give_back(&self.context, &work.entry, Dropped::Unavailable(NotNow::Stopping)).await;
        }
    }

    /// Ends while the service goes on: another gas wallet may begin what nothing is
    /// signed for, and whoever waits for the rest asks the store, where the new owner writes.
    pub(super) async fn leave(mut self, mail: mpsc::Receiver<Mail>) {
        self.status.update(|state| state.closed = Some(TAKEN.into()));
        let (network, wallet) = (self.context.network(), &self.status.wallet);
        self.status.set_elsewhere(self.context.ownership.owner_elsewhere(network, wallet));
        self.take_rest(mail);
        let mut works = self.queue.drain();
        works.extend(self.questions.take_works());
        works.extend(std::mem::take(&mut self.untraced).into_iter().map(|(_, work)| work));
        let (stored, fresh): (Vec<Work>, Vec<Work>) = works.into_iter().partition(|work| work.stored);
        for work in fresh {
            self.refuse(work, Refusal::Unavailable(NotNow::GasWalletTaken)).await;
        }
        for work in stored {
            leave_to_store(&self.context, &work.entry).await;
        }
        let carried: Vec<_> = self.tracked.iter_mut().flat_map(|tracked| std::mem::take(&mut tracked.items)).collect();
        for item in carried.into_iter().filter(|item| !item.ended) {
            leave_to_store(&self.context, &item.entry).await;
        }
        self.tracked.clear();
        self.tell_status();
    }

    fn take_rest(&mut self, mut mail: mpsc::Receiver<Mail>) {
        mail.close();
        while let Ok(message) = mail.try_recv() {
            self.on_mail(message);
        }
    }
}

/// The store holds a settlement that is followed here no more.
pub(super) async fn leave_to_store(context: &Context, entry: &Entry) {
    let hash = match entry.progress() {
        Progress::Stored { hash, .. } | Progress::Signing(hash) => hash,
        Progress::Claimed | Progress::Ended(_) | Progress::Dropped(_) => "".into(),
    };
    context.registry.give_back(entry, Dropped::LeftToStore(hash)).await;
}
