//! Gives transactions that wait another attempt: a dearer one, or one that only
//! uses the nonce up. Stored first, sent then, like any other bytes.

use std::sync::Arc;

use chains_core::{
    Amount,
    chain::{ChainUnavailable, QuoteError, SignError},
    observation::{Block, Effect},
    transaction::{Plan, Purpose},
};

use super::{
    Worker,
    begin::{Renewed, STORE_RETRY},
    outbox::Outgoing,
    tracked::Tracked,
};
use crate::{
    metrics::{self, Replaced},
    settlement::{Attempt, AttemptKind, Transaction, TransactionId, TransactionState},
    store::{ApplyError, Change, StoreError},
    submitter::{
        context::Context,
        decide::{
            self,
            replacement::{Bid, Replacement, Waiting},
        },
    },
};

/// The reason why a transaction has no other attempt now.
#[derive(Debug, thiserror::Error)]
enum Hindrance {
    #[error(transparent)]
    Quote(#[from] QuoteError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Store(#[from] ApplyError),
    #[error("the gas wallet cannot pay for it")]
    Unfunded,
    #[error("settlements that it carries have left the store since, and are not known here")]
    Incomplete,
}

/// A signed attempt that is to be stored for a transaction.
type Signed = (TransactionId, Attempt);

impl Worker {
    /// Gives another attempt to those that wait at too low a price, or for
    /// nothing. Called with every block.
    pub(super) async fn replace_what_waits(&mut self, block: &Block) {
        if self.status.retired || self.status.state().closed.is_some() || !self.holding.may_begin() {
            return;
        }
        self.note_what_is_over(block);
        let waiting: Vec<_> = self
            .tracked
            .in_line()
            .into_iter()
            .filter(|tracked| !tracked.may_be_in(block))
            .map(|tracked| (tracked.transaction.id, self.waiting(tracked, block.number)))
            .collect();
        self.ask_for_authorizations(&waiting);
        let states: Vec<_> = waiting.iter().map(|(_, waiting)| *waiting).collect();
        let wanted = decide::replacement::replacements(&states, self.parameters.bump_after);
        let (mut signed, mut need) = (vec![], self.tracked.need());
        for (place, replacement) in wanted {
            let Some((id, _)) = waiting.get(place) else { continue };
            let Some(tracked) = self.tracked.get(*id) else { continue };
            match self.sign_replacement(tracked, replacement, need) {
                Ok(attempt) => {
                    need = need_with(need, tracked, &attempt);
                    signed.push((*id, attempt));
                }
                Err(hindrance) => {
                    let transaction = &tracked.transaction.newest().hash;
                    tracing::debug!(transaction, %hindrance, "a transaction that waits is only sent again");
                }
            }
        }
        self.store_attempts(signed, block.number).await;
    }

    /// Notes what no later block can execute: both the chain's clock and this
    /// machine's say so, as one block's time may be wrong by a little.
    fn note_what_is_over(&mut self, block: &Block) {
        let now = self.context.now().seconds();
        let time = if mistake!(OwnClockDecides) { now } else { block.timestamp.min(now) };
        for tracked in self.tracked.iter_mut() {
            tracked.price.is_over |= tracked.is_over_at(time);
        }
    }

    /// The state of a transaction as the rules see it.
    fn waiting(&self, tracked: &Tracked, block: u64) -> Waiting {
        let newest = tracked.transaction.attempts.last().map_or(AttemptKind::First, |attempt| attempt.kind);
        let chain = &self.context.chain;
        let pays = |plan| chain.cancel_pays(plan, &tracked.fees());
        let is_void = tracked.price.is_void(block, self.parameters.bump_after);
        Waiting {
            newest,
            age: block.saturating_sub(tracked.attempt_block),
            bid: self.bid(tracked),
            is_void,
            cancel_pays: is_void && tracked.items.iter().all(|item| pays(&item.plan)),
        }
    }

    /// The price that a transaction offers, beside that of the next block.
    pub(super) fn bid(&self, tracked: &Tracked) -> Bid {
        match (tracked.price.refused, self.context.chain.is_enough(&tracked.transaction.newest().fee)) {
            (true, _) => Bid::Refused,
            (false, false) => Bid::Low,
            (false, true) => Bid::Enough,
        }
    }

    /// Asks whether those that wait long have been overtaken, as many as there
    /// is room for, the oldest first.
    fn ask_for_authorizations(&mut self, waiting: &[(TransactionId, Waiting)]) {
        for (id, Waiting { age, .. }) in waiting {
            let is_time = decide::replacement::asks_for_authorization(*age, self.parameters.bump_after);
            if !self.questions.has_room() {
                return;
            }
            if is_time {
                self.ask_for_authorization(*id);
            }
        }
    }

