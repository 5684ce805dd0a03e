//! Transactions as the chain is asked about them.

use std::{collections::HashMap, sync::Arc};

use chains_core::{
    chain::{Chain, ChainUnavailable},
    observation::{Item, Observation, TransactionView},
    transaction::{Plan, SignedTransaction},
};

use crate::settlement::{Transaction, TransactionId, record::Followed};

/// A transaction to ask about: its own copy, so that a question outlives a
/// change of the transaction.
#[derive(Clone, Debug)]
pub struct View {
    attempts: Vec<SignedTransaction>,
    items: Vec<(Plan, u64)>,
}

impl View {
    /// A transaction with the plans and claimed blocks of the steps it carries.
    pub fn new(transaction: &Transaction, items: Vec<(Plan, u64)>) -> Self {
        let mut attempts = transaction.signed();
        if mistake!(ForgetsOldAttempts) {
            attempts.drain(..attempts.len().saturating_sub(1));
        }
        Self { attempts, items }
    }

    /// The transaction that carries a settlement's last step, or carried it to
    /// its end, asked about for this settlement alone; `None` where none does.
    pub fn of(followed: &Followed) -> Option<Self> {
        let step = followed.steps.last()?;
        let transaction = followed.transactions.iter().find(|t| Some(t.id) == step.transaction())?;
        Some(Self::new(transaction, vec![(step.plan.clone(), followed.facts.claimed_block)]))
    }

    /// The same for many settlements, those that share a transaction asked
    /// about together. Each view comes with the places of its settlements in
    /// the list, in the order of its items; where no transaction carries a
    /// settlement, there is none.
    pub fn of_all(all: &[Followed]) -> Vec<(Arc<Self>, Vec<usize>)> {
        let mut views: Vec<(Self, Vec<usize>)> = vec![];
        let mut known: HashMap<TransactionId, usize> = HashMap::new();
        for (place, followed) in all.iter().enumerate() {
            let Some((step, id)) = followed.steps.last().and_then(|step| Some((step, step.transaction()?))) else {
                continue;
            };
            if let Some((view, places)) = known.get(&id).and_then(|known| views.get_mut(*known)) {
                view.items.push((step.plan.clone(), followed.facts.claimed_block));
                places.push(place);
            } else if let Some(view) = Self::of(followed) {
                known.insert(id, views.len());
                views.push((view, vec![place]));
            }
        }
        views.into_iter().map(|(view, places)| (Arc::new(view), places)).collect()
    }

    /// Its signed forms, oldest first.
    pub fn attempts(&self) -> &[SignedTransaction] {
        &self.attempts
    }

    fn items(&self) -> Vec<Item<'_>> {
        self.items.iter().map(|(plan, claimed_block)| Item { plan, claimed_block: *claimed_block }).collect()
    }
}

/// Asks about many transactions at once; see [`Execution::observe`].
///
/// [`Execution::observe`]: chains_core::chain::Execution::observe
///
/// # Errors
/// The chain cannot be asked.
pub async fn observe(chain: &dyn Chain, views: &[Arc<View>]) -> Result<Vec<Observation>, ChainUnavailable> {
    let items: Vec<_> = views.iter().map(|view| view.items()).collect();
    let asked = views.iter().zip(&items).map(|(view, items)| TransactionView { attempts: &view.attempts, items });
    chain.observe(&asked.collect::<Vec<_>>()).await
}

/// An observation of a transaction as each of its so many settlements sees it.
pub fn each(observation: Observation, count: usize) -> Vec<Observation> {
    match observation {
        Observation::Included(inclusion, effects) => {
            let mut effects = effects.into_iter();
            let one = |_| Observation::Included(inclusion.clone(), effects.next().into_iter().collect());
            (0..count).map(one).collect()
        }
        Observation::Pending | Observation::Replaced | Observation::Expired(_) | Observation::Unknown { .. } => {
            vec![observation; count]
        }
    }
}

/// Finds out what became of one transaction; see [`Execution::investigate`].
///
/// [`Execution::investigate`]: chains_core::chain::Execution::investigate
///
/// # Errors
/// The chain cannot be asked.
pub async fn investigate(chain: &dyn Chain, view: &View) -> Result<Observation, ChainUnavailable> {
    let items = view.items();
    chain.investigate(&TransactionView { attempts: &view.attempts, items: &items }).await
}
