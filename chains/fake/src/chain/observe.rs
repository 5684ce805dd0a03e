use chains_core::{
    Amount, Rejection,
    observation::{Effect, Inclusion, Item, Observation, TransactionView},
    reason,
};

use super::FakeChain;
use crate::{
    action::{Action, GAS, Transfer},
    knobs::Clarity,
    scheme::{EXPIRED, NONCE_USED},
};

/// The reach of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// Receipts alone.
    Receipts,
    /// Everything that there is.
    Everything,
}

impl FakeChain {
    /// Looks for a transaction.
    pub(super) fn look(&self, view: &TransactionView<'_>, search: Search) -> Observation {
        let found = view.attempts.iter().find_map(|attempt| self.world.find(&attempt.hash));
        let history_from = self.world.history_from();
        let Some((block, mined)) = found.filter(|(block, _)| block.number >= history_from) else {
            return self.missing(view, history_from);
        };
        let is_clear = match self.world.clarity() {
            Clarity::AtOnce => true,
            Clarity::ByInvestigation => search == Search::Everything,
            Clarity::Never => false,
        };
        let depth = self.world.height().saturating_sub(block.number).saturating_add(1);
        let effects = (0..view.items.len()).map(|i| match view.items.get(i) {
            Some(item) if is_clear => self.effect(item, mined.done.get(i) == Some(&true)),
            _ => Effect::Unclear("the world does not tell".to_owned()),
        });
        let effects = effects.collect();
        let inclusion = Inclusion {
            confirmed: depth >= self.parameters.confirmations,
            fee_paid: Amount::from(mined.transaction.fee()),
            gas_used: GAS,
            hash: mined.hash,
            block,
        };
        Observation::Included(inclusion, effects)
    }

    /// Returns the observation of a transaction that no block has.
    fn missing(&self, view: &TransactionView<'_>, history_from: u64) -> Observation {
        if view.attempts.iter().any(|attempt| self.world.is_expired(&attempt.hash)) {
            return Observation::Expired(Rejection::new(EXPIRED, "no block included it in time"));
        }
        if view.items.iter().any(|item| item.claimed_block < history_from) {
            let why = format!("the history begins at block {history_from}");
            return Observation::Unknown { nonce_used: self.is_nonce_used(view), why };
        }
        if self.is_nonce_used(view) { Observation::Replaced } else { Observation::Pending }
    }

    fn is_nonce_used(&self, view: &TransactionView<'_>) -> bool {
        let depth = self.parameters.confirmations.saturating_sub(1);
        let nonce = |wallet: &str| self.world.nonce(wallet, depth);
        view.attempts.iter().any(|attempt| attempt.nonce.is_some_and(|own| nonce(&attempt.gas_wallet) > own))
    }

    /// The effect of one step of an included transaction.
    fn effect(&self, item: &Item<'_>, done: bool) -> Effect {
        let action = match Action::of(item.plan) {
            Ok(action) => action,
            Err(error) => return Effect::Unclear(error.to_string()),
        };
        match &*action {
            Action::Approve(transfer) if done => {
                match Action::Transfer(transfer.clone()).plan(item.plan.gas_wallet.clone()) {
                    Ok(next) => Effect::Continues(next),
                    Err(error) => Effect::Unclear(error.to_string()),
                }
            }
            Action::Transfer(_) if done => Effect::Done,
            Action::Approve(transfer) | Action::Transfer(transfer) => self.effect_elsewhere(transfer, item),
        }
    }

    /// The fate of a transfer that our transaction did not make.
    fn effect_elsewhere(&self, transfer: &Transfer, item: &Item<'_>) -> Effect {
        let Transfer { from, nonce, valid_before, .. } = transfer;
        let missing = |code, why: &'static str, executable_until| Effect::Missing {
            why: Rejection::new(code, why),
            executable_until,
        };
        match self.world.executed(from, nonce) {
            Some((block, hash)) if block.number > item.claimed_block => Effect::Elsewhere { hash, block },
            Some(_) => missing(NONCE_USED, "the payment was made before this settlement", None),
            None if self.world.is_used(from, nonce) => missing(NONCE_USED, "the payer cancelled the nonce", None),
            None => missing(reason::INSUFFICIENT_FUNDS, "the payer had too little", *valid_before),
        }
    }
}
