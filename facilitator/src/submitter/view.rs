//! Transactions as the chain is asked about them.

use std::sync::Arc;

use chains_core::{
    chain::{Chain, ChainUnavailable},
    observation::{Item, Observation, TransactionView},
    transaction::{Plan, SignedTransaction},
};

use crate::settlement::{Transaction, record::Followed};

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
        Self { attempts: transaction.signed(), items }
    }

    /// The transaction that carries a settlement's last step, or carried it to
    /// its end, asked about for this settlement alone; `None` where none does.
    pub fn of(followed: &Followed) -> Option<Self> {
        let step = followed.steps.last()?;
        let transaction = followed.transactions.iter().find(|t| Some(t.id) == step.transaction())?;
        Some(Self::new(transaction, vec![(step.plan.clone(), followed.facts.claimed_block)]))
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
