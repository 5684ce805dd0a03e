use chains_core::{
    Amount, Rejection,
    chain::ChainUnavailable,
    observation::{Effect, Inclusion, Item, Observation, TransactionView},
    reason,
};
use chains_rpc::Agreement;

use super::FakeChain;
use crate::{
    action::{Action, GAS, Transfer},
    knobs::Clarity,
    nodes::{Node, Sight},
    scheme::{EXPIRED, NONCE_USED},
    world::Mined,
};

/// The reason why a transfer elsewhere does not count yet.
const SHALLOW: &str = "it was executed in a block that is not deep enough";

/// The latest chain time that a store's integers hold.
const FOR_EVER: u64 = i64::MAX.unsigned_abs();

/// Returns whether a transaction in a block did what a step wanted. It may carry others besides.
fn did(mined: &Mined, item: &Item<'_>) -> bool {
    let Ok(action) = Action::of(item.plan) else { return false };
    mined.transaction.actions.iter().zip(&mined.done).any(|(other, done)| *done && *other == *action)
}

/// The reach of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// Receipts alone.
    Receipts,
    /// Everything that there is.
    Everything,
}

impl FakeChain {
    /// Looks for transactions: two nodes that say the same decide.
    pub(super) async fn look(
        &self,
        views: &[TransactionView<'_>],
        search: Search,
    ) -> Result<Vec<Observation>, ChainUnavailable> {
        let ask = async |node: &Node| {
            let sight = node.sight(self.parameters.confirmations)?;
            Ok(views.iter().map(|view| Some(sight.look(view, search))).collect())
        };
        let said = self.nodes.agree_each(views.len(), ask, Observation::clone, |one, _| one).await;
        let said = said.map_err(|error| self.unavailable(&error))?;
        let merge = |said| match said {
            Agreement::Agreed(observation) | Agreement::Alone(observation) => observation,
            Agreement::Disagreed(_) => Observation::unknown("the nodes do not agree"),
        };
        Ok(said.into_iter().map(merge).collect())
    }

    /// The fate of a transfer without any transaction of ours: two nodes that say the same decide.
    pub(super) async fn trace(&self, item: &Item<'_>) -> Result<Effect, ChainUnavailable> {
        let ask = async |node: &Node| Ok(node.sight(self.parameters.confirmations)?.trace(item));
        match self.nodes.agree(ask, Effect::clone).await.map_err(|error| self.unavailable(&error))? {
            Agreement::Agreed(effect) | Agreement::Alone(effect) => Ok(effect),
            Agreement::Disagreed(_) => Ok(Effect::Unclear("the nodes do not agree".to_owned())),
        }
    }
}

impl Sight<'_> {
    fn look(&self, view: &TransactionView<'_>, search: Search) -> Observation {
        let found = self.find(view.attempts);
        let history_from = self.world.history_from();
        let Some((block, mined)) = found.filter(|(block, _)| block.number >= history_from) else {
            return self.missing(view, history_from);
        };
        let is_clear = match self.world.clarity() {
            Clarity::AtOnce => true,
            Clarity::ByInvestigation => search == Search::Everything,
            Clarity::Never => false,
        };
        let effects = (0..view.items.len()).map(|i| match view.items.get(i) {
            Some(item) if is_clear => self.effect(item, did(&mined, item)),
            _ => Effect::Unclear("the world does not tell".to_owned()),
        });
        let effects = effects.collect();
        let inclusion = Inclusion {
            confirmed: block.number <= self.confirmed_height(),
            fee_paid: Amount::from(mined.transaction.fee()),
            gas_used: GAS,
            hash: mined.hash,
            timestamp: None,
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
        let depth = self.confirmations.saturating_sub(1);
        let nonce = |wallet: &str| self.nonce(wallet, depth);
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

    /// The fate of a transfer without any transaction of ours.
    fn trace(&self, item: &Item<'_>) -> Effect {
        let action = match Action::of(item.plan) {
            Ok(action) => action,
            Err(error) => return Effect::Unclear(error.to_string()),
        };
        let Transfer { from, nonce, valid_before, .. } = action.transfer();
        let missing = |code, why: &'static str, executable_until| Effect::Missing {
            why: Rejection::new(code, why),
            executable_until,
        };
        let confirmed = self.confirmed_height();
        let time = self.confirmed_time();
        match self.executed(from, nonce) {
            _ if self.world.clarity() == Clarity::Never => Effect::Unclear("the world does not tell".to_owned()),
            Some((block, _)) if block.number > confirmed => Effect::Unclear(SHALLOW.to_owned()),
            Some((block, hash)) => Effect::Elsewhere { hash, block },
            None if self.is_used(from, nonce) => missing(NONCE_USED, "the payer cancelled the nonce", None),
            None if valid_before.is_some_and(|end| end <= time) => missing(EXPIRED, "it expired", None),
            None => missing(EXPIRED, "it is executed nowhere", Some(valid_before.unwrap_or(FOR_EVER))),
        }
    }

    /// The fate of a transfer that our transaction did not make.
    fn effect_elsewhere(&self, transfer: &Transfer, item: &Item<'_>) -> Effect {
        let Transfer { from, nonce, valid_before, .. } = transfer;
        let missing = |code, why: &'static str, executable_until| Effect::Missing {
            why: Rejection::new(code, why),
            executable_until,
        };
        match self.executed(from, nonce) {
            Some((block, _)) if block.number > self.confirmed_height() => Effect::Unclear(SHALLOW.to_owned()),
            Some((block, hash)) if block.number > item.claimed_block => Effect::Elsewhere { hash, block },
            Some(_) => missing(NONCE_USED, "the payment was made before this settlement", None),
            None if self.is_used(from, nonce) => missing(NONCE_USED, "the payer cancelled the nonce", None),
            None => missing(reason::INSUFFICIENT_FUNDS, "the payer had too little", *valid_before),
        }
    }
}