    /// Asks whether one that waits has been overtaken. One that carries several
    /// is void with the last of them only, and is not asked about; nor is one that
    /// is over, or cancelled. One that was overtaken is asked about again: the
    /// chain may have taken that back.
    pub(super) fn ask_for_authorization(&mut self, id: TransactionId) {
        if !self.questions.has_room() {
            return;
        }
        let may_ask = |tracked: &&mut Tracked| {
            let cancelled =
                tracked.transaction.attempts.last().map(|attempt| attempt.kind) == Some(AttemptKind::Cancel);
            !tracked.price.asking && !tracked.price.is_over && !tracked.nonce_used && !cancelled
        };
        if let Some(tracked) = self.tracked.get_mut(id).filter(may_ask)
            && let ([item], true) = (tracked.items.as_slice(), tracked.is_complete())
        {
            tracked.price.asking = true;
            self.questions.authorization(id, item.plan.clone(), item.entry.facts.claimed_block);
        }
    }

    /// Heeds what became of the authorization of a transaction that waits.
    pub(super) fn heed_authorization(&mut self, id: TransactionId, answer: Result<Effect, ChainUnavailable>) {
        let Some(tracked) = self.tracked.get_mut(id) else { return };
        tracked.price.asking = false;
        let attempts: Vec<_> =
            tracked.transaction.attempts.iter().map(|attempt| attempt.signed.hash.as_str()).collect();
        let is_proven = answer.is_ok_and(|effect| decide::replacement::is_void(&effect, &attempts));
        tracked.price.overtaken = is_proven.then(|| self.context.status.block_number());
    }

    /// The purpose of a transaction, and the fee that it must offer now.
    pub(super) fn quote_again(&self, tracked: &Tracked, replacement: Replacement) -> Result<(), QuoteError> {
        let plans = plans(tracked);
        self.context.chain.quote_replacement(purpose(replacement, &plans), &tracked.fees()).map(|_| ())
    }

    fn sign_replacement(
        &self,
        tracked: &Tracked,
        replacement: Replacement,
        need: Amount,
    ) -> Result<Attempt, Hindrance> {
        match self.sign_attempt(tracked, replacement, need) {
            // It could no longer be included in time: nothing else helps those that wait behind it.
            Err(Hindrance::Sign(SignError::Void(_))) if replacement == Replacement::Bump => {
                self.sign_attempt(tracked, Replacement::Cancel, need)
            }
            signed => signed,
        }
    }

    fn sign_attempt(&self, tracked: &Tracked, replacement: Replacement, need: Amount) -> Result<Attempt, Hindrance> {
        // Other calls in its place would take from those what they were promised.
        if !tracked.is_complete() {
            return Err(Hindrance::Incomplete);
        }
        let (chain, plans) = (&self.context.chain, plans(tracked));
        let purpose = purpose(replacement, &plans);
        let fee = chain.quote_replacement(purpose, &tracked.fees())?;
        let more = fee.amount_max.checked_sub(tracked.need()).unwrap_or(Amount::ZERO);
        if !self.upkeep.can_pay(need, more) {
            return Err(Hindrance::Unfunded);
        }
        let signed = chain.sign(&self.status.wallet, tracked.transaction.nonce, purpose, &fee)?;
        let kind = match replacement {
            Replacement::Bump => AttemptKind::Bump,
            Replacement::Cancel => AttemptKind::Cancel,
        };
        Ok(Attempt { signed, kind, created_at: self.context.now(), inclusion: None })
    }

    /// Stores attempts in one commit, then sends them.
    async fn store_attempts(&mut self, signed: Vec<Signed>, block: u64) {
        if signed.is_empty() {
            return;
        }
        let change = |(id, attempt): &Signed| Change::AddAttempt { transaction: *id, attempt: attempt.clone() };
        let stored = match self.store(signed.iter().map(change).collect()).await {
            Ok(_) => signed,
            Err(ApplyError::EpochOver) => return,
            Err(error @ (ApplyError::Store(_) | ApplyError::Claimed(_))) => {
                tracing::error!(%error, wallet = self.status.wallet, "attempts could not be stored; the store is asked which it holds");
                if self.renew_epoch().await != Renewed::Ours {
                    return;
                }
                stored_of(&self.context, &self.status.wallet, signed).await
            }
        };
        for (id, attempt) in stored {
            self.take_up_attempt(id, attempt, block);
        }
    }

    /// Uses up nonces that nothing else will: those after them wait for it.
    pub(super) async fn use_up(&mut self, nonces: Vec<u64>) {
        if self.status.retired || self.status.state().closed.is_some() || !self.holding.may_begin() {
            return;
        }
        for nonce in nonces {
            if let Err(error) = self.use_up_one(nonce).await {
                tracing::error!(%error, nonce, wallet = self.status.wallet, "an empty nonce could not be filled; it is tried again");
                return;
            }
        }
    }

    async fn use_up_one(&mut self, nonce: u64) -> Result<(), Hindrance> {
        let (context, wallet, now) = (Arc::clone(&self.context), self.status.wallet.clone(), self.context.now());
        let fee = context.chain.quote(Purpose::Cancel)?;
        if !self.upkeep.can_pay(self.tracked.need(), fee.amount_max) {
            return Err(Hindrance::Unfunded);
        }
        let signed = context.chain.sign(&wallet, Some(nonce), Purpose::Cancel, &fee)?;
        let transaction = Transaction {
            id: TransactionId::fresh(),
            gas_wallet: wallet,
            nonce: Some(nonce),
            epoch: self.holding.fence().epoch,
            items: vec![],
            attempts: vec![Attempt { signed, kind: AttemptKind::Cancel, created_at: now, inclusion: None }],
            state: TransactionState::Open,
            created_at: now,
        };
        let network = context.network().clone();
        let change = Change::UseNonce { network: network.clone(), transaction: transaction.clone() };
        // Of unknown outcome: the next look at the gap finds what is stored, and sends it.
        self.store(vec![change]).await?;
        metrics::replaced(&network, Replaced::Gap);
        self.outbox.push(Outgoing::from(&transaction));
        self.tracked.insert(Tracked::new(transaction, vec![], context.status.block_number()));
        Ok(())
    }

    /// The bytes are durable: they are sent.
    fn take_up_attempt(&mut self, id: TransactionId, attempt: Attempt, block: u64) {
        let (hash, kind) = (attempt.signed.hash.clone(), attempt.kind);
        let Some(tracked) = self.tracked.add_attempt(id, attempt, block) else { return };
        let replaced = match kind {
            AttemptKind::Cancel => Replaced::Cancel,
            AttemptKind::First | AttemptKind::Bump => {
                tracked.items.iter().for_each(|item| item.entry.bumped(&hash));
                Replaced::Bump
            }
        };
        let outgoing = Outgoing::from(&tracked.transaction);
        tracing::warn!(
            wallet = self.status.wallet,
            nonce = tracked.transaction.nonce,
            transaction = hash,
            kind = kind.as_str(),
            attempts = tracked.transaction.attempts.len(),
            fee = tracked.transaction.newest().fee.terms,
            "a transaction waited too long at its price, or for nothing: another takes its place"
        );
        metrics::replaced(self.context.network(), replaced);
        self.outbox.push(outgoing);
    }
}

/// Of attempts whose commit has an unknown outcome, those that the store holds.
async fn stored_of(context: &Context, wallet: &str, signed: Vec<Signed>) -> Vec<Signed> {
    let mut stored = vec![];
    for (id, attempt) in signed {
        let Some(nonce) = attempt.signed.nonce else { continue };
        let found = loop {
            let nonces = nonce..nonce.saturating_add(1);
            match context.store.transactions_at(context.network(), wallet, nonces).await {
                Ok(found) => break found,
                Err(StoreError::Closed) => return vec![],
                Err(_) => tokio::time::sleep(STORE_RETRY).await,
            }
        };
        let holds = |transaction: &Transaction| {
            transaction.attempts.iter().any(|stored| stored.signed.hash == attempt.signed.hash)
        };
        if found.iter().any(holds) {
            stored.push((id, attempt));
        }
    }
    stored
}

/// The most that all transactions may take out of the wallet once this attempt is one of them.
fn need_with(need: Amount, tracked: &Tracked, attempt: &Attempt) -> Amount {
    let more = attempt.signed.fee.amount_max.checked_sub(tracked.need()).unwrap_or(Amount::ZERO);
    need.checked_add(more).unwrap_or(Amount::MAX)
}

fn plans(tracked: &Tracked) -> Vec<Plan> {
    tracked.items.iter().map(|item| item.plan.clone()).collect()
}

/// One that carries nothing has nothing to raise but its price.
const fn purpose(replacement: Replacement, plans: &[Plan]) -> Purpose<'_> {
    match replacement {
        Replacement::Bump if !plans.is_empty() => Purpose::Steps(plans),
        Replacement::Bump | Replacement::Cancel => Purpose::Cancel,
    }
}
